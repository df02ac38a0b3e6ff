"""Calibration, thresholds and bounds against the calibration slice that they must come from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from lightning_models.audit.outcomes import independent_labels
from lightning_models.audit.report import Check, Finding
from lightning_models.calibration import DirectionCalibration, fit_direction_calibration
from lightning_models.candles.candles import fingerprint_of
from lightning_models.forecasters import DirectForecaster
from lightning_models.intervals.conformal import fit_intervals

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from lightning_models.bundle import Bundle
    from lightning_models.candles.candles import Candles
    from lightning_models.predictor import Predictor

__all__ = ["CALIBRATION", "CALIBRATION_TOLERANCE", "audit_calibration", "training_candles"]

CALIBRATION: Final = "calibration: its own slice only"

CALIBRATION_TOLERANCE: Final = 2e-3
"""Largest difference of a probability, or of an offset in trailing volatility.

An optimiser stops near the optimum; networks compute in single precision.
"""

Floats = npt.NDArray[np.float64]


def training_candles(bundle: Bundle, candles: Sequence[Candles]) -> list[Candles] | None:
    """Return the part of some candles that a model was trained and evaluated on.

    Parameters
    ----------
    bundle
        Of the model.
    candles
        One entry for each symbol; later ones may follow, earlier ones may not.

    Returns
    -------
    list of Candles or None
        None where their fingerprint is not the one in the bundle.
    """
    train, calibration = bundle.slices["train"], bundle.slices["calibration"]
    newest = max(span.end for span in bundle.slices.values())
    # A fold of a walk-forward is given nothing after its calibration slice, and no symbol that
    # is too short for it.
    for start, end in ((None, newest), (train.start, calibration.end)):
        first = None if start is None else round(start.timestamp() * 1000)
        known = [one.between(first, round(end.timestamp() * 1000)) for one in candles]
        known = [one for one in known if len(one) >= bundle.warmup + bundle.lookback + 2]
        if known and fingerprint_of(known) == bundle.data_fingerprint:
            return known
    return None


def audit_calibration(predictor: Predictor, candles: Sequence[Candles]) -> Check:
    """Fit calibration, thresholds and offsets anew on the calibration slice and compare.

    Parameters
    ----------
    predictor
        Of the model.
    candles
        Those it was trained on, as `training_candles` returns them.

    Returns
    -------
    Check
        In what they do to the slice's probabilities rather than in their own numbers, which
        are hardly determined where a network says little. Labels are looked up in the candles.
    """
    bundle = predictor.bundle
    parts = [_calibration_rows(predictor, one) for one in candles]
    probability, quantiles, units, returns, decided = (
        np.concatenate([part[column] for part in parts]) for column in range(5)
    )
    order = np.argsort(decided, kind="stable")
    found: list[Finding] = []
    start = bundle.slices["calibration"].start
    for column, horizon in enumerate(bundle.horizons):
        fitted = bundle.calibration[column]
        logits = _logit(fitted.uncalibrated(probability[:, column]))
        again = (
            fit_direction_calibration(logits, returns[:, column])
            if _calibrates(predictor)
            else DirectionCalibration()
        )
        stated = probability[:, column]
        off = float(np.abs(again.probability(logits) - stated).max(initial=0.0))
        if off > CALIBRATION_TOLERANCE:
            found.append(_finding(f"calibration {horizon.name}", start, off, "of P(up)"))
        confidence = np.maximum(stated, 1.0 - stated)
        quantiles_of = np.quantile(confidence, np.linspace(0, 1, 101)) if len(stated) else stated
        given = np.array(bundle.thresholds.confidence_quantiles[column])
        if len(stated) and (off := float(np.abs(quantiles_of - given).max())) > (
            CALIBRATION_TOLERANCE
        ):
            found.append(_finding(f"thresholds {horizon.name}", start, off, "of the confidence"))
    if bundle.intervals is not None and len(order):
        scaled = quantiles[order] / units[order, :, None]
        offsets = np.array(fit_intervals(scaled, (returns / units)[order]).offsets)
        difference = np.abs(offsets - np.array(bundle.intervals.offsets)).max(axis=1)
        for column in np.flatnonzero(difference > CALIBRATION_TOLERANCE).tolist():
            name = f"bounds {bundle.horizons[column].name}"
            found.append(_finding(name, start, float(difference[column]), "of the volatility"))
    return Check(
        name=CALIBRATION,
        what="calibration, thresholds and bounds fitted anew on the calibration slice; equal to "
        f"{CALIBRATION_TOLERANCE:g} in what they state there",
        compared=probability.size,
        findings=tuple(found),
    )


def _calibration_rows(
    predictor: Predictor, candles: Candles
) -> tuple[Floats, Floats, Floats, Floats, npt.NDArray[np.int64]]:
    # Stated P(up) and quantiles, units, returns and decision times of the slice's samples.
    bundle = predictor.bundle
    span = bundle.slices["calibration"]
    start, last = (round(each.timestamp() * 1000) for each in (span.start, span.end))
    forecasts = predictor.forecast_arrays(candles.time, candles.ohlcv)
    returns, end = independent_labels(candles, bundle.horizons, bundle.target)
    decided = candles.time + candles.period_ms
    inside = (end > 0) & (decided >= start) & (end <= last)
    inside &= np.isfinite(forecasts.probability).all(axis=1)
    units = predictor.units(candles.time, candles.ohlcv)
    return (
        forecasts.probability[inside],
        forecasts.quantiles[inside, :, :3],
        units[inside],
        returns[inside],
        decided[inside],
    )


def _calibrates(predictor: Predictor) -> bool:
    # A forecaster that states a rate of ups as it is has nothing to calibrate.
    network = predictor.network
    return network.calibrates if isinstance(network, DirectForecaster) else True


def _logit(probability: Floats) -> Floats:
    logits: Floats = np.log(probability) - np.log1p(-probability)
    return logits


def _finding(subject: str, start: datetime, size: float, unit: str) -> Finding:
    return Finding(
        subject=subject,
        time=start,
        size=size,
        unit=unit,
        detail="is not what the calibration slice gives",
        cause="it was fitted on other rows too, on the test slice in the worst case: fit it on the "
        "calibration slice alone",
    )
