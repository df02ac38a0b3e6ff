"""Predictors of this process, loaded once for each bundle."""

from __future__ import annotations

import logging
import os
import re
from functools import cache
from pathlib import Path
from typing import Any, Final

from lightning_models import load_predictor
from lightning_models.home import find_home
from lightning_models.loading import UNTRAINED
from lightning_models.predictor import Predictor
from lstm_strategies.feed import candle_timeframe_of

__all__ = ["analyst_folder", "at_timeframe", "cache_folder", "predictor_of"]

_log = logging.getLogger(__name__)

_loaded: dict[tuple[str, str], Predictor] = {}
_folders: dict[tuple[str, Any], Predictor] = {}

# A study trades thousands of models, one after the other.
_MOST_LOADED: Final = 256

_FIXED: Final = re.compile(r"models:/[^/@]+/\d+")


def predictor_of(
    model: str,
    home: str = "",
    *,
    fallback: str = "",
    data: Any = None,
    any_timeframe: bool = False,
) -> Predictor:
    """Return the predictor of a model, loading it if this process has not yet.

    A registered version is loaded once. An alias is looked up each time, so that a later run
    sees a later champion, and a folder is read again once one of its files has changed; where they
    turn out to be a bundle that is loaded already, its predictor is shared.

    Parameters
    ----------
    model
        As `lightning_models.load_predictor` takes it.
    home
        Empty for ``$LSTM_HOME`` or the user's data folder.
    fallback
        What to load where there is no such model; by default that is an error.
    data
        Feed whose timeframe and market the short name ``statistical`` stands for.
    any_timeframe
        Whether a model of another timeframe than that of `data` is asked all the same.

    Raises
    ------
    ModelNotFoundError, BundleError
        As `lightning_models.load_predictor` does.
    """
    model = _of_feed(os.fspath(model), data)
    place = find_home(home or None)
    fixed = _FIXED.fullmatch(model)
    known = _loaded.get((model, str(place.path))) if fixed else None
    state = None if model.startswith("models:") else _state_of(Path(model))
    if state is not None and (model, state) in _folders:
        known = _folders[model, state]
    if known is None:
        fresh = load_predictor(model, home=place, fallback=_of_feed(fallback, data))
        # The same bundle under the same name is the same predictor: nothing in it changes.
        known = _loaded.setdefault((fresh.model, fresh.sha256), fresh)
        if _FIXED.fullmatch(known.model):
            _loaded[known.model, str(place.path)] = known
        if state is not None:
            _folders[model, state] = known
        tables: tuple[dict[Any, Predictor], ...] = (_loaded, _folders)
        for kept in tables:
            while len(kept) > _MOST_LOADED:
                del kept[next(iter(kept))]
    timeframe = None if data is None else candle_timeframe_of(data)
    if not any_timeframe or timeframe in (None, known.timeframe):
        return known
    return at_timeframe(known, str(timeframe))


def _state_of(folder: Path) -> tuple[tuple[str, int, int], ...] | None:
    # Of all its files, by size and time of writing; None where there is no such folder.
    if not folder.is_dir():
        return None
    files = ((path, path.stat()) for path in sorted(folder.rglob("*")) if path.is_file())
    return tuple((str(path), one.st_size, one.st_mtime_ns) for path, one in files)


@cache
def at_timeframe(predictor: Predictor, timeframe: str) -> Predictor:
    """Return a model as one of another timeframe, and warn, once a process.

    Raises
    ------
    ConfigError
        As `lightning_models.predictor.Predictor.at_timeframe` does.
    """
    asked = predictor.at_timeframe(timeframe)
    _log.warning(
        "%s was trained on %s candles and is asked about %s ones: its confidence and its bounds "
        "were calibrated on the former, and may mean nothing here",
        predictor.model,
        predictor.timeframe,
        timeframe,
    )
    return asked


def _of_feed(model: str, data: Any) -> str:
    timeframe = None if data is None else candle_timeframe_of(data)
    if model != UNTRAINED or timeframe is None or Path(model).exists():
        return model
    market = getattr(data, "market", "continuous")
    return f"{model}:{timeframe}" + ("" if market == "continuous" else f":{market}")


def cache_folder(home: str = "") -> Path:
    """Return where forecasts are kept for a home."""
    return find_home(home or None).cache / "forecasts"


def analyst_folder(home: str = "") -> Path:
    """Return where a language model's opinions are kept for a home."""
    return find_home(home or None).cache / "opinions"
