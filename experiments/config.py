"""What a user configures: one frozen class for YAML, options, bundle and MLflow."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator

from experiments.account_config import AccountConfig
from experiments.moment import Moment
from experiments.settings import flatten, parse_settings, validated
from experiments.strategy_config import StrategyConfig
from lightning_models.candles.timestamps import iso_utc_of
from lightning_models.data.datamodule import DataConfig
from lightning_models.networks import NetworkConfig
from lightning_models.networks.table import check_mode
from lightning_models.training import TrainingConfig
from lstm_strategies.analyst import AnalystConfig

__all__ = [
    "AccountConfig",
    "BacktestConfig",
    "Moment",
    "StrategyConfig",
    "TrainConfig",
    "flatten",
    "parse_settings",
    "validated",
]


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


class BacktestConfig(StrategyConfig, AccountConfig):
    """How a strategy trades in a backtest; see also `StrategyConfig` and `AccountConfig`.

    Parameters
    ----------
    start, end
        First and last moment, UTC; by default from the model's `unseen_from` to the last
        candle.
    days_back
        In place of `start`: how many days before the end.
    analyst
        The language model that strategies with `use_llm` ask.
    calibrate_score
        Share of the period, from its start, that a fused score's calibration is fitted on and
        that is not traded; `min_confidence` is a probability then. 0 is off.
    trials
        How many variants were tried before this one was chosen, itself included: what the
        deflated Sharpe ratio and the verdict take into account.
    doubled_costs
        Whether to run a second time with fees and slippage doubled.
    replications
        Of the bootstrap that the intervals come from.
    seed
        Of the bootstrap.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    start: Moment | None = None
    end: Moment | None = None
    days_back: PositiveInt | None = None
    analyst: AnalystConfig = AnalystConfig()
    calibrate_score: float = Field(default=0.0, ge=0, lt=1)
    trials: PositiveInt = 1
    doubled_costs: bool = True
    replications: PositiveInt = Field(default=1000, ge=100)
    seed: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _ends_after_its_start(self) -> BacktestConfig:
        if self.start is not None and self.end is not None and self.end <= self.start:
            raise ValueError(
                f"it ends at {iso_utc_of(self.end)}, and that is not after its start at "
                f"{iso_utc_of(self.start)}: exchange the two or give a longer period"
            )
        if self.start is not None and self.days_back is not None:
            raise ValueError("it has both start and days_back: leave out one")
        return self
