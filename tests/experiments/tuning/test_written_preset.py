"""The preset of a study's best trial: read back it is that trial, and its commands trade it."""

from __future__ import annotations

import shlex

import pytest
import yaml

from experiments.config import BacktestConfig, validated
from experiments.presets import load_train_config, preset_names
from experiments.tuning.candidate import MODEL, Candidate, StartingPoint
from experiments.tuning.study_record import StudyData
from experiments.tuning.written_preset import (
    backtest_command,
    preset_file,
    preset_text,
    train_command,
)

DATA = StudyData(
    symbols=("BTC/USDT",),
    timeframe="1h",
    market="continuous",
    fingerprint="0" * 64,
    holdout_from=0,
    until=1,
    sources=("my data/BTC_USDT.parquet",),
)


def traded(**fields) -> Candidate:
    start = StartingPoint(load_train_config("quickstart"), fields)
    return start.with_values({}, origin="a study")


def options_of(command: str) -> dict[str, list[str]]:
    """What a shell makes of a command: the values of each option."""
    found: dict[str, list[str]] = {}
    words = shlex.split(command)[2:]
    while words:
        name = words.pop(0)
        assert name.startswith("--")
        given = words and not words[0].startswith("--")
        found.setdefault(name, []).append(words.pop(0) if given else "")
    return found


@pytest.mark.parametrize("preset", preset_names())
def test_every_configuration_is_read_back_equal(preset, tmp_path):
    config = load_train_config(preset, ["training.learning_rate=0.00012345678901234"])
    path = tmp_path / "btc-best.yaml"
    path.write_text(preset_text(Candidate(config, None), {"Study": "btc, trial 12"}))
    assert load_train_config(str(path)) == config.model_copy(update={"preset": "btc-best"})


def test_every_field_is_written_so_that_later_defaults_change_nothing():
    config = load_train_config("quickstart")
    content = yaml.safe_load(preset_text(Candidate(config, None), {}))
    assert set(content) == {"network", "data", "training"}
    for part in content:
        assert set(content[part]) == set(getattr(config, part).model_dump(mode="json"))
    assert content["data"]["features"][0] == "close"


def test_heading_is_of_comments_whatever_it_says():
    candidate = Candidate(load_train_config("quickstart"), None)
    evil = "luck\nnetwork: {kind: zero-return}\r\n---\u2028data: 1"
    text = preset_text(candidate, {"Verdict": evil}, ["train\nnetwork: 1"])
    heading, _, rest = text.partition("\nnetwork:")
    assert all(line.startswith("#") for line in heading.split("\n"))
    assert yaml.safe_load(f"network:{rest}") == yaml.safe_load(text)
    assert text.split("\n")[0] == "# Verdict: luck network: {kind: zero-return} --- data: 1"
    # Without it the study's text would be a part of the preset.
    assert yaml.safe_load(evil.partition("\r")[0].partition("\n")[2])["network"]


def test_long_lines_of_the_heading_are_folded_and_commands_are_not():
    candidate = Candidate(load_train_config("quickstart"), None)
    command = "lstm-strategies train " + "--set a=1 " * 30
    text = preset_text(candidate, {"Verdict": "no edge found " * 40}, [command])
    lines = [line for line in text.split("\n") if line.startswith("#")]
    assert max(len(line) for line in lines[:-1]) <= 100
    assert lines[-1] == f"# {command.rstrip()}"


def test_command_trains_the_preset():
    command = train_command("btc-1h", "reports/btc-1h-best.yaml", DATA)
    assert options_of(command) == {
        "--preset": ["reports/btc-1h-best.yaml"],
        "--data": ["my data/BTC_USDT.parquet"],
        "--timeframe": ["1h"],
        "--name": ["btc-1h"],
        "--promote": [""],
    }


def test_candles_without_a_file_are_left_for_the_reader_to_name():
    data = DATA.model_copy(update={"sources": (), "market": "sessions"})
    options = options_of(train_command("es", "es-best.yaml", data))
    assert (options["--data"], options["--market"]) == (["CANDLES"], ["sessions"])


def test_command_trades_as_the_trial_did():
    candidate = traded(
        strategy="lstm",
        min_confidence=0.5234567,
        leverage=3.0,
        taker_fee=0.0005,
        margin_mode="cross",
        use_llm=False,
        parameters={"weight_technical": 0.3},
    )
    options = options_of(backtest_command("btc-1h", candidate, DATA, trials=38))
    assert options["--strategy"] == ["lstm"]
    given = {"strategy": "lstm", "model": MODEL}
    read = validated(BacktestConfig, given, options["--set"], origin="backtest")
    # What was searched through counts in the backtest's own verdict.
    assert read == candidate.backtest.model_copy(update={"trials": 38})
    assert "leverage=3.0" in options["--set"]


def test_command_says_nothing_that_is_usual():
    options = options_of(backtest_command("btc-1h", traded(), DATA, trials=1))
    assert "--set" not in options
    assert options["--model"] == ["models:/btc-1h@champion"]


def test_strategy_that_needs_no_model_is_given_none():
    candidate = traded(strategy="supertrend", parameters={"supertrend_period": 14})
    options = options_of(backtest_command("btc-1h", candidate, DATA, trials=1))
    assert "--model" not in options
    assert options["--set"] == ["parameters.supertrend_period=14"]


def test_file_is_called_after_the_study():
    assert preset_file("btc-1h") == "btc-1h-best.yaml"
    assert preset_file("../up") == ".._up-best.yaml"
