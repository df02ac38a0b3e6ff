"""Result of a backtest: what came out, how sure that is, and what it was made of."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, JsonValue

from experiments.deflation import DeflatedSharpe
from experiments.yardsticks import RandomExposure
from lightning_models.evaluation.coverage import Coverage
from lightning_models.evaluation.scores import ForecastScores
from lstm_strategies.analyst import AnalystUsage

__all__ = [
    "BacktestResult",
    "BuyAndHold",
    "DoubledCosts",
    "DrawdownPoint",
    "EquityPoint",
    "ForecastCounts",
    "Slice",
    "TradeRecord",
]

Slice = Literal["out_of_sample", "in_sample", "mixed"]


def _utc_time(text: str) -> str:
    if not text.endswith("Z"):
        raise ValueError(f"{text!r} is no UTC time; write it as 2024-01-01T00:00:00Z")
    datetime.fromisoformat(text)
    return text


def _without_numpy(value: Any) -> Any:
    # Scalars of numpy arrive from analyzers; JSON knows none of them.
    return value.item() if hasattr(value, "item") and not isinstance(value, type) else value


Time = Annotated[str, AfterValidator(_utc_time)]
Number = Annotated[float, BeforeValidator(_without_numpy)]
Count = Annotated[int, BeforeValidator(_without_numpy), Field(ge=0)]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class TradeRecord(_Record):
    """One position from its entry to its exit."""

    symbol: str
    direction: Literal["LONG", "SHORT"]
    entry_time: Time
    entry_price: Number
    """Quote currency."""
    exit_time: Time | None
    """None while the position is open."""
    exit_price: Number | None
    size: Number
    """Base currency."""
    pnl: Number
    """Quote currency, net of fees."""
    pnl_pct: Number
    """Percent of the notional at entry."""
    fees: Number
    """Quote currency."""
    funding: Number = 0.0
    """Quote currency; negative where more was received than paid."""
    bars: Count
    """How many bars it was held."""
    exit_reason: str | None


class EquityPoint(_Record):
    """Equity at a bar's close."""

    time: Time
    equity: Number
    """Quote currency."""


class DrawdownPoint(_Record):
    """Distance below the highest equity so far."""

    time: Time
    drawdown_pct: Annotated[Number, Field(ge=0.0)]
    """Percent, 0 or more."""


class BuyAndHold(_Record):
    """The market over the same bars: bought at the first, held to the last."""

    total_return_pct: Number
    sharpe_ratio: Number
    max_drawdown_pct: Annotated[Number, Field(ge=0.0)]
    equity_curve: tuple[EquityPoint, ...]


class DoubledCosts(_Record):
    """The same strategy with fees and slippage doubled."""

    total_return_pct: Number
    sharpe_ratio: Number
    max_drawdown_pct: Annotated[Number, Field(ge=0.0)]
    total_trades: Count
    fees_paid: Number
    """Quote currency."""


class ForecastCounts(_Record):
    """What became of the forecasts, bar by bar."""

    total: Count
    """Bars in the period."""
    without_forecast: Count
    """Bars where the model gave none: warm-up, holes."""
    under_threshold: Count
    """Forecasts whose confidence or edge was too small to trade on."""
    disagreeing: Count
    """Forecasts whose direction and median contradict each other."""
    traded: Count
    """Forecasts that passed."""


class BacktestResult(_Record):
    """Everything a backtest reports, free of not-a-number so that it is JSON as it stands.

    Names that end in ``_pct``, and `win_rate`, are percent; every other rate is a fraction.
    """

    strategy: str = "forecast"
    """Its name in the table of strategies."""
    strategy_name: str
    """Its class."""
    symbol: str
    timeframe: str
    start_date: Time | None
    """First bar's stamp; None where the period holds no bar."""
    end_date: Time | None

    total_trades: Count
    winning_trades: Count
    losing_trades: Count
    win_rate: Number
    """Percent of the closed trades."""
    total_return: Number
    """Quote currency."""
    total_return_pct: Number
    annualized_return: Number | None
    """Fraction; None under 90 days."""
    max_drawdown: Annotated[Number, Field(ge=0.0)]
    """Quote currency."""
    max_drawdown_pct: Annotated[Number, Field(ge=0.0)]
    sharpe_ratio: Number
    """Annualised; 0 without a trade."""
    sortino_ratio: Number | None
    """Annualised; None where no bar lost."""
    profit_factor: Number | None
    """Gains over losses; None where nothing was lost."""
    avg_win: Number
    avg_loss: Number
    performance_rating: str
    trades: tuple[TradeRecord, ...]
    equity_curve: tuple[EquityPoint, ...]
    drawdown_curve: tuple[DrawdownPoint, ...]
    exposure: Number
    """Share of bars with a position."""
    fees_paid: Number
    """Quote currency."""
    turnover: Number
    """Traded notional over mean equity."""
    open_pnl: Number = 0.0
    """Profit of a position still open, at the last close."""
    funding_paid: Number = 0.0
    """Quote currency; negative where more was received than paid."""
    liquidations: Count = 0
    """Positions that the exchange closed for lack of margin."""
    probabilistic_sharpe_ratio: Number | None = None
    """Probability that the true Sharpe ratio is above 0."""

    slice: Slice
    """Whether the model had seen the period: never, wholly or in part."""
    verdict: str
    """The conclusion in words."""
    model: str | None
    """Its fixed name, such as ``models:/btc/3``, also if an alias was given; or its folder. None
    where the strategy needs none."""
    sharpe_low: Number | None = None
    sharpe_high: Number | None = None
    excess_return: Number | None = None
    """Over buy-and-hold, a year (fraction); None where it cannot be computed."""
    excess_low: Number | None = None
    excess_high: Number | None = None
    buy_and_hold: BuyAndHold | None = None
    random_exposure: RandomExposure | None = None
    """What the same positions earn at random times."""
    doubled_costs: DoubledCosts | None = None
    """None where nothing was traded, or it was not asked for."""
    trials: Count = 1
    """How many variants were tried before this one was reported, itself included."""
    deflated_sharpe: DeflatedSharpe | None = None
    """None where the other trials are not known."""
    analyst: AnalystUsage | None = None
    """What a language model was asked; None where none was."""
    traded_share: Annotated[Number, Field(ge=0.0, le=1.0)] | None = None
    """Share of the forecasts that passed the thresholds; without a model, of the bars that had
    a signal."""
    forecasts: ForecastCounts | None = None
    forecast_scores: ForecastScores | None = None
    coverage: tuple[Coverage, ...] = ()
    """What share of outcomes the forecasts' bounds held; empty where there were none."""
    adaptive_coverage: tuple[Coverage, ...] = ()
    """The same for bounds that adapt to the outcomes as they become known."""
    unseen_from: Time | None = None
    """From this moment on the model had seen nothing."""
    data_fingerprint: str
    bundle_sha256: str | None
    configuration: dict[str, JsonValue] = Field(default_factory=dict)
    notes: tuple[str, ...] = ()
    """Warnings in words."""
