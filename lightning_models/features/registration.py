"""A user's own features: registered by name, then used like the ones that are shipped."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from lightning_models.errors import ConfigError, FeatureError
from lightning_models.features.definition import FeatureDefinition
from lightning_models.features.table import FEATURES

if TYPE_CHECKING:
    from lightning_models.features.definition import FeatureFunction, Floats

__all__ = ["forget_feature", "own_features", "register_feature", "unknown_features"]

_SHIPPED: Final = frozenset(FEATURES)

_WITHOUT_VOLUME: Final = np.array([1.0, 1.0, 1.0, 1.0, 0.0])


def register_feature(
    name: str,
    compute: FeatureFunction,
    *,
    warmup: int | Callable[..., int],
    defaults: Mapping[str, float] | None = None,
    needs_volume: bool = False,
) -> None:
    """Give a feature of your own a name that configurations and models may use.

    A model that was trained with it loads only where it is registered under the same name:
    `bundle.json` holds the name and its parameters, never code. ``lstm-strategies audit`` tells
    whether it looks ahead.

    Parameters
    ----------
    name
        Letters, digits and underscores. A shipped feature's name is taken; one of your own may
        be registered again.
    compute
        From candles ``float64 [B, 5]`` (open, high, low, close, volume; read-only, without
        holes) and its parameters by name to ``float64 [B]``: one value a row, made from that
        row and earlier ones only, finite from the warm-up on, also where a candle is flat and
        its volume 0. Independent of the unit of prices and of volume, if a model is to read
        more than one symbol.
    warmup
        Rows until the start of the data no longer shows; or a function of the parameters.
    defaults
        Parameters and their usual values. One whose name ends in ``period`` is a whole number
        of candles.
    needs_volume
        Whether it reads the traded volume, without which it is refused. Otherwise the volume
        that it is given is 0.

    Raises
    ------
    ConfigError
        If the name is taken or unreadable, or something else cannot be meant so.

    Examples
    --------
    >>> def body(ohlcv):
    ...     return np.log(ohlcv[:, 3] / ohlcv[:, 0])
    >>> register_feature("body", body, warmup=0)
    >>> own_features()
    ('body',)
    >>> forget_feature("body")
    """
    if not isinstance(name, str) or not name.isidentifier():
        raise ConfigError(
            f"a feature cannot be called {name!r}: use letters, digits and underscores, such as "
            "'candle_body'"
        )
    if name in _SHIPPED:
        raise ConfigError(
            f"the feature {name!r} is shipped and cannot be replaced: register yours under "
            f"another name, such as 'my_{name}'"
        )
    if not callable(compute):
        raise ConfigError(
            f"feature {name!r}: compute is {compute!r}; give a function from candles [B, 5] to [B]"
        )
    FEATURES[name] = FeatureDefinition(
        _checked(name, compute, needs_volume),
        warmup=_warmup_function(name, warmup),
        defaults=_checked_defaults(name, defaults or {}),
        needs_volume=needs_volume,
    )


def forget_feature(name: str) -> None:
    """Take a feature of your own off the table again.

    Raises
    ------
    ConfigError
        If no such feature was registered.
    """
    if name not in own_features():
        raise ConfigError(f"{name!r} was never registered with register_feature(…)")
    del FEATURES[name]


def own_features() -> tuple[str, ...]:
    """Return the names that `register_feature` added, sorted."""
    return tuple(sorted(set(FEATURES) - _SHIPPED))


def unknown_features(names: Iterable[str]) -> tuple[str, ...]:
    """Return those of some names that no feature has in this process, in their order."""
    return tuple(name for name in names if name not in FEATURES)


def _warmup_function(name: str, warmup: int | Callable[..., int]) -> Callable[..., int]:
    if callable(warmup):
        return warmup
    if isinstance(warmup, bool) or not isinstance(warmup, int) or warmup < 0:
        raise ConfigError(
            f"feature {name!r}: warmup is {warmup!r}; give a number of candles, 0 or more, or a "
            "function of the parameters"
        )

    def constant(**_parameters: float) -> int:
        return warmup

    return constant


def _checked_defaults(name: str, defaults: Mapping[str, float]) -> dict[str, float]:
    for key, value in defaults.items():
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not isinstance(key, str) or not key.isidentifier() or not number:
            raise ConfigError(
                f"feature {name!r}: the parameter {key!r}={value!r} is no name with a number"
            )
    return {key: float(value) for key, value in defaults.items()}


def _checked(name: str, compute: FeatureFunction, needs_volume: bool) -> FeatureFunction:
    def checked(ohlcv: Floats, **parameters: float) -> Floats:
        # All features of a set read the same rows: none may change them for the next, and none
        # may find a volume there only because another one asked for it.
        rows = ohlcv.view() if needs_volume else ohlcv * _WITHOUT_VOLUME
        rows.setflags(write=False)
        try:
            found: Any = compute(rows, **parameters)
            values = np.array(found, dtype=np.float64)
        except Exception as error:
            raise FeatureError(
                f"feature {name!r} failed on {len(ohlcv)} candles with {type(error).__name__}: "
                f"{error}. It was registered with register_feature(…); correct its function"
            ) from error
        if values.shape != (len(ohlcv),):
            raise FeatureError(
                f"feature {name!r} returned the shape {values.shape} for {len(ohlcv)} candles; "
                f"return one number a row: [{len(ohlcv)}]"
            )
        return values

    return checked
