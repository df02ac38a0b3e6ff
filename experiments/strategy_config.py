"""Which strategy trades, with which model and which of its parameters."""

from __future__ import annotations

import os
from typing import Annotated, Any, Final

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveInt,
    field_validator,
    model_validator,
)

from lightning_models.spelling import nearest_names

__all__ = ["TOLD", "PathText", "StrategyConfig", "default_parameters"]


def _text_of_path(value: Any) -> Any:
    return os.fspath(value) if isinstance(value, os.PathLike) else value


PathText = Annotated[str, BeforeValidator(_text_of_path)]
"""A text, or a path that becomes one."""

Fraction = Annotated[float, Field(ge=0, le=1)]

# Parameters of strategies that have a field of their own here.
_NAMED: Final = (
    "min_confidence",
    "min_edge",
    "top_share",
    "long_only",
    "risk_per_trade",
    "position_size",
    "volatility_target",
    "max_exposure",
    "atr_period",
    "atr_stop",
    "atr_target",
    "trailing_stop",
    "time_stop",
    "cooldown",
    "max_daily_loss",
    "max_drawdown",
    "use_llm",
)

TOLD: Final = (
    "model",
    "home",
    "in_sample",
    "fallback",
    "trade_from",
    "history",
    "any_timeframe",
    "llm_endpoint",
    "llm_model",
    "llm_key_env",
    "llm_timeout",
    "llm_retries",
    "llm_temperature",
    "llm_max_tokens",
    "llm_seed",
    "llm_price_in",
    "llm_price_out",
)
"""Parameters that the backtest itself gives to a strategy."""


def default_parameters(strategy: str) -> dict[str, Any]:
    """Return the parameters of a strategy and their defaults.

    Raises
    ------
    ConfigError
        If there is no such strategy; the message lists those there are.
    """
    from lstm_strategies.strategies import strategy_named  # backtrader takes its time

    kind = strategy_named(strategy)
    params: Any = kind.params
    return {name: value for name, value in params._getitems() if name not in kind.fixed_parameters}


class StrategyConfig(BaseModel):
    """A strategy of the table, and its parameters.

    A parameter that is left out is the strategy's own; so the configuration that is logged
    says what was traded with.

    Parameters
    ----------
    strategy
        Name in the table of strategies; ``forecast`` trades the model's forecasts alone.
    model
        ``models:/name@champion``, ``models:/name/3`` or the folder of a bundle, a `Path` too;
        None for a strategy that needs none.
    in_sample
        Whether to trade before the model's `unseen_from` too; such results are shaded.
    any_timeframe
        Whether a model of another timeframe than the candles' is asked about them as they are;
        otherwise they are resampled to its own.
    min_confidence
        What an entry needs: calibrated probability of ``forecast``, strength of the fused score
        of the others; a fraction, 0.6 for 60 %.
    min_edge
        Expected move over the cost of a round trip that an entry needs; 0 asks for none.
    top_share
        Share of bars that may trade, in place of `min_confidence`; 0 is off.
    long_only
        Whether a signal to be short closes a position without going short.
    risk_per_trade
        Fraction of equity that is lost where the stop is hit.
    position_size
        Largest fraction of equity put up as margin; 0 is off.
    volatility_target
        Fraction of equity that one standard deviation of a position may move; 0 is off.
    max_exposure
        Largest correlated exposure, times equity; 0 is off.
    atr_period, atr_stop, atr_target
        Bars of the average true range; distance of stop and target in multiples of it, 0 for
        none.
    trailing_stop
        Distance at which a stop follows the closes, in the same multiples; 0 is off.
    time_stop, cooldown
        Bars after which a position is closed, and without an entry after an exit; 0 is off.
    max_daily_loss, max_drawdown
        Fractions of equity at which trading ends for the day, or for good; 0 is off.
    use_llm
        Whether a language model is asked for its view.
    parameters
        Further parameters of the strategy by name, such as ``supertrend_period``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    strategy: str = "forecast"
    model: PathText | None = None
    in_sample: bool = False
    any_timeframe: bool = False
    min_confidence: Fraction | None = None
    min_edge: NonNegativeFloat | None = None
    top_share: Fraction | None = None
    long_only: bool | None = None
    risk_per_trade: Annotated[float, Field(gt=0, le=1)] | None = None
    position_size: Fraction | None = None
    volatility_target: Fraction | None = None
    max_exposure: NonNegativeFloat | None = None
    atr_period: PositiveInt | None = None
    atr_stop: NonNegativeFloat | None = None
    atr_target: NonNegativeFloat | None = None
    trailing_stop: NonNegativeFloat | None = None
    time_stop: NonNegativeInt | None = None
    cooldown: NonNegativeInt | None = None
    max_daily_loss: Fraction | None = None
    max_drawdown: Fraction | None = None
    use_llm: bool | None = None
    parameters: dict[str, JsonValue] = Field(default_factory=dict)

    @field_validator("strategy")
    @classmethod
    def _is_in_the_table(cls, name: str) -> str:
        from lstm_strategies.strategies import STRATEGIES

        if name not in STRATEGIES:
            raise ValueError(
                f"there is no strategy {name!r}: {nearest_names(name, STRATEGIES)}; "
                f"there are {', '.join(STRATEGIES)}"
            )
        return name

    @field_validator("min_confidence", "risk_per_trade", "position_size", mode="before")
    @classmethod
    def _is_no_percentage(cls, value: Any) -> Any:
        if isinstance(value, int | float) and not isinstance(value, bool) and 1 < value <= 100:
            raise ValueError(f"give at most 1, a fraction: {value / 100:g} for {value:g} %")
        return value

    @model_validator(mode="before")
    @classmethod
    def _with_the_strategys_own(cls, content: Any) -> Any:
        from lstm_strategies.strategies import STRATEGIES

        if not isinstance(content, dict):
            return content
        if content.get("strategy", "forecast") not in STRATEGIES:
            return content
        own = default_parameters(content.get("strategy", "forecast"))
        filled = {name: own[name] for name in _NAMED if name in own}
        return {**filled, **{key: value for key, value in content.items() if value is not None}}

    @model_validator(mode="after")
    def _has_these_parameters(self) -> StrategyConfig:
        own = default_parameters(self.strategy)
        for name in _NAMED:
            if name not in own and getattr(self, name) is not None:
                raise ValueError(
                    f"the strategy {self.strategy} has no {name}: leave it out, or choose another "
                    "strategy"
                )
        further = [name for name in own if name not in _NAMED and name not in TOLD]
        for name in self.parameters:
            if name in _NAMED:
                raise ValueError(f"give {name} itself, not parameters.{name}")
            if name.startswith("llm_"):
                # Whatever was given may be a key, and is not repeated.
                raise ValueError(
                    f"{name} is said of the analyst: set analyst.endpoint, analyst.model or "
                    "another of its settings instead of parameters"
                )
            if name not in further:
                raise ValueError(
                    f"the strategy {self.strategy} has no parameter {name!r}: "
                    f"{nearest_names(name, further)}"
                )
        if "model" in own and not self.model:
            raise ValueError(
                f"the strategy {self.strategy} needs a model: give model, such as "
                "models:/NAME@champion"
            )
        return self

    def strategy_parameters(self) -> dict[str, Any]:
        """Return what the strategy's class is told, but for what the backtest knows itself."""
        named = {name: getattr(self, name) for name in _NAMED}
        return {
            **{name: value for name, value in named.items() if value is not None},
            **self.parameters,
        }
