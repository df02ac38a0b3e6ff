"""`lstm-strategies fine-tune`: what it prints, and what it refuses before it trains."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="module")
def tuned(cli, shop, market):
    return cli(
        "fine-tune", "--model", shop.champion, "--data", market.sim_file, "--name", "tuned",
        "--home", shop.home, "--set", "epochs=1", "--replay", "0.5",
    )  # fmt: skip


def test_it_shows_scores_whether_it_helped_and_what_was_registered(tuned, cli, shop):
    told = " ".join(tuned.done().out.split())
    for words in (
        "Test slice: candles the model has not seen",
        "ine-tuning helped: log-loss",
        "of models:/tiny/1 on the same",
        "registered as models:/tuned@champion (version 1), continuing models:/tiny/1, run ",
    ):
        assert words in told
    assert "models:/tiny/1 has seen nothing from 2020-" in " ".join(tuned.err.split())
    rows = cli("models", "--json", "--home", shop.home).done().json
    assert "tuned" in [row["name"] for row in rows]


def test_the_registered_model_forecasts(tuned, cli, shop, market):
    tuned.done()
    ended = cli(
        "predict", "--model", "models:/tuned@champion", "--data", market.sim_file, "--json",
        "--home", shop.home,
    )  # fmt: skip
    (forecast,) = ended.done().json
    assert forecast["model"] == "models:/tuned/1"


@pytest.mark.parametrize(
    ("options", "words", "code"),
    [
        (["--replay", "1.5"], ("replay", "less than 1"), 2),
        (["--set", "learning_rat=0.1"], ("learning_rat", "learning_rate"), 2),
        (["--set", "learning_rate=fast"], ("learning_rate", "number"), 2),
        (["--timeframe", "4h"], ("reads 1h candles", "--timeframe 1h"), 1),
        (["--model", "models:/tiny@champoin"], ("models:/tiny@champion",), 1),
        (["--model", "statistical:1h"], ("was never trained",), 2),
        (["--model", "."], ("is not a registered model",), 2),
        (["--set", "slices={train: 1}"], ("slices",), 2),
    ],
)
def test_what_cannot_be_done_is_said(cli, shop, market, options, words, code):
    given = {"--model": shop.champion, "--data": market.sim_file, "--home": shop.home}
    given |= dict(zip(options[::2], options[1::2], strict=True))
    command = [part for pair in given.items() for part in pair]
    cli("fine-tune", *command).failed(*words, code=code)


def test_candles_that_the_model_has_seen_are_not_enough(cli, shop, market, tmp_path):
    file = tmp_path / "SIM_USDT.parquet"
    market.sim.between(None, int(market.sim.time[2500])).to_frame().to_parquet(file)
    ended = cli("fine-tune", "--model", shop.champion, "--data", file, "--home", shop.home)
    ended.failed("0 come after", "models:/tiny/1 has seen them", "takes at least 234", code=1)
