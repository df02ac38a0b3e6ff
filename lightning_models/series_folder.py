"""Models that follow one another in time, as a folder of bundles and one manifest, no pickle."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_serializer

from lightning_models.bundle import (
    MANIFEST_FILE,
    Bundle,
    SliceSpan,
    bundle_sha256,
    read_bundle,
)
from lightning_models.candles.timestamps import iso_utc_of
from lightning_models.errors import BundleError, StorageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = [
    "SERIES_FILE",
    "SERIES_SCHEMA",
    "SeriesManifest",
    "SeriesMember",
    "describe_model",
    "describe_series",
    "find_model",
    "is_series",
    "model_sha256",
    "read_series",
    "write_series",
]

SERIES_FILE: Final = "series.json"
SERIES_SCHEMA: Final = 1

# What the members must share, so that one indicator can show them all.
_SHARED: Final = ("horizons", "timeframe", "market", "mode", "features", "lookback", "warmup")


class _Part(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_by_name=True, serialize_by_alias=True
    )


class SeriesMember(_Part):
    """One model of a series.

    Parameters
    ----------
    folder
        Of its bundle, within the series' folder.
    bundle_sha256
        Of its manifest, which holds its weights' hash.
    unseen_from
        First decision time it is responsible for; it is until the next member's.
    """

    folder: str = Field(pattern=r"^[\w.\-]+$")
    bundle_sha256: str
    unseen_from: datetime

    @field_serializer("unseen_from", when_used="json")
    def _with_z(self, time: datetime) -> str:
        return iso_utc_of(time)


class SeriesManifest(_Part):
    """What `series.json` holds.

    Parameters
    ----------
    schema_version
        Of this file's layout (``schema`` in the file).
    members
        In order of time.
    metrics
        Of the joined forecasts, each by a model that had not seen its bar.
    evaluated_by
        MLflow run that the metrics come from.
    data_fingerprint
        SHA-256 of all candles that members were fitted or evaluated on.
    created_at
        When it was joined.
    """

    schema_version: int = Field(default=SERIES_SCHEMA, alias="schema")
    members: tuple[SeriesMember, ...] = Field(min_length=1)
    metrics: dict[str, float | None]
    evaluated_by: str | None
    data_fingerprint: str
    created_at: datetime

    @field_serializer("created_at", when_used="json")
    def _with_z(self, time: datetime) -> str:
        return iso_utc_of(time)


def write_series(
    folder: Path,
    bundles: Sequence[Path],
    *,
    metrics: Mapping[str, float | None],
    evaluated_by: str | None,
    data_fingerprint: str,
    created_at: datetime,
) -> Path:
    """Join the folders of bundles into one model; it appears whole or not at all.

    Parameters
    ----------
    folder
        Must not exist yet.
    bundles
        Of the members, copied, in order of time.
    metrics, evaluated_by, data_fingerprint, created_at
        As in `SeriesManifest`.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    BundleError
        If the bundles do not fit together.
    StorageError
        If the disk is full or cannot be written.
    """
    scratch = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        members = []
        for number, bundle in enumerate(bundles, start=1):
            name = f"fold-{number}"
            shutil.copytree(bundle, scratch / name)
            members.append(
                SeriesMember(
                    folder=name,
                    bundle_sha256=bundle_sha256(scratch / name),
                    unseen_from=read_bundle(scratch / name).unseen_from,
                )
            )
        manifest = SeriesManifest(
            members=tuple(members),
            metrics=dict(metrics),
            evaluated_by=evaluated_by,
            data_fingerprint=data_fingerprint,
            created_at=created_at,
        )
        text = json.dumps(manifest.model_dump(mode="json"), indent=1, allow_nan=False)
        with (scratch / SERIES_FILE).open("wb") as file:
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
        read_series(scratch)
        scratch.chmod(0o755)
        scratch.rename(folder)
    except OSError as error:
        raise StorageError(
            f"the models could not be joined in {folder}: {error.strerror or error}. "
            "Make room or choose another --home; nothing half-written was left"
        ) from error
    finally:
        if scratch is not None:
            shutil.rmtree(scratch, ignore_errors=True)
    return folder


def read_series(folder: Path) -> tuple[SeriesManifest, tuple[Bundle, ...]]:
    """Read and check a series' manifest and the bundles of its members.

    Raises
    ------
    BundleError
        If a file is missing, damaged, foreign or of a newer schema, if a bundle is not the one
        that was joined, or if the bundles do not fit together.
    """
    path = folder / SERIES_FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        schema = content["schema"]
        if isinstance(schema, int) and schema > SERIES_SCHEMA:
            raise BundleError(
                f"{path} has schema {schema}, this release reads up to {SERIES_SCHEMA}: it was "
                "written by a newer release; upgrade with pip install --upgrade lstm-strategies"
            )
        manifest = SeriesManifest.model_validate(content)
    except (OSError, ValueError, TypeError, KeyError) as error:
        told = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
        raise BundleError(
            f"{path} is damaged or foreign: {told}. Run the walk-forward again or restore the "
            "folder from a copy"
        ) from error
    bundles = []
    for member in manifest.members:
        bundle = read_bundle(folder / member.folder)
        if bundle_sha256(folder / member.folder) != member.bundle_sha256:
            raise BundleError(
                f"{folder / member.folder} does not match its hash in {SERIES_FILE}: it was "
                "changed or exchanged. Run the walk-forward again or restore the folder"
            )
        bundles.append(bundle)
    _check_fits(path, manifest, bundles)
    return manifest, tuple(bundles)


def describe_series(manifest: SeriesManifest, bundles: Sequence[Bundle]) -> Bundle:
    """Return a series as one bundle, for whoever asks a model what it is.

    Network, scaler, calibration, intervals and thresholds are the first member's: what a
    strategy takes from them before it starts must not come from a later one. Its burn-in is
    the longest, its symbols are those of any member, and its base rate, the baseline that it is
    measured against, is the mean of its members'.

    Parameters
    ----------
    manifest, bundles
        As `read_series` returns them.
    """
    first, last = bundles[0], bundles[-1]
    burn_ins = [bundle.burn_in for bundle in bundles if bundle.burn_in is not None]
    rates = np.mean([bundle.base_rate for bundle in bundles], axis=0)
    tested = SliceSpan(
        start=first.unseen_from,
        end=last.slices["test"].end,
        samples=sum(bundle.slices["test"].samples for bundle in bundles),
    )
    return first.model_copy(
        update={
            "weights_sha256": "",
            "burn_in": max(burn_ins, default=None),
            "base_rate": tuple(rates.tolist()),
            "symbols": tuple(sorted({symbol for one in bundles for symbol in one.symbols})),
            "slices": {**first.slices, "test": tested},
            "data_fingerprint": manifest.data_fingerprint,
            "evaluated_by": manifest.evaluated_by,
            "metrics": manifest.metrics,
            "created_at": manifest.created_at,
            "expires_at": last.expires_at,
        }
    )


def is_series(folder: Path) -> bool:
    """Return whether a folder holds a series and not a single bundle."""
    return (folder / SERIES_FILE).is_file()


def find_model(folder: Path) -> Path | None:
    """Return the folder of the outermost bundle or series in a folder, None if there is none."""
    found = [path for name in (SERIES_FILE, MANIFEST_FILE) for path in folder.glob(f"**/{name}")]
    outermost = min(found, key=lambda path: (len(path.parts), path), default=None)
    return None if outermost is None else outermost.parent


def describe_model(folder: Path) -> Bundle:
    """Return what a model's folder says of itself: its bundle, or its series as one.

    Raises
    ------
    BundleError
        As `read_bundle` and `read_series` say.
    """
    return describe_series(*read_series(folder)) if is_series(folder) else read_bundle(folder)


def model_sha256(folder: Path) -> str:
    """Return the SHA-256 of a model: of the manifest, which holds the hashes of all the rest."""
    if is_series(folder):
        return hashlib.sha256((folder / SERIES_FILE).read_bytes()).hexdigest()
    return bundle_sha256(folder)


def _check_fits(path: Path, manifest: SeriesManifest, bundles: Sequence[Bundle]) -> None:
    starts = [member.unseen_from for member in manifest.members]
    if starts != [bundle.unseen_from for bundle in bundles]:
        raise BundleError(f"{path} gives its members other periods than their bundles do")
    if any(later <= earlier for earlier, later in pairwise(starts)):
        raise BundleError(f"{path} lists its members out of order: {starts}")
    first = bundles[0]
    for member, bundle in zip(manifest.members[1:], bundles[1:], strict=True):
        differing = [name for name in _SHARED if getattr(bundle, name) != getattr(first, name)]
        if (bundle.intervals is None) != (first.intervals is None):
            differing.append("intervals")
        if differing:
            raise BundleError(
                f"the models of {path.parent} cannot follow one another: {member.folder} differs "
                f"from the first in {', '.join(differing)}"
            )
