"""What must be true of every backtest, seen from outside."""

from __future__ import annotations

import numpy as np
import pytest

from experiments import BacktestConfig, backtest
from lightning_models.candles import Candles, iso_utc
from lightning_models.errors import ConfigError, TooFewCandlesError

THRESHOLD = 0.55


@pytest.fixture(scope="module")
def place(migrated_database, tmp_path_factory):
    """One home for the runs of this file."""
    import shutil

    from lightning_models.home import Home

    folder = tmp_path_factory.mktemp("backtests")
    shutil.copy(migrated_database, folder / "mlflow.db")
    return Home(folder)


@pytest.fixture(scope="module")
def candles(trained) -> Candles:
    return trained.candles[0]


@pytest.fixture(scope="module")
def run(trained, candles, place):
    """Backtest the tiny model, with few replications unless told otherwise."""

    def backtested(given=candles, **settings):
        plain = {"min_confidence": THRESHOLD, "replications": 100, "doubled_costs": False}
        config = BacktestConfig(model=str(trained.model.path), **{**plain, **settings})
        return backtest(config, given, home=place)

    return backtested


@pytest.fixture(scope="module")
def result(run):
    return run()


@pytest.fixture(scope="module")
def rows(candles):
    """From a bar's stamp to its row."""
    return {
        iso_utc(int(time) + candles.period_ms - 1): row for row, time in enumerate(candles.time)
    }


@pytest.fixture(scope="module")
def unseen(trained) -> int:
    return trained.predictor().bundle.unseen_from_ms


def test_entries_follow_a_confident_forecast_that_is_unseen(result, trained, candles, rows, unseen):
    lines = trained.predictor().predict_batch(candles)
    assert result.total_trades > 30
    for trade in result.trades:
        decided = rows[trade.entry_time] - 1
        assert candles.time[decided] + candles.period_ms >= unseen
        assert lines["confidence"][decided] >= THRESHOLD
        assert lines["signal"][decided] == (1 if trade.direction == "LONG" else -1)


def test_every_entry_is_filled_at_the_open_of_the_bar_after_its_decision(result, candles, rows):
    for trade in result.trades:
        opened = candles.ohlcv[rows[trade.entry_time], 0]
        assert trade.entry_price == pytest.approx(opened, rel=1e-12)


def test_every_exit_is_an_open_or_a_level_that_its_bar_reached(result, candles, rows):
    reasons = set()
    for trade in result.trades:
        reasons.add(trade.exit_reason)
        if trade.exit_reason == "end":
            assert trade.exit_time is None
            continue
        entry, out = rows[trade.entry_time], rows[trade.exit_time]
        opened, high, low = candles.ohlcv[out, :3]
        assert out >= entry
        assert trade.bars == out - entry
        if trade.exit_reason == "reversal":
            assert trade.exit_price == pytest.approx(opened, rel=1e-12)
            continue
        spread = _mean_true_range(candles, entry - 1)
        side = 1 if trade.direction == "LONG" else -1
        reach = {"stop": -2.0, "target": 3.0}[trade.exit_reason] * spread * side
        level = trade.entry_price + reach
        # A gap beyond the level fills at the open, worse for a stop and better for a target.
        beyond = opened <= level if reach < 0 else opened >= level
        expected = opened if beyond and out > entry else level
        assert trade.exit_price == pytest.approx(expected, rel=1e-9)
        assert low - 1e-9 <= trade.exit_price <= high + 1e-9
    assert reasons >= {"stop", "target"}


def test_the_account_adds_up(result):
    assert result.equity_curve[0].equity == 10_000
    gained = sum(trade.pnl for trade in result.trades)
    assert gained == pytest.approx(result.total_return, abs=1e-6)
    assert result.equity_curve[-1].equity - 10_000 == pytest.approx(result.total_return)
    assert result.fees_paid == pytest.approx(sum(trade.fees for trade in result.trades))
    for trade in result.trades:
        if trade.exit_price is not None:
            side = 1 if trade.direction == "LONG" else -1
            moved = side * trade.size * (trade.exit_price - trade.entry_price)
            assert trade.pnl == pytest.approx(moved - trade.fees - trade.funding, abs=1e-6)
            assert trade.fees == pytest.approx(
                0.0004 * trade.size * trade.entry_price
                + _exit_fee(trade) * trade.size * trade.exit_price
            )


