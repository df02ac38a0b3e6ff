"""Backtest a strategy on candles its model has not seen, beside what it has to be better than."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from experiments.backtest_period import Period, choose_period
from experiments.config import BacktestConfig
from experiments.deflation import deflated_sharpe
from experiments.forecast_judgement import ForecastJudgement, judge_forecasts
from experiments.quiet import without_warnings
from experiments.result import BacktestResult, BuyAndHold, DoubledCosts, EquityPoint
from experiments.score_calibrating import calibrate_score
from experiments.significance import is_distinguishable, measure_significance, verdict
from experiments.simulation import simulate
from experiments.yardsticks import RandomExposure, open_to_open, random_exposure
from lightning_models.candles import Candles, iso_utc, read_candles
from lightning_models.errors import ConfigError
from lightning_models.home import Home, find_home
from lightning_models.predictor import Predictor
from lstm_strategies.funding import FUNDING_PERIOD_MS
from lstm_strategies.models import at_timeframe, predictor_of
from lstm_strategies.performance import (
    bar_returns,
    capped_rating,
    drawdown,
    periods_per_year,
    sharpe_ratio,
)
from lstm_strategies.strategies import strategy_named

__all__ = [
    "Backtest",
    "backtest",
    "described_holding",
    "doubled_costs_of",
    "fitting_detail",
    "funding_a_bar",
    "judge_run",
    "notes_on_trading",
    "period_of",
    "predictor_for",
    "run_backtest",
    "with_trials",
]

# Under this share of forecasts that may trade, a threshold is most likely not what was meant.
FEW: Final = 0.01

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Backtest:
    """A backtest's result, and what its report draws beside it.

    Parameters
    ----------
    result
        What came out.
    period
        What it traded on.
    judgement
        Of the forecasts.
    returns
        ``float64 [T]``, the equity's return of each bar of the period.
    """

    result: BacktestResult
    period: Period
    judgement: ForecastJudgement
    returns: Floats


def backtest(
    config: BacktestConfig,
    candles: Candles | Sequence[Candles],
    *,
    home: str | Path | Home | None = None,
    report: str | Path | None = None,
    detail: Candles | None = None,
) -> BacktestResult:
    """Run a strategy on candles and judge the result.

    Parameters
    ----------
    config
        Strategy, model, period, thresholds, risk and costs.
    candles
        Of one symbol; finer ones are resampled to the model's timeframe.
    home
        Folder of the registry; by default ``$LSTM_HOME`` or the user's data folder.
    report
        Folder for ``report.html``, ``result.json`` and ``trades.csv``. The same three are
        logged to an MLflow run in any case.
    detail
        Finer candles of the symbol, which decide what came first within a bar.

    Returns
    -------
    BacktestResult
        With its yardsticks beside it, intervals, and a verdict in words.

    Raises
    ------
    TooFewCandlesError
        If no candle is left to trade on: too short a history, or none the model has not seen.
    CandleError, BundleError, ModelNotFoundError, ConfigError, StorageError
        As reading, loading and writing do.
    """
    from experiments.backtest_tracking import record_backtest  # three seconds of MLflow

    place = find_home(home)
    done = run_backtest(config, _one_symbol(candles), home=place, detail=detail)
    with tempfile.TemporaryDirectory(prefix="lstm-report-") as scratch:
        record_backtest(place, done, folder=Path(report) if report is not None else Path(scratch))
    return done.result


def predictor_for(config: BacktestConfig, home: Home, candles: Candles) -> Predictor | None:
    """Return the predictor of a configuration's model, None where it names none.

    Parameters
    ----------
    config
        Whose ``any_timeframe`` says whether it is asked about these candles as they are.
    home
        Of the registry.
    candles
        To be traded.
    """
    if config.model is None:
        return None
    predictor = predictor_of(config.model, str(home.path))
    if config.any_timeframe and candles.timeframe != predictor.timeframe:
        return at_timeframe(predictor, candles.timeframe)
    return predictor


def run_backtest(
    config: BacktestConfig,
    candles: Candles,
    *,
    home: Home,
    detail: Candles | None = None,
    history: int | None = None,
) -> Backtest:
    """Run and judge a backtest without writing anything; takes what `backtest` does.

    Parameters
    ----------
    config, candles, home, detail
        As for `backtest`.
    history
        As for `experiments.backtest_period.choose_period`.
    """
    period = period_of(config, candles, home=home, history=history)
    if config.calibrate_score:
        config, period = calibrate_score(config, period, home=home)
    one = judge_run(config, period, home=home, detail=detail)
    if config.trials == 1:
        return one
    # Of the others only the number is known.
    return with_trials(
        one, np.array([sharpe_ratio(one.returns, periods=1.0)]), trials=config.trials
    )


def period_of(
    config: BacktestConfig,
    candles: Candles,
    *,
    home: Home,
    history: int | None = None,
    not_before: int = 0,
) -> Period:
    """Return what a configuration trades on; a model that its strategy doesn't need dates it.

    Parameters
    ----------
    config, candles, home
        As for `backtest`.
    history, not_before
        As for `experiments.backtest_period.choose_period`.
    """
    predictor = predictor_for(config, home, candles)
    if predictor is not None and not strategy_named(config.strategy).needs_model:
        candles = read_candles(candles, timeframe=predictor.timeframe)
        not_before = max(not_before, predictor.bundle.unseen_from_ms)
        predictor = None
    return choose_period(config, predictor, candles, history=history, not_before=not_before)


def judge_run(
    config: BacktestConfig, period: Period, *, home: Home, detail: Candles | None
) -> Backtest:
    """Run a strategy on a period that was chosen, and judge what came out.

    Parameters
    ----------
    config, period, home
        Of the backtest.
    detail
        Finer candles of the same symbol, or None.
    """

    def run(charge: float) -> Any:
        return simulate(
            config,
            [period.candles],
            home=home,
            predictor=period.predictor,
            trade_from=period.trade_from,
            details=[fitting_detail(detail, period)],
            charge=charge,
        )

    strategy = run(1.0)
    metrics = strategy.analyzers.metrics.get_analysis()
    judgement = judge_forecasts(config, period, strategy, home)
    candles = period.candles
    held = _buy_and_hold(config, period)
    periods = periods_per_year(candles.timeframe, candles.market, candles.time[period.first :])
    equity = np.array([point["equity"] for point in metrics["equity_curve"]])
    returns = bar_returns(config.cash, equity)
    significance = measure_significance(
        returns,
        bar_returns(config.cash, held),
        periods_per_year=periods,
        trades=metrics["total_trades"],
        trials=config.trials,
        seed=config.seed,
        replications=config.replications,
    )
    shuffled = _random_exposure(config, period, strategy.analyzers.weights.opened, periods)
    metrics["performance_rating"] = capped_rating(
        metrics["performance_rating"],
        distinguishable=is_distinguishable(significance, period=period.slice),
    )
    doubled = None
    if config.doubled_costs and metrics["trades"]:
        # What there was to warn of was said the first time.
        with without_warnings():
            doubled = doubled_costs_of(run(2.0).analyzers.metrics.get_analysis())
    predictor = period.predictor
    result = BacktestResult.model_validate(
        {
            **metrics,
            "strategy": config.strategy,
            "timeframe": candles.timeframe,
            "slice": period.slice,
            "verdict": verdict(
                significance,
                period=period.slice,
                exposure=shuffled if metrics["trades"] else None,
            ),
            "model": None if predictor is None else predictor.model,
            "sharpe_low": significance.sharpe_low,
            "sharpe_high": significance.sharpe_high,
            "excess_return": significance.excess_return,
            "excess_low": significance.excess_low,
            "excess_high": significance.excess_high,
            "buy_and_hold": described_holding(held, config.cash, metrics, periods),
            "random_exposure": shuffled.model_dump(),
            "doubled_costs": doubled,
            "trials": config.trials,
            "deflated_sharpe": None,
            **judgement.fields,
            "analyst": _usage(strategy),
            "unseen_from": None if predictor is None else iso_utc(predictor.bundle.unseen_from_ms),
            "data_fingerprint": candles.fingerprint,
            "bundle_sha256": None if predictor is None else predictor.sha256,
            "configuration": config.model_dump(mode="json"),
            "notes": [*period.notes, *_notes(config, strategy, metrics, judgement)],
        }
    )
    return Backtest(result, period, judgement, returns)


def with_trials(one: Backtest, trial_sharpes: Floats, *, trials: int | None = None) -> Backtest:
    """Return a backtest with its Sharpe ratio deflated by what was tried beside it.

    Parameters
    ----------
    one
        The backtest.
    trial_sharpes
        ``float64 [N]``, Sharpe ratio a bar of each trial, its own included.
    trials
        How many there were, where not all are known.
    """
    found = deflated_sharpe(one.returns, trial_sharpes, trials=trials)
    result = one.result.model_copy(update={"deflated_sharpe": found, "trials": found.trials})
    return Backtest(result, one.period, one.judgement, one.returns)


def _one_symbol(candles: Candles | Sequence[Candles]) -> Candles:
    if isinstance(candles, Candles):
        return candles
    given = list(candles) if isinstance(candles, (list, tuple)) else [candles]
    if len(given) != 1:
        raise ConfigError(
            f"a backtest takes one symbol, got {len(given)}: call it once for each of them"
        )
    if not isinstance(given[0], Candles):
        raise ConfigError(
            f"a backtest runs on Candles, not on a {type(given[0]).__name__}: read it with "
            "read_candles(…) first"
        )
    return given[0]


def fitting_detail(detail: Candles | None, period: Period) -> Candles | None:
    """Return the finer candles of a period.

    Raises
    ------
    ConfigError
        If they are of another symbol, or no finer.
    """
    if detail is None:
        return None
    candles = period.candles
    if detail.symbol != candles.symbol or detail.period_ms >= candles.period_ms:
        raise ConfigError(
            f"detail has {detail.timeframe} candles of {detail.symbol}: give finer candles than "
            f"{candles.timeframe}, of {candles.symbol}"
        )
    begin, end = int(candles.time[0]), int(candles.time[-1]) + candles.period_ms
    return read_candles(detail).between(begin, end)


def _random_exposure(
    config: BacktestConfig, period: Period, opened: Floats, periods: float
) -> RandomExposure:
    prices = period.candles.ohlcv[period.first :]
    return random_exposure(
        opened[:, 0],
        open_to_open(prices[:, 0], prices[:, 3]),
        held_from="open",
        periods_per_year=periods,
        cost_per_turnover=config.taker_fee + config.slippage,
        funding_rates=funding_a_bar(
            config, market=period.candles.market, period_ms=period.candles.period_ms
        ),
        replications=config.replications,
        seed=config.seed,
    )


def funding_a_bar(config: BacktestConfig, *, market: str, period_ms: int) -> float:
    """Return the funding that a yardstick's long position pays over a bar, a fraction."""
    # Of past rates in a file the usual one stands in: this yardstick is a simplified account.
    if market != "continuous":
        return 0.0
    return config.funding_rate * period_ms / FUNDING_PERIOD_MS


