"""Coarser candles of many pasts: none may be shown before it has closed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import numpy as np

from lightning_models.audit.report import Check, Finding, moment
from lightning_models.candles.resampling import resample
from lightning_models.timeframes import period_ms

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lightning_models.candles.candles import Candles

__all__ = ["audit_resampling"]

BINS: Final = 12
SPARSE: Final = 6
MOST_CUTS: Final = 96


def audit_resampling(
    candles: Sequence[Candles],
    timeframe: str,
    *,
    resampler: Callable[[Candles, str], Candles] = resample,
    seed: int = 0,
) -> Check:
    """Resample many pasts and compare them with the whole series.

    Parameters
    ----------
    candles
        The finer candles, one entry for each symbol.
    timeframe
        The coarser one.
    resampler
        Under test: from candles and a timeframe to coarser candles.
    seed
        Of the random cuts; the newest bins are cut at every finer candle.

    Returns
    -------
    Check
        Each coarser candle has closed when it appears, and never changes from then on.
    """
    random = np.random.default_rng(seed)
    period = period_ms(timeframe)
    found: dict[tuple[str, str], Finding] = {}
    compared = 0
    for one in candles:
        whole = resampler(one, timeframe)
        newest = len(one) - min(BINS * period // one.period_ms, MOST_CUTS)
        cuts = {*range(max(1, newest), len(one) + 1)}
        cuts |= {int(cut) for cut in random.integers(1, len(one) + 1, size=SPARSE)}
        for known in sorted(cuts):
            end = int(one.time[known - 1]) + one.period_ms
            past = resampler(one.between(None, end), timeframe)
            compared += len(past)
            for finding in _differences(past, whole, end):
                found.setdefault((one.symbol, finding.detail), finding)
    return Check(
        name="coarser candles: future cut off",
        what=f"each {timeframe} candle has closed when it appears, and stays as it is",
        compared=compared,
        findings=tuple(found.values()),
    )


def _differences(past: Candles, whole: Candles, now: int) -> list[Finding]:
    unfinished = np.flatnonzero(past.time + past.period_ms > now)
    count = min(len(past), len(whole))
    other = (past.time[:count] != whole.time[:count]) | (
        past.ohlcv[:count] != whole.ohlcv[:count]
    ).any(axis=1)
    changed = np.flatnonzero(np.concatenate([other, np.ones(len(past) - count, dtype=np.bool_)]))
    found = []
    if len(unfinished):
        # A hole's end is known once a later candle has come; the clock says nothing else.
        found.append(
            Finding(
                subject=f"{past.timeframe} candles",
                symbol=past.symbol,
                time=moment(int(past.time[unfinished[0]])),
                size=float(past.time[unfinished[0]] + past.period_ms - now) / past.period_ms,
                unit="of a candle early",
                detail="appears before it has closed",
                cause="a coarser candle is stamped at its open, or its last part is emitted: "
                "show a bin once it is over (Candles.resample)",
            )
        )
    if len(changed):
        row = int(changed[0])
        size = None
        if row < count:
            size = float(np.abs(past.ohlcv[row, 3] / whole.ohlcv[row, 3] - 1.0))
        found.append(
            Finding(
                subject=f"{past.timeframe} candles",
                symbol=past.symbol,
                time=moment(int(past.time[row])),
                size=size,
                unit="of the close",
                detail="changes after it has appeared",
                cause="an unfinished bin is emitted, or bins are counted from the end of the "
                "data: count them from the epoch and emit finished ones",
            )
        )
    return found
