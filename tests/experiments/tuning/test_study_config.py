"""A study's configuration: what it holds, and what cannot go together."""

from __future__ import annotations

import pytest
import yaml

from experiments.presets import preset_names, study_names
from experiments.settings import validated
from experiments.tuning.config import StudyConfig
from experiments.tuning.loading import load_study
from lightning_models.errors import ConfigError

BASIC = {"name": "tried", "preset": "univariate", "space": {"data.lookback": [30, 60]}}


def study(**further):
    return validated(StudyConfig, {**BASIC, **further}, origin="study tried")


def test_one_objective_stands_by_itself_or_in_a_list():
    alone = study(objective={"kind": "forecast", "metric": "crps"})
    listed = study(objective=[{"kind": "forecast", "metric": "crps"}])
    assert alone == listed
    assert alone.directions == ("minimize",)


def test_a_field_and_a_part_of_it_go_together_where_conditions_keep_them_apart():
    space = {
        "network.kind": ["lstm", "univariate"],
        "network.units": {"choices": [[8], [16]], "when": {"network.kind": ["lstm"]}},
        "network.units.0": {"choices": [4, 8], "when": {"network.kind": ["univariate"]}},
    }
    assert list(study(space=space).space) == list(space)


@pytest.mark.parametrize(
    ("metric", "direction"),
    [("sharpe_ratio", "maximize"), ("win_rate", "maximize"), ("max_drawdown_pct", "minimize")],
)
def test_what_is_better_follows_from_the_figure(metric, direction):
    assert study(objective={"kind": "trading", "metric": metric}).directions == (direction,)


@pytest.mark.parametrize(
    ("further", "told"),
    [
        ({"preset": None}, "give either preset or after"),
        ({"after": "earlier"}, "give either preset or after"),
        (
            {"objective": {"kind": "trading", "metric": "sharp_ratio"}},
            "did you mean 'sharpe_ratio'",
        ),
        ({"objective": {"kind": "forcast"}}, "did you mean 'forecast'?"),
        ({"pruning": {"kind": "epochs", "method": "medain"}}, "'median'"),
        (
            {
                "objective": [{"kind": "forecast"}, {"kind": "trading"}],
                "pruning": {"kind": "folds"},
            },
            "two objectives cannot be pruned",
        ),
        (
            {
                "objective": [{"kind": "forecast"}, {"kind": "trading"}],
                "stopping": {"stagnation": 5},
            },
            "two objectives have no single best trial",
        ),
        ({"space": {}}, "space"),
        (
            {"space": {"network.units": [[8], [16]], "network.units.0": [4, 8]}},
            "space has network.units, and network.units.0 which is a part of it",
        ),
        ({"space": {"data.bridged_share": [0.0, 0.1]}}, "give it under settings instead"),
        ({"holdout": 0.9}, "give at most 0.5"),
        ({"sampler": {"kind": "tep"}}, "'tpe'"),
        ({"stopping": {"trials": 0}}, "stopping.trials=0: give more than 0"),
        ({"spaec": {}}, "did you mean 'space'?"),
    ],
)
def test_what_cannot_be_meant_is_refused(further, told):
    with pytest.raises(ConfigError) as refused:
        study(**further)
    assert told in str(refused.value)


def test_a_field_that_is_there_twice_is_told_with_both_lines(tmp_path):
    path = tmp_path / "study-mine.yaml"
    path.write_text(
        "preset: univariate\nspace:\n  data.lookback: [30, 60]\n  data.lookback: [20, 90]\n"
    )
    with pytest.raises(ConfigError) as refused:
        load_study(path)
    assert "line 4, column 3: data.lookback is there twice, first on line 3" in str(refused.value)


def test_a_fold_of_a_few_trades_does_not_count_unless_asked_for():
    assert study(objective={"kind": "trading"}).objective[0].min_trades == 5
    asked = study(objective={"kind": "trading", "min_trades": 0})
    assert asked.objective[0].min_trades == 0
    with pytest.raises(ConfigError, match="min_trades=-1: give at least 0"):
        study(objective={"kind": "trading", "min_trades": -1})


def test_a_study_is_called_by_its_file(tmp_path):
    path = tmp_path / "study-mine.yaml"
    path.write_text(yaml.safe_dump({key: BASIC[key] for key in ("preset", "space")}))
    assert load_study(path).name == "mine"
    assert load_study(path, name="other").name == "other"
    assert load_study(path, ["stopping.trials=7"]).stopping.trials == 7


def test_shipped_studies_are_no_presets():
    assert not set(study_names()) & set(preset_names())
    assert all(name.startswith("study-") for name in study_names())


def test_a_study_given_as_an_object_takes_settings_too():
    changed = load_study(study(), ["stopping.trials=3", "holdout=0.2"])
    assert (changed.stopping.trials, changed.holdout) == (3, 0.2)


def test_a_configuration_survives_the_storage():
    config = study(
        objective=[{"kind": "forecast"}, {"kind": "trading", "metric": "win_rate"}],
        space={"network.dropout": {"low": 0.0, "high": 0.5, "when": {"data.lookback": 30}},
               "data.lookback": {"choices": {"short": 30, "long": 60}}},
    )  # fmt: skip
    assert StudyConfig.model_validate(config.model_dump(mode="json")) == config
