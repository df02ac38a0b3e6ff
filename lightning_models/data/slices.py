"""Four slices in time: train, validation, calibration, test; the same cut for all symbols."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, model_validator

from lightning_models.errors import TooFewCandlesError
from lightning_models.timeframes import HOUR_MS

__all__ = ["SLICE_NAMES", "SliceConfig", "SliceName", "Slices", "cut_slices"]

SliceName = Literal["train", "validation", "calibration", "test"]
SLICE_NAMES: Final[tuple[SliceName, ...]] = ("train", "validation", "calibration", "test")


class SliceConfig(BaseModel):
    """Shares of the time span from the first candle of any symbol to the last.

    Parameters
    ----------
    train, validation, calibration, test
        Fractions that add up to 1. A validation or test share of 0 leaves that slice out,
        as a refit on the newest candles does.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    train: float = Field(default=0.70, gt=0, le=1)
    validation: float = Field(default=0.10, ge=0, lt=1)
    calibration: float = Field(default=0.05, gt=0, lt=1)
    test: float = Field(default=0.15, ge=0, lt=1)

    @model_validator(mode="after")
    def _shares_add_up(self) -> SliceConfig:
        total = self.train + self.validation + self.calibration + self.test
        if abs(total - 1.0) > 1e-9:
            raise ValueError(f"the four shares must add up to 1, not {total:g}")
        return self


@dataclass(frozen=True)
class Slices:
    """Where the cuts lie, in milliseconds since the epoch, UTC.

    Parameters
    ----------
    edges
        Five times: the start of train, then each slice's end. A slice holds decisions made
        at or after its start whose labels end by its end.
    embargo_ms
        How long after each inner edge the next slice begins: the furthest label's reach,
        so that no two slices share an outcome.
    """

    edges: tuple[int, int, int, int, int]
    embargo_ms: int

    @property
    def unseen_from(self) -> int:
        """First decision time that nothing in the model has seen: end of calibration + purge."""
        return self.edges[3] + self.embargo_ms

    def bounds(self, name: SliceName) -> tuple[int, int]:
        """Return the first decision time and the last label end of a slice."""
        position = SLICE_NAMES.index(name)
        start = self.edges[position] + (self.embargo_ms if position else 0)
        return start, self.edges[position + 1]

    def members(
        self, name: SliceName, decided: npt.NDArray[np.int64], label_end: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.bool_]:
        """Return which samples a slice holds.

        Parameters
        ----------
        name
            One of `SLICE_NAMES`.
        decided
            ``int64 [N]``, when each sample's last candle closes.
        label_end
            ``int64 [N]``, when its furthest label is known.

        Returns
        -------
        numpy.ndarray
            ``bool [N]``. A sample whose label ends in a later slice belongs to none.

        Examples
        --------
        >>> slices = Slices(edges=(0, 10, 20, 30, 40), embargo_ms=2)
        >>> decided = np.array([7, 9, 11, 12])
        >>> slices.members("train", decided, decided + 2).tolist()
        [True, False, False, False]
        >>> slices.members("validation", decided, decided + 2).tolist()
        [False, False, False, True]
        """
        start, end = self.bounds(name)
        chosen: npt.NDArray[np.bool_] = (decided >= start) & (label_end <= end)
        return chosen

    def as_dict(self) -> dict[str, dict[str, datetime]]:
        """Return each slice's first decision time and last label end, in UTC."""
        return {
            name: {
                edge: datetime.fromtimestamp(time / 1000, UTC)
                for edge, time in zip(("start", "end"), self.bounds(name), strict=True)
            }
            for name in SLICE_NAMES
        }


def cut_slices(config: SliceConfig, start: int, end: int, embargo_ms: int) -> Slices:
    """Cut a time span into the four slices.

    Parameters
    ----------
    config
        The shares.
    start, end
        First open and last close over all symbols, in milliseconds.
    embargo_ms
        Reach of the furthest label.

    Raises
    ------
    TooFewCandlesError
        If a slice that should exist is shorter than the embargo.

    Examples
    --------
    >>> cut_slices(SliceConfig(), 0, 1000, 10).edges
    (0, 700, 800, 850, 1000)
    """
    shares = np.cumsum([config.train, config.validation, config.calibration])
    inner = [start + round(share * (end - start)) for share in shares]
    slices = Slices((start, inner[0], inner[1], inner[2], end), embargo_ms)
    for position, name in enumerate(SLICE_NAMES):
        first, last = slices.bounds(name)
        if getattr(config, name) > 0 and last - first < embargo_ms:
            length = slices.edges[position + 1] - slices.edges[position]
            needed = embargo_ms * (2 if position else 1)
            raise TooFewCandlesError(
                f"the {name} slice would be empty: {getattr(config, name):.0%} of the time span "
                f"is {length / HOUR_MS:.4g} h, and labels that reach {embargo_ms / HOUR_MS:.4g} h "
                f"need {needed / HOUR_MS:.4g} h; give more candles or a shorter horizon"
            )
    return slices
