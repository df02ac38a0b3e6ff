"""Looks at a stretch of candles that other studies took before, so that no other is a first one."""

from __future__ import annotations

import logging
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Final

import optuna
from pydantic import ValidationError

from experiments.tuning.holdout_look import EarlierLook
from experiments.tuning.holdout_opening import at_its_end, holdout_opened
from experiments.tuning.storage import journal_path, open_storage
from experiments.tuning.study_record import StudyData, StudyRecord, read_record
from lightning_models.errors import LSTMStrategiesError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from optuna.storages import BaseStorage

    from experiments.tuning.config import StudyConfig
    from experiments.tuning.holdout_opening import HoldoutOpening
    from lightning_models.home import Home

__all__ = ["earlier_looks", "opened_before", "refuse_if_looked_at", "studies_before"]

_log = logging.getLogger(__name__)

# How a journal's line that tells of an opening, or of one that is about to be, writes its key.
_TOLD: Final = b'"user_attr":{"holdout'


def studies_before(
    config: StudyConfig, *, storage: BaseStorage, home: Home
) -> Iterator[tuple[optuna.Study, StudyRecord]]:
    """Yield the studies that a study comes after, the nearest first.

    Parameters
    ----------
    config
        Of the study.
    storage
        Where it is kept, and those before it. By default each has a journal of its own in the
        home, and is looked for there.
    home
        Of the journals.
    """
    passed = {config.name}
    name = config.after
    while name is not None and name not in passed:
        passed.add(name)
        study = _study_named(name, storage, home)
        record = None if study is None else read_record(study)
        if study is None or record is None:
            return
        yield study, record
        name = record.config.after


def opened_before(
    config: StudyConfig, data: StudyData, *, storage: BaseStorage, home: Home
) -> tuple[optuna.Study, HoldoutOpening] | None:
    """Return the nearest study before this one whose look spoils this one's holdout, if any.

    Parameters
    ----------
    config
        Of the study that comes after.
    data
        Its candles. Where its own holdout begins after all that was looked at, nothing is spoilt.
    storage, home
        As for `studies_before`.
    """
    for study, record in studies_before(config, storage=storage, home=home):
        opening = holdout_opened(study)
        unseen = config.holdout > 0.0 and data.holdout_from >= record.data.until
        if opening is not None and not unseen:
            return study, opening
    return None


def refuse_if_looked_at(
    config: StudyConfig, data: StudyData, *, storage: BaseStorage, home: Home
) -> None:
    """Refuse trials after a study whose holdout was opened, wherever in the chain it is.

    Parameters
    ----------
    config, data, storage, home
        As for `opened_before`.

    Raises
    ------
    ConfigError
        If one was.
    """
    found = opened_before(config, data, storage=storage, home=home)
    if found is not None:
        raise at_its_end(*found, after=config.name)


def earlier_looks(study: optuna.Study, record: StudyRecord, home: Home) -> tuple[EarlierLook, ...]:
    """Return the looks that other studies took at a study's holdout, the oldest first.

    Those are meant that share a symbol and a part of the time with it, in the study's own storage
    or in a journal of the home, and that came before its own opening if there was one.

    Parameters
    ----------
    study
        Whichever.
    record
        Of it.
    home
        Of the journals.
    """
    if not record.config.holdout:
        return ()
    own = holdout_opened(study)
    found: dict[str, EarlierLook] = {}
    for opening, other in _openings(study._storage, home):
        if other.key == record.key or not _overlap(record.data, other.data):
            continue
        if own is None or _moment(opening) <= _moment(own):
            found[other.key] = EarlierLook(study=other.config.name, opened_at=opening.opened_at)
    return tuple(sorted(found.values(), key=lambda one: (one.opened_at, one.study)))


def _overlap(one: StudyData, other: StudyData) -> bool:
    return (
        bool(set(one.symbols) & set(other.symbols))
        and one.holdout_from < other.until
        and other.holdout_from < one.until
    )


def _moment(opening: HoldoutOpening) -> datetime:
    return datetime.fromisoformat(opening.opened_at)


def _study_named(name: str, storage: BaseStorage, home: Home) -> optuna.Study | None:
    with suppress(KeyError):
        return optuna.load_study(study_name=name, storage=storage)
    # Opened, it would be made where it is missing.
    if journal_path(home, name).is_file():
        with suppress(KeyError):
            own = open_storage(None, home=home, name=name)
            return optuna.load_study(study_name=name, storage=own)
    return None


def _openings(storage: BaseStorage, home: Home) -> Iterator[tuple[HoldoutOpening, StudyRecord]]:
    yield from _openings_in(storage)
    for path in sorted((home.path / "studies").glob("*.journal")):
        try:
            # To read a journal of many trials line by line takes long.
            if _TOLD in path.read_bytes():
                yield from _openings_in(open_storage(str(path), home=home, name=path.stem))
        except (LSTMStrategiesError, OSError) as error:
            _log.warning("whether %s tells of an opened holdout is not known: %s", path, error)


def _openings_in(storage: BaseStorage) -> Iterator[tuple[HoldoutOpening, StudyRecord]]:
    for kept in storage.get_all_studies():
        if not any(key.startswith("holdout") for key in kept.user_attrs):
            continue
        study = optuna.load_study(study_name=kept.study_name, storage=storage)
        # One of another program or of another release is none of those that are meant.
        with suppress(ValidationError):
            record = read_record(study)
            opening = None if record is None else holdout_opened(study)
            if opening is not None and record is not None:
                yield opening, record
