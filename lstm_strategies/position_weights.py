"""A backtrader analyzer that keeps what share of the equity each position was, bar by bar."""

from __future__ import annotations

from typing import Any

import backtrader as bt
import numpy as np
import numpy.typing as npt

from lstm_strategies.feed import milliseconds_of_date
from lstm_strategies.parameters import CheckedParameters

__all__ = ["PositionWeights"]


class PositionWeights(bt.Analyzer, CheckedParameters):
    """Signed notional over equity of each feed's position at each bar's close.

    Params:
      - ``from_time`` (None): milliseconds since the epoch; the first bar kept is the first that
        is stamped at or after it.

    Notes
    -----
    Rows are those of `lstm_strategies.metrics.BacktestMetrics` with the same ``from_time``.
    """

    params = (("from_time", None),)

    def __init__(self) -> None:
        super().__init__()
        self._rows: list[tuple[float, ...]] = []
        self._length = 0
        self._feeds = len(self.datas)
        self._first = 0 if self.p.from_time is None else int(self.p.from_time)

    def next(self) -> None:
        """Keep the weights at the close of the bar."""
        strategy = self.strategy
        if not self._rows and milliseconds_of_date(strategy.datetime[0]) < self._first:
            return
        # In a replay, and on a slower feed, the same bar comes again.
        if len(strategy) == self._length and self._rows:
            del self._rows[-1]
        self._length = len(strategy)
        sizes = [strategy.broker.getposition(data).size for data in self.datas]
        if not any(sizes):
            self._rows.append((0.0,) * len(sizes))
            return
        equity = strategy.broker.getvalue()
        self._rows.append(
            tuple(
                size * data.close[0] / equity if size and equity > 0.0 else 0.0
                for size, data in zip(sizes, self.datas, strict=True)
            )
        )

    def get_analysis(self) -> dict[str, Any]:
        """Return the weights as ``{"weights": float64 [T, feeds]}``."""
        return {"weights": self.weights}

    @property
    def weights(self) -> npt.NDArray[np.float64]:
        """``float64 [T, feeds]``, positive where long."""
        return np.array(self._rows, dtype=np.float64).reshape(-1, self._feeds)
