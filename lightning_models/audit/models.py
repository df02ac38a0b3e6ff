"""Everything about a model that can look ahead."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lightning_models.audit.calibrating import CALIBRATION, audit_calibration, training_candles
from lightning_models.audit.forecasts import audit_forecasts
from lightning_models.audit.report import Check, joined_checks
from lightning_models.audit.scaling import SCALER, audit_scaler
from lightning_models.audit.series import audit_series
from lightning_models.audit.slices import SLICES, audit_bundle_slices
from lightning_models.audit.truncation import audit_features
from lightning_models.forecast_series import ForecastSeries

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lightning_models.candles.candles import Candles
    from lightning_models.predictor import Predictor

__all__ = ["audit_model"]

OTHER_CANDLES = "these are other candles than it was trained on (their fingerprint differs)"
NOTHING_FITTED = "nothing in it was fitted"


def audit_model(predictor: Predictor, candles: Sequence[Candles], *, seed: int = 0) -> list[Check]:
    """Audit a model's features and forecasts, and what was fitted where its candles are at hand.

    Parameters
    ----------
    predictor
        Of one model, or of several that follow one another.
    candles
        One entry for each symbol, of the model's timeframe. Where they are those it was trained
        on, which newer ones may follow, its scaler, slices and calibration are audited too.
    seed
        Of random cuts.

    Returns
    -------
    list of Check
        In a series of models, each one's own are joined, and its findings name it.
    """
    checks = [
        *audit_features(predictor.bundle.features, candles, seed=seed),
        *audit_forecasts(predictor, candles, seed=seed),
    ]
    if not isinstance(predictor, ForecastSeries):
        return checks + _audit_fitted(predictor, candles)
    parts = [
        [check.of(f"model {number}") for check in _audit_fitted(member, candles)]
        for number, member in enumerate(predictor.members, start=1)
    ]
    checks.append(audit_series(predictor, candles))
    return checks + [joined_checks(same) for same in zip(*parts, strict=True)]


def _audit_fitted(predictor: Predictor, candles: Sequence[Candles]) -> list[Check]:
    bundle = predictor.bundle
    if not bundle.slices:
        return [Check.not_run(name, NOTHING_FITTED) for name in (SLICES, SCALER, CALIBRATION)]
    known = training_candles(bundle, candles)
    slices = audit_bundle_slices(bundle, known)
    if known is None:
        return [
            slices,
            Check.not_run(SCALER, OTHER_CANDLES),
            Check.not_run(CALIBRATION, OTHER_CANDLES),
        ]
    train_end = round(bundle.slices["train"].end.timestamp() * 1000)
    return [
        slices,
        audit_scaler(bundle.scaler, bundle.features, known, train_end)
        if bundle.parent is None
        else Check.not_run(SCALER, f"its scaler is that of {bundle.parent.model}: audit that one"),
        audit_calibration(predictor, known),
    ]
