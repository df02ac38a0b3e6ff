"""A study from its first trial to its last, by one worker."""

from __future__ import annotations

import json
import math
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import optuna
import pytest
from mlflow.tracking import MlflowClient
from optuna.trial import TrialState

from experiments.child_runs import PARENT_TAG
from experiments.settings import validated
from experiments.tuning.config import StudyConfig
from experiments.tuning.holdout import holdout_opened, open_holdout
from experiments.tuning.holdout_opening import claimed_for, write_opening
from experiments.tuning.orphans import run_again
from experiments.tuning.ownership import end_worker, live_workers, this_process
from experiments.tuning.score import FoldScore, TrialScore
from experiments.tuning.search import tune
from experiments.tuning.storage import open_storage
from experiments.tuning.study_record import ask_to_stop, read_record, wanted
from experiments.tuning.trial_runs import StudyRuns
from lightning_models import simulate_market
from lightning_models.errors import (
    ConfigError,
    StorageError,
    TooFewCandlesError,
    TrainingError,
)

BASIC = {
    "name": "tried",
    "preset": "logistic-regression",
    "space": {"network.l2": {"low": 1e-4, "high": 1.0, "log": True}},
    "walk_forward": {"folds": 2},
    "stopping": {"trials": 4},
}


def study_of(**further):
    return validated(StudyConfig, BASIC | further, origin="study tried")


@pytest.fixture(scope="module")
def market():
    return simulate_market(candles=1200, signal=0.4)


def trials_of(home, name="tried"):
    storage = open_storage(None, home=home, name=name)
    return optuna.load_study(study_name=name, storage=storage).get_trials()


def opened_study(home, name):
    return optuna.load_study(study_name=name, storage=open_storage(None, home=home, name=name))


def runs_of(home, result):
    client = MlflowClient(home.tracking_uri)
    experiment = client.get_run(result.run_id).info.experiment_id
    found = client.search_runs([experiment])
    return {
        int(one.data.tags["lstm.trial"]): one
        for one in found
        if one.data.tags.get(PARENT_TAG) == result.run_id
    }


def squared(trial, candidate, candles):
    return (math.log10(candidate.train.network.l2) + 2.0) ** 2


def test_a_study_ends_with_its_trials_in_optuna_and_in_mlflow_one_to_one(home, market):
    result = tune(study_of(), market, home=home)
    trials = trials_of(home)
    assert [one.state for one in trials] == [TrialState.COMPLETE] * 4
    runs = runs_of(home, result)
    assert sorted(runs) == [0, 1, 2, 3]
    for trial in trials:
        assert runs[trial.number].info.status == "FINISHED"
        assert runs[trial.number].data.metrics["value"] == pytest.approx(trial.value)
        assert float(runs[trial.number].data.params["network.l2"]) == pytest.approx(
            trial.params["network.l2"]
        )
    assert result.ended == "4 trials are done"
    assert result.progress.complete == 4
    best = min(trials, key=lambda one: one.value)
    assert (result.progress.best, result.progress.best_values) == ((best.number,), ((best.value,),))
    parent = MlflowClient(home.tracking_uri).get_run(result.run_id)
    assert parent.info.status == "FINISHED"
    assert parent.data.tags["lstm.kind"] == "study"


def test_the_first_trial_has_the_presets_own_values(home, market):
    tune(study_of(), market, home=home, objective=squared)
    first, second, *_ = trials_of(home)
    assert first.params == {"network.l2": 0.01}
    assert second.params != first.params


def test_the_preset_can_be_left_out(home, market):
    tune(study_of(preset_first=False), market, home=home, objective=squared)
    assert all(one.params["network.l2"] != 0.01 for one in trials_of(home))


def test_the_same_seed_draws_the_same_trials(home, other_home, market):
    for place in (home, other_home):
        tune(study_of(), market, home=place, objective=squared)
    assert [one.params for one in trials_of(home)] == [one.params for one in trials_of(other_home)]


