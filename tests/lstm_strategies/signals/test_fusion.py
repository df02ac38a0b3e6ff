"""A fused score is the weighted mean of what is present, and says what it is on two scales."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from lightning_models.errors import ConfigError
from lstm_strategies.signals.fusion import (
    FusionWeights,
    fuse,
    fuse_arrays,
    label,
    lstm_score,
    strength,
    weights_used,
)

NAMES = ("lstm", "technical", "llm")
QUANTILES = tuple(0.5 + i / 1000 for i in range(101))

scores = st.none() | st.floats(-1.0, 1.0)
# Of one too small for a float to divide, nothing is left beside the others.
weights = st.just(0.0) | st.floats(1e-6, 1e6)
weighings = st.builds(
    FusionWeights,
    lstm=weights,
    technical=weights,
    llm=st.floats(0.001, 1e6),
)


def test_with_all_three_the_weights_are_forty_forty_twenty():
    assert fuse({"lstm": 1.0, "technical": 0.5, "llm": -1.0}) == pytest.approx(0.4 + 0.2 - 0.2)


def test_without_a_language_model_the_others_share_its_weight():
    parts = {"lstm": 1.0, "technical": 0.5, "llm": None}
    assert fuse(parts) == pytest.approx(0.75)
    assert weights_used(parts) == {"lstm": 0.5, "technical": 0.5}
    # Taken for an opinion of 0, the absent part would pull the score down.
    assert fuse({**parts, "llm": 0.0}) == pytest.approx(0.6)


@pytest.mark.parametrize(
    "parts", [{}, {"lstm": None}, {"lstm": math.nan, "technical": None}, {"llm": 0.5}]
)
def test_nothing_with_a_weight_is_no_score(parts):
    assert fuse(parts, FusionWeights(llm=0.0)) is None
    assert weights_used(parts, FusionWeights(llm=0.0)) == {}


@given(parts=st.fixed_dictionaries(dict.fromkeys(NAMES, scores)), weights=weighings)
def test_the_fused_score_lies_among_those_it_was_made_of(parts, weights):
    used = weights_used(parts, weights)
    fused = fuse(parts, weights)
    if not used:
        assert fused is None
        return
    assert math.fsum(used.values()) == pytest.approx(1.0)
    counted = [parts[name] for name in used]
    assert min(counted) - 1e-9 <= fused <= max(counted) + 1e-9


@given(
    rows=st.lists(st.fixed_dictionaries(dict.fromkeys(NAMES, scores)), min_size=1, max_size=8),
    weights=weighings,
)
def test_arrays_are_fused_as_each_row_is(rows, weights):
    columns = {
        name: [math.nan if row[name] is None else row[name] for row in rows] for name in NAMES
    }
    single = [fuse(row, weights) for row in rows]
    np.testing.assert_allclose(
        fuse_arrays(columns, weights),
        [math.nan if score is None else score for score in single],
        rtol=0,
        atol=1e-12,
    )


def test_a_part_of_unknown_name_is_refused_and_its_neighbour_named():
    with pytest.raises(ConfigError, match="'tecnical': did you mean 'technical'"):
        fuse({"tecnical": 0.5})


@pytest.mark.parametrize("score", [1.01, -60.0, math.inf])
def test_what_lies_outside_the_range_is_no_score(score):
    with pytest.raises(ConfigError, match="is no score: give one from -1 to 1"):
        fuse({"lstm": score})
    with pytest.raises(ConfigError, match="is no score: give one from -1 to 1"):
        fuse_arrays({"lstm": [0.0, score]})


def test_arrays_of_different_lengths_or_none_are_refused():
    with pytest.raises(ConfigError, match="all of one length"):
        fuse_arrays({"lstm": [0.0], "llm": [0.0, 0.1]})
    with pytest.raises(ConfigError, match="give at least one"):
        fuse_arrays({})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"lstm": -0.1}, "greater than or equal to 0"),
        ({"lstm": 0.0, "technical": 0.0, "llm": 0.0}, "give one of them a weight above 0"),
        ({"lsmt": 0.4}, "Extra inputs are not permitted"),
        ({"lstm": math.nan}, "finite number"),
    ],
)
def test_weights_that_cannot_be_meant_are_refused(given, message):
    with pytest.raises(ValidationError, match=message):
        FusionWeights(**given)


def test_weights_of_any_size_keep_their_proportions():
    for size in (5e-324, 1e-300, 1e308):
        weights = FusionWeights(lstm=size, technical=size, llm=0.0)
        assert fuse({"lstm": 1.0, "technical": 0.0}, weights) == 0.5
        assert fuse_arrays({"lstm": [1.0], "technical": [0.0]}, weights).tolist() == [0.5]


@pytest.mark.parametrize(("score", "reached"), [(0.0, 0.5), (0.2, 0.6), (-0.5, 0.75), (1.0, 1.0)])
def test_strength_is_the_scale_of_min_confidence(score, reached):
    assert strength(score) == reached
    assert strength(np.array([score, -score])).tolist() == [reached, reached]


@pytest.mark.parametrize(
    ("score", "word"),
    [
        (1.0, "STRONG_BUY"),
        (0.5, "STRONG_BUY"),
        (0.4999, "BUY"),
        (0.2, "BUY"),
        (0.1999, "HOLD"),
        (0.0, "HOLD"),
        (-0.1999, "HOLD"),
        (-0.2, "SELL"),
        (-0.4999, "SELL"),
        (-0.5, "STRONG_SELL"),
        (None, "HOLD"),
        (math.nan, "HOLD"),
    ],
)
def test_labels_begin_at_their_thresholds(score, word):
    assert label(score) == word


def test_a_forecast_scores_by_how_many_were_less_confident():
    direction = [1, 1, -1, 1, -1]
    confidence = [0.5, 0.525, 0.575, 0.6, 0.9]
    got = lstm_score(direction, confidence, direction, QUANTILES)
    np.testing.assert_allclose(got, [0.0, 0.25, -0.75, 1.0, -1.0], atol=1e-12)


def test_a_forecast_whose_median_disagrees_scores_nothing():
    assert lstm_score([1, -1], [0.6, 0.6], [0, 0], QUANTILES).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("missing", range(3))
def test_where_there_is_no_forecast_there_is_no_score(missing):
    given = [np.array([1.0, 1.0]), np.array([0.6, 0.6]), np.array([1.0, 1.0])]
    given[missing][0] = np.nan
    np.testing.assert_allclose(lstm_score(*given, QUANTILES), [np.nan, 1.0])


@pytest.mark.parametrize("quantiles", [(1.0,) * 101, (0.5,) * 101, (), None])
def test_without_a_ranking_the_distance_from_a_coin_counts(quantiles):
    got = lstm_score([1, -1, 1], [0.6, 0.75, 0.5], [1, -1, 1], quantiles)
    np.testing.assert_allclose(got, [0.2, -0.5, 0.0], atol=1e-12)


def test_of_equal_quantiles_only_less_confident_bars_count():
    half_alike = (0.5,) * 51 + tuple(0.5 + i / 1000 for i in range(1, 51))
    assert lstm_score(1, 0.5, 1, half_alike) == 0.0
    assert lstm_score(1, 0.501, 1, half_alike) == pytest.approx(0.51)
    mostly_the_most = tuple(0.5 + i / 1000 for i in range(50)) + (0.6,) * 51
    assert lstm_score(1, 0.6, 1, mostly_the_most) == pytest.approx(0.5)


@given(st.floats(0.5, 1.0), st.floats(0.5, 1.0))
def test_the_more_confident_forecast_never_scores_less(one, other):
    low, high = sorted((one, other))
    below, above = lstm_score([1, 1], [low, high], [1, 1], QUANTILES)
    assert 0.0 <= below <= above <= 1.0
