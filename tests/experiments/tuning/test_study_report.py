"""What a report says in words: of one objective a best trial, of two a front."""

from __future__ import annotations

import pytest

from experiments.tuning.holdout_look import EarlierLook
from experiments.tuning.study_report import ObjectiveName, StudyReport, TrialSummary

LOSS = ObjectiveName(name="log_loss", direction="minimize")
SHARPE = ObjectiveName(name="sharpe_ratio", direction="maximize")


def trial(number, *values):
    return TrialSummary(number=number, state="complete", values=values)


def report_of(objectives, best, own=None, **changes) -> StudyReport:
    gain = None
    if own is not None:
        gain = tuple(
            value - before if one.direction == "maximize" else before - value
            for one, value, before in zip(objectives, best.values, own.values, strict=True)
        )
    fields = {
        "study": "made",
        "made_at": "2024-03-02T00:00:00+00:00",
        "symbols": ("BTC/USDT",),
        "timeframe": "1h",
        "data_fingerprint": "f" * 64,
        "holdout_from": "2024-02-01T00:00:00Z",
        "objectives": objectives,
        "wanted": 100,
        "complete": 40,
        "pruned": 0,
        "failed": 0,
        "again": 0,
        "earlier": 0,
        "counted": 40,
        "best": best,
        "own": own,
        "gain": gain,
        "holdout_words": "",
        "verdict": "",
        "trials": (),
        "preset": "made-best.yaml",
        "commands": (),
        "run_id": "0" * 32,
    }
    return StudyReport.model_validate({**fields, **changes})


def words_of_two(best, own=None, front=(2, 7, 9)):
    return report_of((LOSS, SHARPE), best, own, front=front).gain_words


@pytest.mark.parametrize(
    ("best", "own", "words"),
    [
        (
            trial(4, 0.5),
            trial(0, 0.75),
            "Trial 4: log_loss 0.5, better than the preset's own 0.75 by 0.25.",
        ),
        (trial(0, 0.75), trial(0, 0.75), "No trial was better than the preset's own values."),
        (trial(4, 0.5), None, ""),
    ],
)
def test_of_one_objective_the_best_trial_stands_beside_the_presets_own(best, own, words):
    assert report_of((LOSS,), best, own).gain_words == words


def test_of_two_the_front_is_counted_and_the_chosen_one_compared_in_each():
    assert words_of_two(trial(7, 0.5, 1.0), trial(0, 0.75, 1.5)) == (
        "Of 40 complete trials 3 are on the front, where none is better than another in both "
        "objectives: 2, 7, 9. Trial 7, the best of them in log_loss: log_loss 0.5, better than the "
        "preset's own 0.75 by 0.25; sharpe_ratio 1, worse than the preset's own 1.5 by 0.5."
    )


def test_presets_own_that_is_chosen_does_not_hide_the_others_on_the_front():
    own = trial(2, 0.5, 1.0)
    assert words_of_two(own, own).endswith(
        "objectives: 2, 7, 9. Trial 2, the best of them in log_loss, has the preset's own values: "
        "log_loss 0.5; sharpe_ratio 1."
    )


def test_front_of_one_is_said_to_be_the_best_in_both():
    own = trial(2, 0.5, 1.0)
    assert words_of_two(own, own, front=(2,)) == (
        "Of 40 complete trials no other one is as good as trial 2 in both objectives. Trial 2 has "
        "the preset's own values: log_loss 0.5; sharpe_ratio 1."
    )


def test_long_front_is_told_in_part():
    told = words_of_two(trial(0, 0.5, 1.0), front=tuple(range(15)))
    assert "15 are on the front" in told
    assert ": 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 and 3 more. Trial 0" in told


def test_warning_says_of_an_unopened_holdout_that_it_was_seen_before():
    looks = (EarlierLook(study="first", opened_at="2024-03-01T00:00:00+00:00"),)
    best = trial(4, 0.5)
    assert "looked at before" not in report_of((LOSS,), best).warning
    assert "A part of the holdout was looked at before" in (
        report_of((LOSS,), best, seen_before=looks).warning
    )
    assert report_of((LOSS,), best, seen_before=looks, holdout_from=None).warning == ""