def test_whoever_goes_on_draws_other_trials_than_before(home, market):
    tune(study_of(), market, home=home, objective=squared)
    tune(study_of(stopping={"trials": 8}), market, home=home, objective=squared)
    values = [one.params["network.l2"] for one in trials_of(home)]
    assert len(values) == len(set(values)) == 8


def test_an_objective_of_ones_own_sees_no_candle_of_the_holdout(home, market):
    seen = []

    def look(trial, candidate, candles):
        seen.append((candles[0].symbol, len(candles[0]), int(candles[0].time[-1])))
        return 1.0

    tune(study_of(holdout=0.25), market, home=home, objective=look)
    assert set(seen) == {("SIM/USDT", 900, int(market[0].time[899]))}


def test_any_sampler_of_optunas_draws_the_trials(home, market):
    grid = optuna.samplers.GridSampler({"network.l2": [1e-3, 1e-2, 1e-1]}, seed=1)
    tune(study_of(preset_first=False), market, home=home, objective=squared, sampler=grid)
    drawn = {one.params["network.l2"] for one in trials_of(home)}
    assert drawn == {1e-3, 1e-2, 1e-1}


def take_for_dead(home, trial):
    """Do what a worker of another machine does, once the heartbeats have stayed out."""
    storage = open_storage(None, home=home, name="tried")
    seen = optuna.load_study(study_name="tried", storage=storage)
    storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
    end_worker(seen, this_process())
    run_again(seen, seen.trials[trial.number])


@pytest.mark.parametrize(
    "ends", [None, ValueError("of its own"), optuna.TrialPruned()], ids=["value", "error", "pruned"]
)
def test_worker_that_was_taken_for_dead_says_that_it_is_there_and_goes_on(
    home, market, caplog, ends
):
    at_it = {}

    def fall_silent(trial, candidate, candles):
        if trial.number == 1:
            take_for_dead(home, trial)
        storage = open_storage(None, home=home, name="tried")
        seen = optuna.load_study(study_name="tried", storage=storage)
        at_it[trial.number] = [one.owner for one in live_workers(seen)]
        if trial.number == 1 and ends is not None:
            raise ends
        return squared(trial, candidate, candles)

    result = tune(study_of(), market, home=home, objective=fall_silent)
    assert "was given to another one meanwhile" in caplog.text
    here = [this_process()]
    assert at_it == {0: here, 1: [], 2: here, 3: here, 4: here}
    assert (result.progress.complete, result.progress.again) == (4, 1)


def test_ctrl_c_ends_a_worker_whose_trial_was_taken_too(home, market):
    def fall_silent(trial, candidate, candles):
        take_for_dead(home, trial)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tune(study_of(), market, home=home, objective=fall_silent)
    assert [one.state for one in trials_of(home)] == [TrialState.FAIL, TrialState.WAITING]


def test_error_of_a_callback_is_no_sign_that_a_trial_was_taken(home, market):
    def refuse(study, trial):
        raise ValueError("of a callback")

    with pytest.raises(ValueError, match="of a callback"):
        tune(study_of(), market, home=home, objective=squared, callbacks=[refuse])


def test_trial_whose_end_the_tracking_server_did_not_take_is_run_again(home, market):
    def execute(statement):
        with closing(sqlite3.connect(home.path / "mlflow.db")) as connection:
            connection.execute(statement)

    def lose_the_server(trial, candidate, candles):
        if trial.number == 2:
            execute("ALTER TABLE runs RENAME TO out_of_reach")
        return squared(trial, candidate, candles)

    with pytest.raises(StorageError, match="cannot be used"):
        tune(study_of(), market, home=home, objective=lose_the_server)
    execute("ALTER TABLE out_of_reach RENAME TO runs")
    result = tune(study_of(), market, home=home, objective=squared)
    lost, again = trials_of(home)[2:4]
    assert lost.state == TrialState.FAIL
    assert "cannot be used" in lost.user_attrs["error"]
    assert (again.state, again.params) == (TrialState.COMPLETE, lost.params)
    assert (result.progress.complete, result.progress.failed) == (4, 0)
    assert sorted(runs_of(home, result)) == [0, 1, 2, 3, 4]


