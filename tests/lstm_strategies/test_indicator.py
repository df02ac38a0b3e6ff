"""The indicator's lines are the predictor's forecasts, whatever feeds it and however it runs."""

from __future__ import annotations

import pickle
import shutil

import backtrader as bt
import numpy as np
import pandas as pd
import pytest

from experiments import train
from experiments.presets import load_train_config
from lightning_models import load_predictor, simulate_market
from lightning_models.candles import Candles
from lightning_models.errors import BundleError, CandleError, ConfigError, ModelNotFoundError
from lightning_models.features import FEATURES
from lightning_models.forecast import LINE_NAMES
from lightning_models.home import Home
from lstm_strategies.errors import ParameterError
from lstm_strategies.feed import CandleData
from lstm_strategies.indicator import LSTMForecast
from lstm_strategies.parameters import attach

PRICES = ["predicted_price", "lower", "upper"]


@pytest.fixture(scope="module", params=["window", "sequence"])
def trained(request, trained, trained_stream):
    """The model in both of its modes: nothing downstream may tell them apart."""
    return trained if request.param == "window" else trained_stream


@pytest.fixture(scope="module")
def predictor(trained):
    return trained.predictor()


@pytest.fixture(scope="module")
def candles(trained):
    """Hourly candles, some 70 of them with a forecast."""
    return trained.candles[0].between(None, int(trained.candles[0].time[140]))


@pytest.fixture(scope="module")
def fine_candles():
    """Quarters of an hour, as many as make 110 whole hours."""
    return simulate_market(candles=440, timeframe="15m", seed=5)[0]


@pytest.fixture(scope="module")
def trained_on_everything(trained, migrated_database, tmp_path_factory):
    """A model of all technical features, whose warm-up is the longest there is."""
    home = Home(tmp_path_factory.mktemp("everything"))
    shutil.copy(migrated_database, home.path / "mlflow.db")
    config = load_train_config(
        "quickstart",
        [
            "network.hidden_size=4",
            f"data.features=[{', '.join(FEATURES)}]",
            "data.lookback=8",
            "training.epochs=1",
        ],
    )
    model = train(config, trained.candles, name="everything", home=home)
    return load_predictor(model.path)


class Records(bt.Strategy):
    """Keeps the lines at each bar, by the bar's number, as they were on the last call."""

    params = (("forecast", None), ("feed", 0), ("calls", 1))

    def __init__(self):
        super().__init__()
        self.forecast = attach(LSTMForecast, self.datas[self.p.feed], **self.p.forecast)
        self.rows = {}
        self.visits = 0

    def next(self):
        self.visits += 1
        row = tuple(line[0] for line in self.forecast.lines)
        self.rows[len(self.datas[self.p.feed])] = row


@pytest.fixture
def record(trained):
    """Run a forecast over feeds; each entry adds one feed to a cerebro."""

    def run(*feeds, mode=None, feed=0, **params):
        cerebro = bt.Cerebro(stdstats=False)
        for each in feeds:
            each(cerebro)
        given = {"model": trained.champion, "home": str(trained.home.path)} | params
        cerebro.addstrategy(Records, forecast=given, feed=feed)
        return cerebro.run(**(mode or {}))[0]

    return run


def added(data):
    return lambda cerebro: cerebro.adddata(data)


def assert_rows_are(strategy, expected, required):
    """Every bar from the first with enough history was recorded and equals the batch."""
    assert sorted(strategy.rows) == list(range(required, len(expected) + 1))
    got = pd.DataFrame([strategy.rows[bar] for bar in sorted(strategy.rows)], columns=LINE_NAMES)
    assert_same_lines(got, expected.iloc[required - 1 :])


def assert_same_lines(got, expected):
    for name in LINE_NAMES:
        tolerance = {"rtol": 1e-5} if name in PRICES else {"rtol": 0, "atol": 1e-5}
        np.testing.assert_allclose(
            got[name].to_numpy(), expected[name].to_numpy(), **tolerance, err_msg=name
        )


def test_lines_are_the_batch_forecast_in_every_run_mode(record, predictor, candles, telling_mode):
    strategy = record(added(CandleData(dataname=candles)), mode=telling_mode)
    assert strategy.forecast.in_bulk == (
        telling_mode == {"runonce": True, "preload": True, "exactbars": 0}
    )
    assert_rows_are(strategy, predictor.predict_batch(candles), predictor.required_bars)


