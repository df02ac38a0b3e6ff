"""Code of the user's own, named on the command line: features and strategies."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_models.errors import ConfigError, LSTMStrategiesError
from lightning_models.spelling import nearest_names

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["load_features", "load_strategy", "load_user_module"]


def load_user_module(source: str, *, option: str) -> ModuleType:
    """Import a Python file or an installed module.

    Parameters
    ----------
    source
        ``my_features.py``, or ``package.module``, which may lie in the current folder.
    option
        Where it was named, for messages.

    Raises
    ------
    ConfigError
        If there is no such file or module, or it fails while it is read.
    """
    path = Path(source).expanduser()
    is_file = path.suffix == ".py" or "/" in source
    if is_file and not path.is_file():
        raise ConfigError(f"{option} {source}: there is no such file in {Path.cwd()}")
    try:
        return _import_file(path) if is_file else _import_module(source)
    except LSTMStrategiesError:
        raise
    except ModuleNotFoundError as error:
        if error.name and source.startswith(error.name):
            raise ConfigError(
                f"{option} {source}: no module {error.name!r} is installed or lies in "
                f"{Path.cwd()}; name a file by its path, such as my_features.py"
            ) from error
        raise ConfigError(
            f"{option} {source} needs the module {error.name!r}, which is not installed"
        ) from error
    except Exception as error:
        raise ConfigError(
            f"{option} {source} failed while it was read, with {type(error).__name__}: {error}"
        ) from error


def load_features(source: str) -> None:
    """Import what registers features with `lightning_models.features.register_feature`.

    Parameters
    ----------
    source
        As `load_user_module` takes it.

    Raises
    ------
    ConfigError
        As `load_user_module` does, or if no feature is registered afterwards.
    """
    from lightning_models.features import own_features

    load_user_module(source, option="--features")
    if not own_features():
        raise ConfigError(
            f"--features {source} registers no feature: call "
            "lightning_models.features.register_feature(NAME, FUNCTION, warmup=…) in it"
        )


def load_strategy(source: str) -> Any:
    """Import a backtrader strategy.

    Parameters
    ----------
    source
        ``MODULE:CLASS`` or ``FILE.py:CLASS``.

    Returns
    -------
    type
        A subclass of ``backtrader.Strategy``.

    Raises
    ------
    ConfigError
        As `load_user_module` does, or if there is no such class in it.
    """
    import backtrader as bt

    module_name, separator, name = source.rpartition(":")
    if not separator or not module_name or not name.isidentifier():
        raise ConfigError(
            f"unreadable --strategy {source!r}: write it as my_strategies.py:MyStrategy or "
            "lstm_strategies:LSTMStrategy"
        )
    module = load_user_module(module_name, option="--strategy")
    found = getattr(module, name, None)
    strategies = [
        key
        for key, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, bt.Strategy)
    ]
    if found is None:
        near = nearest_names(name, strategies) if strategies else "it holds no strategy"
        raise ConfigError(f"--strategy {source}: {module_name} has no {name!r}: {near}")
    if not isinstance(found, type) or not issubclass(found, bt.Strategy):
        raise ConfigError(f"--strategy {source}: {name} is no backtrader strategy")
    return found


def _import_file(path: Path) -> ModuleType:
    # Registered under its name as an import would, which dataclasses and pickle rely on.
    name = f"user_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    if spec is None or spec.loader is None:
        raise ConfigError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _import_module(name: str) -> ModuleType:
    # A console script does not look into the current folder, where a user's code lies.
    here = str(Path.cwd())
    if here in sys.path:
        return importlib.import_module(name)
    sys.path.append(here)
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(here)
