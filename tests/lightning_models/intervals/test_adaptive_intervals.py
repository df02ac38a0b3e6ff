"""Adaptive bounds around a model: the journal, the batch, and an arithmetic of one's own."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

from lightning_models.candles.candles import Candles
from lightning_models.errors import (
    BundleError,
    ConfigError,
    NoForecastError,
    StorageError,
    TooFewCandlesError,
)
from lightning_models.evaluation.collect import collect_outcomes, labels_of, pair_outcomes
from lightning_models.evaluation.coverage import measure_coverage
from lightning_models.forecast import LEVELS
from lightning_models.intervals import (
    AdaptiveIntervals,
    AdaptiveSettings,
    conformal_offset,
    conformity_scores,
)
from lightning_models.predictor import Predictor

QUICK = AdaptiveSettings(gamma=0.03, window=60)


def unseen_row(predictor, candles):
    return int(np.searchsorted(candles.time + candles.period_ms, predictor.bundle.unseen_from_ms))


def part(candles, first, last):
    return candles.between(int(candles.time[first]), int(candles.time[last - 1]) + 1)


def with_unseen_from(predictor, milliseconds):
    moment = datetime.fromtimestamp(milliseconds / 1000, UTC)
    bundle = predictor.bundle.model_copy(update={"unseen_from": moment})
    return Predictor(bundle, predictor._runner, model="it", sha256=predictor.sha256)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "sim.jsonl"


# --- the arithmetic


def test_bounds_are_those_of_labels_matured_by_then(bounded, market):
    # Every forecast looks all labels up anew, and takes those that had ended by its close.
    candles, position = market, 1
    closes = candles.time + candles.period_ms
    arrays = bounded.forecast_arrays(candles.time, candles.ohlcv)
    units = bounded.units(candles.time, candles.ohlcv)[:, position]
    quantiles = arrays.quantiles[:, position, :3]
    labels = labels_of(candles, bounded.bundle)
    returns, ends = labels.returns[:, position], labels.end
    scores = conformity_scores(quantiles, returns) / units
    lessons = np.isfinite(scores) & (closes >= bounded.bundle.unseen_from_ms)
    found = AdaptiveIntervals(bounded, settings=QUICK).bounds(candles, horizon="4h")
    assert lessons.sum() > 250
    alpha, given, taken = 1 - np.array(LEVELS), {}, []
    start = list(bounded.bundle.intervals.scores[position])
    names = ["lower_80", "upper_80", "lower_95", "upper_95", "alpha_80", "alpha_95"]
    table = found[names].to_numpy(float)
    known = np.flatnonzero(np.isfinite(quantiles).all(axis=1))
    for row in known[known >= unseen_row(bounded, candles) - 10]:
        matured = np.flatnonzero(lessons & (ends > 0) & (ends <= closes[row]))
        for lesson in matured[len(taken) :]:
            low, high = np.array(given[int(lesson)]).T
            missed = ~((low <= returns[lesson]) & (returns[lesson] <= high))
            alpha = np.clip(alpha + QUICK.gamma * (1 - np.array(LEVELS) - missed), -0.03, 1.03)
            taken.append(scores[lesson])
        ascending = sorted((start + taken)[-QUICK.window :])
        offsets = np.maximum.accumulate([conformal_offset(ascending, 1 - one)[0] for one in alpha])
        low, median, high = quantiles[row]
        given[int(row)] = [
            (min(low - one * units[row], median), max(high + one * units[row], median))
            for one in offsets
        ]
        price = candles.ohlcv[row, 3]
        expected = price * (1 + np.ravel(given[int(row)]))
        assert table[row, :4] == pytest.approx(expected, rel=1e-12)
        assert table[row, 4:] == pytest.approx(alpha)
    assert len(taken) > 250


def test_bounds_have_a_row_for_each_candle_and_none_without_a_forecast(bounded, market):
    frame = market.to_frame().set_index("timestamp")
    found = AdaptiveIntervals(bounded).bounds(frame)
    assert found.index.equals(frame.index)
    lines = bounded.predict_batch(frame)
    assert (found["lower_80"].isna() == lines["lower"].isna()).all()
    known = found.dropna()
    assert (known["lower_95"] <= known["lower_80"]).all()
    assert (known["upper_95"] >= known["upper_80"]).all()
    assert not found["capped_95"].any()


# --- time


@pytest.mark.parametrize("horizon", ["1h", "4h"])
def test_what_comes_later_changes_no_earlier_bounds(bounded, market, horizon):
    adaptive = AdaptiveIntervals(bounded, settings=QUICK)
    whole = adaptive.bounds(market, horizon=horizon)
    for cut in (1500, 1603, 1650, 1796):
        until = adaptive.bounds(part(market, 0, cut), horizon=horizon)
        pd.testing.assert_frame_equal(until, whole.iloc[:cut], rtol=1e-6)
    wild = market.ohlcv.copy()
    wild[1650:] *= 3.0
    changed = adaptive.bounds(replace(market, ohlcv=wild), horizon=horizon)
    pd.testing.assert_frame_equal(changed.iloc[:1650], whole.iloc[:1650], rtol=1e-6)
    assert not np.allclose(changed["lower_80"][1660:], 3 * whole["lower_80"][1660:], rtol=1e-4)


def test_what_the_model_has_seen_teaches_nothing(bounded, market):
    adaptive = AdaptiveIntervals(bounded, settings=QUICK)
    first = unseen_row(bounded, market)
    seen = adaptive.bounds(market)
    levels = 1 - np.array(LEVELS)
    before = seen.iloc[: first + 1][["alpha_80", "alpha_95"]].dropna().to_numpy()
    assert len(before) > 1000
    assert before == pytest.approx(np.tile(levels, (len(before), 1)))
    # The first unseen forecast is settled by the candle after it.
    assert seen.iloc[first + 1]["alpha_80"] != pytest.approx(0.2)
    careless = with_unseen_from(bounded, int(market.time[0]))
    learnt = AdaptiveIntervals(careless, settings=QUICK).bounds(market)
    assert learnt.iloc[first]["alpha_80"] != pytest.approx(0.2)


# --- the journal


def fed(adaptive, candles, rows):
    return [adaptive.predict_latest(part(candles, 0, row + 1)) for row in rows]


def test_the_journal_gives_what_the_batch_gives(bounded, market, path):
    first = unseen_row(bounded, market)
    rows = range(first - 5, first + 60)
    batch = AdaptiveIntervals(bounded, settings=QUICK).bounds(market)
    with AdaptiveIntervals(bounded, symbol="SIM/USDT", journal=path, settings=QUICK) as adaptive:
        for row, one in zip(rows, fed(adaptive, market, rows), strict=True):
            line = batch.iloc[row]
            assert one.lower == pytest.approx(line["lower_80"], rel=1e-5)
            assert one.upper == pytest.approx(line["upper_80"], rel=1e-5)
        wide = adaptive.predict_latest(part(market, 0, rows[-1] + 1), level=0.95)
        assert wide.interval == 0.95
        assert wide.lower == pytest.approx(batch.iloc[rows[-1]]["lower_95"], rel=1e-5)
        assert wide.upper == pytest.approx(batch.iloc[rows[-1]]["upper_95"], rel=1e-5)


def test_only_the_bounds_differ_from_the_predictors_forecast(bounded, market):
    one = AdaptiveIntervals(bounded, settings=QUICK).predict_latest(market, horizon="4h")
    plain = bounded.predict_latest(market, horizon="4h").model_dump()
    differing = {name for name, value in plain.items() if getattr(one, name) != value}
    assert differing == {"lower", "upper"}


def test_candles_that_were_missed_are_caught_up_in_their_order(bounded, market, path):
    first = unseen_row(bounded, market)
    each = AdaptiveIntervals(bounded, settings=QUICK)
    fed(each, market, range(first, first + 80))
    rarely = AdaptiveIntervals(bounded, settings=QUICK)
    fed(rarely, market, [first, first + 33, first + 79])
    assert rarely.alphas == pytest.approx(each.alphas)
    assert rarely.last_time == each.last_time


def test_a_restart_goes_on_where_it_was(bounded, market, path):
    first = unseen_row(bounded, market)
    until = AdaptiveIntervals(bounded, settings=QUICK)
    expected = fed(until, market, range(first, first + 60))
    for start in range(0, 60, 15):
        with AdaptiveIntervals(bounded, journal=path, settings=QUICK) as adaptive:
            rows = range(first + start, first + start + 15)
            assert fed(adaptive, market, rows) == expected[start : start + 15]
    with AdaptiveIntervals(bounded, journal=path, settings=QUICK) as adaptive:
        assert (adaptive.alphas == until.alphas).all()
        assert (adaptive.capped == until.capped).all()
        assert fed(adaptive, market, [first + 59]) == expected[-1:]


def test_the_same_bar_twice_changes_nothing(bounded, market, path):
    row = unseen_row(bounded, market) + 40
    with AdaptiveIntervals(bounded, journal=path, settings=QUICK) as adaptive:
        (once,) = fed(adaptive, market, [row])
        state, content = adaptive.alphas, path.read_bytes()
        assert fed(adaptive, market, [row, row]) == [once, once]
        # Nor does an older one, which gets the bounds it was given then.
        (older,) = fed(adaptive, market, [row - 7])
        assert older.upper > older.lower
        assert (adaptive.alphas == state).all()
        assert path.read_bytes() == content
        assert adaptive.update(part(market, 0, row + 1)) == 0
        assert adaptive.update(part(market, 0, row + 3)) == 2


def test_a_torn_last_line_is_taken_anew(bounded, market, path, caplog):
    first = unseen_row(bounded, market)
    with AdaptiveIntervals(bounded, journal=path, settings=QUICK) as adaptive:
        expected = fed(adaptive, market, range(first, first + 40))
        state = adaptive.alphas
    path.write_bytes(path.read_bytes()[:-20])
    with (
        caplog.at_level(logging.WARNING, logger="lightning_models.intervals.journal"),
        AdaptiveIntervals(bounded, journal=path, settings=QUICK) as adaptive,
    ):
        assert adaptive.last_time == market.time[first + 38]
        assert fed(adaptive, market, [first + 39]) == expected[-1:]
        assert (adaptive.alphas == state).all()
    assert "was torn" in caplog.text


def test_what_cannot_be_journaled_is_not_taken(bounded, market, path):
    first = unseen_row(bounded, market)
    with AdaptiveIntervals(bounded, journal=path, settings=QUICK) as adaptive:
        fed(adaptive, market, range(first, first + 3))
        state, last = adaptive.alphas, adaptive.last_time
        content = path.read_bytes()
        path.unlink()
        with pytest.raises(StorageError, match="cannot be read or written"):
            fed(adaptive, market, [first + 5])
        assert (adaptive.alphas == state).all()
        assert adaptive.last_time == last
        path.write_bytes(content)
        fed(adaptive, market, [first + 5])
        assert adaptive.last_time == market.time[first + 5]


def test_a_journal_of_another_model_symbol_or_pace_is_refused(bounded, market, path):
    def opened(predictor=bounded, symbol="SIM/USDT", settings=QUICK):
        return AdaptiveIntervals(predictor, symbol=symbol, journal=path, settings=settings)

    with opened() as adaptive:
        adaptive.update(market)
    other = Predictor(bounded.bundle, bounded._runner, model="it", sha256="0" * 64)
    with pytest.raises(ConfigError, match="belongs to another model"):
        opened(predictor=other)
    with pytest.raises(ConfigError, match="belongs to another symbol"):
        opened(symbol="ETH/USDT")
    with pytest.raises(ConfigError, match="belongs to another gamma, window"):
        opened(settings=None)
    opened().close()


def test_a_journal_in_use_is_refused(bounded, path):
    with (
        AdaptiveIntervals(bounded, journal=path),
        pytest.raises(StorageError, match="written by another process"),
    ):
        AdaptiveIntervals(bounded, journal=path)


# --- what is refused


def test_candles_of_another_symbol_are_refused(bounded, market):
    adaptive = AdaptiveIntervals(bounded, symbol="ETH/USDT")
    with pytest.raises(ConfigError, match=r"candles of SIM/USDT, .* those of ETH/USDT: keep one"):
        adaptive.update(market)


def test_a_model_without_conformal_bounds_is_refused(bounded):
    bundle = bounded.bundle.model_copy(update={"intervals": None})
    older = Predictor(bundle, bounded._runner, model="old", sha256="")
    with pytest.raises(BundleError, match=r"old has no conformal intervals .*: train it again"):
        AdaptiveIntervals(older)


def test_a_candle_from_before_the_journal_gets_no_bounds(bounded, market):
    first = unseen_row(bounded, market)
    adaptive = AdaptiveIntervals(bounded)
    adaptive.update(part(market, first - bounded.required_bars, first + 1))
    with pytest.raises(NoForecastError, match=r"lies before .* or use bounds\(frame\)"):
        fed(adaptive, market, [first - 30])


def test_too_few_candles_and_unknown_levels_are_refused_and_nothing_is_taken(bounded, market):
    adaptive = AdaptiveIntervals(bounded)
    with pytest.raises(TooFewCandlesError):
        adaptive.predict_latest(part(market, 0, 10))
    with pytest.raises(ConfigError, match=r"give level=0\.8 or level=0\.95"):
        adaptive.predict_latest(market, level=0.9)
    with pytest.raises(ConfigError, match="does not forecast '2h'"):
        adaptive.bounds(market, horizon="2h")
    assert adaptive.last_time is None


# --- drift, through a trained model


def drifted(candles, first):
    """Return candles whose moves within a bar double, over closes that stay as they are.

    Trailing volatility, which is that of closes, does not show it.
    """
    ohlcv = candles.ohlcv.copy()
    before = np.concatenate([ohlcv[:1, 0], ohlcv[:-1, 3]])
    grows = np.interp(np.arange(len(candles)), [0, first, len(candles) - 1], [1.0, 1.0, 2.2])
    ohlcv[:, 0] = before * (ohlcv[:, 3] / before) ** (1.0 - grows)
    ohlcv[:, 1] = np.maximum(ohlcv[:, 1], ohlcv[:, 0])
    ohlcv[:, 2] = np.minimum(ohlcv[:, 2], ohlcv[:, 0])
    return Candles(candles.symbol, candles.timeframe, candles.market, candles.time, ohlcv)


@pytest.fixture(scope="module")
def longer(trained):
    from lightning_models import simulate_market

    predictor = trained.predictor()
    candles = simulate_market(candles=4700, seed=1, signal=0.5)[0]
    return predictor, drifted(candles, unseen_row(predictor, candles))


def test_a_trained_models_coverage_under_drift_is_within_three_points(longer):
    predictor, candles = longer
    start = predictor.bundle.unseen_from_ms
    arrays = predictor.forecast_arrays(candles.time, candles.ohlcv)
    adapted = AdaptiveIntervals(predictor).adapted(arrays, candles.time, candles.ohlcv)
    outcomes = pair_outcomes(adapted, candles, predictor.bundle, start=start)
    assert len(outcomes) >= 2000
    for one in measure_coverage(outcomes, replications=20):
        assert one.got == pytest.approx(one.asked, abs=0.03)
    for one in measure_coverage(
        collect_outcomes(predictor, [candles], start=start), replications=20
    ):
        assert one.got < one.asked - 0.06


def test_arrays_with_adapted_bounds_are_those_of_the_table(longer):
    predictor, candles = longer
    candles = part(candles, 2400, 2700)
    adaptive = AdaptiveIntervals(predictor, settings=QUICK)
    arrays, table = adaptive.forecast_arrays(candles.time, candles.ohlcv), adaptive.bounds(candles)
    for level, name in zip(LEVELS, ("80", "95"), strict=True):
        low, high = arrays.bounds(level)
        close = candles.ohlcv[:, 3]
        np.testing.assert_allclose(close * (1 + low[:, 0]), table[f"lower_{name}"])
        np.testing.assert_allclose(close * (1 + high[:, 0]), table[f"upper_{name}"])
