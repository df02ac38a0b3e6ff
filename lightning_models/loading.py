"""Load a predictor by name; MLflow is touched only to find a registered name."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lightning_models.errors import BundleError, CandleError, ModelNotFoundError
from lightning_models.home import Home, find_home

if TYPE_CHECKING:
    from lightning_models.predictor import Predictor

__all__ = ["load_predictor", "load_predictor_from"]


def load_predictor(
    model: str | os.PathLike[str], *, home: str | os.PathLike[str] | Home | None = None
) -> Predictor:
    """Load a model for forecasting.

    Parameters
    ----------
    model
        ``models:/name@alias``, ``models:/name/3``, or the folder of a bundle.
    home
        Folder whose registry knows the name; by default ``$LSTM_HOME`` or the user's data
        folder.

    Returns
    -------
    Predictor
        An alias is resolved once: the predictor never changes.

    Raises
    ------
    ModelNotFoundError
        If there is no such model.
    BundleError
        If the bundle is damaged, foreign, newer than this release, or no longer gives the
        forecast it gave when it was made.
    """
    name = os.fspath(model)
    if name.startswith("models:"):
        from lightning_models.registry import Registry  # three seconds of MLflow

        place = find_home(home)
        if not place.has_registry:
            raise ModelNotFoundError(
                f"no model {name!r}: {place.path} holds no registry yet. Check --home or "
                "$LSTM_HOME, or train one: lstm-strategies train --preset price-predictor "
                "--data FILE --name NAME"
            )
        folder, fixed = Registry(place).resolve(name)
        return load_predictor_from(folder, fixed)
    folder = Path(name).expanduser()
    if not folder.is_dir():
        raise ModelNotFoundError(
            f"no model {name!r}: there is no such folder, and registered models are named "
            "models:/NAME@champion; `lstm-strategies models` lists them"
        )
    return load_predictor_from(folder, str(folder))


def load_predictor_from(folder: Path, name: str) -> Predictor:
    """Load a bundle's folder and check it against its golden forecast.

    Parameters
    ----------
    folder
        Of the bundle.
    name
        How forecasts shall name the model.

    Raises
    ------
    BundleError
        As `load_predictor` says.
    """
    # Torch takes two seconds to import, and reading candles needs none of it.
    from lightning_models.bundle import bundle_sha256, load_network, read_bundle
    from lightning_models.inference import NetworkRunner
    from lightning_models.predictor import Predictor

    bundle = read_bundle(folder)
    runner = NetworkRunner(load_network(folder, bundle), bundle.lookback)
    predictor = Predictor(bundle, runner, model=name, sha256=bundle_sha256(folder))
    golden = bundle.golden
    try:
        probability, quantiles = predictor.forecast_latest(
            np.array(golden.time, dtype=np.int64), np.array(golden.ohlcv, dtype=np.float64)
        )
    except CandleError as error:
        raise BundleError(
            f"{folder} is damaged: its golden candles cannot be forecast from: {error}. "
            "Train the model again"
        ) from error
    given = np.concatenate([probability, quantiles.ravel()])
    expected = np.concatenate([golden.probability, np.ravel(golden.quantiles)])
    difference = float(np.abs(given - expected).max())
    if not difference <= golden.tolerance:
        raise BundleError(
            f"{folder} no longer gives the forecast it gave when it was made (off by "
            f"{difference:.2g}, allowed {golden.tolerance:.2g}): the file was changed, or a "
            f"library computes differently (made with {_spoken(bundle.versions)}). "
            "Train the model again"
        )
    return predictor


def _spoken(versions: dict[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in sorted(versions.items()))
