"""What can be told of a feed before its bars are forecast: wrong timeframes, stamps, volume."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

import backtrader as bt
import numpy as np
import numpy.typing as npt

from lightning_models.errors import BundleError
from lightning_models.timeframes import DAY_MS, period_ms, timeframe_of_period
from lstm_strategies.errors import ParameterError
from lstm_strategies.feed import candle_timeframe_of

if TYPE_CHECKING:
    from lightning_models.predictor import Predictor
    from lstm_strategies.resampled_source import ResampledSource

__all__ = [
    "MILLISECOND",
    "check_actual_timeframe",
    "check_stamps",
    "check_stated_timeframe",
    "read_ahead_error",
    "warn_of_no_volume",
    "warn_of_opens",
]

_log = logging.getLogger(__name__)

Floats = npt.NDArray[np.float64]


MILLISECOND: Final = 1.5 / DAY_MS
"""In backtrader's dates, which count days; half of one more leaves room for rounding."""


def read_ahead_error(data: Any, now: Any) -> ParameterError:
    """Return what to say of a feed that shows a bar before its time.

    Parameters
    ----------
    data
        The feed.
    now
        Moment that backtrader's clock stands at.
    """
    return ParameterError(
        f"the feed {data._name!r} shows its bar of {bt.num2date(data.datetime[0])} at {now}: with "
        "exactbars=1 backtrader reads ahead in feeds that wait for others. Run with exactbars=0 or "
        "exactbars=-1"
    )


def check_stated_timeframe(data: Any, predictor: Predictor) -> None:
    """Refuse a feed that states another timeframe than the model reads.

    Raises
    ------
    BundleError
        Unless it states none, and so one of days.
    """
    # A feed of days may be one whose timeframe was never stated: its stamps decide later.
    stated = (data._timeframe, data._compression)
    named = candle_timeframe_of(data)
    if named == predictor.timeframe or stated == (bt.TimeFrame.Days, 1):
        return
    raise BundleError(
        f"{predictor.model} reads {predictor.timeframe} candles, and the feed {data._name!r} has "
        f"{named or f'{data._compression} x {bt.TimeFrame.getname(data._timeframe)}'}: give it a "
        f"feed of {predictor.timeframe}, such as CandleData(…, timeframe={predictor.timeframe!r})"
    )


def check_stamps(dates: Floats, predictor: Predictor, data: Any) -> None:
    """Refuse a feed of bars within a day that backtrader has stamped as bars of days.

    It does so in CSV feeds that state no timeframe: all bars of a day get the day's end.

    Parameters
    ----------
    dates
        ``float64 [T]``, backtrader's dates of successive bars.
    predictor
        The model.
    data
        The feed.

    Raises
    ------
    ParameterError
        If two of the stamps are the same.
    """
    period = period_ms(predictor.timeframe)
    alike = np.flatnonzero(np.diff(dates) == 0)
    if data._timeframe != bt.TimeFrame.Days or period >= DAY_MS or not len(alike):
        return
    stated = f"timeframe=bt.TimeFrame.Minutes, compression={period // 60_000}"
    stamp = bt.num2date(dates[alike[0]])
    raise ParameterError(
        f"bars of the feed {data._name!r} are stamped alike, {stamp}: it states no timeframe, and "
        "backtrader then takes each bar for a day's. If these are "
        f"{predictor.timeframe} bars, which {predictor.model} reads, give the feed {stated}"
    )


def check_actual_timeframe(opens: npt.NDArray[np.int64], predictor: Predictor, data: Any) -> None:
    """Refuse a feed whose bars lie farther apart than the model's candles.

    Raises
    ------
    BundleError
        If even the closest two of them do.
    """
    # Bars too close together are refused where holes are bridged; too far apart, every one of
    # them would look like a hole. Between sessions most steps may be longer than a candle.
    if len(opens) < 2:
        return
    step = int(np.diff(opens).min())
    if step <= period_ms(predictor.timeframe):
        return
    raise BundleError(
        f"{predictor.model} reads {predictor.timeframe} candles, and bars of the feed "
        f"{data._name!r} are at least {step / 3_600_000:g} h apart: give it a feed of "
        f"{predictor.timeframe}, such as CandleData(…, timeframe={predictor.timeframe!r})"
    )


def warn_of_no_volume(volume: Floats, predictor: Predictor, data: Any) -> None:
    """Warn where a model reads volume and the first bars have none.

    Parameters
    ----------
    volume
        ``float64 [T]``, of the feed's first bars; 0 or not-a-number where there is none.
    predictor
        The model.
    data
        The feed.
    """
    readers = [
        feature.label for feature in predictor.bundle.features if feature.definition.needs_volume
    ]
    if not readers or len(volume) < predictor.required_bars or bool((volume > 0).any()):
        return
    _log.warning(
        "the feed %r has no volume in its first %d bars, and %s reads %s: %s. Give a feed with "
        "volume, or train a model on features without it (data.features)",
        data._name,
        len(volume),
        predictor.model,
        ", ".join(readers),
        "it gives no forecast without"
        if np.isnan(volume).all()
        else "its forecasts take that for a market without trades",
    )


def warn_of_opens(source: ResampledSource, predictor: Predictor, data: Any) -> None:
    """Warn, once a feed, where backtrader may resample bars by their opens.

    Parameters
    ----------
    source
        What the feed is resampled from.
    predictor
        The model.
    data
        The feed.
    """
    # Within days only: by its date a bar stamped at its open is put into the right day or week.
    if source.warned or data._timeframe >= bt.TimeFrame.Days:
        return
    step = source.border_of_opens(predictor.timeframe)
    if step is None:
        return
    source.warned = True
    name = timeframe_of_period(step) or f"{step / 60_000:g}m"
    _log.warning(
        "the feed %r is resampled from %s bars stamped right on the border of two bars, which "
        "backtrader takes for their ends. If they are opens, as exchanges stamp, each %s candle "
        "lacks its first bar, ends with the first bar of the next one, and is forecast wrongly: "
        "use CandleData(dataname=…, timeframe=%r), which resamples by itself, or shift the stamps "
        "to the bars' ends. If they are ends, the candles are right",
        data._name,
        name,
        predictor.timeframe,
        predictor.timeframe,
    )
