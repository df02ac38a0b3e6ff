"""Several strategies on the same candles, at the same costs, and which of them is best."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal, get_args

import numpy as np
from pydantic import BaseModel, ConfigDict

from experiments.account_config import AccountConfig
from experiments.backtest_period import history_of
from experiments.backtesting import (
    Backtest,
    judge_run,
    period_of,
    predictor_for,
    with_trials,
)
from experiments.config import BacktestConfig, validated
from experiments.result import BacktestResult, Slice
from experiments.significance import MINIMUM_TRADES
from experiments.strategy_config import TOLD, default_parameters
from experiments.superiority import Superiority, superiority
from lightning_models.candles import Candles, read_candles
from lightning_models.errors import ConfigError
from lightning_models.home import Home, find_home
from lightning_models.spelling import nearest_names
from lstm_strategies.performance import bar_returns, sharpe_ratio

__all__ = ["RANKINGS", "Comparison", "ComparisonResult", "compare", "configs_of"]

Ranking = Literal[
    "sharpe_ratio", "sortino_ratio", "total_return_pct", "max_drawdown_pct", "profit_factor",
    "win_rate",
]  # fmt: skip

RANKINGS: Final[tuple[str, ...]] = get_args(Ranking)
"""What strategies can be ranked by; a drawdown is better the smaller it is."""

# What has to be alike for results to be comparable.
_SHARED: Final = (
    *AccountConfig.model_fields,
    "start",
    "end",
    "days_back",
    "in_sample",
    "any_timeframe",
)

# What would let one strategy begin later than another.
_ALONE: Final = "calibrate_score"


class ComparisonResult(BaseModel):
    """Several strategies on the same candles."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    symbol: str
    timeframe: str
    start_date: str | None
    end_date: str | None
    slice: Slice
    comparisons: tuple[BacktestResult, ...]
    """Best first by `best_metric`; one that never traded comes last."""
    best_strategy: str
    best_metric: Ranking
    superiority: Superiority
    """Which of them chance leaves beside the best, and whether any beats buy-and-hold."""
    verdict: str
    data_fingerprint: str


class Comparison(BaseModel):
    """A comparison, and what its report draws beside it."""

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    result: ComparisonResult
    backtests: tuple[Backtest, ...]
    """In the order of `ComparisonResult.comparisons`."""


def configs_of(
    strategies: Sequence[str],
    given: Mapping[str, Any],
    settings: Sequence[str] = (),
    *,
    origin: str,
) -> list[BacktestConfig]:
    """Return a configuration for each strategy, told alike; what one doesn't have it isn't told.

    Parameters
    ----------
    strategies
        Names in the table.
    given
        Fields of `BacktestConfig` that were given.
    settings
        ``a.b=value`` options; each must be known to one of the strategies.
    origin
        For messages.

    Raises
    ------
    ConfigError
        If a strategy is unknown or named twice, or a setting fits none of them.
    """
    if not strategies:
        raise ConfigError("no strategy was named: name at least one, such as lstm_fast")
    twice = sorted({name for name in strategies if list(strategies).count(name) > 1})
    if twice:
        raise ConfigError(f"{twice[0]} was named twice: name each strategy once")
    own = {name: set(default_parameters(name)) - set(TOLD) for name in strategies}
    known = set[str]().union(*own.values())

    def fits(strategy: str, name: str) -> bool:
        # A parameter that only others of them have is not for this one.
        return name not in known or name in own[strategy]

    configs = []
    for strategy in strategies:
        fields = {name: value for name, value in given.items() if fits(strategy, name)}
        told = [setting for setting in settings if fits(strategy, _parameter_of(setting))]
        configs.append(
            validated(BacktestConfig, {**fields, "strategy": strategy}, told, origin=origin)
        )
    return configs


def _parameter_of(setting: str) -> str:
    return setting.partition("=")[0].strip().removeprefix("parameters.")


def compare(
    configs: Sequence[BacktestConfig],
    candles: Candles,
    *,
    metric: str = "sharpe_ratio",
    home: str | Path | Home | None = None,
    report: str | Path | None = None,
    detail: Candles | None = None,
    on_backtest: Callable[[BacktestResult], None] | None = None,
) -> ComparisonResult:
    """Backtest several strategies on the same candles and rank them.

    Parameters
    ----------
    configs
        One for each strategy, alike in account, costs and period.
    candles
        Of one symbol; finer ones are resampled to the models' timeframe.
    metric
        To rank by: one of `RANKINGS`.
    home
        Folder of the registry; by default ``$LSTM_HOME`` or the user's data folder.
    report
        Folder for ``report.html``, ``result.json`` and a folder for each strategy's own report.
    detail
        Finer candles of the symbol, which decide what came first within a bar.
    on_backtest
        Called as each one is done.

    Returns
    -------
    ComparisonResult
        With Hansen's test of the best against the rest, and each Sharpe ratio deflated by the
        number of strategies that were compared.

    Raises
    ------
    ConfigError
        If there is no configuration, they are not alike, their models read different
        timeframes, or there is no such metric.
    TooFewCandlesError, CandleError, BundleError, ModelNotFoundError, StorageError
        As `experiments.backtesting.backtest` does.
    """
    from experiments.comparison_tracking import record_comparison  # three seconds of MLflow

    if metric not in RANKINGS:
        raise ConfigError(f"cannot rank by {metric!r}: {nearest_names(metric, RANKINGS)}")
    place = find_home(home)
    done = run_comparison(
        configs, candles, metric=metric, home=place, detail=detail, on_backtest=on_backtest
    )
    with tempfile.TemporaryDirectory(prefix="lstm-report-") as scratch:
        record_comparison(place, done, folder=Path(report) if report is not None else Path(scratch))
    return done.result


