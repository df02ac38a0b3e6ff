"""`lstm-strategies tune status`, `stop` and `report`: of a study that others work on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from experiments.cli.console import (
    DebugOption,
    FeaturesOption,
    HomeOption,
    JsonOption,
    SetOption,
    print_json,
    say,
    show_table,
)
from experiments.cli.logs import quiet_mlflow
from experiments.cli.secrets import redacted
from experiments.cli.settings import no_settings
from experiments.cli.stored_study import refuse_stored_analyst, study_candles, study_record
from experiments.cli.tune_notes import under_way
from experiments.cli.tune_options import (
    NameOption,
    ReportOption,
    StorageOption,
    StudyDataOption,
    StudyOption,
    StudyPlace,
)
from experiments.cli.tune_tables import luck_table, standing_table, workers_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    import optuna

    from experiments.tuning.study_record import StudyRecord
    from experiments.tuning.study_report import StudyReport

__all__ = [
    "report_command",
    "show_report",
    "status_command",
    "stop_command",
]

_MOST_ERRORS: Final = 5


def status_command(
    context: typer.Context,
    study: StudyOption = None,
    storage: StorageOption = None,
    name: NameOption = None,
    as_json: JsonOption = False,
    home: HomeOption = None,
    debug: DebugOption = False,
    settings: SetOption = None,
) -> None:
    """Say how a study stands, who works on it, and what failed last."""
    no_settings("tune status", settings)
    place = StudyPlace(study, name, storage, home, as_json).or_above(context)
    from experiments.tuning.ownership import live_workers, workers
    from experiments.tuning.progress import standing
    from experiments.tuning.study_record import is_asked_to_stop, wanted
    from lightning_models.home import find_home

    opened = place.open()
    config = study_record(opened).config
    progress = standing(opened, wanted(opened) or config.stopping.trials)
    at_it = [one for one in workers(opened) if one.state == "running"]
    failures = _last_errors(opened)
    where = place.shown(find_home(place.home))
    stopping = is_asked_to_stop(opened)
    if place.as_json:
        print_json(
            {
                **progress.model_dump(mode="json"),
                "last_error": redacted(progress.last_error),
                "objectives": [one.model_dump(mode="json") for one in config.objective],
                "storage": where,
                "asked_to_stop": stopping,
                "workers": [
                    {**one.model_dump(mode="json"), "alive": one.owner.is_alive()} for one in at_it
                ],
                "last_errors": failures,
            }
        )
        return
    table = standing_table(progress.model_copy(update={"last_error": ""}))
    if len(config.objective) > 1:
        table.add_row("values", " and ".join(one.metric for one in config.objective))
    show_table(table)
    if at_it:
        show_table(workers_table(at_it))
    live = len(live_workers(opened))
    say("No worker is at it." if not live else f"{live} worker{'s' * (live > 1)} at it.")
    if stopping:
        goes_on = place.command("resume", name=opened.study_name)
        say(
            f"It was asked to stop: no worker begins another trial. Once none is at it, {goes_on} "
            "goes on."
            if live
            else f"It was stopped: {goes_on} goes on.",
            copied=True,
        )
    for one in failures:
        say(f"trial {one['trial']} failed: {one['error']}", style="yellow")
    say(f"storage: {where}", copied=True)


def stop_command(
    context: typer.Context,
    study: StudyOption = None,
    storage: StorageOption = None,
    name: NameOption = None,
    home: HomeOption = None,
    debug: DebugOption = False,
    settings: SetOption = None,
) -> None:
    """Ask all workers of a study to end after the trial that they are at."""
    no_settings("tune stop", settings)
    place = StudyPlace(study, name, storage, home).or_above(context)
    opened = place.open()
    from experiments.tuning.ownership import live_workers
    from experiments.tuning.study_record import ask_to_stop

    at_it = live_workers(opened)
    if not at_it:
        say(f"no worker is at the study {opened.study_name}: there is nothing to stop")
        return
    ask_to_stop(opened)
    named = ", ".join(str(one.owner) for one in at_it)
    say(
        f"asked {len(at_it)} worker{'s' * (len(at_it) > 1)} of {opened.study_name} to end after "
        f"the trial under way: {named}"
    )


def report_command(
    context: typer.Context,
    study: StudyOption = None,
    report: ReportOption = None,
    open_holdout: Annotated[
        bool,
        typer.Option("--open-holdout", help="Judge the best trial on the holdout: once, for good."),
    ] = False,
    trial: Annotated[
        int | None,
        typer.Option("--trial", metavar="N", help="To open the holdout for; the best one."),
    ] = None,
    data: StudyDataOption = None,
    storage: StorageOption = None,
    name: NameOption = None,
    as_json: JsonOption = False,
    features: FeaturesOption = None,
    home: HomeOption = None,
    debug: DebugOption = False,
    settings: SetOption = None,
) -> None:
    """Write a study's report again; open its holdout, once."""
    no_settings("tune report", settings)
    place = StudyPlace(study, name, storage, home, as_json).or_above(context)
    opened = place.open()
    if trial is not None and not open_holdout:
        from lightning_models.errors import ConfigError

        raise ConfigError(f"--trial {trial} says what to open the holdout for: add --open-holdout")
    record = study_record(opened)
    if open_holdout:
        refuse_stored_analyst(place, opened, record)
    with under_way("loading torch and MLflow"):
        from experiments.tuning.reporting import report_study
        from experiments.tuning.trial_runs import StudyRuns
        from lightning_models.errors import ConfigError
        from lightning_models.home import find_home
    found = find_home(place.home)
    with quiet_mlflow():
        runs = StudyRuns(found, record.config.name, key=record.key, parent=record.run_id)
        if open_holdout:
            _open_holdout(opened, record, data, found, runs, trial)
        written = report_study(opened, record, runs, home=found, folder=report)
    if written is None:
        raise ConfigError(
            f"the study {opened.study_name} has no complete trial to report on yet: see "
            f"`{place.command('status', name=opened.study_name)}`"
        )
    if place.as_json:
        print_json(written.model_dump(mode="json"))
        return
    show_report(written)
    say(f"runs and figures: {found.ui_command}", copied=True)


