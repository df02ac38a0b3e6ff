"""What a study is said to have found, in the report, in the folder and in MLflow."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
from mlflow.tracking import MlflowClient

from experiments.presets import load_train_config
from experiments.report.study_page import write_study
from experiments.tuning.holdout import open_holdout
from experiments.tuning.luck import study_luck
from experiments.tuning.orphans import run_again
from experiments.tuning.ownership import end_worker, register_worker
from experiments.tuning.reporting import StudyReport, aligned, report_study
from experiments.tuning.storage import open_storage
from experiments.tuning.study_figures import StudyFigures
from experiments.tuning.trial_runs import TrialReturns
from lightning_models import simulate_market
from lightning_models.errors import StorageError
from tests.experiments.tuning.made_study import described_study, make_study

BARS = 400


def noise(seed, bars=BARS):
    return 0.01 * np.random.default_rng(seed).standard_normal(bars)


def searched(home, trials=6, **changes):
    """A study of noise whose last trial but one is the best, the first the preset's own."""
    made = make_study(home, **changes)
    for number in range(trials):
        best = number == trials - 2
        made.add(
            0.5 if best else 0.6 + number / 100.0,
            returns=noise(number),
            market=noise(99),
            preset=number == 0,
        )
    return made


@pytest.fixture(scope="module")
def told(empty_home):
    """A study of seven trials and seven earlier ones, and its report; tests only read them."""
    made = searched(empty_home(), earlier=7)
    made.add(state="pruned")
    return made, report_of(made)


def report_of(made, **options):
    options = {"replications": 50, **options}
    return report_study(made.study, made.record, made.runs, home=made.home, **options)


