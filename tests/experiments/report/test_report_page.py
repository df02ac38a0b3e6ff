"""What the page says, that it says it offline, and that no text of the data becomes markup."""

from __future__ import annotations

import re

import numpy as np
import pytest

from experiments.report import charts
from experiments.report.page import render_page
from experiments.report.writing import write_report
from tests.experiments.report.reader import EVIL, Reader, drawn_document


def page_of(made) -> str:
    return render_page(made.result, **made.arguments)


@pytest.fixture(scope="module")
def ordinary(made):
    return Reader(page_of(made))


def test_page_refers_to_nothing_outside_itself(ordinary, made):
    assert ordinary.addresses == []
    assert not {"link", "img", "iframe"} & set(ordinary.tags)
    assert "default-src 'none'" in page_of(made)
    assert sum(len(body) > 1_000_000 for _, body in ordinary.scripts) == 1


def test_verdict_comes_before_every_figure(made):
    page = page_of(made)
    assert page.index(made.result.verdict) < page.index("<table")
    assert page.index(made.result.verdict) < page.index('class="chart')


def test_page_names_model_symbol_timeframe_and_period(ordinary):
    for words in ("models:/sim@champion", "SIM/USDT", "1h", "2023-11-19 03:00 to 2023-12-01 14:00"):
        assert words in ordinary.words


def test_metrics_stand_beside_their_intervals_and_buy_and_hold(made, ordinary):
    result = made.result
    row = f"Sharpe ratio {result.sharpe_ratio:.2f} {result.sharpe_low:.2f} to"
    assert row in ordinary.words
    assert f"{result.buy_and_hold.max_drawdown_pct:,.1f}%" in ordinary.words


def test_forecasts_stand_beside_the_majority_class(made, ordinary):
    scores = made.result.forecast_scores
    assert scores.verdict in ordinary.words
    assert f"{scores.log_loss:.5f}" in ordinary.words
    assert f"{scores.majority_log_loss:.5f}" in ordinary.words


def test_every_chart_has_its_place(ordinary, made):
    page = page_of(made)
    assert sorted(ordinary.figures) == [
        "candles",
        "confidence",
        "drawdown",
        "equity",
        "outcomes",
        "reliability",
    ]
    for key in ordinary.figures:
        assert f'id="chart-{key}"' in page


def test_every_trade_is_listed_and_marked(ordinary, made):
    assert ordinary.tags.count("tr") >= len(made.result.trades) + 2
    marks = {trace["name"]: trace for trace in ordinary.figures["candles"]["data"]}
    assert len(marks["long entry"]["x"]) + len(marks["short entry"]["x"]) == 12
    assert len(marks["long exit"]["x"]) + len(marks["short exit"]["x"]) == 12


def test_notes_configuration_and_fingerprints_are_shown(made):
    noted = made.with_result(notes=("37 of 400 candles are missing.",))
    words = Reader(page_of(noted)).words
    assert "37 of 400 candles are missing." in words
    assert '"min_confidence": 0.55' in words
    assert made.result.data_fingerprint in words
    assert made.result.bundle_sha256 in words


def test_candles_before_the_unseen_part_are_shaded_and_the_result_is_not(ordinary, made):
    (shape,) = ordinary.shaded("candles")
    assert shape["x1"].startswith("2023-11-19T02:00:00")
    assert ordinary.shaded("equity") == []
    assert "Out of sample" in ordinary.words
    assert "in-sample" not in ordinary.words


def test_mixed_period_is_shaded_in_every_time_chart_and_told_apart(made):
    cut = made.result.equity_curve[150].time
    reader = Reader(page_of(made.with_result(slice="mixed", unseen_from=cut)))
    for key in ("equity", "drawdown", "candles"):
        (shape,) = reader.shaded(key)
        assert shape["x1"].startswith(cut[:23])
    assert re.search(r"In-sample until .* over 150 bars with 6 trades", reader.words)
    assert re.search(r"Out of sample after it: .* over 150 bars with 6 trades", reader.words)
    assert reader.words.count(" in-sample ") == 6


def test_parts_of_a_mixed_period_make_up_the_whole(made):
    points = made.result.equity_curve
    words = Reader(page_of(made.with_result(slice="mixed", unseen_from=points[150].time))).words
    before, after = (float(text) for text in re.findall(r"([+-]\d+\.\d+)% over", words))
    whole = points[-1].equity / points[0].equity
    assert (1 + before / 100) * (1 + after / 100) == pytest.approx(whole, abs=2e-4)


