"""Continue a registered model on newer candles and register what comes of it."""

from __future__ import annotations

import logging
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Final

from pydantic import BaseModel, ConfigDict, Field, PositiveInt

from experiments.config import TrainConfig, flatten
from experiments.fine_tuning_slices import cut_newer
from experiments.parent import Parent, load_parent
from experiments.parent_comparison import compare_with_parent, judgement_of, parent_metrics
from experiments.tracking import log_candles, log_metrics, log_parameters, set_tags, tracked_run
from experiments.training import TrainedModel
from lightning_models.bundle import ParentModel, SliceSpan, load_network
from lightning_models.candles import Candles, fingerprint_of
from lightning_models.candles.timestamps import milliseconds_of
from lightning_models.data.datamodule import DataConfig
from lightning_models.data.replay import ReplayDataModule
from lightning_models.data.slices import SliceConfig
from lightning_models.errors import BundleError, ConfigError, StorageError, TooFewCandlesError
from lightning_models.export import export_bundle
from lightning_models.home import Home, find_home
from lightning_models.registry import RegisteredModel, Registry, check_name
from lightning_models.training import EpochMetrics, TrainingConfig, fit

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from lightning_models.bundle import Bundle
    from lightning_models.evaluation import Comparison
    from lightning_models.training import FitResult

__all__ = ["FineTuneConfig", "FineTunedModel", "fine_tune"]

_log = logging.getLogger(__name__)

LEARNING_RATE_SHARE: Final = 0.1
REPLAY: Final = 0.25


