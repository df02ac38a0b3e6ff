from __future__ import annotations

import pickle

import backtrader as bt
import pytest

from lightning_models.errors import LSTMStrategiesError
from lstm_strategies.commission import CryptoCommission
from lstm_strategies.errors import ParameterError
from lstm_strategies.feed import CandleData
from lstm_strategies.metrics import BacktestMetrics
from lstm_strategies.parameters import CheckedParameters, attach
from lstm_strategies.sizer import RiskSizer


class Doubled(bt.Indicator, CheckedParameters):
    lines = ("doubled",)
    params = (("factor", 2.0),)
    plotinfo = (("subplot", True),)

    def next(self):
        self.lines.doubled[0] = self.p.factor * self.data.close[0]


class Holder(bt.Strategy, CheckedParameters):
    params = (("lookback", 3),)

    def __init__(self):
        super().__init__()
        self.doubled = attach(Doubled, self.data, factor=3.0)


class StockHolder(bt.Strategy):
    params = (("lookback", 3),)


class Seeded(Holder):
    def __init__(self, seed=0):
        super().__init__()
        self.seed = seed


@pytest.fixture
def cerebro(random_walk):
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.adddata(CandleData(dataname=random_walk(10)))
    return cerebro


@pytest.mark.parametrize(
    ("make", "meant"),
    [
        (lambda candles: CandleData(dataname=candles, timefram="1h"), "timeframe"),
        (lambda candles: CryptoCommission(takerfee=0.1), "taker_fee"),
        (lambda candles: RiskSizer(atr_perod=3), "atr_period"),
    ],
)
def test_misspelt_parameter_names_the_nearest(make, meant, random_walk):
    with pytest.raises(ParameterError, match=f"has no parameter.*did you mean.*'{meant}'"):
        make(random_walk(3))


def test_error_is_ours_and_backtraders_and_a_wrong_request():
    assert issubclass(ParameterError, LSTMStrategiesError)
    assert issubclass(ParameterError, TypeError)
    assert ParameterError.exit_code == 2


def test_misspelt_strategy_parameter_is_refused_inside_run(cerebro):
    cerebro.addstrategy(Holder, lokback=5)
    with pytest.raises(ParameterError, match=r"Holder has no parameter 'lokback'.*'lookback'"):
        cerebro.run()


def test_stock_strategy_swallows_a_misspelt_parameter(cerebro):
    cerebro.addstrategy(StockHolder, lokback=5)
    assert cerebro.run()[0].p.lookback == 3


def test_misspelt_parameter_is_refused_in_optstrategy(cerebro):
    cerebro.optstrategy(Holder, lokback=[3, 5])
    with pytest.raises(ParameterError, match="'lookback'"):
        cerebro.run(maxcpus=1)


def test_misspelt_analyzer_and_sizer_parameters_are_refused_inside_run(random_walk):
    for add, kind, params in (
        ("addanalyzer", BacktestMetrics, {"timefram": "1h"}),
        ("addsizer", RiskSizer, {"rsk": 0.1}),
        ("addindicator", Doubled, {"facto": 0.1}),
    ):
        cerebro = bt.Cerebro(stdstats=False)
        cerebro.adddata(CandleData(dataname=random_walk(10)))
        getattr(cerebro, add)(kind, **params)
        with pytest.raises(ParameterError, match=f"{kind.__name__} has no parameter"):
            cerebro.run()


def test_right_parameters_and_plot_options_pass(cerebro):
    class Plotted(Holder):
        def __init__(self):
            super().__init__()
            self.other = attach(Doubled, self.data, factor=4.0, subplot=False)

    cerebro.addstrategy(Plotted, lookback=4)
    strategy = cerebro.run()[0]
    assert strategy.p.lookback == 4
    assert strategy.other.plotinfo.subplot is False
    assert strategy.doubled[0] == pytest.approx(3.0 * strategy.data.close[0])


def test_lines_are_not_doubled_by_the_mixin():
    assert Doubled.lines._getlines() == ("doubled",)


def test_keyword_of_an_own_init_passes(cerebro):
    cerebro.addstrategy(Seeded, seed=7)
    assert cerebro.run()[0].seed == 7


def test_error_survives_the_way_back_from_a_worker():
    error = pickle.loads(pickle.dumps(ParameterError("no parameter 'x'")))
    assert isinstance(error, ParameterError)
    assert str(error) == "no parameter 'x'"
