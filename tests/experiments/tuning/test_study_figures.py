"""A study's pictures: Optuna's, in this project's colours, and none that there is nothing of."""

from __future__ import annotations

import logging

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from experiments.report.curves_chart import BASELINE_COLOUR, COLOURS
from experiments.tuning.study_figures import study_figures

BLUE, ORANGE = COLOURS[:2]

SPACE = {
    "training.learning_rate": FloatDistribution(1e-4, 1e-1, log=True),
    "data.lookback": IntDistribution(8, 64),
    "network.kind": CategoricalDistribution(["layer-norm", "<b>evil</b>"]),
}


def study_of(directions=("minimize",), *, trials=30, value=None, state=TrialState.COMPLETE):
    """A study whose trials come to `value` of their learning rate and lookback."""
    study = optuna.create_study(directions=list(directions))
    value = value or (lambda rate, lookback: (rate + lookback / 1000.0,) * len(directions))
    for number in range(trials):
        rate, lookback = 10.0 ** -(1.0 + (number * 7 % 30) / 10.0), 8 + number * 11 % 56
        kind = ("layer-norm", "<b>evil</b>")[number % 2]
        params = {"training.learning_rate": rate, "data.lookback": lookback, "network.kind": kind}
        study.add_trial(
            optuna.create_trial(
                state=state,
                params=params,
                distributions=SPACE,
                values=value(rate, lookback) if state == TrialState.COMPLETE else None,
                intermediate_values={0: 0.7, 1: 0.69},
            )
        )
    return study


def drawn(study, objectives=("log_loss",), **options):
    found = study_figures(study, objectives, **{"best": study.best_trials[0].number, **options})
    return {one.chart.key: one for one in found.pictures}, {
        one.title: one.reason for one in found.left_out
    }


def texts_of(content):
    """Every text of a figure."""
    if isinstance(content, dict):
        return [text for value in content.values() for text in texts_of(value)]
    if isinstance(content, list | tuple):
        return [text for value in content for text in texts_of(value)]
    return [content] if isinstance(content, str) else []


def test_one_objective_has_these_pictures():
    pictures, left_out = drawn(study_of(), by_epochs=True)
    assert list(pictures) == ["history", "importances", "parallel", "slice", "epochs", "timeline"]
    assert left_out == {}


def test_two_objectives_have_a_front_and_a_history_each():
    study = study_of(("minimize", "maximize"), value=lambda rate, lookback: (rate, lookback))
    pictures, _ = drawn(study, ("log_loss", "sharpe_ratio"), own=0)
    assert list(pictures) == [
        "pareto",
        "history-1",
        "history-2",
        "importances",
        "parallel",
        "slice-1",
        "slice-2",
        "timeline",
    ]
    front = pictures["pareto"].chart.figure
    assert front.layout.xaxis.title.text == "log_loss"
    assert front.layout.yaxis.title.text == "sharpe_ratio"
    leads = {trace.name: set(trace.text or ()) for trace in front.data}
    best = {f"trial {one.number}" for one in study.best_trials}
    assert leads["no other is better in both"] == best
    assert {trace.name for trace in front.data} >= {"chosen", "the preset's own"}


def test_ground_and_text_are_left_to_the_page():
    pictures, _ = drawn(study_of(), by_epochs=True)
    for picture in pictures.values():
        layout = picture.chart.figure.layout
        assert layout.template.layout.to_plotly_json() == {}
        assert layout.paper_bgcolor == layout.plot_bgcolor == "rgba(0,0,0,0)"
        assert layout.font.color is None
        # The page puts the heading above it, and empties the axis' title where there is no room.
        assert layout.title.text is None
        assert isinstance(layout.yaxis.title.text, str)
        assert layout.margin.l
        for annotation in layout.annotations:
            assert annotation.font.color is None


def test_none_of_optunas_own_colours_is_left():
    own = {"blue", "red", "orange", "green", "gray", "#cccccc", "#555", "#888", "white"}
    pictures, _ = drawn(study_of(), by_epochs=True)
    for picture in pictures.values():
        texts = texts_of(picture.chart.figure.to_plotly_json())
        assert not own & set(texts)
        # Its scale goes from nearly white to nearly black.
        assert not any(text.startswith("rgb(247,251,255)") for text in texts)
    assert own & set(texts_of(optuna.visualization.plot_timeline(study_of()).to_plotly_json()))


def test_best_trial_and_the_presets_own_are_marked():
    study = study_of()
    pictures, _ = drawn(study, own=3)
    history = {trace.name: trace for trace in pictures["history"].chart.figure.data}
    assert history["the preset's own"].y[0] == study.trials[3].value
    assert history["best so far"].y[-1] == study.best_value
    assert pictures["parallel"].chart.figure.data[-1].line.color == ORANGE
    assert pictures["parallel"].chart.figure.data[-1].y[0] == 0.0
    first = pictures["slice"].chart.figure.data[0]
    (place,) = [at for at, colour in enumerate(first.marker.color) if colour == ORANGE]
    assert first.text[place] == f"trial {study.best_trial.number}"


