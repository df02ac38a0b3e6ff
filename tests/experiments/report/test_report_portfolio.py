"""A portfolio's page: the account beside its yardsticks, then its symbols and its trades."""

from __future__ import annotations

import csv
import re

import pytest

from experiments.many_symbols import SymbolFailure
from experiments.portfolio import PortfolioResult
from experiments.report import write_portfolio
from experiments.report.portfolio_page import render_portfolio
from experiments.result import TradeRecord
from experiments.yardsticks import RandomExposure
from lightning_models.errors import StorageError
from tests.experiments.report.made_summaries import portfolio_of
from tests.experiments.report.reader import EVIL, Reader, drawn_document

SYMBOLS = ("BTC/USDT", "ETH/USDT", "SOL/USDT")


@pytest.fixture(scope="module")
def result():
    return portfolio_of(SYMBOLS, notes=("BTC/USDT: 37 of 400 candles are missing.",))


@pytest.fixture(scope="module")
def page(result):
    return render_portfolio(result)


@pytest.fixture(scope="module")
def reader(page):
    return Reader(page)


def test_verdict_comes_before_every_figure(result, page):
    assert page.index(result.verdict) < page.index("<table")
    assert page.index(result.verdict) < page.index('class="chart')


def test_account_stands_beside_its_yardsticks_with_units(result, reader):
    held = result.buy_and_hold
    for words in (
        f"Total return {result.total_return_pct:+.1f}% – {held.total_return_pct:+.1f}%",
        "Total return, costs doubled -3.2%",
        "Same exposure at random times +0.4% -6.0% to 7.0%",
        f"Sharpe ratio {result.sharpe_ratio:.2f} {result.sharpe_low:.2f} to",
        f"Largest drawdown {result.max_drawdown_pct:.1f}% – {held.max_drawdown_pct:.1f}%",
        "Largest exposure, times the equity 0.87",
        "puts equal parts of the cash into each symbol",
        "Not distinguishable from the same exposure held at random",
    ):
        assert words in reader.words


def test_yardsticks_that_are_unknown_are_left_out(result):
    bare = result.model_copy(
        update={
            "doubled_costs": None,
            "random_exposure": RandomExposure(bars=12, exposure=0.3, level=0.95),
        }
    )
    words = Reader(render_portfolio(bare)).words
    assert "costs doubled" not in words
    assert "Same exposure at random times" not in words
    assert "Too few bars to hold the same exposure at random" in words


def test_sentence_that_the_verdict_has_is_not_said_twice(result):
    said = result.random_exposure.words()
    told = result.model_copy(update={"verdict": f"No edge found. {said}"})
    assert Reader(render_portfolio(told)).words.count(said) == 1


def test_each_symbol_has_a_row_and_the_account_the_last(result, page):
    (table,) = re.findall(r'<table class="summary">(.*?)</table>', page, re.DOTALL)
    names = re.findall(r'scope="row">(.*?)</th>', table)
    assert names == [*SYMBOLS, "the account"]
    assert f"{result.by_symbol[0].total_return:+,.2f}" in table
    assert "12.0%" in table


def test_equity_and_drawdown_are_drawn_with_buy_and_hold(reader):
    assert reader.names("equity") == reader.names("drawdown") == ["trend", "buy-and-hold"]


def test_every_trade_is_listed_with_its_symbol(result, page):
    rows = re.findall(r'<tr><td class="text">(.*?)</td>', page)
    assert rows == [trade.symbol for trade in result.trades]
    assert len(rows) == 36


def test_no_trades_are_told_as_that(result):
    none = result.model_copy(update={"trades": (), "total_trades": 0, "doubled_costs": None})
    words = Reader(render_portfolio(none)).words
    assert "No trades." in words
    assert "Rating –" in words


def test_notes_and_failures_are_shown(result, reader):
    assert "BTC/USDT: 37 of 400 candles are missing." in reader.words
    assert "Left out" not in reader.words
    failure = SymbolFailure(symbol="ADA/USDT", error="too short a history")
    failed = result.model_copy(update={"failures": (failure,)})
    words = Reader(render_portfolio(failed)).words
    assert "Left out: 1 of 4 symbols" in words
    assert "ADA/USDT : too short a history" in words


@pytest.mark.parametrize(
    ("kind", "fact", "sentence", "trade", "shades"),
    [
        ("out_of_sample", "Slice out of sample", "had seen none of", "unseen", 0),
        ("in_sample", "Slice in-sample", "had seen this whole period", "in-sample", 1),
        ("mixed", "Slice partly in-sample", "had seen a part of this period", "unknown", 0),
    ],
)
def test_slice_is_told_in_words(result, kind, fact, sentence, trade, shades):
    told = result.model_copy(update={"slice": kind, "model": "models:/sim/3"})
    page = render_portfolio(told)
    reader = Reader(page)
    assert fact in reader.words
    assert sentence in reader.words
    assert page.count(f'<td class="text">{trade}</td>') == 36
    assert len(reader.shaded("equity")) == len(reader.shaded("drawdown")) == shades


def test_no_text_of_the_data_becomes_markup():
    def named(text, note):
        made = portfolio_of(
            (text, "ETH/USDT"),
            strategy=text,
            model=text,
            bundle_sha256=text,
            verdict=text,
            timeframe=text,
            performance_rating=text,
            notes=(note,),
            failures=(SymbolFailure(symbol=text, error=note),),
            configuration={text: text},
        )
        trades = tuple(one.model_copy(update={"exit_reason": text}) for one in made.trades)
        return made.model_copy(update={"trades": trades})

    page = render_portfolio(named(EVIL, EVIL))
    reader = Reader(page)
    assert reader.tags == Reader(render_portfolio(named("plain", "note"))).tags
    assert reader.addresses == []
    assert EVIL not in page
    assert EVIL in reader.words
    assert all("<" not in name for name in reader.names("equity"))


def test_page_result_and_trades_are_written_together(result, tmp_path):
    files = write_portfolio(result, folder=tmp_path / "report")
    assert PortfolioResult.model_validate_json(files.result.read_text()) == result
    with files.trades.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0]) == list(TradeRecord.model_fields)
    assert {row["symbol"] for row in rows} == set(SYMBOLS)


def test_no_text_of_the_trades_is_computed_by_a_spreadsheet(result, tmp_path):
    (first, *rest) = result.trades
    harmful = first.model_copy(update={"symbol": "=HYPERLINK(1)", "pnl": -1.5})
    files = write_portfolio(result.model_copy(update={"trades": (harmful, *rest)}), folder=tmp_path)
    with files.trades.open(newline="") as stream:
        (row, *_) = csv.DictReader(stream)
    assert (row["symbol"], float(row["pnl"])) == ("'=HYPERLINK(1)", -1.5)


def test_folder_that_is_a_file_is_named_and_kept(result, tmp_path):
    place = tmp_path / "taken"
    place.write_text("mine")
    with pytest.raises(StorageError, match="taken"):
        write_portfolio(result, folder=place)
    assert place.read_text() == "mine"


@pytest.mark.soak
def test_page_draws_itself_in_a_browser_without_a_network(tmp_path):
    evil = portfolio_of((EVIL, "ETH/USDT"), strategy=EVIL)
    files = write_portfolio(evil, folder=tmp_path)
    document = drawn_document(files.html, tmp_path)
    assert document.count('class="main-svg"') >= 2
    assert "<title>taken" not in document
