"""Where folds are cut."""

from __future__ import annotations

import re
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import ValidationError

from experiments.walk_forward import WalkForwardConfig, fold_seed, plan_folds
from experiments.walk_forward.running import fold_config, fold_data
from lightning_models import simulate_market
from lightning_models.data import SliceConfig, Slices
from lightning_models.data.datamodule import MIN_SAMPLES, CandleDataModule, DataConfig
from lightning_models.errors import ConfigError, TooFewCandlesError

HOUR = 3_600_000
CANDLES = simulate_market(candles=2600, seed=3)
DATA = DataConfig(features=("close", "volume"), lookback=8)

WALKS = st.builds(
    WalkForwardConfig,
    folds=st.integers(1, 7),
    scheme=st.sampled_from(["anchored", "rolling"]),
    embargo=st.integers(0, 5),
    test_length=st.sampled_from([None, 120, "5d"]),
)
HORIZONS = st.sampled_from([(1,), (3,), (1, "6h")])


@given(WALKS, HORIZONS)
def test_every_fold_is_tested_after_all_that_its_model_may_see(walk, horizons):
    data = DATA.model_copy(update={"horizons": horizons})
    reach = {(1,): 1, (3,): 3, (1, "6h"): 6}[horizons]
    for fold in plan_folds(walk, data, CANDLES):
        edges = fold.slices.edges
        assert list(edges) == sorted(edges)
        assert fold.slices.unseen_from == fold.known_until + (reach + walk.embargo) * HOUR
        for name in ("train", "validation", "calibration"):
            _, last_label = fold.slices.bounds(name)
            assert last_label < fold.slices.unseen_from


@given(WALKS, HORIZONS)
def test_tests_follow_one_another_without_gap_or_overlap_to_the_last_candle(walk, horizons):
    folds = plan_folds(walk, DATA.model_copy(update={"horizons": horizons}), CANDLES)
    assert [fold.number for fold in folds] == list(range(1, walk.folds + 1))
    for fold, later in pairwise(folds):
        assert fold.replaced_at == later.slices.unseen_from
    assert folds[-1].replaced_at is None
    assert folds[-1].slices.edges[4] == int(CANDLES[0].time[-1]) + HOUR


@given(WALKS)
def test_anchored_folds_grow_and_rolling_folds_keep_their_length(walk):
    folds = plan_folds(walk, DATA, CANDLES)
    begins = [fold.slices.edges[0] for fold in folds]
    lengths = {fold.slices.edges[1] - fold.slices.edges[0] for fold in folds}
    if walk.scheme == "anchored":
        assert set(begins) == {int(CANDLES[0].time[0])}
        assert len(lengths) == walk.folds
    else:
        assert begins == sorted(set(begins))
        assert len(lengths) == 1


def test_one_fold_is_cut_by_the_shares_as_a_training_is():
    (fold,) = plan_folds(WalkForwardConfig(folds=1), DATA, CANDLES)
    plain = CandleDataModule(DATA, CANDLES).slices
    assert np.abs(np.subtract(fold.slices.edges, plain.edges)).max() <= HOUR
    assert fold.slices.embargo_ms == plain.embargo_ms


def test_cuts_are_the_same_for_all_symbols_whenever_they_were_listed():
    sim, alt = simulate_market(candles=2600, symbols=("SIM/USDT", "ALT/USDT"), seed=3)
    late = alt.between(int(alt.time[1000]), None)
    walk = WalkForwardConfig(folds=3)
    assert plan_folds(walk, DATA, [sim, late]) == plan_folds(walk, DATA, [sim])


def test_seeds_count_up_from_the_training_seed(tiny_config):
    folds = plan_folds(WalkForwardConfig(folds=3), tiny_config.data, CANDLES)
    assert [fold_seed(7, fold) for fold in folds] == [7, 8, 9]
    seeds = [fold_config(tiny_config, fold).training.seed for fold in folds]
    assert seeds == [tiny_config.training.seed + number for number in range(3)]
    assert fold_seed(2**32 - 1, folds[1]) == 0


