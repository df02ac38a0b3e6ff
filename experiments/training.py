"""Train a model on candles, evaluate it on later ones, and register it."""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import mlflow
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from experiments.config import TrainConfig, flatten
from experiments.fitting import fit_model, needs_checkpoints
from experiments.tracking import (
    log_candles,
    log_metrics,
    log_parameters,
    set_tags,
    tracked_run,
)
from lightning_models.bundle import Bundle, bundle_sha256, write_bundle
from lightning_models.candles import Candles, fingerprint_of
from lightning_models.checkpoints import write_whole
from lightning_models.data.datamodule import CandleDataModule
from lightning_models.divergence import read_divergences
from lightning_models.errors import StorageError, TrainingError
from lightning_models.evaluation import (
    Assessment,
    Outcomes,
    assess,
    confusion_figure,
    evaluate,
    loss_figure,
    reliability_figure,
)
from lightning_models.evaluation.barriers import barrier_metrics
from lightning_models.evaluation.collect import collect_outcomes
from lightning_models.evaluation.coverage import coverage_metrics, measure_coverage
from lightning_models.evaluation.uncalibrated import compare_calibration
from lightning_models.export import export_bundle
from lightning_models.home import Home, find_home
from lightning_models.inference import runner_of
from lightning_models.loading import load_predictor_from
from lightning_models.predictor import Predictor
from lightning_models.redaction import redacted
from lightning_models.registry import RegisteredModel, Registry, check_name
from lightning_models.training import EpochMetrics, FitResult

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["TrainedModel", "train", "trained_model"]

_log = logging.getLogger(__name__)

RUN_FILE = "run.json"

# What a resumed run may change, and what it may change once it has lost its loss.
ALWAYS_FREE: Final = {"epochs", "patience", "checkpoint_seconds"}
FREE_AFTER_DIVERGENCE: Final = {"learning_rate", "gradient_clip"}


def train(
    config: TrainConfig,
    candles: Sequence[Candles],
    *,
    name: str,
    home: str | Path | Home | None = None,
    resume: str | None = None,
    promote: bool = False,
    refit: bool = False,
    progress: bool = False,
) -> RegisteredModel:
    """Train, calibrate, evaluate and register a model.

    Parameters
    ----------
    config
        Network, features, horizons, slices, training.
    candles
        One entry for each symbol, all of one timeframe.
    name
        To register under, and of the MLflow experiment.
    home
        Folder of the tracking database; by default ``$LSTM_HOME`` or the user's data folder.
    resume
        MLflow run to continue where it stopped, or ``last``. One whose loss was lost goes on
        from its best epoch, and `config` may then give another learning rate or gradient clip.
    promote
        Whether the new version becomes the champion although there is one.
    refit
        Fit again on slices that end at the newest candle, for the number of epochs that the
        newest version of `name` took that this configuration was evaluated by. Such a version
        has no metrics of its own.
    progress
        Whether to show progress bars on standard error.

    Returns
    -------
    RegisteredModel

    Raises
    ------
    CandleError, TooFewCandlesError, FeatureError, ConfigError
        If the candles or the configuration cannot be trained on.
    TrainingInterrupted
        On Ctrl-C; the checkpoints stay and the message says how to resume.
    TrainingError, StorageError
        If training or writing fails.
    """
    check_name(name)
    folder = find_home(home).create()
    registry = Registry(folder)
    evaluated_by = None
    if refit:
        from experiments.refit import refit_config

        config, evaluated_by = refit_config(config, registry, name, candles)
    data = CandleDataModule(
        config.data, candles, batch_size=config.training.batch_size, seed=config.training.seed
    )
    run_id = _run_to_resume(folder, resume, config, data, name) if resume else None
    with tracked_run(folder, name, run_name=config.preset, run_id=run_id) as run:
        if run_id is not None and read_divergences(folder.checkpoints(run_id)):
            used = config.training.model_dump(include=FREE_AFTER_DIVERGENCE)
            set_tags(run, {"resumed_with": json.dumps(used, sort_keys=True)})
        trained = trained_model(
            config,
            data,
            home=folder,
            run_id=run,
            name=name,
            evaluated_by=evaluated_by,
            resume=resume is not None,
            progress=progress,
        )
        trained.log(run)
        return trained.register(registry, name=name, run_id=run, promote=promote)