def test_callbacks_see_each_trial_and_may_end_the_study(home, market):
    seen = []

    def stop_at_two(study, trial):
        seen.append(trial.number)
        if trial.number == 1:
            study.stop()

    result = tune(study_of(), market, home=home, objective=squared, callbacks=[stop_at_two])
    assert seen == [0, 1]
    assert result.ended == "stopped by a callback"


def test_a_failed_trial_keeps_its_error_and_the_study_goes_on(home, market):
    def sometimes(trial, candidate, candles):
        if trial.number == 1:
            raise ValueError("the seventh seal")
        if trial.number == 2:
            raise MemoryError
        return squared(trial, candidate, candles)

    result = tune(study_of(), market, home=home, objective=sometimes)
    states = [one.state for one in trials_of(home)]
    complete, failed = TrialState.COMPLETE, TrialState.FAIL
    assert states == [complete, failed, failed, complete]
    runs = runs_of(home, result)
    assert "ValueError: the seventh seal" in runs[1].data.tags["lstm.error"]
    assert "out of memory" in runs[2].data.tags["lstm.error"]
    assert runs[1].info.status == "FAILED"
    assert "out of memory" in result.progress.last_error


def test_a_trial_whose_values_do_not_fit_together_fails_alone(home, market):
    # More rows than the window has: known only once both are drawn.
    space = {"network.rows": [5, 10], "data.lookback": [60, 8]}
    result = tune(study_of(space=space, stopping={"trials": 8}), market, home=home)
    failed = [one for one in trials_of(home) if one.state == TrialState.FAIL]
    assert result.progress.complete
    for one in failed:
        assert (one.params["network.rows"], one.params["data.lookback"]) == (10, 8)


def test_a_trials_error_is_kept_as_one_line_without_passwords(home, market):
    told = "postgresql://me:pass word@db/x\nis \x1b[31mgone: " + "why? " * 200

    def failing(trial, candidate, candles):
        if trial.number == 1:
            raise RuntimeError(told)
        if trial.number == 2:
            # The cut falls into the password.
            raise TrainingError("x" * 380 + " postgresql://me:" + "secret" * 20 + "@db/x")
        return squared(trial, candidate, candles)

    result = tune(study_of(), market, home=home, objective=failing)
    runs = runs_of(home, result)
    for trial in trials_of(home)[1:3]:
        kept = trial.user_attrs["error"]
        assert kept == runs[trial.number].data.tags["lstm.error"]
        assert len(kept) <= 400
        assert kept.isprintable()
        assert "word" not in kept
        assert "secret" not in kept
    first = trials_of(home)[1].user_attrs["error"]
    assert first.startswith("RuntimeError: postgresql://me:***@db/x is [31mgone: why?")
    assert first.endswith("… (in failing, line " + first.rpartition(" ")[2])


def test_a_score_that_cannot_be_kept_fails_its_trial_alone_and_says_why(home, market):
    def wrong(trial, candidate, candles):
        if trial.number == 1:
            return TrialScore((math.nan,), ())
        if trial.number == 2:
            return TrialScore((1.0, 2.0), ())
        return squared(trial, candidate, candles)

    result = tune(study_of(), market, home=home, objective=wrong)
    assert (result.progress.complete, result.progress.failed) == (2, 2)
    errors = [one.user_attrs["error"] for one in trials_of(home)[1:3]]
    assert errors[0] == "the objective is nan, which is no number to compare"
    assert errors[1].startswith("the objective returned 2 values, and the study has 1 objective")


