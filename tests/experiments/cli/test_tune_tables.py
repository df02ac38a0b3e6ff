"""Tables of a study, and what is shown while it goes on, on terminals of any width and on none."""

from __future__ import annotations

import io

import optuna
import pytest
from optuna.trial import TrialState, create_trial
from rich.console import Console

from experiments.cli.study_progress import ShownProgress, seconds_left
from experiments.cli.tune_tables import luck_table, shortened, standing_table
from experiments.deflation import DeflatedSharpe
from experiments.overfitting import BacktestOverfitting
from experiments.superiority import BenchmarkTest
from experiments.tuning.luck import StudyLuck
from experiments.tuning.progress import StudyProgress

PARAMETERS = {
    "network.units": "wide",
    "network.dropout": 0.35000000000000003,
    "training.learning_rate": 0.00123456,
    "training.batch_size": 64,
    "data.lookback": 120,
    "backtest.min_confidence": 0.61,
    "backtest.parameters.supertrend_period": 12,
}


def progress(**changed):
    content = {
        "study": "btc-6h", "wanted": 1000, "complete": 7, "pruned": 3, "failed": 1,
        "running": (11, 12), "waiting": 0, "again": 0, "best": (4,), "best_values": ((0.6912345,),),
        "best_parameters": (PARAMETERS,), "last_error": "",
    }  # fmt: skip
    return StudyProgress.model_validate(content | changed)


def printed(table, width):
    console = Console(file=io.StringIO(), width=width)
    console.print(table)
    return console.file.getvalue()


def words(text):
    return " ".join(text.split())


class TestStanding:
    def test_it_says_all_that_one_asks(self):
        told = words(printed(standing_table(progress(), elapsed=3725.4, left=61.0), 200))
        for phrase in (
            "study btc-6h: 11 of 1,000 trials",
            "best 0.69123 of trial 4",
            "with units=wide, dropout=0.35, learning_rate=0.00123, batch_size=64",
            "trials 7 complete, 3 pruned, 1 failed",
            "running 2: 11, 12",
            "time 1:02:05, about 0:01:01 left",
        ):
            assert phrase in told
        assert "waiting" not in told
        assert "failure" not in told

    def test_nothing_yet_is_said_so(self):
        empty = progress(best=(), best_values=(), best_parameters=(), complete=0, running=())
        told = words(printed(standing_table(empty, elapsed=2.0), 200))
        assert "best no trial is complete yet" in told
        assert "the end is not in sight yet" in told
        assert "running none" in told
        assert "with" not in told

    def test_two_objectives_show_those_that_none_is_better_than(self):
        several = progress(
            best=(1, 2, 5, 9), best_parameters=({}, {}, {}, {}),
            best_values=((0.69, 1.5), (0.68, 1.25), (0.67, 1.0), (0.66, 0.5)),
        )  # fmt: skip
        told = words(printed(standing_table(several), 200))
        assert "0.69 and 1.5 of trial 1; 0.68 and 1.25 of trial 2;" in told
        assert "and 1 more" in told

    @pytest.mark.parametrize(
        ("waiting", "again", "phrase"),
        [
            (1, 0, "1 failed, 1 waiting"),
            (0, 2, "1 failed, 2 run again"),
            (1, 1, "1 failed, 1 stopped trial waits to be run again"),
            (1, 3, "1 failed, 1 stopped trial waits to be run again, 2 run again"),
            (3, 2, "1 failed, 2 stopped trials wait to be run again, 1 waiting"),
        ],
    )
    def test_a_trial_that_is_run_again_and_waits_is_told_once(self, waiting, again, phrase):
        told = words(printed(standing_table(progress(waiting=waiting, again=again)), 200))
        assert f"{phrase} running 2" in told

    def test_a_failure_shows_its_first_line_without_a_password(self):
        failed = progress(last_error="postgresql://me:hidden@db is away\nsecond line")
        told = printed(standing_table(failed), 200)
        assert "postgresql://me:***@db is away" in told
        assert "hidden" not in told
        assert "second line" not in told

    @pytest.mark.parametrize("width", [40, 80, 120])
    def test_it_fits_any_terminal_in_few_lines(self, width):
        table = standing_table(
            progress(last_error="x" * 500), elapsed=1e6, left=1e7, room=2 * (width - 9)
        )
        lines = printed(table, width).splitlines()
        assert max(map(len, lines)) <= width
        assert len(lines) <= 12

    def test_without_a_limit_the_same_failure_takes_more_lines(self):
        lines = printed(standing_table(progress(last_error="x" * 500)), 40).splitlines()
        assert len(lines) > 12


class TestShortened:
    def test_a_name_is_cut_to_its_end_where_that_is_its_own(self):
        found = {"network.dropout": 0.1, "head.dropout": 0.25, "data.lookback": 60}
        assert shortened(found) == "network.dropout=0.1, head.dropout=0.25, lookback=60"

    @pytest.mark.parametrize("room", range(8, 160, 7))
    def test_what_does_not_fit_is_counted(self, room):
        text = shortened(PARAMETERS, room)
        assert len(text) <= max(room, len("7 parameters"))
        shown = text.count("=")
        if 0 < shown < 7:
            assert text.endswith(f" and {7 - shown} more")

    def test_no_parameters_are_the_presets_own_values(self):
        assert shortened({}) == "the preset's own values"


