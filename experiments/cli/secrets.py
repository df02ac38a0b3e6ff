"""Passwords in what is printed, hidden without a wait where there can be none."""

from __future__ import annotations

__all__ = ["redacted"]


def redacted(text: str) -> str:
    """Return a text as `lightning_models.redaction.redacted` does.

    Examples
    --------
    >>> redacted("postgresql://me:secret@db/mlflow cannot be reached")
    'postgresql://me:***@db/mlflow cannot be reached'
    """
    # Its package takes a second, and cannot be loaded at all where Ctrl-C has ended its loading.
    if "://" not in text and "=" not in text:
        return text
    from lightning_models import redaction

    return redaction.redacted(text)
