"""Forecasts beside what happened: the rows that every score is computed from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lightning_models.errors import LSTMStrategiesError

__all__ = ["EvaluationError", "Outcomes"]


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
