"""Join fitted models into one: their weights, what they read together, and a fit of all of them."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np
import numpy.typing as npt
import torch

from lightning_models.checkpoints import newest_checkpoint
from lightning_models.data.datamodule import CandleDataModule
from lightning_models.errors import ConfigError
from lightning_models.evaluation.collect import collect_outcomes
from lightning_models.export import export_bundle
from lightning_models.forecasters import FORECASTERS
from lightning_models.forecasters.fitting import fit_forecaster
from lightning_models.heads import DIRECTION_HEADS, BarrierHead, ChangeHead
from lightning_models.inference import runner_of
from lightning_models.networks import build_network
from lightning_models.networks.ensemble import EnsembleNetwork, MemberNetwork
from lightning_models.predictor import Predictor
from lightning_models.training import EpochMetrics, FitResult, TrainingConfig, fit

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import pytorch_lightning as pl

    from lightning_models.candles.candles import Candles
    from lightning_models.data.scaling import Scaler
    from lightning_models.data.slices import SliceName
    from lightning_models.data.windows import WindowLoader
    from lightning_models.features import FeatureSpec
    from lightning_models.networks import ForecastNetwork
    from lightning_models.networks.ensemble import EnsembleMember

__all__ = [
    "MemberWeights",
    "fit_ensemble",
    "fitted_losses",
    "join_members",
    "member_weights",
    "metric_place",
    "weight_metrics",
]

_log = logging.getLogger(__name__)

# Fewer labels than a slice may have say nothing of who is better.
MIN_OUTCOMES: Final = 32

# A probability of 0 that came true would cost more than all others together.
SMALLEST: Final = 1e-12

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class MemberWeights:
    """How much each member counts, and why.

    Parameters
    ----------
    weights
        One for each member, not negative, adding up to 1.
    gains
        Log-loss on the validation slice below the majority class's, nats, mean over horizons;
        None where it could not be measured.
    by_skill
        Whether they follow the gains; otherwise all members count the same.
    reason
        In words.
    """

    weights: tuple[float, ...]
    gains: tuple[float | None, ...]
    by_skill: bool
    reason: str


def member_weights(
    members: Sequence[Predictor], candles: Sequence[Candles], start: int, end: int
) -> MemberWeights:
    """Weigh members by their skill on one slice.

    Parameters
    ----------
    members
        Calibrated, over the same horizons.
    candles
        One entry for each symbol.
    start, end
        First decision time and last label end of the slice, in milliseconds: later than what
        the members were fitted on.

    Returns
    -------
    MemberWeights
        In proportion to the gain where it is positive, and 0 where it is not. Where no member
        gains anything, or the slice is too short to tell, all count the same, and `reason`
        says so.
    """
    equal = tuple(1.0 / len(members) for _ in members)
    base_rate = np.mean([member.bundle.base_rate for member in members], axis=0)
    gains = tuple(_gain(member, candles, start, end, base_rate) for member in members)
    known = [gain for gain in gains if gain is not None]
    if len(known) < len(gains):
        reason = "all members count the same: there is no validation slice to weigh them by"
        return MemberWeights(equal, gains, False, reason)
    skill = np.maximum(known, 0.0)
    if not skill.sum() > 0.0:
        reason = (
            "all members count the same: on the validation slice none has a lower log-loss than "
            "the majority class"
        )
        return MemberWeights(equal, gains, False, reason)
    return MemberWeights(
        tuple((skill / skill.sum()).tolist()),
        gains,
        True,
        "members count by their log-loss gain over the majority class on the validation slice",
    )


def _gain(
    member: Predictor, candles: Sequence[Candles], start: int, end: int, base_rate: Floats
) -> float | None:
    if end <= start:
        return None
    gains = []
    for horizon, majority in enumerate(base_rate.tolist()):
        found = collect_outcomes(member, candles, start=start, end=end, horizon=horizon)
        moved = found.actual != 0.0
        if int(moved.sum()) < MIN_OUTCOMES:
            return None
        up = found.actual[moved] > 0.0
        gains.append(_nats(np.full(len(up), majority), up) - _nats(found.probability_up[moved], up))
    return float(np.mean(gains))


def _nats(probability: Floats, up: npt.NDArray[np.bool_]) -> float:
    right = np.where(up, probability, 1.0 - probability)
    return float(-np.log(np.maximum(right, SMALLEST)).mean())


def join_members(
    ensemble: EnsembleNetwork,
    members: Sequence[Predictor],
    weights: Sequence[float],
    *,
    features: Sequence[FeatureSpec],
    scaler: Scaler,
) -> None:
    """Copy members' weights, scaling and calibration into an ensemble.

    Parameters
    ----------
    ensemble
        Built from the members' configurations.
    members
        In the same order.
    weights
        One for each, adding up to 1.
    features, scaler
        Of the windows that the ensemble is given.
    """
    mean, deviation = np.asarray(scaler.mean), np.asarray(scaler.deviation)
    for member, part in zip(members, ensemble.members, strict=True):
        own = member.bundle
        columns = [features.index(feature) for feature in own.features]
        # From (x - mean) / deviation to (x - own mean) / own deviation.
        own_deviation = np.asarray(own.scaler.deviation)
        cast("MemberNetwork", part).take(
            member.network,
            columns=columns,
            scale=deviation[columns] / own_deviation,
            shift=(mean[columns] - np.asarray(own.scaler.mean)) / own_deviation,
            calibration=own.calibration,
            timeouts=own.timeouts,
        )
    ensemble.weights.copy_(torch.tensor(list(weights)))
    ensemble.eval()


def fit_ensemble(
    network: Callable[[], ForecastNetwork],
    data: CandleDataModule,
    config: TrainingConfig,
    *,
    checkpoints: Path,
    resume: bool = False,
    resume_hint: str = "",
    on_epoch: Callable[[int, EpochMetrics], None] | None = None,
    progress: bool = False,
    callbacks: Sequence[pl.Callback] = (),
) -> FitResult:
    """Fit the members of an ensemble one after the other and join them.

    Each is fitted on the train slice and stopped by the validation slice, calibrated on the
    calibration slice, and weighted by its skill on the validation slice. The calibration slice
    serves twice, for the members and then for the ensemble; it is later than everything that
    weights were chosen by, and earlier than the test slice.

    Parameters
    ----------
    network
        Builds the ensemble's network.
    data
        The slices.
    config
        Of every member; each has a seed of its own, counting up from this one's.
    checkpoints
        Folder; each member has one of its own in it.
    resume, resume_hint, progress
        As `lightning_models.training.fit` takes them; members that were finished are not
        fitted again.
    on_epoch
        Called after each epoch of each member, its metrics under ``member/…``, and with the
        ensemble's own at the end.
    callbacks
        Further ones of Lightning's, the same for each member that is trained in epochs.

    Returns
    -------
    FitResult
        With one row of history: the ensemble's losses, and the members' weights and gains.

    Raises
    ------
    ConfigError
        If there is no validation slice, or a member wants other features or a longer lookback
        than there is.
    TrainingInterrupted, TrainingError, StorageError
        As `lightning_models.training.fit`.
    """
    ensemble = cast("EnsembleNetwork", network())
    if not len(data.samples["validation"]):
        raise ConfigError(
            "an ensemble weighs its members by their validation slice, and there is none: give "
            "data.slices.validation a share, such as 0.1. In place of a refit, fit the members "
            "again by themselves and join them: lstm-strategies ensemble --member …"
        )
    for member in ensemble.config.members:
        _check_member(member, data)
    members = []
    for position, member in enumerate(ensemble.config.members):
        folder = checkpoints / f"member-{position + 1}"
        folder.mkdir(parents=True, exist_ok=True)
        part = _member_data(member, data)
        place = metric_place(position, member.name)
        tell = None if on_epoch is None else partial(_tell, on_epoch, place)
        _log.info("fitting %s, member %d", member.name, position + 1)
        unfitted = partial(
            build_network,
            member.network,
            features=len(part.config.features),
            horizons=len(part.horizons),
            target=part.config.target.name,
        )
        if member.network.kind in FORECASTERS:
            result = fit_forecaster(cast("Any", unfitted()), part, on_epoch=tell)
        else:
            result = fit(
                unfitted,
                part,
                config.model_copy(update={"seed": (config.seed + position) % 2**32}),
                checkpoints=folder,
                resume=resume and newest_checkpoint(folder) is not None,
                resume_hint=resume_hint,
                on_epoch=tell,
                progress=progress,
                callbacks=callbacks,
            )
        bundle = export_bundle(result.network, member.network, part)
        runner = runner_of(result.network, lookback=bundle.lookback, burn_in=None)
        members.append(Predictor(bundle, runner, model=member.name, sha256=""))
    weighed = member_weights(members, data.candles, *data.slices.bounds("validation"))
    join_members(
        ensemble, members, weighed.weights, features=data.config.features, scaler=data.scaler
    )
    row = fitted_losses(ensemble, data, "train", "train")
    row |= fitted_losses(ensemble, data, "validation", "val")
    row |= weight_metrics([member.model for member in members], weighed)
    _log.log(
        logging.INFO if weighed.by_skill else logging.WARNING,
        "%s: %s",
        weighed.reason,
        ", ".join(
            f"{member.model} {weight:.2f}"
            for member, weight in zip(members, weighed.weights, strict=True)
        ),
    )
    if on_epoch is not None:
        on_epoch(1, row)
    return FitResult((row,), 1, cast("ForecastNetwork", ensemble.eval()))


def metric_place(position: int, name: str) -> str:
    """Return where a member's metrics stand.

    Examples
    --------
    >>> metric_place(0, "models:/btc-6h/3")
    'member/1-models-btc-6h-3'
    """
    return f"member/{position + 1}-" + re.sub(r"[^\w.]+", "-", name).strip("-")


def weight_metrics(names: Sequence[str], weighed: MemberWeights) -> dict[str, float]:
    """Return members' weights and gains as MLflow's metrics."""
    found = {}
    for position, name in enumerate(names):
        place, gain = metric_place(position, name), weighed.gains[position]
        found[f"{place}/weight"] = weighed.weights[position]
        if gain is not None:
            found[f"{place}/log_loss_gain"] = gain
    return found


def fitted_losses(
    network: EnsembleNetwork, data: CandleDataModule, name: SliceName, stage: str
) -> EpochMetrics:
    """Return the losses that networks report after an epoch, of an ensemble on one slice.

    Parameters
    ----------
    network
        Fitted.
    data
        The slices.
    name
        Of the slice.
    stage
        What the metrics' names begin with.
    """
    # The heads' own losses, of which their projections are no part.
    horizons = len(data.horizons)
    direction = DIRECTION_HEADS[data.config.target.name](1, horizons)
    change = ChangeHead(1, horizons)
    sums, counts = np.zeros(3), np.zeros(3)
    with torch.inference_mode():
        for batch in cast("WindowLoader", data.loader(name)):
            raw, target, weight = network(batch.window), batch.target, batch.weight
            losses = [
                float(direction.loss(raw.logits, target, weight)),
                float(change.loss(raw.quantiles, target, weight)),
                float(direction.timeout_loss(raw.logits, batch.timed_out, weight))
                if isinstance(direction, BarrierHead) and batch.timed_out is not None
                else 0.0,
            ]
            sizes = np.array([int((target != 0).sum()), target.numel(), target.numel()])
            sums += np.array(losses) * sizes
            counts += sizes
    means = (sums / np.maximum(counts, 1)).tolist()
    names = ("log_loss", "pinball", "timeout_log_loss")[: 2 + (data.timed_out is not None)]
    return {f"{stage}/loss": sum(means)} | {
        f"{stage}/{name}": mean for name, mean in zip(names, means, strict=False)
    }


def _check_member(member: EnsembleMember, data: CandleDataModule) -> None:
    missing = [one.label for one in member.features if one not in data.config.features]
    if missing:
        raise ConfigError(
            f"the member {member.name!r} reads {', '.join(missing)}, which data.features does not "
            "name: add it there, or take it from the member's features"
        )
    if (member.lookback or 0) > data.config.lookback:
        raise ConfigError(
            f"the member {member.name!r} reads {member.lookback} candles and the ensemble's "
            f"windows have {data.config.lookback}: raise --set data.lookback={member.lookback}"
        )


def _member_data(member: EnsembleMember, data: CandleDataModule) -> CandleDataModule:
    config = data.config.model_copy(
        update={
            "features": member.features or data.config.features,
            "lookback": member.lookback or data.config.lookback,
        }
    )
    return CandleDataModule(
        config, data.candles, batch_size=data.batch_size, seed=data.seed, slices=data.slices
    )


def _tell(
    on_epoch: Callable[[int, EpochMetrics], None], place: str, epoch: int, metrics: EpochMetrics
) -> None:
    on_epoch(epoch, {f"{place}/{name}": value for name, value in metrics.items()})
