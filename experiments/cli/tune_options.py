"""What the commands of `lstm-strategies tune` have in common: options, and which study is meant."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from experiments.cli.secrets import redacted

if TYPE_CHECKING:
    import optuna

    from lightning_models.home import Home

__all__ = [
    "STORAGE_VARIABLE",
    "BackendOption",
    "JobsOption",
    "MinutesOption",
    "NameOption",
    "OtherHostsOption",
    "ReportOption",
    "SchedulerOption",
    "StorageOption",
    "StudyDataOption",
    "StudyOption",
    "StudyPlace",
    "TrialsOption",
    "hand_on",
]

STORAGE_VARIABLE: Final = "LSTM_STORAGE"
"""Of the environment: where studies are kept, for addresses with a password."""

StudyOption = Annotated[
    str | None,
    typer.Option("--study", metavar="NAME|FILE", help="A shipped study, a YAML file, or its name."),
]
StudyDataOption = Annotated[
    list[str] | None,
    typer.Option(
        "--data",
        metavar="SPEC",
        help="Candles: a file, a 'quoted glob', or SYMBOL=file; repeatable.",
    ),
]
NameOption = Annotated[
    str | None, typer.Option("--name", help="Of the study, in place of the file's own.")
]
StorageOption = Annotated[
    str | None,
    typer.Option(
        "--storage",
        metavar="URL|PATH",
        envvar=STORAGE_VARIABLE,
        help="Where the study is kept: postgresql+psycopg://… or a journal; one in the home.",
    ),
]
TrialsOption = Annotated[
    int | None,
    typer.Option("--trials", metavar="N", help="Finished trials of the whole study, all workers'."),
]
MinutesOption = Annotated[
    float | None,
    typer.Option("--minutes", metavar="M", help="After which this worker begins no trial."),
]
JobsOption = Annotated[
    int | None, typer.Option("--jobs", help="Folds at a time; -1 is one for each core; 1.")
]
BackendOption = Annotated[
    str, typer.Option("--backend", help="For folds. loky: this machine; dask: a cluster.")
]
SchedulerOption = Annotated[
    str | None,
    typer.Option("--scheduler", metavar="ADDRESS", help="Of dask; one of its own by default."),
]
OtherHostsOption = Annotated[
    bool,
    typer.Option(
        "--other-hosts", help="No worker of another machine is alive: run their trials again."
    ),
]
ReportOption = Annotated[
    Path | None, typer.Option("--report", metavar="DIR", help="For the report; one in the home.")
]

# What may also stand before the word that says what is to be done with the study.
_SHARED: Final = ("study", "name", "storage", "home", "as_json", "debug")


@dataclass(frozen=True)
class StudyPlace:
    """Which study is meant, and where it is kept.

    Parameters
    ----------
    study
        As the user named it; None where they did not.
    name
        Of the study, in place of the file's own.
    storage
        A database, a journal's path, or None for the home's own journal.
    home
        None for the user's own.
    as_json
        Whether JSON was asked for.
    """

    study: str | None = None
    name: str | None = None
    storage: str | None = None
    home: Path | None = None
    as_json: bool = False

    def or_above(self, context: typer.Context) -> StudyPlace:
        """Return this place with what was given before the subcommand where it is silent."""
        above = context.obj
        if not isinstance(above, StudyPlace):
            return self
        return StudyPlace(
            self.study or above.study,
            self.name or above.name,
            self.storage or above.storage,
            self.home or above.home,
            self.as_json or above.as_json,
        )

    @property
    def given(self) -> str:
        """The study as the user named it.

        Raises
        ------
        ConfigError
            If they did not.
        """
        if not self.study:
            from lightning_models.errors import ConfigError  # its package takes a second

            raise ConfigError(
                "no study was named: give --study NAME or --study FILE, such as --study "
                "study-baseline"
            )
        return self.study

    @property
    def study_name(self) -> str:
        """The study's name; a file's own is read from it.

        Raises
        ------
        ConfigError
            If no study was named, or its file cannot be read.
        """
        return self.name or _name_in(self.given)

    def open(self) -> optuna.Study:
        """Return the study, which must exist: nothing is made.

        Raises
        ------
        ConfigError
            If there is none of that name; the message names those there are.
        StorageError
            If the storage cannot be reached.
        """
        import optuna

        from experiments.tuning.storage import journal_path, open_storage
        from lightning_models.errors import ConfigError
        from lightning_models.home import find_home
        from lightning_models.spelling import nearest_names

        name, home = self.study_name, find_home(self.home)
        path: Path | None = None
        if self.storage is None:
            path = journal_path(home, name)
        elif "://" not in self.storage:
            path = Path(self.storage).expanduser()
        known: list[str] = []
        if path is None or path.exists():
            kept = open_storage(self.storage, home=home, name=name)
            try:
                return optuna.load_study(study_name=name, storage=kept)
            except KeyError:
                known = [one.study_name for one in kept.get_all_studies()]
        elif self.storage is None:
            known = [other.stem for other in path.parent.glob("*.journal")]
        near = nearest_names(name, known) if known else "there is none yet"
        end = "" if near.endswith("?") else "."
        where = str(home.path / "studies") if self.storage is None else self.shown(home)
        raise ConfigError(
            f"no study {name!r} in {where}: {near}{end} `lstm-strategies tune --study FILE --data "
            "SPEC` begins one"
        )

    def shown(self, home: Home) -> str:
        """Return where the study is kept, without a password."""
        if self.storage is None:
            return str(home.path / "studies" / f"{self.study_name}.journal")
        if "://" not in self.storage:
            return str(Path(self.storage).expanduser().absolute())
        return redacted(self.storage)

    @property
    def has_secret(self) -> bool:
        """Whether the storage's address holds a password, which no message may show."""
        return self.storage is not None and redacted(self.storage) != self.storage

    def command(self, what: str, *, name: str) -> str:
        """Return a command line about this study, to be copied.

        Parameters
        ----------
        what
            Such as ``resume``.
        name
            Of the study.
        """
        words = ["lstm-strategies tune", what, f"--study {_quoted(name)}"]
        if self.home is not None:
            words.append(f"--home {_quoted(str(self.home))}")
        if self.has_secret:
            words.append(f'--storage "${STORAGE_VARIABLE}"')
        elif self.storage is not None:
            words.append(f"--storage {_quoted(self.storage)}")
        return " ".join(words)


