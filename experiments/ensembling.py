"""Join registered models into one, recalibrated and evaluated on later candles."""

from __future__ import annotations

import logging
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np

from experiments.moment import moment_of
from experiments.tracking import log_candles, log_metrics, log_parameters, set_tags, tracked_run
from experiments.training import TrainedModel
from lightning_models.candles import Candles, fingerprint_of, iso_utc
from lightning_models.candles.timestamps import milliseconds_of
from lightning_models.data.datamodule import CandleDataModule, DataConfig
from lightning_models.data.slices import SliceConfig, SliceName, Slices
from lightning_models.data.targets import TripleBarrier
from lightning_models.ensemble import (
    MemberWeights,
    fitted_losses,
    join_members,
    member_weights,
    weight_metrics,
)
from lightning_models.errors import BundleError, ConfigError, TooFewCandlesError
from lightning_models.export import export_bundle
from lightning_models.forecast_series import ForecastSeries
from lightning_models.home import Home, find_home
from lightning_models.loading import load_predictor
from lightning_models.networks.ensemble import EnsembleConfig, EnsembleMember, EnsembleNetwork
from lightning_models.predictor import Predictor
from lightning_models.registry import RegisteredModel, Registry, check_name
from lightning_models.training import FitResult

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path

    from lightning_models.bundle import Bundle
    from lightning_models.data.scaling import Scaler, ScalerFit
    from lightning_models.features import FeatureSpec
    from lightning_models.networks import ForecastNetwork

__all__ = ["MemberRow", "RegisteredEnsemble", "ensemble"]

_log = logging.getLogger(__name__)

# Wide enough that a member's own clip is what holds its features.
_WIDE_CLIP: Final = 1e9


@dataclass(frozen=True)
class MemberRow:
    """One of an ensemble's models.

    Parameters
    ----------
    model
        Its fixed name.
    sha256
        Of its bundle.
    weight
        Its share of the ensemble.
    gain
        Its log-loss below the majority class's on the validation slice, nats; None where that
        could not be measured.
    """

    model: str
    sha256: str
    weight: float
    gain: float | None


@dataclass(frozen=True)
class RegisteredEnsemble(RegisteredModel):
    """An ensemble that was registered.

    Parameters
    ----------
    members
        In the order they were named.
    weighting
        Why they count as they do, in words.
    """

    members: tuple[MemberRow, ...] = ()
    weighting: str = ""


class _Data(CandleDataModule):
    # Members clip their features themselves, each by its own scaler.
    def _finish_scaler(self, fit: ScalerFit) -> Scaler:
        return super()._finish_scaler(fit).model_copy(update={"clip": _WIDE_CLIP})


def ensemble(
    members: Sequence[str | os.PathLike[str] | Predictor],
    candles: Sequence[Candles],
    *,
    name: str,
    calibrate_from: str | datetime | None = None,
    calibrate_to: str | datetime | None = None,
    home: str | Path | Home | None = None,
    promote: bool = False,
    seed: int = 0,
) -> RegisteredEnsemble:
    """Join several models into one and register it.

    Its logit is the mean of the members' calibrated logits, its quantiles are the mean of
    theirs. Members are weighted by their log-loss gain over the majority class between the end
    of the last train slice and the recalibration slice, which none of them was fitted on. On the
    recalibration slice temperature, bias, thresholds and conformal offsets are fitted anew, and
    what comes later is the test slice.

    Parameters
    ----------
    members
        ``models:/name@alias``, ``models:/name/3``, folders or predictors; at least two.
    candles
        One entry for each symbol, in the members' timeframe: those the members were trained on,
        and later ones.
    name
        To register under, and of the MLflow experiment.
    calibrate_from
        Start of the recalibration slice; by default the end of the last validation slice.
    calibrate_to
        Its end; by default the end of the last calibration slice of a member. Members with the
        same slices are so recalibrated and tested on their own calibration and test slice, and
        their metrics compare with the ensemble's.
    home
        Folder of the registry; by default ``$LSTM_HOME`` or the user's data folder.
    promote
        Whether the new version becomes the champion although there is one.
    seed
        Of the evaluation's bootstrap.

    Returns
    -------
    RegisteredEnsemble

    Raises
    ------
    ConfigError
        If there are fewer than two members, one is there twice, one is no single trained model,
        or the recalibration slice begins before a member's validation slice ends or ends before
        a member's calibration slice.
    BundleError
        If members differ in timeframe, market, horizons or target, or the candles are of
        another timeframe or market.
    TooFewCandlesError
        If the candles do not reach from the members' train slices to beyond the recalibration
        slice, or a slice holds too few samples.
    ModelNotFoundError, StorageError
        If a member is not found, or the registry cannot be used.

    Notes
    -----
    By default the slice that members were calibrated on serves again for the ensemble. That is
    two numbers a member and horizon, fitted on it twice; `calibrate_from` at the end of the
    members' calibration slices avoids it and takes the slice from their test candles.
    """
    check_name(name)
    folder = find_home(home).create()
    predictors = [
        one if isinstance(one, Predictor) else load_predictor(one, home=folder) for one in members
    ]
    _check_members(predictors)
    data = _data_of(predictors, candles, calibrate_from, calibrate_to)
    config = EnsembleConfig(members=tuple(_member(one) for one in predictors))
    network = EnsembleNetwork(
        config,
        len(data.config.features),
        len(data.horizons),
        target=data.config.target.name,
    )
    weighed = member_weights(predictors, data.candles, *data.slices.bounds("validation"))
    if not weighed.by_skill:
        _log.warning("%s", weighed.reason)
    join_members(
        network, predictors, weighed.weights, features=data.config.features, scaler=data.scaler
    )
    rows = tuple(
        MemberRow(one.model, one.sha256, weight, gain)
        for one, weight, gain in zip(predictors, weighed.weights, weighed.gains, strict=True)
    )
    with tracked_run(folder, name, run_name="ensemble") as run:
        _describe(run, data, rows, weighed)
        trained = _trained(network, config, data, predictors, weighed, run).evaluated(seed)
        trained.log(run)
        model = trained.register(Registry(folder), name=name, run_id=run, promote=promote)
    given = {field.name: getattr(model, field.name) for field in fields(RegisteredModel)}
    return RegisteredEnsemble(**given, members=rows, weighting=weighed.reason)