def test_no_position_is_larger_than_the_cash_and_none_risks_more_than_its_share(
    result, candles, rows
):
    equity = {point.time: point.equity for point in result.equity_curve}
    for trade in result.trades:
        before = candles.time[rows[trade.entry_time] - 1] + candles.period_ms - 1
        account = equity[iso_utc(int(before))]
        assert trade.size * trade.entry_price <= 1.02 * account
        at_risk = trade.size * 2.0 * _mean_true_range(candles, rows[trade.entry_time] - 1)
        assert at_risk <= 0.02 * account * (1 + 1e-9)


def test_buy_and_hold_by_hand(run, result, candles, rows):
    first = rows[result.start_date]
    for slippage in (0.0, 0.01):
        held = (result if not slippage else run(slippage=slippage)).buy_and_hold
        paid = candles.ohlcv[first + 1, 0] * (1 + slippage)
        units = 10_000 / (paid * 1.0004)
        worth = [10_000.0, *(units * candles.ohlcv[first + 1 :, 3])]
        assert [point.equity for point in held.equity_curve] == pytest.approx(worth)
        assert held.total_return_pct == pytest.approx(100 * (worth[-1] / 10_000 - 1))
        peak = np.maximum.accumulate(worth)
        assert held.max_drawdown_pct == pytest.approx(100 * float((1 - worth / peak).max()))
    assert [point.time for point in held.equity_curve] == [p.time for p in result.equity_curve]


def test_costs_cost(run, result):
    free = run(maker_fee=0.0, taker_fee=0.0)
    dear = run(maker_fee=0.002, taker_fee=0.002)
    slipping = run(slippage=0.002)
    assert free.fees_paid == 0
    assert free.total_return > result.total_return > dear.total_return
    assert slipping.total_return < result.total_return
    for trade, plain in zip(slipping.trades[:3], result.trades[:3], strict=True):
        if trade.entry_time == plain.entry_time:
            side = 1 if trade.direction == "LONG" else -1
            assert trade.entry_price == pytest.approx(plain.entry_price * (1 + side * 0.002))


@pytest.mark.parametrize("kept", [2600, 2777, 2950])
def test_what_comes_later_changes_no_earlier_trade(run, result, candles, kept):
    until = int(candles.time[kept])
    cut = run(candles.between(None, until))
    end = cut.end_date
    closed = [trade for trade in cut.trades if trade.exit_time is not None]
    assert closed == [trade for trade in result.trades if (trade.exit_time or "9") <= end]
    assert len(closed) > 3
    known = [point for point in result.equity_curve if point.time <= end]
    assert list(cut.equity_curve) == known


def test_prices_from_later_on_change_no_earlier_trade(run, result, candles):
    # As the test above, but through other candles in the place of those that were cut.
    changed = np.array(candles.ohlcv)
    changed[2800:, :4] *= 3.0
    other = run(Candles(candles.symbol, candles.timeframe, candles.market, candles.time, changed))
    moment = iso_utc(int(candles.time[2800]))
    before = [trade for trade in result.trades if (trade.exit_time or "9") < moment]
    assert [trade for trade in other.trades if (trade.exit_time or "9") < moment] == before
    assert other.trades != result.trades


def test_history_before_the_warm_up_changes_nothing(run, result, candles, trained, unseen):
    first = int(np.searchsorted(candles.time + candles.period_ms, unseen))
    start = first - trained.predictor().required_bars + 1
    shorter = run(candles.between(int(candles.time[start]), None))
    assert shorter.trades == result.trades
    # One candle less, and the first decision comes one later.
    later = run(candles.between(int(candles.time[start + 1]), None))
    assert later.start_date > result.start_date


@pytest.mark.parametrize(
    ("start", "end", "kind"),
    [
        (0, None, "out_of_sample"),
        (-1, None, "mixed"),
        (-50, 0, "in_sample"),
        (-50, 1, "mixed"),
        (-50, None, "mixed"),
    ],
)
def test_the_slice_is_told_to_the_bar(run, candles, unseen, start, end, kind):
    period = candles.period_ms
    found = run(
        start=iso_utc(unseen + start * period),
        end=None if end is None else iso_utc(unseen + end * period),
        in_sample=True,
    )
    assert found.slice == kind
    assert found.start_date == iso_utc(unseen + start * period - 1)
    no_edge = found.verdict.startswith("No evidence of an edge")
    assert no_edge or kind == "out_of_sample" or found.total_trades == 0
    if kind != "out_of_sample":
        assert run(start=iso_utc(unseen + start * period)).slice == "out_of_sample"


