"""Windowed statistics whose value depends on the window's rows alone.

TA-Lib's and pandas' running sums carry rounding from rows that have left the window, which
a flat stretch turns into noise of any size; these are computed anew for each window.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

if TYPE_CHECKING:
    from lightning_models.features.definition import Floats

__all__ = ["lagged", "windowed_deviation", "windowed_mean", "windowed_median", "windowed_sum"]

# Bounds the scratch memory of a median to a few megabytes whatever the history's length.
CHUNK_ROWS = 8192


def lagged(values: Floats, steps: int) -> Floats:
    """Return the values `steps` rows earlier, NaN where there are none."""
    result = np.full_like(values, np.nan)
    if len(values) > steps:
        result[steps:] = values[:-steps]
    return result


def windowed_sum(values: Floats, window: int) -> Floats:
    """Return the sum of the last `window` rows, NaN where there are fewer."""
    result = np.full_like(values, np.nan)
    if len(values) >= window:
        result[window - 1 :] = sliding_window_view(values, window).sum(axis=1)
    return result


def windowed_mean(values: Floats, window: int) -> Floats:
    """Return the mean of the last `window` rows, NaN where there are fewer."""
    return windowed_sum(values, window) / window


def windowed_deviation(values: Floats, window: int) -> Floats:
    """Return the population deviation of the last `window` rows, NaN where there are fewer."""
    result = np.full_like(values, np.nan)
    for first in range(window - 1, len(values), CHUNK_ROWS):
        last = min(first + CHUNK_ROWS, len(values))
        views = sliding_window_view(values[first - window + 1 : last], window)
        result[first:last] = views.std(axis=1)
    return result


def windowed_median(values: Floats, window: int) -> Floats:
    """Return the median of the last `window` rows, NaN where there are fewer."""
    result = np.full_like(values, np.nan)
    for first in range(window - 1, len(values), CHUNK_ROWS):
        last = min(first + CHUNK_ROWS, len(values))
        views = sliding_window_view(values[first - window + 1 : last], window)
        # A whole sort of short rows beats np.median's partition eight times over.
        ranked = np.sort(views, axis=1)
        result[first:last] = (ranked[:, (window - 1) // 2] + ranked[:, window // 2]) / 2
    return result
