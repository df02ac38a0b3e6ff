"""The signal of a strategy at a feed's present bar, with the reasons for it."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd

from lightning_models.errors import NoForecastError, TooFewCandlesError
from lightning_models.timeframes import bar_stamp, floor_to_open
from lstm_strategies.errors import ParameterError
from lstm_strategies.feed import milliseconds_of_dates
from lstm_strategies.fused import FusedStrategy
from lstm_strategies.signals import (
    LLMAnalysis,
    LSTMPrediction,
    ScoreCalibration,
    Signal,
    build_signal,
    forecast_risk,
    fuse,
    lstm_prediction,
)

__all__ = ["signal_of"]


def signal_of(strategy: FusedStrategy, data: Any, *, name: str) -> Signal:
    """Return what a fused strategy would do at a feed's present bar, and why.

    Under ``top_share`` a score is ranked among those before it, which a signal of one bar has
    not seen: that is refused.

    The forecast, the readings and the language model's stance are those that it decides on; a
    position that it holds already is not taken into account.

    Parameters
    ----------
    strategy
        While it runs, or after its last bar.
    data
        One of its traded feeds.
    name
        What the signal calls the strategy.

    Returns
    -------
    Signal
        Without a forecast too: then it says why nothing is entered.

    Raises
    ------
    ParameterError
        With ``top_share``.
    """
    if strategy.p.top_share:
        raise ParameterError(
            "top_share ranks a score among those of the bars before, which the signal of one bar "
            "does not have: give min_confidence instead"
        )
    candles = _candles(strategy, data)
    model, quantiles, up = _forecast(strategy, candles)
    opinion = strategy.opinion(data) if model is not None else None
    llm = None
    if opinion is not None:
        llm = LLMAnalysis(
            score=opinion.stance, confidence=opinion.confidence, reasoning=opinion.reasoning
        )
    readings = strategy.readings(data) if model is not None else ()
    parts = {
        "lstm": None if model is None else model.score,
        "technical": float(np.mean([one.score for one in readings])) if readings else None,
        "llm": None if llm is None else llm.score,
    }
    score = fuse(parts, strategy.weights)
    side = 0 if not score else 1 if score > 0.0 else -1
    scheme = strategy.broker.getcommissioninfo(data)
    price = float(data.close[0])
    fee = 2.0 * float(scheme.getcommission(1.0, price)) / price
    risk = None
    if quantiles is not None:
        risk = forecast_risk(quantiles, side, probability_up=up, fee=fee)
    stop = strategy.stop_distance(data)
    size = _size_pct(strategy, data, side)
    return build_signal(
        strategy=name,
        symbol=str(getattr(data, "symbol", None) or data._name or "unknown"),
        time=_stamp(strategy, candles),
        price=price,
        lstm=model,
        technical=readings,
        llm=llm,
        weights=strategy.weights,
        min_confidence=strategy.p.min_confidence,
        stop_distance=0.0 if math.isinf(stop) else stop,
        target_distance=strategy.target_distance(data),
        calibration=_calibration(strategy),
        risk=risk,
        position_size_pct=size,
        refusal=_refusal(strategy, data, side, model, size),
    )


def _candles(strategy: FusedStrategy, data: Any) -> pd.DataFrame:
    size = min(strategy.predictor.required_bars, len(data))
    stamps = milliseconds_of_dates(np.array(data.datetime.get(size=size)))
    frame = pd.DataFrame(
        {
            name: np.array(getattr(data, name).get(size=size))
            for name in ("open", "high", "low", "close", "volume")
        }
    )
    opens = floor_to_open(stamps, strategy.predictor.timeframe)
    frame.insert(0, "timestamp", opens)
    return frame


def _forecast(
    strategy: FusedStrategy, candles: pd.DataFrame
) -> tuple[LSTMPrediction | None, Any, float | None]:
    predictor = strategy.predictor
    try:
        forecast = predictor.predict_latest(candles)
    except (NoForecastError, TooFewCandlesError):
        return None, None, None
    _, probability, quantiles = predictor.latest(candles)
    return (
        lstm_prediction(forecast, strategy.confidence_quantiles),
        quantiles[0],
        float(probability[0]),
    )


def _stamp(strategy: FusedStrategy, candles: pd.DataFrame) -> datetime:
    opened = candles["timestamp"].to_numpy()[-1:]
    stamp = int(bar_stamp(opened, strategy.predictor.timeframe)[0])
    return datetime.fromtimestamp(stamp / 1000.0, tz=UTC)


def _calibration(strategy: FusedStrategy) -> ScoreCalibration | None:
    if not strategy.p.score_temperature:
        return None
    return ScoreCalibration(
        temperature=strategy.p.score_temperature,
        bias=strategy.p.score_bias,
        no_skill=False,
        outcomes=100,
    )


def _size_pct(strategy: FusedStrategy, data: Any, side: int) -> float | None:
    equity = float(strategy.broker.getvalue())
    if not side or equity <= 0.0:
        return None
    size = float(strategy.getsizing(data, isbuy=side > 0))
    return 100.0 * abs(size) * float(data.close[0]) / equity


def _refusal(
    strategy: FusedStrategy,
    data: Any,
    side: int,
    model: LSTMPrediction | None,
    size: float | None,
) -> str:
    if model is None:
        return "no forecast: the history is too short, or has too many holes"
    if strategy.is_before_unseen(data):
        return "the model has seen this candle"
    if strategy.p.long_only and side < 0:
        return "long positions only"
    if side and strategy.p.min_edge and strategy.edge(data, side) < strategy.p.min_edge:
        return "the expected move does not pay its cost"
    return "less than the smallest position" if side and not size else ""
