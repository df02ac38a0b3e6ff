"""The joined series behind indicator, strategy and backtest, as any other model."""

from __future__ import annotations

import backtrader as bt
import numpy as np
import pytest

from experiments import BacktestConfig, backtest
from lightning_models.forecast import LINE_NAMES
from lightning_models.timeframes import floor_to_open
from lstm_strategies.feed import CandleData
from lstm_strategies.indicator import LSTMForecast


class Lines(bt.Strategy):
    params = (("model", None), ("home", ""))

    def __init__(self):
        super().__init__()
        self.forecast = LSTMForecast(self.data, model=self.p.model, home=self.p.home)
        self.rows = {}

    def next(self):
        moment = bt.num2date(self.data.datetime[0]).timestamp()
        self.rows[round(moment * 1000)] = [line[0] for line in self.forecast.lines]


@pytest.mark.parametrize("runonce", [True, False], ids=["once", "next"])
def test_indicator_lines_are_the_forecasts_of_the_series(walked_either, runonce):
    result, sim = walked_either.result, walked_either.candles[1]
    # Over the first change of models, with some bars that no model may forecast.
    first, second = (fold.slices.unseen_from for fold in walked_either.folds[:2])
    series = walked_either.series()
    part = sim.between(first - (series.required_bars + 10) * 3_600_000, second + 10 * 3_600_000)
    cerebro = bt.Cerebro(runonce=runonce, stdstats=False)
    cerebro.adddata(CandleData(dataname=part, timeframe="1h"))
    cerebro.addstrategy(Lines, model=result.model, home=str(walked_either.home.path))
    (strategy,) = cerebro.run()
    opens = floor_to_open(np.array(list(strategy.rows)), "1h")
    lines = np.array(list(strategy.rows.values()))
    wanted = series.predict_batch(part)[list(LINE_NAMES)].to_numpy()
    wanted = wanted[np.searchsorted(part.time, opens)]
    np.testing.assert_allclose(lines, wanted, rtol=1e-4, atol=2e-4)
    owners = series.members_of(opens)
    assert set(owners.tolist()) == {-1, 0, 1}
    assert np.isnan(lines[owners < 0]).all()


def test_a_backtest_runs_from_the_first_folds_test_to_the_end(walked_either):
    sim = walked_either.candles[1]
    config = BacktestConfig(model=walked_either.result.model, min_confidence=0.5, replications=100)
    result = backtest(config, sim, home=walked_either.home)
    first = walked_either.result.folds[0]
    assert result.slice == "out_of_sample"
    assert result.unseen_from == first.tested_from.strftime("%Y-%m-%dT%H:%M:%SZ")
    assert result.total_trades > 0
    assert result.bundle_sha256 == walked_either.series().sha256
    scored = result.forecast_scores
    assert scored is not None
    # The symbol's own share of the joined forecasts.
    own = next(one for one in walked_either.result.joined.symbols if one.name == "SIM/USDT")
    assert scored.n == own.n
    assert scored.log_loss_gain == pytest.approx(own.log_loss_gain, abs=1e-4)
