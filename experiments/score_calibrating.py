"""Give a fused score a probability, on the first part of a backtest's own period."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from experiments.backtest_period import Period
from lightning_models.candles import iso_utc
from lightning_models.errors import ConfigError, TooFewCandlesError
from lightning_models.forecast import forecast_lines
from lightning_models.timeframes import bar_stamp
from lstm_strategies.forecast_cache import ForecastCache
from lstm_strategies.fused import FusedStrategy, fused_scores, quantiles_to_rank_by
from lstm_strategies.models import cache_folder
from lstm_strategies.signals import (
    MIN_OUTCOMES,
    FusionWeights,
    fit_score_calibration,
    lstm_score,
    technical_arrays,
)
from lstm_strategies.strategies import strategy_named

if TYPE_CHECKING:
    from experiments.config import BacktestConfig
    from lightning_models.home import Home
    from lightning_models.predictor import Predictor

__all__ = ["calibrate_score"]

Floats = npt.NDArray[np.float64]


def calibrate_score(
    config: BacktestConfig, period: Period, *, home: Home
) -> tuple[BacktestConfig, Period]:
    """Fit a score's calibration on the start of a period, and trade on what follows.

    The slice is the score's own: the model had not seen it, and no trade is made on it or on
    the candles that its last outcomes reach into. From there on ``min_confidence`` is the
    calibrated probability that the score's side is right.

    Parameters
    ----------
    config
        With ``calibrate_score``, the share of the period to fit on, and a strategy of a fused
        score; what a language model thinks is not part of the fit.
    period
        As it was chosen.
    home
        Whose cache has the forecasts.

    Returns
    -------
    tuple
        The configuration with the fitted parameters, and the period that is left.

    Raises
    ------
    ConfigError
        If the strategy has no fused score, or too few outcomes lie in the slice.
    TooFewCandlesError
        If nothing is left to trade on.
    """
    predictor = period.predictor
    if predictor is None or not issubclass(strategy_named(config.strategy), FusedStrategy):
        raise ConfigError(
            f"calibrate_score is for strategies of a fused score, and {config.strategy} has none: "
            "leave it out, or choose one such as lstm_fast"
        )
    candles = period.candles
    reach = predictor.bundle.horizons[0].candles
    count = int(config.calibrate_score * (len(candles) - period.first))
    rows = np.arange(period.first, period.first + count)
    after = int(rows[-1]) + reach + 1 if count else period.first
    if after > len(candles) - 2:
        raise TooFewCandlesError(
            f"calibrate_score={config.calibrate_score:g} leaves no candle of {candles.symbol} to "
            "trade on: give a smaller share or a longer period"
        )
    outcomes = candles.ohlcv[rows + reach, 3] / candles.ohlcv[rows + 1, 0] - 1.0 if count else rows
    try:
        fitted = fit_score_calibration(_scores(config, predictor, period, home)[rows], outcomes)
    except ConfigError as error:
        raise ConfigError(
            f"calibrate_score={config.calibrate_score:g} is {count} candles of {candles.symbol}, "
            f"and a calibration takes {MIN_OUTCOMES} outcomes: give a larger share or a longer "
            "period"
        ) from error
    until = iso_utc(int(candles.time[after]) + candles.period_ms)
    skill = (
        "The score says nothing there: its temperature lies at its bound."
        if fitted.no_skill
        else f"Its temperature is {fitted.temperature:.3g}, its bias {fitted.bias:+.3g}."
    )
    note = (
        f"The score was calibrated on {fitted.outcomes} outcomes before {until}, which are not "
        f"traded on; min_confidence is a probability of it. {skill}"
    )
    parameters = {
        **config.parameters,
        "score_temperature": fitted.temperature,
        "score_bias": fitted.bias,
    }
    return (
        config.model_copy(update={"parameters": parameters}),
        replace(period, first=after, notes=(*period.notes, note)),
    )


def _scores(config: BacktestConfig, predictor: Predictor, period: Period, home: Home) -> Floats:
    candles = period.candles
    arrays = ForecastCache(cache_folder(str(home.path))).forecasts(
        predictor, bar_stamp(candles.time, candles.timeframe), candles.ohlcv
    )
    lines = forecast_lines(arrays, candles.ohlcv[:, 3], horizon=0, min_confidence=0.0)
    model = lstm_score(
        lines["direction"], lines["confidence"], lines["signal"], quantiles_to_rank_by(predictor)
    )
    own = {
        **{f"weight_{part}": weight for part, weight in FusionWeights().model_dump().items()},
        **config.parameters,
    }
    weights = FusionWeights(
        lstm=own["weight_lstm"], technical=own["weight_technical"], llm=own["weight_llm"]
    )
    return fused_scores(model, technical_arrays(candles.ohlcv).score, weights)
