"""What trials are measured by is the user's to say, and no search's to change."""

from __future__ import annotations

import pytest

from experiments.account_config import AccountConfig
from experiments.settings import validated
from experiments.tuning.config import StudyConfig
from experiments.tuning.loading import space_of, starting_point
from lightning_models.errors import ConfigError

TRADING = {"objective": {"kind": "trading"}, "backtest": {"strategy": "lstm_fast"}}
COSTS = [name for name in AccountConfig.model_fields if name not in ("leverage", "margin_mode")]


def space(parameters, **further):
    content = {"name": "tried", "preset": "logistic-regression", **further, "space": parameters}
    config = validated(StudyConfig, content, origin="study tried")
    return space_of(config, starting_point(config))


def refusal(parameters, **further):
    with pytest.raises(ConfigError) as refused:
        space(parameters, **further)
    return str(refused.value)


@pytest.mark.parametrize(
    "name", [*COSTS, "seed", "replications", "doubled_costs", "calibrate_score"]
)
def test_costs_and_account_belong_under_backtest(name):
    assert refusal({f"backtest.{name}": [0, 1]}, **TRADING) == (
        f"study tried: space.backtest.{name} is what trials are measured by: give it under "
        "backtest instead"
    )


@pytest.mark.parametrize(
    "name",
    ["training.seed", "training.threads", "training.accelerator", "training.checkpoint_seconds",
     "data.slices", "data.slices.test"],
)  # fmt: skip
@pytest.mark.parametrize("kind", [{}, TRADING])
def test_seeds_slices_and_the_machine_belong_under_settings(name, kind):
    assert f"space.{name} is what trials are measured by: give it under settings" in refusal(
        {name: [1, 2]}, **kind
    )


@pytest.mark.parametrize(
    "name", ["model", "in_sample", "any_timeframe", "start", "end", "days_back", "trials"]
)
def test_folds_decide_the_model_and_the_period(name):
    told = f"backtest.{name} is decided by the folds: leave it out"
    assert f"space.{told}" in refusal({f"backtest.{name}": [1, 2]}, **TRADING)
    fixed = {"strategy": "lstm_fast", name: 1}
    assert refusal({"data.lookback": [30]}, **{**TRADING, "backtest": fixed}) == (
        f"study tried: {told}"
    )


@pytest.mark.parametrize(
    "objective",
    [{"kind": "forecast"}, [{"kind": "trading"}, {"kind": "forecast"}]],
)
@pytest.mark.parametrize("name", ["data.horizons", "data.horizons.0", "data.target"])
def test_losses_of_different_questions_are_not_compared(objective, name):
    backtest = {"backtest": TRADING["backtest"]} if isinstance(objective, list) else {}
    told = refusal({name: [1, 4]}, objective=objective, **backtest)
    assert f"space.{name} asks each trial another question" in told
    assert "make a study of each, or give an objective of kind trading alone" in told


def test_what_different_questions_earn_is_compared():
    horizons = space({"data.horizons": {"choices": {"one": [1], "four": [4]}}}, **TRADING)
    assert horizons.configure({"data.horizons": [4]}).train.data.horizons == (4,)
    targets = ["triple-barrier", "horizon-return"]
    for asked in (targets, targets[::-1]):
        found = space({"data.target": asked}, **TRADING)
        assert found.own_values() == {"data.target": "horizon-return"}
        barriers = found.configure({"data.target": "triple-barrier"}).train.data.target
        assert barriers.name == "triple-barrier"
    found = space({"data.target": targets}, **TRADING, settings={"data.target": "triple-barrier"})
    assert found.own_values() == {"data.target": "triple-barrier"}


@pytest.mark.parametrize("name", ["data", "training"])
def test_a_whole_section_with_the_yardstick_in_it_is_not_searched(name):
    told = refusal({name: [{"epochs": 3}, {"epochs": 5}]})
    assert f"space.{name} is a whole section, {name}." in told
    assert "one by one" in told


def test_a_preset_is_no_parameter():
    assert "make a study of each preset, or search network.kind" in refusal({"preset": ["a", "b"]})


def test_risk_and_everything_else_can_be_searched():
    found = space(
        {
            "backtest.leverage": [1.0, 3.0],
            "backtest.margin_mode": ["isolated", "cross"],
            "backtest.risk_per_trade": {"low": 0.01, "high": 0.03},
            "network.l2": {"low": 0.1, "high": 1.0},
            "training.batch_size": [32, 64],
            "data.lookback": [30, 60],
        },
        **TRADING,
    )
    assert len(found.names) == 6


def test_fixed_costs_are_every_trials():
    backtest = {"strategy": "lstm_fast", "taker_fee": 0.001, "cash": 500.0, "seed": 3}
    fixed = {**TRADING, "backtest": backtest}
    found = space({"backtest.atr_stop": [1.0, 2.0]}, settings={"training.seed": 4}, **fixed)
    for stop in (1.0, 2.0):
        candidate = found.configure({"backtest.atr_stop": stop})
        assert (candidate.backtest.taker_fee, candidate.backtest.cash) == (0.001, 500.0)
        assert candidate.train.training.seed == 4
