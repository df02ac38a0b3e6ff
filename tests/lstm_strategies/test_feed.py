from __future__ import annotations

import datetime as dt
import multiprocessing
import pickle

import backtrader as bt
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_models.errors import CandleError, ConfigError
from lstm_strategies.errors import ParameterError
from lstm_strategies.feed import (
    CandleData,
    backtrader_dates,
    candle_timeframe_of,
    milliseconds_of_date,
)


class Crossing(bt.Strategy):
    """Trades often and remembers every bar it saw."""

    params = (("fast", 3),)

    def __init__(self):
        self.average = bt.indicators.SMA(self.data, period=self.p.fast)
        self.seen = []

    def next(self):
        self.seen.append(tuple(line[0] for data in self.datas for line in data.lines))
        if self.data.close[0] > self.average[0] and not self.position:
            self.buy(size=0.5)
        elif self.data.close[0] < self.average[0] and self.position:
            self.close()

    def stop(self):
        self.final = self.broker.getvalue()


def run(data, *, coarser=None, replay=None, sizes=None, **mode):
    cerebro = bt.Cerebro(stdstats=False)
    if replay is not None:
        cerebro.replaydata(data, timeframe=bt.TimeFrame.Minutes, compression=replay)
    else:
        cerebro.adddata(data)
    if coarser is not None:
        cerebro.resampledata(data, timeframe=bt.TimeFrame.Minutes, compression=coarser)
    cerebro.addstrategy(Crossing)
    strategy = cerebro.run(**mode)[0]
    return strategy.seen, strategy.final


def pandas_data(frame, compression=60):
    return bt.feeds.PandasData(
        dataname=frame, timeframe=bt.TimeFrame.Minutes, compression=compression, openinterest=None
    )


def same(left, right):
    """Bars equal to the bit, but for openinterest, which PandasData leaves NaN."""
    seen, final = left
    expected, expected_final = right
    bars = [[each for number, each in enumerate(row) if number % 7 != 5] for row in seen]
    expected = [[each for number, each in enumerate(row) if number % 7 != 5] for row in expected]
    return bars == expected and final == expected_final and len(bars) > 0


def test_same_bars_and_equity_as_pandas_data(random_walk, frame_on_stamps, run_mode):
    candles = random_walk(60)
    ours = run(CandleData(dataname=candles), **run_mode)
    assert same(ours, run(pandas_data(frame_on_stamps(candles)), **run_mode))


def test_same_bars_and_equity_as_pandas_data_when_resampled(random_walk, frame_on_stamps, run_mode):
    candles = random_walk(60)
    ours = run(CandleData(dataname=candles), coarser=240, **run_mode)
    assert same(ours, run(pandas_data(frame_on_stamps(candles)), coarser=240, **run_mode))


def test_same_bars_and_equity_as_pandas_data_when_replayed(random_walk, frame_on_stamps, both_ways):
    candles = random_walk(60)
    ours = run(CandleData(dataname=candles), replay=240, **both_ways)
    assert same(ours, run(pandas_data(frame_on_stamps(candles)), replay=240, **both_ways))


def test_every_mode_sees_the_same_as_bulk_loading(random_walk, run_mode):
    candles = random_walk(60)
    assert run(CandleData(dataname=candles), **run_mode) == run(CandleData(dataname=candles))


def test_holes_stay_holes(random_walk, frame_on_stamps):
    whole = random_walk(60)
    kept = np.ones(60, dtype=bool)
    kept[20:31] = False
    candles = type(whole)(
        symbol=whole.symbol,
        timeframe=whole.timeframe,
        market=whole.market,
        time=whole.time[kept],
        ohlcv=whole.ohlcv[kept],
    )
    ours = run(CandleData(dataname=candles))
    assert len(ours[0]) == 60 - 11 - 2
    assert same(ours, run(pandas_data(frame_on_stamps(candles))))


@pytest.mark.parametrize("runonce", [True, False])
def test_dates_cut_the_feed_as_they_cut_pandas_data(random_walk, frame_on_stamps, runonce):
    candles = random_walk(60)
    cut = {
        "fromdate": dt.datetime(2021, 1, 1, 10),
        "todate": dt.datetime(2021, 1, 2, 5),
    }
    data = CandleData(dataname=candles, **cut)
    expected = bt.feeds.PandasData(
        dataname=frame_on_stamps(candles),
        timeframe=bt.TimeFrame.Minutes,
        compression=60,
        **cut,
    )
    ours = run(data, runonce=runonce)
    # Bars are stamped at their end: the first after 10:00 is the one that opened at 10:00.
    assert len(ours[0]) == 19 - 2
    assert same(ours, run(expected, runonce=runonce))


class OnlyRows(CandleData):
    """Fails where the feed loads row by row."""

    def _load(self):
        raise AssertionError("loaded row by row")


def _bulk_used(data):
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.adddata(data)
    cerebro.addstrategy(bt.Strategy)
    calls = []
    rows = data._load
    data._load = lambda: calls.append(1) or rows()
    cerebro.run()
    return not calls


def drop_every_bar_below(data, level):
    if data.close[0] < level:
        data.backwards()
        return True
    return False


