"""The holdout is looked at once, for one trial, and the trial's fit has seen nothing of it."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import optuna
import pytest
from mlflow.tracking import MlflowClient

from experiments.tuning.holdout import (
    chosen_trial,
    holdout_opened,
    open_holdout,
    refuse_if_opened,
)
from experiments.tuning.ownership import end_worker, register_worker
from lightning_models import simulate_market
from lightning_models.errors import ConfigError, TooFewCandlesError
from tests.experiments.tuning.made_study import HOUR, described_study, make_study

QUICK = {
    "preset": "logistic-regression",
    "space": {"data.lookback": {"low": 4, "high": 80}},
    "settings": {"data.lookback": 8},
    "holdout": 0.2,
}
TRADED = {**QUICK, "objective": [{"kind": "trading"}]}
TWO = {"objective": [{"kind": "forecast"}, {"kind": "trading"}]}


@pytest.fixture(scope="module")
def market():
    return simulate_market(candles=1200, seed=1, signal=0.5)


def changed(candles, first, last):
    """The same candles with other prices in some of the rows."""
    (one,) = candles
    ohlcv = one.ohlcv.copy()
    ohlcv[first:last, :4] *= np.random.default_rng(3).uniform(0.9, 1.1, (last - first, 1))
    return [replace(one, ohlcv=ohlcv)]


def ready(home, candles, **changes):
    """A study whose second trial is the best."""
    made = make_study(home, candles=candles, **{**QUICK, **changes})
    signs = [1.0 if one == "minimize" else -1.0 for one in made.record.config.directions]
    made.add(*(sign * 0.7 for sign in signs), data__lookback=8)
    made.add(*(sign * 0.6 for sign in signs), data__lookback=12)
    return made


def look_at(made, **options):
    return open_holdout(
        made.study,
        made.record,
        options.pop("candles", made.candles),
        home=made.home,
        runs=made.runs,
        replications=options.pop("replications", 100),
        **options,
    )


def tags_of(made):
    return MlflowClient().get_run(made.runs.parent).data.tags


class DiesBeforeTheEnd(optuna.storages.InMemoryStorage):
    """A storage that cannot be reached as the first look is written down."""

    died = False

    def set_study_user_attr(self, study_id, key, value):
        if key == "holdout_look" and not self.died:
            self.died = True
            raise ConnectionError("gone")
        super().set_study_user_attr(study_id, key, value)


class ClaimSeen(optuna.storages.InMemoryStorage):
    """A storage that runs what a test likes once somebody is about to open a holdout."""

    happens = None

    def set_study_user_attr(self, study_id, key, value):
        super().set_study_user_attr(study_id, key, value)
        if key.startswith("holdout_claim:") and self.happens is not None:
            happens, self.happens = self.happens, None
            happens()


@pytest.fixture
def claim_seen(monkeypatch):
    monkeypatch.setattr(optuna.storages, "InMemoryStorage", ClaimSeen)


def test_look_is_of_the_best_trial_on_candles_that_no_trial_saw(home, market):
    made = ready(home, market)
    look = look_at(made)
    assert look.trial == 1
    assert look.objectives == ("log_loss",)
    # A fifth of 1,200 candles, of which the first one only decides.
    assert look.bars == 240 - 1
    cut = np.datetime64(made.record.data.holdout_from, "ms")
    assert np.datetime64(look.start.removesuffix("Z")) > cut + np.timedelta64(HOUR, "ms")
    assert look.values == (look.log_loss,)
    assert holdout_opened(made.study).look == look
    assert look.seen_before == ()


@pytest.mark.parametrize(("signal", "better"), [(0.5, True), (0.0, False)])
def test_log_loss_stands_beside_the_majority_class(home, signal, better):
    made = ready(home, simulate_market(candles=1200, seed=1, signal=signal))
    look = look_at(made)
    assert (look.log_loss < look.majority_log_loss - 0.02) is better
    assert look.majority_log_loss == pytest.approx(np.log(2.0), abs=0.02)
    assert ("no better than knowing nothing" in look.words) is not better


def test_look_says_what_it_found_against_luck_and_the_market(home, market):
    look = look_at(ready(home, market))
    assert look.sharpe_low > 0.0
    assert look.is_above_luck
    assert look.words.startswith("Holdout, 239 bars from ")
    assert "opened once for trial 1: what was found is above luck at 95% confidence" in look.words
    assert f"buy-and-hold {look.market_sharpe:.2f}" in look.words
    # Ten days make no year.
    assert look.excess is None
    # Each forecast is followed, long or short: it is when that matters.
    assert look.exposure == 1.0
    assert look.beats_random_times
    assert f"does as well with a probability of {look.exposure_p:.3f}" in look.words
    assert "random times." not in look.words


def test_look_without_skill_confirms_nothing(home):
    look = look_at(ready(home, simulate_market(candles=1200, seed=1, signal=0.0)))
    assert not look.is_above_luck
    assert "is not confirmed" in look.words
    assert not look.beats_random_times


def test_strategy_that_never_trades_says_nothing(home, market):
    made = ready(home, market, **TRADED, backtest={"min_confidence": 1.0})
    look = look_at(made)
    assert (look.trades, look.traded) == (0, True)
    assert "no position was ever closed, so it says nothing" in look.words
    assert (look.exposure, look.exposure_p) == (0.0, None)
    assert not look.is_above_luck


def test_mlflow_is_told(home, market):
    made = ready(home, market)
    look = look_at(made)
    run = MlflowClient().get_run(made.runs.parent)
    assert run.data.metrics["holdout/value"] == look.values[0]
    assert run.data.metrics["holdout/sharpe"] == look.sharpe
    assert run.data.tags["lstm.holdout_verdict"] == look.words
    assert f"opened on {look.opened_at} for trial 1" in run.data.tags["lstm.holdout"]


def test_finished_look_is_given_again_and_not_computed_again(home, market):
    made = ready(home, market)
    first = look_at(made)
    kept = made.study.user_attrs["holdout_look"]
    made.study.set_user_attr("holdout_look", {**kept, "sharpe": 9.0})
    assert look_at(made) == first.model_copy(update={"sharpe": 9.0})


def test_look_that_was_cut_short_is_written_down_and_comes_to_the_same_again(
    home, other_home, market, monkeypatch
):
    unbroken = look_at(ready(other_home, market))
    monkeypatch.setattr(optuna.storages, "InMemoryStorage", DiesBeforeTheEnd)
    made = ready(home, market)
    with pytest.raises(ConnectionError):
        look_at(made)
    opening = holdout_opened(made.study)
    assert (opening.trial, opening.look) == (1, None)
    assert "the look was not finished: opening it again finishes it" in opening.words
    assert "for trial 1" in tags_of(made)["lstm.holdout"]
    again = look_at(made)
    assert again.opened_at == opening.opened_at
    assert again == unbroken.model_copy(update={"opened_at": opening.opened_at})


def test_another_trial_is_refused_a_second_look(home, market):
    made = make_study(home, candles=market, **{**QUICK, **TWO})
    made.add(0.7, 1.0, data__lookback=8)
    made.add(0.6, 0.5, data__lookback=12)
    assert chosen_trial(made.study).number == 1
    look_at(made, trial=0)
    with pytest.raises(ConfigError, match=r"for trial 0, and not for trial 1: a second look would"):
        look_at(made)
    assert look_at(made, trial=0).trial == 0


def test_trial_that_is_better_by_now_is_refused_a_second_look(home, market):
    made = ready(home, market)
    look_at(made)
    made.add(0.1, data__lookback=20)
    with pytest.raises(ConfigError, match=r"for trial 1, and not for trial 2"):
        look_at(made)


def test_further_trials_are_refused_once_it_was_opened(home, market):
    made = ready(home, market)
    refuse_if_opened(made.study)
    look_at(made)
    with pytest.raises(ConfigError, match=r"newer candles: wait for candles that come after"):
        refuse_if_opened(made.study)


@pytest.mark.parametrize(
    ("candles", "told"),
    [
        (simulate_market(candles=1200, seed=2, signal=0.5), "fingerprint"),
        (simulate_market(candles=1200, seed=1, signal=0.5, timeframe="4h"), "timeframe 1h, now 4h"),
    ],
)
def test_other_candles_are_refused_and_nothing_is_opened(home, market, candles, told):
    made = ready(home, market)
    with pytest.raises(ConfigError, match=told):
        look_at(made, candles=candles)
    assert holdout_opened(made.study) is None


def test_study_without_a_holdout_has_none_to_open(home, market):
    made = ready(home, market, holdout=0.0)
    with pytest.raises(ConfigError, match="no holdout to open: its trials saw all candles"):
        look_at(made)


def test_study_without_a_complete_trial_has_nothing_to_open_it_for(home, market):
    made = make_study(home, candles=market, **QUICK)
    with pytest.raises(ConfigError, match="no complete trial to open its holdout for"):
        look_at(made)
    made.add(state="failed", error="out of memory")
    made.add(0.6, data__lookback=8)
    with pytest.raises(ConfigError, match="no complete trial 0"):
        look_at(made, trial=0)


def test_of_one_objective_only_the_trial_that_was_found_may_be_looked_at(home, market):
    made = ready(home, market)
    with pytest.raises(
        ConfigError,
        match=r"cannot be opened for trial 0: the search found trial 1, and to look at another",
    ):
        look_at(made, trial=0)
    assert holdout_opened(made.study) is None
    assert look_at(made, trial=1).trial == 1


def test_of_two_objectives_only_a_trial_that_leads_may_be_looked_at(home, market):
    made = make_study(home, candles=market, **{**QUICK, **TWO})
    for values in ((0.6, 1.0), (0.5, 0.5), (0.7, 0.9)):
        made.add(*values, data__lookback=8)
    with pytest.raises(
        ConfigError,
        match=r"cannot be opened for trial 2: another one is at least as good in both objectives\. "
        r"Those that no other one is better than are 0, 1: choose",
    ):
        look_at(made, trial=2)
    assert holdout_opened(made.study) is None
    # One that leads gets past that, and is stopped by what comes after.
    register_worker(made.study)
    with pytest.raises(ConfigError, match="may be at work"):
        look_at(made, trial=0)


def test_two_trials_are_not_looked_at_at_once(home, market, claim_seen):
    made = make_study(home, candles=market, **{**QUICK, **TWO})
    made.add(0.6, 1.0, data__lookback=8)
    made.add(0.5, 0.5, data__lookback=12)
    found = []

    def look_too():
        with pytest.raises(ConfigError, match="about to be opened for trial 1"):
            look_at(made, trial=0)
        found.append("refused")

    made.study._storage.happens = look_too
    assert look_at(made).trial == 1
    assert found == ["refused"]
    assert holdout_opened(made.study).trial == 1


def test_worker_that_comes_at_the_last_moment_keeps_it_closed(home, market, claim_seen):
    made = ready(home, market)
    made.study._storage.happens = lambda: register_worker(made.study)
    with pytest.raises(ConfigError, match="1 worker of the study made may be at work"):
        look_at(made)
    assert holdout_opened(made.study) is None


def test_better_trial_that_comes_at_the_last_moment_keeps_it_closed(home, market, claim_seen):
    made = ready(home, market)
    made.study._storage.happens = lambda: made.add(0.1, data__lookback=20)
    with pytest.raises(ConfigError, match="trial 2 of the study made ended meanwhile"):
        look_at(made)
    assert holdout_opened(made.study) is None


def test_look_that_another_process_finished_first_is_the_one_that_is_told(home, market, claim_seen):
    made = ready(home, market)
    first = look_at(made)
    told = {**made.study.user_attrs["holdout_look"], "sharpe": 9.0}
    made.study.set_user_attr("holdout_look", None)

    class Finished:
        # What the tag is written to lies between the opening and the look.
        def __getattr__(self, name):
            made.study.set_user_attr("holdout_look", told)
            return getattr(made.runs, name)

    look = open_holdout(
        made.study, made.record, made.candles, home=home, runs=Finished(), replications=100
    )
    assert look == first.model_copy(update={"sharpe": 9.0})


def test_look_at_a_stretch_that_another_study_looked_at_says_so(home, market):
    made = ready(home, market)
    described_study(made.study._storage, "first", market, opened_at="2024-03-01T00:00:00+00:00")
    look = look_at(made)
    assert [one.study for one in look.seen_before] == ["first"]
    said = "Part of this stretch was looked at before, by study first on 2024-03-01: this is no"
    assert said in look.words
    assert said in tags_of(made)["lstm.holdout_verdict"]


def test_it_stays_closed_while_a_worker_may_find_a_better_trial(home, market):
    made = ready(home, market)
    owner = register_worker(made.study)
    with pytest.raises(ConfigError, match="1 worker of the study made may be at work"):
        look_at(made)
    assert holdout_opened(made.study) is None
    end_worker(made.study, owner)
    assert look_at(made).trial == 1


def test_holdout_that_is_too_short_counts_as_unopened(home, market):
    made = ready(home, market, holdout=0.001)
    with pytest.raises(TooFewCandlesError, match="too short"):
        look_at(made)
    assert holdout_opened(made.study) is None
    assert "lstm.holdout" not in tags_of(made)


def fit_of(home, candles, **changes):
    """All that a fit for the holdout came to: weights, scaler, calibration, thresholds, slices."""
    made = ready(home, candles, **{**TRADED, **changes})
    look_at(made)
    (kept,) = (home.cache / "folds").glob("*/bundle/bundle.json")
    # The digest of the weights is among it.
    return {**json.loads(kept.read_text()), "created_at": None}


@pytest.mark.parametrize(("first", "last", "same"), [(960, 1200, True), (959, 960, False)])
def test_nothing_that_closes_after_the_cut_reaches_the_fit(
    home, other_home, market, first, last, same
):
    other = changed(market, first, last)
    assert (fit_of(home, market) == fit_of(other_home, other)) is same


@pytest.mark.parametrize(("scheme", "same"), [("rolling", True), ("anchored", False)])
def test_rolling_folds_are_followed_by_a_fit_on_as_long_a_stretch(
    home, other_home, market, scheme, same
):
    # Of 960 candles of development two tests of 160 leave a stretch of 640 before each.
    folds = {"walk_forward": {"scheme": scheme, "folds": 2, "test_length": 160}}
    other = changed(market, 0, 300)
    assert (fit_of(home, market, **folds) == fit_of(other_home, other, **folds)) is same


def test_of_two_objectives_the_best_in_the_first_on_the_front_is_chosen(home, market):
    objective = [{"kind": "forecast"}, {"kind": "trading"}]
    made = make_study(home, candles=market, **{**QUICK, "objective": objective})
    assert chosen_trial(made.study) is None
    made.add(0.6, 1.0)
    made.add(0.5, 0.1)
    made.add(0.5, 0.3)
    made.add(0.7, 2.0)
    assert chosen_trial(made.study).number == 2
