"""Which candles a backtest trades on, and what of them the model had seen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from experiments.config import BacktestConfig
from experiments.result import Slice
from lightning_models.candles import Candles, iso_utc, read_candles
from lightning_models.candles.timestamps import iso_utc_of, milliseconds_of
from lightning_models.errors import TooFewCandlesError
from lightning_models.forecasters.untrained import UNTRAINED_NOTE
from lightning_models.predictor import Predictor
from lightning_models.timeframes import bar_stamp

__all__ = ["Period", "choose_period"]


@dataclass(frozen=True)
class Period:
    """The candles that a run needs, and the first decision that may trade.

    Parameters
    ----------
    predictor
        The model.
    candles
        From the warm-up of the first decision on.
    first
        Row of the first candle whose close may decide on an entry.
    slice
        Whether the model had seen the decisions from there on.
    notes
        What a reader of the result should know about model and candles.
    """

    predictor: Predictor
    candles: Candles
    first: int
    slice: Slice
    notes: tuple[str, ...]

    @property
    def from_time(self) -> int:
        """Stamp of the bar of row `first`, milliseconds."""
        return int(bar_stamp(self.candles.time[self.first :][:1], self.candles.timeframe)[0])


def choose_period(config: BacktestConfig, predictor: Predictor, given: Candles) -> Period:
    """Return what a backtest trades on.

    Parameters
    ----------
    config
        Its start and end, and whether it may trade on what the model has seen.
    predictor
        The model.
    given
        Candles of one symbol, in the model's timeframe or a finer one.

    Raises
    ------
    TooFewCandlesError
        If there is nothing to trade on: too short a history, or no candle that the model has
        not seen.
    """
    candles = _until(config, predictor, read_candles(given, timeframe=predictor.timeframe))
    needed = predictor.required_bars
    decided = candles.time + candles.period_ms
    unseen = predictor.bundle.unseen_from_ms
    asked = 0 if config.start is None else milliseconds_of(config.start)
    allowed = asked if config.in_sample else max(asked, unseen)
    first = max(int(np.searchsorted(decided, allowed)), needed - 1)
    # A decision needs a candle after it whose open fills its order.
    if first > len(candles) - 2:
        raise TooFewCandlesError(_nothing_to_trade(config, predictor, candles))
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


def _until(config: BacktestConfig, predictor: Predictor, candles: Candles) -> Candles:
    known = candles
    if config.end is not None:
        known = candles.between(None, milliseconds_of(config.end) - candles.period_ms + 1)
    needed = predictor.required_bars + 2
    if len(known) < needed:
        until = "" if config.end is None else f" that close by {iso_utc_of(config.end)}"
        more = "more history" if len(candles) < needed else "a later end"
        raise TooFewCandlesError(
            f"{candles.symbol} has {len(known)} {candles.timeframe} candles{until}; a backtest of "
            f"{predictor.model} needs {needed}: {predictor.warmup} to warm its features up, "
            f"{predictor.lookback} for its window, and 2 to trade on. Give {more}"
        )
    return known


def _nothing_to_trade(config: BacktestConfig, predictor: Predictor, candles: Candles) -> str:
    last = iso_utc(int(candles.time[-1]) + candles.period_ms)
    unseen = predictor.bundle.unseen_from_ms
    if config.start is not None and (config.in_sample or milliseconds_of(config.start) >= unseen):
        return (
            f"nothing to trade on: the candles of {candles.symbol} end at {last}, and the backtest "
            f"starts at {iso_utc_of(config.start)}; it needs at least 2 candles from there on. "
            "Give newer candles or an earlier start"
        )
    return (
        f"nothing to trade on: {predictor.model} has seen everything before {iso_utc(unseen)}, and "
        f"the candles of {candles.symbol} end at {last}. Give newer candles, or --in-sample to "
        "trade on what it has seen"
    )


def _notes(predictor: Predictor, candles: Candles) -> tuple[str, ...]:
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
    incomplete = int(candles.incomplete.sum())
    if incomplete:
        notes.append(f"{incomplete} of {len(candles)} candles lack some of their finer candles.")
    if candles.market == "continuous":
        span = int(candles.time[-1] - candles.time[0]) // candles.period_ms + 1
        if span > len(candles):
            notes.append(f"{span - len(candles)} of {span} candles are missing.")
    return tuple(notes)