def test_forecasts_are_counted_once_each(result, run):
    for found in (result, run(min_edge=2.0)):
        counts = found.forecasts
        parts = counts.without_forecast + counts.under_threshold + counts.disagreeing
        assert counts.total == parts + counts.traded == len(found.equity_curve)
    assert found.forecasts.traded < result.forecasts.traded


def test_the_same_backtest_gives_the_same_result(run, result):
    assert run() == result


def test_a_threshold_that_nothing_reaches_says_so(run):
    none = run(min_confidence=1.0)
    assert none.total_trades == 0
    assert none.sharpe_ratio == 0
    assert none.total_return == 0
    assert none.verdict.startswith("No trades, so no verdict")
    assert any("under the confidence of 1.000" in note for note in none.notes)


def test_a_threshold_that_hardly_anything_reaches_says_so(run, trained, candles, unseen):
    confidence = trained.predictor().predict_batch(candles)["confidence"].to_numpy()
    later = confidence[candles.time + candles.period_ms > unseen]
    few = run(min_confidence=float(np.sort(later[np.isfinite(later)])[-3]) - 1e-9)
    assert 0.0 < few.traded_share < 0.01
    (note,) = [note for note in few.notes if "may trade" in note]
    assert "top_share=0.1" in note
    assert not [note for note in run().notes if "may trade" in note]


def test_a_top_share_stands_in_for_the_threshold(run):
    few, many = run(top_share=0.05, min_confidence=1.0), run(top_share=0.5, min_confidence=1.0)
    assert 0 < few.forecasts.traded < many.forecasts.traded


def test_missing_candles_are_noted_and_never_traded_on(run, candles):
    hole = np.r_[0:2800, 2803:3000]
    holed = Candles(
        candles.symbol, candles.timeframe, candles.market, candles.time[hole], candles.ohlcv[hole]
    )
    found = run(holed)
    assert any("3 of" in note and "candles are missing" in note for note in found.notes)
    stamps = {iso_utc(int(time) + candles.period_ms - 1) for time in candles.time[2800:2803]}
    assert not stamps & {trade.entry_time for trade in found.trades}
    assert not stamps & {point.time for point in found.equity_curve}


def test_a_symbol_the_model_never_saw_is_noted(run, candles):
    other = Candles("NEW/USDT", "1h", "continuous", candles.time, candles.ohlcv)
    assert any("NEW/USDT is not among the symbols" in note for note in run(other).notes)


def test_one_symbol_at_a_time(run, candles):
    assert run([candles]).symbol == candles.symbol
    with pytest.raises(ConfigError, match="takes one symbol, got 2: call it once for each"):
        run([candles, candles])


def test_nothing_to_trade_on_is_no_empty_result(run, candles, unseen):
    with pytest.raises(TooFewCandlesError, match="has seen everything before"):
        run(candles.between(None, unseen))
    with pytest.raises(TooFewCandlesError, match=r"needs \d+: .* 2 to trade on. Give more history"):
        run(candles.between(None, int(candles.time[20])))
    # Two candles from there on are enough: one to decide on, one to fill in.
    least = run(candles.between(None, unseen + candles.period_ms))
    assert len(least.equity_curve) == 2


def test_a_report_is_written_where_it_is_asked_for(trained, candles, place, tmp_path):
    config = BacktestConfig(model=str(trained.model.path), replications=100)
    backtest(config, candles, home=place, report=tmp_path / "report")
    names = {path.name for path in (tmp_path / "report").iterdir()}
    assert names == {"report.html", "result.json", "trades.csv"}


def test_a_refit_names_the_run_that_evaluated_it(trained, candles, place, tmp_path):
    from lightning_models.bundle import load_network, read_bundle, write_bundle

    bundle = read_bundle(trained.model.path)
    network = load_network(trained.model.path, bundle)
    refit = write_bundle(tmp_path / "refit", bundle.model_copy(update={"metrics": {}}), network)
    found = backtest(BacktestConfig(model=str(refit), replications=100), candles, home=place)
    assert any(f"run {bundle.evaluated_by} evaluated its" in note for note in found.notes)


