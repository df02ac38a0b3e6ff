"""`lstm-strategies walk-forward`: what it prints, and what it refuses before it fits."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console

from experiments.cli.walk_forward import folds_table
from experiments.walk_forward import (
    FoldRecord,
    WalkForwardConfig,
    WalkForwardResult,
)
from experiments.walk_forward.result import spread_over_folds
from lightning_models.evaluation import ForecastScores


@pytest.fixture(scope="module")
def walk(cli, market, tiny_options, empty_home):
    """Two folds in this process, traded and reported."""
    home = empty_home().path
    return home, cli(
        "walk-forward", "--preset", "quickstart", "--data", market.sim_file, "--folds", "2",
        "--jobs", "1", "--scheme", "rolling", "--test-length", "10d", "--home", home,
        "--report", home / "report", "--min-confidence", "0.5", *tiny_options,
    )  # fmt: skip


def test_it_shows_folds_baselines_verdict_and_backtest_and_says_what_to_do_next(walk):
    home, ended = walk
    ended.done()
    told = " ".join(ended.out.split())
    for words in (
        "2 rolling folds of quickstart, 1h candles",
        "± sd",
        "gradient-boosting",
        "Seeds 0 to 1, one a fold",
        "Bounds made for 80% of outcomes",
        "registered as models:/quickstart-walk-forward/1 (champion)",
        "LSTMStrategy with models:/quickstart-walk-forward/1 on SIM/USDT",
    ):
        assert words in told
    assert "fold 2 of 2" in ended.err
    result = json.loads((home / "report" / "result.json").read_text())
    assert (result["slice"], result["model"]) == (
        "out_of_sample",
        "models:/quickstart-walk-forward/1",
    )


def test_the_registered_series_runs_in_every_other_command(walk, cli, market):
    home, _ = walk
    named = ["--model", "models:/quickstart-walk-forward@champion", "--data", market.sim_file]
    (row,) = cli("models", "--json", "--home", home).done().json
    assert row["name"] == "quickstart-walk-forward"
    (forecast,) = cli("predict", *named, "--json", "--home", home).done().json
    assert forecast["model"] == "models:/quickstart-walk-forward/1"
    # Before the first fold's test there is nothing to say, and it says so.
    cli("predict", *named, "--at", "2020-01-20", "--home", home).failed()


@pytest.mark.soak
def test_json_is_one_document_with_folds_and_backtests(cli, market, tiny_options, empty_home):
    command = [
        "walk-forward", "--preset", "quickstart", "--data", market.sim_file, "--folds", "1",
        "--jobs", "1", "--name", "alone", "--backtest", "--json", "--home", empty_home().path,
    ]  # fmt: skip
    found = cli(*command, *tiny_options).done().json
    assert found["model"] == "models:/alone/1"
    (fold,) = found["folds"]
    assert fold["tested_from"].endswith("Z")
    assert found["spread"] == []
    (traded,) = found["backtests"]
    assert traded["unseen_from"] == fold["tested_from"]


@pytest.mark.parametrize(
    ("options", "words", "code"),
    [
        (["--folds", "60"], ["3000 1h candles are too few for 60 folds", "candles are needed"], 1),
        (["--test-length", "20"], ["a test of 20 candles is too short"], 1),
        (["--test-length", "ninety"], ["unreadable test length 'ninety'"], 2),
        (["--scheme", "sliding"], ["scheme", "anchored", "rolling"], 2),
        (["--folds", "0"], ["folds"], 2),
        (["--jobs", "0"], ["--jobs 0 fits nothing"], 2),
        (["--backend", "losky"], ["did you mean 'loky'"], 2),
        (["--scheduler", "tcp://127.0.0.1:1"], ["add --backend dask"], 2),
        (["--min-confidence", "2"], ["min_confidence"], 2),
        (["--preset", "quickstat"], ["quickstart"], 2),
        (["--name", "a/b"], ["a/b"], 2),
    ],
)
def test_bad_options_are_refused_before_anything_is_fitted(
    cli, market, tmp_path, options, words, code
):
    preset = [] if "--preset" in options else ["--preset", "quickstart"]
    home = tmp_path / "home"
    ended = cli("walk-forward", *preset, "--data", market.sim_file, *options, "--home", home)
    ended.failed(*words, code=code)
    assert not list(home.glob("artifacts/*/*"))


@pytest.mark.parametrize("skill", [True, False])
def test_the_table_of_folds_is_whole_in_eighty_columns(skill):
    console = Console(width=80)
    with console.capture() as captured:
        console.print(folds_table(_result(folds=12, defined=skill)))
    lines = captured.get().splitlines()
    assert max(len(line.rstrip()) for line in lines) <= 80
    assert "…" not in captured.get()
    rows = [line.split() for line in lines if line[:1].isdigit() and "folds" not in line]
    assert [row[0] for row in rows] == [str(number) for number in range(1, 13)]


def _result(*, folds, defined):
    # Large figures, and scores that too few forecasts leave undefined.
    figures = {"log_loss", "log_loss_gain", "auc", "brier", "ece", "directional_accuracy"}
    given = {f"{name}{bound}": -0.12345 for name in figures for bound in ("", "_low", "_high")}
    base = ForecastScores.model_construct(
        **dict.fromkeys(ForecastScores.model_fields) | (given if defined else {})
    )
    scores = base.model_copy(update={"n": 1_234_567, "level": 0.95})
    begin = datetime(2017, 8, 17, tzinfo=UTC)
    records = tuple(
        FoldRecord.model_construct(
            number=number, best_epoch=1000, scores=scores, seed=number,
            tested_from=begin + timedelta(days=90 * number),
            tested_to=begin + timedelta(days=90 * (number + 1)),
        )
        for number in range(1, folds + 1)
    )  # fmt: skip
    return WalkForwardResult.model_construct(
        folds=records, config=WalkForwardConfig(folds=folds), preset="price-predictor",
        timeframe="15m", spread=spread_over_folds(records),
        joined=type("Joined", (), {"scores": scores})(),
    )  # fmt: skip