def hand_on(context: typer.Context, place: StudyPlace) -> None:
    """Leave what was given before a subcommand to it, and refuse what it would not see.

    Raises
    ------
    ConfigError
        If an option belongs behind the subcommand.
    """
    context.obj = place
    for option in context.command.params:
        name = str(option.name)
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE" and name not in _SHARED:
            from lightning_models.errors import ConfigError  # its package takes a second

            asked = context.invoked_subcommand
            raise ConfigError(
                f"{option.opts[0]} stands before {asked}, which does not see it there: write "
                f"`lstm-strategies tune {asked} --study … {option.opts[0]} …` if it takes it"
            )


def _name_in(study: str) -> str:
    # Read here, since what loads a study checks it against networks, and those take seconds.
    path = Path(study).expanduser()
    shipped = files("configs").joinpath(f"{study}.yaml") if study.startswith("study-") else None
    if path.is_file():
        own, text = path.stem, path.read_bytes()
    elif shipped is not None and shipped.is_file():
        own, text = study, shipped.read_bytes()
    else:
        return study
    import yaml

    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        from lightning_models.errors import ConfigError

        raise ConfigError(f"{study} is no readable YAML: {' '.join(str(error).split())}") from error
    named = content.get("name") if isinstance(content, dict) else None
    return str(named or own.removeprefix("study-"))


def _quoted(word: str) -> str:
    import shlex

    return shlex.quote(word)