def _trained(
    network: EnsembleNetwork,
    config: EnsembleConfig,
    data: CandleDataModule,
    members: Sequence[Predictor],
    weighed: MemberWeights,
    run: str,
) -> TrainedModel:
    joined = cast("ForecastNetwork", network)
    history = fitted_losses(network, data, "train", "train")
    if len(data.samples["validation"]):
        history |= fitted_losses(network, data, "validation", "val")
    bundle = export_bundle(joined, config, data, evaluated_by=run)
    symbols = sorted({symbol for one in members for symbol in one.bundle.symbols})
    bundle = bundle.model_copy(update={"symbols": tuple(symbols)})
    history |= weight_metrics([one.model for one in members], weighed)
    log_metrics(run, history, step=1)
    return TrainedModel(bundle, FitResult((history,), 1, joined), data)


def _describe(
    run: str, data: CandleDataModule, rows: Sequence[MemberRow], weighed: MemberWeights
) -> None:
    parameters: dict[str, object] = {"weighting": weighed.reason}
    for position, row in enumerate(rows):
        place = f"members.{position + 1}"
        parameters |= {
            f"{place}.model": row.model,
            f"{place}.bundle_sha256": row.sha256,
            f"{place}.weight": row.weight,
        }
    log_parameters(run, parameters)
    set_tags(
        run,
        {
            "kind": "ensemble",
            "preset": "ensemble",
            "members": ",".join(row.model for row in rows),
            "symbols": ",".join(data.symbols),
            "timeframe": data.timeframe,
            "data_fingerprint": fingerprint_of(data.candles),
        },
    )
    log_candles(run, data.candles, context="calibration")


def _member(predictor: Predictor) -> EnsembleMember:
    bundle = predictor.bundle
    return EnsembleMember(
        name=predictor.model,
        network=bundle.network,
        features=bundle.features,
        lookback=_window(bundle),
        clip=bundle.scaler.clip,
    )


def _window(bundle: Bundle) -> int:
    # A carried state is read from its burn-in, as for its latest forecast.
    return bundle.burn_in or bundle.lookback


def _check_members(predictors: Sequence[Predictor]) -> None:
    if len(predictors) < 2:
        raise ConfigError(
            f"an ensemble joins at least two models, and {len(predictors)} was given: name each "
            "with --member"
        )
    seen: dict[str, str] = {}
    for one in predictors:
        if isinstance(one, ForecastSeries):
            raise ConfigError(
                f"{one.model} is a series of models that follow one another, and an ensemble joins "
                "single ones: name models that `lstm-strategies train` registered"
            )
        if not one.bundle.slices:
            raise ConfigError(
                f"{one.model} was never trained: there is no slice to weigh it by. Train a model "
                "of it first: lstm-strategies train --preset statistical"
            )
        if one.sha256 in seen:
            raise ConfigError(
                f"{one.model} and {seen[one.sha256]} are the same model: name each member once"
            )
        seen[one.sha256] = one.model
    first = predictors[0]
    for attribute, spoken in (
        ("timeframe", "timeframes"),
        ("market", "markets"),
        ("horizons", "horizons"),
        ("target", "targets"),
    ):
        for one in predictors[1:]:
            values = [_compared(getattr(each.bundle, attribute)) for each in (first, one)]
            if values[0] != values[1]:
                words = " and ".join(
                    f"{each.model} has {_spoken(getattr(each.bundle, attribute))}"
                    for each in (first, one)
                )
                raise BundleError(
                    f"an ensemble of bundles with different {spoken} cannot be made: {words}. "
                    f"Join models of the same {attribute}"
                )


