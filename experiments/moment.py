"""Moments as a user writes them: ISO-8601, and UTC where no zone is given."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from typing import Annotated, Any

from pydantic import BeforeValidator

from lightning_models.errors import ConfigError

__all__ = ["Moment", "moment_of"]

# A lone number would be read as seconds since 1970 by one library and as a year by another.
_WRITTEN = re.compile(r"\d{4}-\d{2}-\d{2}([T ]\d{2}.*)?", re.DOTALL)


def moment_of(written: Any, *, option: str = "time") -> datetime:
    """Return the moment that a text, a date or a datetime stands for, in UTC.

    Parameters
    ----------
    written
        Such as ``2022-06-30T18:00:00Z``; a date alone is its midnight.
    option
        What the user calls it, for the message.

    Raises
    ------
    ConfigError
        If it is no such moment.

    Examples
    --------
    >>> moment_of("2022-06-30 20:00+02:00").isoformat()
    '2022-06-30T18:00:00+00:00'
    """
    moment = _read(written)
    if moment is None:
        raise ConfigError(
            f"unreadable {option} {written!r}: write a UTC time such as 2022-06-30T18:00:00Z"
        )
    return moment


def _read(written: Any) -> datetime | None:
    found: datetime | None = None
    if isinstance(written, datetime):
        found = written
    elif isinstance(written, date):
        found = datetime(written.year, written.month, written.day, tzinfo=UTC)
    elif isinstance(written, str) and _WRITTEN.fullmatch(written.strip()):
        try:
            found = datetime.fromisoformat(written.strip())
        except ValueError:
            return None
    if found is None:
        return None
    try:
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except OverflowError:
        return None


def _validated(written: Any) -> datetime:
    moment = _read(written)
    if moment is None:
        raise ValueError("write a UTC time such as 2022-06-30T18:00:00Z")
    return moment


Moment = Annotated[datetime, BeforeValidator(_validated)]
"""A field that takes what `moment_of` takes and is an aware datetime in UTC."""
