"""Say in words why a strategy opened no position."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lstm_strategies.verdicts import BEFORE_UNSEEN, DISAGREEING, UNDER_THRESHOLD

if TYPE_CHECKING:
    from collections import Counter

    from lightning_models.predictor import Predictor

__all__ = ["why_no_trade"]


def why_no_trade(
    counts: Counter[str],
    predictor: Predictor,
    *,
    bars: int,
    threshold: float,
    min_edge: float,
    largest_confidence: float,
) -> str:
    """Return why no position was opened.

    Parameters
    ----------
    counts
        As `lstm_strategies.strategy.LSTMStrategy` keeps them.
    predictor
        Whose forecasts were traded.
    bars
        How many bars there were.
    threshold
        Confidence that a trade needed.
    min_edge
        Expected move over the cost of a round trip that a trade needed.
    largest_confidence
        Of the bars that might have been traded.
    """
    bundle = predictor.bundle
    if not counts["forecasts"]:
        return (
            f"no position was opened: there was no forecast in {bars} bars; {predictor.model} "
            f"needs {predictor.required_bars} bars of history without a hole of more than "
            f"{bundle.bridged_share:.0%} of its window"
        )
    unseen_from = f"{bundle.unseen_from:%Y-%m-%d %H:%M}Z"
    words = {
        BEFORE_UNSEEN: f"before {unseen_from}, which the model has seen",
        UNDER_THRESHOLD: f"under the confidence of {threshold:.3f}",
        DISAGREEING: "whose median points the other way",
        "under_edge": f"under {min_edge:g} times the cost of a round trip",
        "short_refused": "down, with long_only",
        "orders_margin": "refused for lack of cash",
        "unsized": "too small for one lot, or without a stop distance",
    }
    reasons = [f"{counts[key]} {reason}" for key, reason in words.items() if counts[key]]
    return (
        f"no position was opened: of {counts['forecasts']} forecasts "
        f"{', '.join(reasons) or 'none led to an order'}; the largest confidence was "
        f"{largest_confidence:.3f}. Honest confidence is small: try top_share=0.1 or a lower "
        "min_confidence"
    )
