"""Scale features by the mean and deviation of train rows alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, model_validator

if TYPE_CHECKING:
    from lightning_models.features.definition import Floats

__all__ = ["Scaler", "ScalerFit"]


class Scaler(BaseModel):
    """Per-feature mean and deviation, pooled over symbols.

    Parameters
    ----------
    mean, deviation
        ``[F]``, in units of the unscaled features.
    clip
        Scaled values are held within plus and minus this many deviations, so that one
        broken candle cannot push a network where it has never been.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    clip: float = 10.0

    @model_validator(mode="after")
    def _fits_together(self) -> Scaler:
        if len(self.mean) != len(self.deviation) or min(self.deviation, default=1.0) <= 0:
            raise ValueError("a scaler needs one positive deviation for each mean")
        return self

    def transform(self, values: Floats) -> npt.NDArray[np.float32]:
        """Return ``float32 [..., F]`` of the scaled, clipped features."""
        scaled = (values - np.asarray(self.mean)) / np.asarray(self.deviation)
        # np.clip takes longer over one window than the network's head does.
        clipped = np.minimum(np.maximum(scaled, -self.clip), self.clip)
        single: npt.NDArray[np.float32] = clipped.astype(np.float32)
        return single

    def transform_in_place(self, values: npt.NDArray[np.float32]) -> None:
        """Scale ``float32 [B, F]`` where it lies: the training set is never held twice."""
        values -= np.asarray(self.mean, dtype=np.float32)
        values /= np.asarray(self.deviation, dtype=np.float32)
        np.clip(values, -self.clip, self.clip, out=values)


class ScalerFit:
    """Gather mean and deviation symbol by symbol (Chan, Golub and LeVeque, 1979).

    Examples
    --------
    >>> fit = ScalerFit(1)
    >>> fit.add(np.array([[1.0], [3.0]]))
    >>> fit.add(np.array([[5.0]]))
    >>> fit.scaler().mean
    (3.0,)
    """

    def __init__(self, features: int) -> None:
        self.count = 0
        self._mean = np.zeros(features)
        self._squares = np.zeros(features)

    def add(self, values: Floats) -> None:
        """Add rows ``float64 [N, F]``, all finite."""
        if not len(values):
            return
        count, mean = len(values), values.mean(axis=0)
        squares = ((values - mean) ** 2).sum(axis=0)
        total = self.count + count
        shift = mean - self._mean
        self._squares += squares + shift**2 * self.count * count / total
        self._mean += shift * count / total
        self.count = total

    def scaler(self) -> Scaler:
        """Return the scaler; a feature that never moves keeps a deviation of 1."""
        deviation = np.sqrt(self._squares / max(self.count, 1))
        deviation = np.where(deviation > 1e-12, deviation, 1.0)
        return Scaler(mean=tuple(self._mean.tolist()), deviation=tuple(deviation.tolist()))