def _mean_true_range(candles, row):
    high, low = candles.ohlcv[row - 13 : row + 1, 1], candles.ohlcv[row - 13 : row + 1, 2]
    before = candles.ohlcv[row - 14 : row, 3]
    return float(np.mean(np.maximum(high, before) - np.minimum(low, before)))


def _exit_fee(trade):
    # A target is a limit order that rests in the book; everything else takes.
    return 0.0002 if trade.exit_reason == "target" else 0.0004


def test_doubled_costs_are_those_of_a_run_with_twice_the_fees(run):
    result = run(doubled_costs=True)
    again = run(maker_fee=0.0004, taker_fee=0.0008)
    assert result.doubled_costs.total_return_pct == pytest.approx(again.total_return_pct)
    assert result.doubled_costs.total_return_pct < result.total_return_pct
    assert result.doubled_costs.fees_paid == pytest.approx(again.fees_paid)


def test_a_result_that_may_be_luck_is_never_called_more_than_average(candles, place):
    # Sixty trials: what one alone could pass is expected of the best of so many.
    for trials in (1, 60):
        config = BacktestConfig(
            strategy="supertrend", replications=200, doubled_costs=False, trials=trials
        )
        result = backtest(config, candles, home=place)
        if "Distinguishable from luck" not in result.verdict:
            assert result.performance_rating in ("AVERAGE", "POOR")
    assert "after 60 trials" in result.verdict or "Too few trades" in result.verdict
    assert result.performance_rating in ("AVERAGE", "POOR")


def test_the_same_exposure_at_random_stands_beside_it(result):
    chance = result.random_exposure
    assert chance.random_return_low < chance.random_return_high
    # A planted signal is a matter of when: the same exposure at other times earns far less.
    assert chance.p_value < 0.05
    assert chance.total_return_pct > chance.random_return_high
    assert "held at random" in result.verdict


def test_a_strategy_without_a_model_has_none_in_its_result(candles, place):
    config = BacktestConfig(strategy="rsi_ema", replications=100, doubled_costs=False)
    result = backtest(config, candles, home=place)
    assert (result.model, result.bundle_sha256, result.unseen_from) == (None, None, None)
    assert result.forecasts is None
    assert result.slice == "out_of_sample"
    assert 0.0 < result.traded_share < 1.0


def test_a_model_that_is_not_needed_dates_the_period_all_the_same(trained, candles, place, unseen):
    config = BacktestConfig(
        strategy="rsi_ema", model=str(trained.model.path), replications=100, doubled_costs=False
    )
    result = backtest(config, candles, home=place)
    assert result.start_date >= iso_utc(unseen - 1)
    assert result.model is None


def test_days_back_count_from_the_end(candles, place):
    config = BacktestConfig(strategy="rsi_ema", days_back=5, replications=100, doubled_costs=False)
    result = backtest(config, candles, home=place)
    assert result.start_date == iso_utc(
        int(candles.time[-1]) + candles.period_ms - 5 * 86_400_000 - 1
    )


def test_leverage_pays_funding_and_trades_say_so(run):
    plain, levered = run(), run(leverage=3.0)
    assert plain.funding_paid == 0.0
    assert levered.funding_paid == pytest.approx(sum(one.funding for one in levered.trades))
    assert levered.funding_paid != 0.0
    gained = sum(trade.pnl for trade in levered.trades)
    assert gained == pytest.approx(levered.total_return, abs=1e-6)


def test_detail_of_another_symbol_or_no_finer_timeframe_is_refused(candles, place):
    config = BacktestConfig(strategy="rsi_ema", replications=100)
    with pytest.raises(ConfigError, match="give finer candles than"):
        backtest(config, candles, home=place, detail=candles)


def test_funding_rates_come_from_a_file_where_one_is_given(run, candles, tmp_path):
    eight_hours = 8 * 3_600_000
    first = int(candles.time[0]) // eight_hours * eight_hours
    times = range(first, int(candles.time[-1]) + eight_hours, eight_hours)
    path = tmp_path / "rates.csv"
    path.write_text("timestamp,rate\n" + "".join(f"{time},0.0003\n" for time in times))
    stated = run(funding_rate=0.0003)
    read = run(funding=path)
    assert read.funding_paid == pytest.approx(stated.funding_paid)
    assert read.funding_paid != pytest.approx(run().funding_paid)
    assert read.configuration["funding"] == str(path)