def run_comparison(
    configs: Sequence[BacktestConfig],
    candles: Candles,
    *,
    metric: str,
    home: Home,
    detail: Candles | None = None,
    on_backtest: Callable[[BacktestResult], None] | None = None,
) -> Comparison:
    """Compare without writing anything; takes what `compare` does."""
    _check_alike(configs)
    predictors = [predictor_for(config, home, candles) for config in configs]
    timeframes = {one.timeframe for one in predictors if one is not None}
    if len(timeframes) > 1:
        raise ConfigError(
            f"the models read {' and '.join(sorted(timeframes))} candles: compare models of one "
            "timeframe"
        )
    given = read_candles(candles, timeframe=next(iter(timeframes), None))
    models = [one for one in predictors if one is not None]
    history = max(
        history_of(config, predictor) for config, predictor in zip(configs, predictors, strict=True)
    )
    unseen = max((one.bundle.unseen_from_ms for one in models), default=0)
    backtests = []
    for config in configs:
        period = period_of(config, given, home=home, history=history, not_before=unseen)
        # Each of them is one of as many trials.
        config = config.model_copy(update={"trials": config.trials + len(configs) - 1})
        backtests.append(judge_run(config, period, home=home, detail=detail))
        if on_backtest is not None:
            on_backtest(backtests[-1].result)
    sharpes = np.array([sharpe_ratio(one.returns, periods=1.0) for one in backtests])
    backtests = [with_trials(one, sharpes, trials=one.result.trials) for one in backtests]
    backtests.sort(key=lambda one: _place(one.result, metric))
    return Comparison(result=_result(backtests, metric, configs[0]), backtests=tuple(backtests))


def _result(backtests: Sequence[Backtest], metric: str, config: BacktestConfig) -> ComparisonResult:
    results = [one.result for one in backtests]
    first = results[0]
    held = first.buy_and_hold
    market = None
    if held is not None:
        market = bar_returns(config.cash, np.array([one.equity for one in held.equity_curve]))
    found = superiority(
        np.stack([one.returns for one in backtests], axis=1),
        [one.strategy for one in results],
        metric="mean" if metric == "total_return_pct" else "sharpe",
        against=market,
        seed=config.seed,
        replications=config.replications,
    )
    return ComparisonResult(
        symbol=first.symbol,
        timeframe=first.timeframe,
        start_date=first.start_date,
        end_date=first.end_date,
        slice=_worst_slice(results),
        comparisons=tuple(results),
        best_strategy=first.strategy,
        best_metric=metric,
        superiority=found,
        verdict=_worded(results, metric, found),
        data_fingerprint=first.data_fingerprint,
    )


def _worded(results: Sequence[BacktestResult], metric: str, found: Superiority) -> str:
    words = [found.verdict]
    best = results[0].strategy
    if best != found.best:
        words.insert(0, f"{best} is ranked first by {metric}; what was tested is another measure.")
    shown = {*found.better_than_against, *((found.best,) if found.best_is_distinguishable else ())}
    words += [
        f"{one.strategy} closed {one.total_trades} trades, and fewer than {MINIMUM_TRADES} are "
        "too few to rely on that."
        for one in results
        if one.strategy in shown and one.total_trades < MINIMUM_TRADES
    ]
    return " ".join(words)


def _worst_slice(results: Sequence[BacktestResult]) -> Slice:
    kinds = {one.slice for one in results}
    if "mixed" in kinds:
        return "mixed"
    return "in_sample" if "in_sample" in kinds else "out_of_sample"


def _place(result: BacktestResult, metric: str) -> tuple[bool, float]:
    value = getattr(result, metric)
    # Nothing lost: no finite ratio, and none is better.
    value = float("inf") if value is None else float(value)
    return not result.trades, value if metric == "max_drawdown_pct" else -value


def _check_alike(configs: Sequence[BacktestConfig]) -> None:
    if not configs:
        raise ConfigError("nothing to compare: give at least one configuration")
    names = [config.strategy for config in configs]
    if len(set(names)) < len(names):
        raise ConfigError("a strategy is there twice: compare each one once")
    if any(getattr(config, _ALONE) for config in configs):
        raise ConfigError(
            f"{_ALONE} takes candles away from one strategy alone: backtest it by itself, and "
            "compare with the parameters that its result tells"
        )
    for name in _SHARED:
        values = {repr(getattr(config, name)) for config in configs}
        if len(values) > 1:
            raise ConfigError(
                f"{name} is {' and '.join(sorted(values))}: strategies are compared with one "
                "account, at one cost, over one period; give them the same"
            )
