"""Feature tables of several pasts against the table of the whole series."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from lightning_models.audit.report import Finding, moment
from lightning_models.candles.timestamps import iso_utc
from lightning_models.features.compute import VOLATILITY_WINDOW

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lightning_models.features import FeatureSpec, FeatureTable

__all__ = ["START", "TableComparison"]

START: Final = "start of the data"

VOLATILITY: Final = "trailing volatility"

Floats = npt.NDArray[np.float64]


@dataclass
class _Trace:
    # What of a column changed, over all cuts.
    first: int = 0
    size: float = 0.0
    gaps: bool = False
    reach: int = 0
    most_known: int = 0
    reach_of_most: int = 0


@dataclass
class TableComparison:
    """What several pasts of one symbol say of a candle, against what its whole series says.

    Parameters
    ----------
    features
        The columns; trailing volatility, which targets are divided by, is compared with them.
    tolerance
        Largest difference that is rounding, in deviations of a column.
    compared
        Values compared so far.
    """

    features: Sequence[FeatureSpec]
    tolerance: float
    compared: int = 0
    _traces: dict[int, _Trace] = field(default_factory=dict)
    _failures: dict[str, str] = field(default_factory=dict)

    def add(self, past: FeatureTable, whole: FeatureTable, rows: int, offset: int = 0) -> None:
        """Compare the first rows of a past with those of the whole series.

        Parameters
        ----------
        past, whole
            Features of the same candles, of fewer and of all of them.
        rows
            How many rows of the past to compare.
        offset
            Where in the whole series the past begins.
        """
        before = slice(offset, offset + rows)
        if not (
            np.array_equal(past.time[:rows], whole.time[before])
            and np.array_equal(past.real[:rows], whole.real[before])
        ):
            at = iso_utc(int(past.time[min(rows, len(past.time)) - 1]))
            self.add_failure("bridging", f"the bridged grid up to {at} is another one")
            return
        mine, theirs = _columns(past)[:rows], _columns(whole)[before]
        warmups = np.array([*(one.warmup for one in self.features), VOLATILITY_WINDOW])
        valid = past.steps[:rows, None] > warmups
        self.compared += int(valid.sum())
        gaps = np.isfinite(mine) != np.isfinite(theirs)
        with np.errstate(invalid="ignore"):
            size = np.where(mine == theirs, 0.0, np.abs(mine - theirs)) / _scale(whole, valid)
        changed = valid & (gaps | (size > self.tolerance))
        for column in np.flatnonzero(changed.any(axis=0)):
            self._record(int(column), changed[:, column], gaps, size, valid, past.time)

    def add_failure(self, subject: str, message: str) -> None:
        """Record that a past could not be computed, or not on the same grid."""
        self._failures.setdefault(subject, message)

    def take_findings(self, symbol: str, kind: str) -> list[Finding]:
        """Return what differed since the last time, one finding for each column.

        Parameters
        ----------
        symbol
            That was compared.
        kind
            `START`, or one of `lightning_models.audit.futures.FUTURES`.
        """
        labels = [*(feature.label for feature in self.features), VOLATILITY]
        found = []
        for column, trace in sorted(self._traces.items()):
            detail, cause = _told(trace, kind)
            found.append(
                Finding(
                    subject=labels[column],
                    symbol=symbol,
                    time=moment(trace.first),
                    size=None if trace.gaps and not trace.size else trace.size,
                    unit="deviations",
                    detail=detail,
                    cause=cause,
                )
            )
        for subject, message in self._failures.items():
            found.append(
                Finding(
                    subject=subject,
                    symbol=symbol,
                    detail=message,
                    cause="it cannot do without candles that it would not have had yet",
                )
            )
        self._traces.clear()
        self._failures.clear()
        return found

    def _record(
        self,
        column: int,
        changed: npt.NDArray[np.bool_],
        gaps: npt.NDArray[np.bool_],
        size: Floats,
        valid: npt.NDArray[np.bool_],
        time: npt.NDArray[np.int64],
    ) -> None:
        rows = np.flatnonzero(changed)
        first = int(time[rows[0]])
        trace = self._traces.setdefault(column, _Trace(first=first))
        trace.first = min(trace.first, first)
        trace.size = max(trace.size, float(np.nan_to_num(size[rows, column], posinf=0.0).max()))
        trace.gaps = trace.gaps or bool(gaps[rows, column].any())
        reach = len(changed) - int(rows[0])
        trace.reach = max(trace.reach, reach)
        known = int(valid[:, column].sum())
        if known >= trace.most_known:
            trace.most_known, trace.reach_of_most = known, reach


def _columns(table: FeatureTable) -> Floats:
    return np.column_stack([table.values, table.volatility])


def _scale(whole: FeatureTable, valid: npt.NDArray[np.bool_]) -> Floats:
    # The feature's own deviation, in which a network sees it; of one that never moves, its size.
    columns = _columns(whole)
    scale = np.ones(columns.shape[1])
    first = int(np.argmax(valid.any(axis=1)))
    for column in range(columns.shape[1]):
        values = columns[first:, column]
        values = values[np.isfinite(values)]
        if len(values):
            scale[column] = values.std() or np.abs(values).max() or 1.0
    return scale


def _told(trace: _Trace, kind: str) -> tuple[str, str]:
    # What is seen, and what usually brings it about.
    ahead = f"{trace.reach} candle{'s' if trace.reach > 1 else ''}"
    if kind == START:
        detail = "changes with where the data starts, after its stated warm-up"
        cause = (
            "a cumulative or expanding statistic, a warm-up that is stated too short, or values "
            "looked up by position outside the candles it was given: use a trailing window, or "
            "state a longer warm-up"
        )
    elif trace.gaps:
        detail = f"is there or missing with what comes up to {ahead} later"
        cause = (
            "a centred window or a backfill (rolling(center=True), bfill, interpolate, "
            "shift(-1)): use trailing windows, and fill forwards"
        )
    elif trace.most_known > 2 and trace.reach_of_most >= 0.9 * trace.most_known:
        detail = "changes as far back as it was compared when the future does"
        cause = (
            "a mean, deviation, minimum, maximum or rank of the whole series: take it over a "
            "trailing window"
        )
    else:
        detail = f"changes with what comes up to {ahead} later"
        cause = (
            f"it reads ahead: shift(-{trace.reach}), an index + {trace.reach}, a centred window, a "
            "backfill, or a coarser candle that had not closed yet"
        )
    return detail, cause
