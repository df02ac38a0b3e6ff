"""From a fitted network to a bundle: calibration, thresholds, golden forecast."""

from __future__ import annotations

import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from lightning_models.bundle import Bundle, Golden, SliceSpan, Thresholds
from lightning_models.calibration import DirectionCalibration, fit_direction_calibration
from lightning_models.candles.candles import Candles, fingerprint_of
from lightning_models.data.slices import SLICE_NAMES
from lightning_models.inference import NetworkRunner
from lightning_models.predictor import Predictor

if TYPE_CHECKING:
    from lightning_models.data.datamodule import CandleDataModule
    from lightning_models.networks import ForecastNetwork, NetworkConfig

__all__ = ["export_bundle"]

VERSIONED = ("lstm-strategies", "numpy", "pytorch-lightning", "TA-Lib", "torch")

Floats = npt.NDArray[np.float64]


def export_bundle(
    network: ForecastNetwork,
    config: NetworkConfig,
    data: CandleDataModule,
    *,
    evaluated_by: str | None = None,
) -> Bundle:
    """Calibrate a fitted network on its calibration slice and describe it.

    Parameters
    ----------
    network
        With its final weights.
    config
        What it was built from.
    data
        The slices that it was fitted on.
    evaluated_by
        MLflow run whose test slice its metrics come from.

    Returns
    -------
    Bundle
        Without metrics, which need a predictor, and without the weights' hash.
    """
    runner = NetworkRunner(network, data.config.lookback)
    samples = data.samples["calibration"]
    logits, _ = runner.run(data.features.numpy(), samples.ends)
    returns = data.returns[samples.ends].astype(np.float64)
    calibration = tuple(
        fit_direction_calibration(logits[:, column], returns[:, column])
        for column in range(len(data.horizons))
    )
    unfinished = Bundle(
        weights_sha256="",
        network=config,
        features=data.config.features,
        mode=data.config.mode,
        lookback=data.config.lookback,
        warmup=data.warmup,
        bridged_share=data.config.bridged_share,
        scaler=data.scaler,
        calibration=calibration,
        base_rate=_base_rate(data),
        thresholds=_thresholds(calibration, logits),
        horizons=data.horizons,
        symbols=data.train_symbols,
        timeframe=data.timeframe,
        market=data.market,
        slices={
            name: SliceSpan(**span, samples=len(data.samples[name]))
            for name, span in data.slices.as_dict().items()
            if name in SLICE_NAMES
        },
        unseen_from=datetime.fromtimestamp(data.slices.unseen_from / 1000, UTC),
        data_fingerprint=fingerprint_of(data.candles),
        evaluated_by=evaluated_by,
        metrics={},
        versions=_versions(),
        git_commit=_git_commit(),
        created_at=datetime.now(UTC),
        golden=Golden(time=(), ohlcv=(), probability=(), quantiles=()),
    )
    return unfinished.model_copy(update={"golden": _golden(unfinished, runner, data)})


def _base_rate(data: CandleDataModule) -> tuple[float, ...]:
    returns = data.returns[data.samples["train"].ends]
    moved = (returns != 0).sum(axis=0)
    return tuple(((returns > 0).sum(axis=0) / np.maximum(moved, 1)).tolist())


def _thresholds(calibration: tuple[DirectionCalibration, ...], logits: Floats) -> Thresholds:
    rows = []
    for column, fitted in enumerate(calibration):
        probability = fitted.probability(logits[:, column])
        confidence = np.maximum(probability, 1.0 - probability)
        rows.append(tuple(np.quantile(confidence, np.linspace(0, 1, 101)).tolist()))
    return Thresholds(confidence_quantiles=tuple(rows))


def _golden(bundle: Bundle, runner: NetworkRunner, data: CandleDataModule) -> Golden:
    # The last calibration sample: its candles and what the finished model says of them.
    samples = data.samples["calibration"]
    candles: Candles = data.candles[int(samples.symbol[-1])]
    opened = int(samples.decided[-1]) - candles.period_ms
    last = int(np.searchsorted(candles.time, opened)) + 1
    rows = slice(last - bundle.lookback - bundle.warmup, last)
    predictor = Predictor(bundle, runner, model="", sha256="")
    probability, quantiles = predictor.forecast_latest(candles.time[rows], candles.ohlcv[rows])
    return Golden(
        time=tuple(candles.time[rows].tolist()),
        ohlcv=tuple(tuple(row) for row in candles.ohlcv[rows].tolist()),
        probability=tuple(probability.tolist()),
        quantiles=tuple(tuple(row) for row in quantiles.tolist()),
    )


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in VERSIONED:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def _git_commit() -> str | None:
    # Of the code that made the bundle, where it runs from a checkout.
    package = Path(__file__).resolve().parent
    if not (package.parent / ".git").exists():
        return None
    try:
        answer = subprocess.run(
            ["git", "rev-parse", "HEAD"],  # noqa: S607 - wherever git is on this machine
            cwd=package,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()
