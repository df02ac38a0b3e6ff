"""Studies in a database that many machines share, and that may go away for a while."""

from __future__ import annotations

import functools
import logging
import time
import warnings
import weakref
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar

import sqlalchemy as sa
from optuna.exceptions import (
    ExperimentalWarning,
    StorageInternalError,
    UpdateFinishedTrialError,
)
from optuna.storages import RDBStorage
from optuna.trial import TrialState
from sqlalchemy import exc

from experiments.tuning.address import engine_settings, parsed_address, shown_address
from experiments.tuning.orphans import ERROR, take_over
from lightning_models.errors import ConfigError, StorageError
from lightning_models.redaction import redacted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sqlalchemy.engine import URL, Engine

__all__ = ["DELAYS", "Database", "open_database"]

_log = logging.getLogger(__name__)

Result = TypeVar("Result")

# Seconds between attempts, a minute in all: a database that is restarted is back by then.
DELAYS: Final[tuple[float, ...]] = (1, 2, 4, 8, 16, 16, 16)
# Between attempts to make the tables, where several workers that start together do so.
CREATION_DELAYS: Final = (0.1, 0.2, 0.4, 0.8, 1.6, 3.2)

# Any number that nobody else's lock in the same database is likely to have.
CREATION_LOCK: Final = 5_717_403_982

OUTAGES: Final = (
    exc.OperationalError,
    exc.InterfaceError,
    exc.DisconnectionError,
    exc.TimeoutError,
)

# What reaches the database; the rest of Optuna's storage is made of these.
OPERATIONS: Final = (
    "_create_new_trial",
    "_get_best_trial_id",
    "_get_trials",
    "_set_trial_param",
    "create_new_study",
    "delete_study",
    "get_all_studies",
    "get_study_directions",
    "get_study_id_from_name",
    "get_study_name_from_id",
    "get_study_system_attrs",
    "get_study_user_attrs",
    "get_trial",
    "get_trial_id_from_study_id_trial_number",
    "get_trial_param",
    "get_trial_system_attrs",
    "get_trial_user_attrs",
    "set_study_system_attr",
    "set_study_user_attr",
    "set_trial_intermediate_value",
    "set_trial_system_attr",
    "set_trial_user_attr",
)


class Database(RDBStorage):
    """Optuna's storage in a database, which waits where that one cannot be reached.

    Each operation is tried again until the delays are used up. A heartbeat is not: the next
    one comes soon enough, and a thread that ended would leave its trial for dead.

    An operation whose answer was lost is done twice. Of a new trial, one is then left without
    an owner, and `reap` ends it.

    Parameters
    ----------
    url
        As SQLAlchemy writes it.
    heartbeat
        Seconds between the signs of life of a trial's worker.
    grace
        Seconds without a sign after which a trial counts as dead.
    delays
        Seconds between the attempts of an operation.
    """

    def __init__(
        self, url: URL, *, heartbeat: int, grace: int, delays: Sequence[float] = DELAYS
    ) -> None:
        self._name = shown_address(url)
        self._delays = tuple(delays)
        self._reached_since = time.monotonic()
        self._has_missed_a_beat = False
        template = url.render_as_string(hide_password=False)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            super().__init__(
                # Optuna fills in this text as a template, and a password may hold a bracket.
                template.replace("{", "{{").replace("}", "}}"),
                engine_kwargs=engine_settings(url),
                heartbeat_interval=heartbeat,
                grace_period=grace,
                heartbeat_stale_trial_callback=take_over,
            )
        self._look_after_engine()

    def __setstate__(self, state: dict[Any, Any]) -> None:
        """Connect anew, in a process that was sent this storage."""
        super().__setstate__(state)
        self._look_after_engine()

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        """Change a trial's state, and know one's own change again whose answer was lost."""
        first = True

        def attempt() -> bool:
            nonlocal first
            is_first, first = first, False
            try:
                return RDBStorage.set_trial_state_values(self, trial_id, state, values)
            except UpdateFinishedTrialError:
                # A failure may be another's: two that reap would both take it for their own.
                if is_first or state == TrialState.FAIL:
                    raise
                held = RDBStorage.get_trial(self, trial_id)
                wanted = None if values is None else [float(value) for value in values]
                if (held.state, held.values) != (state, wanted):
                    raise
                return True

        return self._patiently(attempt)

    def record_heartbeat(self, trial_id: int) -> None:
        """Say that a trial's worker is alive, if the database can be reached."""
        try:
            super().record_heartbeat(trial_id)
        except (StorageInternalError, exc.SQLAlchemyError) as error:
            self._reached_since = time.monotonic()
            if not self._has_missed_a_beat:
                _log.warning(
                    "storage %s cannot be reached (%s): its heartbeat is missed",
                    self._name,
                    _reason(error),
                )
            self._has_missed_a_beat = True
        else:
            self._has_missed_a_beat = False

    def _get_stale_trial_ids(self, study_id: int) -> list[int]:
        # After an outage everybody's heartbeat is old: each gets the time for its next one. Who
        # has just come does not know whether there was an outage.
        if time.monotonic() - self._reached_since < (self.grace_period or 0):
            return []
        find = super()._get_stale_trial_ids
        stale = self._patiently(lambda: find(study_id))
        for trial_id in stale:
            # Optuna fails these next and does not say why.
            with suppress(UpdateFinishedTrialError):
                self.set_trial_user_attr(
                    trial_id, ERROR, f"its worker has not been heard of for {self.grace_period} s"
                )
        return stale

    def _patiently(self, operation: Callable[[], Result]) -> Result:
        for delay in self._delays:
            try:
                return operation()
            except (StorageInternalError, exc.SQLAlchemyError) as error:
                if not _is_outage(error):
                    raise self._refused(error) from error
                self._reached_since = time.monotonic()
                _log.warning(
                    "storage %s cannot be reached (%s): trying again in %g s",
                    self._name,
                    _reason(error),
                    delay,
                )
            time.sleep(delay)
        try:
            return operation()
        except (StorageInternalError, exc.SQLAlchemyError) as error:
            if not _is_outage(error):
                raise self._refused(error) from error
            self._reached_since = time.monotonic()
            raise StorageError(
                f"storage {self._name} cannot be reached ({_reason(error)}): nothing that was "
                "finished is lost; run the same command again"
            ) from error

    def _refused(self, error: BaseException) -> StorageError:
        return StorageError(f"storage {self._name} refuses to store this: {_reason(error)}")

    def _look_after_engine(self) -> None:
        if self.engine.name == "sqlite":
            _serialise(self.engine)
        # A connection that is forgotten open is told of as a leak by its driver.
        weakref.finalize(self, self.engine.dispose)


