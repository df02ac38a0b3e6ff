"""`lstm-strategies tune`: run a study's trials, and go on with one that was stopped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from experiments.cli.console import (
    DebugOption,
    FeaturesOption,
    HomeOption,
    JsonOption,
    MarketOption,
    SetOption,
    TimeframeOption,
    note,
    print_json,
    say,
    show_table,
)
from experiments.cli.logs import quiet_mlflow
from experiments.cli.stored_study import refuse_stored_analyst, study_candles, study_record
from experiments.cli.study_progress import ShownProgress
from experiments.cli.tune_notes import LOADING, stop_is_noted, under_way
from experiments.cli.tune_options import (
    STORAGE_VARIABLE,
    BackendOption,
    JobsOption,
    MinutesOption,
    NameOption,
    OtherHostsOption,
    ReportOption,
    SchedulerOption,
    StorageOption,
    StudyDataOption,
    StudyOption,
    StudyPlace,
    TrialsOption,
    hand_on,
)
from experiments.cli.tune_study import (
    report_command,
    show_report,
    status_command,
    stop_command,
)
from experiments.cli.tune_tables import standing_table

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from experiments.tuning import StudyConfig, StudyResult
    from lightning_models.candles import Candles
    from lightning_models.home import Home

__all__ = ["tune_app"]

tune_app = typer.Typer(invoke_without_command=True)


@dataclass(frozen=True)
class _Work:
    # How a worker works on a study.
    trials: int | None
    minutes: float | None
    jobs: int | None
    backend: str
    scheduler: str | None
    other_hosts: bool
    report: Path | None
    settings: list[str] | None

    @property
    def processes(self) -> int:
        # Folds at a time, unless a cluster has as many as it has workers.
        return self.jobs if self.jobs is not None else 1 if self.backend == "loky" else -1

    def check(self) -> None:
        # Before anything is read; a cluster is looked for when it is needed.
        if self.backend != "dask":
            from experiments.clusters import on_backend

            with on_backend(self.backend, jobs=self.processes, scheduler=self.scheduler):
                pass

    def all_settings(self) -> list[str]:
        given = list(self.settings or ())
        if self.trials is not None:
            given.append(f"stopping.trials={self.trials}")
        if self.minutes is not None:
            given.append(f"stopping.minutes={self.minutes}")
        return given


@tune_app.callback()
def tune_command(
    context: typer.Context,
    study: StudyOption = None,
    data: StudyDataOption = None,
    timeframe: TimeframeOption = None,
    market: MarketOption = "continuous",
    trials: TrialsOption = None,
    minutes: MinutesOption = None,
    storage: StorageOption = None,
    name: NameOption = None,
    new: Annotated[
        bool, typer.Option("--new", help="Begin a study beside one of the same name.")
    ] = False,
    jobs: JobsOption = None,
    backend: BackendOption = "loky",
    scheduler: SchedulerOption = None,
    other_hosts: OtherHostsOption = False,
    report: ReportOption = None,
    as_json: JsonOption = False,
    features: FeaturesOption = None,
    home: HomeOption = None,
    debug: DebugOption = False,
    settings: SetOption = None,
) -> None:
    """Search for a better configuration by many trials, all on candles before a holdout.

    Run it again, at the same time and on other machines too, to work on the same study.
    """
    place = StudyPlace(study, name, storage, home, as_json)
    if context.invoked_subcommand is not None:
        hand_on(context, place)
        return
    from lightning_models.errors import ConfigError

    given = place.given
    if not data:
        raise ConfigError(
            "no candles were given: --data FILE, a 'quoted glob' or SYMBOL=FILE; repeatable"
        )
    work = _Work(trials, minutes, jobs, backend, scheduler, other_hosts, report, settings)
    work.check()
    # What is wrong with the study is told before seconds are spent on candles and torch.
    from experiments.presets import read_preset
    from experiments.tuning.loading import load_study
    from lightning_models.home import find_home

    _refuse_preset(given)
    config = load_study(given, work.all_settings(), name=name)
    if config.preset is not None:
        read_preset(config.preset)
    sources = _sources(data)
    from experiments.cli.sources import closed_by_now, read_sources

    with under_way("reading candles"):
        read = read_sources(data, timeframe=timeframe, market=market)
        candles = [closed_by_now(one) for one in read]
    _run(place, find_home(home), config, candles, sources, work, new=new)


def resume_command(
    context: typer.Context,
    study: StudyOption = None,
    data: StudyDataOption = None,
    trials: TrialsOption = None,
    minutes: MinutesOption = None,
    storage: StorageOption = None,
    name: NameOption = None,
    jobs: JobsOption = None,
    backend: BackendOption = "loky",
    scheduler: SchedulerOption = None,
    other_hosts: OtherHostsOption = False,
    report: ReportOption = None,
    as_json: JsonOption = False,
    features: FeaturesOption = None,
    home: HomeOption = None,
    debug: DebugOption = False,
    settings: SetOption = None,
) -> None:
    """Go on with a study on the candles that it was begun with."""
    place = StudyPlace(study, name, storage, home, as_json).or_above(context)
    work = _Work(trials, minutes, jobs, backend, scheduler, other_hosts, report, settings)
    work.check()
    opened = place.open()
    from experiments.tuning.loading import load_study
    from lightning_models.home import find_home

    record = study_record(opened)
    refuse_stored_analyst(place, opened, record)
    config = load_study(record.config, work.all_settings())
    sources = _sources(data) if data else list(record.data.sources)
    candles = study_candles(record, data)
    _run(place, find_home(place.home), config, candles, sources, work)


def _run(
    place: StudyPlace,
    home: Home,
    config: StudyConfig,
    candles: Sequence[Candles],
    sources: Sequence[str],
    work: _Work,
    *,
    new: bool = False,
) -> None:
    with under_way(LOADING):
        import experiments.config  # noqa: F401 - torch and Lightning, that a study needs later
        from experiments.clusters import on_backend
        from experiments.tuning.search import tune
        from lightning_models.errors import TrainingInterrupted
    with (
        on_backend(work.backend, jobs=work.processes, scheduler=work.scheduler),
        quiet_mlflow(),
        ShownProgress([one.metric for one in config.objective]) as shown,
        stop_is_noted(),
    ):
        try:
            result = tune(
                config,
                candles,
                callbacks=[shown.on_trial],
                storage=place.storage,
                home=home,
                new=new,
                jobs=None,
                report=work.report,
                sources=sources,
                other_hosts=work.other_hosts,
                on_change=shown.on_change,
            )
        except KeyboardInterrupt:
            if not shown.study:
                raise
            raise TrainingInterrupted(_stopped(place, shown.study)) from None
    if place.as_json:
        print_json(result.model_dump(mode="json"))
        return
    _show(result, home)
    if not shown.study and result.progress.finished >= result.progress.wanted:
        note(
            f"for more of them: {place.command('resume', name=result.study)} --trials "
            f"{2 * result.progress.wanted}",
            copied=True,
        )


def _stopped(place: StudyPlace, study: str) -> str:
    hint = ""
    if place.has_secret:
        hint = f", where ${STORAGE_VARIABLE} is the same storage with its password"
    return (
        f"the study {study} was stopped: what is finished is kept, and the trial under way is "
        f"marked and will be run again. Go on with {place.command('resume', name=study)}{hint}"
    )


def _show(result: StudyResult, home: Home) -> None:
    say(f"study {result.study}: {result.ended}")
    show_table(standing_table(result.progress))
    if result.report is not None:
        show_report(result.report)
    say(f"runs and figures: {home.ui_command}", copied=True)


def _sources(data: Sequence[str]) -> list[str]:
    from experiments.cli.sources import expand_specs

    # Whoever resumes the study may do so from another folder.
    return [f"{symbol}={path.absolute()}" for symbol, path in expand_specs(data)]


def _refuse_preset(study: str) -> None:
    from pathlib import Path

    from experiments.presets import preset_names, read_yaml, study_names
    from lightning_models.errors import ConfigError

    named = study in preset_names()
    if not named and Path(study).expanduser().is_file():
        content = read_yaml(study, (), what="study")[1]
        named = "network" in content and "space" not in content
    if named:
        raise ConfigError(
            f"{study} is a preset, which `train` takes. A study is a file that names it, `preset: "
            f"{study}`, and says under `space` what is searched; shipped are "
            f"{', '.join(study_names())}"
        )


tune_app.command("status")(status_command)
tune_app.command("stop")(stop_command)
tune_app.command("resume")(resume_command)
tune_app.command("report")(report_command)
