"""A backtest's result on a random walk, for reports to tell of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from experiments.result import (
    BacktestResult,
    BuyAndHold,
    DrawdownPoint,
    EquityPoint,
    ForecastCounts,
    TradeRecord,
)
from experiments.significance import measure_significance, verdict
from lightning_models.candles.candles import Candles
from lightning_models.evaluation import Outcomes, evaluate

HOUR = 3_600_000
START = 1_699_999_200_000


@dataclass
class Made:
    """What `write_report` takes."""

    result: BacktestResult
    candles: Candles
    forecasts: pd.DataFrame
    outcomes: Outcomes | None

    def with_result(self, **changes: Any) -> Made:
        fields = {name: getattr(self.result, name) for name in BacktestResult.model_fields}
        changed = BacktestResult(**{**fields, **changes})
        return Made(changed, self.candles, self.forecasts, self.outcomes)

    @property
    def arguments(self) -> dict[str, Any]:
        return {
            "candles": self.candles,
            "forecasts": self.forecasts,
            "outcomes": self.outcomes,
        }


def iso(milliseconds: int) -> str:
    text = np.datetime_as_string(np.datetime64(int(milliseconds), "ms"))
    return f"{text}Z"


def walk(length: int, symbol: str = "SIM/USDT") -> tuple[Candles, np.ndarray]:
    random = np.random.default_rng(11)
    returns = 0.006 * random.standard_t(4, length)
    close = 30_000 * np.exp(np.cumsum(returns))
    opens = np.r_[close[0], close[:-1]]
    high = np.maximum(opens, close) * (1 + 0.003 * random.random(length))
    low = np.minimum(opens, close) * (1 - 0.003 * random.random(length))
    time = START + np.arange(length) * HOUR
    ohlcv = np.stack([opens, high, low, close, np.ones(length)], axis=1)
    return Candles(symbol, "1h", "continuous", time, ohlcv), returns


def forecasts_on(candles: Candles, warmup: int = 20) -> pd.DataFrame:
    random = np.random.default_rng(12)
    up = np.clip(0.5 + 0.04 * random.standard_normal(len(candles)), 0.05, 0.95)
    median = 0.02 * (up - 0.5)
    close = candles.ohlcv[:, 3]
    frame = pd.DataFrame(
        {
            "signal": np.sign(median),
            "direction": np.where(up >= 0.5, 1.0, -1.0),
            "change_pct": 100 * median,
            "confidence": np.maximum(up, 1 - up),
            "predicted_price": close * (1 + median),
            "lower": close * (0.99 + median),
            "upper": close * (1.01 + median),
        }
    )
    frame.iloc[:warmup] = np.nan
    return frame


def trade_on(candles: Candles, row: int, *, bars: int = 4, number: int = 0) -> TradeRecord:
    entry, leave = candles.ohlcv[row, 0], candles.ohlcv[row + bars, 3]
    sign = 1 if number % 2 == 0 else -1
    return TradeRecord(
        symbol=candles.symbol,
        direction="LONG" if sign > 0 else "SHORT",
        entry_time=iso(candles.time[row] + HOUR - 1),
        entry_price=entry,
        exit_time=iso(candles.time[row + bars] + HOUR - 1),
        exit_price=leave,
        size=0.1,
        pnl=0.1 * sign * (leave - entry),
        pnl_pct=100 * sign * (leave / entry - 1),
        fees=1.5,
        bars=bars,
        exit_reason=("stop", "target", None)[number % 3],
    )


def made_up(
    *,
    length: int = 400,
    first: int = 100,
    trades: int = 12,
    symbol: str = "SIM/USDT",
    scored: bool = True,
) -> Made:
    candles, returns = walk(length, symbol)
    stamps = candles.time + HOUR - 1
    bars = length - first
    step = max(6, bars // max(1, trades))
    made = tuple(
        trade_on(candles, first + 1 + number * step, number=number) for number in range(trades)
    )
    # A third of the market's return stands for a strategy's; the report only shows it.
    own = 0.3 * returns[first:] if trades else np.zeros(bars)
    equity, held = (10_000 * np.cumprod(1 + series) for series in (own, returns[first:]))
    found = measure_significance(
        own, returns[first:], periods_per_year=8760, trades=trades, replications=50
    )
    frame = forecasts_on(candles)
    outcomes = None
    if scored:
        rows = np.arange(first, length - 1)
        up = np.where(
            frame["direction"][rows] > 0, frame["confidence"][rows], 1 - frame["confidence"][rows]
        )
        outcomes = Outcomes(
            symbol=np.zeros(len(rows)),
            time=stamps[rows],
            probability_up=up,
            predicted=frame["change_pct"][rows] / 100,
            actual=returns[rows + 1],
            base_rate=0.51,
        )

    def depth(series: np.ndarray) -> np.ndarray:
        return 100 * (1 - series / np.maximum.accumulate(series))

    def curve(series: np.ndarray) -> tuple[EquityPoint, ...]:
        return tuple(
            EquityPoint(time=iso(stamp), equity=value)
            for stamp, value in zip(stamps[first:], series, strict=True)
        )

    result = BacktestResult(
        strategy_name="LSTMStrategy",
        symbol=symbol,
        timeframe="1h",
        start_date=iso(stamps[first]),
        end_date=iso(stamps[-1]),
        total_trades=trades,
        winning_trades=trades // 2,
        losing_trades=trades - trades // 2,
        win_rate=50.0 if trades else 0.0,
        total_return=equity[-1] - 10_000,
        total_return_pct=equity[-1] / 100 - 100,
        annualized_return=None,
        max_drawdown=120.0,
        max_drawdown_pct=depth(equity).max(),
        sharpe_ratio=found.sharpe_ratio or 0.0,
        sortino_ratio=None,
        profit_factor=None,
        avg_win=3.0,
        avg_loss=-2.0,
        performance_rating="POOR",
        trades=made,
        equity_curve=curve(equity),
        drawdown_curve=tuple(
            DrawdownPoint(time=iso(stamp), drawdown_pct=value)
            for stamp, value in zip(stamps[first:], depth(equity), strict=True)
        ),
        exposure=0.3,
        fees_paid=1.5 * trades,
        turnover=2.0,
        slice="out_of_sample",
        verdict=verdict(found),
        model="models:/sim@champion",
        sharpe_low=found.sharpe_low,
        sharpe_high=found.sharpe_high,
        buy_and_hold=BuyAndHold(
            total_return_pct=held[-1] / 100 - 100,
            sharpe_ratio=0.1,
            max_drawdown_pct=depth(held).max(),
            equity_curve=curve(held),
        ),
        traded_share=trades / bars,
        forecasts=ForecastCounts(
            total=bars,
            without_forecast=0,
            under_threshold=bars - trades,
            disagreeing=0,
            traded=trades,
        ),
        forecast_scores=evaluate(outcomes, replications=50) if outcomes else None,
        unseen_from=iso(candles.time[first]),
        data_fingerprint=candles.fingerprint,
        bundle_sha256="ab" * 32,
        configuration={"min_confidence": 0.55, "cash": 10_000},
    )
    return Made(result, candles, frame, outcomes)