def _patient(name: str) -> Any:
    operation = getattr(RDBStorage, name)

    @functools.wraps(operation)
    def wrapped(self: Database, *arguments: Any, **named: Any) -> Any:
        return self._patiently(lambda: operation(self, *arguments, **named))

    return wrapped


for _operation in OPERATIONS:
    setattr(Database, _operation, _patient(_operation))


def open_database(
    storage: str, *, heartbeat: int, grace: int, delays: Sequence[float] = DELAYS
) -> Database:
    """Return the storage in a database, whose tables are made where they are missing.

    A database that cannot be reached now is an error at once: that is a slip in its address
    more often than an outage.

    Parameters
    ----------
    storage
        Its address, as SQLAlchemy writes it.
    heartbeat
        Seconds between the signs of life of a trial's worker.
    grace
        Seconds without a sign after which a trial counts as dead.
    delays
        Seconds between the attempts of a later operation.

    Raises
    ------
    ConfigError
        If the address cannot be meant as it is written, its driver is not installed, or the
        database belongs to something else.
    StorageError
        If it cannot be reached or written.
    """
    url = parsed_address(storage)
    for delay in (*CREATION_DELAYS, None):
        try:
            with _one_at_a_time(url):
                return Database(url, heartbeat=heartbeat, grace=grace, delays=delays)
        except (StorageInternalError, exc.SQLAlchemyError) as error:
            if delay is None:
                raise _unusable(url, error) from error
            time.sleep(delay)
        except RuntimeError as error:
            # The tables are of another release of Optuna; it says how to bring them up to date.
            raise StorageError(f"storage {shown_address(url)}: {redacted(str(error))}") from error
    raise AssertionError  # the last attempt returns or raises


@contextmanager
def _one_at_a_time(url: URL) -> Iterator[None]:
    # Tables are made by whoever finds none, and PostgreSQL refuses the second of two that do.
    engine = sa.create_engine(url, **engine_settings(url))
    try:
        with ExitStack() as stack:
            try:
                connection = stack.enter_context(engine.connect())
                tables = set(sa.inspect(connection).get_table_names())
                if engine.name == "postgresql" and "alembic_version" not in tables:
                    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({CREATION_LOCK})")
            except exc.SQLAlchemyError as error:
                raise _unusable(url, error) from error
            if "alembic_version" in tables and "version_info" not in tables:
                # Optuna would add its tables and take the other's schema version for its own.
                raise ConfigError(
                    f"storage {shown_address(url)} holds the tables of something else, such as "
                    "MLflow: give the studies a database of their own"
                )
            if engine.name == "sqlite":
                stack.close()
            yield
    finally:
        # A lock ends with the transaction of its connection.
        engine.dispose()


def _serialise(engine: Engine) -> None:
    # Python's SQLite driver begins a transaction at the first write, after what Optuna has read
    # to decide on it: two processes would both fail a trial, or both run one that waits.
    sa.event.listen(engine, "connect", _leave_transactions_alone)
    sa.event.listen(engine, "begin", _begin_immediately)
    engine.dispose()


def _leave_transactions_alone(connection: Any, _: object) -> None:
    connection.isolation_level = None


def _begin_immediately(connection: sa.Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _is_outage(error: BaseException) -> bool:
    return any(isinstance(one, OUTAGES) for one in _chain(error))


def _reason(error: BaseException) -> str:
    # The driver's own first line: SQLAlchemy adds the statement, Optuna a guess.
    for one in _chain(error):
        if isinstance(one, exc.DBAPIError) and one.orig is not None:
            error = one.orig
            break
    lines = str(error).strip().splitlines()
    return redacted(lines[0]) if lines else type(error).__name__


def _chain(error: BaseException) -> Iterator[BaseException]:
    current: BaseException | None = error
    while current is not None:
        yield current
        current = current.__cause__ or current.__context__


def _unusable(url: URL, error: BaseException) -> StorageError:
    return StorageError(
        f"storage {shown_address(url)} cannot be used: {_reason(error)}. Check that "
        + (
            "its folder exists and can be written"
            if url.get_backend_name() == "sqlite"
            else "the server runs, that the database exists, and its user and password"
        )
    )