def names_in(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def client_of(made) -> MlflowClient:
    # Not that of the test's own home, where another one's study is only read.
    return MlflowClient(made.home.tracking_uri)


def artifacts_of(made, folder=None) -> set[str]:
    return {one.path for one in client_of(made).list_artifacts(made.runs.parent, folder)}


def test_nothing_is_said_while_no_trial_is_complete(home):
    made = make_study(home)
    made.add(state="pruned")
    made.add(state="failed", error="out of memory")
    assert report_of(made) is None
    assert not home.reports.exists()
    made.add(0.7, returns=noise(0), market=noise(1))
    assert report_of(made).best.number == 2


def test_best_trial_is_told_with_what_it_drew_and_where_it_is_logged(told):
    made, report = told
    best = made.study.best_trial
    assert (report.best.number, report.best.values) == (4, (0.5,))
    assert report.best.parameters == best.params
    assert report.best.run_id == made.runs.run_of(4)
    assert report.run_id == made.runs.parent
    assert [one.name for one in report.objectives] == ["log_loss"]
    assert report.objectives[0].words == "log_loss, smaller is better"


def test_every_trial_is_counted_once(home):
    made = searched(home, earlier=7)
    made.add(state="pruned", epochs=(0.7, 0.69))
    made.add(state="failed", error="out of memory")
    stopped = made.add(state="failed", error="its worker was killed")
    run_again(made.study, made.study.trials[stopped])
    report = report_of(made)
    assert (report.complete, report.pruned, report.failed, report.again) == (6, 1, 1, 1)
    assert (report.earlier, report.counted) == (7, 6 + 1 + 7)
    assert [one.state for one in report.trials[6:]] == ["pruned", "failed", "again", "waiting"]
    assert report.trials[6].epochs == 2
    assert report.trials[7].error == "out of memory"


def test_luck_is_that_of_all_trials_over_the_same_bars(told):
    _, report = told
    returns = np.column_stack([noise(number) for number in range(6)])
    expected = study_luck(
        returns,
        noise(99),
        4,
        trials=14,
        pruned=1,
        earlier=7,
        periods_per_year=8760.0,
        costs_included=True,
        objective="log_loss",
        replications=50,
    )
    assert report.luck == expected
    assert report.verdict.startswith("The best of 14 trials is not distinguishable from luck")
    assert "the study itself chose by log_loss, which this does not test" in report.verdict
    # Counted without them, luck explains less.
    fewer = study_luck(
        returns,
        noise(99),
        4,
        trials=6,
        pruned=0,
        earlier=0,
        periods_per_year=8760.0,
        costs_included=True,
        replications=50,
    )
    assert fewer.expected_maximum < expected.expected_maximum


def test_bar_that_a_trial_lacks_is_one_in_which_it_held_nothing():
    def kept(number, start, returns, market):
        stamps = start + np.arange(len(returns), dtype=np.int64)
        return TrialReturns(number, stamps, np.array(returns), np.array(market))

    time, returns, market = aligned(
        [kept(0, 2, [0.1, 0.2, 0.3], [1.0, 2.0, 3.0]), kept(1, 1, [0.4, 0.5], [9.0, 1.0])]
    )
    assert time.tolist() == [1, 2, 3, 4]
    assert returns.tolist() == [[0.0, 0.4], [0.1, 0.5], [0.2, 0.0], [0.3, 0.0]]
    assert market.tolist() == [9.0, 1.0, 2.0, 3.0]


def test_trials_of_other_bars_are_laid_over_each_other(home):
    made = make_study(home)
    made.add(0.6, returns=noise(0), market=noise(9))
    made.add(0.5, returns=noise(1)[40:], market=noise(9)[40:], start=40)
    report = report_of(made)
    assert report.luck.bars == BARS
    held = np.concatenate([np.zeros(40), noise(1)[40:]])
    sharpe = held.mean() / held.std(ddof=1) * np.sqrt(8760.0)
    assert report.luck.sharpe == pytest.approx(sharpe)


def test_own_objective_without_returns_leaves_luck_untold(home):
    made = make_study(home)
    made.add(0.6)
    made.add(0.5)
    report = report_of(made)
    assert report.luck is None
    assert "no trial kept its returns, as where the objective is the user's own" in report.verdict
    # Of others' returns alone nothing can be said of the best one.
    made.add(0.7, returns=noise(0), market=noise(1))
    assert "it kept no returns" in report_of(made).no_luck


@pytest.mark.parametrize(
    ("cost", "words"), [(0.0004, "Costs are included."), (0.0, "Costs are not included")]
)
def test_costs_are_said_to_be_included_where_they_are(home, cost, words):
    made = searched(home, 3, objective=[{"kind": "forecast", "cost": cost}])
    assert words in report_of(made).verdict


def test_best_trial_stands_beside_the_presets_own(told):
    _, report = told
    assert report.own.number == 0
    assert report.gain == pytest.approx((0.1,))
    assert report.gain_words == ("Trial 4: log_loss 0.5, better than the preset's own 0.6 by 0.1.")
    (rate,) = [one for one in report.parameters if one.name == "training.learning_rate"]
    assert rate.own == load_train_config("quickstart").training.learning_rate
    assert rate.best == report.best.parameters["training.learning_rate"]


def test_larger_is_better_where_it_is(home):
    made = make_study(home, objective=[{"kind": "trading"}])
    made.add(1.5, returns=noise(0), market=noise(9), preset=True)
    made.add(2.0, returns=noise(1), market=noise(9))
    report = report_of(made)
    assert (report.best.number, report.gain) == (1, (0.5,))


def test_preset_that_nothing_is_better_than_is_said_to_be_the_best(home):
    made = make_study(home)
    made.add(0.5, returns=noise(0), market=noise(9), preset=True)
    made.add(0.6, returns=noise(1), market=noise(9))
    report = report_of(made)
    assert report.gain_words == "No trial was better than the preset's own values."


def test_values_of_the_preset_are_shown_where_no_trial_had_them(home):
    made = make_study(home, preset_first=False)
    made.add(0.5, returns=noise(0), market=noise(9))
    report = report_of(made)
    assert (report.own, report.gain, report.gain_words) == (None, None, "")
    own = {one.name: one.own for one in report.parameters}
    assert own["network.hidden_size"] == load_train_config("quickstart").network.hidden_size


def test_of_two_objectives_the_front_is_told_and_its_best_in_the_first_is_chosen(home):
    objective = [{"kind": "forecast"}, {"kind": "trading"}]
    made = make_study(home, objective=objective)
    for values in ((0.6, 1.0), (0.5, 0.2), (0.7, 2.0), (0.7, 1.5)):
        made.add(*values, returns=noise(int(10 * sum(values))), market=noise(9))
    report = report_of(made)
    assert report.front == (0, 1, 2)
    assert report.best.number == 1
    assert report.luck.chosen == 1
    assert len(report.commands) == 2
    assert report.gain_words == (
        "Of 4 complete trials 3 are on the front, where none is better than another in both "
        "objectives: 0, 1, 2. Trial 1, the best of them in log_loss: log_loss 0.5; "
        "sharpe_ratio 0.2."
    )


def test_report_lies_in_the_home_by_default_and_says_what_it_said(told):
    made, report = told
    folder = made.home.reports / "made"
    assert names_in(folder) == {"report.html", "result.json", "made-best.yaml"}
    read = StudyReport.model_validate_json((folder / "result.json").read_text())
    assert read == report
    assert report.preset == str(folder / "made-best.yaml")


def test_preset_is_the_best_trials_configuration(told):
    made, report = told
    trained = made.record.candidate_of(made.study.best_trial.params).train
    assert load_train_config(report.preset) == trained.model_copy(update={"preset": "made-best"})
    heading = Path(report.preset).read_text().partition("\nnetwork")[0]
    folded = " ".join(heading.replace("#", " ").split())
    assert "made, trial 4" in folded
    assert "14 were searched through: 6 complete, 1 pruned, 7 of earlier studies" in folded
    assert f"Deflated Sharpe ratio: {report.luck.deflated.probability:.3f}" in folded
    assert report.luck.verdict in folded
    assert "was not opened" in folded
    assert report.data_fingerprint in folded
    assert report.commands[0] in folded


def test_the_same_is_logged_to_the_studys_run(told):
    made, report = told
    run = client_of(made).get_run(made.runs.parent)
    assert run.data.tags["lstm.verdict"] == report.verdict
    assert run.data.tags["lstm.best_trial"] == "4"
    metrics = run.data.metrics
    assert metrics["best/value"] == 0.5
    assert metrics["luck/deflated_sharpe"] == report.luck.deflated.probability
    assert metrics["luck/overfitting"] == report.luck.overfitting.probability
    assert metrics["luck/market_p"] == report.luck.market_p
    assert metrics["trials/counted"] == 14.0
    assert {"report.html", "result.json", "made-best.yaml"} <= artifacts_of(made)
    assert {"figures/history.html", "figures/slice.html"} <= artifacts_of(made, "figures")


def test_figures_by_themselves_are_logged_by_the_last_worker(home):
    made = searched(home, 3)
    owner = register_worker(made.study)
    report_of(made)
    assert artifacts_of(made) == {"report.html", "result.json", "made-best.yaml"}
    end_worker(made.study, owner)
    report_of(made)
    assert "figures/history.html" in artifacts_of(made, "figures")


def test_later_report_takes_the_place_of_an_earlier_one(home, tmp_path):
    made = searched(home)
    folder = tmp_path / "report"
    report_of(made, folder=folder)
    (folder / "notes.txt").write_text("mine")
    before = names_in(folder)
    made.add(0.1, returns=noise(50), market=noise(99))
    assert report_of(made, folder=folder).best.number == 6
    assert names_in(folder) == before
    assert "trial 6" in (folder / "made-best.yaml").read_text()


def test_workers_that_end_at_once_leave_one_whole_report(home, tmp_path):
    made = searched(home)
    report = report_of(made, folder=tmp_path)
    expected = {path.name: path.read_bytes() for path in tmp_path.glob("*.html")}
    errors = []

    def write():
        try:
            for _ in range(5):
                write_study(
                    report, made.record, StudyFigures((), ()), folder=tmp_path, preset="a: 1\n"
                )
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert (tmp_path / "made-best.yaml").read_text() == "a: 1\n"
    assert expected.keys() == {path.name for path in tmp_path.glob("*.html")}
    assert not [name for name in names_in(tmp_path) if name.endswith(".part")]


def test_folder_that_cannot_be_written_is_named(home, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"cannot write .*file"):
        report_of(searched(home), folder=tmp_path / "file")


def test_study_without_a_holdout_says_so(home):
    report = report_of(searched(home, 3, holdout=0.0))
    assert report.holdout_from is None
    assert report.verdict.endswith(
        "Nothing was held out: no candles are left that no trial has seen."
    )
    assert report.warning == ""


def test_unopened_holdout_is_said_to_be_so_and_training_on_it_to_be_a_look(told):
    _, report = told
    assert report.verdict.endswith("The holdout from 2020-01-27 on was not opened.")
    assert "is a look at it" in report.warning


def test_holdout_that_another_study_looked_at_is_said_to_be_no_unseen_one(told, home):
    _, unseen = told
    assert unseen.seen_before == ()
    assert "looked at before" not in unseen.verdict + unseen.warning
    made = searched(home, 3, holdout=0.2)
    described_study(
        open_storage(None, home=home, name="first"),
        "first",
        made.candles,
        opened_at="2024-03-01T00:00:00+00:00",
    )
    report = report_of(made)
    said = "Part of this stretch was looked at before, by study first on 2024-03-01"
    assert said in report.holdout_words
    assert said in report.verdict
    assert "A part of the holdout was looked at before" in report.warning
    heading = Path(report.preset).read_text().partition("\nnetwork")[0]
    folded = " ".join(heading.replace("#", " ").split())
    assert said in folded
    assert report.warning in folded
    result = Path(report.preset).with_name("result.json")
    written = StudyReport.model_validate_json(result.read_text())
    assert [one.study for one in written.seen_before] == ["first"]


def test_unfinished_look_is_told(home):
    made = searched(home, 3)
    opening = {"opened_at": "2024-03-01T00:00:00+00:00", "trial": 4, "host": "alpha"}
    made.study.set_user_attr("holdout", opening)
    report = report_of(made)
    assert report.holdout is None
    assert "opened on 2024-03-01 for trial 4 on alpha, and the look was not" in report.verdict


def test_look_at_the_holdout_becomes_a_part_of_the_verdict(home):
    candles = simulate_market(candles=1200, seed=1, signal=0.5)
    space = {"data.lookback": {"low": 4, "high": 80}}
    quick = {"preset": "logistic-regression", "space": space, "settings": {"data.lookback": 8}}
    made = make_study(home, candles=candles, **quick)
    made.add(0.5, returns=noise(0), market=noise(9), data__lookback=12)
    look = open_holdout(
        made.study, made.record, candles, home=home, runs=made.runs, replications=100
    )
    report = report_of(made)
    assert report.holdout == look
    assert report.verdict.endswith(look.words)
    assert report.warning == ""


def test_two_studies_of_one_name_keep_to_their_own_trials(home):
    searched(home, 2)
    second = make_study(home)
    second.add(0.9, returns=noise(0), market=noise(9))
    report = report_of(second)
    assert report.best.run_id == second.runs.run_of(0)
    assert report.complete == 1


def test_single_trial_has_a_report(home):
    made = make_study(home)
    made.add(0.5, returns=noise(0, bars=10), market=noise(1, bars=10))
    report = report_of(made)
    assert report.luck.deflated.probability is None
    assert "10 bars are too few" in report.verdict
