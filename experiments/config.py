"""What a user configures: one frozen class for YAML, options, bundle and MLflow."""

from __future__ import annotations

import os
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from experiments.moment import Moment
from experiments.settings import flatten, parse_settings, validated
from lightning_models.candles.timestamps import iso_utc_of
from lightning_models.data.datamodule import DataConfig
from lightning_models.networks import NetworkConfig
from lightning_models.networks.table import check_mode
from lightning_models.training import TrainingConfig

__all__ = ["BacktestConfig", "Moment", "TrainConfig", "flatten", "parse_settings", "validated"]


def _text_of_path(value: Any) -> Any:
    return os.fspath(value) if isinstance(value, os.PathLike) else value


ModelName = Annotated[str, BeforeValidator(_text_of_path)]


class TrainConfig(BaseModel):
    """A model to train.

    Parameters
    ----------
    preset
        What a user calls it.
    network
        Which one, and its widths.
    data
        What it sees and what it is asked.
    training
        How it is fitted.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    preset: str = "custom"
    network: NetworkConfig
    data: DataConfig
    training: TrainingConfig = TrainingConfig()

    @model_validator(mode="after")
    def _runs_in_its_mode(self) -> TrainConfig:
        check_mode(self.network, self.data.mode)
        return self


class BacktestConfig(BaseModel):
    """How a model trades in a backtest.

    Parameters
    ----------
    model
        ``models:/name@champion``, ``models:/name/3`` or the folder of a bundle, a `Path` too.
    start, end
        First and last moment, UTC; by default from the model's `unseen_from` to the last
        candle.
    cash
        Quote currency at the start.
    min_confidence
        Calibrated probability that an entry needs.
    min_edge
        Expected move over the cost of a round trip that an entry needs; 0 asks for none.
    top_share
        Share of the calibration slice's bars that may trade, in place of `min_confidence`;
        0 is off.
    long_only
        Whether a forecast of a fall closes a position without going short.
    risk_per_trade
        Fraction of equity that is lost where the stop is hit.
    atr_period, atr_stop, atr_target
        Bars of the average true range; distance of stop and target in multiples of it.
    maker_fee, taker_fee
        Fractions of notional.
    slippage
        Fraction of the price that market orders are filled worse by.
    in_sample
        Whether to trade before the model's `unseen_from` too; such results are shaded.
    replications
        Of the bootstrap that the intervals come from.
    seed
        Of the bootstrap.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    model: ModelName
    start: Moment | None = None
    end: Moment | None = None
    cash: PositiveFloat = 10_000.0
    min_confidence: float = Field(default=0.6, ge=0, le=1)
    min_edge: NonNegativeFloat = 0.0
    top_share: float = Field(default=0.0, ge=0, le=1)
    long_only: bool = False
    risk_per_trade: float = Field(default=0.02, gt=0, le=1)
    atr_period: PositiveInt = 14
    atr_stop: PositiveFloat = 2.0
    atr_target: PositiveFloat = 3.0
    maker_fee: float = Field(default=0.0002, ge=0, lt=1)
    taker_fee: float = Field(default=0.0004, ge=0, lt=1)
    slippage: float = Field(default=0.0, ge=0, lt=1)
    in_sample: bool = False
    replications: PositiveInt = Field(default=1000, ge=100)
    seed: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _ends_after_its_start(self) -> BacktestConfig:
        if self.start is not None and self.end is not None and self.end <= self.start:
            raise ValueError(
                f"it ends at {iso_utc_of(self.end)}, and that is not after its start at "
                f"{iso_utc_of(self.start)}: exchange the two or give a longer period"
            )
        return self
