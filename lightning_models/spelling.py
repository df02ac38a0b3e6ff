"""Name the nearest known word, so that a misspelt key can be put right at once."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["nearest_names"]


def nearest_names(
    name: str, known: Iterable[str], *, in_order: bool = False, likeness: float = 0.6
) -> str:
    """Return a phrase that names the known words closest to a misspelt one.

    Parameters
    ----------
    name
        The word as the user wrote it.
    known
        Every word that would have been right.
    in_order
        Whether to list them as they come instead of by the alphabet.
    likeness
        From 0 to 1, how alike a word must be to be proposed.

    Returns
    -------
    str
        ``did you mean 'lookback'?`` where something is close, otherwise ``known: a, b, c``.

    Examples
    --------
    >>> nearest_names("lokback", ["lookback", "epochs"])
    "did you mean 'lookback'?"
    >>> nearest_names("Lookback", ["lookback", "epochs"])
    "did you mean 'lookback'?"
    >>> nearest_names("zzz", ["lookback", "epochs"])
    'known: epochs, lookback'
    """
    words = list(dict.fromkeys(known)) if in_order else sorted(set(known))
    close = [word for word in words if word.casefold() == name.casefold()]
    close = close or difflib.get_close_matches(name, words, n=3, cutoff=likeness)
    if close:
        return "did you mean " + " or ".join(repr(word) for word in close) + "?"
    return "known: " + ", ".join(words)
