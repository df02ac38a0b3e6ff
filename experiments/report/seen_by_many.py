"""Which of several results lie in-sample, and until when."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from experiments.report.seen import seen_until

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from experiments.result import BacktestResult, Slice

__all__ = ["listed", "seen_by_any", "seen_words", "slice_words"]

# A sentence that names more is no longer read.
_NAMED: Final = 5


def seen_by_any(results: Sequence[BacktestResult]) -> pd.Timestamp | None:
    """Return the moment until which any of the models had seen what was traded, None if none had.

    Parameters
    ----------
    results
        Of several backtests.
    """
    cuts = [seen_until(one) for one in results if one.slice != "out_of_sample"]
    known = [cut for cut in cuts if cut is not None]
    return max(known, default=None)


def seen_words(results: Sequence[BacktestResult], names: Sequence[str]) -> str:
    """Return in words which of several results lie in-sample.

    Parameters
    ----------
    results
        Of several backtests.
    names
        What each is called.
    """
    if all(one.model is None for one in results):
        return "Nothing was fitted: every decision comes from indicators alone."
    named = list(zip(results, names, strict=True))
    whole = [name for one, name in named if one.slice == "in_sample"]
    partly = [name for one, name in named if one.slice == "mixed"]
    sentences = []
    if whole:
        sentences.append(
            f"In-sample (shaded): the model had seen the whole period of {listed(whole)}, so "
            "nothing there says anything about skill."
        )
    if partly:
        cut = seen_by_any([one for one, name in named if one.slice == "mixed"])
        until = "" if cut is None else f" until {cut:%Y-%m-%d %H:%M} at the latest"
        sentences.append(
            f"Partly in-sample (shaded){until}: {listed(partly)}. Only what comes after it says "
            "anything about skill."
        )
    if not sentences:
        return "Out of sample: the model had seen none of what was traded on."
    return " ".join(sentences)


def slice_words(slices: Sequence[Slice]) -> str:
    """Return in words which slice several results have in common.

    Examples
    --------
    >>> slice_words(["out_of_sample", "out_of_sample"]), slice_words(["out_of_sample", "mixed"])
    ('out of sample', 'partly in-sample')
    """
    kinds = set(slices)
    if kinds == {"out_of_sample"}:
        return "out of sample"
    return "in-sample" if kinds == {"in_sample"} else "partly in-sample"


def listed(names: Sequence[str]) -> str:
    """Return names as a sentence lists them, many of them cut short.

    Examples
    --------
    >>> listed(["a"]), listed(["a", "b", "c"])
    ('a', 'a, b and c')
    >>> listed([str(number) for number in range(8)])
    '0, 1, 2, 3, 4 and 3 more'
    """
    shown = list(names)
    if len(shown) > _NAMED:
        shown = [*shown[:_NAMED], f"{len(shown) - _NAMED:,} more"]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"