def test_a_shifted_batch_would_be_noticed(record, predictor, candles):
    strategy = record(added(CandleData(dataname=candles)))
    late = predictor.predict_batch(candles).shift(1)
    with pytest.raises(AssertionError):
        assert_rows_are(strategy, late, predictor.required_bars)


def test_lines_are_the_latest_forecast_of_the_candles_so_far(record, predictor, candles, both_ways):
    strategy = record(added(CandleData(dataname=candles)), mode=both_ways)
    for bar in (predictor.required_bars, 100, len(candles)):
        known = candles.between(None, int(candles.time[bar - 1]) + 1)
        latest = predictor.predict_latest(known)
        row = dict(zip(LINE_NAMES, strategy.rows[bar], strict=True))
        assert row["direction"] == latest.direction
        for name in ("confidence", "change_pct", "predicted_price", "lower", "upper"):
            assert row[name] == pytest.approx(getattr(latest, name), rel=1e-5, abs=1e-5)


# --- feeds


def frame_of(candles, stamps):
    columns = ["open", "high", "low", "close", "volume"]
    index = pd.to_datetime(stamps, unit="ms").as_unit("us")
    return pd.DataFrame(candles.ohlcv, index=index, columns=columns)


STAMPS = {
    "open": lambda candles: candles.time,
    "last-millisecond": lambda candles: candles.time + candles.period_ms - 1,
    "end": lambda candles: candles.time + candles.period_ms,
}


def pandas_data(candles, stamp):
    return bt.feeds.PandasData(
        dataname=frame_of(candles, STAMPS[stamp](candles)),
        timeframe=bt.TimeFrame.Minutes,
        compression=candles.period_ms // 60_000,
        openinterest=None,
    )


@pytest.mark.parametrize("stamp", list(STAMPS))
def test_any_stamp_inside_the_candle_gives_the_same_forecasts(
    record, predictor, candles, both_ways, stamp
):
    strategy = record(added(pandas_data(candles, stamp)), mode=both_ways)
    assert_rows_are(strategy, predictor.predict_batch(candles), predictor.required_bars)


def test_generic_csv_gives_the_same_forecasts(record, predictor, candles, both_ways, tmp_path):
    path = tmp_path / "candles.csv"
    frame = candles.to_frame()
    frame["timestamp"] = frame.timestamp.dt.strftime("%Y-%m-%d %H:%M:%S")
    frame.to_csv(path, index=False)
    data = bt.feeds.GenericCSVData(
        dataname=str(path),
        dtformat="%Y-%m-%d %H:%M:%S",
        timeframe=bt.TimeFrame.Minutes,
        compression=60,
        openinterest=-1,
    )
    strategy = record(added(data), mode=both_ways)
    assert_rows_are(strategy, predictor.predict_batch(candles), predictor.required_bars)


def test_feed_whose_timeframe_was_never_stated_is_judged_by_its_stamps(record, predictor, candles):
    data = bt.feeds.PandasData(dataname=frame_of(candles, candles.time), openinterest=None)
    strategy = record(added(data))
    assert_rows_are(strategy, predictor.predict_batch(candles), predictor.required_bars)


def resampled(data):
    def add(cerebro):
        cerebro.resampledata(data, timeframe=bt.TimeFrame.Minutes, compression=60)

    return add


@pytest.mark.parametrize("stamp", ["last-millisecond", pytest.param("end", marks=pytest.mark.soak)])
def test_resampled_bars_are_the_candles_of_a_resampled_feed(
    record, predictor, fine_candles, run_mode, stamp
):
    base = pandas_data(fine_candles, stamp)
    strategy = record(added(base), resampled(base), feed=1, mode=run_mode)
    expected = predictor.predict_batch(fine_candles.resample("1h"))
    assert_rows_are(strategy, expected, predictor.required_bars)


def test_resampled_bar_stamped_at_its_end_would_be_taken_for_the_next_candle(fine_candles):
    # What backtrader stamps, so that nobody takes the border for an open.
    class Stamps(bt.Strategy):
        def __init__(self):
            self.seen = []

        def next(self):
            self.seen.append(bt.num2date(self.data1.datetime[0]))

    cerebro = bt.Cerebro(stdstats=False)
    base = CandleData(dataname=fine_candles)
    cerebro.adddata(base)
    resampled(base)(cerebro)
    cerebro.addstrategy(Stamps)
    first = cerebro.run()[0].seen[0]
    opened = pd.Timestamp(int(fine_candles.time[0]), unit="ms")
    assert pd.Timestamp(first) == opened + pd.Timedelta(hours=1)


