"""A study's search space: what it draws, and what it refuses before the first trial."""

from __future__ import annotations

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FixedTrial

from experiments.settings import validated
from experiments.tuning.config import StudyConfig
from experiments.tuning.loading import space_of, starting_point
from lightning_models.errors import ConfigError


def study(space, **further):
    content = {"name": "tried", "preset": "price-predictor", **further, "space": space}
    return validated(StudyConfig, content, origin="study tried")


def space(parameters, **further):
    config = study(parameters, **further)
    return space_of(config, starting_point(config))


def trading(parameters, **further):
    objective = {"objective": {"kind": "trading"}, "backtest": {"strategy": "lstm_fast"}}
    return space(parameters, **objective, **further)


def test_numbers_are_whole_where_the_configurations_own_is():
    found = space(
        {
            "data.lookback": {"low": 20, "high": 100, "step": 20},
            "network.dropout": {"low": 0, "high": 0.5},
            "training.learning_rate": {"low": 1e-4, "high": 1e-2, "log": True},
        }
    )
    assert found.distributions == {
        "data.lookback": IntDistribution(20, 100, step=20),
        "network.dropout": FloatDistribution(0.0, 0.5),
        "training.learning_rate": FloatDistribution(1e-4, 1e-2, log=True),
    }


def test_a_range_of_written_whole_numbers_over_a_fraction_draws_fractions():
    found = space({"training.weight_decay": {"low": 0, "high": 1}})
    assert found.distributions["training.weight_decay"] == FloatDistribution(0.0, 1.0)


@pytest.mark.parametrize(
    ("low", "high", "step", "end"), [(16, 50, 16, 48), (16, 16, 4, 16), (16, 48, 16, 48)]
)
def test_an_end_between_two_steps_is_lowered_to_a_step(low, high, step, end):
    found = space({"data.lookback": {"low": low, "high": high, "step": step}})
    assert found.distributions["data.lookback"].high == end


def test_a_fractional_end_between_two_steps_is_lowered_too():
    found = space({"network.dropout": {"low": 0.0, "high": 0.5, "step": 0.2}})
    assert found.distributions["network.dropout"].high == pytest.approx(0.4)


def test_choices_of_any_kind_reach_the_configuration():
    found = space(
        {
            "network.units": [[8, 8, 8], [16, 8, 8]],
            "data.features": {
                "choices": {
                    "plain": ["close"],
                    "more": ["close", {"name": "rsi", "parameters": {"period": 7}}],
                }
            },
        }
    )
    assert found.distributions["network.units"] == CategoricalDistribution(
        ("[8, 8, 8]", "[16, 8, 8]")
    )
    assert found.distributions["data.features"] == CategoricalDistribution(("plain", "more"))
    values = found.suggest(FixedTrial({"network.units": "[16, 8, 8]", "data.features": "more"}))
    candidate = found.configure(values)
    assert candidate.train.network.units == (16, 8, 8)
    assert [one.name for one in candidate.train.data.features] == ["close", "rsi"]
    assert candidate.train.data.features[1].parameters == {"period": 7.0}


def test_an_entry_of_a_list_is_named_by_its_number():
    found = space({"network.units.0": {"low": 16, "high": 256}})
    candidate = found.configure(found.suggest(FixedTrial({"network.units.0": 100})))
    assert candidate.train.network.units == (100, 64, 32)


def test_a_condition_keeps_a_parameter_out_of_the_trials_it_does_not_concern():
    found = space(
        {
            "network.layers": {"low": 1, "high": 3, "when": {"network.kind": "multi-layer"}},
            "network.kind": ["price-predictor", "multi-layer"],
        }
    )
    assert found.names == ("network.kind", "network.layers")
    without = found.suggest(FixedTrial({"network.kind": "price-predictor"}))
    assert without == {"network.kind": "price-predictor"}
    with_it = found.suggest(FixedTrial({"network.kind": "multi-layer", "network.layers": 3}))
    assert found.configure(with_it).train.network.layers == 3