def _buy_and_hold(config: BacktestConfig, period: Period) -> Floats:
    # All cash into the asset at the open after the first decision, with the same costs.
    prices = period.candles.ohlcv[period.first :]
    entry = prices[1, 0] * (1.0 + config.slippage)
    units = config.cash / (entry * (1.0 + config.taker_fee))
    equity: Floats = units * prices[:, 3]
    equity[0] = config.cash
    return equity


def described_holding(
    held: Floats, cash: float, metrics: dict[str, Any], periods: float
) -> BuyAndHold:
    """Return buy-and-hold's figures.

    Parameters
    ----------
    held
        ``float64 [T]``, what it is worth at each bar's close, quote currency.
    cash
        At the start.
    metrics
        Of the account beside it, whose bars these are.
    periods
        Bars a year.
    """
    stamps = [point["time"] for point in metrics["equity_curve"]]
    return BuyAndHold(
        total_return_pct=100.0 * (float(held[-1]) / cash - 1.0),
        sharpe_ratio=sharpe_ratio(bar_returns(cash, held), periods),
        max_drawdown_pct=drawdown(cash, held).largest_pct,
        equity_curve=tuple(
            EquityPoint(time=time, equity=value)
            for time, value in zip(stamps, held.tolist(), strict=True)
        ),
    )