class FineTuneConfig(BaseModel):
    """How a model is continued.

    Parameters
    ----------
    learning_rate
        By default a tenth of what the model was trained with, and as it is where that was fine
        tuning already.
    epochs
        At most.
    patience
        Epochs without a better validation loss before it stops; 0 never stops early.
    replay
        Share of each epoch's windows (chunks in sequence mode) that is drawn from the candles
        that the model was trained on, in [0, 1). By default 0.25 where the given candles reach
        back so far, and otherwise none, with a warning.
    slices
        Shares of the newer candles. By default 0.60, 0.10, 0.10 and 0.20, and where they are
        too few for that, 0.70, 0.15, 0.15 and no test slice.
    batch_size
        By default the model's own.
    seed
        Of batch order, replay and dropout.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    learning_rate: float | None = Field(default=None, gt=0, le=1)
    epochs: PositiveInt = 5
    patience: int = Field(default=2, ge=0)
    replay: float | None = Field(default=None, ge=0, lt=1)
    slices: SliceConfig | None = None
    batch_size: int | None = Field(default=None, ge=2)
    seed: int = Field(default=0, ge=0, lt=2**32)


@dataclass(frozen=True)
class FineTunedModel(RegisteredModel):
    """A continued model that was registered.

    Parameters
    ----------
    parent
        Fixed name of the model that it continues.
    comparison
        The parent as a baseline on the same test rows; None without a test slice.
    replay
        Share of the windows that came from older candles.
    judgement
        In words: whether fine-tuning helped.
    """

    parent: str = ""
    comparison: Comparison | None = None
    replay: float = 0.0
    judgement: str = ""


def fine_tune(
    model: str,
    candles: Sequence[Candles],
    *,
    config: FineTuneConfig | None = None,
    name: str | None = None,
    home: str | Path | Home | None = None,
    progress: bool = False,
) -> FineTunedModel:
    """Continue a registered model on candles that it has not seen.

    Its network goes on from its weights at a low learning rate, on the train slice of the
    candles after its `unseen_from` alone, older windows replayed against forgetting. Its scaler
    stays: the weights are numbers for inputs in its units. Calibration, bounds, thresholds and
    base rate are fitted anew on the newer slices. On the newer test slice, which neither has
    seen, it is compared with its parent.

    Parameters
    ----------
    model
        ``models:/name@alias`` or ``models:/name/3``; a single network.
    candles
        One entry for each symbol, in the model's timeframe: newer candles, and with them those
        it was trained on, if they shall be replayed.
    config
        Learning rate, epochs, replay, slices.
    name
        To register under; by default the parent's. The new version is the challenger where the
        name has a champion.
    home
        Folder of the registry; by default ``$LSTM_HOME`` or the user's data folder.
    progress
        Whether to show progress bars on standard error.

    Returns
    -------
    FineTunedModel

    Raises
    ------
    ConfigError
        If the model is none that gradients were trained, its learning rate is not known, or
        there is nothing to replay where that was asked for.
    BundleError
        If the candles are of another timeframe or market.
    TooFewCandlesError
        If there are too few newer candles; the message says how many it takes.
    ModelNotFoundError, TrainingInterrupted, TrainingError, StorageError
        If the model is not found, training is stopped or fails, or the registry cannot be used.
    """
    config = FineTuneConfig() if config is None else config
    folder = find_home(home).create()
    registry = Registry(folder)
    parent = load_parent(model, registry)
    chosen = check_name(name or parent.name)
    _check_candles(parent, candles)
    training = _training(config, parent)
    slices, shares = cut_newer(parent.bundle, parent.model, candles, config.slices)
    replay = _replay(config, parent, candles)
    described = TrainConfig(
        preset=parent.preset,
        network=parent.bundle.network,
        data=_data_config(parent, shares),
        training=training,
    )
    data = ReplayDataModule(
        described.data,
        candles,
        slices=slices,
        scaler=parent.bundle.scaler,
        older=_older_spans(parent.bundle),
        replay=replay,
        batch_size=training.batch_size,
        seed=training.seed,
    )
    with tracked_run(folder, chosen, run_name="fine-tune") as run:
        _describe(run, described, parent, data, replay)
        result = _fit(parent, data, training, folder, run, progress)
        trained = _trained(result, parent, data, run, shares)
        trained, comparison = _evaluated(trained, parent, data, training.seed)
        trained.log(run)
        judgement = judgement_of(comparison, parent.model)
        set_tags(run, {"fine_tuning": judgement})
        registered = trained.register(registry, name=chosen, run_id=run, promote=False)
    given = {field.name: getattr(registered, field.name) for field in fields(RegisteredModel)}
    given["verdict"] = (
        registered.verdict if trained.assessment else "Not evaluated: it has no test slice."
    )
    return FineTunedModel(
        **given, parent=parent.model, comparison=comparison, replay=replay, judgement=judgement
    )


def _check_candles(parent: Parent, candles: Sequence[Candles]) -> None:
    bundle = parent.bundle
    if not candles:
        raise ConfigError("no candles were given: name at least one file or frame")
    for one in candles:
        if not len(one):
            raise TooFewCandlesError(f"{one.symbol} has no candles: give some, or leave it out")
        if (one.timeframe, one.market) != (bundle.timeframe, bundle.market):
            raise BundleError(
                f"{parent.model} reads {bundle.timeframe} candles of a {bundle.market} market, and "
                f"those of {one.symbol} are {one.timeframe}, {one.market}: resample them with "
                f"--timeframe {bundle.timeframe}, or give --market {bundle.market}"
            )
        if one.symbol not in bundle.symbols:
            _log.warning(
                "%s was not trained on %s, only on %s",
                parent.model,
                one.symbol,
                ", ".join(bundle.symbols),
            )


def _training(config: FineTuneConfig, parent: Parent) -> TrainingConfig:
    rate = config.learning_rate
    if rate is None:
        if parent.training is None:
            raise ConfigError(
                f"the run {parent.run_id} that made {parent.model} does not say its learning rate, "
                "of which a tenth would be taken: give --set learning_rate=0.0001, say"
            )
        share = 1.0 if parent.bundle.parent is not None else LEARNING_RATE_SHARE
        rate = parent.training.learning_rate * share
    base = parent.training or TrainingConfig()
    return base.model_copy(
        update={
            "learning_rate": rate,
            "epochs": config.epochs,
            "patience": config.patience,
            "batch_size": config.batch_size or base.batch_size,
            "seed": config.seed,
        }
    )


def _older_spans(bundle: Bundle) -> list[tuple[int, int]]:
    return [(milliseconds_of(one.start), milliseconds_of(one.end)) for one in _trained_on(bundle)]


def _trained_on(bundle: Bundle) -> tuple[SliceSpan, ...]:
    before = () if bundle.parent is None else bundle.parent.trained_on
    return (*before, bundle.slices["train"])


def _replay(config: FineTuneConfig, parent: Parent, candles: Sequence[Candles]) -> float:
    share = REPLAY if config.replay is None else config.replay
    bundle = parent.bundle
    spans = _older_spans(bundle)
    # A first window needs so many candles, and its label some more.
    least = bundle.warmup + bundle.lookback + max(one.candles for one in bundle.horizons)
    reaches = any(
        len(one) > least and int(one.time[least]) < end for one in candles for _, end in spans
    )
    if not share or reaches:
        return share
    first = min(one.start for one in _trained_on(bundle))
    last = max(one.end for one in _trained_on(bundle))
    message = (
        f"the candles do not reach back to those that {parent.model} was trained on "
        f"({first:%Y-%m-%d} to {last:%Y-%m-%d}), of which older windows would be replayed"
    )
    if config.replay is not None:
        raise ConfigError(f"{message}: give these candles too, or --replay 0")
    _log.warning("%s: it learns from newer windows alone and may forget older ones", message)
    return 0.0


def _data_config(parent: Parent, shares: SliceConfig) -> DataConfig:
    bundle = parent.bundle
    return DataConfig(
        features=bundle.features,
        lookback=bundle.lookback,
        bridged_share=bundle.bridged_share,
        horizons=tuple(horizon.name for horizon in bundle.horizons),
        target=bundle.target,
        slices=shares,
        mode=bundle.mode,
        **parent.chunks,
    )


def _describe(
    run: str, config: TrainConfig, parent: Parent, data: ReplayDataModule, replay: float
) -> None:
    log_parameters(run, flatten(config.model_dump(mode="json")))
    log_parameters(run, {"fine_tune.model": parent.model, "fine_tune.replay": replay})
    set_tags(
        run,
        {
            "kind": "fine_tune",
            "preset": parent.preset,
            "symbols": ",".join(data.symbols),
            "timeframe": data.timeframe,
            "data_fingerprint": fingerprint_of(data.candles),
            "parent": parent.model,
            "parent_run": parent.run_id,
            "parent_sha256": parent.predictor.sha256,
        },
    )
    start = data.slices.edges[0]
    parts: dict[str, tuple[int, int | None]] = {"fine-tuning": (start, None)}
    if replay and len(data.older):
        period = data.candles[0].period_ms
        decided = data.older.decided
        parts["replay"] = (int(decided.min()) - period, int(decided.max()))
    for context, (first, last) in parts.items():
        found = [one.between(first, last) for one in data.candles]
        log_candles(run, [one for one in found if len(one)], context=context)


def _fit(
    parent: Parent,
    data: ReplayDataModule,
    training: TrainingConfig,
    home: Home,
    run: str,
    progress: bool,
) -> FitResult:
    def log_epoch(epoch: int, metrics: EpochMetrics) -> None:
        log_metrics(run, metrics, step=epoch)

    checkpoints = home.checkpoints(run)
    try:
        checkpoints.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(
            f"{checkpoints} cannot be written: {error.strerror or error}. Make room, or choose "
            "another --home"
        ) from error
    return fit(
        lambda: load_network(parent.folder, parent.bundle),
        data,
        training,
        checkpoints=checkpoints,
        resume_hint="A fine-tuning is short and is not resumed: start it again.",
        on_epoch=log_epoch,
        progress=progress,
    )


def _trained(
    result: FitResult,
    parent: Parent,
    data: ReplayDataModule,
    run: str,
    shares: SliceConfig,
) -> TrainedModel:
    old = parent.bundle
    bundle = export_bundle(
        result.network, old.network, data, evaluated_by=run if shares.test else None
    )
    lineage = ParentModel(
        model=parent.model,
        run_id=parent.run_id,
        bundle_sha256=parent.predictor.sha256,
        unseen_from=old.unseen_from,
        trained_on=_trained_on(old),
    )
    symbols = tuple(sorted({*old.symbols, *bundle.symbols}))
    bundle = bundle.model_copy(update={"parent": lineage, "symbols": symbols})
    return TrainedModel(bundle, result, data)


def _evaluated(
    trained: TrainedModel, parent: Parent, data: ReplayDataModule, seed: int
) -> tuple[TrainedModel, Comparison | None]:
    trained = trained.evaluated(seed)
    comparison = None
    if trained.outcomes is not None:
        comparison = compare_with_parent(trained.outcomes, parent.predictor, data, seed=seed)
    metrics = dict(trained.bundle.metrics)
    # A refit trains fresh weights for as many epochs as training took, which these are not.
    for epochs in ("best_epoch", "epochs_trained"):
        metrics[f"fine_tune/{epochs}"] = metrics.pop(epochs)
    metrics |= {} if comparison is None else parent_metrics(comparison)
    bundle = trained.bundle.model_copy(update={"metrics": metrics})
    return replace(trained, bundle=bundle), comparison
