"""What a study is, kept in its own storage, so that every worker works on the same one."""

from __future__ import annotations

import json
import logging
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import optuna
from pydantic import BaseModel, ConfigDict

from experiments.settings import flatten, validated
from experiments.tuning.config import StudyConfig
from experiments.tuning.ownership import Owner, this_process
from lightning_models.candles import Candles
from lightning_models.errors import ConfigError

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

    from experiments.tuning.candidate import Candidate, StartingPoint
    from experiments.tuning.development import Development
    from experiments.tuning.parameters import Scalar
    from experiments.tuning.space import SearchSpace

__all__ = [
    "StudyData",
    "StudyRecord",
    "ask_to_stop",
    "attributes_of",
    "changes",
    "clear_stop",
    "find_record",
    "is_asked_to_stop",
    "open_study",
    "read_record",
    "want",
    "wanted",
]

_log = logging.getLogger(__name__)

# Study attributes. The key is written last: where it is, all else is too.
_KEY: Final = "key"
_CONFIG: Final = "configuration"
_START: Final = "starting_point"
_DATA: Final = "data"
_RUN: Final = "mlflow_run"
_MAKER: Final = "maker"
_EARLIER: Final = "earlier_trials"
_STOP: Final = "stop"
_WANTED: Final = "wanted_trials"

# What may change while a study goes on: nothing that decides what a trial's score means.
_FREE: Final = ("name", "stopping", "sampler")

_POLL_SECONDS: Final = 0.05
_UNNAMED_SECONDS: Final = 5.0
_UNSEEN_SECONDS: Final = 120.0


class StudyData(BaseModel):
    """Which candles a study is about.

    Parameters
    ----------
    symbols, timeframe, market
        Of the candles.
    fingerprint
        Of all of them, the holdout's too.
    holdout_from
        Moment of the cut, milliseconds.
    until
        When the last candle closes, milliseconds. What comes later is left out by whoever joins
        the study.
    sources
        Where they were read from, as the command line takes it; empty where they were given as
        they are.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    symbols: tuple[str, ...]
    timeframe: str
    market: str
    fingerprint: str
    holdout_from: int
    until: int
    sources: tuple[str, ...] = ()

    @classmethod
    def of(cls, development: Development, sources: Sequence[str] = ()) -> StudyData:
        """Return what is kept of candles.

        Parameters
        ----------
        development
            The candles.
        sources
            Where they come from.
        """
        first = development.whole[0]
        return cls(
            symbols=tuple(one.symbol for one in development.whole),
            timeframe=first.timeframe,
            market=first.market,
            fingerprint=development.fingerprint,
            holdout_from=development.holdout_from,
            until=max(int(one.time[-1]) for one in development.whole) + first.period_ms,
            sources=tuple(sources),
        )

    def known_of(self, candles: Candles | Sequence[Candles]) -> list[Candles]:
        """Return candles as far as the study had them when it was begun.

        Parameters
        ----------
        candles
            Read since, from files that may have grown; its trials are compared on what there
            was.
        """
        listed = [candles] if isinstance(candles, Candles) else list(candles)
        return [
            one.between(None, self.until - one.period_ms + 1) if isinstance(one, Candles) else one
            for one in listed
        ]


class StudyRecord(BaseModel):
    """What a study's storage tells of it.

    Parameters
    ----------
    key
        Tells this study from an earlier one of its name.
    config
        As it was made.
    start
        Configuration that it searches from.
    data
        Its candles.
    run_id
        Its MLflow run.
    earlier
        Trials of the studies that it comes after.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str
    config: StudyConfig
    start: dict[str, Any]
    data: StudyData
    run_id: str
    earlier: int = 0

    @property
    def starting_point(self) -> StartingPoint:
        """What its trials' values are laid over."""
        # Asking how a study stands needs none of it, and torch takes two seconds.
        from experiments.config import TrainConfig
        from experiments.tuning.candidate import StartingPoint

        # A feature of its user's own may be unknown here.
        train = validated(
            TrainConfig, self.start["train"], origin=f"study {self.config.name}, as it was begun"
        )
        return StartingPoint(train, self.start["backtest"])

    @property
    def space(self) -> SearchSpace:
        """What is searched."""
        from experiments.tuning.space import SearchSpace

        return SearchSpace(
            self.config.space, self.starting_point, origin=f"study {self.config.name}"
        )

    def candidate_of(self, drawn: Mapping[str, Scalar]) -> Candidate:
        """Return the configuration of a trial.

        Parameters
        ----------
        drawn
            Its parameters, as Optuna keeps them.
        """
        space = self.space
        return space.configure(space.values_of(drawn))


