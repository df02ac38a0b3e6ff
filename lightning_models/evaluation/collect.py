"""Pair a model's forecasts with what happened, for any candles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from lightning_models.data.labels import Labels
from lightning_models.data.targets import HorizonReturn, label_candles
from lightning_models.data.triple_barrier import BarrierLabels
from lightning_models.evaluation.outcomes import Outcomes
from lightning_models.features.bridging import bridge
from lightning_models.features.compute import compute_features
from lightning_models.forecast import LEVELS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lightning_models.bundle import Bundle
    from lightning_models.candles.candles import Candles
    from lightning_models.forecast import ForecastArrays
    from lightning_models.predictor import Predictor

__all__ = ["collect_outcomes", "labels_of", "pair_outcomes"]


def labels_of(candles: Candles, bundle: Bundle) -> Labels:
    """Return the labels of each candle, on the candles' own rows.

    Parameters
    ----------
    candles
        Of the bundle's timeframe.
    bundle
        Whose horizons to label.
    """
    bridged = bridge(candles.time, candles.ohlcv, candles.timeframe, candles.market)
    labels = label_candles(
        bundle.target,
        bridged.time,
        bridged.ohlcv[:, :4],
        bridged.real,
        _volatility(candles, bundle),
        horizons=bundle.horizons,
        period=candles.period_ms,
        market=candles.market,
    )
    returns, end = labels.returns[bridged.rows], labels.end[bridged.rows]
    if not isinstance(labels, BarrierLabels):
        return Labels(returns, end)
    row_of = np.full(len(bridged.time) + 1, -1)
    row_of[bridged.rows] = np.arange(len(candles))
    return BarrierLabels(
        returns,
        end,
        labels.outcome[bridged.rows],
        row_of[labels.exit[bridged.rows]],
        labels.ambiguous,
    )


def _volatility(candles: Candles, bundle: Bundle) -> npt.NDArray[np.float64]:
    # On the bridged grid; what a barrier's distance is a multiple of.
    if isinstance(bundle.target, HorizonReturn):
        return np.empty(0)
    table = compute_features(
        candles.time,
        candles.ohlcv,
        features=bundle.features,
        timeframe=candles.timeframe,
        market=candles.market,
    )
    return table.volatility


def collect_outcomes(
    predictor: Predictor,
    candles: Sequence[Candles],
    *,
    start: int | None = None,
    end: int | None = None,
    horizon: int = 0,
) -> Outcomes:
    """Forecast every candle and pair each forecast with its outcome.

    Parameters
    ----------
    predictor
        Any.
    candles
        One entry for each symbol.
    start
        First decision time (a candle's close) in milliseconds; by default the first there is.
    end
        Last moment at which a label may end; by default the last there is.
    horizon
        Position on the horizon axis.

    Returns
    -------
    Outcomes
        Of candles that have both a forecast and a label. Candles that end long before
        `start` are not forecast.
    """
    parts = [
        pair_outcomes(
            predictor.forecast_arrays(one.time, one.ohlcv),
            one,
            predictor.bundle,
            symbol=position,
            start=start,
            end=end,
            horizon=horizon,
        )
        for position, one in enumerate(
            _with_history(each, start, predictor.required_bars) for each in candles
        )
    ]
    return Outcomes(
        symbol=np.concatenate([part.symbol for part in parts]),
        time=np.concatenate([part.time for part in parts]),
        probability_up=np.concatenate([part.probability_up for part in parts]),
        predicted=np.concatenate([part.predicted for part in parts]),
        actual=np.concatenate([part.actual for part in parts]),
        base_rate=parts[0].base_rate,
        overlap=parts[0].overlap,
        bounds=_joined([part.bounds for part in parts]),
        timed_out=_joined([part.timed_out for part in parts]),
        probability_timeout=_joined([part.probability_timeout for part in parts]),
    )


def _with_history(candles: Candles, start: int | None, bars: int) -> Candles:
    # From as many candles before the first decision as its forecast needs.
    if start is None:
        return candles
    first = int(np.searchsorted(candles.time + candles.period_ms, start)) - bars
    return candles if first <= 0 else candles.between(int(candles.time[first]), None)


def pair_outcomes(
    forecasts: ForecastArrays,
    candles: Candles,
    bundle: Bundle,
    *,
    symbol: int = 0,
    start: int | None = None,
    end: int | None = None,
    horizon: int = 0,
) -> Outcomes:
    """Pair forecasts that are already there with their outcomes.

    Parameters
    ----------
    forecasts
        One row for each candle.
    candles, bundle
        What was forecast by what.
    symbol
        Index to give the rows.
    start, end, horizon
        As in `collect_outcomes`.
    """
    labels = labels_of(candles, bundle)
    decided = candles.time + candles.period_ms
    chosen: npt.NDArray[np.bool_] = (labels.end > 0) & np.isfinite(
        forecasts.probability[:, horizon]
    )
    if start is not None:
        chosen &= decided >= start
    if end is not None:
        chosen &= labels.end <= end
    rows = np.flatnonzero(chosen)
    return Outcomes(
        symbol=np.full(len(rows), symbol),
        time=decided[rows] - 1,
        probability_up=forecasts.probability[rows, horizon],
        predicted=forecasts.quantiles[rows, horizon, 1],
        actual=labels.returns[rows, horizon],
        base_rate=bundle.base_rate[horizon],
        overlap=bundle.horizons[horizon].candles,
        bounds=_bounds_of(forecasts, rows, horizon),
        timed_out=labels.outcome[rows, horizon] == 0 if isinstance(labels, BarrierLabels) else None,
        probability_timeout=(
            None if forecasts.timeout is None else forecasts.timeout[rows, horizon]
        ),
    )


def _bounds_of(
    forecasts: ForecastArrays, rows: npt.NDArray[np.int64], horizon: int
) -> npt.NDArray[np.float64] | None:
    if not forecasts.has_intervals:
        return None
    levels = [np.stack(forecasts.bounds(level), axis=-1)[rows, horizon] for level in LEVELS]
    return np.stack(levels, axis=1)


def _joined(parts: Sequence[npt.NDArray[Any] | None]) -> npt.NDArray[Any] | None:
    there = [part for part in parts if part is not None]
    return np.concatenate(there) if len(there) == len(parts) else None
