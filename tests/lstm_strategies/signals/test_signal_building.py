"""A signal enters where its strength is enough and nothing else stands in the way."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import pytest

from lightning_models.errors import ConfigError
from lightning_models.forecast import Forecast
from lstm_strategies.signals.fusion import FusionWeights
from lstm_strategies.signals.score_calibration import ScoreCalibration
from lstm_strategies.signals.signal import LLMAnalysis, LSTMPrediction
from lstm_strategies.signals.signal_building import build_signal, lstm_prediction
from lstm_strategies.signals.technical import READING_NAMES, Reading

QUANTILES = tuple(0.5 + i / 1000 for i in range(101))


def forecast(direction=1, change_pct=0.5, confidence=0.575):
    return Forecast(
        symbol="BTC/USDT",
        time=datetime(2024, 1, 1, tzinfo=UTC),
        horizon="1h",
        price=100.0,
        direction=direction,
        change_pct=change_pct,
        lower=98.0,
        upper=103.0,
        interval=0.8,
        confidence=confidence,
        predicted_price=100.0 + change_pct,
        model="models:/a/1",
    )


def lstm(score, confidence=0.56):
    up = score >= 0.0
    return LSTMPrediction(
        predicted_price=100.5 if up else 99.5,
        change_pct=0.5 if up else -0.5,
        direction="UP" if up else "DOWN",
        confidence=confidence,
        score=score,
    )


def readings(score):
    return tuple(
        Reading(name=name, value=1.0, score=score, reading="neutral") for name in READING_NAMES
    )


def made(price=100.0, **parts):
    return build_signal(
        strategy="lstm",
        symbol="BTC/USDT",
        time=datetime(2024, 1, 1, tzinfo=UTC),
        price=price,
        **parts,
    )


def test_a_forecasts_part_ranks_its_confidence():
    part = lstm_prediction(forecast(-1, -0.5), QUANTILES)
    assert (part.direction, part.change_pct, part.predicted_price) == ("DOWN", -0.5, 99.5)
    assert part.confidence == 0.575
    assert part.score == pytest.approx(-0.75)


@pytest.mark.parametrize("change", [-0.1, 0.0])
def test_a_forecast_whose_median_does_not_agree_scores_nothing(change):
    assert lstm_prediction(forecast(1, change), QUANTILES).score == 0.0


def test_the_score_is_told_with_all_it_was_made_of():
    signal = made(lstm=lstm(0.6), technical=readings(0.1), llm=LLMAnalysis(score=-0.5))
    values = signal.indicator_values
    assert values.part_scores == pytest.approx({"lstm": 0.6, "technical": 0.1, "llm": -0.5})
    assert values.weights_used == pytest.approx({"lstm": 0.4, "technical": 0.4, "llm": 0.2})
    again = sum(values.part_scores[name] * share for name, share in values.weights_used.items())
    assert signal.score == pytest.approx(again) == pytest.approx(0.18)


@pytest.mark.parametrize(
    ("score", "min_confidence", "enters"),
    [
        (0.2, 0.6, True),
        (0.1999, 0.6, False),
        (-0.5, 0.75, True),
        (-0.4999, 0.75, False),
        (0.01, 0.5, True),
        (0.0, 0.5, False),
    ],
)
def test_it_enters_where_the_strength_reaches_the_threshold(score, min_confidence, enters):
    assert made(lstm=lstm(score), min_confidence=min_confidence).should_enter is enters


@pytest.mark.parametrize(
    ("score", "min_confidence", "direction"),
    [(0.3, 0.75, "LONG"), (0.1, 0.6, None), (0.1, 0.5, "LONG"), (-0.1, 0.5, "SHORT"), (0, 0, None)],
)
def test_a_direction_is_told_unless_the_label_is_hold_and_nothing_is_entered(
    score, min_confidence, direction
):
    signal = made(lstm=lstm(score), min_confidence=min_confidence, stop_distance=2.0)
    assert signal.direction == direction
    assert (signal.entry is None) == (signal.stop is None) == (direction is None)


@pytest.mark.parametrize(("score", "stop", "target"), [(0.6, 98.0, 103.0), (-0.6, 102.0, 97.0)])
def test_stop_and_target_lie_on_their_sides(score, stop, target):
    signal = made(lstm=lstm(score), stop_distance=2.0, target_distance=3.0)
    assert (signal.stop, signal.target, signal.risk_reward) == (stop, target, 1.5)


@pytest.mark.parametrize(("stop", "target"), [(0.0, 3.0), (2.0, 0.0), (0.0, 0.0)])
def test_without_a_stop_or_a_target_there_is_no_ratio(stop, target):
    signal = made(lstm=lstm(0.6), stop_distance=stop, target_distance=target)
    assert signal.should_enter
    assert (signal.stop is None, signal.target is None) == (stop == 0.0, target == 0.0)
    assert signal.risk_reward is None


@pytest.mark.parametrize("unknown", ["stop_distance", "target_distance"])
def test_a_distance_that_is_not_known_yet_keeps_it_out(unknown):
    signal = made(lstm=lstm(0.6), **{unknown: math.nan})
    assert not signal.should_enter
    assert signal.reasoning.endswith("the distance of the stop or the target is not known")
    # Without a stop it would have entered.
    assert made(lstm=lstm(0.6)).should_enter


def test_a_stop_below_zero_keeps_it_out_and_such_a_target_is_left_out():
    signal = made(price=1.0, lstm=lstm(0.6), stop_distance=1.0)
    assert (signal.should_enter, signal.stop) == (False, None)
    signal = made(price=1.0, lstm=lstm(-0.6), stop_distance=1.0, target_distance=1.5)
    assert (signal.should_enter, signal.stop, signal.target) == (True, 2.0, None)
    assert signal.risk_reward is None


def test_the_callers_own_reason_keeps_it_out_and_is_told():
    signal = made(lstm=lstm(-0.6), refusal="long positions\nonly")
    assert (signal.should_enter, signal.direction) == (False, "SHORT")
    assert signal.reasoning.endswith("no entry: long positions only")


def test_confidence_is_the_models_own_for_the_side_taken():
    assert made(lstm=lstm(0.6, 0.56)).confidence == 0.56
    against = made(lstm=lstm(0.1, 0.56), technical=readings(-0.8))
    assert against.direction == "SHORT"
    assert against.confidence == pytest.approx(0.44)


def test_confidence_of_a_calibrated_score_goes_before_the_models_own():
    calibration = ScoreCalibration(temperature=1.0, bias=0.1, no_skill=False, outcomes=500)
    signal = made(lstm=lstm(-0.6, 0.9), calibration=calibration)
    assert signal.confidence == pytest.approx(1 - 1 / (1 + math.exp(0.6 - 0.1)))
    assert made(technical=readings(0.6), calibration=calibration).confidence > 0.5


def test_without_calibration_or_model_there_is_no_confidence():
    assert made(technical=readings(0.8)).confidence is None
    assert made(lstm=lstm(0.0)).confidence is None
    # It is never the strength, which is no probability.
    assert made(technical=readings(0.8)).indicator_values.strength == pytest.approx(0.9)


def test_a_part_without_a_weight_is_told_and_has_no_say():
    signal = made(
        lstm=lstm(0.6), llm=LLMAnalysis(score=-1.0), weights=FusionWeights(technical=0, llm=0)
    )
    assert signal.score == 0.6
    assert signal.indicator_values.llm_analysis.score == -1.0
    assert signal.indicator_values.weights_used == {"lstm": 1.0}


def test_with_nothing_to_go_by_it_holds():
    signal = made()
    assert (signal.label, signal.should_enter, signal.score) == ("HOLD", False, None)
    assert signal.reasoning == "HOLD; no entry: no score"


def test_readings_that_are_not_the_four_are_refused():
    with pytest.raises(ConfigError, match="give each of rsi, macd, bollinger, trend once"):
        made(technical=readings(0.1)[:3])
    with pytest.raises(ConfigError, match="give each of rsi, macd, bollinger, trend once"):
        made(technical=(*readings(0.1)[:3], readings(0.1)[0]))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"price": 0.0}, "price=0.0: give the last close"),
        ({"price": math.nan}, "price=nan: give the last close"),
        ({"min_confidence": 60}, "min_confidence=60: give a fraction"),
        ({"stop_distance": -1.0}, "stop_distance=-1.0: give a number from 0 up"),
        ({"target_distance": math.inf}, "target_distance=inf: give a number from 0 up"),
    ],
)
def test_what_cannot_be_meant_is_refused(given, message):
    with pytest.raises(ConfigError, match=message):
        made(**given)