def _compared(value: Any) -> Any:
    # 24h and 1d are the same horizon by two names.
    return tuple(one.candles for one in value) if isinstance(value, tuple) else value


def _spoken(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(one.name for one in value)
    if isinstance(value, TripleBarrier):
        return f"{value.name} ({value.upper:g} above, {value.lower:g} below, {value.both})"
    return str(getattr(value, "name", value))


def _data_of(
    predictors: Sequence[Predictor],
    candles: Sequence[Candles],
    calibrate_from: str | datetime | None,
    calibrate_to: str | datetime | None,
) -> CandleDataModule:
    bundles = [one.bundle for one in predictors]
    first = bundles[0]
    if not candles:
        raise ConfigError("no candles were given: name at least one file or frame")
    for one in candles:
        if (one.timeframe, one.market) != (first.timeframe, first.market):
            raise BundleError(
                f"the members read {first.timeframe} candles of a {first.market} market, and those "
                f"of {one.symbol} are {one.timeframe}, {one.market}: resample them with "
                f"--timeframe {first.timeframe}, or give --market {first.market}"
            )
    slices = _slices_of(predictors, candles, calibrate_from, calibrate_to)
    features: list[FeatureSpec] = []
    for feature in (each for bundle in bundles for each in bundle.features):
        if feature not in features:
            features.append(feature)
    lookback = max(_window(bundle) for bundle in bundles)
    config = DataConfig(
        features=tuple(features),
        lookback=lookback,
        bridged_share=_bridged_share(bundles, lookback),
        horizons=tuple(horizon.name for horizon in first.horizons),
        slices=_shares(slices),
        target=first.target,
    )
    return _Data(config, candles, batch_size=1024, slices=slices)


def _slices_of(
    predictors: Sequence[Predictor],
    candles: Sequence[Candles],
    calibrate_from: str | datetime | None,
    calibrate_to: str | datetime | None,
) -> Slices:
    start = min(int(one.time[0]) for one in candles)
    end = max(int(one.time[-1]) for one in candles) + candles[0].period_ms
    trained = max(_end(one.bundle, "train") for one in predictors)
    latest = max(predictors, key=lambda one: _end(one.bundle, "validation"))
    validated = _end(latest.bundle, "validation")
    calibrated = max(predictors, key=lambda one: _end(one.bundle, "calibration"))
    reached = _end(calibrated.bundle, "calibration")
    begin = _given(calibrate_from, "--calibrate-from", validated)
    stop = _given(calibrate_to, "--calibrate-to", reached)
    if begin < validated:
        raise ConfigError(
            f"{latest.model} was trained and validated on candles up to {iso_utc(validated)}, and "
            f"the recalibration slice would begin at {iso_utc(begin)}: leave --calibrate-from out, "
            "or give that time or a later one"
        )
    if stop < reached:
        raise ConfigError(
            f"{calibrated.model} was calibrated on candles up to {iso_utc(reached)}, and the "
            f"recalibration slice would end at {iso_utc(stop)}: leave --calibrate-to out, or give "
            "that time or a later one, from which on the ensemble has seen nothing"
        )
    if stop <= begin:
        raise ConfigError(
            f"the recalibration slice would end at {iso_utc(stop)} and begin at {iso_utc(begin)}: "
            "give a later --calibrate-to"
        )
    if start >= trained:
        raise TooFewCandlesError(
            f"the candles begin at {iso_utc(start)}, after the members' train slices end "
            f"({iso_utc(trained)}): give the candles they were trained on too, from which the "
            "share of ups comes"
        )
    reach = max(horizon.candles for horizon in predictors[0].bundle.horizons)
    embargo = reach * candles[0].period_ms
    if end <= stop + 2 * embargo:
        raise TooFewCandlesError(
            f"the candles end at {iso_utc(end)}, and the recalibration slice at {iso_utc(stop)}: "
            "nothing comes after it to test the ensemble on. Give later candles"
        )
    return Slices((start, trained, begin, stop, end), embargo)


def _shares(slices: Slices) -> SliceConfig:
    # What shares the cuts amount to: they say which slices there are.
    lengths = np.diff(np.array(slices.edges, dtype=np.float64))
    shares = (lengths / lengths.sum()).tolist()
    return SliceConfig(
        train=shares[0], validation=shares[1], calibration=shares[2], test=1.0 - sum(shares[:3])
    )


def _bridged_share(bundles: Sequence[Bundle], lookback: int) -> float:
    # So few in the longest window that no member's own window can hold too many.
    share = min(bundle.bridged_share for bundle in bundles)
    allowed = min(int(bundle.bridged_share * bundle.lookback) for bundle in bundles)
    return share if int(share * lookback) == allowed else (allowed + 0.5) / lookback


def _given(moment: str | datetime | None, option: str, otherwise: int) -> int:
    return otherwise if moment is None else milliseconds_of(moment_of(moment, option=option))


def _end(bundle: Bundle, name: SliceName) -> int:
    return milliseconds_of(bundle.slices[name].end)