def test_conditions_follow_one_another():
    found = trading(
        {
            "backtest.strategy": ["lstm_fast", "supertrend"],
            "backtest.trailing_stop": {
                "choices": [0.0, 3.0],
                "when": {"backtest.strategy": ["supertrend"]},
            },
            "backtest.atr_stop": {
                "low": 1.0,
                "high": 4.0,
                "when": {"backtest.trailing_stop": 0.0},
            },
        }
    )
    drawn = {"backtest.strategy": "supertrend", "backtest.trailing_stop": 0.0}
    values = found.suggest(FixedTrial({**drawn, "backtest.atr_stop": 2.5}))
    assert found.configure(values).backtest.atr_stop == 2.5
    fast = found.suggest(FixedTrial({"backtest.strategy": "lstm_fast"}))
    assert fast == {"backtest.strategy": "lstm_fast"}


def test_another_kind_of_network_begins_from_its_own_defaults():
    found = space({"network.kind": ["price-predictor", "layer-norm"], "network.dropout": [0.2]})
    values = found.suggest(FixedTrial({"network.kind": "layer-norm", "network.dropout": 0.2}))
    network = found.configure(values).train.network
    assert (network.kind, network.dropout) == ("layer-norm", 0.2)


def test_the_presets_own_values_are_told_as_optuna_would_have_drawn_them():
    found = space(
        {
            "network.units": [[128, 64, 32], [32, 16, 8]],
            "network.kind": ["price-predictor", "multi-layer"],
            "network.layers": {"low": 1, "high": 3, "when": {"network.kind": "multi-layer"}},
            "data.lookback": {"low": 20, "high": 100, "step": 20},
        }
        | {"network.units": {"choices": [[128, 64, 32], [32, 16, 8]],
                             "when": {"network.kind": "price-predictor"}}}
    )  # fmt: skip
    own = found.own_values()
    assert own == {
        "network.kind": "price-predictor",
        "network.units": "[128, 64, 32]",
        "data.lookback": 60,
    }
    optuna_study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    optuna_study.enqueue_trial(own)
    candidate = found.configure(found.suggest(optuna_study.ask()))
    assert candidate == found.configure({})


def test_a_trial_is_restored_from_what_optuna_keeps():
    found = space(
        {"network.units": [[8, 8, 8], [16, 8, 8]], "data.lookback": {"low": 20, "high": 60}}
    )
    optuna_study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=3))
    trial = optuna_study.ask()
    values = found.suggest(trial)
    assert found.values_of(trial.params) == values


