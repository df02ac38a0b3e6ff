"""What a strategy made of a fold's bars, costs included, without what only a report needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from experiments.backtest_period import choose_period
from experiments.score_calibrating import calibrate_score
from experiments.simulation import simulate
from experiments.tuning.forecast_folds import market_returns
from experiments.tuning.held_positions import HeldPositions
from experiments.tuning.score import Floats, Times, averaged
from experiments.yardsticks import open_to_open
from lightning_models.errors import TooFewCandlesError
from lightning_models.timeframes import DAY_MS, bar_stamp
from lstm_strategies.performance import bar_returns
from lstm_strategies.strategies import strategy_named

if TYPE_CHECKING:
    from experiments.backtest_period import Period
    from experiments.config import BacktestConfig
    from experiments.walk_forward.folds import Fold
    from lightning_models.candles import Candles
    from lightning_models.home import Home
    from lightning_models.predictor import Predictor

__all__ = [
    "HIGHEST_RATIO",
    "TradedSymbol",
    "figure",
    "trade_fold",
    "traded",
    "trading_metrics",
]

HIGHEST_RATIO: Final = 10.0
"""A profit factor or Sortino ratio counts as no more: over a fold it is luck, or no loss at all."""

_YEAR_MS: Final = 365 * DAY_MS

# Of a backtest's figures, what a trial's run is told of each fold.
_TOLD: Final = (
    "sharpe_ratio",
    "total_return_pct",
    "max_drawdown_pct",
    "win_rate",
    "exposure",
    "turnover",
    "fees_paid",
    "funding_paid",
)


@dataclass(frozen=True, eq=False)
class TradedSymbol:
    """A backtest of one symbol over a fold.

    Parameters
    ----------
    metrics
        As `lstm_strategies.metrics.BacktestMetrics` returns them.
    cash
        At the start, quote currency.
    time
        ``int64 [T]``, stamps of the bars from the first decision's on, milliseconds.
    returns
        ``float64 [T]``, of the equity, fractions.
    market
        ``float64 [T]``, of holding from the open after the first decision on.
    held
        From each bar's open on, and what the symbol returns until the next one's.
    """

    metrics: dict[str, Any]
    cash: float
    time: Times
    returns: Floats
    market: Floats
    held: HeldPositions

    @property
    def has_traded(self) -> bool:
        """Whether a position was opened, closed again or not."""
        return bool(self.metrics["trades"])


def trade_fold(
    config: BacktestConfig,
    fold: Fold,
    candles: Sequence[Candles],
    *,
    predictor: Predictor | None,
    home: Home,
) -> tuple[TradedSymbol, ...]:
    """Run a strategy over a fold, for each symbol with an account of its own.

    Parameters
    ----------
    config
        Strategy, account and costs. Its model, its period and `in_sample` are the fold's.
    fold
        From the first decision that its model has not seen to before the next model's first.
        Decisions of the last bar fill nothing, as in any backtest; so the bars of a
        walk-forward's folds meet without a gap, and each fold begins without a position.
    candles
        All of them.
    predictor
        Of the fold's model, which its name loads again; a strategy that needs none leaves it.
    home
        Where forecasts are kept.

    Returns
    -------
    tuple of TradedSymbol
        Without the symbols that have too few candles in the fold.

    Raises
    ------
    TooFewCandlesError
        If no symbol has enough candles.
    ConfigError, LSTMStrategiesError
        As a backtest does.
    """
    if not strategy_named(config.strategy).needs_model:
        predictor = None
    config = config.model_copy(
        update={
            "model": None if predictor is None else predictor.model,
            "start": None,
            "end": None,
            "days_back": None,
            "in_sample": False,
        }
    )
    found = []
    too_few: TooFewCandlesError | None = None
    for one in candles:
        if fold.replaced_at is not None:
            one = one.between(None, fold.replaced_at - one.period_ms)
        try:
            period = choose_period(config, predictor, one, not_before=fold.slices.unseen_from)
        except TooFewCandlesError as error:
            too_few = error
            continue
        found.append(_trade(config, period, home))
    if not found and too_few is not None:
        raise too_few
    return tuple(found)


def _trade(config: BacktestConfig, period: Period, home: Home) -> TradedSymbol:
    if config.calibrate_score:
        config, period = calibrate_score(config, period, home=home)
    strategy = simulate(
        config,
        [period.candles],
        home=home,
        predictor=period.predictor,
        trade_from=period.trade_from,
    )
    metrics = strategy.analyzers.metrics.get_analysis()
    equity = np.array([point["equity"] for point in metrics["equity_curve"]])
    candles, first = period.candles, period.first
    opened, closed = candles.ohlcv[first:, 0], candles.ohlcv[first:, 3]
    time = bar_stamp(candles.time[first:], candles.timeframe)
    position = strategy.analyzers.weights.opened[:, 0]
    return TradedSymbol(
        metrics,
        config.cash,
        time,
        bar_returns(config.cash, equity),
        np.concatenate([[0.0], market_returns(opened, closed)]),
        HeldPositions(candles.symbol, time, position, open_to_open(opened, closed)),
    )


def figure(name: str, symbols: Sequence[TradedSymbol], *, min_trades: int = 0) -> float:
    """Return what a fold's backtests score.

    Parameters
    ----------
    name
        ``sharpe_ratio``, ``probabilistic_sharpe_ratio``, ``win_rate`` (percent),
        ``total_return`` (quote currency) and ``total_return_pct`` as the backtest has them;
        ``sortino_ratio`` and ``profit_factor`` at most `HIGHEST_RATIO`, which they are where
        nothing was lost; ``annualized_return``: the fraction earned times folds of that length
        a year, since compounding a few days would make luck enormous; ``excess_return``: the
        fraction earned above holding's. ``max_drawdown`` (quote currency) and
        ``max_drawdown_pct`` as the backtest has them.
    symbols
        At least one.
    min_trades
        Closed trades, all symbols together, with fewer of which a fold gains nothing, and a
        drawdown is the whole of the account. What it lost is lost all the same: else losing
        seldom would be better than losing often.

    Returns
    -------
    float
        The mean over the symbols, of which one without a trade counts 0. In a drawdown it counts
        the whole of its account: otherwise standing aside would be the best there is, and next
        to it a single small trade in one symbol of many.
    """
    few = sum(int(one.metrics["total_trades"]) for one in symbols) < min_trades
    if name in ("max_drawdown", "max_drawdown_pct"):
        return float(np.mean([_fall(name, one, few=few) for one in symbols]))
    gain = float(np.mean([_gain(name, one) if one.has_traded else 0.0 for one in symbols]))
    return min(gain, 0.0) if few else gain


def traded(symbols: Sequence[TradedSymbol]) -> tuple[Times, Floats, Floats]:
    """Return the returns of a fold's equity and of holding, bar by bar.

    Parameters
    ----------
    symbols
        At least one.

    Returns
    -------
    tuple
        ``int64 [T]``, stamps; ``float64 [T]`` and ``float64 [T]``, each the mean over the
        symbols with that bar.
    """
    return averaged([(one.time, one.returns, one.market) for one in symbols])


def trading_metrics(symbols: Sequence[TradedSymbol]) -> dict[str, float]:
    """Return what a trial's run is told of a fold's backtests.

    Parameters
    ----------
    symbols
        At least one.

    Returns
    -------
    dict
        Means over the symbols; of ``trades`` (closed ones) and ``liquidations`` the sums.
    """
    return {
        **{name: float(np.mean([one.metrics[name] for one in symbols])) for name in _TOLD},
        "trades": float(sum(one.metrics["total_trades"] for one in symbols)),
        "liquidations": float(sum(one.metrics["liquidations"] for one in symbols)),
    }


def _fall(name: str, one: TradedSymbol, *, few: bool) -> float:
    if one.has_traded and not few:
        return float(one.metrics[name])
    return 100.0 if name == "max_drawdown_pct" else one.cash


def _gain(name: str, one: TradedSymbol) -> float:
    if name in ("sortino_ratio", "profit_factor"):
        ratio = one.metrics[name]
        return HIGHEST_RATIO if ratio is None else min(float(ratio), HIGHEST_RATIO)
    earned = float(one.metrics["total_return"]) / one.cash
    if name == "annualized_return":
        period = int(one.time[1] - one.time[0]) if len(one.time) > 1 else _YEAR_MS
        return earned * _YEAR_MS / (int(one.time[-1] - one.time[0]) + period)
    if name == "excess_return":
        return earned - (float(np.prod(1.0 + one.market)) - 1.0)
    return float(one.metrics[name])
