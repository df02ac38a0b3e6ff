"""`lstm-strategies predict`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from lightning_models import Forecast, load_predictor, read_candles
from lightning_models.candles import iso_utc

HOUR = timedelta(hours=1)


def test_json_is_an_array_of_forecasts_of_the_newest_candle(cli, shop, market):
    ended = cli(
        "predict",
        "--model",
        shop.champion,
        "--data",
        market.sim_file,
        "--home",
        shop.home,
        "--json",
    ).done()
    (forecast,) = [Forecast.model_validate(one) for one in ended.json]
    assert forecast.symbol == "SIM/USDT"
    assert forecast.model == "models:/tiny/1"
    assert forecast.horizon == "1h"
    assert forecast.interval == 0.8
    assert forecast.price == market.sim.ohlcv[-1, 3]
    assert forecast.lower < forecast.predicted_price < forecast.upper
    assert set(ended.json[0]) == {
        "symbol", "time", "horizon", "price", "direction", "change_pct", "lower", "upper",
        "interval", "confidence", "predicted_price", "model",
    }  # fmt: skip
    stamp = iso_utc(int(market.sim.time[-1]) + market.sim.period_ms - 1)
    assert ended.json[0]["time"] == stamp
    assert ended.err == ""


def test_it_is_what_the_library_forecasts(cli, bundle, market):
    ended = cli("predict", "--model", bundle, "--data", market.sim_file, "--json").done()
    expected = load_predictor(bundle).predict_latest(market.sim)
    assert ended.json == [expected.model_dump(mode="json")]


def test_at_a_time_only_candles_closed_by_then_are_known(cli, bundle, market, tmp_path):
    half_past = datetime.fromtimestamp(market.sim.time[2000] / 1000, UTC) + HOUR / 2
    whole = cli(
        "predict", "--model", bundle, "--data", market.sim_file, "--at", half_past.isoformat(),
        "--json",
    ).done()  # fmt: skip
    cut = tmp_path / "SIM_USDT.parquet"
    market.sim.between(None, int(market.sim.time[2000])).to_frame().to_parquet(cut)
    known = cli("predict", "--model", bundle, "--data", cut, "--json").done()
    assert whole.json == known.json
    later = cli(
        "predict", "--model", bundle, "--data", market.sim_file,
        "--at", (half_past + HOUR).isoformat(), "--json",
    ).done()  # fmt: skip
    assert later.json != known.json


def test_a_candle_counts_from_the_moment_it_closes(cli, bundle, market):
    close = iso_utc(int(market.sim.time[2000]) + market.sim.period_ms)
    ended = cli(
        "predict", "--model", bundle, "--data", market.sim_file, "--at", close, "--json"
    ).done()
    assert ended.json[0]["price"] == market.sim.ohlcv[2000, 3]


def test_a_candle_that_has_not_closed_yet_is_left_out(cli, bundle, market, tmp_path):
    now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    frame = market.sim.to_frame()
    # The last one opens in an hour, so that no clock can make this test wrong.
    frame["timestamp"] = [now - HOUR * (len(frame) - 2 - row) for row in range(len(frame))]
    file = tmp_path / "SIM_USDT.parquet"
    frame.to_parquet(file)
    ended = cli("predict", "--model", bundle, "--data", file, "--json")
    assert ended.code == 0
    assert "2 of the candles of SIM/USDT have not closed yet" in " ".join(ended.err.split())
    assert ended.json[0]["price"] == market.sim.ohlcv[-3, 3]
    asked = cli(
        "predict", "--model", bundle, "--data", file, "--json",
        "--at", (now + 2 * HOUR).isoformat(),
    ).done()  # fmt: skip
    assert asked.json[0]["price"] == market.sim.ohlcv[-1, 3]


def test_an_at_beyond_the_candles_says_how_old_the_forecast_is(cli, bundle, market):
    ended = cli(
        "predict", "--model", bundle, "--data", market.sim_file, "--at", "2021-01-01", "--json"
    ).done()
    assert ended.json[0]["price"] == market.sim.ohlcv[-1, 3]
    assert "the candles of SIM/USDT end at 2020-05-10T00:00:00Z, before --at" in ended.err


def test_several_symbols_come_in_their_order_and_an_unknown_one_is_noted(cli, bundle, market):
    ended = cli(
        "predict", "--model", bundle, "--data", market.sim_file, "--data", market.alt_file, "--json"
    ).done()
    assert [one["symbol"] for one in ended.json] == ["SIM/USDT", "ALT/USDT"]
    assert "ALT/USDT is not among the symbols the model was trained on (SIM/USDT)" in ended.err
    assert "SIM/USDT is not" not in ended.err
    by_glob = cli("predict", "--model", bundle, "--data", market.folder / "*.parquet", "--json")
    assert [one["symbol"] for one in by_glob.json] == ["ALT/USDT", "SIM/USDT"]


def test_a_file_can_be_given_another_symbol(cli, bundle, market):
    ended = cli("predict", "--model", bundle, "--data", f"XYZ={market.sim_file}", "--json")
    assert ended.json[0]["symbol"] == "XYZ"


def test_finer_candles_are_resampled(cli, bundle, market, tmp_path):
    frame = market.sim.to_frame().loc[range(1000)]
    doubled = frame.loc[np.repeat(frame.index, 2)].reset_index(drop=True)
    doubled.loc[1::2, "timestamp"] += timedelta(minutes=30)
    doubled["volume"] /= 2
    file = tmp_path / "SIM_USDT.parquet"
    doubled.to_parquet(file)
    assert read_candles(file).timeframe == "30m"
    finer = cli("predict", "--model", bundle, "--data", file, "--json").done()
    (hourly,) = cli(
        "predict", "--model", bundle, "--data", market.sim_file, "--json",
        "--at", iso_utc(int(market.sim.time[1000])),
    ).done().json  # fmt: skip
    assert finer.json[0]["time"] == hourly["time"]
    assert finer.json[0]["price"] == hourly["price"]


def test_a_horizon_is_chosen_by_a_setting(cli, bundle, market):
    given = ("predict", "--model", bundle, "--data", market.sim_file)
    assert cli(*given, "--set", "horizon=1h", "--json").done().json[0]["horizon"] == "1h"
    cli(*given, "--set", "horizon=7d").failed("does not forecast '7d'", "known: 1h", code=2)
    cli(*given, "--set", "horizn=1h").failed("'horizn'", "did you mean 'horizon'?", code=2)


def test_bounds_of_another_level_are_asked_for(cli, bundle, market):
    given = ("predict", "--model", bundle, "--data", market.sim_file)
    (narrow,), (wide,) = (
        cli(*given, *level, "--json").done().json for level in ((), ("--level", "0.95"))
    )
    assert (narrow["interval"], wide["interval"]) == (0.8, 0.95)
    assert wide["lower"] < narrow["lower"] < narrow["upper"] < wide["upper"]
    assert wide["change_pct"] == narrow["change_pct"]
    assert "95% bounds" in cli(*given, "--level", "0.95").done().out
    cli(*given, "--level", "0.9").failed("level=0.9", "give level=0.8 or level=0.95", code=2)


def test_a_table_without_json(cli, bundle, market):
    ended = cli("predict", "--model", bundle, "--data", market.sim_file).done()
    assert "Forecasts of" in ended.out
    assert "1h ahead" in " ".join(ended.out.split())
    assert "SIM/USDT" in ended.out
    assert "00:00Z" in ended.out


def test_a_median_against_the_direction_is_told(cli, bundle, market):
    many = load_predictor(bundle).predict_batch(market.sim)
    opposed = np.sign(many["change_pct"]) * many["direction"]
    closes = market.sim.time + market.sim.period_ms

    def told(wanted):
        at = iso_utc(int(closes[np.flatnonzero(opposed == wanted)[-1]]))
        return cli("predict", "--model", bundle, "--data", market.sim_file, "--at", at).done().err

    assert "point opposite ways" in " ".join(told(-1.0).split())
    assert "opposite" not in told(1.0)


@pytest.mark.parametrize(
    "written", ["yesterday", "2022", "5", "2022-13-01", "2022-01-01T25:00", "", "12:00"]
)
def test_an_unreadable_time_is_refused(cli, bundle, market, written):
    cli("predict", "--model", bundle, "--data", market.sim_file, "--at", written).failed(
        f"unreadable --at {written!r}", "2022-06-30T18:00:00Z", code=2
    )


def test_a_time_before_the_first_candle_closed_is_refused(cli, bundle, market):
    cli("predict", "--model", bundle, "--data", market.sim_file, "--at", "2020-01-01").failed(
        "no candle of SIM/USDT has closed at 2020-01-01T00:00:00Z",
        "the first one closes at 2020-01-06T01:00:00Z",
        "Give a later --at",
    )


def test_too_few_candles_say_how_many_and_why(cli, bundle, market):
    needed = load_predictor(bundle).required_bars
    enough = iso_utc(int(market.sim.time[needed]))
    given = ("predict", "--model", bundle, "--data", market.sim_file, "--json", "--at")
    cli(*given, enough).done()
    cli(*given, iso_utc(int(market.sim.time[needed - 1]))).failed(
        f"SIM/USDT has {needed - 1} 1h candles", f"needs {needed}", "warm its features up",
        "8 for its window", "Give more history",
    )  # fmt: skip