def test_any_name_of_a_choice_is_logged_and_is_text_in_the_report(home, market):
    names = ["<script>alert(1)</script>", "</script><img src=x onerror=alert(2)>", "50 % & 'more'"]
    space = {"network.l2": {"choices": dict(zip(names, (0.01, 0.1, 1.0), strict=True))}}
    grid = optuna.samplers.GridSampler({"network.l2": names}, seed=1)
    result = tune(study_of(space=space), market, home=home, sampler=grid)
    assert result.progress.failed == 0
    parameters = MlflowClient(home.tracking_uri).get_run(result.run_id).data.params
    assert json.loads(parameters["study.space.network.l2"]) == {
        "choices": space["network.l2"]["choices"],
        "when": {},
    }
    page = Path(result.report.preset).with_name("report.html").read_text(encoding="utf-8")
    assert "alert(1)" in page
    assert "<script>alert" not in page
    assert "<img src=x" not in page


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_study_whose_every_trial_is_no_number_ends_early_and_says_why(home, market, value):
    calls = []

    def nothing(trial, candidate, candles):
        calls.append(trial.number)
        return value

    with pytest.raises(TrainingError) as ended:
        tune(study_of(stopping={"trials": 50}), market, home=home, objective=nothing)
    assert "each of its first 5 trials failed" in str(ended.value)
    assert f"the objective is {value}" in str(ended.value)
    assert calls == [0, 1, 2, 3, 4]


def test_a_study_with_one_success_is_not_given_up(home, market):
    def mostly(trial, candidate, candles):
        return 1.0 if trial.number == 0 else math.nan

    stopping = {"trials": 9, "failures": 3}
    result = tune(study_of(stopping=stopping), market, home=home, objective=mostly)
    assert (result.progress.complete, result.progress.failed) == (1, 8)


def test_a_study_ends_where_nothing_better_is_found(home, market):
    def worse_and_worse(trial, candidate, candles):
        return float(trial.number)

    stopping = {"trials": 50, "stagnation": 6}
    result = tune(study_of(stopping=stopping), market, home=home, objective=worse_and_worse)
    assert result.ended == "no trial was better in the last 6"
    assert len(trials_of(home)) == 7


def test_a_worker_starts_no_trial_once_its_time_is_over(home, market):
    stopping = {"trials": 50, "minutes": 1e-9}
    result = tune(study_of(stopping=stopping), market, home=home, objective=squared)
    assert result.ended == "its 1e-09 minutes are over"
    assert result.progress.finished == 0


def test_a_worker_that_is_asked_to_stop_ends_after_its_trial(home, market):
    def asked(trial, candidate, candles):
        if trial.number == 1:
            storage = open_storage(None, home=home, name="tried")
            ask_to_stop(optuna.load_study(study_name="tried", storage=storage))
        return 1.0

    result = tune(study_of(), market, home=home, objective=asked)
    assert result.ended == "it was asked to stop"
    assert result.progress.complete == 2
    again = tune(study_of(), market, home=home, objective=asked)
    assert again.ended == "4 trials are done"


def test_ctrl_c_marks_the_trial_and_its_parameters_are_tried_again(home, market):
    def pressed(trial, candidate, candles):
        if trial.number == 2:
            raise KeyboardInterrupt
        return squared(trial, candidate, candles)

    with pytest.raises(KeyboardInterrupt):
        tune(study_of(), market, home=home, objective=pressed)
    stopped = trials_of(home)
    assert [one.state.name for one in stopped] == ["COMPLETE", "COMPLETE", "FAIL", "WAITING"]
    assert stopped[2].user_attrs["error"] == "stopped by the user"
    result = tune(study_of(), market, home=home, objective=squared)
    trials = trials_of(home)
    assert [one.state.name for one in trials] == ["COMPLETE"] * 2 + ["FAIL"] + ["COMPLETE"] * 2
    assert trials[3].params == trials[2].params
    assert (result.progress.complete, result.progress.failed, result.progress.again) == (4, 0, 1)
    assert sorted(runs_of(home, result)) == [0, 1, 2, 3, 4]


def test_pruned_trials_have_runs_that_say_so(home, market):
    def prune(trial, candidate, candles):
        if trial.number % 2:
            raise optuna.TrialPruned
        return 1.0

    result = tune(study_of(), market, home=home, objective=prune)
    assert (result.progress.complete, result.progress.pruned) == (2, 2)
    states = [runs_of(home, result)[one].data.tags["lstm.state"] for one in range(4)]
    assert states == ["complete", "pruned", "complete", "pruned"]


