"""What a feature is: a pure function of candles, its parameters and its warm-up."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, model_validator

__all__ = ["FeatureDefinition", "FeatureFunction", "FeatureSpec", "Floats", "decay_bars"]

Floats = npt.NDArray[np.float64]

# A start must have decayed below 1e-6 in units of the *scaled* feature. Scaling divides by
# deviations as small as 1e-3 and an early average may be off by a tenth of the price.
START_DECAYS_TO = 1e-9

LONGEST_PERIOD = 10_000


# From candles [B, 5] and its parameters by name to one value a row [B]; rows before the
# warm-up may hold anything.
FeatureFunction = Callable[..., Floats]


@dataclass(frozen=True)
class FeatureDefinition:
    """A feature's row in the table.

    Parameters
    ----------
    compute
        Uses past and present rows only, is unchanged when prices or volumes are multiplied
        by a constant, and is finite on flat candles without volume.
    warmup
        From the parameters to the number of candles until the start no longer shows.
    defaults
        Parameters and their usual values.
    needs_volume
        Whether the feature means nothing without traded volume.
    """

    compute: FeatureFunction
    warmup: Callable[..., int]
    defaults: Mapping[str, float] = field(default_factory=dict)
    needs_volume: bool = False


class FeatureSpec(BaseModel):
    """A feature as configuration names it: ``rsi``, or ``{name: rsi, parameters: {period: 14}}``.

    Examples
    --------
    >>> FeatureSpec.model_validate("rsi").parameters
    {'period': 14.0}
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    parameters: dict[str, float] = {}

    @model_validator(mode="before")
    @classmethod
    def _accept_a_bare_name(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _complete_with_defaults(self) -> FeatureSpec:
        # The table imports the features, which import this module.
        from lightning_models.features.table import FEATURES
        from lightning_models.spelling import nearest_names

        definition = FEATURES.get(self.name)
        if definition is None:
            raise ValueError(f"unknown feature {self.name!r}: {nearest_names(self.name, FEATURES)}")
        for key, value in self.parameters.items():
            if key not in definition.defaults:
                known = nearest_names(key, definition.defaults) if definition.defaults else "none"
                raise ValueError(f"feature {self.name!r} has no parameter {key!r}: {known}")
            _check_parameter(self.name, key, value)
        complete = {key: float(value) for key, value in definition.defaults.items()}
        complete.update(self.parameters)
        object.__setattr__(self, "parameters", complete)
        return self

    @property
    def definition(self) -> FeatureDefinition:
        """The feature's row in the table."""
        from lightning_models.features.table import FEATURES

        return FEATURES[self.name]

    @property
    def warmup(self) -> int:
        """Candles until the start of the data no longer shows in the feature."""
        return self.definition.warmup(**self.parameters)

    @property
    def label(self) -> str:
        """Name with parameters, such as ``rsi(14)``."""
        if not self.parameters:
            return self.name
        return f"{self.name}({', '.join(f'{value:g}' for value in self.parameters.values())})"


def _check_parameter(feature: str, key: str, value: float) -> None:
    if key.endswith("period"):
        if not 2 <= value <= LONGEST_PERIOD or value != int(value):
            raise ValueError(
                f"feature {feature!r}: {key} must be a whole number of candles from 2 to "
                f"{LONGEST_PERIOD:,}, not {value:g}"
            )
    elif not math.isfinite(value) or value <= 0:
        raise ValueError(f"feature {feature!r}: {key} must be above 0, not {value:g}")


def decay_bars(keep: float) -> int:
    """Return after how many steps a recursive average has forgotten its start.

    Parameters
    ----------
    keep
        The share of the old value that each step keeps: ``1 - 2 / (period + 1)`` for an
        exponential average, ``1 - 1 / period`` for Wilder's.

    Examples
    --------
    >>> decay_bars(1 - 1 / 14)
    280
    """
    if keep <= 0:
        return 1
    return math.ceil(math.log(START_DECAYS_TO) / math.log(keep))