def trained_model(
    config: TrainConfig,
    data: CandleDataModule,
    *,
    home: Home,
    run_id: str,
    name: str,
    evaluated_by: str | None = None,
    resume: bool = False,
    progress: bool = False,
) -> TrainedModel:
    """Train, calibrate and evaluate a model without registering it.

    Parameters
    ----------
    config
        Of the model.
    data
        Its slices.
    home
        Where the checkpoints go.
    run_id
        An MLflow run that is active now; configuration and epochs are logged to it.
    name
        Of the model, to find its checkpoints by.
    evaluated_by
        Run that evaluated the configuration, in a refit: there is no evaluation then.
    resume
        Whether to continue from the run's checkpoints.
    progress
        Whether to show progress bars on standard error.

    Raises
    ------
    TrainingInterrupted
        On Ctrl-C.
    TrainingError, StorageError
        If training or writing fails.
    """
    _describe(run_id, config, data)
    result = _fit(config, data, home, run_id, name, resume, progress)
    bundle = export_bundle(
        result.network, config.network, data, evaluated_by=evaluated_by or run_id
    )
    trained = TrainedModel(bundle, result, data)
    return trained.evaluated(config.training.seed) if evaluated_by is None else trained


@dataclass(frozen=True)
class TrainedModel:
    """A fitted network with its bundle, on the way to the registry.

    Parameters
    ----------
    bundle
        Calibrated; with metrics once evaluated.
    fit
        The network and its epochs.
    data
        What it was fitted on.
    outcomes, assessment
        Of the test slice, once evaluated.
    """

    bundle: Bundle
    fit: FitResult
    data: CandleDataModule
    outcomes: Outcomes | None = None
    assessment: Assessment | None = None

    @property
    def verdict(self) -> str:
        """Whether there is skill, and which baselines it beats, in words."""
        if self.assessment is not None:
            return self.assessment.verdict
        return f"Not evaluated: its configuration was, by run {self.bundle.evaluated_by}."

    def evaluated(self, seed: int) -> TrainedModel:
        """Return it with the metrics of the test slice, where there is one."""
        metrics = self.fit.metrics()
        outcomes = assessment = None
        if len(self.data.samples["test"]):
            runner = runner_of(
                self.fit.network, lookback=self.bundle.lookback, burn_in=self.bundle.burn_in
            )
            predictor = Predictor(self.bundle, runner, model="", sha256="")
            start, end = self.data.slices.bounds("test")
            outcomes = collect_outcomes(predictor, self.data.candles, start=start, end=end)
            assessment = assess(outcomes, self.data, seed=seed)
            metrics.update(assessment.metrics())
            metrics.update(barrier_metrics(outcomes, self.data, seed=seed))
            metrics.update(coverage_metrics(measure_coverage(outcomes, seed=seed)))
            compared = compare_calibration(outcomes, self.bundle.calibration[0])
            metrics.update({} if compared is None else compared.metrics())
            metrics.update(_further_horizons(predictor, self.data, seed))
        bundle = self.bundle.model_copy(update={"metrics": metrics})
        return TrainedModel(bundle, self.fit, self.data, outcomes, assessment)

    def log(self, run_id: str) -> None:
        """Log metrics, verdict, figures and ``evaluation.json`` to a run that is active now."""
        self._log_figures()
        log_metrics(run_id, self.bundle.metrics)
        set_tags(run_id, {"verdict": self.verdict})
        if self.assessment is not None:
            mlflow.log_dict(self.assessment.model_dump(mode="json"), "evaluation.json")

    def register(
        self, registry: Registry, *, name: str, run_id: str, promote: bool
    ) -> RegisteredModel:
        """Write the bundle, log it to a run that is active now and register it."""
        scratch = Path(tempfile.mkdtemp(prefix="lstm-bundle-"))
        try:
            folder = write_bundle(scratch / "bundle", self.bundle, self.fit.network)
            load_predictor_from(folder, name)
            set_tags(run_id, {"bundle_sha256": bundle_sha256(folder)})
            model = registry.register(folder, name=name, run_id=run_id, promote=promote)
            return replace(model, verdict=self.verdict)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def _log_figures(self) -> None:
        history = self.fit.history
        figures = {
            "loss": loss_figure(
                [row["train/loss"] for row in history],
                [row["val/loss"] for row in history if "val/loss" in row],
                best_epoch=self.fit.best_epoch - 1,
            )
        }
        if self.outcomes is not None and len(self.outcomes):
            compared = compare_calibration(self.outcomes, self.bundle.calibration[0])
            if compared is not None:
                figures["reliability"] = reliability_figure(compared.after, compared.before)
            figures["confusion"] = confusion_figure(
                self.outcomes.probability_up, self.outcomes.actual
            )
        for title, figure in figures.items():
            mlflow.log_figure(figure, f"figures/{title}.png")


def _further_horizons(
    predictor: Predictor, data: CandleDataModule, seed: int
) -> dict[str, float | None]:
    # The assessment beside the baselines is the first horizon's; the others have their scores.
    start, end = data.slices.bounds("test")
    found: dict[str, float | None] = {}
    for place, horizon in enumerate(predictor.horizons[1:], start=1):
        outcomes = collect_outcomes(predictor, data.candles, start=start, end=end, horizon=place)
        scores = evaluate(outcomes, seed=seed)
        found[f"test/horizon/{horizon}/n"] = float(scores.n)
        found |= scores.metrics(f"test/horizon/{horizon}")
    return found