def show_report(report: StudyReport) -> None:
    """Print what a study's best trial is worth, and where the report and its preset lie."""
    from pathlib import Path

    if report.gain_words:
        say(report.gain_words)
    if report.luck is not None:
        show_table(luck_table(report.luck))
    say(report.verdict)
    say(f"report: {Path(report.preset).with_name('report.html')}", copied=True)
    say(f"trial {report.best.number} as a preset: {report.preset}", copied=True)
    if report.warning:
        say(report.warning, style="yellow")
    for command in report.commands:
        say(f"  {command}", copied=True)


def _open_holdout(
    study: optuna.Study,
    record: StudyRecord,
    data: Sequence[str] | None,
    home: Any,
    runs: Any,
    trial: int | None,
) -> None:
    from experiments.tuning.holdout import open_holdout
    from experiments.walk_forward.carried_features import pack_features

    candles = study_candles(record, data)
    with under_way("fitting the best trial for the holdout"):
        open_holdout(
            study,
            record,
            candles,
            home=home,
            runs=runs,
            trial=trial,
            features=pack_features(record.starting_point.train.data.features),
        )


def _last_errors(study: optuna.Study) -> list[dict[str, Any]]:
    from optuna.trial import TrialState

    from experiments.tuning.orphans import retried
    from experiments.tuning.progress import error_of

    trials = study.get_trials(deepcopy=False)
    again = retried(trials)
    failed = [one for one in trials if one.state == TrialState.FAIL and one.number not in again]
    return [
        {"trial": one.number, "error": redacted(" ".join(error_of(one).split()))}
        for one in failed[-_MOST_ERRORS:]
    ]
