"""Which part of a backtest the model had seen before."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    import numpy.typing as npt

    from experiments.result import BacktestResult

__all__ = ["seen_sentence", "seen_until", "was_seen"]


def seen_until(result: BacktestResult) -> pd.Timestamp | None:
    """Return the moment before which the model had seen the data, or None if unknown.

    A period that is wholly in-sample counts as seen to its last bar.
    """
    if result.unseen_from is not None:
        return pd.Timestamp(result.unseen_from)
    if result.slice == "in_sample" and result.end_date is not None:
        return pd.Timestamp(result.end_date) + pd.Timedelta(milliseconds=1)
    return None


def was_seen(time: str, result: BacktestResult) -> bool:
    """Return whether the model had seen the data at a moment (ISO-8601, UTC)."""
    seen = seen_until(result)
    return seen is not None and pd.Timestamp(time) < seen


def seen_sentence(result: BacktestResult) -> str:
    """Return in words which part of the period the model had seen, and what each part made.

    Parameters
    ----------
    result
        What the backtest found.

    Returns
    -------
    str
        One to three sentences.
    """
    if result.slice == "in_sample":
        return (
            "In-sample (shaded): the model had seen this whole period, so nothing here says "
            "anything about skill."
        )
    if result.unseen_from is None:
        return "It is not known which part of this period the model had seen."
    cut = pd.Timestamp(result.unseen_from)
    moment = cut.strftime("%Y-%m-%d %H:%M")
    if result.slice == "out_of_sample":
        return (
            f"Out of sample: the model had seen nothing from {moment} on, and no position was "
            "opened before; earlier candles are shaded."
        )
    before, after = _parts(result, cut)
    return (
        f"In-sample until {moment} (shaded): {before}. Out of sample after it: {after}. "
        "Only the second part says anything about skill."
    )


def _parts(result: BacktestResult, cut: pd.Timestamp) -> tuple[str, str]:
    times = pd.to_datetime([point.time for point in result.equity_curve], utc=True)
    equity = np.array([point.equity for point in result.equity_curve])
    seen = int(np.sum(times < cut))
    seen_trades = sum(was_seen(trade.entry_time, result) for trade in result.trades)
    # The later part starts from the equity that the earlier one ended with.
    return (
        _part(equity[:seen], seen, seen_trades),
        _part(equity[max(0, seen - 1) :], len(equity) - seen, len(result.trades) - seen_trades),
    )


def _part(equity: npt.NDArray[np.float64], bars: int, trades: int) -> str:
    change = 100.0 * (equity[-1] / equity[0] - 1.0) if len(equity) > 1 else 0.0
    plural = "" if trades == 1 else "s"
    return f"{change:+.2f}% over {bars:,} bars with {trades:,} trade{plural}"
