"""Tables of models and forecasts: whole in the eighty columns that many terminals have."""

from __future__ import annotations

import io
from datetime import UTC, datetime

import pytest
from rich.console import Console

from experiments.cli.tables import forecast_table, models_table
from lightning_models.forecast import Forecast
from lightning_models.registry import ModelEntry

NOW = datetime(2024, 1, 2, 5, 59, 59, 999_000, tzinfo=UTC)
WIDTHS = [80, 120, 200]


def entry(name, *symbols):
    return ModelEntry(
        name=name,
        version=12,
        aliases=("champion", "challenger"),
        symbols=symbols,
        timeframe="15m",
        created_at=NOW,
        metrics={"test/log_loss": 0.6912, "test/majority_log_loss": 0.6931},
    )


def forecast(symbol, price, horizon="1d"):
    return Forecast(
        symbol=symbol,
        time=NOW,
        horizon=horizon,
        price=price,
        direction=-1,
        change_pct=-12.34,
        lower=price * 0.9,
        upper=price * 1.1,
        interval=0.95,
        confidence=0.552,
        predicted_price=price * 0.99,
        model="models:/price-predictor-walk-forward/12",
    )


def printed(table, width):
    console = Console(file=io.StringIO(), width=width)
    console.print(table)
    return console.file.getvalue()


def assert_whole(table, width):
    # Where there is room for everything, the table has the same words, folded or not.
    told, roomy = printed(table, width), printed(table, 1_000)
    assert max(map(len, told.splitlines())) <= width
    assert sorted("".join(told.replace("─", "").split())) == sorted(
        "".join(roomy.replace("─", "").split())
    )


@pytest.mark.parametrize("width", WIDTHS)
def test_table_of_models_is_whole(width):
    table = models_table(
        [
            entry("btc", "BTC/USDT"),
            entry("price-predictor-walk-forward-of-majors", "BTC/USDT", "ETH/USDT", "SOL/USDT"),
        ]
    )
    assert_whole(table, width)
    # Short names stay in one piece.
    assert {"btc", "BTC/USDT,", "challenger", "2024-01-02", "0.6931"} <= set(
        printed(table, width).split()
    )


@pytest.mark.parametrize("width", WIDTHS)
def test_table_of_forecasts_is_whole(width):
    table = forecast_table([forecast("BTC/USDT", 98_765.43), forecast("SHIB/USDT", 1.23456e-05)])
    assert_whole(table, width)
    assert {"BTC/USDT", "-12.34%", "1.35802e-05", "06:00Z"} <= set(printed(table, width).split())


@pytest.mark.parametrize("width", WIDTHS)
def test_several_horizons_are_told_apart(width):
    table = forecast_table([forecast("BTC/USDT", 98_765.43, ahead) for ahead in ("6h", "1d")])
    assert_whole(table, width)
    assert {"ahead", "6h", "1d", "-12.34%"} <= set(printed(table, width).split())


def test_symbols_too_long_for_a_line_are_folded_and_not_cut():
    assert_whole(forecast_table([forecast("1000000MOG/USDT:USDT", 0.5)]), 80)


def test_a_table_without_room_is_seen_not_to_be_whole():
    with pytest.raises(AssertionError):
        assert_whole(forecast_table([forecast("BTC/USDT", 98_765.43)]), 50)