def doubled_costs_of(metrics: dict[str, Any]) -> DoubledCosts:
    """Return what is told of the metrics of a run at twice the costs."""
    return DoubledCosts.model_validate({name: metrics[name] for name in DoubledCosts.model_fields})


def _usage(strategy: Any) -> dict[str, Any] | None:
    if getattr(strategy, "analyst", None) is None:
        return None
    usage: dict[str, Any] = strategy.analyst_usage.model_dump()
    return usage


def _notes(
    config: BacktestConfig, strategy: Any, metrics: dict[str, Any], judgement: ForecastJudgement
) -> list[str]:
    notes = []
    share = judgement.fields["traded_share"]
    if metrics["trades"] and strategy.needs_model and share < FEW and not config.top_share:
        notes.append(
            f"Only {share:.1%} of the forecasts may trade at a {strategy.measure} of "
            f"{strategy.threshold:g}: honest confidence is small. top_share=0.1 asks for the "
            "model's own most confident tenth."
        )
    if config.any_timeframe and strategy.needs_model:
        notes.append(
            "The model was asked about candles of whatever timeframe: where it is not the one it "
            "was trained on, its confidence and its bounds may mean nothing."
        )
    return [*notes, *notes_on_trading(strategy, metrics)]


def notes_on_trading(strategy: Any, metrics: dict[str, Any]) -> list[str]:
    """Return what a reader should know of how a run went: nothing traded, refused or stopped.

    Parameters
    ----------
    strategy
        After its run.
    metrics
        Of its account.
    """
    notes = []
    if not metrics["trades"]:
        reason = strategy.why_no_trade()
        notes.append(f"{reason[0].upper()}{reason[1:]}.")
    refused = strategy.counts["orders_margin"] + strategy.counts["orders_rejected"]
    if refused:
        notes.append(
            f"{refused} orders were refused: for lack of cash, or by the exchange's rules."
        )
    if strategy.counts["unsized"]:
        notes.append(
            f"{strategy.counts['unsized']} entries were left out: smaller than one lot, or without "
            "a stop distance."
        )
    for breaker, words in (("daily_loss", "the day's loss"), ("drawdown", "the drawdown")):
        count = strategy.counts[f"breaker_{breaker}"]
        if count:
            times = "once" if count == 1 else f"{count} times"
            notes.append(f"Trading was stopped {times}, since {words} reached its limit.")
    if metrics["liquidations"]:
        notes.append(f"{metrics['liquidations']} positions were liquidated by the exchange.")
    return [*notes, *_words_on_the_analyst(strategy)]


def _words_on_the_analyst(strategy: Any) -> list[str]:
    if not getattr(strategy, "p", None) or not getattr(strategy.p, "use_llm", False):
        return []
    usage = strategy.analyst_usage
    answered = usage.cached + usage.calls - usage.failed - usage.unusable
    if not answered:
        note = (
            "The language model abstained throughout: it is as if it had not been asked for, and "
            "the other parts took over its weight."
        )
    else:
        note = (
            f"A language model gave its view on {answered} bars, and may have read about this "
            "period in its training data."
        )
    return [note]
