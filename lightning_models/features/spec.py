"""A feature as data: its name and parameters, checked against the table."""

from __future__ import annotations

import math
from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator

from lightning_models.errors import FeatureError
from lightning_models.features.definition import FeatureDefinition
from lightning_models.features.table import FEATURES
from lightning_models.spelling import nearest_names

__all__ = ["FeatureSpec"]

LONGEST_PERIOD = 10_000


class FeatureSpec(BaseModel):
    """A feature as configuration names it: ``rsi``, or ``{name: rsi, parameters: {period: 14}}``.

    Examples
    --------
    >>> FeatureSpec.model_validate("rsi").parameters
    {'period': 14.0}
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str
    parameters: dict[str, float] = {}

    @model_validator(mode="before")
    @classmethod
    def _accept_a_bare_name(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _complete_with_defaults(self) -> FeatureSpec:
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
        if self.name not in FEATURES:
            # Of a configuration from another process, or forgotten since.
            raise FeatureError(
                f"feature {self.name!r} is not registered in this process: call "
                "register_feature(…) first, or name its file with --features"
            )
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
