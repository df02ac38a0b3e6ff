"""A live signal: what to do with one symbol at the close of one bar, and why."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, field_serializer

from lightning_models.candles.timestamps import iso_utc_of
from lstm_strategies.signals.fusion import Label

__all__ = [
    "Entry",
    "IndicatorValues",
    "LLMAnalysis",
    "LSTMPrediction",
    "RiskAssessment",
    "Side",
    "Signal",
    "TechnicalAnalysis",
    "TechnicalValue",
]

Side = Literal["LONG", "SHORT"]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class LSTMPrediction(_Part):
    """What a model forecasts.

    Parameters
    ----------
    predicted_price
        Quote currency.
    change_pct
        Median return, percent.
    direction
        ``UP`` where P(up) is at least one half, otherwise ``DOWN``.
    confidence
        Calibrated probability that the direction is right.
    score
        From `lstm_strategies.signals.fusion.lstm_score`.
    """

    predicted_price: float
    change_pct: float
    direction: Literal["UP", "DOWN"]
    confidence: float = Field(ge=0.0, le=1.0)
    score: float = Field(ge=-1.0, le=1.0)


class TechnicalValue(_Part):
    """A technical reading: its value, that in words, and its score from -1 to 1."""

    value: float
    reading: str
    score: float = Field(ge=-1.0, le=1.0)


class TechnicalAnalysis(_Part):
    """The technical readings, as `lstm_strategies.signals.technical.technical_arrays` has them."""

    rsi: TechnicalValue
    macd: TechnicalValue
    bollinger: TechnicalValue
    trend: TechnicalValue


class LLMAnalysis(_Part):
    """What a language model made of the market.

    Parameters
    ----------
    score
        From -1, sell, to 1, buy. It enters the fused score as it is.
    confidence
        The language model's own, which nothing has calibrated: told, and used nowhere.
    reasoning
        In its words.
    """

    score: float = Field(ge=-1.0, le=1.0)
    confidence: float | None = Field(default=None, ge=0.0, le=1.0)
    reasoning: str = ""


class RiskAssessment(_Part):
    """What may go wrong; None for what is not known.

    Parameters
    ----------
    volatility, loss_probability, expected_shortfall
        As in `lstm_strategies.signals.risk.ForecastRisk`.
    position_size_pct
        Notional, percent of the equity.
    """

    volatility: float | None = None
    loss_probability: float | None = None
    expected_shortfall: float | None = None
    position_size_pct: float | None = None


class Entry(_Part):
    """Whether to enter, which way, and at which prices.

    Parameters
    ----------
    should_enter
        Whether the score's strength reaches the strategy's ``min_confidence`` and nothing
        else stands in the way.
    direction
        The score's side; None without a score, at 0, and where the label is ``HOLD`` and
        nothing is entered.
    confidence
        Calibrated probability that the direction (with none, the score's side) is right: the
        fused score's where that was calibrated, otherwise the model's own P(up) or P(down).
        None where neither is known, and without a side.
    entry_price, stop_loss, take_profit
        Quote currency, taking the fill to be at the current price; None without a direction,
        or without a stop or a target.
    reasoning
        One line, made of the numbers that stand elsewhere in the signal.
    risk_reward_ratio
        Distance of the target over that of the stop.
    """

    should_enter: bool
    direction: Side | None
    confidence: float | None = Field(ge=0.0, le=1.0)
    entry_price: float | None
    stop_loss: float | None
    take_profit: float | None
    reasoning: str
    risk_reward_ratio: float | None


class IndicatorValues(_Part):
    """What the signal was made of.

    Parameters
    ----------
    ai_signal
        The score in a word; its thresholds are fixed, and a strategy's ``min_confidence`` may
        ask for more or for less.
    ai_confidence
        The same as the signal's ``confidence``.
    lstm_prediction, technical_analysis, llm_analysis
        None where a part is absent.
    risk_assessment
        Over the forecast's horizon.
    score
        From -1 to 1; None where no part with a weight is present.
    strength
        ``(1 + |score|) / 2``, no probability.
    min_confidence
        Strength that an entry needs.
    part_scores
        From the names of the parts that are present to their scores.
    weights_used
        From the names of the parts in the score to their shares: `score` is the sum of
        `part_scores` times these.
    """

    ai_signal: Label
    ai_confidence: float | None
    lstm_prediction: LSTMPrediction | None
    technical_analysis: TechnicalAnalysis | None
    llm_analysis: LLMAnalysis | None
    risk_assessment: RiskAssessment
    score: float | None = Field(ge=-1.0, le=1.0)
    strength: float | None
    min_confidence: float
    part_scores: dict[str, float]
    weights_used: dict[str, float]


class Signal(_Part):
    """A fused signal; ``model_dump(mode="json")`` is its JSON shape.

    Parameters
    ----------
    strategy
        Which one asks, such as ``lstm_fast``.
    symbol
        Such as ``BTC/USDT``.
    timestamp
        Stamp of the bar it was made at: open + period - 1 ms, UTC.
    current_price
        Its close, quote currency.
    signal
        What to do.
    indicator_values
        What it was made of.
    """

    strategy: str
    symbol: str
    timestamp: AwareDatetime
    current_price: float = Field(gt=0.0)
    signal: Entry
    indicator_values: IndicatorValues

    @field_serializer("timestamp", when_used="json")
    def _time_with_z(self, time: datetime) -> str:
        return iso_utc_of(time)

    @property
    def should_enter(self) -> bool:
        """Whether to enter."""
        return self.signal.should_enter

    @property
    def direction(self) -> Side | None:
        """``LONG``, ``SHORT`` or None."""
        return self.signal.direction

    @property
    def confidence(self) -> float | None:
        """Calibrated probability that the direction is right, where it is known."""
        return self.signal.confidence

    @property
    def entry(self) -> float | None:
        """Entry price, quote currency."""
        return self.signal.entry_price

    @property
    def stop(self) -> float | None:
        """Stop loss, quote currency."""
        return self.signal.stop_loss

    @property
    def target(self) -> float | None:
        """Take profit, quote currency."""
        return self.signal.take_profit

    @property
    def risk_reward(self) -> float | None:
        """Distance of the target over that of the stop."""
        return self.signal.risk_reward_ratio

    @property
    def reasoning(self) -> str:
        """Why, in one line."""
        return self.signal.reasoning

    @property
    def score(self) -> float | None:
        """The fused score, from -1 to 1."""
        return self.indicator_values.score

    @property
    def label(self) -> Label:
        """The score in a word."""
        return self.indicator_values.ai_signal
