"""Forecasts beside what happened: the rows that every score is computed from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from lightning_models.errors import LSTMStrategiesError
from lightning_models.forecast import LEVELS

__all__ = ["COLUMNS", "EvaluationError", "Outcomes"]

COLUMNS: Final = (
    "symbol",
    "time",
    "probability_up",
    "predicted",
    "actual",
    "bounds",
    "timed_out",
    "probability_timeout",
)
"""Arrays of `Outcomes`: a row for each forecast."""


class EvaluationError(LSTMStrategiesError):
    """Forecasts and outcomes that cannot be scored as they were given."""


@dataclass(frozen=True, eq=False)
class Outcomes:
    """Forecasts of one horizon with the returns that followed, in any order of rows.

    The arrays are copied and closed for writing. Rows without a forecast are left out by
    whoever builds this.

    Parameters
    ----------
    symbol
        ``int64 [N]``, index of each row's symbol.
    time
        ``int64 [N]``, moment of the forecast in milliseconds since the epoch, UTC.
    probability_up
        ``float64 [N]``, calibrated probability that the return is above zero.
    predicted
        ``float64 [N]``, median forecast of the return (fraction).
    actual
        ``float64 [N]``, return that followed, from the next open to the horizon's close
        (fraction). Exactly zero is neither up nor down.
    base_rate
        Share of ups among the train labels that moved: the constant probability of the
        majority-class baseline. Clipped to [0.01, 0.99].
    overlap
        How many consecutive forecasts share a part of their labels: the horizon in candles.
        The bootstrap's blocks are at least this long.
    bounds
        ``float64 [N, level, 2]``, lower and upper bound of the return (fraction) at each of
        `lightning_models.forecast.LEVELS`; None where the model has no intervals.
    timed_out, probability_timeout
        ``bool [N]`` and ``float64 [N]``, of triple-barrier labels: whether none of the barriers
        was reached, and how probable the model called that. `actual` is then the return at the
        exit. None with any other model.

    Raises
    ------
    EvaluationError
        If lengths differ, a value is not finite or a probability lies outside [0, 1].
    """

    symbol: npt.NDArray[np.int64]
    time: npt.NDArray[np.int64]
    probability_up: npt.NDArray[np.float64]
    predicted: npt.NDArray[np.float64]
    actual: npt.NDArray[np.float64]
    base_rate: float
    overlap: int = 1
    bounds: npt.NDArray[np.float64] | None = None
    timed_out: npt.NDArray[np.bool_] | None = None
    probability_timeout: npt.NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        """Own the arrays and refuse what cannot be scored."""
        for name, kind in (
            ("symbol", np.int64),
            ("time", np.int64),
            ("probability_up", np.float64),
            ("predicted", np.float64),
            ("actual", np.float64),
        ):
            array = np.array(getattr(self, name), dtype=kind)
            if array.shape != np.shape(self.time):
                raise EvaluationError(
                    f"outcomes: {name} has shape {array.shape}, time has {np.shape(self.time)}; "
                    "give one value a forecast"
                )
            bad = np.flatnonzero(~np.isfinite(array))
            if len(bad):
                raise EvaluationError(
                    f"outcomes: {name} of row {bad[0]} is {array[bad[0]]}; leave rows without a "
                    "forecast or an outcome out"
                )
            array.setflags(write=False)
            object.__setattr__(self, name, array)
        if self.bounds is not None:
            object.__setattr__(self, "bounds", _checked_bounds(self.bounds, len(self.time)))
        for name in ("timed_out", "probability_timeout"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, _closed_column(self, name))
        outside = np.flatnonzero((self.probability_up < 0.0) | (self.probability_up > 1.0))
        if len(outside):
            raise EvaluationError(
                f"outcomes: probability_up of row {outside[0]} is "
                f"{self.probability_up[outside[0]]}; a probability lies in [0, 1]"
            )
        if not np.isfinite(self.base_rate):
            raise EvaluationError(
                f"outcomes: base_rate is {self.base_rate}; give a share in [0, 1]"
            )
        if self.overlap < 1:
            raise EvaluationError(f"outcomes: overlap is {self.overlap}; a horizon is 1 or more")
        object.__setattr__(self, "base_rate", float(np.clip(self.base_rate, 0.01, 0.99)))

    def __len__(self) -> int:
        """Return the number of forecasts."""
        return len(self.time)

    @classmethod
    def joined(cls, parts: Sequence[Outcomes], *, base_rate: float) -> Outcomes:
        """Return the forecasts of several models of one kind, one after the other.

        Parameters
        ----------
        parts
            At least one. A column that not all of them have is left out.
        base_rate
            Of them together.
        """
        columns: dict[str, Any] = {}
        for name in COLUMNS:
            given = [getattr(part, name) for part in parts]
            whole = all(column is not None for column in given)
            columns[name] = np.concatenate(given) if whole else None
        return replace(parts[0], base_rate=base_rate, **columns)

    def take(self, rows: npt.NDArray[np.bool_]) -> Outcomes:
        """Return the forecasts of some rows.

        Parameters
        ----------
        rows
            ``bool [N]``.
        """
        columns: dict[str, Any] = {
            name: column[rows] for name in COLUMNS if (column := getattr(self, name)) is not None
        }
        return replace(self, **columns)


def _closed_column(outcomes: Outcomes, name: str) -> npt.NDArray[np.generic]:
    column: npt.NDArray[np.generic] = np.array(getattr(outcomes, name))
    if column.shape != outcomes.time.shape:
        raise EvaluationError(
            f"outcomes: {name} has shape {column.shape}, time has {outcomes.time.shape}; give one "
            "value a forecast, or leave it out"
        )
    column.setflags(write=False)
    return column


def _checked_bounds(given: npt.NDArray[np.float64], forecasts: int) -> npt.NDArray[np.float64]:
    bounds = np.array(given, dtype=np.float64)
    if bounds.shape != (forecasts, len(LEVELS), 2) or not np.isfinite(bounds).all():
        raise EvaluationError(
            f"outcomes: bounds of shape {bounds.shape} for {forecasts} forecasts; give finite "
            f"numbers [{forecasts}, {len(LEVELS)}, 2], or leave them out"
        )
    bounds.setflags(write=False)
    return bounds
