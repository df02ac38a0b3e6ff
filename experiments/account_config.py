"""The account that a backtest trades with, and what the exchange charges it."""

from __future__ import annotations

from typing import Any, Final, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    field_validator,
    model_validator,
)

from experiments.strategy_config import PathText

__all__ = ["AccountConfig"]

# No exchange charges more; what is larger was most likely meant in percent.
HIGHEST_FEE: Final = 0.03

# Of every 8 hours, where longs and shorts are about even.
USUAL_FUNDING: Final = 0.0001


class AccountConfig(BaseModel):
    """Cash, leverage, fees, slippage, funding and the exchange's limits.

    Parameters
    ----------
    cash
        Quote currency at the start.
    leverage
        Notional over margin of a position; 1 needs its whole notional.
    margin_mode
        ``isolated``: each position is liquidated by its own margin; ``cross``: by the whole
        account.
    maintenance_margin
        Fraction of notional under which a position is liquidated.
    liquidation_fee
        Fraction of notional that a liquidation costs beside the taker fee.
    maker_fee, taker_fee
        Fractions of notional: of limit orders that rested, and of all others.
    slippage
        Fraction of the price that market orders are filled worse by.
    slip_impact
        Fraction of the price, times the squared share of the bar's volume, that they are
        filled worse by on top.
    funding_rate
        Fraction of notional that longs pay and shorts receive every 8 hours in a continuous
        market. By default an exchange's usual 0.0001 with leverage, which perpetual futures
        offer, and none without. Markets with sessions have none.
    funding
        File of past rates in its place: columns ``timestamp`` and ``rate``.
    lot_step
        Smallest change of a size, base currency; 0 for none.
    min_notional
        Smallest order, quote currency.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    cash: PositiveFloat = 10_000.0
    leverage: float = Field(default=1.0, ge=1, le=125)
    margin_mode: Literal["isolated", "cross"] = "isolated"
    maintenance_margin: float = Field(default=0.005, ge=0, lt=1)
    liquidation_fee: float = Field(default=0.005, ge=0, lt=1)
    maker_fee: float = Field(default=0.0002, ge=0, le=HIGHEST_FEE)
    taker_fee: float = Field(default=0.0004, ge=0, le=HIGHEST_FEE)
    slippage: float = Field(default=0.0, ge=0, lt=1)
    slip_impact: NonNegativeFloat = 0.0
    funding_rate: float = Field(default=0.0, ge=-0.05, le=0.05)
    funding: PathText | None = None
    lot_step: NonNegativeFloat = 0.0
    min_notional: NonNegativeFloat = 0.0

    @model_validator(mode="before")
    @classmethod
    def _with_usual_funding(cls, content: Any) -> Any:
        if not isinstance(content, dict) or content.get("funding_rate") is not None:
            return content
        leverage = content.get("leverage")
        levered = isinstance(leverage, int | float) and leverage > 1.0
        return {**content, "funding_rate": USUAL_FUNDING if levered else 0.0}

    @field_validator("maker_fee", "taker_fee", mode="before")
    @classmethod
    def _is_no_fee_in_percent(cls, value: Any) -> Any:
        if isinstance(value, int | float) and HIGHEST_FEE < value < 100 * HIGHEST_FEE:
            raise ValueError(
                f"give a fraction of the notional, at most {HIGHEST_FEE:g}: {value / 100:g} for "
                f"{value:g} %"
            )
        return value

    @model_validator(mode="after")
    def _keeps_some_margin(self) -> AccountConfig:
        if self.maintenance_margin >= 1.0 / self.leverage:
            raise ValueError(
                f"maintenance_margin={self.maintenance_margin:g} is not under the initial margin "
                f"of {1.0 / self.leverage:g} at leverage {self.leverage:g}: a position would be "
                "liquidated as it opens; lower one of the two"
            )
        return self