def test_period_that_was_wholly_seen_is_shaded_to_its_end(made):
    for unseen in (None, "2031-01-01T00:00:00Z"):
        reader = Reader(page_of(made.with_result(slice="in_sample", unseen_from=unseen)))
        (shape,) = reader.shaded("equity")
        assert shape["x1"][:19] == made.result.equity_curve[-1].time[:19]
        assert "the model had seen this whole period" in reader.words


def test_no_text_of_the_data_becomes_markup(make):
    plain = make(trades=3)
    evil = make(trades=3, symbol=EVIL).with_result(
        strategy_name=EVIL,
        model=EVIL,
        verdict=EVIL,
        timeframe=EVIL,
        notes=(EVIL,),
        data_fingerprint=EVIL,
        bundle_sha256=EVIL,
        performance_rating=EVIL,
        configuration={EVIL: EVIL},
    )
    noted = plain.with_result(notes=("note",))
    page = page_of(evil)
    reader = Reader(page)
    assert reader.tags == Reader(page_of(noted)).tags
    assert reader.addresses == []
    assert EVIL not in page
    assert EVIL in reader.words
    # The check sees markup where there is any.
    assert "img" in Reader(page.replace("<main>", f"<main>{EVIL}")).tags
    assert all("<" not in name for name in reader.names("equity"))


def test_no_trades_are_told_as_that(make):
    reader = Reader(page_of(make(trades=0)))
    assert "No trades." in reader.words
    assert "No trades, so no verdict" in reader.words
    assert reader.figures["candles"]["data"][0]["type"] == "candlestick"


def test_one_trade_still_open_is_listed(made):
    trade = made.result.trades[0].model_copy(update={"exit_time": None, "exit_price": None})
    reader = Reader(page_of(made.with_result(trades=(trade,), total_trades=0)))
    assert re.search(r"long 2023-11-19 04:00 [\d.,]+ open", reader.words)
    marks = {trace["name"]: trace for trace in reader.figures["candles"]["data"]}
    assert len(marks["long entry"]["x"]) == 1
    assert len(marks["long exit"]["x"]) == 0


def test_candles_without_a_single_forecast(make):
    made = make(scored=False)
    made.forecasts.iloc[:] = np.nan
    reader = Reader(page_of(made))
    assert "The model gave no forecast on these candles." in reader.words
    assert "The forecasts were not scored" in reader.words
    assert sorted(reader.figures) == ["candles", "drawdown", "equity"]


def test_empty_curves_are_drawn_as_nothing(made):
    empty = made.with_result(
        equity_curve=(),
        drawdown_curve=(),
        buy_and_hold=None,
        trades=(),
        start_date=None,
        end_date=None,
        forecasts=None,
        traded_share=None,
        unseen_from=None,
    )
    words = Reader(page_of(empty)).words
    assert "no bars" in words
    assert "It is not known which part" in words


def test_many_candles_are_joined_and_the_caption_says_so(made, monkeypatch):
    monkeypatch.setattr(charts, "MAXIMUM_CANDLES", 150)
    chart = charts.candle_chart(made.result, made.candles, made.forecasts)
    assert "3 neighbouring candles joined into one: 134 in place of 400" in chart.caption
    assert len(chart.figure.data[0].x) == 134
    assert max(chart.figure.data[0].high) == made.candles.ohlcv[:, 1].max()


def test_long_curve_is_thinned_and_the_caption_says_so(made, monkeypatch):
    assert "Drawn with" not in charts.equity_chart(made.result).caption
    monkeypatch.setattr(charts, "MAXIMUM_POINTS", 50)
    chart = charts.equity_chart(made.result)
    assert "points of 300" in chart.caption
    assert len(chart.figure.data[0].x) <= 50


def test_page_draws_itself_in_a_browser_without_a_network(make, tmp_path):
    evil = make(trades=3, symbol=EVIL)
    files = write_report(evil.result, **evil.arguments, folder=tmp_path)
    document = drawn_document(files.html, tmp_path)
    assert document.count('class="main-svg"') >= 6
    assert "<title>taken" not in document
