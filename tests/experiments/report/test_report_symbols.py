"""The page of many symbols: all accounts together first, then each one, and what was left out."""

from __future__ import annotations

import re

import numpy as np
import pytest

from experiments.many_symbols import MultiSymbolResult
from experiments.report import write_symbols
from experiments.report.symbols_page import render_symbols
from lightning_models.errors import StorageError
from tests.experiments.report.made_summaries import symbol_backtests, symbols_of
from tests.experiments.report.reader import EVIL, Reader, drawn_document

SYMBOLS = ("BTC/USDT", "ETH/USDT", "SOL/USDT")
FAILED = ("ADA/USDT", "ADA/USDT has 12 1h candles; give more history")


def results_on(symbols=SYMBOLS, **changes):
    return [one.result for one in symbol_backtests(symbols, **changes)]


@pytest.fixture(scope="module")
def result():
    return symbols_of(results_on(), [FAILED])


@pytest.fixture(scope="module")
def page(result):
    return render_symbols(result)


@pytest.fixture(scope="module")
def reader(page):
    return Reader(page)


def test_verdict_comes_before_every_figure(result, page):
    assert page.index(result.verdict) < page.index("<table")
    assert page.index(result.verdict) < page.index('class="chart')


def test_accounts_together_stand_beside_buy_and_hold_with_their_interval(result, reader):
    total = f"Total return {result.portfolio_total_return_pct:+.1f}%"
    held = f"{result.buy_and_hold_total_return_pct:+.1f}%"
    assert f"{total} – {held}" in reader.words
    assert "Sharpe ratio 0.31 -1.20 to 1.90" in reader.words
    assert "Trades 36" in reader.words
    assert "Fees paid 54.00" in reader.words


def test_drawdown_of_buy_and_hold_is_that_of_the_summed_accounts(result, reader):
    held = np.sum(
        [[p.equity for p in one.buy_and_hold.equity_curve] for one in result.symbol_results],
        axis=0,
    )
    depth = (100 * (1 - held / np.maximum.accumulate(held))).max()
    own = result.portfolio_max_drawdown_pct
    assert f"Largest drawdown {own:.1f}% – {depth:.1f}%" in reader.words


def test_costs_doubled_are_the_mean_over_accounts_of_equal_size(reader, result):
    assert "Total return, costs doubled -3.2%" in reader.words
    first, *rest = result.symbol_results
    idle = first.model_copy(update={"doubled_costs": None, "trades": (), "total_return_pct": 0.0})
    changed = result.model_copy(update={"symbol_results": (idle, *rest)})
    # An account without a trade is worth the same at any cost.
    assert "costs doubled -2.1%" in Reader(render_symbols(changed)).words
    unknown = first.model_copy(update={"doubled_costs": None})
    changed = result.model_copy(update={"symbol_results": (unknown, *rest)})
    assert "Total return, costs doubled" not in Reader(render_symbols(changed)).words


def test_symbols_are_listed_from_the_best_to_the_worst_and_linked(result, reader, page):
    (table,) = re.findall(r'<table class="summary">(.*?)</table>', page, re.DOTALL)
    names = re.findall(r'<th class="text" scope="row"><a href="(.*?)">(.*?)</a>', table)
    ranked = sorted(result.symbol_results, key=lambda one: -one.total_return_pct)
    assert [name for _, name in names] == [one.symbol for one in ranked]
    assert names[0][0] == f"./{ranked[0].symbol.replace('/', '_')}/report.html"
    assert f"{ranked[0].symbol} was picked among 3 after the fact" in reader.words
    held = f"{ranked[0].buy_and_hold.total_return_pct:+.1f}%"
    assert f"{ranked[0].total_return_pct:+.1f}% {held}" in reader.words


def test_failures_are_named_with_their_reasons(reader):
    assert "Left out of every figure: 1 of 4 symbols" in reader.words
    assert re.search(r"ADA/USDT : ADA/USDT has 12 1h candles; give more history", reader.words)


def test_page_without_a_failure_says_nothing_of_one():
    reader = Reader(render_symbols(symbols_of(results_on())))
    assert "Left out" not in reader.words


def test_every_account_is_in_one_chart_as_a_return(reader, result):
    assert sorted(reader.figures) == ["returns"]
    ranked = sorted(result.symbol_results, key=lambda one: -one.total_return_pct)
    assert reader.names("returns") == [
        "all accounts together",
        "buy-and-hold of all",
        *(one.symbol for one in ranked),
    ]
    assert reader.figures["returns"]["layout"]["yaxis"]["title"]["text"] == "return, %"


