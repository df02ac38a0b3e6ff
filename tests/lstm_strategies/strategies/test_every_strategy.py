"""What must be true of every strategy of the table."""

from __future__ import annotations

import backtrader as bt
import matplotlib as mpl
import numpy as np
import pytest

from lightning_models.errors import ConfigError
from lstm_strategies import CandleData
from lstm_strategies.errors import ParameterError
from lstm_strategies.signals import WARMUP
from lstm_strategies.strategies import STRATEGIES, strategy_named, summary_of

from .conftest import parameters_of

NAMES = list(STRATEGIES)
# Bar by bar a fused strategy takes milliseconds; what all four share is tried on one of them.
QUICK = ["lstm_fast", "supertrend", "rsi_ema", "macd_stoch", "buy_and_hold"]
BARS = WARMUP + 120


@pytest.fixture(scope="module")
def candles():
    from tests.lstm_strategies.conftest import make_walk

    return make_walk(BARS, seed=3)


def rounded(fills):
    return [(one.bar, round(one.size, 8), round(one.price, 6), one.kind) for one in fills]


@pytest.mark.parametrize("name", NAMES)
def test_trades_and_the_same_in_bulk_and_bar_by_bar(fills_of, candles, name):
    bulk = fills_of(name, candles)
    barwise = fills_of(name, candles, mode={"runonce": False, "preload": False, "exactbars": 1})
    assert rounded(bulk) == rounded(barwise)
    assert bulk, "a test in which nothing is traded shows nothing"


@pytest.mark.parametrize("name", QUICK)
def test_same_trades_in_every_run_mode(fills_of, candles, run_mode, name):
    assert rounded(fills_of(name, candles, mode=run_mode)) == rounded(fills_of(name, candles))


@pytest.mark.soak
@pytest.mark.parametrize("name", sorted(set(NAMES) - set(QUICK)))
def test_same_trades_of_the_others_in_every_run_mode(fills_of, candles, run_mode, name):
    assert rounded(fills_of(name, candles, mode=run_mode)) == rounded(fills_of(name, candles))


def finer_than(candles, parts=4):
    """Candles of a quarter's length that make up the given ones."""
    from lightning_models.candles import Candles

    rng = np.random.default_rng(1)
    step = candles.period_ms // parts
    rows, times = [], []
    for time, (opened, high, low, close, volume) in zip(
        candles.time.tolist(), candles.ohlcv.tolist(), strict=True
    ):
        path = [opened, high, low, close] if rng.random() < 0.5 else [opened, low, high, close]
        for part in range(parts):
            start = path[part]
            end = path[min(part + 1, 3)]
            rows.append([start, max(start, end), min(start, end), end, volume / parts])
            times.append(time + part * step)
    return Candles(
        symbol=candles.symbol,
        timeframe="15m",
        market=candles.market,
        time=np.array(times, dtype=np.int64),
        ohlcv=np.array(rows),
    )


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.soak
def test_resampled_candles_are_decided_on_like_given_ones(fills_of, candles, name):
    finer = finer_than(candles)

    def resampled(cerebro):
        cerebro.resampledata(
            CandleData(dataname=finer), timeframe=bt.TimeFrame.Minutes, compression=60
        )

    # Neither stop nor target: within a bar a feed of finer candles knows more.
    plain = {} if name in ("buy_and_hold",) else {"atr_stop": 0.0, "atr_target": 0.0}
    mine = fills_of(name, candles, **plain)
    theirs = fills_of(name, candles, feed=resampled, **plain)
    decided = [(one.bar, one.size > 0) for one in mine]
    assert [(one.bar, one.size > 0) for one in theirs][: len(decided) - 1] == decided[:-1] or [
        (one.bar, one.size > 0) for one in theirs
    ] == decided
    assert decided


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("cut", [BARS - 70, BARS - 31])
def test_cutting_the_candles_changes_no_earlier_trade(fills_of, candles, name, cut):
    whole = [one for one in fills_of(name, candles) if one.bar <= cut]
    shorter = candles.between(None, int(candles.time[cut - 1]) + 1)
    assert rounded(fills_of(name, shorter)) == rounded(whole)


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"buy_and_hold"}))
def test_another_future_does_change_later_trades(fills_of, candles, name):
    from lightning_models.candles import Candles

    ohlcv = candles.ohlcv.copy()
    ohlcv[-100:, :4] = ohlcv[-100:, :4][::-1]
    turned = Candles(
        symbol=candles.symbol,
        timeframe=candles.timeframe,
        market=candles.market,
        time=candles.time,
        ohlcv=np.column_stack(
            [
                ohlcv[:, 0],
                ohlcv[:, [0, 1, 3]].max(axis=1),
                ohlcv[:, [0, 2, 3]].min(axis=1),
                ohlcv[:, 3],
                ohlcv[:, 4],
            ]
        ),
    )
    assert rounded(fills_of(name, turned)) != rounded(fills_of(name, candles))