def open_study(
    config: StudyConfig,
    start: StartingPoint,
    data: StudyData,
    *,
    storage: BaseStorage,
    make_run: Callable[[str], str],
    earlier: int = 0,
    sampler: optuna.samplers.BaseSampler | None = None,
    pruner: optuna.pruners.BasePruner | None = None,
) -> tuple[optuna.Study, StudyRecord]:
    """Make a study, or join the one there is if it is the same.

    Parameters
    ----------
    config, start, data
        What it is.
    storage
        Where it is kept.
    make_run
        Makes the study's MLflow run from its key and returns the run's id. Whoever makes the
        study calls it.
    earlier
        Trials of the studies that it comes after.
    sampler, pruner
        Of this worker.

    Raises
    ------
    ConfigError
        If the storage has another study of this name; the message says how they differ.
    """
    described = _described(start)
    key = uuid.uuid4().hex
    try:
        study = optuna.create_study(
            storage=storage,
            study_name=config.name,
            directions=list(config.directions),
            sampler=sampler,
            pruner=pruner,
        )
    except optuna.exceptions.DuplicatedStudyError:
        study = optuna.load_study(
            study_name=config.name, storage=storage, sampler=sampler, pruner=pruner
        )
        record = _awaited(study, key)
        if record is not None:
            _refuse_another(record, config, start, data)
            return study, record
    else:
        # Whoever comes now waits for as long as this process is alive.
        _claim(study, key)
    study.set_user_attr(_CONFIG, config.model_dump(mode="json"))
    study.set_user_attr(_START, described)
    study.set_user_attr(_DATA, data.model_dump(mode="json"))
    study.set_user_attr(_EARLIER, earlier)
    study.set_user_attr(_RUN, make_run(key))
    study.set_user_attr(_KEY, key)
    record = read_record(study)
    assert record is not None
    return study, record


def find_record(storage: BaseStorage, name: str) -> StudyRecord | None:
    """Return the record of a study by its name, None where the storage has none.

    Parameters
    ----------
    storage
        Where to look.
    name
        Of the study.
    """
    try:
        return read_record(optuna.load_study(study_name=name, storage=storage))
    except KeyError:
        return None


def read_record(study: optuna.Study) -> StudyRecord | None:
    """Return what a study's storage tells of it, None where it was not made by this project.

    Parameters
    ----------
    study
        Whichever.
    """
    kept = study.user_attrs
    if _KEY not in kept:
        return None
    return StudyRecord(
        key=kept[_KEY],
        config=StudyConfig.model_validate(kept[_CONFIG]),
        start=kept[_START],
        data=StudyData.model_validate(kept[_DATA]),
        run_id=kept[_RUN],
        earlier=kept.get(_EARLIER, 0),
    )


def ask_to_stop(study: optuna.Study) -> None:
    """Ask all workers of a study to end after the trial that they are at."""
    study.set_user_attr(_STOP, datetime.now(UTC).isoformat(timespec="seconds"))


def want(study: optuna.Study, trials: int) -> None:
    """Say at how many finished trials a study ends, as the newest worker was told."""
    if study.user_attrs.get(_WANTED) != trials:
        study.set_user_attr(_WANTED, trials)


def wanted(study: optuna.Study) -> int:
    """Return at how many finished trials a study ends; 0 where nobody has said."""
    return int(study.user_attrs.get(_WANTED, 0))


def clear_stop(study: optuna.Study) -> None:
    """Take back that workers should end."""
    if is_asked_to_stop(study):
        study.set_user_attr(_STOP, None)


