"""A study's page: the verdict first, what of it is luck, and every trial, whatever they hold."""

from __future__ import annotations

import re

import numpy as np
import pytest

from experiments.report.study_page import render_figure, render_study, write_study
from experiments.tuning.config import StudyConfig
from experiments.tuning.holdout_look import HoldoutLook
from experiments.tuning.luck import study_luck
from experiments.tuning.study_figures import LeftOut, StudyFigures, study_figures
from experiments.tuning.study_record import StudyData, StudyRecord
from experiments.tuning.study_report import (
    ObjectiveName,
    ParameterRow,
    StudyReport,
    TrialSummary,
)
from tests.experiments.report.reader import EVIL, Reader, drawn_document
from tests.experiments.tuning.test_study_figures import study_of

ALERT = "<script>alert(1)</script>"


def luck_of(trials=40):
    noise = 0.01 * np.random.default_rng(0).standard_normal((500, 11))
    return study_luck(
        noise[:, :10],
        noise[:, 10],
        int(noise[:, :10].mean(axis=0).argmax()),
        trials=trials,
        pruned=20,
        earlier=10,
        periods_per_year=8760.0,
        costs_included=True,
        replications=50,
    )


LOOK = HoldoutLook(
    opened_at="2024-03-01T10:00:00+00:00",
    trial=2,
    objectives=("log_loss",),
    values=(0.681,),
    start="2024-02-01T00:59:59.999Z",
    end="2024-02-28T00:59:59.999Z",
    bars=648,
    trades=0,
    traded=False,
    sharpe=1.234,
    sharpe_low=-0.5,
    sharpe_high=2.9,
    sharpe_p=0.2,
    market_sharpe=0.4,
    exposure=0.42,
    exposure_p=0.31,
    log_loss=0.681,
    majority_log_loss=0.6925,
)

TRIALS = (
    TrialSummary(
        number=0,
        state="complete",
        values=(0.69,),
        parameters={"training.learning_rate": 0.003, "network.kind": "layer-norm"},
        epochs=12,
        seconds=3725.0,
    ),
    TrialSummary(number=1, state="pruned", parameters={"training.learning_rate": 0.1}, epochs=3),
    TrialSummary(
        number=2,
        state="complete",
        values=(0.672,),
        parameters={"training.learning_rate": 0.00123, "network.kind": "layer-norm"},
        epochs=20,
        seconds=61.0,
    ),
    TrialSummary(number=3, state="failed", error="out of memory: a smaller batch would fit"),
)


def report_of(**changes) -> StudyReport:
    luck = luck_of()
    fields = {
        "study": "btc-1h",
        "made_at": "2024-03-02T00:00:00+00:00",
        "symbols": ("BTC/USDT",),
        "timeframe": "1h",
        "data_fingerprint": "f" * 64,
        "holdout_from": "2024-02-01T00:00:00Z",
        "objectives": (ObjectiveName(name="log_loss", direction="minimize"),),
        "wanted": 100,
        "complete": 10,
        "pruned": 20,
        "failed": 1,
        "again": 0,
        "earlier": 10,
        "counted": 40,
        "best": TRIALS[2],
        "own": TRIALS[0],
        "gain": (0.018,),
        "parameters": (
            ParameterRow(name="training.learning_rate", best=0.00123, own=0.003),
            ParameterRow(name="network.kind", best="layer-norm", own=None),
        ),
        "luck": luck,
        "holdout_words": "The holdout from 2024-02-01 on was not opened.",
        "verdict": f"{luck.verdict} The holdout from 2024-02-01 on was not opened.",
        "trials": TRIALS,
        "preset": "reports/btc-1h-best.yaml",
        "commands": ("lstm-strategies train --preset x", "lstm-strategies backtest --set a=1"),
        "run_id": "0123456789abcdef",
    }
    return StudyReport(**{**fields, **changes})


