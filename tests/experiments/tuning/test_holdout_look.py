"""What a look at a holdout says in words."""

from __future__ import annotations

import pytest

from experiments.tuning.holdout_look import HoldoutLook

ABOVE = {
    "opened_at": "2024-03-01T10:00:00+00:00",
    "trial": 2,
    "objectives": ("sharpe_ratio",),
    "values": (2.0,),
    "start": "2024-01-01T00:59:59.999Z",
    "end": "2024-02-28T00:59:59.999Z",
    "bars": 1_400,
    "trades": 50,
    "traded": True,
    "sharpe": 3.1,
    "sharpe_low": 1.2,
    "sharpe_high": 5.0,
    "sharpe_p": 0.001,
    "market_sharpe": 2.9,
    "excess_p": 0.01,
    "exposure": 0.6,
    "exposure_p": 0.01,
}


@pytest.mark.parametrize(
    ("further", "ending"),
    [
        ({}, "95% confidence."),
        ({"excess_p": 0.4}, "and not distinguishable from buy-and-hold."),
        (
            {"exposure_p": 0.4},
            "and not distinguishable from the same exposure at random times.",
        ),
        (
            {"excess_p": 0.4, "exposure_p": 0.026},
            "and not distinguishable from buy-and-hold or the same exposure at random times.",
        ),
        # A look from before this was asked says nothing of it.
        ({"exposure": None, "exposure_p": None}, "95% confidence."),
    ],
)
def test_what_may_explain_it_without_skill_is_named(further, ending):
    look = HoldoutLook(**(ABOVE | further))
    conclusion = look.words.partition(" Sharpe ratio ")[0]
    assert conclusion.endswith(ending)
    assert conclusion.startswith("Holdout, 1,400 bars from 2024-01-01 to 2024-02-28, opened once")


def test_too_few_trades_beat_nothing():
    look = HoldoutLook(**(ABOVE | {"trades": 29}))
    assert not look.is_above_luck
    assert not look.beats_market
    assert not look.beats_random_times
