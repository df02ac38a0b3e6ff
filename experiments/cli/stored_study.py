"""A study as its storage keeps it, and what of that a command does not take on trust."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from experiments.cli.tune_notes import under_way

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import optuna

    from experiments.cli.tune_options import StudyPlace
    from experiments.tuning.config import StudyConfig
    from experiments.tuning.study_record import StudyRecord
    from lightning_models.candles import Candles

__all__ = ["refuse_stored_analyst", "study_candles", "study_record"]

_ANALYST = "analyst"


def study_record(study: optuna.Study) -> StudyRecord:
    """Return what a study's storage tells of it.

    Raises
    ------
    ConfigError
        If it was not made by this project, or is not whole yet.
    """
    from experiments.tuning.study_record import read_record
    from lightning_models.errors import ConfigError

    record = read_record(study)
    if record is not None:
        return record
    if not study.get_trials(deepcopy=False):
        raise ConfigError(
            f"the study {study.study_name} is being made, or its making was interrupted: run "
            f"`lstm-strategies tune --study FILE --data SPEC` for it again"
        )
    raise ConfigError(
        f"the storage has a study {study.study_name} that was not made by lstm-strategies: look "
        "at it with optuna-dashboard"
    )


def study_candles(record: StudyRecord, data: Sequence[str] | None) -> list[Candles]:
    """Return a study's candles, read again.

    Parameters
    ----------
    record
        Of the study.
    data
        In place of the files that it was begun with.

    Raises
    ------
    ConfigError
        If nobody knows which files they are from, or they are not here.
    CandleError
        As reading does.
    """
    from experiments.cli.sources import closed_by_now, read_sources
    from lightning_models.errors import ConfigError

    specs = list(data or record.data.sources)
    if not specs:
        raise ConfigError(
            f"the study {record.config.name} was given its candles by a script, not from files: "
            "name them with --data"
        )
    with under_way("reading candles"):
        try:
            read = read_sources(specs, timeframe=record.data.timeframe, market=record.data.market)
        except ConfigError as error:
            if data:
                raise
            raise ConfigError(
                f"{error}. The study {record.config.name} was begun with it, perhaps on another "
                "machine: name the candles that lie here with --data"
            ) from error
        return [closed_by_now(one) for one in read]


def refuse_stored_analyst(place: StudyPlace, study: optuna.Study, record: StudyRecord) -> None:
    """Refuse to ask a language model that only a shared storage names.

    Whoever can write there could have this machine send a key from its environment to an
    address of their own. A journal is taken for the user's own file.

    Parameters
    ----------
    place
        Whose study file, where there is one, is what the user has seen.
    study
        Opened from the place.
    record
        What its storage tells.

    Raises
    ------
    ConfigError
        If the storage is a database, an analyst is asked, and the study's file is not given or
        says otherwise.
    """
    from optuna.storages import JournalStorage

    from lightning_models.errors import ConfigError

    stored = _analyst_of(record.start["backtest"] or {}, record.config.space)
    if not stored or isinstance(study._storage, JournalStorage):
        return
    seen = _file_of(place)
    if seen is not None and _analyst_of(seen.backtest, seen.space) == stored:
        return
    asked = "; ".join(f"{name}={value}" for name, value in stored.items())
    raise ConfigError(
        f"the study {study.study_name} asks a language model as its database says ({asked}), and "
        "whoever can write there chooses who is sent the key: "
        + (
            "give its file, --study FILE, that says the same"
            if seen is None
            else f"{place.study} says otherwise. Compare the two with whoever began it"
        )
    )


def _analyst_of(backtest: Mapping[str, Any], space: Mapping[str, Any]) -> dict[str, Any]:
    fixed = {_ANALYST: backtest[_ANALYST]} if backtest.get(_ANALYST) else {}
    prefix = f"backtest.{_ANALYST}"
    return fixed | {
        f"space.{name}": value
        for name, value in space.items()
        if name == prefix or name.startswith(f"{prefix}.")
    }


def _file_of(place: StudyPlace) -> StudyConfig | None:
    from experiments.tuning.loading import load_study

    named = place.study
    if named is None or not named.endswith((".yaml", ".yml")):
        return None
    return load_study(named, name=place.name)