def is_asked_to_stop(study: optuna.Study) -> bool:
    """Return whether workers should end."""
    return attributes_of(study).get(_STOP) is not None


def attributes_of(study: optuna.Study) -> Mapping[str, Any]:
    """Return a study's user attributes to read, without the copy that Optuna makes of them all.

    Parameters
    ----------
    study
        Whichever.

    Examples
    --------
    >>> import optuna
    >>> study = optuna.create_study()
    >>> study.set_user_attr("candles", "6h")
    >>> attributes_of(study)["candles"]
    '6h'
    """
    kept: Mapping[str, Any] = study._storage.get_study_user_attrs(study._study_id)
    return kept


def _claim(study: optuna.Study, key: str) -> None:
    study.set_user_attr(_MAKER, {**this_process().as_attribute(), _KEY: key})


def _awaited(study: optuna.Study, key: str) -> StudyRecord | None:
    # Whoever makes the study may take long over its MLflow run, or have been killed at it. Then
    # the first who notices makes it; None is for that one.
    begun = time.monotonic()
    while (record := read_record(study)) is None:
        if study.get_trials(deepcopy=False, states=None):
            raise ConfigError(
                f"the storage has a study {study.study_name} that was not made by "
                "lstm-strategies: choose another --name"
            )
        said = study.user_attrs.get(_MAKER)
        if said is not None and said.get(_KEY) == key:
            return None
        maker = Owner.from_attribute(said)
        alive = None if maker is None else maker.is_alive()
        waited = time.monotonic() - begun
        if alive is False or (alive is None and waited > _patience(maker)):
            _claim(study, key)
            begun = time.monotonic()
        # Of several who say so at once, the last one to be written down makes it.
        time.sleep(_POLL_SECONDS)
    return record


def _patience(maker: Owner | None) -> float:
    # A maker says who it is in its first moment; one of another machine is not seen to die.
    return _UNSEEN_SECONDS if maker is not None else _UNNAMED_SECONDS


def _described(start: StartingPoint) -> dict[str, Any]:
    described = {"train": start.train.model_dump(mode="json"), "backtest": start.backtest}
    # As the storage will give it back.
    found: dict[str, Any] = json.loads(json.dumps(described))
    return found


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return in words how two flat descriptions differ, a line for each field.

    Examples
    --------
    >>> changes({"a": 1, "b": 2}, {"b": 3, "c": 4})
    ['a: 1, now left out', 'b: 2, now 3', 'c: now 4']
    """
    found = []
    for name in sorted({*before, *now}):
        if name not in now:
            found.append(f"{name}: {before[name]}, now left out")
        elif name not in before:
            found.append(f"{name}: now {now[name]}")
        elif before[name] != now[name]:
            found.append(f"{name}: {before[name]}, now {now[name]}")
    return found


def _told_of(config: StudyConfig) -> dict[str, Any]:
    # What decides what a trial's score means, dotted.
    content = config.model_dump(mode="json", exclude=set(_FREE))
    content["objective"] = {
        one["kind"] if len(config.objective) == 1 else f"{place + 1}": one
        for place, one in enumerate(content["objective"])
    }
    return flatten(content)


def _refuse_another(
    record: StudyRecord, config: StudyConfig, start: StartingPoint, data: StudyData
) -> None:
    told = changes(_told_of(record.config), _told_of(config))
    # What the settings and the preset come to, beyond what was said already.
    told += [
        f"preset's {change}" for change in changes(record.start, _described(start)) if not told
    ]
    held = record.data
    if held.fingerprint != data.fingerprint:
        symbols = ", ".join(held.symbols)
        told.append(
            f"candles: {symbols} {held.timeframe} with fingerprint {held.fingerprint[:12]}, now "
            f"{', '.join(data.symbols)} {data.timeframe} with {data.fingerprint[:12]}"
        )
    if not told:
        return
    shown = "; ".join(told[:8]) + (f"; and {len(told) - 8} more" if len(told) > 8 else "")
    raise ConfigError(
        f"the study {config.name} is another one already: {shown}. Its trials would not be "
        f"comparable: give --new for one beside it, or --name for a name of its own"
    )
