"""Say in words why a strategy opened no position."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from lstm_strategies.verdicts import BEFORE_UNSEEN, DISAGREEING, UNDER_THRESHOLD

if TYPE_CHECKING:
    from collections import Counter

    from lightning_models.predictor import Predictor

__all__ = ["why_no_position", "why_no_trade"]

# What keeps a decision from opening a position, in words after its number.
_REFUSALS = {
    "cooling": "within the cooldown after an exit",
    "blocked": "while a breaker was open",
    "under_edge": "under {min_edge:g} times the cost of a round trip",
    "short_refused": "down, with long_only",
    "orders_margin": "refused for lack of cash",
    "orders_rejected": "rejected by the broker",
    "unsized": "too small for one lot, or without a stop distance",
}


def why_no_position(counts: Counter[str]) -> str:
    """Return why a strategy without a model opened no position.

    Parameters
    ----------
    counts
        As `lstm_strategies.trading.TradingStrategy` keeps them.

    Examples
    --------
    >>> from collections import Counter
    >>> why_no_position(Counter(bars=90, signals=2, unsized=2))
    'no position was opened: of 90 bars 2 had a signal, 2 too small for one lot, or without a stop \
distance'
    """
    reasons = [f"{counts[key]} {words}" for key, words in _REFUSALS.items() if counts[key]]
    return (
        f"no position was opened: of {counts['bars']} bars {counts['signals'] or 'none'} had a "
        f"signal{', ' if reasons else ''}{', '.join(reasons)}"
    )


def why_no_trade(
    counts: Counter[str],
    predictor: Predictor,
    *,
    bars: int,
    threshold: float,
    min_edge: float,
    largest_confidence: float,
    measure: str = "confidence",
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
    measure
        What that is called: ``confidence``, or ``strength`` of a score.
    """
    bundle = predictor.bundle
    if not counts["forecasts"]:
        return (
            f"no position was opened: there was no forecast in {bars} bars; {predictor.model} "
            f"needs {predictor.required_bars} bars of history without a hole of more than "
            f"{bundle.bridged_share:.0%} of its window"
        )
    unseen_from = f"{bundle.unseen_from:%Y-%m-%d %H:%M}Z"
    under = f"under the {measure} of {threshold:.3f}"
    if math.isnan(threshold):
        under = f"not among the share of scores with the largest {measure}, or before there were \
enough to rank them"
    words = {
        BEFORE_UNSEEN: f"before {unseen_from}, which the model has seen",
        UNDER_THRESHOLD: under,
        DISAGREEING: "whose median points the other way",
        **{key: words.format(min_edge=min_edge) for key, words in _REFUSALS.items()},
    }
    reasons = [f"{counts[key]} {reason}" for key, reason in words.items() if counts[key]]
    return (
        f"no position was opened: of {counts['forecasts']} forecasts "
        f"{', '.join(reasons) or 'none led to an order'}; the largest {measure} was "
        f"{largest_confidence:.3f}. Honest confidence is small: try top_share=0.1 or a lower "
        "min_confidence"
    )
