"""`predict` without a trained model, where the user asks for that."""

from __future__ import annotations

import pytest

from lightning_models.forecasters.untrained import UNTRAINED_NOTE, predictor_of_name

UNTRAINED = "statistical:1h"
MISSING = "models:/nobody@champion"


@pytest.mark.parametrize(
    "named", [(UNTRAINED,), (MISSING, "--fallback", UNTRAINED)], ids=["model", "fallback"]
)
def test_a_symbol_without_a_model_is_forecast_and_the_output_says_how(named, cli, market, tmp_path):
    predictor_of_name.cache_clear()
    asked = ("--data", market.sim_file, "--json", "--home", tmp_path)
    ended = cli("predict", "--model", *named, *asked)
    assert ended.code == 0, ended
    (forecast,) = ended.json
    assert (forecast["symbol"], forecast["model"]) == ("SIM/USDT", UNTRAINED)
    assert UNTRAINED_NOTE in ended.err
    assert ("no model" in ended.err) == (len(named) > 1)


def test_without_being_asked_for_it_is_not_used(cli, market, tmp_path):
    asked = ("--data", market.sim_file, "--home", tmp_path)
    cli("predict", "--model", MISSING, *asked).failed("no model 'models:/nobody@champion'")
    ended = cli("predict", "--model", "statistical", *asked)
    ended.failed("give statistical:TIMEFRAME", code=2)
