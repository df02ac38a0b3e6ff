"""Results of several backtests on random walks, for reports to tell of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from experiments.backtest_period import Period
from experiments.backtesting import Backtest
from experiments.comparing import Comparison, ComparisonResult
from experiments.deflation import deflated_sharpe
from experiments.forecast_judgement import ForecastJudgement
from experiments.many_symbols import MultiSymbolResult, SymbolFailure
from experiments.portfolio import PortfolioResult, SymbolShare
from experiments.result import BacktestResult, DoubledCosts, DrawdownPoint, EquityPoint
from experiments.significance import annualised_sharpe
from experiments.superiority import superiority
from experiments.yardsticks import RandomExposure
from lstm_strategies.performance import bar_returns
from tests.experiments.report.made import Made, made_up

CASH = 10_000.0

CHANCE = RandomExposure(
    bars=299,
    exposure=0.3,
    level=0.95,
    distinct_shifts=200,
    total_return_pct=1.5,
    random_return_pct=0.4,
    random_return_low=-6.0,
    random_return_high=7.0,
    p_value=0.412,
)


def variant(made: Made, number: int, **changes: Any) -> Backtest:
    """Return a backtest of another strategy on the same candles, with figures of its own."""
    random = np.random.default_rng(100 + number)
    bars = len(made.result.equity_curve)
    own = 0.003 * random.standard_normal(bars)
    own[0] = 0.0
    equity = CASH * np.cumprod(1.0 + own)
    depth = 100.0 * (1.0 - equity / np.maximum.accumulate(equity))
    times = [point.time for point in made.result.equity_curve]
    ratio = annualised_sharpe(own, 8760.0)
    fields: dict[str, Any] = {
        "strategy": f"strategy_{number}",
        "total_return": equity[-1] - CASH,
        "total_return_pct": 100.0 * (equity[-1] / CASH - 1.0),
        "max_drawdown_pct": depth.max(),
        "sharpe_ratio": ratio,
        "sharpe_low": ratio - 2.0,
        "sharpe_high": ratio + 2.0,
        "equity_curve": tuple(
            EquityPoint(time=time, equity=value) for time, value in zip(times, equity, strict=True)
        ),
        "drawdown_curve": tuple(
            DrawdownPoint(time=time, drawdown_pct=value)
            for time, value in zip(times, depth, strict=True)
        ),
        "random_exposure": CHANCE,
        "doubled_costs": DoubledCosts(
            total_return_pct=-3.21,
            sharpe_ratio=-1.0,
            max_drawdown_pct=9.0,
            total_trades=made.result.total_trades,
            fees_paid=36.0,
        ),
        "verdict": f"Not distinguishable from luck, says strategy {number}.",
        "configuration": {"cash": CASH, "taker_fee": 0.0004, "speed": number},
        "liquidations": number,
        "funding_paid": 1.25,
        **changes,
    }
    changed = made.with_result(**fields)
    first = len(made.candles) - bars
    period = Period(None, made.candles, first, changed.result.slice, ())
    lines = made.forecasts if changed.result.model is not None else None
    return Backtest(changed.result, period, ForecastJudgement(lines), own)


def comparison_of(
    names: Sequence[str] = ("lstm_fast", "trend", "mean_reversion"),
    *,
    length: int = 400,
    trades: int = 12,
    symbol: str = "SIM/USDT",
    changes: dict[str, dict[str, Any]] | None = None,
    **all_of_them: Any,
) -> Comparison:
    """Return a comparison; give the strategies, what changes in one and what in all."""
    made = made_up(length=length, trades=trades, symbol=symbol, scored=False)
    fitted = {"model": "models:/sim/3"}
    done = [
        variant(
            made,
            number,
            **{
                "strategy": name,
                **(fitted if number == 0 else {"model": None, "bundle_sha256": None}),
                **all_of_them,
                **(changes or {}).get(name, {}),
            },
        )
        for number, name in enumerate(names)
    ]
    sharpes = np.array([one.returns.mean() / one.returns.std(ddof=1) for one in done])
    done = [
        Backtest(
            one.result.model_copy(
                update={"deflated_sharpe": deflated_sharpe(one.returns, sharpes)}
            ),
            one.period,
            one.judgement,
            one.returns,
        )
        for one in done
    ]
    done.sort(key=lambda one: -one.result.sharpe_ratio)
    held = np.array([point.equity for point in made.result.buy_and_hold.equity_curve])
    found = superiority(
        np.stack([one.returns for one in done], axis=1),
        [one.result.strategy for one in done],
        metric="sharpe",
        against=bar_returns(held[0], held),
        replications=100,
    )
    kinds = {one.result.slice for one in done}
    first = done[0].result
    return Comparison(
        result=ComparisonResult(
            symbol=symbol,
            timeframe=first.timeframe,
            start_date=first.start_date,
            end_date=first.end_date,
            slice=next((kind for kind in ("mixed", "in_sample") if kind in kinds), "out_of_sample"),
            comparisons=tuple(one.result for one in done),
            best_strategy=first.strategy,
            best_metric="sharpe_ratio",
            superiority=found,
            verdict=found.verdict,
            data_fingerprint=first.data_fingerprint,
        ),
        backtests=tuple(done),
    )


def symbol_backtests(
    symbols: Sequence[str], *, length: int = 400, **changes: Any
) -> list[Backtest]:
    """Return a backtest of one strategy on each of some symbols."""
    fields = {"strategy": "trend", "model": None, "bundle_sha256": None, **changes}
    return [
        variant(made_up(length=length, symbol=symbol, scored=False), number, **fields)
        for number, symbol in enumerate(symbols)
    ]


def symbols_of(
    results: Sequence[BacktestResult], failures: Sequence[tuple[str, str]] = ()
) -> MultiSymbolResult:
    """Return what came out of many symbols with an account each."""
    equity = np.sum([[point.equity for point in one.equity_curve] for one in results], axis=0)
    held = np.sum(
        [[point.equity for point in one.buy_and_hold.equity_curve] for one in results], axis=0
    )
    depth = 100.0 * (1.0 - equity / np.maximum.accumulate(equity))
    ranked = sorted(results, key=lambda one: one.total_return_pct)
    return MultiSymbolResult(
        strategy=results[0].strategy,
        timeframe=results[0].timeframe,
        symbol_results=tuple(results),
        failures=tuple(SymbolFailure(symbol=symbol, error=error) for symbol, error in failures),
        portfolio_total_return_pct=100.0 * (equity[-1] / equity[0] - 1.0),
        portfolio_sharpe_ratio=0.31,
        portfolio_sharpe_low=-1.2,
        portfolio_sharpe_high=1.9,
        portfolio_max_drawdown_pct=depth.max(),
        buy_and_hold_total_return_pct=100.0 * (held[-1] / held[0] - 1.0),
        best_symbol=ranked[-1].symbol,
        worst_symbol=ranked[0].symbol,
        total_trades=sum(one.total_trades for one in results),
        equity_curve=tuple(
            EquityPoint(time=point.time, equity=value)
            for point, value in zip(results[0].equity_curve, equity, strict=True)
        ),
        verdict="All accounts together: not distinguishable from luck.",
    )


def portfolio_of(symbols: Sequence[str], **changes: Any) -> PortfolioResult:
    """Return what came out of one account on several symbols."""
    done = [one.result for one in symbol_backtests(symbols, **changes.pop("backtest", {}))]
    first = done[0]
    taken = {
        name: getattr(first, name)
        for name in PortfolioResult.model_fields
        if name in BacktestResult.model_fields
    }
    return PortfolioResult(
        **{
            **taken,
            "symbols": tuple(symbols),
            "largest_exposure": 0.87,
            "by_symbol": tuple(
                SymbolShare(
                    symbol=one.symbol,
                    total_trades=one.total_trades,
                    win_rate=one.win_rate,
                    total_return=one.total_return / len(done),
                    fees_paid=one.fees_paid,
                    mean_weight=0.12,
                )
                for one in done
            ),
            "trades": tuple(trade for one in done for trade in one.trades),
            "failures": (),
            **changes,
        }
    )
