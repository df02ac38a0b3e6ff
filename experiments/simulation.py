"""Run a strategy of the table through backtrader, with an account as it was configured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import backtrader as bt

from lstm_strategies import BacktestMetrics, CandleData, CryptoCommission, SimulatedBroker
from lstm_strategies.funding import FundingRates
from lstm_strategies.position_weights import PositionWeights
from lstm_strategies.strategies import strategy_named

if TYPE_CHECKING:
    from experiments.config import BacktestConfig
    from lightning_models.candles import Candles
    from lightning_models.home import Home
    from lightning_models.predictor import Predictor
    from lstm_strategies.analyst import AnalystConfig

__all__ = ["build_cerebro", "simulate"]


def simulate(
    config: BacktestConfig,
    candles: Sequence[Candles],
    *,
    home: Home,
    predictor: Predictor | None,
    trade_from: int,
    history: int = 0,
    details: Sequence[Candles | None] = (),
    charge: float = 1.0,
) -> Any:
    """Return the strategy after its run, with its analyzers ``metrics`` and ``weights``.

    Parameters
    ----------
    config
        Strategy, account and costs.
    candles
        A feed each, of one account.
    home
        Where the model is, and the language model's answers.
    predictor
        Of the model; None for a strategy that needs none.
    trade_from
        First moment at whose close something may be decided, milliseconds.
    history
        Bars of each feed before the first that may be decided on.
    details
        For each feed finer candles that decide what came first within a bar, or None.
    charge
        What fees and slippage are multiplied by; funding, which may be received, is not.
    """
    cerebro = build_cerebro(
        config,
        candles,
        home=home,
        predictor=predictor,
        trade_from=trade_from,
        history=history,
        details=details,
        charge=charge,
    )
    return cerebro.run()[0]


def build_cerebro(
    config: BacktestConfig,
    candles: Sequence[Candles],
    *,
    home: Home,
    predictor: Predictor | None,
    trade_from: int,
    history: int = 0,
    details: Sequence[Candles | None] = (),
    charge: float = 1.0,
) -> bt.Cerebro:
    """Return what `simulate` runs, ready for ``run()`` and ``plot()``; takes the same."""
    cerebro = bt.Cerebro(stdstats=False)
    feeds = [CandleData(dataname=one) for one in candles]
    cerebro.setbroker(_broker(config, feeds, details, charge))
    for feed in feeds:
        cerebro.adddata(feed)
    # The bar whose close decides first is stamped a millisecond before that.
    cerebro.addanalyzer(BacktestMetrics, _name="metrics", from_time=trade_from - 1)
    cerebro.addanalyzer(PositionWeights, _name="weights", from_time=trade_from - 1)
    kind = strategy_named(config.strategy)
    told: dict[str, Any] = {
        "trade_from": trade_from,
        "history": history,
        **config.strategy_parameters(),
    }
    if kind.needs_model and predictor is not None:
        told |= {"model": predictor.model, "home": str(home.path), "in_sample": config.in_sample}
        told["any_timeframe"] = config.any_timeframe
    if config.use_llm:
        told |= _told_of(config.analyst)
    cerebro.addstrategy(kind, **told)
    return cerebro


def _told_of(analyst: AnalystConfig) -> dict[str, Any]:
    return {
        "llm_endpoint": analyst.endpoint,
        "llm_model": analyst.model,
        "llm_key_env": analyst.api_key_env,
        "llm_timeout": analyst.timeout,
        "llm_retries": analyst.retries,
        "llm_temperature": analyst.temperature,
        "llm_max_tokens": analyst.max_tokens,
        "llm_seed": analyst.seed,
        "llm_price_in": analyst.price_in,
        "llm_price_out": analyst.price_out,
    }


def _broker(
    config: BacktestConfig,
    feeds: Sequence[CandleData],
    details: Sequence[Candles | None],
    charge: float,
) -> SimulatedBroker:
    broker = SimulatedBroker(
        margin_mode=config.margin_mode,
        slip_impact=charge * config.slip_impact,
    )
    broker.setcash(config.cash)
    broker.addcommissioninfo(
        CryptoCommission(
            maker_fee=charge * config.maker_fee,
            taker_fee=charge * config.taker_fee,
            leverage=config.leverage,
            maintenance_margin=config.maintenance_margin,
            liquidation_fee=min(0.5, charge * config.liquidation_fee),
            lot_step=config.lot_step,
            min_notional=config.min_notional,
        )
    )
    if config.slippage:
        # Slippage beyond the bar's range is what a gap does to a market order.
        broker.set_slippage_perc(charge * config.slippage, slip_open=True, slip_out=True)
    for feed, detail in zip(feeds, details or [None] * len(feeds), strict=True):
        rates = _funding(config, feed.market)
        if rates is not None:
            broker.set_funding(feed, rates)
        if detail is not None:
            broker.add_detail(feed, detail)
    return broker


def _funding(config: BacktestConfig, market: str) -> FundingRates | None:
    # Markets with sessions have no perpetual futures.
    if market != "continuous" or (config.funding is None and not config.funding_rate):
        return None
    if config.funding is not None:
        return FundingRates.read(config.funding)
    return FundingRates.constant(config.funding_rate)
