"""Name the nearest known word, so that a misspelt key can be put right at once."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["nearest_names"]


def nearest_names(name: str, known: Iterable[str]) -> str:
    """Return a phrase that names the known words closest to a misspelt one.

    Parameters
    ----------
    name
        The word as the user wrote it.
    known
        Every word that would have been right.

    Returns
    -------
    str
        ``did you mean 'lookback'?`` where something is close, otherwise ``known: a, b, c``.

    Examples
    --------
    >>> nearest_names("lokback", ["lookback", "epochs"])
    "did you mean 'lookback'?"
    >>> nearest_names("zzz", ["lookback", "epochs"])
    'known: epochs, lookback'
    """
    words = sorted(set(known))
    close = difflib.get_close_matches(name, words, n=3, cutoff=0.6)
    if close:
        return "did you mean " + " or ".join(repr(word) for word in close) + "?"
    return "known: " + ", ".join(words)
