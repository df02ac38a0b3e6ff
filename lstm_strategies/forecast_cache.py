"""Forecasts by (bundle, candles): computed once for all runs and workers of an optimisation."""

from __future__ import annotations

import hashlib
import io
import logging
import os
import tempfile
from collections import OrderedDict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt
from filelock import FileLock

from lightning_models.features import own_features
from lightning_models.forecast import ForecastArrays
from lightning_models.predictor import Predictor

__all__ = ["ForecastCache"]

_log = logging.getLogger(__name__)

# A hundred thousand candles take 3 MB.
KEPT_IN_MEMORY = 16
DIGEST_BYTES = 32

Floats = npt.NDArray[np.float64]


class ForecastCache:
    """Keeps forecasts in memory, and in a folder that processes share.

    The key holds the bundle's hash, the candles' hash and this project's version; nothing in
    the cache ever has to be invalidated, and all of it may be deleted at any time. A file that
    is damaged is computed again. Where the folder cannot be written, a warning says so and
    each process computes for itself. Forecasts of a model with a feature of the user's own are
    not kept.

    Parameters
    ----------
    folder
        Of the shared files.
    """

    # All runs of this process share it, and workers forked from it start with it.
    _memory: ClassVar[OrderedDict[str, ForecastArrays]] = OrderedDict()

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def forecasts(
        self, predictor: Predictor, time: npt.NDArray[np.int64], ohlcv: Floats
    ) -> ForecastArrays:
        """Return the forecasts of candles, from the cache where they are in it.

        Parameters
        ----------
        predictor
            Whose forecasts.
        time
            ``int64 [T]``, open times or bar stamps in milliseconds.
        ohlcv
            ``float64 [T, 5]``.

        Returns
        -------
        ForecastArrays
            Of ``T`` rows.
        """
        if not set(own_features()).isdisjoint(one.name for one in predictor.bundle.features):
            # Its function may change while the bundle stays the same.
            return predictor.forecast_arrays(time, ohlcv)
        key = _key(predictor, time, ohlcv)
        found = self._memory.get(key)
        if found is None:
            found = self._shared(key, predictor, time, ohlcv)
            self._memory[key] = found
            while len(self._memory) > KEPT_IN_MEMORY:
                self._memory.popitem(last=False)
        self._memory.move_to_end(key)
        return found

    def _shared(
        self, key: str, predictor: Predictor, time: npt.NDArray[np.int64], ohlcv: Floats
    ) -> ForecastArrays:
        path = self._folder / f"{key}.forecasts"
        found = None
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            # Workers that start together wait for the one that computes.
            with FileLock(f"{path}.lock"):
                found = _read(path)
                if found is None:
                    found = predictor.forecast_arrays(time, ohlcv)
                    _write(path, found)
        except OSError as error:
            _log.warning(
                "forecasts are not kept, each process computes them anew: %s cannot be written "
                "(%s)",
                self._folder,
                error.strerror or error,
            )
        return predictor.forecast_arrays(time, ohlcv) if found is None else found


def _key(predictor: Predictor, time: npt.NDArray[np.int64], ohlcv: Floats) -> str:
    digest = hashlib.sha256(predictor.sha256.encode())
    digest.update(_project_version().encode())
    digest.update(np.ascontiguousarray(time, dtype="<i8").tobytes())
    digest.update(np.ascontiguousarray(ohlcv, dtype="<f8").tobytes())
    return digest.hexdigest()


def _project_version() -> str:
    try:
        return version("lstm-strategies")
    except PackageNotFoundError:
        return "not installed"


def _read(path: Path) -> ForecastArrays | None:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    digest, packed = content[:DIGEST_BYTES], content[DIGEST_BYTES:]
    # A disk that lost bytes must not change a backtest.
    if hashlib.sha256(packed).digest() != digest:
        _log.warning("%s is damaged and is computed again", path)
        return None
    stored = np.load(io.BytesIO(packed), allow_pickle=False)
    return ForecastArrays(stored[:, :, 0].copy(), stored[:, :, 1:].copy())


def _write(path: Path, forecasts: ForecastArrays) -> None:
    joined = np.concatenate([forecasts.probability[:, :, None], forecasts.quantiles], axis=2)
    buffer = io.BytesIO()
    np.save(buffer, joined, allow_pickle=False)
    packed = buffer.getvalue()
    handle, scratch = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(hashlib.sha256(packed).digest() + packed)
        Path(scratch).replace(path)
    except BaseException:
        Path(scratch).unlink(missing_ok=True)
        raise
