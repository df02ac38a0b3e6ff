"""Audit a feature set, a model or a strategy for look-ahead."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from experiments.config import TrainConfig
from lightning_models.audit import (
    AuditReport,
    Check,
    audit_features,
    audit_labels,
    audit_later_rows,
    audit_model,
    audit_resampling,
    audit_rows,
    audit_scaler,
    audit_slices,
    joined_checks,
)
from lightning_models.audit.labels import LABELS, SAMPLES
from lightning_models.audit.scaling import SCALER
from lightning_models.audit.slices import SLICES
from lightning_models.candles import Candles
from lightning_models.data.datamodule import CandleDataModule
from lightning_models.data.scaling import Scaler
from lightning_models.errors import ConfigError, FeatureError
from lightning_models.home import Home, find_home
from lightning_models.loading import load_predictor
from lightning_models.predictor import Predictor

__all__ = ["audit"]

# What an audit asks of a strategy must not depend on how seldom it trades by default.
TRADES_EVERYTHING = {"min_confidence": 0.0, "in_sample": True}


def audit(
    subject: TrainConfig | Predictor | str | os.PathLike[str] | None,
    candles: Candles | Sequence[Candles],
    *,
    timeframe: str | None = None,
    strategy: Any = None,
    settings: Mapping[str, Any] | None = None,
    home: str | Path | Home | None = None,
    seed: int = 0,
) -> AuditReport:
    """Look for look-ahead in everything that stands between candles and orders.

    Parameters
    ----------
    subject
        A configuration: its features, scaler, labels and slices on these candles. Or a model,
        as `lightning_models.load_predictor` takes it: its features and forecasts, and, where
        these are the candles it was trained on (newer ones may follow), its scaler, slices and
        calibration. None where a strategy alone is audited.
    candles
        One entry for each symbol. Finer ones than the timeframe are resampled, and the
        resampling is audited with the rest.
    timeframe
        To resample to; a model's own by default.
    strategy
        A ``backtrader.Strategy`` class, run on each symbol. Its parameters ``model`` and
        ``home`` are filled in where it has them. Unless `settings` say otherwise, one with
        ``min_confidence`` and ``in_sample`` trades every signal everywhere: what it may look
        ahead with is asked, not whether it earns.
    settings
        The strategy's parameters.
    home
        Folder of the registry; by default ``$LSTM_HOME`` or the user's data folder.
    seed
        Of random cuts.

    Returns
    -------
    AuditReport

    Raises
    ------
    ConfigError
        If there is nothing to audit, or a strategy fails on its own account.
    CandleError, FeatureError, BundleError, ModelNotFoundError
        As reading, computing and loading do.

    Notes
    -----
    An audit finds what shows on these candles; it proves nothing about others. It cannot see a
    feature that reads the future from elsewhere than its candles by their time, nor whether the
    candles themselves were changed after the fact.

    Examples
    --------
    >>> from experiments.presets import load_train_config
    >>> from lightning_models import simulate_market
    >>> audit(load_train_config("quickstart"), simulate_market(candles=1500)).clean
    True
    """
    given = [candles] if isinstance(candles, Candles) else list(candles)
    if not given:
        raise ConfigError("no candles were given: an audit needs some to run on")
    if subject is None and strategy is None:
        raise ConfigError("nothing to audit: give a configuration, a model or a strategy")
    checks: list[Check] = []
    with _quiet():
        predictor = _predictor_of(subject, home)
        wanted = predictor.timeframe if predictor is not None else timeframe
        if predictor is not None and timeframe not in (None, wanted):
            raise ConfigError(
                f"{predictor.model} reads {wanted} candles: leave out --timeframe {timeframe}"
            )
        if wanted is not None and any(one.timeframe != wanted for one in given):
            checks.append(audit_resampling(given, wanted, seed=seed))
            given = [one.resample(wanted) for one in given]
        if isinstance(subject, TrainConfig):
            checks += _audit_config(subject, given, seed)
        elif predictor is not None:
            checks += audit_model(predictor, given, seed=seed)
        if strategy is not None:
            checks += _audit_strategy(strategy, predictor, given, settings or {}, home, seed)
    return AuditReport(
        subject=_name_of(subject, predictor, strategy),
        symbols=tuple(one.symbol for one in given),
        timeframe=given[0].timeframe,
        checks=tuple(checks),
    )


def _audit_config(config: TrainConfig, candles: Sequence[Candles], seed: int) -> list[Check]:
    checks = audit_features(config.data.features, candles, seed=seed)
    names = (SCALER, LABELS, SAMPLES, SLICES)
    if any(check.status == "failed" and check.name == "features: finite" for check in checks):
        return checks + [
            Check.not_run(name, "a feature has no number at some candles") for name in names
        ]
    try:
        data = CandleDataModule(config.data, candles)
        later = audit_later_rows(
            data.scaler,
            lambda others: _scaler_of(config, others),
            config.data.features,
            data.candles,
            data.slices.edges[1],
            seed=seed,
        )
    except FeatureError as error:
        return checks + [Check.not_run(name, str(error)) for name in names]
    return [
        *checks,
        audit_scaler(data.scaler, config.data.features, data.candles, data.slices.edges[1]),
        later,
        audit_labels(data),
        audit_rows(data, seed=seed),
        audit_slices(data),
    ]


def _scaler_of(config: TrainConfig, candles: Sequence[Candles]) -> Scaler:
    return CandleDataModule(config.data, candles).scaler


def _audit_strategy(
    strategy: Any,
    predictor: Predictor | None,
    candles: Sequence[Candles],
    settings: Mapping[str, Any],
    home: str | Path | Home | None,
    seed: int,
) -> list[Check]:
    from experiments.strategy_audit import audit_strategy  # a second of backtrader

    known = set(strategy.params._getkeys())
    defaults: dict[str, Any] = {
        key: value for key, value in TRADES_EVERYTHING.items() if key in known
    }
    with tempfile.TemporaryDirectory(prefix="lstm-audit-") as scratch:
        if predictor is not None and "model" in known:
            # Forecasts of pasts that never were have no place in the user's own cache.
            defaults |= {"model": _folder_of(predictor, home)}
            defaults |= {"home": scratch} if "home" in known else {}
        parts = [
            audit_strategy(
                strategy,
                one,
                settings={**defaults, **settings},
                required_bars=0 if predictor is None else predictor.required_bars,
                seed=seed,
            )
            for one in candles
        ]
    return [joined_checks(same) for same in zip(*parts, strict=True)]


def _predictor_of(
    subject: TrainConfig | Predictor | str | os.PathLike[str] | None,
    home: str | Path | Home | None,
) -> Predictor | None:
    if subject is None or isinstance(subject, TrainConfig):
        return None
    return subject if isinstance(subject, Predictor) else load_predictor(subject, home=home)


def _folder_of(predictor: Predictor, home: str | Path | Home | None) -> str:
    if not predictor.model.startswith("models:"):
        return predictor.model
    from lightning_models.registry import Registry  # three seconds of MLflow

    folder, _ = Registry(find_home(home)).resolve(predictor.model)
    return str(folder)


def _name_of(subject: Any, predictor: Predictor | None, strategy: Any) -> str:
    names = []
    if isinstance(subject, TrainConfig):
        names.append(f"preset {subject.preset}")
    if predictor is not None:
        names.append(predictor.model)
    if strategy is not None:
        names.append(strategy.__name__)
    return " with ".join(reversed(names))


@contextmanager
def _quiet() -> Iterator[None]:
    # The same candles are read dozens of times; what there is to say of them, reading them said.
    logger = logging.getLogger("lightning_models")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
