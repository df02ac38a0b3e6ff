"""Passwords in addresses, which no message, log line or command may show."""

from __future__ import annotations

import re

__all__ = ["redacted"]

# Greedy to the last @ before another address or the line's end: a password may hold a blank, an @
# or a slash that nobody encoded. Nobody is called localhost or by a number: a port follows.
_USER = re.compile(
    r"""
    (?P<scheme>[a-z][\w+.-]*://)
    (?!(?:localhost|(?:\d{1,3}\.){3}\d{1,3}):\d+(?:[\s'",;)]|/[^\s@]*(?:\s|$)))
    (?P<user>[^\s:/]*):
    (?P<password>(?:(?!\s["'(]?(?:[a-z][\w+.-]*://|models:/))[^\r\n])*)@
    """,
    re.IGNORECASE | re.VERBOSE,
)
_QUERY = re.compile(
    r"(?P<key>[?&;](?:\w*password|passwd|pwd|\w*token|\w*secret)=)[^&;\s'\"]+", re.I
)


def redacted(text: str) -> str:
    """Return a text with the passwords of the addresses in it as ``***``.

    Examples
    --------
    >>> redacted("postgresql://me:p@ss/word@db/mlflow cannot be reached")
    'postgresql://me:***@db/mlflow cannot be reached'
    >>> redacted("http://127.0.0.1:5000 or sqlite:////home/me/mlflow.db")
    'http://127.0.0.1:5000 or sqlite:////home/me/mlflow.db'
    """
    without = _USER.sub(r"\g<scheme>\g<user>:***@", text)
    return _QUERY.sub(r"\g<key>***", without)
