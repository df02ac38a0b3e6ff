"""How the triple-barrier labels of all symbols ended: classes, weights, effective samples."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from lightning_models.data.uniqueness import average_uniqueness
from lightning_models.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lightning_models.data.horizons import Horizon
    from lightning_models.data.slices import SliceName
    from lightning_models.data.targets import TripleBarrier
    from lightning_models.data.triple_barrier import BarrierLabels

__all__ = ["BarrierSamples"]

_log = logging.getLogger(__name__)

Rows = npt.NDArray[np.int64]

_OUTCOMES: Final = {
    1: ("touch the upper barrier", "lower data.target.upper, which is {upper:g}"),
    -1: ("touch the lower barrier", "lower data.target.lower, which is {lower:g}"),
    0: (
        "time out",
        "raise data.target.upper and data.target.lower, which are {upper:g} and {lower:g}",
    ),
}


class BarrierSamples:
    """The outcomes of all symbols' labels, filled in symbol by symbol.

    Parameters
    ----------
    target
        What the labels are.
    horizons
        The label axis.
    rows
        Of all symbols.
    """

    def __init__(self, target: TripleBarrier, horizons: Sequence[Horizon], rows: int) -> None:
        self.target = target
        self.horizons = horizons
        self.outcome = np.zeros((rows, len(horizons)), dtype=np.int8)
        self.exit = np.full((rows, len(horizons)), -1, dtype=np.int64)
        self.ambiguous = 0

    def take(self, here: slice, labels: BarrierLabels) -> None:
        """Put a symbol's labels into its rows."""
        self.outcome[here] = labels.outcome
        self.exit[here] = np.where(labels.exit >= 0, labels.exit + here.start, -1)
        self.ambiguous += labels.ambiguous

    def timed_out(self) -> npt.NDArray[np.float32]:
        """Return ``float32 [rows, H]``: 1 where a label reached no barrier, otherwise 0."""
        none: npt.NDArray[np.bool_] = (self.exit >= 0) & (self.outcome == 0)
        return none.astype(np.float32)

    def check(self, slices: Mapping[SliceName, Rows]) -> None:
        """Refuse slices that lack a class.

        Parameters
        ----------
        slices
            From each slice's name to the rows of its samples. A test slice that lacks one is
            only warned of: nothing is learned from it.

        Raises
        ------
        ConfigError
            Naming slice, class and horizon.
        """
        if self.ambiguous:
            _log.info(
                "%d candles have no label: a later candle reaches both barriers, and does not "
                "tell which came first",
                self.ambiguous,
            )
        for name, rows in slices.items():
            for position, horizon in enumerate(self.horizons):
                for outcome, (happens, remedy) in _OUTCOMES.items():
                    if not len(rows) or (self.outcome[rows, position] == outcome).any():
                        continue
                    message = (
                        f"none of the {len(rows)} labels of the {name} slice {happens} over "
                        f"{horizon.name}"
                    )
                    if name == "test":
                        _log.warning("%s: how well that is forecast cannot be said", message)
                        continue
                    hint = remedy.format(upper=self.target.upper, lower=self.target.lower)
                    raise ConfigError(f"{message}: {hint}, or give more candles")

    def uniqueness(self, rows: Rows) -> npt.NDArray[np.float64]:
        """Return the average uniqueness of a slice's labels among themselves.

        Parameters
        ----------
        rows
            ``int64 [N]``, of the slice's samples.

        Returns
        -------
        numpy.ndarray
            ``float64 [N, H]``. Labels of different symbols share no bar.
        """
        # Rows of different symbols lie apart: one count of living labels serves them all.
        return np.column_stack([average_uniqueness(rows + 1, last) for last in self.exit[rows].T])

    def weights(self, slices: Mapping[SliceName, Rows]) -> npt.NDArray[np.float32] | None:
        """Return the weight of each sample's labels, 1 on average over its slice.

        Returns
        -------
        numpy.ndarray or None
            ``float32 [rows, H]``, 0 outside of samples; None where all count alike.
        """
        if self.target.weights == "none":
            return None
        weights = np.zeros(self.outcome.shape, dtype=np.float32)
        for rows in slices.values():
            if len(rows):
                unique = self.uniqueness(rows)
                weights[rows] = unique / unique.mean(axis=0)
        return weights