@pytest.mark.parametrize("stamp", ["last-millisecond", "end"])
def test_replayed_bars_end_as_the_candles_of_a_resampled_feed(
    record, predictor, fine_candles, both_ways, stamp
):
    def replayed(cerebro):
        cerebro.replaydata(
            pandas_data(fine_candles, stamp), timeframe=bt.TimeFrame.Minutes, compression=60
        )

    strategy = record(replayed, mode=both_ways)
    expected = predictor.predict_batch(fine_candles.resample("1h"))
    assert_rows_are(strategy, expected, predictor.required_bars)
    assert strategy.visits > 3 * len(strategy.rows)


def test_slower_second_feed_is_forecast_once_a_bar_of_its_own(
    record, predictor, fine_candles, run_mode
):
    if run_mode["exactbars"] in (1, True):
        pytest.skip("backtrader loses count of feeds that wait; see the specification below")
    hourly = fine_candles.resample("1h")
    feeds = (CandleData(dataname=fine_candles), CandleData(dataname=hourly))
    strategy = record(*(added(data) for data in feeds), feed=1, mode=run_mode)
    assert_rows_are(strategy, predictor.predict_batch(hourly), predictor.required_bars)
    assert strategy.visits > 3 * len(strategy.rows)


def test_feed_that_backtrader_reads_ahead_in_is_refused(record, fine_candles):
    hourly = fine_candles.resample("1h")
    feeds = [added(pandas_data(each, "last-millisecond")) for each in (fine_candles, hourly)]
    with pytest.raises(ParameterError, match="Run with exactbars=0 or exactbars=-1"):
        record(*feeds, feed=1, mode={"exactbars": 1})


def test_without_the_refusal_a_feed_would_be_read_ahead_in(fine_candles):
    class Clocks(bt.Strategy):
        def __init__(self):
            self.data1.datetime.updateminperiod(5)
            self.early = 0

        def next(self):
            self.early += self.data1.datetime[0] > self.data0.datetime[0]

    cerebro = bt.Cerebro(stdstats=False)
    for each in (fine_candles, fine_candles.resample("1h")):
        cerebro.adddata(pandas_data(each, "last-millisecond"))
    cerebro.addstrategy(Clocks)
    assert cerebro.run(exactbars=1)[0].early > 100


def test_candle_that_the_data_leaves_unfinished_is_not_forecast(
    record, predictor, fine_candles, both_ways
):
    cut = fine_candles.between(None, int(fine_candles.time[-2]))
    base = CandleData(dataname=cut)
    strategy = record(added(base), resampled(base), feed=1, mode=both_ways)
    whole = len(cut.resample("1h"))
    assert max(strategy.rows) == whole + 1
    assert np.isnan(strategy.rows.pop(whole + 1)).all()
    assert_rows_are(strategy, predictor.predict_batch(cut.resample("1h")), predictor.required_bars)


def test_holes_are_bridged_alike_in_bulk_and_bar_by_bar(record, predictor, candles, both_ways):
    kept = np.ones(len(candles), dtype=bool)
    kept[[95, 110, 111]] = False
    holed = Candles(
        symbol=candles.symbol,
        timeframe=candles.timeframe,
        market=candles.market,
        time=candles.time[kept],
        ohlcv=candles.ohlcv[kept],
    )
    expected = predictor.predict_batch(holed)
    assert expected.signal.iloc[predictor.required_bars - 1 :].isna().any()
    strategy = record(added(CandleData(dataname=holed)), mode=both_ways)
    assert_rows_are(strategy, expected, predictor.required_bars)


# --- what is missing


@pytest.mark.parametrize("count", [1, 5, 60])
def test_data_shorter_than_the_history_gives_no_forecast_and_no_crash(
    record, candles, run_mode, count
):
    short = candles.between(None, int(candles.time[count]))
    strategy = record(added(CandleData(dataname=short)), mode=run_mode)
    assert strategy.rows == {}
    for line in strategy.forecast.lines:
        assert np.isnan(np.array(line.array)).all()


def test_first_forecast_needs_exactly_the_required_bars(record, predictor, candles, run_mode):
    enough = candles.between(None, int(candles.time[predictor.required_bars]))
    strategy = record(added(CandleData(dataname=enough)), mode=run_mode)
    assert list(strategy.rows) == [predictor.required_bars]
    assert not np.isnan(strategy.rows[predictor.required_bars]).any()