@given(
    WALKS.filter(lambda walk: walk.test_length is None),
    st.integers(40, 500),
    st.sampled_from([SliceConfig(), SliceConfig(train=0.6, calibration=0.1, test=0.2)]),
)
def test_too_few_candles_says_how_many_are_enough(walk, count, slices):
    data = DATA.model_copy(update={"slices": slices})
    few = CANDLES[0].between(None, int(CANDLES[0].time[count]))
    told = _refusal(walk, data, few)
    assume(told)
    assert told.startswith(f"{count} 1h candles are too few for ")
    needed = int(re.search(r"About (\d+) candles are needed", told)[1])
    assert needed > count
    # Enough it is, and each fold's slices do hold their samples.
    plenty = simulate_market(candles=needed, seed=3)
    shares = data.model_copy(update={"slices": SliceConfig(test=0.0, calibration=0.2)})
    for fold in plan_folds(walk, data, plenty):
        history = [plenty[0].between(fold.slices.edges[0], fold.known_until)]
        module = CandleDataModule(shares, history, slices=fold.slices)
        assert len(module.samples["calibration"]) >= MIN_SAMPLES


def _refusal(walk, data, candles):
    try:
        plan_folds(walk, data, [candles])
    except TooFewCandlesError as error:
        return str(error)
    return ""


def test_a_test_shorter_than_its_samples_is_refused():
    with pytest.raises(TooFewCandlesError, match="a test of 20 candles is too short: 34 are"):
        plan_folds(WalkForwardConfig(test_length=20), DATA, CANDLES)


@pytest.mark.parametrize("length", ["90m", "soon", "1d12"])
def test_an_unreadable_test_length_is_refused_by_name(length):
    with pytest.raises(ConfigError, match=f"unreadable test length '{length}'"):
        plan_folds(WalkForwardConfig(test_length=length), DATA, CANDLES)


def test_slices_without_a_test_ask_for_a_test_length():
    data = DATA.model_copy(update={"slices": SliceConfig(train=0.85, test=0.0)})
    with pytest.raises(ConfigError, match="walk-forward tests every fold"):
        plan_folds(WalkForwardConfig(), data, CANDLES)
    assert len(plan_folds(WalkForwardConfig(test_length=200), data, CANDLES)) == 5


@pytest.mark.parametrize("wrong", [{"folds": 0}, {"scheme": "sliding"}, {"embargo": -1}])
def test_a_configuration_that_means_nothing_is_refused(wrong):
    with pytest.raises(ValidationError):
        WalkForwardConfig(**wrong)


@pytest.mark.parametrize("horizon", [1, 6])
@pytest.mark.parametrize("scheme", ["anchored", "rolling"])
def test_no_label_of_a_fit_ends_after_the_test_begins(two_symbols, tiny_config, scheme, horizon):
    config = _with_horizon(tiny_config, horizon)
    walk = WalkForwardConfig(folds=3, scheme=scheme)
    for fold in plan_folds(walk, config.data, two_symbols):
        data = fold_data(fold_config(config, fold), fold, two_symbols)
        assert _label_ends(data, horizon).max() <= fold.known_until < fold.slices.unseen_from
        assert all(int(one.time[-1]) + HOUR <= fold.known_until for one in data.candles)
        assert len(data.samples["test"]) == 0


@pytest.mark.parametrize("horizon", [1, 6])
def test_without_purge_labels_would_end_in_the_test(two_symbols, tiny_config, horizon):
    config = _with_horizon(tiny_config, horizon)
    for fold in plan_folds(WalkForwardConfig(folds=3), config.data, two_symbols):
        slices = Unpurged(fold.slices.edges, 0)
        data = CandleDataModule(fold_config(config, fold).data, two_symbols, slices=slices)
        assert _label_ends(data, horizon).max() > slices.unseen_from


class Unpurged(Slices):
    """Slices by the time of the decision alone."""

    def members(self, name, decided, label_end):
        start, end = self.bounds(name)
        return (decided >= start) & (decided <= end)


def _with_horizon(config, horizon):
    return config.model_copy(
        update={"data": config.data.model_copy(update={"horizons": (horizon,)})}
    )


def _label_ends(data, horizon):
    # Counted here anew: from the decision to the close of the horizon's last candle.
    names = ("train", "validation", "calibration")
    return np.concatenate([data.samples[name].decided for name in names]) + horizon * HOUR