@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        ({"network.dropuot": [0.1]}, "did you mean 'network.dropout'?"),
        ({"netwrok.dropout": [0.1]}, "unknown key 'netwrok': did you mean 'network'?"),
        ({"network.dropout": {"low": 0.5, "high": 0.1}}, "low=0.5 is above high=0.1"),
        ({"network.dropout": {"low": 0.5, "high": 1.7}}, "network.dropout=1.7: give less than"),
        ({"training.learning_rate": {"low": 0, "high": 0.1, "log": True}}, "low=0 has no logar"),
        ({"network.dropout": {"low": 0, "high": 0.4, "log": True, "step": 1}}, "no logarithm"),
        ({"network.dropout": {"low": 0.1, "high": 0.4, "log": True, "step": 0.1}}, "both log and"),
        ({"data.lookback": {"low": 20.5, "high": 60}}, "give a whole number"),
        ({"data.lookback": {"low": 20, "high": 60, "step": 2.5}}, "2.5 is no whole number"),
        ({"data.lookback": {"low": 20, "hihg": 60}}, "high"),
        ({"data.lookback": []}, "at least 1"),
        ({"network.dropout": [0.1, 0.1]}, "a value is there twice"),
        ({"network.units.7": [1]}, "network.units.7 is no entry of a list of 3"),
        ({"network.dropout.high": [1]}, "network.dropout is a value and has no 'high'"),
        ({"network.kind": ["multi-layer", "multi-layr"]}, "did you mean 'multi-layer'?"),
        (
            {"network.dropout": {"choices": [0.1], "when": {"network.knid": "x"}}},
            "no such parameter in the space",
        ),
        (
            {
                "network.kind": ["multi-layer"],
                "network.layers": {"low": 1, "high": 2, "when": {"network.kind": "attention"}},
            },
            "attention is none of multi-layer: the condition can never hold",
        ),
        (
            {
                "data.lookback": {"low": 20, "high": 60},
                "network.dropout": {"choices": [0.1], "when": {"data.lookback": 20}},
            },
            "a range has no values to name",
        ),
        (
            {
                "network.dropout": {"choices": [0.1], "when": {"data.lookback": 60}},
                "data.lookback": {"choices": [60], "when": {"network.dropout": 0.1}},
            },
            "depend on each other",
        ),
        (
            {
                "network.kind": ["price-predictor", "multi-layer"],
                "network.units": [[8, 8, 8], [16, 8, 8]],
            },
            "needs when: {network.kind: …}",
        ),
        ({"backtest.min_confidence": [0.5]}, "no forecast objective depends on"),
        ({"network": {"dropout": {"low": 0.1, "high": 0.2}}}, "as network.dropout: {…}"),
        ({"data.lookback": {"low": 20, "high": 10**30}}, "high is beyond 2**53"),
        ({"data.lookback": {"choices": {"a\nb": 20}}}, "characters that cannot be printed"),
    ],
)
def test_a_space_that_cannot_work_is_refused_before_the_first_trial(parameters, told):
    with pytest.raises(ConfigError) as refused:
        space(parameters)
    assert told in str(refused.value)
    assert str(refused.value).startswith("study tried: ")


@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        ({"backtest.min_confidnce": [0.5]}, "did you mean 'min_confidence'?"),
        ({"backtest.risk_per_trade": {"low": 1, "high": 5}}, "give at most 1, a fraction"),
        ({"backtest.parameters.vote": [1]}, "has no parameter 'vote'"),
        (
            {
                "backtest.strategy": ["lstm_fast", "supertrend"],
                "backtest.parameters.supertrend_period": [7, 10],
            },
            "the strategy lstm_fast has no parameter 'supertrend_period'",
        ),
    ],
)
def test_what_trades_is_checked_as_the_strategy_would(parameters, told):
    with pytest.raises(ConfigError) as refused:
        trading(parameters)
    assert told in str(refused.value)


@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        ({"training.learning_rate": {"low": 0.01, "high": 0.1}}, "0.001 is outside 0.01 … 0.1"),
        ({"data.lookback": {"low": 25, "high": 100, "step": 10}}, "60 is not 25 plus a multiple"),
        ({"network.units": [[8, 8, 8], [16, 8, 8]]}, "is none of [8, 8, 8], [16, 8, 8]"),
    ],
)
def test_a_preset_outside_the_space_cannot_be_the_first_trial(parameters, told):
    with pytest.raises(ConfigError) as refused:
        space(parameters).own_values()
    assert told in str(refused.value)
    assert "preset_first: false" in str(refused.value)


def test_settings_move_what_the_search_starts_from():
    found = space(
        {"data.lookback": [30, 60]}, settings={"data.lookback": 30, "network.units": [8, 8, 8]}
    )
    assert found.own_values() == {"data.lookback": 30}
    assert found.configure({}).train.network.units == (8, 8, 8)


def test_settings_of_what_trades_belong_elsewhere():
    with pytest.raises(ConfigError, match="give what trades under backtest"):
        space({"data.lookback": [30]}, settings={"backtest.cash": 1.0})


def test_the_spans_of_conditions_true_and_1_are_told_apart():
    found = trading({"backtest.long_only": [True, False]})
    assert found.suggest(FixedTrial({"backtest.long_only": True}))["backtest.long_only"] is True