def test_two_objectives_keep_what_no_other_trial_is_better_than(home, market):
    def both(trial, candidate, candles):
        value = candidate.train.network.l2
        return value, -value

    objective = [{"kind": "forecast"}, {"kind": "forecast", "metric": "brier"}]
    result = tune(study_of(objective=objective), market, home=home, objective=both)
    assert result.progress.best == (0, 1, 2, 3)
    assert {len(one) for one in result.progress.best_values} == {2}


def test_returns_that_an_objective_of_ones_own_gives_are_judged(home, market):
    generator = np.random.default_rng(3)

    def scored(trial, candidate, candles):
        time = candles[0].time[-400:]
        returns = 0.01 * generator.standard_normal(400)
        fold = FoldScore(1, 0, (1.0,), time, returns, np.zeros(400))
        return TrialScore((float(returns.mean()),), (fold,))

    result = tune(study_of(), market, home=home, objective=scored)
    assert result.report.luck.bars == 400
    assert result.report.luck.trials == 4


@pytest.mark.parametrize(
    ("further", "told"),
    [
        ({"space": {"network.l2": {"low": 1e-3, "high": 1.0, "log": True}}}, "low: 0.0001, now"),
        (
            {"objective": {"kind": "forecast", "metric": "brier"}},
            "objective.forecast.metric: log_loss, now brier",
        ),
        ({"walk_forward": {"folds": 3}}, "walk_forward.folds: 2, now 3"),
        ({"settings": {"data.lookback": 40}}, "settings"),
        ({"holdout": 0.3}, "holdout"),
    ],
)
def test_another_study_under_its_name_is_refused_with_the_difference(home, market, further, told):
    tune(study_of(), market, home=home, objective=squared)
    with pytest.raises(ConfigError) as refused:
        tune(study_of(**further), market, home=home, objective=squared)
    assert told in str(refused.value)
    assert "--new" in str(refused.value)
    assert "--name" in str(refused.value)
    beside = tune(study_of(**further), market, home=home, objective=squared, new=True)
    assert beside.study == "tried-2"


def test_other_candles_under_a_studys_name_are_refused(home, market):
    tune(study_of(), market, home=home, objective=squared)
    other = simulate_market(candles=1200, seed=5)
    with pytest.raises(ConfigError, match="candles: SIM/USDT 1h with fingerprint"):
        tune(study_of(), other, home=home, objective=squared)


def test_too_few_candles_are_told_before_the_first_trial(home):
    with pytest.raises(TooFewCandlesError, match="too few for 2 folds"):
        tune(study_of(), simulate_market(candles=150), home=home)


def test_a_study_after_another_begins_at_its_best_trial(home, market):
    first = tune(study_of(), market, home=home)
    later = study_of(
        name="later",
        preset=None,
        after="tried",
        space={"network.rows": {"low": 2, "high": 6}},
    )
    result = tune(later, market, home=home)
    (best,) = first.progress.best
    kept = MlflowClient(home.tracking_uri).get_run(runs_of(home, result)[0].info.run_id)
    drawn = trials_of(home)[best].params["network.l2"]
    assert f'"network.l2":{drawn!r}' in kept.data.tags["lstm.configuration"]
    assert result.report.luck.trials == 8
    assert result.report.luck.earlier == 4


def test_a_study_after_one_that_saw_its_holdout_is_refused(home, market):
    tune(study_of(holdout=0.1), market, home=home, objective=squared)
    later = study_of(name="later", preset=None, after="tried", holdout=0.2)
    with pytest.raises(ConfigError, match="whose trials have seen SIM/USDT until"):
        tune(later, market, home=home, objective=squared)
    unknown = study_of(name="later", preset=None, after="nobody")
    with pytest.raises(ConfigError, match="there is no such study"):
        tune(unknown, market, home=home, objective=squared)