@pytest.mark.parametrize("column", ["close", "volume"])
def test_missing_price_silences_the_forecast_until_the_history_is_whole_again(
    record, trained, predictor, both_ways, column
):
    whole = trained.candles[0]
    candles = whole.between(None, int(whole.time[2 * predictor.required_bars + 20]))
    frame = frame_of(candles, candles.time)
    broken = predictor.required_bars + 2
    frame.iloc[broken - 1, frame.columns.get_loc(column)] = np.nan
    data = bt.feeds.PandasData(
        dataname=frame, timeframe=bt.TimeFrame.Minutes, compression=60, openinterest=None
    )
    strategy = record(added(data), mode=both_ways)
    silent = {bar for bar, row in strategy.rows.items() if np.isnan(row).all()}
    told = {bar for bar, row in strategy.rows.items() if not np.isnan(row).any()}
    back = broken + predictor.required_bars
    assert silent == set(range(broken, back))
    assert told == set(strategy.rows) - silent
    assert back in told


@pytest.mark.soak
def test_longest_feature_set_runs_in_the_smallest_memory(trained, trained_on_everything, both_ways):
    candles = trained.candles[0].between(None, int(trained.candles[0].time[700]))
    longest = trained_on_everything
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.adddata(CandleData(dataname=candles))
    cerebro.addstrategy(Records, forecast={"model": longest.model})
    strategy = cerebro.run(**both_ways)[0]
    assert longest.required_bars > 400
    expected = longest.predict_batch(candles)
    assert_rows_are(strategy, expected, longest.required_bars)


# --- the same bar again


def test_next_again_on_the_same_bar_changes_nothing(record, candles):
    class Twice(LSTMForecast):
        asked = 0

        def next(self):
            super().next()
            first = [line[0] for line in self.lines]
            super().next()
            assert [line[0] for line in self.lines] == first

        def _forecast(self, prices):
            Twice.asked += 1
            return super()._forecast(prices)

    class Uses(Records):
        def __init__(self):
            bt.Strategy.__init__(self)
            self.forecast = attach(Twice, self.data, **self.p.forecast)
            self.rows, self.visits = {}, 0

    cerebro = bt.Cerebro(stdstats=False)
    cerebro.adddata(CandleData(dataname=candles))
    record_params = record(added(CandleData(dataname=candles))).p.forecast
    cerebro.addstrategy(Uses, forecast=record_params)
    strategy = cerebro.run(runonce=False)[0]
    assert Twice.asked == len(strategy.rows) > 50


# --- thresholds and parameters


def test_signal_is_zero_under_the_confidence_and_where_the_median_disagrees(
    record, predictor, candles, both_ways
):
    batch = predictor.predict_batch(candles)
    threshold = float(batch.confidence.median())
    strategy = record(added(CandleData(dataname=candles)), mode=both_ways, min_confidence=threshold)
    rows = pd.DataFrame(list(strategy.rows.values()), columns=LINE_NAMES)
    assert set(rows.signal) <= {-1.0, 0.0, 1.0}
    timid = rows.confidence < threshold - 1e-5
    assert timid.sum() > 10
    assert (rows.signal[timid] == 0).all()
    disagrees = np.sign(rows.change_pct) != rows.direction
    assert (rows.signal[disagrees] == 0).all()
    clear = (rows.confidence > threshold + 1e-5) & ~disagrees
    assert clear.any()
    assert (rows.signal[clear] == rows.direction[clear]).all()


def test_signal_is_the_first_line():
    # add_signal() and comparisons of whole indicators read line 0.
    assert LSTMForecast.lines.getlinealiases() == LINE_NAMES
    assert LINE_NAMES[0] == "signal"


@pytest.mark.parametrize(
    ("params", "error", "message"),
    [
        ({"model": ""}, ParameterError, "needs model"),
        ({"model": 3}, ParameterError, "not model=3"),
        ({"min_confidence": "0.55"}, ParameterError, "such as min_confidence=0.55"),
        ({"min_confidence": None}, ParameterError, "is a NoneType and no number"),
        ({"min_confidence": False}, ParameterError, "is a bool and no number"),
        ({"level": "0.8"}, ParameterError, "such as level=0.8"),
        ({"level": 0.9}, ParameterError, "level=0.8 or level=0.95"),
        ({"min_confidence": 60}, ParameterError, "fraction"),
        ({"min_confidense": 0.6}, ParameterError, "did you mean 'min_confidence'"),
        ({"horizon": "9h"}, ConfigError, "does not forecast '9h'"),
        ({"model": "models:/nobody@champion"}, ModelNotFoundError, "nobody"),
        ({"model": "models:/tiny/99"}, ModelNotFoundError, "99"),
        ({"model": "/no/such/folder"}, ModelNotFoundError, "no such folder"),
    ],
)
def test_parameters_that_cannot_be_meant_are_refused(record, candles, params, error, message):
    with pytest.raises(error, match=message):
        record(added(CandleData(dataname=candles)), **params)