@pytest.mark.parametrize("name", NAMES)
def test_every_fill_comes_after_the_bar_that_asked_for_it(fills_of, candles, name):
    opens = {bar + 1: row[0] for bar, row in enumerate(candles.ohlcv.tolist())}
    market = [one for one in fills_of(name, candles) if one.kind == "Market"]
    assert market
    for one in market:
        assert one.price == pytest.approx(opens[one.bar])


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"buy_and_hold"}))
def test_long_only_sells_no_more_than_it_has(fills_of, candles, name):
    held = np.cumsum([one.size for one in fills_of(name, candles, long_only=True)])
    assert np.all(held >= -1e-9)
    short = np.cumsum([one.size for one in fills_of(name, candles)])
    assert np.any(short < 0), "without it the strategy goes short here"


@pytest.mark.parametrize("name", NAMES)
def test_a_market_that_stands_still_breaks_nothing(fills_of, candles_of, name):
    still = candles_of([[100.0, 100.0, 100.0, 100.0]] * BARS)
    fills_of(name, still)
    fills_of(name, still, mode={"runonce": False, "preload": False})


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("count", [2, 30])
def test_too_short_a_history_trades_nothing_and_breaks_nothing(fills_of, random_walk, name, count):
    fills = fills_of(name, random_walk(count, seed=1))
    assert len(fills) <= (1 if name == "buy_and_hold" else count)


@pytest.mark.parametrize("name", NAMES)
def test_is_drawn_without_a_screen(fills_of, candles, name, tmp_path, monkeypatch):
    import backtrader.plot  # noqa: F401 - it chooses a backend of its own

    mpl.use("Agg", force=True)
    monkeypatch.setenv("LSTM_HOME", str(tmp_path))
    cerebro = bt.Cerebro()
    cerebro.adddata(CandleData(dataname=candles))
    cerebro.addstrategy(STRATEGIES[name], **parameters_of(name))
    cerebro.run()
    ((figure,),) = cerebro.plot(iplot=False, style="candle")
    assert len(figure.axes) >= 2
    mpl.pyplot.close("all")


@pytest.mark.parametrize("name", NAMES)
def test_parameters_travel_to_the_workers_of_an_optimisation(candles, name, tmp_path, monkeypatch):
    monkeypatch.setenv("LSTM_HOME", str(tmp_path))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    cerebro = bt.Cerebro(stdstats=False, maxcpus=2)
    cerebro.adddata(CandleData(dataname=candles))
    told = {key: (value,) for key, value in parameters_of(name).items()}
    cerebro.optstrategy(STRATEGIES[name], **told, cooldown=(0, 5))
    found = [run[0].p.cooldown for run in cerebro.run()]
    assert found == [0, 5]


@pytest.mark.parametrize("name", NAMES)
def test_has_a_sentence_that_says_what_it_does(name):
    assert summary_of(name).endswith((".", "…"))
    assert strategy_named(name) is STRATEGIES[name]


def test_an_unknown_name_lists_those_there_are():
    with pytest.raises(ConfigError, match="did you mean 'supertrend'") as error:
        strategy_named("supertrnd")
    assert all(name in str(error.value) for name in NAMES)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("lstm", {"min_confidence": 0.6, "use_llm": True, "risk_per_trade": 0.02, "atr_stop": 2.0}),
        ("lstm_fast", {"min_confidence": 0.6, "use_llm": False, "risk_per_trade": 0.02}),
        (
            "lstm_conservative",
            {"min_confidence": 0.75, "use_llm": True, "risk_per_trade": 0.01, "atr_stop": 2.5},
        ),
        (
            "lstm_aggressive",
            {"min_confidence": 0.5, "use_llm": False, "risk_per_trade": 0.05, "atr_stop": 1.0},
        ),
    ],
)
def test_presets_carry_their_numbers(name, expected):
    own = dict(STRATEGIES[name].params._getitems())
    assert {key: own[key] for key in expected} == expected


@pytest.mark.parametrize(
    ("name", "params", "message"),
    [
        ("supertrend", {"supertrend_period": 0}, "supertrend_period"),
        ("supertrend", {"supertrend_multiplier": -1.0}, "supertrend_multiplier"),
        ("rsi_ema", {"ema_fast": 30}, "fewer bars"),
        ("rsi_ema", {"overbought": 40.0}, "one level on each side of 50"),
        ("macd_stoch", {"macd_fast": 30}, "fewer bars"),
        ("macd_stoch", {"oversold": 90.0}, "lower level first"),
        ("lstm_fast", {"min_confidence": 60}, "min_confidence=0.6"),
        ("lstm_fast", {"weight_lstm": -0.4}, "weight_lstm"),
    ],
)
def test_parameters_that_cannot_be_meant_are_refused(fills_of, candles, name, params, message):
    with pytest.raises(ParameterError, match=message):
        fills_of(name, candles, **params)