def test_candles_that_came_after_the_study_was_begun_are_left_out(home):
    (longer,) = simulate_market(candles=1300, signal=0.4)
    tune(study_of(), longer.between(None, int(longer.time[1200])), home=home, objective=squared)
    seen = []

    def look(trial, candidate, candles):
        seen.append(len(candles[0]))
        return 1.0

    result = tune(study_of(stopping={"trials": 5}), longer, home=home, objective=look)
    assert result.progress.complete == 5
    assert seen == [1020]


def test_no_trial_is_added_once_the_holdout_was_opened(home, market):
    tune(study_of(), market, home=home)
    storage = open_storage(None, home=home, name="tried")
    study = optuna.load_study(study_name="tried", storage=storage)
    record = read_record(study)
    runs = StudyRuns(home, "tried", key=record.key, parent=record.run_id)
    open_holdout(study, record, market, home=home, runs=runs)
    with pytest.raises(ConfigError, match="its holdout was opened on"):
        tune(study_of(stopping={"trials": 9}), market, home=home)
    later = study_of(name="later", preset=None, after="tried")
    with pytest.raises(ConfigError, match="its holdout was opened on"):
        tune(later, market, home=home)
    assert len(trials_of(home)) == 4


def test_a_study_far_after_an_opened_one_neither_goes_on_nor_is_opened(home, market):
    chain = [
        study_of(),
        study_of(name="later", preset=None, after="tried"),
        study_of(name="last", preset=None, after="later"),
    ]
    for one in chain:
        tune(one, market, home=home, objective=squared)
    more = {"stopping": {"trials": 6}}
    last = study_of(name="last", preset=None, after="later", **more)
    assert tune(last, market, home=home, objective=squared).progress.complete == 6
    first = opened_study(home, "tried")
    with claimed_for(first, first.best_trial.number):
        write_opening(first, first.best_trial.number)
    for name in ("last", "last-2"):
        again = last.model_copy(update={"name": name})
        with pytest.raises(ConfigError, match=f"study {name}: it comes after tried, and the study"):
            tune(again, market, home=home, objective=squared)
    study = opened_study(home, "last")
    record = read_record(study)
    runs = StudyRuns(home, "last", key=record.key, parent=record.run_id)
    with pytest.raises(ConfigError, match="holdout of the study last is that of tried too"):
        open_holdout(study, record, market, home=home, runs=runs)
    assert holdout_opened(study) is None


def test_a_worker_ends_once_somebody_is_about_to_open_the_holdout(home, market):
    def claims(trial, candidate, candles):
        if trial.number == 1:
            owner = this_process().model_copy(update={"id": "another"})
            now = {"trial": 0, "opened_at": "2024-03-01T00:00:00+00:00"}
            claim = {**now, "owner": owner.as_attribute()}
            opened_study(home, "tried").set_user_attr("holdout_claim:another", claim)
        return squared(trial, candidate, candles)

    result = tune(study_of(), market, home=home, objective=claims)
    assert result.ended == "its holdout was opened"
    assert result.progress.complete == 2


def test_a_worker_ends_once_the_holdout_of_the_study_before_is_opened(home, market):
    tune(study_of(), market, home=home, objective=squared)

    def opens(trial, candidate, candles):
        if trial.number == 1:
            first = opened_study(home, "tried")
            with claimed_for(first, first.best_trial.number):
                write_opening(first, first.best_trial.number)
        return squared(trial, candidate, candles)

    later = study_of(name="later", preset=None, after="tried")
    result = tune(later, market, home=home, objective=opens)
    assert result.ended == "the holdout of a study that it comes after was opened"
    assert result.progress.complete == 2


def test_a_worker_that_joins_with_more_trials_is_heard(home, market):
    tune(study_of(), market, home=home, objective=squared)
    tune(study_of(stopping={"trials": 6}), market, home=home, objective=squared)
    storage = open_storage(None, home=home, name="tried")
    assert wanted(optuna.load_study(study_name="tried", storage=storage)) == 6


def test_tune_is_found_where_the_documentation_says():
    from experiments import tuning

    assert tuning.tune is tune
