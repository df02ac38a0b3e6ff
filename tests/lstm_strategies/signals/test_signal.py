"""A signal's JSON has the shape of a live-signal answer, and survives a round trip."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from pydantic import ValidationError

from lstm_strategies.signals.risk import ForecastRisk
from lstm_strategies.signals.signal import LLMAnalysis, LSTMPrediction, Signal
from lstm_strategies.signals.signal_building import build_signal
from lstm_strategies.signals.technical import Reading

READINGS = (
    Reading(name="rsi", value=28.4, score=1.0, reading="oversold"),
    Reading(name="macd", value=0.031, score=0.25, reading="bullish"),
    Reading(name="bollinger", value=0.1, score=0.8, reading="between the bands"),
    Reading(name="trend", value=-1.2, score=-0.6, reading="downtrend"),
)


@pytest.fixture
def signal():
    return build_signal(
        strategy="lstm",
        symbol="BTC/USDT",
        time=datetime(2024, 1, 1, 0, 59, 59, 999_000, tzinfo=UTC),
        price=64_000.0,
        lstm=LSTMPrediction(
            predicted_price=64_320.0, change_pct=0.5, direction="UP", confidence=0.56, score=0.7
        ),
        technical=READINGS,
        llm=LLMAnalysis(score=0.3, confidence=0.8, reasoning="Buyers came back.\nCalmly."),
        risk=ForecastRisk(volatility=0.01, loss_probability=0.44, expected_shortfall=0.02),
        position_size_pct=50.0,
        stop_distance=640.0,
        target_distance=960.0,
    )


def test_the_dump_has_the_keys_of_a_live_signal_answer(signal):
    dump = signal.model_dump(mode="json")
    assert list(dump) == [
        "strategy",
        "symbol",
        "timestamp",
        "current_price",
        "signal",
        "indicator_values",
    ]
    assert set(dump["signal"]) == {
        "should_enter",
        "direction",
        "confidence",
        "entry_price",
        "stop_loss",
        "take_profit",
        "reasoning",
        "risk_reward_ratio",
    }
    values = dump["indicator_values"]
    assert set(values) == {
        "ai_signal",
        "ai_confidence",
        "lstm_prediction",
        "technical_analysis",
        "llm_analysis",
        "risk_assessment",
        "score",
        "strength",
        "min_confidence",
        "part_scores",
        "weights_used",
    }
    assert {"predicted_price", "change_pct", "direction"} <= set(values["lstm_prediction"])
    assert set(values["technical_analysis"]) == {"rsi", "macd", "bollinger", "trend"}
    assert values["technical_analysis"]["rsi"] == {
        "value": 28.4,
        "reading": "oversold",
        "score": 1.0,
    }
    assert set(values["llm_analysis"]) == {"score", "confidence", "reasoning"}
    assert values["risk_assessment"] == {
        "volatility": 0.01,
        "loss_probability": 0.44,
        "expected_shortfall": 0.02,
        "position_size_pct": 50.0,
    }


def test_what_is_absent_is_null():
    bare = build_signal(
        strategy="lstm", symbol="BTC/USDT", time=datetime(2024, 1, 1, tzinfo=UTC), price=1.0
    )
    values = bare.model_dump(mode="json")["indicator_values"]
    for name in ("lstm_prediction", "technical_analysis", "llm_analysis", "score", "strength"):
        assert values[name] is None
    assert set(values["risk_assessment"].values()) == {None}


def test_times_are_written_with_z_whatever_their_zone(signal):
    assert signal.model_dump(mode="json")["timestamp"] == "2024-01-01T00:59:59.999Z"
    east = datetime(2024, 1, 1, 3, tzinfo=timezone(timedelta(hours=3)))
    moved = signal.model_copy(update={"timestamp": east})
    assert moved.model_dump(mode="json")["timestamp"] == "2024-01-01T00:00:00Z"


def test_a_time_without_a_zone_is_refused():
    with pytest.raises(ValidationError, match="timezone"):
        build_signal(strategy="a", symbol="b", time=datetime(2024, 1, 1), price=1.0)


def test_json_gives_the_same_signal_back(signal):
    text = json.dumps(signal.model_dump(mode="json"), allow_nan=False)
    assert Signal.model_validate_json(text) == signal


def test_the_short_names_read_what_is_inside(signal):
    inside = signal.signal
    assert (signal.should_enter, signal.direction) == (True, "LONG")
    assert signal.confidence == inside.confidence == signal.indicator_values.ai_confidence == 0.56
    assert (signal.entry, signal.stop, signal.target) == (64_000.0, 63_360.0, 64_960.0)
    assert signal.risk_reward == inside.risk_reward_ratio == 1.5
    assert signal.reasoning == inside.reasoning
    assert signal.score == signal.indicator_values.score
    assert signal.label == "BUY"


def test_a_signal_cannot_be_changed(signal):
    with pytest.raises(ValidationError, match="frozen"):
        signal.signal.should_enter = False
