"""A study's best trial as a preset that can be trained and traded."""

from __future__ import annotations

import shlex
import textwrap
from typing import TYPE_CHECKING, Any

import yaml

from experiments.config import BacktestConfig, flatten, validated
from experiments.tuning.candidate import MODEL

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from experiments.tuning.candidate import Candidate
    from experiments.tuning.study_record import StudyData
    from experiments.tuning.study_report import StudyReport

__all__ = ["backtest_command", "heading_of", "preset_file", "preset_text", "train_command"]

_WIDTH = 98

# Where a study was given candles that are in no file.
_NO_SOURCE = "CANDLES"


def preset_file(study: str) -> str:
    """Return what the file of a study's best trial is called.

    Examples
    --------
    >>> preset_file("btc-6h"), preset_file("a/b")
    ('btc-6h-best.yaml', 'a_b-best.yaml')
    """
    return f"{_plain(study)}-best.yaml"


def preset_text(candidate: Candidate, told: Mapping[str, str], commands: Sequence[str] = ()) -> str:
    """Return a configuration as a preset, after a heading of comments.

    What is read back is the trial's configuration, but for its name, which is the file's. Every
    field is written, the defaults too: a later release may have other ones.

    Parameters
    ----------
    candidate
        Of the trial.
    told
        The heading: what each line is about, and what it says. Line breaks are folded, so that
        no text can become a part of the preset.
    commands
        To be copied, each on a line of its own.
    """
    lines = []
    for what, text in told.items():
        words = " ".join(f"{what}: {text}".split())
        lines += textwrap.wrap(
            words,
            _WIDTH,
            subsequent_indent="  ",
            break_long_words=False,
            break_on_hyphens=False,
        )
    if commands:
        lines.append("")
        lines += [" ".join(command.splitlines()) for command in commands]
    heading = "".join(f"# {line}".rstrip() + "\n" for line in lines)
    content = candidate.train.model_dump(mode="json", exclude={"preset"})
    content["data"]["features"] = [_feature(one) for one in content["data"]["features"]]
    return heading + yaml.safe_dump(
        content, sort_keys=False, default_flow_style=None, width=_WIDTH, allow_unicode=True
    )


def heading_of(report: StudyReport) -> dict[str, str]:
    """Return what the heading of a preset says of the study that found it.

    Parameters
    ----------
    report
        Of the study.
    """
    values = "; ".join(
        f"{value:.5g} ({objective.words})"
        for objective, value in zip(report.objectives, report.best.values, strict=True)
    )
    told = {
        "Study": f"{report.study}, trial {report.best.number}, {report.made_at[:10]}",
        "Trials": f"{report.counted:,} were searched through: {report.complete:,} complete, "
        f"{report.pruned:,} pruned, {report.earlier:,} of earlier studies",
        "Objective": values,
    }
    luck = report.luck
    if luck is not None:
        told |= {
            "Deflated Sharpe ratio": _probability(luck.deflated.probability),
            "Probability of backtest overfitting": _probability(luck.overfitting.probability),
            "Against buy-and-hold": f"p {_probability(luck.chosen_market_p)}, best of all trials "
            f"p {_probability(luck.market_p)} (test for superior predictive ability)",
        }
    data = f"{', '.join(report.symbols)}, {report.timeframe}"
    told |= {
        "Holdout": report.holdout_words,
        "Verdict": report.no_luck if luck is None else luck.verdict,
        "Data": f"{data}, fingerprint {report.data_fingerprint}",
    }
    return told | ({"Beware": report.warning} if report.warning else {})


def train_command(study: str, preset: str, data: StudyData) -> str:
    """Return the command that trains the preset, and makes the model its name's champion.

    Parameters
    ----------
    study
        Its name.
    preset
        Path of the file.
    data
        What the study was run on.
    """
    words = ["lstm-strategies", "train", "--preset", preset, *_data_options(data)]
    return shlex.join([*words, "--name", _plain(study), "--promote"])


def backtest_command(study: str, candidate: Candidate, data: StudyData, *, trials: int) -> str:
    """Return the command that trades what `train_command` trained, as the trial did.

    Parameters
    ----------
    study
        Its name.
    candidate
        Of the trial; it trades.
    data
        What the study was run on.
    trials
        That were made, for the deflated Sharpe ratio.
    """
    from lstm_strategies.strategies import strategy_named  # backtrader takes its time

    config = candidate.backtest
    assert config is not None
    words = ["lstm-strategies", "backtest", "--strategy", config.strategy, *_data_options(data)]
    if strategy_named(config.strategy).needs_model:
        words += ["--model", f"models:/{_plain(study)}@champion"]
    # What the command would take by itself need not be said.
    usual = validated(
        BacktestConfig, {"strategy": config.strategy, "model": MODEL}, origin="backtest"
    )
    asked = config.model_copy(update={"trials": trials, "model": MODEL})
    before, now = (flatten(one.model_dump(mode="json")) for one in (usual, asked))
    for path, value in now.items():
        if path not in before or before[path] != value:
            words += ["--set", f"{path}={_value(value)}"]
    return shlex.join(words)


def _data_options(data: StudyData) -> list[str]:
    words = [word for one in data.sources or (_NO_SOURCE,) for word in ("--data", one)]
    words += ["--timeframe", data.timeframe]
    if data.market != "continuous":
        words += ["--market", data.market]
    return words


def _feature(feature: dict[str, Any]) -> Any:
    # As the shipped presets write one without parameters.
    return feature if feature.get("parameters") else feature["name"]


def _value(value: Any) -> str:
    # A document of one scalar ends with a line of three dots.
    text = yaml.safe_dump(value, default_flow_style=True, width=1_000_000)
    return text.removesuffix("\n").removesuffix("\n...")


def _probability(value: float | None) -> str:
    return "not known" if value is None else f"{value:.3f}"


def _plain(study: str) -> str:
    from experiments.report.summary_table import folder_of

    return folder_of(study)
