"""Where studies are kept: a journal file for one machine, a database for many."""

from __future__ import annotations

import itertools
import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

import optuna

from experiments.tuning.journal_file import open_journal
from lightning_models.errors import ConfigError
from lightning_models.redaction import redacted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lightning_models.home import Home

__all__ = ["free_name", "journal_path", "open_storage", "quiet_optuna"]

# Two letters at least: a single one is a drive of Windows.
_SCHEME: Final = re.compile(r"[a-z][\w+]+:(?!//)", re.IGNORECASE)


def open_storage(
    storage: str | None,
    *,
    home: Home,
    name: str,
    heartbeat: int = 10,
    grace: int = 30,
    delays: Sequence[float] | None = None,
) -> optuna.storages.BaseStorage:
    """Return the storage of a study, made where it is missing.

    A journal needs no server and is fast, and it is for the workers of one machine: it does not
    tell whether a worker of another one is alive. A database does, by heartbeats. Where it
    cannot be reached, an operation waits and tries again for a minute.

    Parameters
    ----------
    storage
        Address of a database, ``postgresql+psycopg://USER:PASSWORD@HOST/DATABASE`` or
        ``sqlite:////PATH``; path of a journal file; or None for ``studies/NAME.journal`` in the
        home.
    home
        Where the journal is by default.
    name
        Of the study.
    heartbeat
        Seconds between the signs of life of a trial's worker, in a database.
    grace
        Seconds without a sign after which a trial counts as dead and is run again.
    delays
        Seconds between the attempts to reach a database, 63 s in all by default.

    Raises
    ------
    ConfigError
        If the storage cannot be meant as it is written: no database that is known here, a driver
        that is not installed, a folder, a file that is no journal, another's database.
    StorageError
        If it cannot be reached, read or written.
    """
    quiet_optuna()
    if heartbeat < 1 or grace <= heartbeat:
        raise ConfigError(
            f"a grace of {grace} s after a heartbeat every {heartbeat} s cannot work: a heartbeat "
            "takes at least 1 s, and a trial must be given the time for more than one"
        )
    if storage is None:
        home.create()
        return open_journal(journal_path(home, name))
    if "://" in storage:
        # SQLAlchemy takes time to import, and a journal needs none of it.
        from experiments.tuning.database import DELAYS, open_database

        return open_database(
            storage,
            heartbeat=heartbeat,
            grace=grace,
            delays=DELAYS if delays is None else delays,
        )
    if not storage.strip() or _SCHEME.match(storage):
        raise ConfigError(
            f"{redacted(storage)!r} is neither the address of a database, such as "
            "postgresql+psycopg://USER:PASSWORD@HOST/DATABASE, nor the path of a journal file"
        )
    return open_journal(Path(storage))


def journal_path(home: Home, name: str) -> Path:
    """Return where a study is kept by default.

    Raises
    ------
    ConfigError
        If the name cannot be that of a file.
    """
    if not name or name != Path(name).name or "\0" in name:
        raise ConfigError(
            f"{name!r} cannot name a study's file: use letters, digits, dots, dashes and "
            "underscores, such as btc-6h"
        )
    return home.path / "studies" / f"{name}.journal"


def free_name(storage: str | None, *, home: Home, name: str) -> str:
    """Return the name if no study has it, otherwise ``NAME-2``, ``NAME-3`` and so on.

    Parameters
    ----------
    storage, home
        Where studies are kept, as in `open_storage`.
    name
        That a study would have.

    Raises
    ------
    ConfigError, StorageError
        As in `open_storage`.
    """
    if storage is None:
        taken = {path.stem for path in journal_path(home, name).parent.glob("*.journal")}
    else:
        kept = open_storage(storage, home=home, name=name)
        taken = {study.study_name for study in kept.get_all_studies()}
    others = (f"{name}-{number}" for number in itertools.count(2))
    return next(one for one in itertools.chain([name], others) if one not in taken)


def quiet_optuna() -> None:
    """Send Optuna's log where this program's log goes, at the level that is set there.

    By itself it writes each trial to standard error in colours of its own.
    """
    optuna.logging.disable_default_handler()
    optuna.logging.enable_propagation()
    optuna.logging.set_verbosity(logging.NOTSET)
