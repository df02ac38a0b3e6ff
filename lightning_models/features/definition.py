"""What a feature is: a pure function of candles, its parameters and its warm-up."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

__all__ = ["FeatureDefinition", "FeatureFunction", "Floats", "decay_bars"]

Floats = npt.NDArray[np.float64]

# A start must have decayed below 1e-6 in units of the *scaled* feature. Scaling divides by
# deviations as small as 1e-3 and an early average may be off by a tenth of the price.
START_DECAYS_TO = 1e-9


# From candles [B, 5] and its parameters by name to one value a row [B]; rows before the
# warm-up may hold anything.
FeatureFunction = Callable[..., Floats]


@dataclass(frozen=True)
class FeatureDefinition:
    """A feature's row in the table.

    Parameters
    ----------
    compute
        Uses past and present rows only, is unchanged when prices or volumes are multiplied
        by a constant, and is finite on flat candles without volume.
    warmup
        From the parameters to the number of candles until the start no longer shows.
    defaults
        Parameters and their usual values.
    needs_volume
        Whether the feature means nothing without traded volume.
    """

    compute: FeatureFunction
    warmup: Callable[..., int]
    defaults: Mapping[str, float] = field(default_factory=dict)
    needs_volume: bool = False


def decay_bars(keep: float) -> int:
    """Return after how many steps a recursive average has forgotten its start.

    Parameters
    ----------
    keep
        The share of the old value that each step keeps: ``1 - 2 / (period + 1)`` for an
        exponential average, ``1 - 1 / period`` for Wilder's.

    Examples
    --------
    >>> decay_bars(1 - 1 / 14)
    280
    """
    if keep <= 0:
        return 1
    return math.ceil(math.log(START_DECAYS_TO) / math.log(keep))