def test_bulk_loading_is_used_only_where_no_row_needs_a_look(random_walk):
    candles = random_walk(20)
    assert _bulk_used(CandleData(dataname=candles))
    assert not _bulk_used(CandleData(dataname=candles, fromdate=dt.datetime(2021, 1, 1, 3)))
    assert not _bulk_used(CandleData(dataname=candles, todate=dt.datetime(2021, 1, 1, 9)))
    assert not _bulk_used(CandleData(dataname=candles, sessionend=dt.time(20, 0)))
    filtered = CandleData(dataname=candles)
    filtered.addfilter(drop_every_bar_below, 100.0)
    assert not _bulk_used(filtered)


def test_filter_sees_every_row(random_walk):
    candles = random_walk(40)
    data = CandleData(dataname=candles)
    data.addfilter(drop_every_bar_below, 100.0)
    seen, _ = run(data)
    closes = candles.ohlcv[:, 3]
    assert [row[0] for row in seen] == closes[closes >= 100.0][2:].tolist()


def test_subclass_with_an_own_loader_is_asked_for_each_row(random_walk):
    with pytest.raises(AssertionError, match="row by row"):
        run(OnlyRows(dataname=random_walk(5)))


def test_lookahead_room_does_not_become_bars(random_walk):
    cerebro = bt.Cerebro(stdstats=False, lookahead=3)
    cerebro.adddata(CandleData(dataname=random_walk(10)))
    cerebro.addstrategy(Crossing)
    assert len(cerebro.run()[0].seen) == 8


def test_feed_can_run_twice(random_walk):
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.adddata(CandleData(dataname=random_walk(30)))
    cerebro.addstrategy(Crossing)
    first, second = cerebro.run()[0].seen, cerebro.run(runonce=False, preload=False)[0].seen
    assert first == second


@pytest.mark.parametrize(
    ("timeframe", "stated"),
    [
        ("1m", (bt.TimeFrame.Minutes, 1)),
        ("1h", (bt.TimeFrame.Minutes, 60)),
        ("12h", (bt.TimeFrame.Minutes, 720)),
        ("1d", (bt.TimeFrame.Days, 1)),
        ("1w", (bt.TimeFrame.Weeks, 1)),
    ],
)
def test_timeframe_is_told_to_backtrader_in_its_own_terms(random_walk, timeframe, stated):
    start = 345_600_000 + 2600 * 7 * 86_400_000  # a Monday
    candles = random_walk(5, timeframe, start=start)
    data = CandleData(dataname=candles, timeframe=timeframe)
    assert (data._timeframe, data._compression) == stated
    assert (data.p.timeframe, data.p.compression) == stated
    assert data.candle_timeframe == timeframe == candle_timeframe_of(data)


def test_string_timeframe_does_not_crash_a_run_with_two_feeds(random_walk):
    candles = random_walk(48)
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.adddata(CandleData(dataname=candles, timeframe="1h"))
    cerebro.adddata(CandleData(dataname=candles, timeframe="6h"))
    cerebro.addstrategy(Crossing)
    seen = cerebro.run()[0].seen
    # A coarse bar arrives with the last fine one it is made of, not before and not after.
    for row in seen:
        if row[7] == row[7] and row[13] == row[6]:
            assert row[7] == row[0]
    arrivals = {row[13] for row in seen}
    assert len(arrivals) == 8
    assert all(row[13] <= row[6] for row in seen if row[13] == row[13])


def test_coarser_timeframe_is_resampled(random_walk):
    candles = random_walk(12)
    data = CandleData(dataname=candles, timeframe="6h")
    assert np.array_equal(data.candles.ohlcv, candles.resample("6h").ohlcv)


def test_backtraders_own_timeframe_is_understood(random_walk):
    data = CandleData(dataname=random_walk(12), timeframe=bt.TimeFrame.Minutes, compression=360)
    assert data.candle_timeframe == "6h"


@pytest.mark.parametrize(
    ("params", "error"),
    [
        ({"timeframe": "7h"}, ConfigError),
        ({"timeframe": bt.TimeFrame.Minutes, "compression": 7}, ParameterError),
        ({"timeframe": bt.TimeFrame.Months}, ParameterError),
    ],
)
def test_unknown_timeframe_is_refused(random_walk, params, error):
    with pytest.raises(error, match=r"7h|none of"):
        CandleData(dataname=random_walk(12), **params)


def test_no_source_is_refused():
    with pytest.raises(ParameterError, match="dataname"):
        CandleData()


def test_market_symbol_and_name_come_from_the_candles(random_walk, frame_on_stamps):
    candles = random_walk(5, symbol="ETH/USDT", market="sessions")
    data = CandleData(dataname=candles)
    assert (data.symbol, data.market, data._name) == ("ETH/USDT", "sessions", "ETH/USDT")
    assert CandleData(dataname=candles, name="main")._name == "main"
    cerebro = bt.Cerebro()
    cerebro.adddata(data, name="other")
    assert (data._name, data.symbol) == ("other", "ETH/USDT")
    unnamed = CandleData(dataname=frame_on_stamps(candles), name="SOL/USDT")
    assert unnamed.symbol == "SOL/USDT"


