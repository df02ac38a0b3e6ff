"""How well a fold's model forecast what it had not seen, and what following it would have made."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from experiments.tuning.held_positions import HeldPositions
from experiments.tuning.score import Floats, Times, averaged
from lightning_models.errors import TooFewCandlesError
from lightning_models.evaluation.collect import pair_outcomes
from lightning_models.evaluation.crps import crps_of_outcomes
from lightning_models.evaluation.outcomes import Outcomes
from lightning_models.features.compute import compute_features
from lightning_models.forecast import ForecastArrays

if TYPE_CHECKING:
    from experiments.walk_forward.folds import Fold
    from lightning_models.candles import Candles
    from lightning_models.predictor import Predictor

__all__ = [
    "FoldForecasts",
    "brier_score",
    "followed",
    "forecast_fold",
    "forecast_metrics",
    "held_positions",
    "held_returns",
    "log_loss",
    "market_returns",
    "why_no_score",
]

_TINY: Final = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, eq=False)
class FoldForecasts:
    """What a fold's model said of its own bars.

    Parameters
    ----------
    candles
        Of each symbol with enough of them: the history of the first forecast, and on to the end
        of the last label.
    arrays
        Of each the forecasts, a row for each candle.
    places
        Of each its place in the candles that `forecast_fold` was given.
    outcomes
        Of all symbols, counted by these places.
    """

    candles: tuple[Candles, ...]
    arrays: tuple[ForecastArrays, ...]
    places: tuple[int, ...]
    outcomes: Outcomes


def forecast_fold(predictor: Predictor, fold: Fold, candles: Sequence[Candles]) -> FoldForecasts:
    """Forecast the bars of a fold, once for its scores and for its returns.

    Parameters
    ----------
    predictor
        Of the fold's model.
    fold
        From the first bar that the model has not seen to the next model's first.
    candles
        All of them, sorted by symbol.

    Returns
    -------
    FoldForecasts
        With the outcomes that `experiments.walk_forward.running.outcomes_of_fold` returns.

    Raises
    ------
    TooFewCandlesError
        If no symbol has as many candles as a forecast needs.
    """
    reach = max(horizon.candles for horizon in predictor.bundle.horizons)
    cut, arrays, places, parts = [], [], [], []
    for place, one in enumerate(candles):
        if fold.replaced_at is not None:
            # Some more for the labels, counted in candles, which sessions do not stretch.
            last = int(np.searchsorted(one.time, fold.replaced_at)) + reach
            one = one.between(None, int(one.time[last]) if last < len(one) else None)
        if len(one) < predictor.required_bars:
            continue
        decided = one.time + one.period_ms
        first = int(np.searchsorted(decided, fold.slices.unseen_from)) - predictor.required_bars
        if first > 0:
            one = one.between(int(one.time[first]), None)
        found = predictor.forecast_arrays(one.time, one.ohlcv)
        cut.append(one)
        arrays.append(found)
        places.append(place)
        parts.append(
            pair_outcomes(found, one, predictor.bundle, symbol=place, start=fold.slices.unseen_from)
        )
    if not cut:
        raise TooFewCandlesError(
            f"no symbol has the {predictor.required_bars} candles that a forecast needs"
        )
    outcomes = Outcomes.joined(parts, base_rate=parts[0].base_rate)
    if fold.replaced_at is not None:
        outcomes = outcomes.take(outcomes.time < fold.replaced_at - 1)
    return FoldForecasts(tuple(cut), tuple(arrays), tuple(places), outcomes)


def forecast_metrics(forecasts: FoldForecasts) -> dict[str, float]:
    """Return the scores of a fold's forecasts that there are; smaller is better in each.

    Parameters
    ----------
    forecasts
        As `forecast_fold` returns them.

    Returns
    -------
    dict
        ``log_loss`` (nats) and ``brier`` where an outcome moved, ``crps`` (multiples of the
        trailing volatility over the horizon) where the model has intervals.
    """
    outcomes = forecasts.outcomes
    found = {}
    moved = outcomes.actual != 0.0
    if moved.any():
        probability, up = outcomes.probability_up[moved], outcomes.actual[moved] > 0.0
        found = {"log_loss": log_loss(probability, up), "brier": brier_score(probability, up)}
    if outcomes.bounds is not None and len(outcomes):
        found["crps"] = float(np.mean(crps_of_outcomes(outcomes) / _units(forecasts)))
    return found


def why_no_score(forecasts: FoldForecasts, name: str) -> str:
    """Return in words why a fold's forecasts lack one of the scores.

    Parameters
    ----------
    forecasts
        As `forecast_fold` returns them.
    name
        ``log_loss``, ``brier`` or ``crps``.
    """
    if not len(forecasts.outcomes):
        return "none of its forecasts met an outcome: too many candles are missing"
    if name == "crps":
        return "its model has no intervals: tune by log_loss or brier"
    return "no price moved after any of its forecasts"


def log_loss(probability: Floats, up: npt.NDArray[np.bool_]) -> float:
    """Return the mean negative log-likelihood of a direction, nats.

    Parameters
    ----------
    probability
        ``float64 [N]``, of a move up.
    up
        ``bool [N]``, which came.

    Examples
    --------
    >>> round(log_loss(np.array([0.5, 0.8]), np.array([True, True])), 4)
    0.4581
    """
    likely = np.clip(probability, _TINY, 1.0 - _TINY)
    return float(-np.log(np.where(up, likely, 1.0 - likely)).mean())


def brier_score(probability: Floats, up: npt.NDArray[np.bool_]) -> float:
    """Return the mean squared error of a direction's probability (Brier, 1950).

    Takes what `log_loss` does.
    """
    return float(np.square(probability - up).mean())


def followed(
    forecasts: FoldForecasts, fold: Fold, *, cost: float
) -> tuple[Times, Floats, Floats, tuple[HeldPositions, ...]]:
    """Return what following every forecast would have made, bar by bar.

    Parameters
    ----------
    forecasts
        As `forecast_fold` returns them.
    fold
        Whose bars these are: those that open from the first decision on and before the next
        model's first one, so that the bars of a walk-forward's folds meet without a gap.
    cost
        Fraction of notional that a change of position costs.

    Returns
    -------
    tuple
        ``int64 [T]``, stamps of the bars; ``float64 [T]``, returns of following (`held_returns`)
        and of holding (`market_returns`), each the mean over the symbols with that bar; and the
        positions of each symbol.

    Raises
    ------
    TooFewCandlesError
        If no symbol has a bar.
    """
    horizon = forecasts.outcomes.overlap
    series, held = [], []
    for one, arrays in zip(forecasts.candles, forecasts.arrays, strict=True):
        first = int(np.searchsorted(one.time + one.period_ms, fold.slices.unseen_from))
        last = len(one)
        if fold.replaced_at is not None:
            last = int(np.searchsorted(one.time, fold.replaced_at))
        rows = slice(first, last)
        prices = one.ohlcv[rows]
        if len(prices) < 2:
            continue
        probability = arrays.probability[rows, 0]
        direction = np.where(probability >= 0.5, 1.0, -1.0)
        direction[np.isnan(probability)] = 0.0
        opened, closed = prices[:, 0], prices[:, 3]
        time, market = one.time[rows][1:] + one.period_ms - 1, market_returns(opened, closed)
        earned = held_returns(opened, closed, direction, horizon=horizon, cost=cost)
        series.append((time, earned, market))
        position = held_positions(direction, horizon=horizon)[:-1]
        held.append(HeldPositions(one.symbol, time, position, market))
    if not series:
        raise TooFewCandlesError("no symbol has a candle after the first decision: give more")
    return *averaged(series), tuple(held)


def held_positions(direction: Floats, *, horizon: int) -> Floats:
    """Return the position that each forecast leaves from the next bar's open on.

    It is that of `held_returns`: the sum of the last `horizon` directions over their number.

    Parameters
    ----------
    direction
        ``float64 [T]``, decided at each bar's close: 1, -1, or 0 without a forecast.
    horizon
        In bars.

    Returns
    -------
    numpy.ndarray
        ``float64 [T]``, signed share of the account.

    Examples
    --------
    >>> held_positions(np.array([1.0, 1.0, -1.0]), horizon=2)
    array([0.5, 1. , 0. ])
    """
    # Sums of whole numbers, which are exact.
    total = np.concatenate([[0.0], np.cumsum(direction)])
    ends = np.arange(1, len(direction) + 1)
    position: Floats = (total[ends] - total[np.maximum(ends - horizon, 0)]) / horizon
    return position


def held_returns(
    opened: Floats, closed: Floats, direction: Floats, *, horizon: int, cost: float
) -> Floats:
    """Return what an account earns that follows each forecast over its horizon.

    A forecast at a bar's close changes the position at the next bar's open, to which it adds
    its direction times one `horizon`-th of the account, and leaves it `horizon` bars later, at
    an open too: overlapping forecasts add up to at most the account. From a close to the next
    open the position is the one from before. It ends at the last bar's close.

    Parameters
    ----------
    opened, closed
        ``float64 [T]``, quote currency.
    direction
        ``float64 [T]``, decided at each bar's close: 1, -1, or 0 without a forecast.
    horizon
        In bars.
    cost
        Fraction of notional that a change of position costs.

    Returns
    -------
    numpy.ndarray
        ``float64 [T - 1]``, close to close, of each bar but the first, which only decides.

    Examples
    --------
    >>> opened, closed = np.array([100.0, 100.0, 110.0]), np.array([100.0, 110.0, 99.0])
    >>> held_returns(opened, closed, np.array([1.0, 0.0, 0.0]), horizon=1, cost=0.0).round(6)
    array([0.1, 0. ])
    """
    # None is held before the first forecast; the last one comes too late for any of these bars.
    position = np.concatenate([[0.0], held_positions(direction, horizon=horizon)[:-1]])
    traded = np.abs(np.diff(position))
    overnight = 1.0 + position[:-1] * (opened[1:] / closed[:-1] - 1.0)
    within = 1.0 + position[1:] * (closed[1:] / opened[1:] - 1.0)
    growth = overnight * (1.0 - cost * traded) * within
    growth[-1:] *= 1.0 - cost * abs(position[-1])
    returns: Floats = growth - 1.0
    return returns


def market_returns(opened: Floats, closed: Floats) -> Floats:
    """Return what holding earns on the bars of `held_returns`, bought at the first one's open.

    Examples
    --------
    >>> market_returns(np.array([1.0, 100.0, 120.0]), np.array([1.0, 110.0, 121.0])).round(6)
    array([0.1, 0.1])
    """
    before = np.concatenate([opened[1:2], closed[1:-1]])
    returns: Floats = closed[1:] / before - 1.0
    return returns


def _units(forecasts: FoldForecasts) -> Floats:
    # Of each outcome: trailing volatility times the root of the horizon, as networks forecast.
    outcomes = forecasts.outcomes
    units = np.empty(len(outcomes))
    for place, one in zip(forecasts.places, forecasts.candles, strict=True):
        table = compute_features(
            one.time, one.ohlcv, features=(), timeframe=one.timeframe, market=one.market
        )
        here = outcomes.symbol == place
        rows = np.searchsorted(one.time + one.period_ms - 1, outcomes.time[here])
        units[here] = table.volatility[table.rows][rows]
    return units * math.sqrt(outcomes.overlap)