def test_of_many_symbols_the_best_and_the_worst_are_drawn_at_first():
    names = [f"COIN{number:02}/USDT" for number in range(20)]
    result = symbols_of(results_on(names))
    reader = Reader(render_symbols(result))
    ranked = sorted(result.symbol_results, key=lambda one: -one.total_return_pct)
    waiting = [
        trace["name"]
        for trace in reader.figures["returns"]["data"]
        if trace["visible"] == "legendonly"
    ]
    assert waiting == [one.symbol for one in ranked[5:-5]]
    assert "10 of the 22 curves are shown once chosen" in reader.words


def test_symbols_with_different_bars_are_summed_from_their_cash_on():
    first, second = results_on(SYMBOLS[:2])
    late = second.model_copy(
        update={
            "buy_and_hold": second.buy_and_hold.model_copy(
                update={"equity_curve": second.buy_and_hold.equity_curve[100:]}
            )
        }
    )
    result = symbols_of([first, second]).model_copy(update={"symbol_results": (first, late)})
    figure = Reader(render_symbols(result)).figures["returns"]
    (held,) = (one for one in figure["data"] if one["name"] == "buy-and-hold of all")
    assert len(held["x"]) == len(first.equity_curve)
    assert held["x"][0] == first.equity_curve[0].time


def test_each_symbol_has_its_own_verdict_and_notes():
    noted = symbols_of(results_on(notes=("37 of 400 candles are missing.",)))
    reader = Reader(render_symbols(noted))
    for one in noted.symbol_results:
        assert one.verdict in reader.words
        assert one.data_fingerprint in reader.words
    assert reader.words.count("37 of 400 candles are missing.") == 3


def test_symbol_that_the_model_had_seen_is_named_and_shaded():
    first, *rest = results_on(model="models:/sim/3", unseen_from=None)
    seen = first.model_copy(update={"slice": "in_sample"})
    reader = Reader(render_symbols(symbols_of([seen, *rest])))
    assert "had seen the whole period of BTC/USDT, so nothing there" in reader.words
    assert "Slice partly in-sample" in reader.words
    assert len(reader.shaded("returns")) == 1
    whole = Reader(render_symbols(symbols_of([seen])))
    assert "Slice in-sample" in whole.words


def test_strategy_without_a_model_is_told_to_be_unfitted(reader):
    assert "Nothing was fitted" in reader.words
    assert reader.shaded("returns") == []


def test_no_text_of_the_data_becomes_markup():
    def named(text, note):
        changes = {
            "strategy": text,
            "model": text,
            "bundle_sha256": text,
            "verdict": text,
            "notes": (note,),
            "configuration": {text: text},
        }
        made = symbols_of(results_on((text, "ETH/USDT"), **changes), [(text, note)])
        return made.model_copy(update={"verdict": text, "timeframe": text})

    page = render_symbols(named(EVIL, EVIL))
    reader = Reader(page)
    assert reader.tags == Reader(render_symbols(named("plain", "note"))).tags
    assert EVIL not in page
    assert EVIL in reader.words
    assert all("<" not in name for name in reader.names("returns"))
    assert all(re.fullmatch(r"\./[\w.%-]+/report\.html", one) for one in reader.addresses)


def test_page_refers_to_nothing_but_the_reports_beside_it(result, page, reader):
    assert all(one.startswith("./") for one in reader.addresses)
    assert "default-src 'none'" in page
    assert Reader(render_symbols(result, links=False)).addresses == []


def test_page_and_result_are_written_together_or_not_at_all(result, tmp_path):
    files = write_symbols(result, folder=tmp_path / "report")
    assert MultiSymbolResult.model_validate_json(files.result.read_text()) == result
    place = tmp_path / "taken"
    place.write_text("mine")
    with pytest.raises(StorageError, match="taken"):
        write_symbols(result, folder=place)


@pytest.mark.soak
def test_page_draws_itself_in_a_browser_without_a_network(tmp_path):
    evil = symbols_of(results_on((EVIL, "ETH/USDT")), [(EVIL, EVIL)])
    files = write_symbols(evil, folder=tmp_path)
    document = drawn_document(files.html, tmp_path)
    assert document.count('class="main-svg"') >= 1
    assert "<title>taken" not in document
