"""Look for look-ahead: in features, coarser candles, scalers, slices, labels and forecasts."""

from __future__ import annotations

from lightning_models.audit.calibrating import audit_calibration, training_candles
from lightning_models.audit.coarser import audit_resampling
from lightning_models.audit.forecasts import audit_forecasts
from lightning_models.audit.labels import audit_labels, audit_rows
from lightning_models.audit.models import audit_model
from lightning_models.audit.report import AuditReport, Check, Finding, joined_checks
from lightning_models.audit.scaling import audit_later_rows, audit_scaler
from lightning_models.audit.series import audit_series
from lightning_models.audit.slices import audit_bundle_slices, audit_slices
from lightning_models.audit.truncation import audit_features

__all__ = [
    "AuditReport",
    "Check",
    "Finding",
    "audit_bundle_slices",
    "audit_calibration",
    "audit_features",
    "audit_forecasts",
    "audit_labels",
    "audit_later_rows",
    "audit_model",
    "audit_resampling",
    "audit_rows",
    "audit_scaler",
    "audit_series",
    "audit_slices",
    "joined_checks",
    "training_candles",
]
