"""The signal of a strategy at a market's last candle."""

from __future__ import annotations

from pathlib import Path

from experiments.backtest_period import history_of
from experiments.backtesting import predictor_for
from experiments.config import BacktestConfig
from experiments.simulation import simulate
from lightning_models.candles import Candles, read_candles
from lightning_models.errors import ConfigError, TooFewCandlesError
from lightning_models.home import Home, find_home
from lstm_strategies.fused import FusedStrategy
from lstm_strategies.live_signal import signal_of
from lstm_strategies.signals import Signal
from lstm_strategies.strategies import STRATEGIES, strategy_named

__all__ = ["latest_signal"]


def latest_signal(
    config: BacktestConfig, candles: Candles, *, home: str | Path | Home | None = None
) -> Signal:
    """Return what a strategy would do at the last candle, and why.

    Parameters
    ----------
    config
        Strategy, model, account and risk, without a period.
    candles
        Of one symbol, finished ones; finer ones are resampled to the model's timeframe.
    home
        Folder of the registry; by default ``$LSTM_HOME`` or the user's data folder.

    Returns
    -------
    Signal
        Its ``model_dump(mode="json")`` is the live signal's JSON shape.

    Raises
    ------
    ConfigError
        If the strategy is not one of a fused score, or a period was given.
    TooFewCandlesError
        If the history is too short.
    CandleError, BundleError, ModelNotFoundError
        As reading and loading do.
    """
    place = find_home(home)
    for name in ("start", "end", "days_back", "calibrate_score"):
        if getattr(config, name):
            raise ConfigError(
                f"a signal is of the last candle alone: leave {name} out, or give the candles up "
                "to the one you mean"
            )
    if not issubclass(strategy_named(config.strategy), FusedStrategy):
        fused = [name for name, kind in STRATEGIES.items() if issubclass(kind, FusedStrategy)]
        raise ConfigError(
            f"{config.strategy} has no fused score to make a signal of: choose one of "
            f"{', '.join(fused)}"
        )
    predictor = predictor_for(config, place, candles)
    given = candles if predictor is None else read_candles(candles, timeframe=predictor.timeframe)
    needed = history_of(config, predictor)
    if len(given) < needed:
        raise TooFewCandlesError(
            f"{given.symbol} has {len(given)} {given.timeframe} candles; a signal of "
            f"{config.strategy} needs {needed}. Give more history"
        )
    last = given.between(int(given.time[-needed]), None)
    # Nothing is traded: the account stays as it is configured.
    strategy = simulate(
        config,
        [last],
        home=place,
        predictor=predictor,
        trade_from=int(last.time[-1]) + 2 * last.period_ms,
    )
    return signal_of(strategy, strategy.data, name=config.strategy)
