"""A backtrader analyzer that keeps what share of the equity each position was, bar by bar."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import backtrader as bt
import numpy as np
import numpy.typing as npt

from lstm_strategies.feed import milliseconds_of_date
from lstm_strategies.parameters import CheckedParameters

__all__ = ["PositionWeights"]

_AT_OPEN: Final = (bt.Order.Market, bt.Order.Historical)


class PositionWeights(bt.Analyzer, CheckedParameters):
    """Signed notional over equity of each feed's position, from each bar's open and at its close.

    Params:
      - ``from_time`` (None): milliseconds since the epoch; the first bar kept is the first that
        is stamped at or after it.

    Notes
    -----
    Rows are those of `lstm_strategies.metrics.BacktestMetrics` with the same ``from_time``.

    The position from a bar's open is the one from the close before and what market orders made
    of it at the open. It knows nothing of the bar: what a stop or a limit does within it shows
    at its close alone.
    """

    params = (("from_time", None),)

    def __init__(self) -> None:
        super().__init__()
        self._rows: list[tuple[float, ...]] = []
        self._opened: list[tuple[float, ...]] = []
        self._length = 0
        self._feeds = len(self.datas)
        self._first = 0 if self.p.from_time is None else int(self.p.from_time)
        self._places = {data: place for place, data in enumerate(self.datas)}
        self._none = (0.0,) * self._feeds
        # At the close before: sizes and equity; since then: what was filled at an open.
        self._sizes = list(self._none)
        self._equity = 0.0
        self._fills: dict[int, float] = {}

    def start(self) -> None:
        """Remember the equity before the first bar."""
        self._equity = self.strategy.broker.getvalue()

    def notify_order(self, order: Any) -> None:
        """Add up what market orders fill, which they do at an open."""
        if order.exectype not in _AT_OPEN or order.status not in (order.Partial, order.Completed):
            return
        place = self._places.get(order.data)
        if place is not None:
            filled = sum(part.size for part in order.executed.iterpending())
            self._fills[place] = self._fills.get(place, 0.0) + filled

    def next(self) -> None:
        """Keep the weights from the open and at the close of the bar."""
        strategy = self.strategy
        sizes = [strategy.broker.getposition(data).size for data in self.datas]
        # In a replay, and on a slower feed, the same bar comes again; it has opened once.
        again = len(strategy) == self._length
        if self._rows or milliseconds_of_date(strategy.datetime[0]) >= self._first:
            opened = self._opened.pop() if again and self._rows else self._from_open()
            if again and self._rows:
                del self._rows[-1]
            self._opened.append(opened)
            self._rows.append(self._at_close(sizes))
        self._length = len(strategy)
        self._sizes = sizes
        self._fills.clear()
        # Without a position it is the cash, which costs no walk over the feeds.
        broker = strategy.broker
        self._equity = broker.getvalue() if any(sizes) else broker.getcash()

    def get_analysis(self) -> dict[str, Any]:
        """Return ``{"weights": float64 [T, feeds], "opened": float64 [T, feeds]}``."""
        return {"weights": self.weights, "opened": self.opened}

    @property
    def weights(self) -> npt.NDArray[np.float64]:
        """``float64 [T, feeds]``, at each bar's close; positive where long."""
        return np.array(self._rows, dtype=np.float64).reshape(-1, self._feeds)

    @property
    def opened(self) -> npt.NDArray[np.float64]:
        """``float64 [T, feeds]``, from each bar's open on; positive where long."""
        return np.array(self._opened, dtype=np.float64).reshape(-1, self._feeds)

    def _from_open(self) -> tuple[float, ...]:
        if not self._fills and not any(self._sizes):
            return self._none
        sizes = (size + self._fills.get(place, 0.0) for place, size in enumerate(self._sizes))
        return self._shares(sizes, [data.open[0] for data in self.datas], self._equity)

    def _at_close(self, sizes: list[float]) -> tuple[float, ...]:
        if not any(sizes):
            return self._none
        closes = [data.close[0] for data in self.datas]
        return self._shares(sizes, closes, self.strategy.broker.getvalue())

    @staticmethod
    def _shares(
        sizes: Iterable[float], prices: Sequence[float], equity: float
    ) -> tuple[float, ...]:
        return tuple(
            size * price / equity if size and equity > 0.0 else 0.0
            for size, price in zip(sizes, prices, strict=True)
        )
