"""A scaler against the train rows that it must come from."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from lightning_models.audit.futures import exchanged_future
from lightning_models.audit.report import Check, Finding, moment
from lightning_models.features import compute_features
from lightning_models.features.compute import warmup_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lightning_models.candles.candles import Candles
    from lightning_models.data.scaling import Scaler
    from lightning_models.features import FeatureSpec

__all__ = ["SCALER", "SCALER_TOLERANCE", "audit_later_rows", "audit_scaler", "train_rows"]

SCALER: Final = "scaler: train rows only"

SCALER_TOLERANCE: Final = 1e-6
"""Largest difference of a mean or a deviation that is rounding, in deviations."""

Floats = npt.NDArray[np.float64]


def train_rows(
    features: Sequence[FeatureSpec], candles: Sequence[Candles], train_end: int | None
) -> Floats:
    """Return the features that a scaler may know.

    Parameters
    ----------
    features
        To compute.
    candles
        One entry for each symbol.
    train_end
        End of the train slice in milliseconds; None for all rows there are.

    Returns
    -------
    numpy.ndarray
        ``float64 [N, F]``: rows of real candles past their warm-up that close by then, computed
        from candles that close by then.
    """
    warmup, parts = warmup_of(features), []
    for one in candles:
        known = one if train_end is None else one.between(None, train_end - one.period_ms + 1)
        if not len(known):
            continue
        table = compute_features(
            known.time,
            known.ohlcv,
            features=features,
            timeframe=one.timeframe,
            market=one.market,
        )
        parts.append(table.values[table.real & (table.steps > warmup)])
    return np.concatenate(parts) if parts else np.empty((0, len(features)))


def audit_scaler(
    scaler: Scaler, features: Sequence[FeatureSpec], candles: Sequence[Candles], train_end: int
) -> Check:
    """Compute mean and deviation of the train rows anew and compare.

    Parameters
    ----------
    scaler
        Under test.
    features
        That it scales.
    candles
        That it was fitted on, one entry for each symbol.
    train_end
        End of the train slice in milliseconds.
    """
    right = train_rows(features, candles, train_end)
    every = train_rows(features, candles, None)
    found = []
    for column, feature in enumerate(features):
        off = _difference(scaler, column, right[:, column])
        if off <= SCALER_TOLERANCE:
            continue
        everything = _difference(scaler, column, every[:, column]) <= SCALER_TOLERANCE
        found.append(
            Finding(
                subject=feature.label,
                time=moment(train_end),
                size=off,
                unit="deviations",
                detail="the scaler's mean or deviation is that of all rows, later ones included"
                if everything
                else "the scaler's mean or deviation is not that of the train rows",
                cause="the scaler was fitted before the split: fit it on train rows alone"
                if everything
                else "the scaler was fitted on other rows, or the feature changes in the train "
                "slice when later candles are there",
            )
        )
    return Check(
        name=SCALER,
        what="mean and deviation of each feature, computed anew from candles of the train slice; "
        f"equal to {SCALER_TOLERANCE:g} deviations",
        compared=2 * len(features) if len(right) else 0,
        findings=tuple(found),
    )


def audit_later_rows(
    scaler: Scaler,
    fit: Callable[[Sequence[Candles]], Scaler],
    features: Sequence[FeatureSpec],
    candles: Sequence[Candles],
    train_end: int,
    *,
    seed: int = 0,
) -> Check:
    """Exchange all candles behind the train slice, fit again and compare.

    Parameters
    ----------
    scaler
        Of the candles as they are.
    fit
        From candles to a scaler, as training does it.
    features, candles, train_end
        As in `audit_scaler`.
    seed
        Of the exchanged candles.
    """
    others = []
    for one in candles:
        known = int(np.searchsorted(one.time + one.period_ms, train_end, side="right"))
        others.append(replace(one, ohlcv=exchanged_future(one.ohlcv, known, seed)))
    again = fit(others)
    found = []
    for column, feature in enumerate(features):
        shift = abs(again.mean[column] - scaler.mean[column]) / scaler.deviation[column]
        spread = abs(again.deviation[column] / scaler.deviation[column] - 1.0)
        off = max(shift, spread)
        if off > SCALER_TOLERANCE:
            found.append(
                Finding(
                    subject=feature.label,
                    time=moment(train_end),
                    size=off,
                    unit="deviations",
                    detail="the scaler changes when candles behind the train slice do",
                    cause="the scaler was fitted before the split, or the feature looks ahead",
                )
            )
    return Check(
        name="scaler: later candles exchanged",
        what="mean and deviation of each feature, fitted again with all candles behind the train "
        f"slice exchanged; equal to {SCALER_TOLERANCE:g} deviations",
        compared=2 * len(features),
        findings=tuple(found),
    )


def _difference(scaler: Scaler, column: int, values: Floats) -> float:
    if not len(values):
        return np.inf
    deviation = float(values.std())
    deviation = deviation if deviation > 1e-12 else 1.0
    shift = abs(scaler.mean[column] - float(values.mean())) / deviation
    return max(shift, abs(scaler.deviation[column] / deviation - 1.0))
