"""Candles of any number of symbols as slices of one array."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lightning_models import simulate_market
from lightning_models.data import SLICE_NAMES, ScalerFit
from lightning_models.data.datamodule import CandleDataModule, DataConfig
from lightning_models.errors import CandleError, ConfigError, FeatureError, TooFewCandlesError
from lightning_models.features import compute_features

CONFIG = DataConfig(features=("close", "volume", "high"), lookback=10, horizons=(1, 4))
BOTH = simulate_market(candles=1500, symbols=("AAA/USDT", "BBB/USDT"), seed=4)
HOUR = 3_600_000


def module(candles=BOTH, **changes):
    return CandleDataModule(CONFIG.model_copy(update=changes), candles)


@pytest.fixture(scope="module")
def both():
    return module()


def test_symbols_share_one_cut_in_time(both):
    listed_late = [BOTH[0], BOTH[1].between(int(BOTH[1].time[700]), None)]
    late = module(listed_late)
    assert late.slices == both.slices
    for name in SLICE_NAMES:
        start, end = late.slices.bounds(name)
        decided = late.samples[name].decided
        assert decided.min() >= start
        assert decided.max() + 4 * HOUR <= end
        assert set(late.samples[name].symbol) == {0, 1}


def test_a_sample_is_its_own_symbols_window_and_label(both):
    samples = both.samples["validation"]
    for position in (0, len(samples) // 2, len(samples) - 1):
        candles = both.candles[int(samples.symbol[position])]
        row = int(np.searchsorted(candles.time, samples.decided[position] - HOUR))
        end = int(samples.ends[position])
        opened = candles.ohlcv[row + 1, 0]
        for column, reach in enumerate((1, 4)):
            expected = candles.ohlcv[row + reach, 3] / opened - 1
            assert both.returns[end, column] == pytest.approx(expected, abs=1e-7)
        table = compute_features(
            candles.time[: row + 1],
            candles.ohlcv[: row + 1],
            features=CONFIG.features,
            timeframe="1h",
        )
        window = both.scaler.transform(table.values[-10:])
        np.testing.assert_allclose(both.features[end - 9 : end + 1], window, atol=1e-4)
        expected = both.returns[end] / (table.volatility[-1] * np.sqrt([1, 4]))
        np.testing.assert_allclose(both.targets[end], expected, rtol=1e-4)


def test_no_window_reaches_into_another_symbol(both):
    rows = len(both.features) // 2
    for name in SLICE_NAMES:
        samples = both.samples[name]
        first = samples.symbol * rows
        assert (samples.ends - 9 >= first).all()
        assert (samples.ends < first + rows).all()


def later_rows_gone_wild():
    edge = module().slices.edges[1]
    wild = []
    for one in BOTH:
        ohlcv = one.ohlcv.copy()
        after = one.time + HOUR > edge
        ohlcv[after, :4] *= np.linspace(1, 50, after.sum())[:, None]
        ohlcv[after, 4] *= 1000
        wild.append(replace(one, ohlcv=ohlcv))
    return wild


def test_the_scaler_has_seen_train_rows_only(both):
    assert module(later_rows_gone_wild()).scaler == both.scaler


def test_a_scaler_of_all_rows_would_have_seen_them(both):
    def fitted_on_everything(candles):
        fit = ScalerFit(3)
        for one in candles:
            table = compute_features(one.time, one.ohlcv, features=CONFIG.features, timeframe="1h")
            fit.add(table.values[both.warmup :])
        return fit.scaler()

    assert fitted_on_everything(later_rows_gone_wild()) != fitted_on_everything(BOTH)


def test_zero_returns_are_counted():
    ohlcv = BOTH[0].ohlcv.copy()
    still = np.arange(300, 400)
    ohlcv[still, :4] = ohlcv[still, 3:4]
    quiet = module([replace(BOTH[0], ohlcv=ohlcv)], horizons=(1,))
    assert quiet.zero_returns["train"] == 100
    assert quiet.zero_returns["test"] == 0


def test_a_symbol_listed_after_the_train_slice_is_named_and_kept_for_later(caplog):
    newcomer = BOTH[1].between(int(BOTH[1].time[1060]), None)
    data = module([BOTH[0], newcomer])
    assert "BBB/USDT has no rows in the train slice" in caplog.text
    assert data.train_symbols == ("AAA/USDT",)
    assert 1 not in data.samples["train"].symbol
    assert 1 in data.samples["test"].symbol
    assert data.scaler == module([BOTH[0]]).scaler


def test_the_order_in_which_symbols_are_given_does_not_matter(both):
    turned = module(BOTH[::-1])
    assert turned.symbols == both.symbols == ("AAA/USDT", "BBB/USDT")
    assert turned.features.equal(both.features)


def test_features_are_held_once(both):
    assert both.features.is_contiguous()
    for name in SLICE_NAMES:
        assert both.loader(name).features.data_ptr() == both.features.data_ptr()


def test_too_few_candles_say_how_many_are_needed():
    few = [BOTH[0].between(None, int(BOTH[0].time[50]))]
    with pytest.raises(TooFewCandlesError, match=r"AAA/USDT has 50 1h candles.*needs 72: 60 to"):
        module(few)


def test_a_slice_with_too_few_samples_is_named_with_what_is_missing():
    few = [BOTH[0].between(None, int(BOTH[0].time[400]))]
    with pytest.raises(TooFewCandlesError, match=r"the calibration slice .*at least \d+ more"):
        module(few)


def test_the_stated_number_of_more_candles_is_enough():
    count = 400
    with pytest.raises(TooFewCandlesError) as caught:
        module([BOTH[0].between(None, int(BOTH[0].time[count]))])
    more = int(str(caught.value).split("Give at least ")[1].split(" ")[0])
    module([BOTH[0].between(None, int(BOTH[0].time[count + more + 5]))])


def test_candles_that_do_not_fit_together_are_refused():
    six = BOTH[1].resample("6h")
    with pytest.raises(CandleError, match="differ in timeframe: 1h, 6h"):
        module([BOTH[0], six])
    with pytest.raises(CandleError, match="differ in market"):
        module([BOTH[0], replace(BOTH[1], market="sessions")])
    with pytest.raises(ConfigError, match="AAA/USDT was given more than once"):
        module([BOTH[0], BOTH[0]])
    with pytest.raises(ConfigError, match="no candles were given"):
        module([])


def test_a_feed_without_volume_cannot_give_features_of_it():
    silent = replace(BOTH[0], ohlcv=BOTH[0].ohlcv * [1, 1, 1, 1, 0])
    with pytest.raises(FeatureError, match=r"volume\(60\) cannot be computed"):
        module([silent])


def test_real_holes_leave_windows_out_by_the_five_per_cent_rule(real_hours):
    start = 1_515_000_000_000
    candles = real_hours("BTC_USDT").between(start, start + 1500 * HOUR)
    config = DataConfig(features=("close", "high"), lookback=60)
    data = CandleDataModule(config, [candles])
    known = set(candles.time.tolist())
    for name in SLICE_NAMES:
        first, last = data.slices.bounds(name)
        expected = []
        for row, opened in enumerate(candles.time.tolist()):
            missing = sum(opened - HOUR * back not in known for back in range(60))
            labelled = opened + HOUR in known
            inside = opened + HOUR >= first and opened + 2 * HOUR <= last
            if row >= 60 + 60 - 1 and missing <= 3 and labelled and inside:
                expected.append(opened + HOUR)
        assert data.samples[name].decided.tolist() == expected
    assert len(known) < 1500
