"""A path of forecasts, each made from the candles and the forecasts before it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from lightning_models.errors import ConfigError
from lightning_models.fan import Fan
from lightning_models.features.bridging import bridge
from lightning_models.forecast import INTERVAL, ForecastArrays
from lightning_models.timeframes import bar_stamp, period_ms

if TYPE_CHECKING:
    import pandas as pd

    from lightning_models.candles.candles import Candles
    from lightning_models.predictor import Predictor

__all__ = ["MAX_STEPS", "forecast_path"]

MAX_STEPS: Final = 1_000

# Candles whose volume a synthetic one takes the median of.
_VOLUMES: Final = 60

Floats = npt.NDArray[np.float64]


def forecast_path(
    predictor: Predictor, frame: pd.DataFrame | Candles, *, steps: int = 24, level: float = INTERVAL
) -> Fan:
    r"""Forecast one candle ahead, take the forecast for a candle, and go on from there.

    The synthetic candle opens at the close before it and closes at the forecast median; its high
    and low are the larger and the smaller of the two, its volume is the median of the last 60
    candles. Each step sees exactly what `Predictor.predict_latest` would see with the synthetic
    candles behind the real ones.

    Bounds grow with the root of the step. With the first step's median :math:`m` and its
    conformal bounds :math:`l, u` (returns), the bounds of step :math:`k` lie
    :math:`\sqrt{k}\,\ln\frac{1 + m}{1 + l}` below and :math:`\sqrt{k}\,\ln\frac{1 + u}{1 + m}`
    above the log of the path's median: the root of the sum of squares of :math:`k` equal
    distances, each side by itself. The distances of later steps are not used: trailing
    volatility falls as calm synthetic candles enter it, and would narrow them.

    Parameters
    ----------
    predictor
        With a horizon of one candle; of its other horizons nothing is used.
    frame
        As `Predictor.predict_latest` takes it.
    steps
        Candles ahead, from 1 to `MAX_STEPS`.
    level
        One of `lightning_models.forecast.LEVELS`.

    Returns
    -------
    Fan
        One step for each candle.

    Raises
    ------
    ConfigError
        If the model has no horizon of one candle, forecasts exits at barriers, or `steps` is no
        such number.
    TooFewCandlesError, NoForecastError, CandleError, BundleError
        As `Predictor.predict_latest`.

    Notes
    -----
    A step's bounds would hold their level if the errors of all steps were independent, alike and
    stable under addition, as those of a random walk are; each step is taken by itself, and no
    level is promised for the path as a whole. Measured on `simulate_market`, as the mean over four
    seeds of 625 paths each, with a univariate network over close and volume:

    ================  ======  ======  =======
    asked             step 1  step 6  step 24
    ================  ======  ======  =======
    80 %, no signal   80.1 %  77.5 %  77.6 %
    95 %, no signal   95.5 %  95.5 %  94.5 %
    80 %, signal 0.5  80.9 %  73.0 %  68.2 %
    95 %, signal 0.5  95.5 %  91.5 %  90.4 %
    ================  ======  ======  =======

    What a model knows of the next candle it does not know of those after it, which it reads from
    candles of its own making: the more it knows, the more its later bounds are too narrow. For a
    bound that holds, train the further horizon itself.
    """
    position = _single_step(predictor)
    if not isinstance(steps, int) or isinstance(steps, bool) or not 1 <= steps <= MAX_STEPS:
        raise ConfigError(
            f"steps={steps!r}: give a number of candles from 1 to {MAX_STEPS:,}, such as 24"
        )
    candles, probability, quantiles = predictor.latest(frame)
    low, high = (
        float(bound[0, position])
        for bound in ForecastArrays(probability[None], quantiles[None]).bounds(level)
    )
    price = float(candles.ohlcv[-1, 3])
    # A series' later members did not exist yet when the last candle closed.
    speaker = predictor.responsible_at(int(candles.time[-1]))
    returns = _later_returns(speaker, candles, float(quantiles[position, 1]), steps, position)
    median = price * np.cumprod(1.0 + returns, dtype=np.float64)
    reach = np.arange(1, steps + 1, dtype=np.int64)
    middle = 1.0 + returns[0]
    with np.errstate(divide="ignore"):
        # A lower bound of -100 % is infinitely far in logs, and a price of 0 at every step.
        below, above = np.log([middle / np.float64(1.0 + low), (1.0 + high) / middle])
    stamp = int(bar_stamp(candles.time[-1:], predictor.timeframe)[0])
    period = period_ms(predictor.timeframe)
    from lightning_models.data.horizons import resolve_horizons  # its package loads torch

    return Fan(
        symbol=candles.symbol,
        time=stamp,
        price=price,
        level=level,
        model=predictor.model,
        names=tuple(one.name for one in resolve_horizons(reach.tolist(), predictor.timeframe)),
        candles=reach,
        times=stamp + period * reach,
        median=median,
        lower=median * np.exp(-np.sqrt(reach) * below),
        upper=median * np.exp(np.sqrt(reach) * above),
    )


def _later_returns(
    speaker: Predictor, candles: Candles, first: float, steps: int, position: int
) -> Floats:
    # The first step's median return and those of the steps after it.
    bars = speaker.required_bars
    known = bridge(
        candles.time[-bars:], candles.ohlcv[-bars:], speaker.timeframe, speaker.bundle.market
    ).ohlcv
    count = len(known)
    grid = np.empty((count + steps - 1, 5))
    grid[:count] = known
    grid[count:, 4] = np.median(candles.ohlcv[-_VOLUMES:, 4])
    if not any(feature.definition.needs_volume for feature in speaker.bundle.features):
        grid[:, 4] = 0.0  # a feed without volume gives NaN there
    returns = np.empty(steps)
    returns[0] = first
    for step in range(1, steps):
        row = count + step - 1
        before = float(grid[row - 1, 3])
        close = before * (1.0 + float(returns[step - 1]))
        grid[row, :4] = before, max(before, close), min(before, close), close
        returns[step] = speaker.next_medians(grid[row + 1 - count : row + 1])[position]
    return returns


def _single_step(predictor: Predictor) -> int:
    bundle = predictor.bundle
    if bundle.target.name != "horizon-return":
        raise ConfigError(
            f"{predictor.model} forecasts the return at the first of three barriers, which no "
            "candle closes at: a path needs a model of data.target=horizon-return"
        )
    for position, horizon in enumerate(bundle.horizons):
        if horizon.candles == 1:
            return position
    raise ConfigError(
        f"a path needs a horizon of one candle ({predictor.timeframe}); {predictor.model} has "
        f"{', '.join(predictor.horizons)}: ask it for its own horizons, or train with --set "
        "data.horizons='[1]'"
    )
