"""Predictors of this process, loaded once for each bundle."""

from __future__ import annotations

from pathlib import Path

from lightning_models import load_predictor
from lightning_models.home import find_home
from lightning_models.predictor import Predictor

__all__ = ["cache_folder", "predictor_of"]

_loaded: dict[tuple[str, str], Predictor] = {}


def predictor_of(model: str, home: str = "") -> Predictor:
    """Return the predictor of a model, loading it if this process has not yet.

    A version's number or a folder whose content is unchanged is loaded once; an alias is
    looked up each time, so that a later run sees a later champion.

    Parameters
    ----------
    model
        As `load_predictor` takes it.
    home
        Empty for ``$LSTM_HOME`` or the user's data folder.
    """
    place = find_home(home or None)
    if "@" in model or not model.startswith("models:/"):
        return _shared(load_predictor(model, home=place))
    key = (model, str(place.path))
    if key not in _loaded:
        _loaded[key] = load_predictor(model, home=place)
    return _loaded[key]


def _shared(predictor: Predictor) -> Predictor:
    # The same bundle under the same name is the same predictor: nothing in it changes.
    return _loaded.setdefault((predictor.model, predictor.sha256), predictor)


def cache_folder(home: str = "") -> Path:
    """Return where forecasts are kept for a home."""
    return find_home(home or None).cache / "forecasts"
