"""A user's own features on their way to processes that cannot import their code."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import cloudpickle

from lightning_models.errors import ConfigError
from lightning_models.features import own_features
from lightning_models.features.table import FEATURES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import ModuleType

    from lightning_models.features import FeatureSpec

__all__ = ["pack_features", "unpack_features"]


def pack_features(features: Iterable[FeatureSpec]) -> bytes:
    """Return those of some features that `register_feature` added, their code included.

    Parameters
    ----------
    features
        Of a model.

    Returns
    -------
    bytes
        For another process of this program and nothing else: never for a file. Empty where
        all features are shipped.

    Raises
    ------
    ConfigError
        If a feature's function holds something that no other process can be given.
    """
    own = set(own_features())
    names = sorted({one.name for one in features} & own)
    if not names:
        return b""
    with _modules_by_value():
        try:
            packed: bytes = cloudpickle.dumps({name: FEATURES[name] for name in names})
        except Exception as error:
            raise ConfigError(
                f"the feature{'s' if len(names) > 1 else ''} {', '.join(names)} cannot be handed "
                f"to other processes: {error}. Use --jobs 1, or write it as a plain function that "
                "holds no open file or connection"
            ) from error
    return packed


def unpack_features(packed: bytes) -> None:
    """Register in this process what `pack_features` returned in the one that started it."""
    if packed:
        FEATURES.update(cloudpickle.loads(packed))


@contextmanager
def _modules_by_value() -> Iterator[None]:
    modules = [
        module
        for name, module in list(sys.modules.items())
        if "." not in name and getattr(module, "__file__", None) and not _importable(name)
    ]
    try:
        for module in modules:
            cloudpickle.register_pickle_by_value(module)
        yield
    finally:
        for module in modules:
            _forget(module)


def _importable(name: str) -> bool:
    # Anew, in another process: not what was read from a file by its path, nor from a folder
    # that was searched for a moment only.
    finders: list[Any] = [one for one in sys.meta_path if hasattr(one, "find_spec")]
    return name == "__main__" or any(one.find_spec(name, None) is not None for one in finders)


def _forget(module: ModuleType) -> None:
    if module.__name__ in cloudpickle.list_registry_pickle_by_value():
        cloudpickle.unregister_pickle_by_value(module)
