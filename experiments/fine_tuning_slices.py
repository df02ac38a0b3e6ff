"""Where to cut the candles that a model has not seen, and how many of them it takes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from lightning_models.candles.timestamps import iso_utc
from lightning_models.data.datamodule import MIN_SAMPLES
from lightning_models.data.slices import SLICE_NAMES, SliceConfig, Slices, cut_slices
from lightning_models.errors import TooFewCandlesError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lightning_models.bundle import Bundle
    from lightning_models.candles import Candles

__all__ = ["NEWER_SLICES", "NEWER_SLICES_WITHOUT_TEST", "candles_needed", "cut_newer"]

NEWER_SLICES: Final = SliceConfig(train=0.60, validation=0.10, calibration=0.10, test=0.20)
NEWER_SLICES_WITHOUT_TEST: Final = SliceConfig(
    train=0.70, validation=0.15, calibration=0.15, test=0.0
)


def candles_needed(slices: SliceConfig, reach: int) -> int:
    """Return how many candles it takes for each slice to hold the fewest samples allowed.

    Parameters
    ----------
    slices
        Shares of them.
    reach
        Candles from a decision to the end of its furthest label.

    Examples
    --------
    >>> candles_needed(NEWER_SLICES, reach=1)
    350
    """
    needed: list[int] = [
        # The first slice has no purge in front of it. Cuts fall between candles: one more.
        math.ceil((MIN_SAMPLES + reach * (2 if name != "train" else 1) + 1) / share)
        for name in SLICE_NAMES
        if (share := getattr(slices, name)) > 0
    ]
    return max(needed)


def cut_newer(
    bundle: Bundle, model: str, candles: Sequence[Candles], shares: SliceConfig | None
) -> tuple[Slices, SliceConfig]:
    """Cut the candles after a model's `unseen_from`.

    Parameters
    ----------
    bundle, model
        The model and its name.
    candles
        At least one entry, none of them empty.
    shares
        Of the newer candles; by default `NEWER_SLICES`, or `NEWER_SLICES_WITHOUT_TEST` where
        they are too few for that.

    Returns
    -------
    tuple
        The cuts, and the shares they follow. The first slice begins at the model's
        `unseen_from`, or later where the candles do: at the first that can be forecast.

    Raises
    ------
    TooFewCandlesError
        If the newer candles are too few; it says how many it takes.
    """
    period = candles[0].period_ms
    reach = max(horizon.candles for horizon in bundle.horizons)
    end = max(int(one.time[-1]) for one in candles) + period
    warm = (bundle.warmup + bundle.lookback) * period
    start = max(bundle.unseen_from_ms, min(int(one.time[0]) for one in candles) + warm)
    there = max(0, (end - start) // period)
    for chosen in (NEWER_SLICES, NEWER_SLICES_WITHOUT_TEST) if shares is None else (shares,):
        needed = candles_needed(chosen, reach)
        if there >= needed:
            return cut_slices(chosen, start, end, reach * period), chosen
    late = (
        f" and the {bundle.warmup + bundle.lookback} from {iso_utc(start - warm)} on that its "
        "first forecast takes"
        if start > bundle.unseen_from_ms
        else ""
    )
    raise TooFewCandlesError(
        f"the candles end at {iso_utc(end)}: {there} come after {iso_utc(bundle.unseen_from_ms)}, "
        f"up to where {model} has seen them{late}, and to learn from them, calibrate and check it "
        f"takes at least {needed}. Give {needed - there} more, or wait until there are so many"
    )