def record_of(**changes) -> StudyRecord:
    fields = {
        "name": "btc-1h",
        "preset": "quickstart",
        "space": {"training.learning_rate": {"low": 1e-4, "high": 1e-1, "log": True}},
    }
    return StudyRecord(
        key="0" * 32,
        config=StudyConfig.model_validate({**fields, **changes}),
        start={"train": {"preset": changes.get("preset", "quickstart")}, "backtest": None},
        data=StudyData(
            symbols=("BTC/USDT",),
            timeframe="1h",
            market="continuous",
            fingerprint="f" * 64,
            holdout_from=0,
            until=1,
        ),
        run_id="0123456789abcdef",
    )


@pytest.fixture(scope="module")
def figures():
    return study_figures(study_of(), ["log_loss"], best=2, own=0, by_epochs=True)


@pytest.fixture(scope="module")
def page(figures):
    return render_study(report_of(), record_of(), figures)


def test_verdict_comes_before_everything_else(page):
    words = Reader(page).words
    report = report_of()
    assert words.index(report.verdict) < words.index("How much of it is luck")
    assert "Trial 2: log_loss 0.672, better than the preset's own 0.69 by 0.018." in words
    assert re.findall("<h2>(.*?)</h2>", page) == [
        "How much of it is luck",
        "Holdout",
        "Trial 2, the best",
        "The search",
        "Trials",
        "What it was made of",
    ]


def test_each_figure_of_luck_says_what_it_means(page):
    luck, words = luck_of(), Reader(page).words
    assert "10 complete with returns over 500 bars, 20 pruned, 10 of earlier studies." in words
    assert f"Expected of luck {luck.expected_maximum:.2f} What the best of as many" in words
    assert f"{luck.chosen_market_p:.3f} Chance of being so much better than the market" in words
    for name in ("Deflated Sharpe ratio", "Probability of backtest overfitting"):
        assert name in words


def test_figures_are_rounded_as_in_the_verdict_and_never_up_to_the_level(figures):
    luck = luck_of()
    deflated = luck.deflated.model_copy(update={"probability": 0.9499})
    over = luck.overfitting.model_copy(update={"probability": 0.0501})
    near = luck.model_copy(update={"deflated": deflated, "overfitting": over})
    words = Reader(render_study(report_of(luck=near), record_of(), figures)).words
    assert "Deflated Sharpe ratio 0.94 " in words
    assert "Probability of backtest overfitting 0.06 " in words


def test_study_without_returns_says_why_there_is_no_luck(figures):
    report = report_of(luck=None, no_luck="No trial kept its returns.")
    words = Reader(render_study(report, record_of(), figures)).words
    assert "How much of it is luck No trial kept its returns. Holdout" in words


def test_unopened_holdout_is_said_to_be_so(page):
    words = Reader(page).words
    assert "Holdout The holdout from 2024-02-01 on was not opened." in words
    assert "to read these scores is a look at it" in words


def test_opened_holdout_stands_beside_the_search(figures):
    report = report_of(holdout=LOOK, holdout_words=LOOK.words, verdict=LOOK.words)
    words = Reader(render_study(report, record_of(), figures)).words
    assert "Opened on 2024-03-01 10:00 for trial 2, once." in words
    assert "log_loss 0.681 It was 0.672 in the search" in words
    assert "Sharpe ratio 1.23 A year. 95% interval -0.50 to 2.90." in words
    assert "Log-loss of the majority class 0.6925" in words
    assert "The same exposure at random times, p 0.310" in words
    assert "doing as well with 42% of the account at other times" in words
    assert "648 2024-02-01 01:00 to 2024-02-28 01:00, UTC." in words
    assert "to read these scores is a look at it" not in words


def test_holdout_of_another_trial_than_the_best_is_said_to_be_so(figures):
    look = LOOK.model_copy(update={"trial": 7})
    words = Reader(render_study(report_of(holdout=look), record_of(), figures)).words
    assert "for trial 7, once. The best trial is another one by now: 2." in words
    assert "in the search" not in words.partition("The search")[0]


def test_best_trials_parameters_stand_beside_the_presets_own(page):
    words = Reader(page).words
    assert "training.learning_rate 0.00123 0.003" in words
    assert "network.kind layer-norm –" in words
    assert "lstm-strategies backtest --set a=1" in words


