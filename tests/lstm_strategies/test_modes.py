"""Whole runs: optimisation in forked workers, writers, analyzers and pictures."""

from __future__ import annotations

import io
import json
import os
import pickle
import subprocess
import sys
import textwrap
from pathlib import Path

import backtrader as bt
import numpy as np
import pytest

from lightning_models.forecast import LINE_NAMES
from lstm_strategies.feed import CandleData
from lstm_strategies.metrics import BacktestMetrics
from lstm_strategies.strategy import LSTMStrategy

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def candles(trained):
    """The candles around the end of what the model has seen."""
    one = trained.candles[0]
    unseen = int(np.searchsorted(one.time, trained.predictor().bundle.unseen_from_ms))
    return one.between(int(one.time[unseen - 100]), int(one.time[unseen + 200]))


@pytest.fixture
def cerebro_of(trained, candles):
    def build(*, stdstats=False, kind=LSTMStrategy, **params):
        cerebro = bt.Cerebro(stdstats=stdstats)
        cerebro.adddata(CandleData(dataname=candles))
        given = {"model": trained.champion, "home": str(trained.home.path), "min_confidence": 0.53}
        cerebro.addstrategy(kind, **(given | params))
        return cerebro

    return build


# --- optimisation

OPTIMISE = """
    import json, os, sys
    import backtrader as bt
    import torch

    from lightning_models import load_predictor, read_candles
    from lightning_models.predictor import Predictor
    from lstm_strategies import BacktestMetrics, CandleData, LSTMStrategy
    from lstm_strategies.forecast_cache import ForecastCache

    model, home, data, log = sys.argv[1:]

    compute = Predictor.forecast_arrays
    def counted(self, time, ohlcv):
        with open(log, "a") as file:
            file.write(f"{os.getpid()}\\n")
        return compute(self, time, ohlcv)
    Predictor.forecast_arrays = counted

    # A parent that has used several threads is what a forked worker would wait for.
    load_predictor(model).predict_batch(read_candles(data))
    torch.set_num_threads(2)
    (torch.rand(600, 600) @ torch.rand(600, 600)).sum()
    torch.nn.LSTM(8, 32)(torch.rand(50, 64, 8))

    def optimise(cpus):
        open(log, "w").close()
        cerebro = bt.Cerebro(stdstats=False, maxcpus=cpus)
        cerebro.adddata(CandleData(dataname=read_candles(data, symbol="SIM/USDT")))
        cerebro.optstrategy(
            LSTMStrategy, model=model, home=home, min_confidence=[0.51, 0.53, 0.55, 0.58]
        )
        cerebro.addanalyzer(BacktestMetrics, _name="metrics")
        found = [
            [run[0].p.min_confidence, run[0].analyzers.metrics.get_analysis()["total_return_pct"]]
            for run in cerebro.run()
        ]
        return {"found": found, "computed": open(log).read().split()}

    told = {str(cpus): optimise(cpus) for cpus in (2, None, 1)}

    # The control: what each worker would do without the cache.
    ForecastCache.forecasts = lambda self, predictor, *arrays: predictor.forecast_arrays(*arrays)
    told["uncached"] = optimise(2)
    print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def optimised(trained, candles, tmp_path_factory):
    """The same optimisation in two, in all and in no workers, and in two without the cache."""
    folder = tmp_path_factory.mktemp("optimised")
    data, home = folder / "SIM_USDT.csv", folder / "home"
    candles.to_frame().to_csv(data, index=False)
    script = folder / "optimise.py"
    script.write_text(textwrap.dedent(OPTIMISE))
    done = subprocess.run(
        [sys.executable, script, trained.model.path, home, data, folder / "log"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "2"},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1]), home / "cache" / "forecasts"


def test_two_workers_do_not_wait_for_ever_and_forecast_once(optimised):
    told, cache = optimised
    # They began together: one computed, the other waited for it and read.
    assert len(told["2"]["computed"]) == 1
    assert len(list(cache.glob("*.forecasts"))) == 1
    assert len(list(cache.glob("*.lock"))) == 1
    assert told["None"]["computed"] == told["1"]["computed"] == []


def test_without_the_cache_each_combination_would_forecast_again(optimised):
    told, _ = optimised
    assert len(told["uncached"]["computed"]) == 4
    assert len(set(told["uncached"]["computed"])) == 2


def test_any_number_of_workers_finds_the_same(optimised):
    told, _ = optimised
    assert told["2"]["found"] == told["1"]["found"] == told["None"]["found"]
    assert told["uncached"]["found"] == told["1"]["found"]
    assert len({result for _, result in told["1"]["found"]}) > 1


def test_results_of_an_optimisation_pickle(trained, candles):
    cerebro = bt.Cerebro(stdstats=False, maxcpus=1)
    cerebro.adddata(CandleData(dataname=candles))
    cerebro.optstrategy(
        LSTMStrategy, model=trained.champion, home=str(trained.home.path), top_share=[0.1, 0.3]
    )
    cerebro.addanalyzer(BacktestMetrics, _name="metrics")
    back = pickle.loads(pickle.dumps(cerebro.run()))
    assert [each[0].p.top_share for each in back] == [0.1, 0.3]
    assert all(each[0].analyzers.metrics.get_analysis() for each in back)


# --- writers and analyzers


class Written(LSTMStrategy):
    def __init__(self):
        super().__init__()
        for forecast in self.forecasts.values():
            forecast.csv = True


def test_writer_writes_the_lines_of_the_forecast(cerebro_of, trained, candles, both_ways):
    out = io.StringIO()
    cerebro = cerebro_of(kind=Written)
    cerebro.addwriter(bt.WriterFile, csv=True, out=out)
    cerebro.run(**both_ways)
    rows = [line.split(",") for line in out.getvalue().splitlines()]
    header = next(row for row in rows if row[0] == "Id")
    assert header[header.index("LSTMForecast") + 2 :] == list(LINE_NAMES)
    last = next(row for row in rows if row[0] == str(len(candles)))
    forecast = trained.predictor().predict_latest(candles)
    assert float(last[header.index("confidence")]) == pytest.approx(forecast.confidence, abs=1e-5)
    assert "- LSTMForecast:" in out.getvalue()


ANALYZERS = [
    bt.analyzers.AnnualReturn,
    bt.analyzers.Calmar,
    bt.analyzers.DrawDown,
    bt.analyzers.GrossLeverage,
    bt.analyzers.LogReturnsRolling,
    bt.analyzers.PeriodStats,
    bt.analyzers.PositionsValue,
    bt.analyzers.PyFolio,
    bt.analyzers.Returns,
    bt.analyzers.SharpeRatio,
    bt.analyzers.SharpeRatio_A,
    bt.analyzers.SQN,
    bt.analyzers.TimeDrawDown,
    bt.analyzers.TimeReturn,
    bt.analyzers.TradeAnalyzer,
    bt.analyzers.Transactions,
    bt.analyzers.VWR,
    BacktestMetrics,
]


# Annual returns look back over all bars, and need the stock observers.
@pytest.mark.parametrize("mode", [{}, {"runonce": False, "preload": False}], ids=str)
def test_every_analyzer_runs_beside_the_strategy(cerebro_of, mode):
    cerebro = cerebro_of(stdstats=True)
    for kind in ANALYZERS:
        cerebro.addanalyzer(kind)
    strategy = cerebro.run(**mode)[0]
    assert len(strategy.analyzers) == len(ANALYZERS)
    assert strategy.analyzers.tradeanalyzer.get_analysis().total.closed > 5
    metrics = strategy.analyzers.backtestmetrics.get_analysis()
    trades = strategy.analyzers.tradeanalyzer.get_analysis()
    assert metrics["total_trades"] == trades.total.closed
    final = 100 * (strategy.broker.getvalue() / 10_000 - 1)
    assert metrics["total_return_pct"] == pytest.approx(final, abs=1e-6)


@pytest.mark.parametrize(
    "options",
    [{"tradehistory": True}, {"quicknotify": True}, {"oldsync": True}, {"stdstats": True}],
    ids=str,
)
def test_options_of_cerebro_change_no_trade(cerebro_of, options):
    plain = cerebro_of().run()[0]
    other = cerebro_of().run(**options)[0]
    assert plain.counts["orders_completed"] > 20
    assert other.broker.getvalue() == plain.broker.getvalue()
    assert other.counts == plain.counts


# --- pictures


@pytest.fixture
def _no_screen():
    import backtrader.plot
    import matplotlib as mpl

    # Importing backtrader.plot asks for a window system.
    assert backtrader.plot
    mpl.use("Agg", force=True)
    yield
    import matplotlib.pyplot as plt

    plt.close("all")


@pytest.mark.usefixtures("_no_screen")
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize("exactbars", [0, -1])
def test_plot_shows_price_forecast_and_confidence(cerebro_of, tmp_path, exactbars):
    cerebro = cerebro_of(stdstats=True)
    cerebro.run(exactbars=exactbars)
    ((figure,),) = cerebro.plot(style="candle", iplot=False)
    labels = [text for axis in figure.axes for text in _legend(axis)]
    assert any("models:/tiny/1" in text for text in labels)
    picture = tmp_path / "plot.png"
    figure.savefig(picture)
    assert picture.stat().st_size > 10_000


def _legend(axis):
    legend = axis.get_legend()
    return [] if legend is None else [text.get_text() for text in legend.get_texts()]
