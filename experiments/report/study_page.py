"""The page of a study: its verdict, what of it is luck, its best trial and all the others."""

from __future__ import annotations

import json
import logging
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.report.document import period_words, render_document
from experiments.report.numbers import NOTHING, number, span
from experiments.report.writing import put_in_place

if TYPE_CHECKING:
    from collections.abc import Sequence

    from experiments.tuning.holdout_look import HoldoutLook
    from experiments.tuning.luck import StudyLuck
    from experiments.tuning.study_figures import Picture, StudyFigures
    from experiments.tuning.study_record import StudyRecord
    from experiments.tuning.study_report import StudyReport, TrialSummary

__all__ = ["StudyFiles", "render_figure", "render_study", "write_study"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class StudyFiles:
    """Where the files of a study's report lie.

    Parameters
    ----------
    html
        One self-contained page.
    result
        `experiments.tuning.study_report.StudyReport` as JSON.
    preset
        The best trial's, YAML.
    """

    html: Path
    result: Path
    preset: Path


@dataclass(frozen=True)
class _Fact:
    # A row of a table: what it is called, its figure, and what that means.
    name: str
    value: str
    meaning: str


@dataclass(frozen=True)
class _TrialRow:
    trial: TrialSummary
    values: list[str]
    parameters: list[str]
    length: str
    mark: str


def write_study(
    report: StudyReport,
    record: StudyRecord,
    figures: StudyFigures,
    *,
    folder: Path,
    preset: str,
) -> StudyFiles:
    """Write a study's report into a folder, each file in its place as a whole.

    Parameters
    ----------
    report
        What was found.
    record
        Of the study.
    figures
        Its pictures, all of them on the page.
    folder
        Created where it is missing.
    preset
        Content of the file that `report.preset` names.

    Raises
    ------
    StorageError
        If the folder cannot be made or written.
    """
    files = StudyFiles(
        folder / "report.html", folder / "result.json", folder / Path(report.preset).name
    )
    put_in_place(
        folder,
        {
            files.html: render_study(report, record, figures).encode(),
            files.result: (report.model_dump_json(indent=2) + "\n").encode(),
            files.preset: preset.encode(),
        },
    )
    _log.info("wrote the report to %s", files.html)
    return files


def render_study(report: StudyReport, record: StudyRecord, figures: StudyFigures) -> str:
    """Return the page of a study as one HTML document that needs no network.

    Parameters
    ----------
    report
        What was found; every text of it is escaped.
    record
        Of the study.
    figures
        Its pictures.
    """
    names = [row.name for row in report.parameters]
    names += sorted({name for one in report.trials for name in one.parameters} - set(names))
    return render_document(
        "study.html.jinja",
        [one.chart for one in figures.pictures],
        report=report,
        objectives="; ".join(one.words for one in report.objectives),
        trials=_trials_words(report),
        luck=[] if report.luck is None else _luck_rows(report.luck),
        holdout=[] if report.holdout is None else _holdout_rows(report, report.holdout),
        best=_best_rows(report),
        pictures=figures.pictures,
        left_out=figures.left_out,
        names=names,
        rows=[_row(one, names, report) for one in report.trials],
        configuration=_configuration(record),
    )


def render_figure(report: StudyReport, picture: Picture) -> str:
    """Return one picture of a study as an HTML document that needs no network.

    Parameters
    ----------
    report
        Of the study.
    picture
        What to draw.
    """
    return render_document(
        "study_figure.html.jinja", [picture.chart], report=report, picture=picture
    )


def _luck_rows(luck: StudyLuck) -> list[_Fact]:
    over = luck.overfitting
    return [
        _Fact(
            "Trials searched through",
            f"{luck.trials:,}",
            f"{luck.complete:,} complete with returns over {luck.bars:,} bars, {luck.pruned:,} "
            f"pruned, {luck.earlier:,} of earlier studies. Those that resemble each other count as "
            f"fewer: as {luck.independent:,.1f}.",
        ),
        _Fact(
            "Sharpe ratio of the best trial",
            number(luck.sharpe),
            f"A year, out of sample{_costs(luck)}. {_interval(luck.sharpe_low, luck.sharpe_high)}",
        ),
        _Fact(
            "Expected of luck",
            number(luck.expected_maximum),
            "What the best of as many trials without any skill shows on average.",
        ),
        _Fact(
            "Deflated Sharpe ratio",
            _down(luck.deflated.probability),
            "Probability that the true Sharpe ratio is above that; 0.95 would show it.",
        ),
        _Fact(
            "Sharpe ratio of buy-and-hold",
            number(luck.buy_and_hold),
            "Over the same bars, without costs.",
        ),
        _Fact(
            "Best trial against buy-and-hold, p",
            number(luck.chosen_market_p, 3),
            "Chance of being so much better than the market by luck, after all trials; 0.025 or "
            "less shows it.",
        ),
        _Fact(
            "Any trial against buy-and-hold, p",
            number(luck.market_p, 3),
            "The same of whichever trial is furthest above (Hansen's test).",
        ),
        _Fact(
            "Probability of backtest overfitting",
            _up(over.probability),
            "How often the best trial of one half of the bars is at or below the median in the "
            "other half; half of the time says that choosing tells nothing.",
        ),
        _Fact(
            "Sharpe ratio a bar, chosen half and other half",
            NOTHING
            if over.in_sample is None or over.out_of_sample is None
            else f"{over.in_sample:.3f}, {over.out_of_sample:.3f}",
            "Of the best trial of one half, there and in the other half, on average.",
        ),
    ]


def _holdout_rows(report: StudyReport, look: HoldoutLook) -> list[_Fact]:
    searched = report.best.values if report.best.number == look.trial else ()
    rows = [
        _Fact(
            name,
            f"{value:.5g}",
            f"It was {searched[place]:.5g} in the search, over all folds and made worse by their "
            "dispersion."
            if searched
            else "The objective.",
        )
        for place, (name, value) in enumerate(zip(look.objectives, look.values, strict=True))
    ]
    rows += [
        _Fact("Bars", f"{look.bars:,}", f"{period_words(look.start, look.end)}, UTC."),
        _Fact(
            "Sharpe ratio",
            number(look.sharpe),
            f"A year. {_interval(look.sharpe_low, look.sharpe_high, alone=False)}",
        ),
        _Fact("Sharpe ratio of buy-and-hold", number(look.market_sharpe), "Over the same bars."),
        _Fact(
            "Return above buy-and-hold",
            NOTHING if look.excess is None else f"{look.excess:+.1%}",
            "A year; withheld under 90 days."
            if look.excess is None or look.excess_low is None or look.excess_high is None
            else f"A year; 95% interval {look.excess_low:+.1%} to {look.excess_high:+.1%}.",
        ),
    ]
    if look.exposure is not None and look.exposure_p is not None:
        rows.append(
            _Fact(
                "The same exposure at random times, p",
                number(look.exposure_p, 3),
                f"Chance of doing as well with {look.exposure:.0%} of the account at other times; "
                "0.025 or less shows that the times matter.",
            )
        )
    if look.traded:
        rows.append(_Fact("Trades", f"{look.trades:,}", "Closed ones; 30 are the least to judge."))
    if look.log_loss is not None:
        rows.append(_Fact("Log-loss", number(look.log_loss, 4), "Of the direction, nats."))
    if look.majority_log_loss is not None:
        rows.append(
            _Fact(
                "Log-loss of the majority class",
                number(look.majority_log_loss, 4),
                "Of always saying the share of ups before; skill is below it.",
            )
        )
    return rows


def _best_rows(report: StudyReport) -> list[tuple[str, str, str]]:
    own = () if report.own is None else report.own.values
    rows = [
        (
            one.words,
            f"{report.best.values[place]:.5g}",
            f"{own[place]:.5g}" if own else NOTHING,
        )
        for place, one in enumerate(report.objectives)
    ]
    return rows + [(row.name, _shown(row.best), _shown(row.own)) for row in report.parameters]


def _row(trial: TrialSummary, names: Sequence[str], report: StudyReport) -> _TrialRow:
    marks = []
    if trial.number == report.best.number:
        marks.append("best")
    elif trial.number in report.front:
        marks.append("on the front")
    if report.own is not None and trial.number == report.own.number:
        marks.append("preset")
    values = [f"{value:.5g}" for value in trial.values]
    return _TrialRow(
        trial,
        values or [NOTHING] * len(report.objectives),
        [_shown(trial.parameters.get(name)) for name in names],
        _length(trial.seconds),
        ", ".join(marks),
    )


def _trials_words(report: StudyReport) -> str:
    parts = [f"{report.complete:,} complete"]
    parts += [
        f"{count:,} {word}"
        for count, word in (
            (report.pruned, "pruned"),
            (report.failed, "failed"),
            (report.again, "run again"),
            (report.earlier, "earlier"),
        )
        if count
    ]
    return ", ".join(parts)


def _configuration(record: StudyRecord) -> str:
    content = {"study": record.config.model_dump(mode="json"), "starts from": record.start}
    return json.dumps(content, indent=2, ensure_ascii=False)


def _interval(low: float | None, high: float | None, *, alone: bool = True) -> str:
    if low is None or high is None:
        return "Too few bars for an interval, or none that varies."
    lonely = ", as if it had been the only trial" if alone else ""
    return f"95% interval {span(low, high)}{lonely}."


# Rounded as the verdict rounds them: never to the favour of what was found.
def _down(probability: float | None) -> str:
    return NOTHING if probability is None else f"{math.floor(100 * probability + 1e-9) / 100:.2f}"


def _up(probability: float | None) -> str:
    return NOTHING if probability is None else f"{math.ceil(100 * probability - 1e-9) / 100:.2f}"


def _costs(luck: StudyLuck) -> str:
    return ", after costs" if luck.costs_included else ", without costs"


def _shown(value: Any) -> str:
    if value is None:
        return NOTHING
    if isinstance(value, float):
        return f"{value:.5g}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _length(seconds: float | None) -> str:
    if seconds is None:
        return NOTHING
    if seconds < 60.0:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60:,} h {minutes % 60:02d} min"