def test_best_line_is_the_highest_where_larger_is_better():
    pictures, _ = drawn(study_of(("maximize",)))
    lines = pictures["parallel"].chart.figure.data
    assert (lines[-1].line.color, lines[-1].y[0]) == (ORANGE, 1.0)
    assert lines[0].line.color == "rgb(139, 145, 155)"
    assert BASELINE_COLOUR == "#8b919b"


def test_importances_are_those_of_the_better_trials_whichever_way_is_better():
    # What is large is decided by the rate, what is small by the lookback.
    def value(rate, lookback):
        return (10.0 if rate > 0.05 else 0.1 * lookback / 64.0,)

    for direction in ("minimize", "maximize"):
        study = study_of((direction,), value=value)
        pictures, _ = drawn(study)
        (bars,) = pictures["importances"].chart.figure.data
        ours = dict(zip(bars.y, bars.x, strict=True))
        for name, share in optuna.importance.get_param_importances(study).items():
            assert ours[name] == pytest.approx(share)
    with pytest.warns(UserWarning, match="achieve low"):
        other = optuna.importance.get_param_importances(study, target=lambda one: one.value)
    assert ours["data.lookback"] != pytest.approx(other["data.lookback"])


def test_picture_that_there_is_nothing_of_is_left_out_with_the_reason():
    pictures, left_out = drawn(study_of(trials=1))
    assert left_out == {"Importances": "it takes two complete trials"}
    assert "history" in pictures
    _, left_out = drawn(study_of(value=lambda rate, lookback: (0.5,)))
    assert left_out == {"Importances": "the trials are too few, or too much alike, to tell"}


def test_single_parameter_has_no_importance():
    study = optuna.create_study()
    study.optimize(lambda trial: trial.suggest_float("a", 0, 1), n_trials=5)
    _, left_out = drawn(study)
    assert left_out == {"Importances": "there is one parameter alone"}


def test_trials_without_parameters_have_a_history_alone():
    study = optuna.create_study()
    for value in (1.0, 2.0):
        study.add_trial(optuna.create_trial(value=value))
    pictures, left_out = drawn(study)
    assert set(pictures) == {"history", "timeline"}
    assert left_out["Slices"] == "no complete trial has a parameter"


def test_epochs_that_nobody_reported_are_left_out():
    study = optuna.create_study()
    study.optimize(lambda trial: trial.suggest_float("a", 0, 1), n_trials=2)
    _, left_out = drawn(study, by_epochs=True)
    assert left_out["Epochs"] == "no trial has reported an epoch"


def test_pruned_trials_are_told_apart_from_those_that_ran_to_the_end():
    study = study_of(trials=5)
    for trial in study_of(trials=4, state=TrialState.PRUNED).trials:
        study.add_trial(trial)
    pictures, _ = drawn(study, by_epochs=True)
    kinds = [trace.name for trace in pictures["epochs"].chart.figure.data]
    assert {name: kinds.count(name) for name in kinds} == {"complete": 4, "pruned": 4, "best": 1}
    assert kinds[-1] == "best"
    bars = {trace.name: len(trace.y) for trace in pictures["timeline"].chart.figure.data}
    assert bars == {"complete": 5, "pruned": 4}


def test_names_are_text_and_no_markup():
    pictures, _ = drawn(study_of(), ("<b>loss</b>",), by_epochs=True)
    for picture in pictures.values():
        texts = texts_of(picture.chart.figure.to_plotly_json())
        # What names the hidden second box of a label is the library's own.
        texts = [text.replace("<extra></extra>", "").replace("<br>", "") for text in texts]
        shown = [text for text in texts if "<" in text and "evil" not in text]
        assert shown == [], picture.chart.key


def test_many_trials_leave_the_best_lines():
    pictures, _ = drawn(study_of(trials=250), by_epochs=True)
    assert len(pictures["parallel"].chart.figure.data) == 200
    assert "The best 200 of 250." in pictures["parallel"].chart.caption
    assert len(pictures["epochs"].chart.figure.data) <= 201


def test_optuna_says_nothing_of_its_own(caplog):
    optuna.logging.enable_propagation()
    try:
        with caplog.at_level(logging.DEBUG):
            drawn(study_of(trials=2), by_epochs=True)
        before = optuna.logging.get_verbosity()
        assert [one for one in caplog.records if "visualization" in one.name] == []
        assert optuna.logging.get_verbosity() == before
    finally:
        optuna.logging.disable_propagation()