class TestSecondsLeft:
    def test_the_pace_is_that_of_all_workers_since_this_one_began(self):
        first, now = progress(complete=40), progress(complete=60)
        # 20 trials in 100 seconds, and 1000 - 64 to come.
        assert seconds_left(first, now, 100.0) == pytest.approx(936 * 5.0)

    def test_nobody_knows_before_a_trial_is_finished(self):
        assert seconds_left(progress(), progress(running=(11, 12, 13)), 100.0) is None

    def test_more_than_was_asked_for_leaves_nothing(self):
        assert seconds_left(progress(), progress(complete=2000), 100.0) == 0.0


def test_where_nobody_watches_each_finished_trial_is_a_line(capsys):
    study = optuna.create_study()
    trials = (
        create_trial(value=0.7),
        create_trial(state=TrialState.PRUNED),
        create_trial(state=TrialState.FAIL, user_attrs={"error": "out of memory:\n  smaller"}),
        create_trial(value=0.6),
    )
    standings = (
        {"complete": 1, "best": (0,), "best_values": ((0.7,),)},
        {"complete": 1, "pruned": 1, "best": (0,), "best_values": ((0.7,),)},
        {"complete": 1, "pruned": 1, "failed": 1, "best": (0,), "best_values": ((0.7,),)},
        {"complete": 2, "pruned": 1, "failed": 1, "best": (3,), "best_values": ((0.6,),)},
    )
    with ShownProgress() as shown:
        assert shown.study == ""
        none = {"complete": 0, "pruned": 0, "failed": 0}
        shown.on_change(progress(**none, best=(), best_values=(), best_parameters=()))
        for number, (trial, standing) in enumerate(zip(trials, standings, strict=True)):
            trial.number = number
            shown.on_trial(study, trial)
            told = none | {"running": (), "wanted": 5} | standing
            shown.on_change(progress(**told))
            # A trial that begins is no line of its own.
            shown.on_change(progress(**told))
    assert shown.study == "btc-6h"
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "trial 0: 0.7; the best so far; 1 of 5 done",
        "trial 1: pruned; best 0.7 of trial 0; 2 of 5 done",
        "trial 2: failed: out of memory: smaller; best 0.7 of trial 0; 3 of 5 done",
        "trial 3: 0.6; the best so far; 4 of 5 done",
    ]


def test_the_values_of_two_objectives_have_their_names(capsys):
    trial = create_trial(values=[0.71189, 10000.0])
    trial.number = 0
    with ShownProgress(["log_loss", "max_drawdown"]) as shown:
        shown.on_trial(optuna.create_study(directions=["minimize", "minimize"]), trial)
        shown.on_change(progress(best=(0, 1), best_values=((0.7, 1.0), (0.6, 2.0))))
        table = words(printed(shown.render(), 200))
    assert capsys.readouterr().err.startswith("trial 0: log_loss 0.71189, max_drawdown 10000; 2")
    assert table.endswith("values log_loss and max_drawdown")


def luck(**changed):
    content = {
        "bars": 4_000, "complete": 60, "pruned": 40, "earlier": 0, "trials": 100, "chosen": 3,
        "independent": 47.26,
        "costs_included": True, "sharpe": 1.234, "sharpe_low": -0.4, "sharpe_high": 2.7,
        "expected_maximum": 1.91, "buy_and_hold": 0.55, "market_p": 0.4, "chosen_market_p": 0.4321,
        "deflated": DeflatedSharpe(
            bars=4_000, trials=100, sharpe=0.01, expected_maximum=0.02, probability=0.234
        ),
        "market": BenchmarkTest(bars=4_000, strategies=60, metric="sharpe"),
        "overfitting": BacktestOverfitting(
            bars=4_000, trials=60, metric="sharpe", blocks=16, combinations=12_870,
            probability=0.553, median_logit=-0.1, p_loss=0.5,
        ),
    }  # fmt: skip
    return StudyLuck.model_validate(content | changed)


class TestLuck:
    @pytest.mark.parametrize("width", [80, 120])
    def test_each_figure_stands_beside_what_would_convince(self, width):
        text = printed(luck_table(luck()), width)
        assert max(map(len, text.splitlines())) <= width
        assert "…" not in text.replace("-0.40 … 2.70", "")
        told = words(text)
        for phrase in (
            "this study what would convince", "best of 100 trials", "4,000 bars", "1.23", "1.91",
            "trials, alike ones as fewer 47.3", "0.95 or more",
        ):  # fmt: skip
            assert phrase in told

    def test_no_figure_reads_as_a_level_that_it_misses(self):
        deflated = luck().deflated.model_copy(update={"probability": 0.9499})
        overfitting = luck().overfitting.model_copy(update={"probability": 0.0501})
        short = luck(deflated=deflated, overfitting=overfitting, chosen_market_p=0.02501)
        told = words(printed(luck_table(short), 120))
        assert "deflated Sharpe ratio 0.94 0.95 or more" in told
        assert "probability of backtest overfitting 0.06 0.05 or less" in told
        assert "by luck 0.026 0.025 or less" in told

    def test_figures_that_there_are_none_of_are_dashes(self):
        few = luck(
            sharpe_low=None, sharpe_high=None, market_p=None, chosen_market_p=None,
            deflated=DeflatedSharpe(bars=9, trials=100, sharpe=0.01, expected_maximum=0.02),
            overfitting=BacktestOverfitting(
                bars=9, trials=1, metric="sharpe", reason="one trial is no choice"
            ),
        )  # fmt: skip
        assert printed(luck_table(few), 120).count("–") == 4
