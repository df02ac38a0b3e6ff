"""Passwords in addresses, which no message, log line or command may show."""

from __future__ import annotations

import re

__all__ = ["redacted"]

# Greedy to the last @ of a word: a password may hold an @ or a slash that nobody encoded.
_USER = re.compile(r"(?P<scheme>[a-z][\w+.-]*://)(?P<user>[^\s:/@]*):(?P<password>\S*)@", re.I)
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