def test_every_trial_is_listed_with_its_error(page):
    words = Reader(page).words
    assert "0 complete, preset 0.69 12 1 h 02 min 0.003 layer-norm" in words
    assert "1 pruned – 3 – 0.1 –" in words
    assert "2 complete, best 0.672 20 1 min 01 s 0.00123 layer-norm" in words
    assert "3 failed – – – – – out of memory: a smaller batch would fit" in words


def test_two_objectives_have_a_column_each_and_a_front():
    objectives = (
        ObjectiveName(name="log_loss", direction="minimize"),
        ObjectiveName(name="sharpe_ratio", direction="maximize"),
    )
    trials = tuple(
        one.model_copy(update={"values": (*one.values, 1.5)} if one.values else {})
        for one in TRIALS
    )
    report = report_of(
        objectives=objectives,
        trials=trials,
        best=trials[2],
        own=trials[0],
        gain=(0.018, 0.0),
        front=(0, 2),
    )
    words = Reader(render_study(report, record_of(), StudyFigures((), ()))).words
    assert "log_loss, smaller is better; sharpe_ratio, larger is better" in words
    assert "sharpe_ratio 1.5, no better than the preset's own 1.5." in words
    assert "no other trial is better than in both: 0, 2." in words
    assert "0 complete, on the front, preset 0.69 1.5" in words
    assert "1 pruned – – 3" in words


def test_picture_that_is_left_out_is_named_with_the_reason():
    figures = StudyFigures((), (LeftOut("Importances", "it takes two complete trials"),))
    words = Reader(render_study(report_of(), record_of(), figures)).words
    assert "Importances: not drawn, it takes two complete trials." in words


def test_whatever_a_user_wrote_is_text(figures):
    trial = TRIALS[3].model_copy(update={"error": EVIL, "parameters": {ALERT: ALERT}})
    report = report_of(
        study=EVIL,
        symbols=(ALERT,),
        verdict=EVIL,
        commands=(EVIL,),
        trials=(*TRIALS[:3], trial),
        parameters=(ParameterRow(name=ALERT, best=ALERT, own=EVIL),),
    )
    record = record_of(preset=EVIL)
    reader = Reader(render_study(report, record, figures))
    plain = Reader(render_study(report_of(), record_of(), figures))
    assert reader.tags.count("script") == plain.tags.count("script")
    assert "img" not in reader.tags
    assert reader.words.count(ALERT) >= 4
    assert EVIL in reader.words


def test_page_needs_no_network(page):
    reader = Reader(page)
    assert reader.addresses == []
    assert all("src" not in given for given, _ in reader.scripts)
    assert "default-src 'none'" in page


def test_all_figures_have_a_place_and_data(page, figures):
    reader = Reader(page)
    keys = [one.chart.key for one in figures.pictures]
    assert list(reader.figures) == keys
    assert all(f'id="chart-{key}"' in page for key in keys)


def test_files_are_written_side_by_side(figures, tmp_path):
    report = report_of()
    files = write_study(report, record_of(), figures, folder=tmp_path / "new", preset="a: 1\n")
    assert StudyReport.model_validate_json(files.result.read_text()) == report
    assert files.preset == tmp_path / "new" / "btc-1h-best.yaml"
    assert files.preset.read_text() == "a: 1\n"
    # The page holds every figure: each by itself would hold the drawing library again.
    assert {path.name for path in files.html.parent.iterdir()} == {
        "report.html", "result.json", "btc-1h-best.yaml",
    }  # fmt: skip


def test_figure_by_itself_is_a_page_that_needs_no_network(figures):
    single = Reader(render_figure(report_of(), figures.pictures[0]))
    assert list(single.figures) == ["history"]
    assert "History, study btc-1h" in single.words
    assert single.addresses == []


def test_browser_draws_every_figure(figures, tmp_path):
    path = tmp_path / "report.html"
    path.write_text(render_study(report_of(), record_of(), figures))
    document = drawn_document(path, tmp_path)
    assert document.count('class="main-svg"') >= len(figures.pictures)
    for one in figures.pictures:
        _, _, rest = document.partition(f'id="chart-{one.chart.key}"')
        assert "js-plotly-plot" in document[document.index(rest) - 400 : document.index(rest) + 400]
