"""Fitted folds by what decides the fit: trials that only trade differently fit nothing."""

from __future__ import annotations

import hashlib
import inspect
import json
import logging
import shutil
import tempfile
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from filelock import FileLock

from lightning_models.bundle import bundle_sha256, read_bundle
from lightning_models.candles import fingerprint_of
from lightning_models.errors import BundleError
from lightning_models.features import FEATURES, own_features

if TYPE_CHECKING:
    from experiments.config import TrainConfig
    from experiments.walk_forward.folds import Fold
    from lightning_models.candles import Candles
    from lightning_models.features import FeatureSpec

__all__ = ["BUNDLE_FOLDER", "FoldCache", "KeptFit", "fold_key", "inputs_of"]

_log = logging.getLogger(__name__)

BUNDLE_FOLDER: Final = "bundle"
"""Of a kept fit: the folder that the model is loaded from."""

FIT_FILE: Final = "fit.json"

# What the bits of a fit depend on beside this project's own code.
_VERSIONED: Final = ("lstm-strategies", "numpy", "pytorch-lightning", "scikit-learn", "torch")


@dataclass(frozen=True)
class KeptFit:
    """What is kept of a fit beside its bundle.

    Parameters
    ----------
    losses
        For each network that was trained in epochs, one after another, the log-loss of each
        epoch; more than one for an ensemble, none for a forecaster without gradients.
    metrics
        Of the fit, as `lightning_models.training.FitResult.metrics` returns them.
    bundle_sha256
        Of the bundle.
    """

    losses: tuple[tuple[float, ...], ...]
    metrics: dict[str, float]
    bundle_sha256: str


class FoldCache:
    """Keeps fitted folds in a folder that processes share.

    An entry is the folder of its key, with the ``bundle`` and ``fit.json``. It appears whole or
    not at all. Nothing in the cache ever has to be invalidated; it is never made smaller
    either: delete the folder to make room, and what is asked for again is fitted again. A
    damaged entry is fitted again too. Workers that want the same fold wait for the one that
    fits it.

    Parameters
    ----------
    folder
        Of all entries.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def fold(
        self, key: str, fit: Callable[[Path], KeptFit | None], *, scratch: Path
    ) -> tuple[Path, KeptFit, bool] | None:
        """Return a fitted fold, from the cache where it is in it.

        Parameters
        ----------
        key
            As `fold_key` returns it.
        fit
            Called with a folder that exists where there is no sound entry; it writes the bundle
            to `BUNDLE_FOLDER` in it, or returns None where the fit was given up.
        scratch
            Where to fit if the cache cannot be written; a warning says so.

        Returns
        -------
        tuple or None
            The entry's folder, what is kept beside its bundle, and whether it was there before.
            None where the fit was given up; nothing is kept then.
        """
        with ExitStack() as held:
            try:
                self._folder.mkdir(parents=True, exist_ok=True)
                held.enter_context(FileLock(self._folder / f"{key}.lock"))
            except OSError as error:
                _log.warning(
                    "fitted folds are not kept, each trial fits them anew: %s cannot be written "
                    "(%s)",
                    self._folder,
                    error.strerror or error,
                )
                made = fit(scratch)
                return None if made is None else (scratch, made, False)
            return self._locked(key, fit)

    def _locked(
        self, key: str, fit: Callable[[Path], KeptFit | None]
    ) -> tuple[Path, KeptFit, bool] | None:
        entry = self._folder / key
        if entry.exists():
            try:
                return entry, _read(entry), True
            except BundleError as error:
                _log.warning("%s is damaged and is fitted again: %s", entry, error)
                shutil.rmtree(entry)
        for left_behind in self._folder.glob(f".{key}-*"):
            # Of a process that was killed while it held the lock.
            shutil.rmtree(left_behind, ignore_errors=True)
        making = Path(tempfile.mkdtemp(prefix=f".{key}-", dir=self._folder))
        try:
            made = fit(making)
            if made is None:
                return None
            _write(making, made)
            making.chmod(0o755)
            making.rename(entry)
            return entry, made, False
        finally:
            shutil.rmtree(making, ignore_errors=True)


def fold_key(config: TrainConfig, fold: Fold, *, inputs: str) -> str:
    """Return the name of a fold's fit: SHA-256 of everything that decides it.

    Parameters
    ----------
    config
        As `experiments.walk_forward.running.fold_config` returns it, with the fit's seed; what
        the preset is called does not matter.
    fold
        Its slices and when it is replaced.
    inputs
        Of the candles and the user's own features, as `inputs_of` returns it.
    """
    decides = {
        "config": config.model_dump(mode="json", exclude={"preset"}),
        "edges": fold.slices.edges,
        "embargo": fold.slices.embargo_ms,
        "replaced_at": fold.replaced_at,
        "inputs": inputs,
        "versions": [_version(name) for name in _VERSIONED],
    }
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()


def inputs_of(
    candles: Sequence[Candles], features: Iterable[FeatureSpec], *, packed: bytes = b""
) -> str:
    """Return SHA-256 of the candles that a model is fitted on, and of the user's own features.

    Parameters
    ----------
    candles
        One entry for each symbol.
    features
        Of the model. Of the user's own the whole source file counts, but not what it imports
        from another one of the user's.
    packed
        The user's own, as `experiments.walk_forward.carried_features.pack_features` returns
        them: code without a file is only there.
    """
    digest = hashlib.sha256(fingerprint_of(candles).encode())
    for one in sorted(candles, key=lambda one: one.symbol):
        digest.update(f"{one.symbol}\n{one.timeframe}\n{one.market}\n".encode())
    own = set(own_features())
    for name in sorted({one.name for one in features} & own):
        digest.update(f"{name}\n{_source_of(name)}\n".encode())
    digest.update(packed)
    return digest.hexdigest()


def _source_of(name: str) -> str:
    compute: Any = inspect.getclosurevars(FEATURES[name].compute).nonlocals.get("compute")
    try:
        return Path(inspect.getfile(compute)).read_text(encoding="utf-8")
    except (TypeError, OSError):
        # Typed at a prompt, say: then it is packed with its code.
        return ""


def _version(name: str) -> str:
    try:
        return f"{name} {version(name)}"
    except PackageNotFoundError:
        return f"{name} not installed"


def _read(entry: Path) -> KeptFit:
    try:
        stored = json.loads((entry / FIT_FILE).read_text(encoding="utf-8"))
        text = stored["fit"]
        if hashlib.sha256(text.encode()).hexdigest() != stored["sha256"]:
            raise BundleError(f"{FIT_FILE} was changed")
        content = json.loads(text)
        kept = KeptFit(
            tuple(tuple(losses) for losses in content["losses"]),
            content["metrics"],
            content["bundle_sha256"],
        )
        read_bundle(entry / BUNDLE_FOLDER)
        if bundle_sha256(entry / BUNDLE_FOLDER) != kept.bundle_sha256:
            raise BundleError("its bundle was changed")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BundleError(f"{type(error).__name__}: {error}") from error
    return kept


def _write(entry: Path, kept: KeptFit) -> None:
    text = json.dumps(
        {
            "losses": kept.losses,
            "metrics": kept.metrics,
            "bundle_sha256": kept.bundle_sha256,
        }
    )
    stored = {"fit": text, "sha256": hashlib.sha256(text.encode()).hexdigest()}
    (entry / FIT_FILE).write_text(json.dumps(stored), encoding="utf-8")
