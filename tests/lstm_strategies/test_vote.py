"""Votes, their sum, and the verdict of one forecast on one signal."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lstm_strategies.errors import ParameterError
from lstm_strategies.vote import (
    ABSTAINED,
    CONFIRMED,
    CONTRADICTED,
    Verdict,
    Vote,
    matches_signal,
    tally,
    verdict_on,
)

VOTES = st.dictionaries(
    st.text(max_size=3),
    st.builds(Vote, st.sampled_from([-1, 0, 1]), st.floats(0.0, 100.0)),
    max_size=6,
)


# --- the sum of votes


@pytest.mark.parametrize(
    ("lstm", "passes"),
    [(Vote(1, 1.5), True), (Vote(0, 1.5), True), (Vote(-1, 1.5), False), (Vote(-1, 0.9), True)],
)
def test_strategy_and_forecast_alone(lstm, passes):
    assert tally({"strategy": Vote(1, 1.0), "lstm": lstm}).passes(1) is passes


def test_tie_passes_in_neither_direction():
    tie = tally({"strategy": Vote(1, 1.0), "lstm": Vote(-1, 1.0)})
    assert tie.total == 0.0
    assert not tie.passes(1)
    assert not tie.passes(-1)
    assert not tally({}).passes(1)


def test_tie_of_decimal_weights_is_a_tie():
    # The control: in binary the three do not cancel.
    assert 0.1 + 0.2 - 0.3 > 0.0
    votes = {"a": Vote(1, 0.1), "b": Vote(1, 0.2), "c": Vote(-1, 0.3)}
    assert tally(votes).total == 0.0


def test_small_majority_is_no_tie():
    assert tally({"a": Vote(1, 100.0), "b": Vote(-1, 99.9999)}).passes(1)


@given(VOTES)
def test_at_most_one_direction_passes_and_names_do_not_count(votes):
    counted = tally(votes)
    assert not (counted.passes(1) and counted.passes(-1))
    renamed = {str(place): vote for place, vote in enumerate(reversed(votes.values()))}
    assert tally(renamed) == counted
    mirrored = {name: Vote(-vote.direction, vote.weight) for name, vote in votes.items()}
    assert tally(mirrored).total == -counted.total


@given(VOTES, st.floats(0.0, 100.0))
def test_vote_in_favour_never_refuses(votes, weight):
    assert tally({**votes, "more": Vote(1, weight)}).total >= tally(votes).total


@pytest.mark.parametrize("direction", [2, -0.5, math.nan, "up", None])
def test_direction_that_is_none_is_refused(direction):
    with pytest.raises(ParameterError, match="give 1 for up or -1 for down, or 0 for no say"):
        Vote(direction)


@pytest.mark.parametrize("weight", [-0.1, math.nan, math.inf, "1"])
def test_weight_that_is_none_is_refused(weight):
    with pytest.raises(ParameterError, match="give a number from 0 up"):
        Vote(1, weight)


def test_entry_has_a_direction():
    with pytest.raises(ParameterError, match=r"direction=0: give 1 for up or -1 for down$"):
        tally({}).passes(0)


# --- what a forecast says


@pytest.mark.parametrize(
    ("judged", "direction", "expected"),
    [
        ("confident_up", 1, Verdict(CONFIRMED)),
        ("confident_up", -1, Verdict(CONTRADICTED)),
        ("confident_down", -1, Verdict(CONFIRMED)),
        ("confident_down", 1, Verdict(CONTRADICTED)),
        ("under_threshold", 1, Verdict(ABSTAINED, "under_threshold")),
        ("without_forecast", -1, Verdict(ABSTAINED, "without_forecast")),
    ],
)
def test_verdict_on_an_entry(judged, direction, expected):
    assert verdict_on(judged, direction) == expected


@pytest.mark.parametrize(
    ("verdict", "direction", "vote"),
    [
        (Verdict(CONFIRMED), -1, Vote(-1, 1.5)),
        (Verdict(CONTRADICTED), -1, Vote(1, 1.5)),
        (Verdict(ABSTAINED, "disagreeing"), -1, Vote(0, 1.5)),
    ],
)
def test_vote_of_a_verdict(verdict, direction, vote):
    assert verdict.vote(direction, 1.5) == vote


@pytest.fixture(scope="module")
def forecast(trained):
    """A real forecast whose median agrees with its direction."""
    predictor, candles = trained.predictor(), trained.candles[0]
    batch = predictor.predict_batch(candles, min_confidence=0.55)
    last = int((batch.signal.abs() == 1).to_numpy().nonzero()[0][-1])
    return predictor.predict_latest(candles.between(None, int(candles.time[last]) + 1))


def test_forecast_confirms_its_own_direction_and_contradicts_the_other(forecast):
    assert forecast.confidence >= 0.55
    assert matches_signal(forecast, forecast.direction, 0.55) == Verdict(CONFIRMED)
    assert matches_signal(forecast, -forecast.direction, 0.55) == Verdict(CONTRADICTED)


def test_forecast_has_no_say_under_the_confidence_but_at_it(forecast):
    above = math.nextafter(forecast.confidence, 1.0)
    for direction in (1, -1):
        told = matches_signal(forecast, direction, above)
        assert told == Verdict(ABSTAINED, "under_threshold")
        assert matches_signal(forecast, direction, forecast.confidence).outcome != ABSTAINED


def test_forecast_whose_median_points_the_other_way_has_no_say(forecast):
    for median in (-forecast.change_pct, 0.0, math.nan):
        torn = forecast.model_copy(update={"change_pct": median})
        told = matches_signal(torn, forecast.direction, 0.55)
        assert told == Verdict(ABSTAINED, "disagreeing")


def test_sixty_percent_is_what_it_needs_by_default(forecast):
    surer = forecast.model_copy(update={"confidence": 0.6})
    assert matches_signal(surer, forecast.direction).outcome == CONFIRMED
    less = forecast.model_copy(update={"confidence": 0.5999})
    assert matches_signal(less, forecast.direction).outcome == ABSTAINED


@pytest.mark.parametrize(
    ("direction", "confidence", "message"),
    [(0, 0.6, "direction=0"), (1, 60, "from 0 to 1"), (1, "0.6", "such as min_confidence=0.6")],
)
def test_questions_that_cannot_be_meant_are_refused(forecast, direction, confidence, message):
    with pytest.raises(ParameterError, match=message):
        matches_signal(forecast, direction, confidence)
