"""From a fitted network to a bundle: calibration, thresholds, golden forecast."""

from __future__ import annotations

import platform
import subprocess
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from torch import nn

from lightning_models.bundle import Bundle, Golden, SliceSpan, Thresholds
from lightning_models.burn_in import BURN_IN_TOLERANCE, measure_burn_in
from lightning_models.calibration import DirectionCalibration, fit_direction_calibration
from lightning_models.candles.candles import Candles, fingerprint_of
from lightning_models.data.slices import SLICE_NAMES
from lightning_models.errors import TooFewCandlesError
from lightning_models.forecasters import DirectForecaster
from lightning_models.inference import runner_of
from lightning_models.intervals.conformal import fit_intervals
from lightning_models.predictor import Predictor
from lightning_models.timeouts import (
    TimeoutCalibration,
    fit_timeout_calibration,
    timeout_logits,
)

if TYPE_CHECKING:
    from lightning_models.data.datamodule import CandleDataModule
    from lightning_models.inference import Runner
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
    burn_in = measure_burn_in(network, data) if data.config.mode == "sequence" else None
    runner = runner_of(network, lookback=data.config.lookback, burn_in=burn_in)
    samples = data.samples["calibration"]
    starts = np.array([first for first, _ in data.runs])
    logits, quantiles = runner.run(data.features.numpy(), samples.ends, starts=starts)
    returns = data.returns[samples.ends].astype(np.float64)
    calibration = tuple(
        fit_direction_calibration(logits[:, column], returns[:, column])
        if _is_calibrated(network)
        else DirectionCalibration()
        for column in range(len(data.horizons))
    )
    in_time = np.argsort(samples.decided, kind="stable")
    targets = data.targets.numpy()[samples.ends].astype(np.float64)
    reach = np.sqrt([horizon.candles for horizon in data.horizons])
    units = data.volatility[samples.ends].astype(np.float64)[:, None] * reach
    unfinished = Bundle(
        weights_sha256="",
        network=config,
        features=data.config.features,
        mode=data.config.mode,
        lookback=data.config.lookback,
        warmup=data.warmup,
        bridged_share=data.config.bridged_share,
        burn_in=burn_in,
        burn_in_tolerance=None if burn_in is None else BURN_IN_TOLERANCE,
        scaler=data.scaler,
        calibration=calibration,
        base_rate=_base_rate(data),
        thresholds=_thresholds(calibration, logits, np.abs(quantiles[..., 1] * units)),
        intervals=fit_intervals(quantiles[in_time], targets[in_time]),
        horizons=data.horizons,
        target=data.config.target,
        timeouts=_timeouts(data, logits),
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
        versions=dict(_versions()),
        git_commit=_git_commit(),
        created_at=datetime.now(UTC),
        golden=Golden(time=(), ohlcv=(), probability=(), quantiles=()),
    )
    return unfinished.model_copy(update={"golden": _golden(unfinished, runner, data)})


def _is_calibrated(network: nn.Module) -> bool:
    return network.calibrates if isinstance(network, DirectForecaster) else True


def _base_rate(data: CandleDataModule) -> tuple[float, ...]:
    returns = data.returns[data.samples["train"].ends]
    moved = (returns != 0).sum(axis=0)
    return tuple(((returns > 0).sum(axis=0) / np.maximum(moved, 1)).tolist())


def _timeouts(data: CandleDataModule, logits: Floats) -> tuple[TimeoutCalibration, ...]:
    # One for each horizon, of barriers only.
    if data.timed_out is None:
        return ()
    came = data.timed_out.numpy() > 0
    rates = came[data.samples["train"].ends].mean(axis=0).tolist()
    calibrating = came[data.samples["calibration"].ends]
    return tuple(
        fit_timeout_calibration(
            timeout_logits(logits, position, len(rates), rate), calibrating[:, position], rate=rate
        )
        for position, rate in enumerate(rates)
    )


def _thresholds(
    calibration: tuple[DirectionCalibration, ...], logits: Floats, moves: Floats
) -> Thresholds:
    probability = np.stack(
        [fitted.probability(logits[:, column]) for column, fitted in enumerate(calibration)], axis=1
    )
    return Thresholds(
        confidence_quantiles=_percentiles(np.maximum(probability, 1.0 - probability)),
        move_quantiles=_percentiles(moves),
    )


def _percentiles(values: Floats) -> tuple[tuple[float, ...], ...]:
    rows = np.quantile(values, np.linspace(0, 1, 101), axis=0).T
    return tuple(tuple(row) for row in rows.tolist())


def _golden(bundle: Bundle, runner: Runner, data: CandleDataModule) -> Golden:
    # The last calibration sample: its candles and what the finished model says of them.
    candles, last = _last_sample(bundle, data)
    rows = slice(last - bundle.required_bars, last)
    predictor = Predictor(bundle, runner, model="", sha256="")
    probability, quantiles = predictor.forecast_latest(candles.time[rows], candles.ohlcv[rows])
    return Golden(
        time=tuple(candles.time[rows].tolist()),
        ohlcv=tuple(tuple(row) for row in candles.ohlcv[rows].tolist()),
        probability=tuple(probability.tolist()),
        quantiles=tuple(tuple(row) for row in quantiles[:, :3].tolist()),
    )


def _last_sample(bundle: Bundle, data: CandleDataModule) -> tuple[Candles, int]:
    # Its candles and how many of them it has behind it, itself included. A symbol that was
    # listed late may lack the burn-in.
    samples = data.samples["calibration"]
    for sample in range(len(samples) - 1, -1, -1):
        candles = data.candles[int(samples.symbol[sample])]
        opened = int(samples.decided[sample]) - candles.period_ms
        last = int(np.searchsorted(candles.time, opened)) + 1
        if last >= bundle.required_bars:
            return candles, last
    raise TooFewCandlesError(
        f"no symbol has the {bundle.required_bars} candles before the end of its calibration "
        "slice that a forecast of this model needs: give more candles"
    )


# Neither changes while a process lasts, and a study exports thousands of models.
@cache
def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in VERSIONED:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


@cache
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
