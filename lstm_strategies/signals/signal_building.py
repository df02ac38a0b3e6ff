"""Put a signal together from its parts: a pure function of what it is given."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from lightning_models.errors import ConfigError
from lightning_models.forecast import Forecast
from lstm_strategies.signals.fusion import (
    FusionWeights,
    fuse,
    label,
    lstm_score,
    strength,
    weights_used,
)
from lstm_strategies.signals.reasoning import reasoning_of
from lstm_strategies.signals.risk import ForecastRisk
from lstm_strategies.signals.score_calibration import ScoreCalibration
from lstm_strategies.signals.signal import (
    Entry,
    IndicatorValues,
    LLMAnalysis,
    LSTMPrediction,
    RiskAssessment,
    Side,
    Signal,
    TechnicalAnalysis,
    TechnicalValue,
)
from lstm_strategies.signals.technical import READING_NAMES, Reading

__all__ = ["build_signal", "lstm_prediction", "technical_analysis"]


def lstm_prediction(
    forecast: Forecast, confidence_quantiles: Sequence[float] | None
) -> LSTMPrediction:
    """Return a model's part of a signal.

    Parameters
    ----------
    forecast
        Of the bar.
    confidence_quantiles
        ``bundle.thresholds.confidence_quantiles[horizon]``, or None, as for
        `lstm_strategies.signals.fusion.lstm_score`.

    Returns
    -------
    LSTMPrediction
        Its score is 0 where the median points the other way.
    """
    agrees = forecast.direction * forecast.change_pct > 0.0
    score = lstm_score(
        forecast.direction,
        forecast.confidence,
        forecast.direction if agrees else 0.0,
        confidence_quantiles,
    )
    return LSTMPrediction(
        predicted_price=forecast.predicted_price,
        change_pct=forecast.change_pct,
        direction="UP" if forecast.direction > 0 else "DOWN",
        confidence=forecast.confidence,
        score=float(score),
    )


def technical_analysis(readings: Sequence[Reading]) -> TechnicalAnalysis | None:
    """Return the technical part of a signal; None where there are no readings.

    Raises
    ------
    ConfigError
        If one of the four is missing, or there twice.
    """
    if not readings:
        return None
    names = [reading.name for reading in readings]
    if sorted(names) != sorted(READING_NAMES):
        raise ConfigError(f"readings {names}: give each of {', '.join(READING_NAMES)} once")
    return TechnicalAnalysis(
        **{
            each.name: TechnicalValue(value=each.value, reading=each.reading, score=each.score)
            for each in readings
        }
    )


def build_signal(
    *,
    strategy: str,
    symbol: str,
    time: datetime,
    price: float,
    lstm: LSTMPrediction | None = None,
    technical: Sequence[Reading] = (),
    llm: LLMAnalysis | None = None,
    weights: FusionWeights | None = None,
    min_confidence: float = 0.6,
    stop_distance: float = 0.0,
    target_distance: float = 0.0,
    calibration: ScoreCalibration | None = None,
    risk: ForecastRisk | None = None,
    position_size_pct: float | None = None,
    refusal: str = "",
) -> Signal:
    """Return the signal that the parts make.

    Parameters
    ----------
    strategy, symbol
        Names.
    time
        Stamp of the bar, aware.
    price
        Its close, quote currency.
    lstm
        From `lstm_prediction`; None where there is no forecast.
    technical
        From `lstm_strategies.signals.technical.readings_at`; empty where there are none.
    llm
        None where no language model was asked, or had nothing to say.
    weights
        As for `lstm_strategies.signals.fusion.fuse`. A part without a weight is told, and has
        no say.
    min_confidence
        Strength that an entry needs, a fraction.
    stop_distance, target_distance
        From the entry, quote currency, such as multiples of the mean true range; 0 for none.
        NaN is a distance that is not known yet: nothing is entered then.
    calibration
        Of this strategy's fused score; None where there is none.
    risk
        Of the forecast, for the score's side.
    position_size_pct
        Notional, percent of the equity.
    refusal
        The caller's own reason not to enter, such as ``long positions only``.

    Returns
    -------
    Signal
        It enters where the score's strength reaches `min_confidence`, the score is not 0, and
        neither the distances nor `refusal` stand in the way.

    Raises
    ------
    ConfigError
        If the price is not above 0, a distance is negative or infinite, or `min_confidence` is
        no fraction.

    Examples
    --------
    >>> from datetime import UTC
    >>> up = LSTMPrediction(
    ...     predicted_price=101.0, change_pct=1.0, direction="UP", confidence=0.56, score=0.8
    ... )
    >>> made = build_signal(
    ...     strategy="lstm_fast", symbol="BTC/USDT", time=datetime(2024, 1, 1, tzinfo=UTC),
    ...     price=100.0, lstm=up, stop_distance=2.0, target_distance=3.0,
    ... )
    >>> made.label, made.direction, made.confidence, made.stop, made.target, made.risk_reward
    ('STRONG_BUY', 'LONG', 0.56, 98.0, 103.0, 1.5)
    >>> made.reasoning
    'STRONG_BUY, score +0.80: LSTM +0.80 (change +1.00 %, to 101); LONG at 100, stop 98, target 103'
    """
    _check(price, min_confidence, stop_distance, target_distance)
    analysis = technical_analysis(technical)
    parts: dict[str, float] = {}
    if lstm is not None:
        parts["lstm"] = lstm.score
    if technical:
        parts["technical"] = math.fsum(each.score for each in technical) / len(technical)
    if llm is not None:
        parts["llm"] = llm.score
    score = fuse(parts, weights)
    side = _side_of(score)
    levels = _levels(side, price, stop_distance, target_distance)
    reached = strength(score) if score is not None else None
    if side is None or reached is None:
        obstacle = "no score" if score is None else "the score takes no side"
    elif reached < min_confidence:
        obstacle = f"strength {reached:.2f} is under {min_confidence:.2f}"
        if f"{reached:.2f}" == f"{min_confidence:.2f}":
            obstacle = f"strength {reached:.6g} is under {min_confidence:.6g}"
    else:
        obstacle = levels.obstacle or " ".join(refusal.split())
    word = label(score)
    told = side if not obstacle or word != "HOLD" else None
    if told is None:
        levels = _NOWHERE
    confidence = _confidence(score, side, lstm, calibration)
    values = IndicatorValues(
        ai_signal=word,
        ai_confidence=confidence,
        lstm_prediction=lstm,
        technical_analysis=analysis,
        llm_analysis=llm,
        risk_assessment=RiskAssessment(
            **(risk.model_dump() if risk is not None else {}), position_size_pct=position_size_pct
        ),
        score=score,
        strength=reached,
        min_confidence=min_confidence,
        part_scores=parts,
        weights_used=weights_used(parts, weights),
    )
    return Signal(
        strategy=strategy,
        symbol=symbol,
        timestamp=time,
        current_price=price,
        signal=Entry(
            should_enter=not obstacle,
            direction=told,
            confidence=confidence,
            entry_price=None if told is None else price,
            stop_loss=levels.stop,
            take_profit=levels.target,
            reasoning=reasoning_of(
                values,
                direction=told,
                price=price,
                stop=levels.stop,
                target=levels.target,
                obstacle=obstacle,
            ),
            risk_reward_ratio=levels.ratio,
        ),
        indicator_values=values,
    )


class _Levels(NamedTuple):
    stop: float | None
    target: float | None
    ratio: float | None
    obstacle: str


_NOWHERE = _Levels(None, None, None, "")


def _levels(side: Side | None, price: float, stop: float, target: float) -> _Levels:
    if side is None:
        return _NOWHERE
    if math.isnan(stop) or math.isnan(target):
        return _NOWHERE._replace(obstacle="the distance of the stop or the target is not known")
    sign = 1.0 if side == "LONG" else -1.0
    stop_loss = price - sign * stop if stop else None
    take_profit = price + sign * target if target else None
    if stop_loss is not None and stop_loss <= 0.0:
        return _NOWHERE._replace(obstacle="the stop would lie below any price")
    if take_profit is not None and take_profit <= 0.0:
        take_profit = None  # no market gets there
    ratio = target / stop if stop_loss is not None and take_profit is not None else None
    return _Levels(stop_loss, take_profit, ratio, "")


def _side_of(score: float | None) -> Side | None:
    if not score:
        return None
    return "LONG" if score > 0.0 else "SHORT"


def _confidence(
    score: float | None,
    side: Side | None,
    lstm: LSTMPrediction | None,
    calibration: ScoreCalibration | None,
) -> float | None:
    if score is None or side is None:
        return None
    if calibration is not None:
        return calibration.confidence(score)
    if lstm is None:
        return None
    agrees = (lstm.direction == "UP") == (side == "LONG")
    return lstm.confidence if agrees else 1.0 - lstm.confidence


def _check(price: float, min_confidence: float, *distances: float) -> None:
    if not 0.0 < price < math.inf:
        raise ConfigError(f"price={price!r}: give the last close, a number above 0")
    if not 0.0 <= min_confidence <= 1.0:
        raise ConfigError(
            f"min_confidence={min_confidence!r}: give a fraction from 0 to 1, such as 0.6"
        )
    for name, distance in zip(("stop_distance", "target_distance"), distances, strict=True):
        if distance < 0.0 or math.isinf(distance):
            raise ConfigError(f"{name}={distance!r}: give a number from 0 up, 0 for none")
