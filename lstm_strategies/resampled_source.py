"""What backtrader's resampler is fed with: the stamps of the bars that it makes others of."""

from __future__ import annotations

import math
from typing import Any

from lightning_models.timeframes import DAY_MS, period_ms
from lstm_strategies.feed import milliseconds_of_date

__all__ = ["ResampledSource", "source_of"]


class ResampledSource:
    """A resampler or replayer of backtrader's that notes the stamps it sees.

    It stands in the resampler's place among a feed's filters and hands everything on to it.

    Parameters
    ----------
    resampler
        The feed's own.
    """

    def __init__(self, resampler: Any) -> None:
        self._resampler = resampler
        self.forget()

    def forget(self) -> None:
        """Begin anew, before a run."""
        self._first = self._last = math.nan
        self._shortest = math.inf
        self.has_ended = False
        self.warned = False

    def __call__(self, data: Any, *args: Any, **kwargs: Any) -> Any:
        """Note the stamp of the source's newest bar, and resample."""
        date = data.datetime[0]
        if self._last < date:
            self._shortest = min(self._shortest, date - self._last)
        elif math.isnan(self._first):
            self._first = date
        self._last = date if math.isnan(self._last) else max(self._last, date)
        return self._resampler(data, *args, **kwargs)

    def check(self, data: Any, *args: Any, **kwargs: Any) -> Any:
        """Resample what is due although the source stands still."""
        return self._resampler.check(data, *args, **kwargs)

    def last(self, data: Any, *args: Any, **kwargs: Any) -> Any:
        """Hand out what is left at the end of the data, finished or not."""
        self.has_ended = True
        return self._resampler.last(data, *args, **kwargs)

    @property
    def is_watched(self) -> bool:
        """Whether the source's bars were seen; not where they were preloaded before."""
        return not math.isnan(self._first)

    def has_reached(self, moment: int) -> bool:
        """Return whether a bar of the source ended at or after a moment (milliseconds)."""
        return self.is_watched and milliseconds_of_date(self._last) + 1 >= moment

    def border_of_opens(self, timeframe: str) -> int | None:
        """Return the source's period where its stamps may be the opens of its bars.

        A stamp inside a bar, such as its last millisecond, says which bar it is of. One right on
        a border is the end of a bar or the open of the next, which only the first one hints at:
        as candles mostly begin whole, ends begin one period after a candle's open.

        Parameters
        ----------
        timeframe
            Of the candles that are resampled to.

        Returns
        -------
        int or None
            Milliseconds; None where stamps lie inside bars, begin as ends do, or are too few.
        """
        if not self.is_watched or math.isinf(self._shortest):
            return None
        step = round(self._shortest * DAY_MS)
        first, last = milliseconds_of_date(self._first), milliseconds_of_date(self._last)
        if step == 0 or first % step or last % step or first % period_ms(timeframe) == step:
            return None
        return step


def source_of(data: Any) -> ResampledSource | None:
    """Return what a feed is resampled or replayed from, watched from now on.

    Parameters
    ----------
    data
        A feed, before its first bar.

    Returns
    -------
    ResampledSource or None
        None where backtrader resamples nothing. The same for each caller.
    """
    if not getattr(data, "resampling", 0):
        return None
    for filters in (data._filters, data._ffilters):
        for each, _, _ in filters:
            if isinstance(each, ResampledSource):
                each.forget()
                return each
    for resampler in [each for each, _, _ in data._filters if hasattr(each, "doadjusttime")]:
        source = ResampledSource(resampler)
        for filters in (data._filters, data._ffilters):
            filters[:] = [
                (source if each is resampler else each, args, kwargs)
                for each, args, kwargs in filters
            ]
        return source
    return None
