"""A model as a folder without pickle: `model.safetensors` and `bundle.json`."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from bisect import bisect_left
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

import safetensors
import safetensors.torch
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveInt,
    SerializerFunctionWrapHandler,
    ValidationError,
    field_serializer,
    field_validator,
    model_serializer,
    model_validator,
)

from lightning_models.calibration import DirectionCalibration
from lightning_models.candles.candles import Market
from lightning_models.candles.timestamps import iso_utc_of
from lightning_models.data.horizons import Horizon
from lightning_models.data.scaling import Scaler
from lightning_models.data.slices import SliceName
from lightning_models.data.targets import HorizonReturn, Target, TripleBarrier
from lightning_models.errors import BundleError, StorageError
from lightning_models.features import FeatureSpec, unknown_features
from lightning_models.intervals.conformal import ConformalIntervals
from lightning_models.networks import ForecastNetwork, NetworkConfig, build_network
from lightning_models.timeframes import TIMEFRAMES
from lightning_models.timeouts import TimeoutCalibration

__all__ = [
    "MANIFEST_FILE",
    "SCHEMA",
    "WEIGHTS_FILE",
    "Bundle",
    "Golden",
    "ParentModel",
    "SliceSpan",
    "Thresholds",
    "bundle_sha256",
    "load_network",
    "read_bundle",
    "write_bundle",
]

SCHEMA: Final = 1
WEIGHTS_FILE: Final = "model.safetensors"
MANIFEST_FILE: Final = "bundle.json"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Golden(_Part):
    """Candles and the forecast they must give: checked each time a bundle is loaded.

    Parameters
    ----------
    time
        ``[required_bars]``, open times in milliseconds.
    ohlcv
        ``[required_bars, 5]``.
    probability
        ``[H]``, calibrated P(up) at the last candle.
    quantiles
        ``[H, 3]``, of the return, fractions.
    tolerance
        Largest absolute difference: another machine's arithmetic differs in the last bits.
    """

    time: tuple[int, ...]
    ohlcv: tuple[tuple[float, float, float, float, float], ...]
    probability: tuple[float, ...]
    quantiles: tuple[tuple[float, float, float], ...]
    tolerance: float = 1e-4


class Thresholds(_Part):
    """What share of the calibration slice reaches which confidence and which expected move.

    Parameters
    ----------
    confidence_quantiles
        ``[H, 101]``: per cent quantiles 0 to 100 of the calibrated confidence.
    move_quantiles
        ``[H, 101]``: of the expected move, the median forecast of the return without its sign,
        a fraction; None in a bundle of before they were kept, and in one that nothing was
        fitted for.
    """

    confidence_quantiles: tuple[tuple[float, ...], ...]
    move_quantiles: tuple[tuple[float, ...], ...] | None = None

    def confidence_of_top(self, share: float, horizon: int = 0) -> float:
        """Return the confidence that the most confident `share` of bars reached."""
        return _quantile(self.confidence_quantiles[horizon], 1.0 - share)

    def move_of_top(self, share: float, horizon: int = 0) -> float | None:
        """Return the expected move that the `share` of bars with the largest one reached.

        Over the cost of a round trip, a fraction of the price too, it is the ``min_edge`` that
        leaves about this share of bars to trade on. None where it is not known.
        """
        if self.move_quantiles is None:
            return None
        return _quantile(self.move_quantiles[horizon], 1.0 - share)

    def share_with_move(self, move: float, horizon: int = 0) -> float | None:
        """Return the share of bars whose expected move was at least as large as one.

        Parameters
        ----------
        move
            A fraction of the price: ``min_edge`` times the cost of a round trip.
        horizon
            Position on the horizon axis.

        Returns
        -------
        float or None
            A fraction, to within one hundredth; None where it is not known.

        Examples
        --------
        >>> moves = tuple(i / 10_000 for i in range(101))
        >>> thresholds = Thresholds(confidence_quantiles=(moves,), move_quantiles=(moves,))
        >>> round(thresholds.share_with_move(0.0075), 4)
        0.25
        """
        if self.move_quantiles is None:
            return None
        moves = self.move_quantiles[horizon]
        below = bisect_left(moves, move)
        if below == 0:
            return 1.0
        if below == len(moves):
            return 0.0
        step = (move - moves[below - 1]) / (moves[below] - moves[below - 1])
        return 1.0 - (below - 1 + step) / (len(moves) - 1)


def _quantile(quantiles: tuple[float, ...], share: float) -> float:
    position = share * (len(quantiles) - 1)
    below = int(position)
    above = min(below + 1, len(quantiles) - 1)
    return quantiles[below] + (position - below) * (quantiles[above] - quantiles[below])


class SliceSpan(_Part):
    """First decision time and last label end of a slice, UTC, and its samples."""

    start: datetime
    end: datetime
    samples: int

    @field_serializer("start", "end", when_used="json")
    def _with_z(self, time: datetime) -> str:
        return iso_utc_of(time)


class ParentModel(_Part):
    """The model that a fine-tuned one continues.

    Parameters
    ----------
    model
        Its fixed name, such as ``models:/btc-6h/3``.
    run_id
        MLflow run that made it.
    bundle_sha256
        Of its bundle.
    unseen_from
        First decision time that it had not seen.
    trained_on
        Train slices of it and of those it continues itself, oldest first.
    """

    model: str
    run_id: str
    bundle_sha256: str
    unseen_from: datetime
    trained_on: tuple[SliceSpan, ...]

    @field_serializer("unseen_from", when_used="json")
    def _with_z(self, time: datetime) -> str:
        return iso_utc_of(time)


class Bundle(_Part):
    """Everything about a model but its weights, as `bundle.json` holds it.

    Parameters
    ----------
    schema_version
        Of this file's layout (``schema`` in the file).
    weights_sha256
        Of `model.safetensors`.
    network, features, mode, lookback, warmup, bridged_share, scaler
        What runs, on what.
    burn_in, burn_in_tolerance
        Candles that a state restarted from zero needs before it agrees with one that was
        carried on, and to within how much of a logit or a quantile (over trailing volatility);
        None in window mode.
    calibration, base_rate
        One for each horizon; `base_rate` is the share of ups among the train labels that
        moved, the probability that the majority-class baseline states.
    thresholds
        From shares of calibration bars to confidences and expected moves.
    intervals
        Conformal bounds; None in a bundle of before there were any, whose quantiles bound 80 %.
    horizons, symbols, timeframe, market
        What was asked of which candles.
    target, timeouts
        What is forecast, and what calibrates P(time-out), one for each horizon. A file without
        them is of a model of the horizon's return, which has no time-outs.
    slices
        Where the cuts lay.
    unseen_from
        First decision time that nothing in the model has seen.
    data_fingerprint
        SHA-256 of the candles.
    evaluated_by
        MLflow run whose test slice the metrics come from.
    metrics
        Of the test slice; empty in a refit, which has none of its own.
    versions, git_commit, created_at, expires_at
        Where it comes from; `expires_at` concerns live use only.
    parent
        What it was fine-tuned from, whose scaler it has; None in a model of its own.
    golden
        Candles and the forecast they must give.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_by_name=True, serialize_by_alias=True
    )

    schema_version: int = Field(default=SCHEMA, alias="schema")
    weights_sha256: str
    network: NetworkConfig
    features: tuple[FeatureSpec, ...]
    mode: Literal["window", "sequence"] = "window"
    lookback: PositiveInt
    warmup: int
    bridged_share: float
    burn_in: PositiveInt | None = None
    burn_in_tolerance: float | None = None
    scaler: Scaler
    calibration: tuple[DirectionCalibration, ...]
    base_rate: tuple[float, ...]
    thresholds: Thresholds
    intervals: ConformalIntervals | None = None
    horizons: tuple[Horizon, ...]
    target: Target = HorizonReturn()
    timeouts: tuple[TimeoutCalibration, ...] = ()
    symbols: tuple[str, ...]
    timeframe: str
    market: Market
    slices: dict[SliceName, SliceSpan]
    unseen_from: datetime
    data_fingerprint: str
    evaluated_by: str | None
    metrics: dict[str, float | None]
    versions: dict[str, str]
    git_commit: str | None
    created_at: datetime
    expires_at: datetime | None = None
    parent: ParentModel | None = None
    golden: Golden

    @model_serializer(mode="wrap")
    def _leave_out_what_is_not_there(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        content: dict[str, Any] = write(self)
        if self.target == HorizonReturn():
            for name in ("target", "timeouts"):
                content.pop(name, None)
        if self.parent is None:
            content.pop("parent", None)
        return content

    @field_serializer("unseen_from", "created_at", "expires_at", when_used="json")
    def _with_z(self, time: datetime | None) -> str | None:
        return None if time is None else iso_utc_of(time)

    @field_validator("timeframe")
    @classmethod
    def _timeframe_is_known(cls, timeframe: str) -> str:
        if timeframe not in TIMEFRAMES:
            raise ValueError(f"unknown timeframe {timeframe!r}")
        return timeframe

    @model_validator(mode="after")
    def _fits_together(self) -> Bundle:
        horizons, features = len(self.horizons), len(self.features)
        golden = self.golden
        expected = {
            "horizons": (horizons, max(1, horizons)),
            "calibration": (len(self.calibration), horizons),
            "base_rate": (len(self.base_rate), horizons),
            "thresholds": (len(self.thresholds.confidence_quantiles), horizons),
            "scaler": (len(self.scaler.mean), features),
            "golden.ohlcv": (len(golden.ohlcv), len(golden.time)),
        }
        if self.thresholds.move_quantiles is not None:
            expected["thresholds.move_quantiles"] = (
                len(self.thresholds.move_quantiles),
                horizons,
            )
        if self.intervals is not None:
            expected["intervals"] = (len(self.intervals.offsets), horizons)
        if golden.time:  # there is none until the rest of the bundle is there to make it
            expected |= {
                "golden.time": (len(golden.time), self.required_bars),
                "golden.probability": (len(golden.probability), horizons),
                "golden.quantiles": (len(golden.quantiles), horizons),
            }
        barriers = isinstance(self.target, TripleBarrier)
        expected["timeouts"] = (len(self.timeouts), horizons if barriers else 0)
        if barriers and self.intervals is None:
            raise ValueError("a triple-barrier model without intervals")
        if (self.mode == "sequence") != (self.burn_in is not None):
            raise ValueError(f"mode {self.mode} with burn_in {self.burn_in}")
        for name, (found, wanted) in expected.items():
            if found != wanted:
                raise ValueError(f"{name} has {found} entries where {wanted} belong")
        return self

    @property
    def required_bars(self) -> int:
        """Candles needed for one forecast: the warm-up, and the window or the burn-in."""
        return self.warmup + (self.burn_in or self.lookback)

    @property
    def unseen_from_ms(self) -> int:
        """`unseen_from` in milliseconds since the epoch."""
        return round(self.unseen_from.astimezone(UTC).timestamp() * 1000)


def write_bundle(folder: Path, bundle: Bundle, network: ForecastNetwork) -> Path:
    """Write a bundle; the folder appears whole or not at all.

    Parameters
    ----------
    folder
        Must not exist yet.
    bundle
        Its `weights_sha256` is filled in here.
    network
        Whose weights to write.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    StorageError
        If the disk is full or cannot be written.
    """
    weights = safetensors.torch.save(
        {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    )
    manifest = bundle.model_copy(update={"weights_sha256": hashlib.sha256(weights).hexdigest()})
    text = json.dumps(manifest.model_dump(mode="json"), indent=1, allow_nan=False)
    scratch = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        for name, content in ((WEIGHTS_FILE, weights), (MANIFEST_FILE, text.encode())):
            with (scratch / name).open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        scratch.chmod(0o755)
        scratch.rename(folder)
    except OSError as error:
        if scratch is not None:
            shutil.rmtree(scratch, ignore_errors=True)
        raise StorageError(
            f"the model could not be written to {folder}: {error.strerror or error}. "
            "Make room or choose another --home; nothing half-written was left"
        ) from error
    return folder


def read_bundle(folder: Path) -> Bundle:
    """Read and check a bundle's manifest and the hash of its weights.

    Raises
    ------
    BundleError
        If files are missing, damaged, foreign, or of a newer schema; nothing is half-loaded.
    """
    manifest, weights = folder / MANIFEST_FILE, folder / WEIGHTS_FILE
    for file in (manifest, weights):
        if not file.is_file():
            raise BundleError(
                f"{folder} is no model of this project: {file.name} is missing. "
                "Name a folder that `lstm-strategies train` wrote, or models:/NAME@champion"
            )
    content = _parse(manifest)
    if content["schema"] > SCHEMA:
        raise BundleError(
            f"{manifest} has schema {content['schema']}, this release reads up to {SCHEMA}: it was "
            "written by a newer release; upgrade with pip install --upgrade lstm-strategies"
        )
    if content["schema"] < 1:
        raise BundleError(
            f"{manifest} has schema {content['schema']}, which no release wrote. "
            "Train the model again"
        )
    _check_features(manifest, content.get("features"))
    try:
        bundle = Bundle.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise BundleError(
            f"{manifest} is damaged or foreign: {place}: {first['msg']} "
            f"({error.error_count()} problems). Train the model again"
        ) from error
    if not bundle.golden.time:
        raise BundleError(
            f"{manifest} is damaged: it has no golden forecast. Train the model again"
        )
    if _sha256_of(weights) != bundle.weights_sha256:
        raise BundleError(
            f"{weights} does not match the hash in {MANIFEST_FILE}: the file is damaged or was "
            "exchanged. Train the model again or restore the folder from a copy"
        )
    return bundle


def load_network(folder: Path, bundle: Bundle) -> ForecastNetwork:
    """Build a bundle's network and load its weights.

    Raises
    ------
    BundleError
        If names or shapes of the weights do not fit the network.
    """
    network = build_network(
        bundle.network,
        features=len(bundle.features),
        horizons=len(bundle.horizons),
        target=bundle.target.name,
    )
    try:
        state = safetensors.torch.load_file(folder / WEIGHTS_FILE)
        network.load_state_dict(state)
    except (RuntimeError, OSError, safetensors.SafetensorError) as error:
        raise BundleError(
            f"the weights in {folder} do not fit its network {bundle.network.kind!r}: "
            f"{str(error).splitlines()[0]}. Train the model again"
        ) from error
    return network


def bundle_sha256(folder: Path) -> str:
    """Return the SHA-256 of a bundle: its manifest, which holds its weights' hash."""
    return hashlib.sha256((folder / MANIFEST_FILE).read_bytes()).hexdigest()


def _check_features(manifest: Path, features: Any) -> None:
    # A feature of the user's own: its code is in no bundle.
    given = features if isinstance(features, list) else []
    names = [one["name"] for one in given if isinstance(one, dict) and "name" in one]
    unknown = unknown_features(str(name) for name in names)
    if unknown:
        raise BundleError(
            f"{manifest} was trained with {', '.join(unknown)}, which no feature is called here: "
            "a bundle holds no code. Register it with register_feature(…) before the model is "
            "loaded (on the command line: --features FILE)"
        )


def _sha256_of(file: Path) -> str:
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError as error:
        raise BundleError(
            f"{file} cannot be read: {error.strerror or error}. Check its permissions and its disk"
        ) from error


def _parse(manifest: Path) -> dict[str, Any]:
    try:
        content = json.loads(manifest.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise BundleError(
            f"{manifest} cannot be read: {error}. Train the model again or restore the folder"
        ) from error
    if not isinstance(content, dict) or not isinstance(content.get("schema"), int):
        raise BundleError(
            f"{manifest} is no manifest of this project: it has no schema number. "
            "Name a folder that `lstm-strategies train` wrote"
        )
    return content
