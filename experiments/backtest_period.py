"""Which candles a backtest trades on, and what of them the model had seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from experiments.config import BacktestConfig
from experiments.result import Slice
from experiments.strategy_config import default_parameters
from lightning_models.candles import Candles, iso_utc, read_candles
from lightning_models.candles.timestamps import iso_utc_of, milliseconds_of
from lightning_models.errors import TooFewCandlesError
from lightning_models.forecasters.untrained import UNTRAINED_NOTE
from lightning_models.predictor import Predictor
from lightning_models.timeframes import DAY_MS, bar_stamp
from lstm_strategies.strategies import strategy_named

__all__ = ["Period", "choose_period", "history_of", "with_common_start"]


@dataclass(frozen=True)
class Period:
    """The candles that a run needs, and the first decision that may trade.

    Parameters
    ----------
    predictor
        The model; None where the strategy needs none.
    candles
        From the warm-up of the first decision on.
    first
        Row of the first candle whose close may decide on an entry.
    slice
        Whether the model had seen the decisions from there on.
    notes
        What a reader of the result should know about model and candles.
    """

    predictor: Predictor | None
    candles: Candles
    first: int
    slice: Slice
    notes: tuple[str, ...]

    @property
    def from_time(self) -> int:
        """Stamp of the bar of row `first`, milliseconds."""
        return int(bar_stamp(self.candles.time[self.first :][:1], self.candles.timeframe)[0])

    @property
    def trade_from(self) -> int:
        """When the candle of row `first` closed, milliseconds."""
        return int(self.candles.time[self.first]) + self.candles.period_ms


def history_of(config: BacktestConfig, predictor: Predictor | None) -> int:
    """Return how many candles a strategy needs up to its first decision, that one included.

    Parameters
    ----------
    config
        Of the strategy, with its parameters.
    predictor
        Of the model that it trades, if any.
    """
    kind = strategy_named(config.strategy)
    own = {**default_parameters(config.strategy), **config.strategy_parameters()}
    fixed: Any = kind.params
    needed = kind.bars_needed({**dict(fixed._getitems()), **own})
    return needed if predictor is None else max(needed, predictor.required_bars)


def with_common_start(config: BacktestConfig, candles: Sequence[Candles]) -> BacktestConfig:
    """Return a configuration whose ``days_back`` counts from the end of all symbols.

    Parameters
    ----------
    config
        Of a backtest of several symbols.
    candles
        One entry for each; one that ended long ago must not begin long ago.
    """
    if config.days_back is None:
        return config
    if config.end is not None:
        end = milliseconds_of(config.end)
    else:
        end = max(int(one.time[-1]) + one.period_ms for one in candles)
    start = datetime.fromtimestamp((end - config.days_back * DAY_MS) / 1000.0, tz=UTC)
    return config.model_copy(update={"days_back": None, "start": start})


def choose_period(
    config: BacktestConfig,
    predictor: Predictor | None,
    given: Candles,
    *,
    history: int | None = None,
    not_before: int = 0,
) -> Period:
    """Return what a backtest trades on.

    Parameters
    ----------
    config
        Its start and end, and whether it may trade on what the model has seen.
    predictor
        The model; None where the strategy needs none: then nothing was fitted, and all candles
        after the warm-up are traded on.
    given
        Candles of one symbol, in the model's timeframe or a finer one.
    history
        Candles needed up to the first decision; by default those of the strategy and the model.
    not_before
        Moment that the first decision may not come before, milliseconds: what others that it is
        compared with have seen.

    Raises
    ------
    TooFewCandlesError
        If there is nothing to trade on: too short a history, or no candle that the model has
        not seen.
    """
    needed = history_of(config, predictor) if history is None else history
    if predictor is not None:
        given = read_candles(given, timeframe=predictor.timeframe)
    candles = _until(config, predictor, given, needed)
    decided = candles.time + candles.period_ms
    unseen = 0 if predictor is None else predictor.bundle.unseen_from_ms
    asked = _asked(config, candles)
    allowed = asked if config.in_sample else max(asked, unseen, not_before)
    first = max(int(np.searchsorted(decided, allowed)), needed - 1)
    # A decision needs a candle after it whose open fills its order.
    if first > len(candles) - 2:
        raise TooFewCandlesError(_nothing_to_trade(config, predictor, candles, asked))
    # What comes before the warm-up of the first decision changes nothing.
    cut = first - needed + 1
    candles = candles.between(int(candles.time[cut]), None)
    decided = decided[cut:]
    tradable = decided[needed - 1 : -1]
    seen = int((tradable < unseen).sum())
    kind: Slice = "out_of_sample"
    if seen:
        kind = "in_sample" if seen == len(tradable) else "mixed"
    notes = _notes(predictor, candles)
    return Period(predictor, candles, needed - 1, kind, notes)


def _asked(config: BacktestConfig, candles: Candles) -> int:
    if config.days_back is not None:
        return int(candles.time[-1]) + candles.period_ms - config.days_back * DAY_MS
    return 0 if config.start is None else milliseconds_of(config.start)


def _until(
    config: BacktestConfig, predictor: Predictor | None, candles: Candles, history: int
) -> Candles:
    known = candles
    if config.end is not None:
        known = candles.between(None, milliseconds_of(config.end) - candles.period_ms + 1)
    needed = history + 2
    if len(known) < needed:
        until = "" if config.end is None else f" that close by {iso_utc_of(config.end)}"
        more = "more history" if len(candles) < needed else "a later end"
        if predictor is None:
            what = f"{config.strategy} needs {needed}: {history} to warm its indicators up"
        else:
            what = (
                f"{predictor.model} needs {needed}: {history - predictor.lookback} to warm its "
                f"features up, {predictor.lookback} for its window"
            )
        raise TooFewCandlesError(
            f"{candles.symbol} has {len(known)} {candles.timeframe} candles{until}; a backtest of "
            f"{what}, and 2 to trade on. Give {more}"
        )
    return known


def _nothing_to_trade(
    config: BacktestConfig, predictor: Predictor | None, candles: Candles, asked: int
) -> str:
    last = iso_utc(int(candles.time[-1]) + candles.period_ms)
    unseen = 0 if predictor is None else predictor.bundle.unseen_from_ms
    if predictor is None or (asked and (config.in_sample or asked >= unseen)):
        return (
            f"nothing to trade on: the candles of {candles.symbol} end at {last}, and the backtest "
            f"starts at {iso_utc(asked)}; it needs at least 2 candles from there on. "
            "Give newer candles or an earlier start"
        )
    return (
        f"nothing to trade on: {predictor.model} has seen everything before {iso_utc(unseen)}, and "
        f"the candles of {candles.symbol} end at {last}. Give newer candles, or --in-sample to "
        "trade on what it has seen"
    )


def _notes(predictor: Predictor | None, candles: Candles) -> tuple[str, ...]:
    return (*_model_notes(predictor, candles), *_candle_notes(candles))


def _model_notes(predictor: Predictor | None, candles: Candles) -> list[str]:
    if predictor is None:
        return []
    bundle = predictor.bundle
    notes = []
    if not bundle.symbols:
        notes.append(UNTRAINED_NOTE)
    elif candles.symbol not in bundle.symbols:
        notes.append(
            f"{candles.symbol} is not among the symbols the model was trained on "
            f"({', '.join(bundle.symbols)})."
        )
    if not bundle.metrics and bundle.evaluated_by:
        notes.append(
            f"The model is a refit without metrics of its own; run {bundle.evaluated_by} "
            "evaluated its configuration."
        )
    if any(calibration.no_skill for calibration in bundle.calibration):
        notes.append("Calibration found no skill: the temperature lies at its bound.")
    return notes


def _candle_notes(candles: Candles) -> list[str]:
    notes = []
    incomplete = int(candles.incomplete.sum())
    if incomplete:
        notes.append(f"{incomplete} of {len(candles)} candles lack some of their finer candles.")
    if candles.market == "continuous":
        span = int(candles.time[-1] - candles.time[0]) // candles.period_ms + 1
        if span > len(candles):
            notes.append(f"{span - len(candles)} of {span} candles are missing.")
    return notes