def _fit(
    config: TrainConfig,
    data: CandleDataModule,
    home: Home,
    run_id: str,
    name: str,
    resume: bool,
    progress: bool,
) -> FitResult:

    def log_epoch(epoch: int, metrics: EpochMetrics) -> None:
        log_metrics(run_id, metrics, step=epoch)

    checkpoints = home.checkpoints(run_id)
    try:
        if needs_checkpoints(config):
            checkpoints.mkdir(parents=True, exist_ok=True)
            record = json.dumps(_identity(config, data, name), indent=1)
            write_whole(checkpoints / RUN_FILE, record.encode())
    except OSError as error:
        raise StorageError(
            f"{checkpoints} cannot be written: {error.strerror or error}. Make room, or choose "
            "another --home"
        ) from error
    return fit_model(
        config,
        data,
        checkpoints=checkpoints,
        resume=resume,
        resume_hint=f"To go on, repeat the same command with --resume {run_id}",
        on_epoch=log_epoch,
        progress=progress,
    )


def _describe(run_id: str, config: TrainConfig, data: CandleDataModule) -> None:
    log_parameters(run_id, flatten(config.model_dump(mode="json")))
    set_tags(
        run_id,
        {
            "kind": "train",
            "preset": config.preset,
            "symbols": ",".join(data.symbols),
            "timeframe": data.timeframe,
            "data_fingerprint": fingerprint_of(data.candles),
        },
    )
    log_candles(run_id, data.candles, context="training")


def _identity(config: TrainConfig, data: CandleDataModule, name: str) -> dict[str, str]:
    # What must be the same for a checkpoint to be continued. More epochs may be asked for.
    training = config.training.model_dump(mode="json", exclude=ALWAYS_FREE)
    return {
        "name": name,
        "network": json.dumps(config.network.model_dump(mode="json"), sort_keys=True),
        "data": json.dumps(config.data.model_dump(mode="json"), sort_keys=True),
        "training": json.dumps(training, sort_keys=True),
        "candles": fingerprint_of(data.candles),
    }


def _run_to_resume(
    home: Home, resume: str, config: TrainConfig, data: CandleDataModule, name: str
) -> str:
    found = {path.parent.name: path for path in home.path.glob(f"checkpoints/*/{RUN_FILE}")}
    if resume == "last":
        of_name = [run for run, path in found.items() if _record_of(path).get("name") == name]
        newest: Callable[[str], float] = lambda run: found[run].stat().st_mtime  # noqa: E731
        run_id = max(of_name, key=newest, default="")
    else:
        run_id = resume
    if run_id not in found:
        raise TrainingError(
            f"no run {resume!r} to resume in {home.path / 'checkpoints'}: "
            f"there {'is ' + ', '.join(sorted(found)) if found else 'is none'}. "
            "Train without --resume, or give the --home it was started with"
        )
    then, now = _record_of(found[run_id]), _identity(config, data, name)
    diverged = _divergence_to_avoid(home.checkpoints(run_id), run_id, config)
    changed = [key for key in now if then.get(key) != now[key]]
    if diverged and "training" in changed and _fixed(then) == _fixed(now):
        changed.remove("training")
    if changed:
        raise TrainingError(
            f"run {run_id} was started with other {', '.join(changed)}: resume it with the same "
            "command, or train anew without --resume"
        )
    try:
        status = mlflow.get_run(run_id).info.status
    except (MlflowException, SQLAlchemyError) as error:
        raise TrainingError(
            f"{redacted(home.tracking_uri)} does not know run {run_id}: give the --home or the "
            "MLFLOW_TRACKING_URI it was started with, or train anew without --resume"
        ) from error
    if status == "FINISHED":
        raise TrainingError(f"run {run_id} has finished and was registered: nothing to resume")
    return run_id


def _divergence_to_avoid(folder: Path, run_id: str, config: TrainConfig) -> bool:
    # Whether the run lost its loss; the same settings would lose it again, batch by batch.
    found = read_divergences(folder)
    now = config.training.model_dump(include=FREE_AFTER_DIVERGENCE)
    for one in found:
        if one.model_dump(include=FREE_AFTER_DIVERGENCE) == now:
            raise TrainingError(
                f"run {run_id} lost its loss in {one.place} with a learning rate of "
                f"{one.learning_rate:g} and a gradient clip of {one.gradient_clip:g}, and would "
                "lose it again: give a lower --set training.learning_rate or another --set "
                "training.gradient_clip"
            )
    return bool(found)


def _fixed(record: dict[str, str]) -> Any:
    training = json.loads(record.get("training", "{}"))
    return {key: value for key, value in training.items() if key not in FREE_AFTER_DIVERGENCE}


def _record_of(path: Path) -> dict[str, str]:
    try:
        record: dict[str, str] = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise TrainingError(
            f"the record {path} cannot be read: {error}. Train anew without --resume"
        ) from error
    return record