def test_frame_stamped_at_open_or_at_its_end_gives_the_same_feed(random_walk, frame_on_stamps):
    candles = random_walk(20)
    for frame in (candles.to_frame(), frame_on_stamps(candles)):
        data = CandleData(dataname=frame)
        assert np.array_equal(data.candles.time, candles.time)
        assert np.array_equal(data.candles.ohlcv, candles.ohlcv)


def test_file_is_read(tmp_path, random_walk):
    candles = random_walk(20)
    path = tmp_path / "BTC_USDT.csv"
    candles.to_frame().to_csv(path, index=False)
    data = CandleData(dataname=str(path), timeframe="1h")
    assert data.symbol == "BTC/USDT"
    assert len(data.candles) == 20


def test_impossible_candles_are_refused(random_walk):
    frame = random_walk(5).to_frame()
    frame.loc[2, "low"] = 1e9
    with pytest.raises(CandleError):
        CandleData(dataname=frame)


def test_openinterest_is_zero_and_stamps_lie_before_the_bars_end(candles_of, run_mode):
    candles = candles_of([(100, 100, 100, 100)] * 8, "1h")
    cerebro = bt.Cerebro(stdstats=False)
    data = CandleData(dataname=candles)
    cerebro.adddata(data)

    class Reads(bt.Strategy):
        def __init__(self):
            self.times, self.interest = [], []

        def next(self):
            self.times.append(milliseconds_of_date(self.data.datetime[0]))
            self.interest.append(self.data.openinterest[0])

    cerebro.addstrategy(Reads)
    strategy = cerebro.run(**run_mode)[0]
    assert strategy.interest == [0.0] * 8
    assert strategy.times == (candles.time + 3_600_000 - 1).tolist()


def test_two_workers_give_the_same_as_one(random_walk):
    candles = random_walk(80)

    def best(cpus):
        cerebro = bt.Cerebro(stdstats=False, maxcpus=cpus, optreturn=False)
        cerebro.adddata(CandleData(dataname=candles))
        cerebro.addanalyzer(bt.analyzers.TradeAnalyzer, _name="trades")
        cerebro.optstrategy(Crossing, fast=[2, 3, 5, 8])
        cerebro.p.optreturn = True
        return [each[0].analyzers.trades.get_analysis()["pnl"]["net"] for each in cerebro.run()]

    assert multiprocessing.get_start_method(allow_none=True) in (None, "fork")
    assert best(2) == best(1)


def test_feed_survives_pickling(random_walk):
    data = pickle.loads(pickle.dumps(CandleData(dataname=random_walk(5))))
    assert len(data.candles) == 5
    assert data.candle_timeframe == "1h"


@given(st.integers(-2_208_988_800_000, 4_102_444_800_000))
def test_dates_are_backtraders_to_the_bit_and_come_back(milliseconds):
    moment = dt.datetime(1970, 1, 1) + dt.timedelta(milliseconds=milliseconds)
    (date,) = backtrader_dates(np.array([milliseconds])).tolist()
    assert date == bt.date2num(moment)
    assert milliseconds_of_date(date) == milliseconds


def test_real_candles_load_in_bulk_as_row_by_row(real_candles_folder):
    data = CandleData(dataname=real_candles_folder / "SOL_USDT.parquet", timeframe="1d")
    assert data.symbol == "SOL/USDT"
    assert run(data) == run(data, runonce=False, preload=False)


class _Ticks(bt.Strategy):
    def __init__(self):
        super().__init__()
        self.ticks = []

    def next(self):
        names = ("open", "high", "low", "close", "volume", "last")
        self.ticks.append([getattr(self.data, f"tick_{name}") for name in names])


def test_ticks_are_those_of_a_stock_feed(random_walk, frame_on_stamps, run_mode):
    candles = random_walk(20)
    hourly = {"timeframe": bt.TimeFrame.Minutes, "compression": 60}
    seen = []
    for data in (
        CandleData(dataname=candles),
        bt.feeds.PandasData(dataname=frame_on_stamps(candles), **hourly),
    ):
        cerebro = bt.Cerebro(stdstats=False)
        cerebro.adddata(data)
        cerebro.addstrategy(_Ticks)
        seen.append(cerebro.run(**run_mode)[0].ticks)
    assert len(seen[0]) == len(candles)
    np.testing.assert_array_equal(*seen)


def test_a_subclass_with_a_line_more_has_its_tick(random_walk):
    class WithTrades(CandleData):
        lines = ("trades",)

        def _load(self):
            loaded = super()._load()
            self.lines.trades[0] = 7.0
            return loaded

    class Reads(bt.Strategy):
        def next(self):
            if len(self) == 3:
                self.seen = self.data.tick_trades, self.data.tick_close == self.data.close[0]

    cerebro = bt.Cerebro(stdstats=False)
    cerebro.adddata(WithTrades(dataname=random_walk(5)))
    cerebro.addstrategy(Reads)
    assert cerebro.run()[0].seen == (7.0, True)
