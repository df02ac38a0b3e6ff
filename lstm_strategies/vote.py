"""Votes on an entry: what a forecast has to say of it, and how several votes add up."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from lightning_models.forecast import Forecast
from lstm_strategies.errors import ParameterError
from lstm_strategies.given_values import check_fraction, check_positive
from lstm_strategies.verdicts import CONFIDENT_DOWN, CONFIDENT_UP, judge

__all__ = [
    "ABSTAINED",
    "CONFIRMED",
    "CONTRADICTED",
    "NO_MODEL_FOR_FEED",
    "Tally",
    "Verdict",
    "Vote",
    "matches_signal",
    "tally",
    "verdict_on",
]

Outcome = Literal["confirmed", "contradicted", "abstained"]

CONFIRMED: Final = "confirmed"
CONTRADICTED: Final = "contradicted"
ABSTAINED: Final = "abstained"

NO_MODEL_FOR_FEED: Final = "no_model_for_feed"

# Weights are decimal numbers: 0.1 and 0.2 against 0.3 are a tie, and not 5.6e-17 in favour.
_RESIDUE: Final = 1e-9


@dataclass(frozen=True)
class Vote:
    """What one module says of the direction to trade in.

    Parameters
    ----------
    direction
        +1 up, -1 down, 0 no say.
    weight
        0 or more.

    Raises
    ------
    ParameterError
        If there is no such direction or weight.
    """

    direction: int
    weight: float = 1.0

    def __post_init__(self) -> None:
        _check_direction(self.direction, or_none=True)
        check_positive("weight", self.weight, or_zero=True)


@dataclass(frozen=True)
class Tally:
    """The sum of votes.

    Parameters
    ----------
    up, down
        Weights of the votes in each direction, 0 or more.
    """

    up: float
    down: float

    @property
    def total(self) -> float:
        """Weight of the votes up less that of the votes down; exactly 0 at a tie."""
        total = self.up - self.down
        return 0.0 if abs(total) <= _RESIDUE * (self.up + self.down) else total

    def passes(self, direction: int) -> bool:
        """Return whether an entry in a direction has more votes for it than against it.

        Parameters
        ----------
        direction
            +1 for a buy, -1 for a sell.

        Raises
        ------
        ParameterError
            If it is neither.
        """
        _check_direction(direction)
        return direction * self.total > 0.0


def tally(votes: Mapping[str, Vote]) -> Tally:
    """Add votes up.

    Parameters
    ----------
    votes
        From the name of a module to its vote; one of direction 0 counts for nothing.

    Returns
    -------
    Tally
        A tie, or no vote at all, passes in neither direction.

    Examples
    --------
    A strategy wants to buy, and a forecast says down:

    >>> votes = {"strategy": Vote(1, 1.0), "lstm": Vote(-1, 1.5)}
    >>> tally(votes).total, tally(votes).passes(1)
    (-0.5, False)

    A third module that agrees with the strategy turns it:

    >>> tally({**votes, "trend": Vote(1, 1.0)}).passes(1)
    True
    """
    return Tally(
        up=math.fsum(vote.weight for vote in votes.values() if vote.direction > 0),
        down=math.fsum(vote.weight for vote in votes.values() if vote.direction < 0),
    )


@dataclass(frozen=True)
class Verdict:
    """What a forecast says of an entry.

    Parameters
    ----------
    outcome
        ``confirmed``, ``contradicted`` or ``abstained``.
    reason
        Why it abstained: ``without_forecast``, ``before_unseen``, ``under_threshold``,
        ``disagreeing`` (its median points the other way) or ``no_model_for_feed``; empty
        otherwise.
    """

    outcome: Outcome
    reason: str = ""

    def vote(self, direction: int, weight: float) -> Vote:
        """Return the vote that this verdict on an entry comes to.

        Parameters
        ----------
        direction
            Of the entry, +1 or -1.
        weight
            Of the forecast, 0 or more.
        """
        sign = {CONFIRMED: 1, CONTRADICTED: -1, ABSTAINED: 0}[self.outcome]
        return Vote(sign * direction, weight)


def matches_signal(forecast: Forecast, direction: int, min_confidence: float = 0.6) -> Verdict:
    """Return whether a forecast confirms a signal of another strategy.

    It knows nothing of what its model has seen: ask it about candles from the bundle's
    ``unseen_from`` on.

    Parameters
    ----------
    forecast
        Such as `lightning_models.Predictor.predict_latest` returns.
    direction
        Of the signal: +1 to buy, -1 to sell.
    min_confidence
        A fraction; below it the forecast has no say.

    Raises
    ------
    ParameterError
        If there is no such direction, or the confidence is no fraction.

    Examples
    --------
    >>> from datetime import datetime, timezone
    >>> forecast = Forecast(
    ...     symbol="BTC/USDT", time=datetime(2024, 1, 1, tzinfo=timezone.utc), horizon="6h",
    ...     price=100.0, direction=-1, change_pct=-0.8, lower=98.0, upper=100.5, interval=0.8,
    ...     confidence=0.64, predicted_price=99.2, model="models:/btc-6h/3",
    ... )
    >>> matches_signal(forecast, -1).outcome, matches_signal(forecast, 1).outcome
    ('confirmed', 'contradicted')
    >>> matches_signal(forecast, 1, min_confidence=0.7)
    Verdict(outcome='abstained', reason='under_threshold')
    """
    check_fraction("min_confidence", min_confidence)
    agrees = np.sign(forecast.change_pct) == forecast.direction
    (judged,) = judge(
        np.array([forecast.confidence]),
        np.array([forecast.direction if agrees else 0.0]),
        np.zeros(1, dtype=np.int64),
        threshold=min_confidence,
        unseen_from=None,
    )
    return verdict_on(judged, direction)


def verdict_on(judged: str, direction: int) -> Verdict:
    """Return what a judged forecast says of an entry.

    Parameters
    ----------
    judged
        As `lstm_strategies.verdicts.judge` returns it.
    direction
        Of the entry, +1 or -1.

    Raises
    ------
    ParameterError
        If there is no such direction.

    Examples
    --------
    >>> verdict_on("confident_up", 1).outcome, verdict_on("before_unseen", 1).reason
    ('confirmed', 'before_unseen')
    """
    _check_direction(direction)
    if judged not in (CONFIDENT_UP, CONFIDENT_DOWN):
        return Verdict(ABSTAINED, judged)
    return Verdict(CONFIRMED if (judged == CONFIDENT_UP) == (direction > 0) else CONTRADICTED)


def _check_direction(direction: int, *, or_none: bool = False) -> None:
    if direction in ((-1, 0, 1) if or_none else (-1, 1)):
        return
    no_say = ", or 0 for no say" if or_none else ""
    raise ParameterError(f"direction={direction!r}: give 1 for up or -1 for down{no_say}")