def test_horizon_may_be_named(record, predictor, candles):
    named = record(added(CandleData(dataname=candles)), horizon=predictor.horizons[0])
    assert named.rows == record(added(CandleData(dataname=candles))).rows


def test_stated_timeframe_that_the_model_does_not_read_is_refused(record, fine_candles):
    with pytest.raises(BundleError, match=r"reads 1h candles, and the feed .* has 15m"):
        record(added(CandleData(dataname=fine_candles)))


def test_finer_bars_under_a_wrong_name_are_refused(record, fine_candles, both_ways):
    frame = frame_of(fine_candles, fine_candles.time)
    data = bt.feeds.PandasData(
        dataname=frame, timeframe=bt.TimeFrame.Minutes, compression=60, openinterest=None
    )
    with pytest.raises(CandleError, match="finer timeframe than 1h"):
        record(added(data), mode=both_ways)


def test_coarser_bars_under_a_wrong_name_are_refused(record, both_ways):
    coarse = simulate_market(candles=120, timeframe="4h", seed=2)[0]
    data = bt.feeds.PandasData(
        dataname=frame_of(coarse, coarse.time),
        timeframe=bt.TimeFrame.Minutes,
        compression=60,
        openinterest=None,
    )
    with pytest.raises(BundleError, match="at least 4 h apart"):
        record(added(data), mode=both_ways)


def test_closing_hours_are_no_other_timeframe(record, predictor, candles, both_ways):
    # Six hours a day: most of a day is missing, yet the bars are hourly ones.
    hours = candles.time // candles.period_ms % 24
    kept = hours < 6
    data = bt.feeds.PandasData(
        dataname=frame_of(candles, candles.time)[kept],
        timeframe=bt.TimeFrame.Minutes,
        compression=60,
        openinterest=None,
    )
    strategy = record(added(data), mode=both_ways)
    assert all(np.isnan(row).all() for row in strategy.rows.values())


# --- where indicators go in backtrader


def test_forecast_works_as_a_signal(trained, both_ways):
    candles = trained.candles[0].between(None, int(trained.candles[0].time[200]))
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.adddata(CandleData(dataname=candles))
    cerebro.add_signal(
        bt.SIGNAL_LONGSHORT, LSTMForecast, model=trained.champion, home=str(trained.home.path)
    )
    cerebro.addanalyzer(bt.analyzers.TradeAnalyzer, _name="trades")
    strategy = cerebro.run(**both_ways)[0]
    trades = strategy.analyzers.trades.get_analysis()
    signals = trained.predictor().predict_batch(candles).signal.dropna()
    turns = (signals[signals != 0].diff().dropna() != 0).sum()
    assert trades.total.total == pytest.approx(turns + 1, abs=1)
    assert trades.total.total > 5


def test_forecast_can_be_compared_and_nested(trained, candles, both_ways):
    class Uses(bt.Strategy):
        def __init__(self):
            forecast = attach(
                LSTMForecast, self.data, model=trained.champion, home=str(trained.home.path)
            )
            self.rising = forecast > 0
            self.smooth = bt.indicators.SMA(forecast.confidence, period=5)
            self.seen = []

        def next(self):
            self.seen.append((self.rising[0], self.smooth[0]))

    cerebro = bt.Cerebro(stdstats=False)
    cerebro.adddata(CandleData(dataname=candles))
    cerebro.addstrategy(Uses)
    seen = cerebro.run(**both_ways)[0].seen
    batch = trained.predictor().predict_batch(candles).iloc[-len(seen) :]
    assert [bool(rising) for rising, _ in seen] == (batch.signal > 0).tolist()
    smooth = trained.predictor().predict_batch(candles).confidence.rolling(5).mean()
    np.testing.assert_allclose([value for _, value in seen], smooth[-len(seen) :], atol=1e-5)


def test_feed_with_a_forecast_pickles(trained, candles):
    # optstrategy sends classes and parameters to its workers.
    job = (LSTMForecast, {"model": trained.champion}, CandleData(dataname=candles))
    kind, params, data = pickle.loads(pickle.dumps(job))
    assert kind is LSTMForecast
    assert params == {"model": trained.champion}
    assert len(data.candles) == len(candles)
