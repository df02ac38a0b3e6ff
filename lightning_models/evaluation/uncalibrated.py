"""What the network said before its calibration: the scores that calibration should better."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lightning_models.evaluation.reliability import ReliabilityBin, reliability_bins

if TYPE_CHECKING:
    import numpy.typing as npt

    from lightning_models.calibration import DirectionCalibration
    from lightning_models.evaluation.outcomes import Outcomes

__all__ = ["CalibrationComparison", "brier_of", "compare_calibration", "ece_of"]


@dataclass(frozen=True)
class CalibrationComparison:
    """Reliability of the same forecasts before and after calibration.

    Parameters
    ----------
    before, after
        Bins of the network's own and of the calibrated probabilities.
    ece, brier
        Expected calibration error and Brier score of the network's own ones.
    """

    before: tuple[ReliabilityBin, ...]
    after: tuple[ReliabilityBin, ...]
    ece: float
    brier: float

    def metrics(self) -> dict[str, float | None]:
        """Return them as metrics, to be read beside ``test/ece`` and ``test/brier``."""
        return {"test/ece_uncalibrated": self.ece, "test/brier_uncalibrated": self.brier}


def compare_calibration(
    outcomes: Outcomes, calibration: DirectionCalibration
) -> CalibrationComparison | None:
    """Undo a calibration and score what the network itself had said.

    Parameters
    ----------
    outcomes
        With calibrated probabilities. A return of exactly zero takes no part.
    calibration
        That made them.

    Returns
    -------
    CalibrationComparison or None
        None where nothing moved.
    """
    moved = outcomes.actual != 0.0
    if not moved.any():
        return None
    went_up = outcomes.actual[moved] > 0.0
    stated = outcomes.probability_up[moved]
    raw = calibration.uncalibrated(stated)
    before = reliability_bins(raw, went_up)
    return CalibrationComparison(
        before=before,
        after=reliability_bins(stated, went_up),
        ece=ece_of(before),
        brier=brier_of(raw, went_up),
    )


def ece_of(bins: tuple[ReliabilityBin, ...]) -> float:
    """Return the expected calibration error of a reliability diagram (Naeini et al., 2015).

    Examples
    --------
    >>> went_up = np.array([True, False, True, True])
    >>> bins = reliability_bins(np.array([0.25, 0.25, 0.75, 0.75]), went_up, bins=2)
    >>> ece_of(bins)
    0.25
    """
    total = sum(one.count for one in bins)
    return sum(one.count * abs(one.predicted - one.observed) for one in bins) / total


def brier_of(probability_up: npt.NDArray[np.float64], went_up: npt.NDArray[np.bool_]) -> float:
    """Return the mean squared difference of probabilities and outcomes (Brier, 1950).

    Examples
    --------
    >>> brier_of(np.array([1.0, 0.5]), np.array([True, False]))
    0.125
    """
    return float(np.mean(np.square(probability_up - went_up)))
