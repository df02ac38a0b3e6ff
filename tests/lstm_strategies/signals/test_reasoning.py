"""The reasoning is one line, and every number in it stands elsewhere in the signal."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lstm_strategies.signals.fusion import FusionWeights
from lstm_strategies.signals.signal import LLMAnalysis, LSTMPrediction
from lstm_strategies.signals.signal_building import build_signal
from lstm_strategies.signals.technical import READING_NAMES, Reading

NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?(?:e[+-]?\d+)?")

scores = st.floats(-1.0, 1.0).map(lambda score: round(score, 6))
lstm_parts = st.builds(
    LSTMPrediction,
    predicted_price=st.floats(0.001, 1e6),
    change_pct=st.floats(-20.0, 20.0),
    direction=st.sampled_from(["UP", "DOWN"]),
    confidence=st.floats(0.5, 1.0),
    score=scores,
)
technical_parts = st.tuples(
    *(
        st.builds(
            Reading,
            name=st.just(name),
            value=st.floats(-100.0, 100.0),
            score=scores,
            reading=st.just("neutral"),
        )
        for name in READING_NAMES
    )
)
llm_parts = st.builds(LLMAnalysis, score=scores, reasoning=st.just("77 percent sure.\n\nBuy 99."))


def numbers_of(content):
    if isinstance(content, dict):
        return [number for each in content.values() for number in numbers_of(each)]
    return [float(content)] if isinstance(content, float | int) else []


def numbers_that_stand_nowhere_else(signal):
    known = numbers_of(signal.model_dump(mode="json"))
    return [text for text in NUMBER.findall(signal.reasoning) if not _is_among(text, known)]


def _is_among(text, known):
    # Prices are written to eight figures, everything else to a number of places.
    decimals = len(text.partition(".")[2])
    return any(
        text in (f"{number:.8g}", f"{number:.{decimals}f}", f"{number:+.{decimals}f}")
        for number in known
    )


def made(**parts):
    given = {"stop_distance": 1.25, "target_distance": 2.5, "price": 101.0} | parts
    return build_signal(
        strategy="lstm", symbol="BTC/USDT", time=datetime(2024, 1, 1, tzinfo=UTC), **given
    )


@given(
    lstm=st.none() | lstm_parts,
    technical=st.just(()) | technical_parts,
    llm=st.none() | llm_parts,
    min_confidence=st.sampled_from([0.5, 0.6, 0.75]),
)
def test_every_number_stands_elsewhere_in_the_signal(lstm, technical, llm, min_confidence):
    signal = made(lstm=lstm, technical=technical, llm=llm, min_confidence=min_confidence)
    assert numbers_that_stand_nowhere_else(signal) == []
    assert len(signal.reasoning.splitlines()) == 1
    assert ("no entry" in signal.reasoning) is not signal.should_enter
    for name, part in (("LSTM", lstm), ("technical", technical), ("LLM", llm)):
        assert (name in signal.reasoning) is bool(part)


def test_a_number_from_elsewhere_would_be_found():
    signal = made(technical=())
    entry = signal.signal.model_copy(update={"reasoning": "BUY, score +0.37"})
    assert numbers_that_stand_nowhere_else(signal.model_copy(update={"signal": entry})) == ["+0.37"]


@pytest.fixture
def parts():
    words = ("oversold", "bullish", "between the bands", "downtrend")
    values = (28.41, 0.0312, 0.104, -1.234)
    own_scores = (1.0, 0.25, 0.8, -0.65)
    return {
        "lstm": LSTMPrediction(
            predicted_price=101.5, change_pct=0.4951, direction="UP", confidence=0.56, score=0.7
        ),
        "technical": tuple(
            Reading(name=name, value=value, score=score, reading=word)
            for name, value, score, word in zip(
                READING_NAMES, values, own_scores, words, strict=True
            )
        ),
        "llm": LLMAnalysis(score=-0.1, reasoning="Thin."),
    }


MADE_OF = (
    "LSTM +0.70 (change +0.50 %, to 101.5); technical +0.35 (RSI 28.4 oversold, MACD +0.031 "
    "bullish, %b 0.10 between the bands, trend -1.23 downtrend); LLM -0.10"
)


def test_an_entry_reads_from_the_score_to_the_prices(parts):
    assert made(**parts).reasoning == (
        f"BUY, score +0.40: {MADE_OF}; LONG at 101, stop 99.75, target 103.5"
    )


def test_without_an_entry_it_says_why_not(parts):
    assert made(**parts, min_confidence=0.75).reasoning == (
        f"BUY, score +0.40: {MADE_OF}; no entry: strength 0.70 is under 0.75"
    )


def test_a_strength_just_under_the_threshold_is_not_rounded_up_to_it(parts):
    reasoning = made(lstm=parts["lstm"].model_copy(update={"score": 0.19999})).reasoning
    assert reasoning.endswith("no entry: strength 0.599995 is under 0.6")


def test_a_score_of_zero_takes_no_side(parts):
    reasoning = made(lstm=parts["lstm"].model_copy(update={"score": 0.0})).reasoning
    assert reasoning.endswith("no entry: the score takes no side")


def test_a_part_without_a_weight_is_no_reason(parts):
    reasoning = made(**parts, weights=FusionWeights(technical=0.0, llm=0.0)).reasoning
    assert "trend -1.23 downtrend, without a weight); LLM -0.10 (without a weight);" in reasoning
    assert "to 101.5);" in reasoning
