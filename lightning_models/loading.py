"""Load a predictor by name; MLflow is touched only to find a registered name."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from lightning_models.errors import BundleError, CandleError, ConfigError, ModelNotFoundError
from lightning_models.home import Home, find_home
from lightning_models.timeframes import check_timeframe

if TYPE_CHECKING:
    from lightning_models.predictor import Predictor

__all__ = ["UNTRAINED", "load_predictor", "load_predictor_from"]

_log = logging.getLogger(__name__)

UNTRAINED: Final = "statistical"
"""What names of predictors without training start with, such as ``statistical:6h``."""


def load_predictor(
    model: str | os.PathLike[str],
    *,
    home: str | os.PathLike[str] | Home | None = None,
    fallback: str | os.PathLike[str] = "",
) -> Predictor:
    """Load a model for forecasting.

    Parameters
    ----------
    model
        ``models:/name@alias``, ``models:/name/3``, or the folder of a bundle. For a symbol that
        has no model, ``statistical:TIMEFRAME`` forecasts without one.
    home
        Folder whose registry knows the name; by default ``$LSTM_HOME`` or the user's data
        folder.
    fallback
        What to load, with a warning, where there is no such model: ``statistical:6h``, say. By
        default that is an error. A model that is there but damaged is always one.

    Returns
    -------
    Predictor
        An alias is resolved once: the predictor never changes.

    Raises
    ------
    ConfigError
        If `model` is neither a text nor a path, or names no timeframe that there is.
    ModelNotFoundError
        If there is no such model.
    BundleError
        If the bundle is damaged, foreign, newer than this release, or no longer gives the
        forecast it gave when it was made.
    """
    if not isinstance(model, str | os.PathLike):
        raise ConfigError(
            f"model={model!r} names no model: give models:/NAME@champion, models:/NAME/3 or the "
            "folder of a bundle"
        )
    if fallback:
        _check_fallback(os.fspath(fallback))
        try:
            return load_predictor(model, home=home)
        except ModelNotFoundError as error:
            reason = str(error).partition(": ")[0]
            _log.warning("%s: forecasting with %s instead", reason, os.fspath(fallback))
            return load_predictor(fallback, home=home)
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
    if name.partition(":")[0] == UNTRAINED and not folder.exists():
        from lightning_models.forecasters.untrained import predictor_of_name

        return predictor_of_name(name)
    if not folder.is_dir():
        raise ModelNotFoundError(
            f"no model {name!r}: there is no such folder, and registered models are named "
            "models:/NAME@champion; `lstm-strategies models` lists them"
        )
    return load_predictor_from(folder, str(folder))


def _check_fallback(name: str) -> None:
    # Told whether it is needed or not: it is asked for when there is no time to mend it.
    kind, _, timeframe = name.partition(":")
    if kind == UNTRAINED and timeframe:
        check_timeframe(timeframe)
    elif not name.startswith("models:") and not Path(name).expanduser().is_dir():
        raise ConfigError(
            f"fallback={name!r} names no forecaster: give {UNTRAINED}:TIMEFRAME, such as "
            f"{UNTRAINED}:6h, or a model that is there"
        )


def load_predictor_from(folder: Path, name: str) -> Predictor:
    """Load a bundle's folder and check it against its golden forecast.

    Parameters
    ----------
    folder
        Of the bundle, or of a series of them.
    name
        How forecasts shall name the model.

    Raises
    ------
    BundleError
        As `load_predictor` says.
    """
    # Torch takes two seconds to import, and reading candles needs none of it.
    from lightning_models.bundle import bundle_sha256, load_network, read_bundle
    from lightning_models.inference import runner_of
    from lightning_models.predictor import Predictor
    from lightning_models.series_folder import is_series

    if is_series(folder):
        from lightning_models.forecast_series import load_series

        return load_series(folder, name)
    bundle = read_bundle(folder)
    network = load_network(folder, bundle)
    runner = runner_of(network, lookback=bundle.lookback, burn_in=bundle.burn_in)
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
    given = np.concatenate([probability, quantiles[:, :3].ravel()])
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
