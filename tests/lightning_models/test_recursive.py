"""A path of forecasts: each step from the candles and the forecasts before it."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest
import torch

from lightning_models import load_predictor, simulate_market
from lightning_models.bundle import write_bundle
from lightning_models.candles import Candles
from lightning_models.data.datamodule import CandleDataModule, DataConfig
from lightning_models.errors import ConfigError, NoForecastError, TooFewCandlesError
from lightning_models.export import export_bundle
from lightning_models.forecasters.untrained import statistical_predictor
from lightning_models.inference import runner_of
from lightning_models.networks import build_network
from lightning_models.networks.univariate import UnivariateConfig
from lightning_models.predictor import Predictor
from lightning_models.series_folder import write_series

HOUR = 3_600_000


@pytest.fixture(scope="module")
def candles():
    return simulate_market(candles=3600, seed=5)[0]


def untrained(candles, *, features=("close",), mode="window", seed=0, **data):
    torch.manual_seed(seed)
    module = CandleDataModule(
        DataConfig(
            features=features,
            lookback=20,
            mode=mode,
            slices={"train": 0.4, "validation": 0.05, "calibration": 0.15, "test": 0.4},
            **data,
        ),
        [candles],
    )
    config = UnivariateConfig(hidden_size=8)
    network = build_network(
        config,
        features=len(features),
        horizons=len(module.horizons),
        target=module.config.target.name,
    ).eval()
    bundle = export_bundle(network, config, module)
    runner = runner_of(network, lookback=bundle.lookback, burn_in=bundle.burn_in)
    return Predictor(bundle, runner, model="untrained", sha256="")


@pytest.fixture(scope="module")
def predictor(candles):
    return untrained(candles)


def extended(candles, fan, steps):
    """The candles with the first steps of a path behind them, as the path describes them."""
    closes = np.concatenate([[fan.price], fan.median[:steps]])
    opened, closed = closes[:-1], closes[1:]
    volume = np.full(steps, np.median(candles.ohlcv[-60:, 4]))
    more = [opened, np.maximum(opened, closed), np.minimum(opened, closed), closed, volume]
    return Candles(
        symbol=candles.symbol,
        timeframe=candles.timeframe,
        market=candles.market,
        time=np.concatenate([candles.time, candles.time[-1] + HOUR * np.arange(1, steps + 1)]),
        ohlcv=np.concatenate([candles.ohlcv, np.column_stack(more)]),
    )


def check_against_latest(predictor, candles):
    fan = predictor.forecast_path(candles, steps=8)
    first = predictor.predict_latest(candles)
    assert fan.median[0] == pytest.approx(first.predicted_price, rel=1e-12)
    for step in (1, 4, 7):
        again = predictor.predict_latest(extended(candles, fan, step))
        assert fan.median[step] == pytest.approx(again.predicted_price, rel=1e-6)
        # What one step adds is small: the tolerance must be far below it.
        added = abs(fan.median[step] / fan.median[step - 1] - 1.0)
        assert added > 1e-5


def test_each_step_is_the_forecast_of_the_candles_with_the_path_behind_them(predictor, candles):
    check_against_latest(predictor, candles)


def test_so_it_is_with_features_of_range_and_volume(candles):
    check_against_latest(untrained(candles, features=("close", "high", "volume", "rsi")), candles)


def test_so_it_is_where_a_state_is_carried(candles):
    model = untrained(candles, mode="sequence", chunk=64, burn_in=16)
    assert model.bundle.burn_in is not None
    check_against_latest(model, candles)


def test_so_it_is_behind_a_hole(predictor, candles):
    kept = np.delete(np.arange(len(candles)), len(candles) - 40)
    holed = Candles(
        symbol=candles.symbol,
        timeframe=candles.timeframe,
        market=candles.market,
        time=candles.time[kept],
        ohlcv=candles.ohlcv[kept],
    )
    check_against_latest(predictor, holed)


def test_volume_that_no_feature_reads_may_be_missing(predictor, candles):
    ohlcv = candles.ohlcv.copy()
    ohlcv[:, 4] = 0.0
    silent = Candles(
        symbol=candles.symbol,
        timeframe=candles.timeframe,
        market=candles.market,
        time=candles.time,
        ohlcv=ohlcv,
    )
    fan, same = (predictor.forecast_path(one, steps=5) for one in (silent, candles))
    assert fan.median.tolist() == same.median.tolist()


def test_bounds_grow_with_the_root_of_the_step_each_side_by_itself(predictor, candles):
    fan = predictor.forecast_path(candles, steps=24)
    first = predictor.predict_latest(candles)
    assert fan.lower[0] == pytest.approx(first.lower, rel=1e-12)
    assert fan.upper[0] == pytest.approx(first.upper, rel=1e-12)
    below, above = np.log(fan.median / fan.lower), np.log(fan.upper / fan.median)
    np.testing.assert_allclose(below, below[0] * np.sqrt(fan.candles))
    np.testing.assert_allclose(above, above[0] * np.sqrt(fan.candles))
    assert below[0] != pytest.approx(above[0], rel=1e-3)
    wide = predictor.forecast_path(candles, steps=24, level=0.95)
    assert (wide.lower < fan.lower).all()
    assert (wide.upper > fan.upper).all()


def test_bounds_hold_about_what_they_promise_and_would_not_without_growing(predictor, candles):
    first = int(np.searchsorted(candles.time, predictor.bundle.unseen_from_ms))
    rows = np.arange(first, len(candles) - 25, 12)
    fans = [
        predictor.forecast_path(candles.between(None, int(candles.time[row]) + 1)) for row in rows
    ]
    for step in (1, 6, 24):
        closes = candles.ohlcv[rows + step, 3]
        held = [
            fan.lower[step - 1] <= close <= fan.upper[step - 1]
            for fan, close in zip(fans, closes, strict=True)
        ]
        assert 0.65 <= np.mean(held) <= 0.92, step
    closes = candles.ohlcv[rows + 24, 3]
    held = [fan.lower[0] <= close <= fan.upper[0] for fan, close in zip(fans, closes, strict=True)]
    assert np.mean(held) < 0.40


def test_no_later_candle_changes_a_path(predictor, candles):
    short = candles.between(None, int(candles.time[2000]))
    cut = predictor.forecast_path(short, steps=6)
    again = predictor.forecast_path(
        candles.between(None, int(candles.time[2500])).between(None, int(candles.time[2000])),
        steps=6,
    )
    assert cut.median.tolist() == again.median.tolist()
    later = predictor.forecast_path(candles.between(None, int(candles.time[2001])), steps=6)
    assert later.median.tolist() != cut.median.tolist()


def test_a_path_has_a_step_for_each_candle(predictor, candles):
    fan = predictor.forecast_path(candles, steps=24)
    assert fan.candles.tolist() == list(range(1, 25))
    assert (fan.names[0], fan.names[-1]) == ("1h", "1d")
    assert fan.times[-1] == candles.time[-1] + 25 * HOUR - 1


def test_a_model_of_another_horizon_is_told_what_a_path_needs(candles):
    model = untrained(candles, horizons=("4h", "1d"))
    with pytest.raises(ConfigError, match=r"one candle \(1h\); untrained has 4h, 1d.*horizons"):
        model.forecast_path(candles)


def test_of_several_horizons_the_one_of_one_candle_is_gone_on_with(candles):
    model = untrained(candles, horizons=("4h", "1h"))
    fan = model.forecast_path(candles, steps=3)
    assert fan.median[0] == model.predict_latest(candles, horizon="1h").predicted_price


def test_barriers_close_no_candle(candles):
    with pytest.raises(ConfigError, match="barriers"):
        untrained(candles, target="triple-barrier").forecast_path(candles)


@pytest.mark.parametrize("steps", [0, -1, 1001, 2.0, True])
def test_a_number_of_steps_that_is_none_is_refused(predictor, candles, steps):
    with pytest.raises(ConfigError, match="from 1 to 1,000"):
        predictor.forecast_path(candles, steps=steps)


def test_what_has_no_forecast_has_no_path(predictor, candles):
    with pytest.raises(TooFewCandlesError):
        predictor.forecast_path(candles.between(None, int(candles.time[30])))
    kept = np.delete(np.arange(len(candles)), np.arange(len(candles) - 8, len(candles) - 3))
    holed = Candles(
        symbol=candles.symbol,
        timeframe=candles.timeframe,
        market=candles.market,
        time=candles.time[kept],
        ohlcv=candles.ohlcv[kept],
    )
    with pytest.raises(NoForecastError, match="missing"):
        predictor.forecast_path(holed)


def test_the_untrained_forecaster_has_a_path_too(candles):
    fan = statistical_predictor("1h").forecast_path(candles, steps=12)
    assert (np.diff(np.log(fan.upper / fan.lower)) > 0).all()


def test_a_series_goes_on_with_the_member_that_the_last_candle_belongs_to(candles, tmp_path):
    folders = []
    for name, known in (("early", 1500), ("late", 2500)):
        model = untrained(candles.between(None, int(candles.time[known])), seed=known)
        folders.append(write_bundle(tmp_path / name, model.bundle, model.network))
    series = load_predictor(
        write_series(
            tmp_path / "series",
            folders,
            metrics={},
            evaluated_by="run",
            data_fingerprint="f" * 64,
            created_at=datetime(2024, 1, 1, tzinfo=UTC),
        )
    )
    early, late = series.members
    for member, last in ((early, late.bundle.unseen_from_ms - 2 * HOUR), (late, None)):
        known = candles.between(None, last)
        path = series.forecast_path(known, steps=5)
        assert path.median.tolist() == member.forecast_path(known, steps=5).median.tolist()
        other = late if member is early else early
        assert path.median.tolist() != other.forecast_path(known, steps=5).median.tolist()
    before = candles.between(None, early.bundle.unseen_from_ms - 2 * HOUR)
    with pytest.raises(NoForecastError):
        series.forecast_path(before)
