"""A comparison's page: the verdict first, every strategy beside its yardsticks."""

from __future__ import annotations

import json
import re

import pytest

from experiments.comparing import ComparisonResult
from experiments.report import write_comparison
from experiments.report.comparison_page import render_comparison
from lightning_models.errors import StorageError
from tests.experiments.report.made_summaries import CHANCE, comparison_of
from tests.experiments.report.reader import EVIL, Reader, drawn_document

ALERT = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def result():
    return comparison_of().result


@pytest.fixture(scope="module")
def page(result):
    return render_comparison(result)


@pytest.fixture(scope="module")
def reader(page):
    return Reader(page)


def rows_of(page, kind="summary"):
    """Return the texts of a table's rows."""
    (table,) = re.findall(rf'<table class="{kind}">(.*?)</table>', page, re.DOTALL)
    return [
        [re.sub(r"<[^>]+>", "", cell) for cell in re.findall(r"<t[hd].*?</t[hd]>", row)]
        for row in re.findall(r"<tr.*?</tr>", table, re.DOTALL)
    ]


def cell(page, row, column):
    header, *rows = rows_of(page)
    (found,) = (one for one in rows if one[0] == row)
    return found[header.index(column)]


def test_verdict_of_the_test_comes_before_every_figure(result, page):
    assert result.verdict == result.superiority.verdict
    assert page.index(result.verdict) < page.index("<table")
    assert page.index(result.verdict) < page.index('class="chart')


def test_facts_name_symbol_timeframe_period_slice_and_ranking(reader):
    for words in (
        "3 strategies on SIM/USDT",
        "Timeframe 1h",
        "2023-11-19 03:00 to 2023-12-01 14:00",
        "Slice out of sample",
        "Ranked by Sharpe ratio",
    ):
        assert words in reader.words


def test_ranking_is_in_the_order_of_the_result_and_ends_with_buy_and_hold(result, page):
    names = [row[0] for row in rows_of(page)]
    assert names == ["strategy", *(one.strategy for one in result.comparisons), "buy-and-hold"]


def test_every_strategy_stands_beside_its_yardsticks_with_units(result, page):
    one = result.comparisons[0]
    expected = {
        "total return": f"{one.total_return_pct:+.1f}%",
        "costs doubled": "-3.2%",
        "at random (p)": "0.412",
        "Sharpe ratio": f"{one.sharpe_ratio:.2f}",
        "95% interval": f"{one.sharpe_low:.2f} to {one.sharpe_high:.2f}",
        "deflated Sharpe": f"{100 * one.deflated_sharpe.probability:.1f}%",
        "largest drawdown": f"{one.max_drawdown_pct:.1f}%",
        "trades": "12",
        "win rate": "50.0%",
        "in the market": "30.0%",
        "let through": "4.0%",
        "fees": "18.00",
        "funding": "+1.25",
        "liquidations": str(one.liquidations),
        "rating": "poor",
    }
    for column, text in expected.items():
        assert cell(page, one.strategy, column) == text


def test_buy_and_hold_has_its_return_sharpe_ratio_and_drawdown(result, page):
    held = result.comparisons[0].buy_and_hold
    assert cell(page, "buy-and-hold", "total return") == f"{held.total_return_pct:+.1f}%"
    assert cell(page, "buy-and-hold", "Sharpe ratio") == "0.10"
    assert cell(page, "buy-and-hold", "largest drawdown") == f"{held.max_drawdown_pct:.1f}%"
    assert cell(page, "buy-and-hold", "in the market") == "100.0%"
    assert cell(page, "buy-and-hold", "trades") == "–"


def test_table_says_of_each_strategy_whether_it_could_be_the_best(result, page):
    for one in result.superiority.contenders:
        answer = "yes" if one.name in result.superiority.could_be_best else "no"
        assert cell(page, one.name, "could be the best") == f"{answer} (p {one.p_best:.3f})"
        above = f"not shown (p {one.p_against:.3f})"
        assert cell(page, one.name, "above buy-and-hold") == above


def test_with_too_few_bars_no_p_value_is_shown():
    short = comparison_of(length=120, trades=1)
    assert short.result.superiority.bars == 20
    page = render_comparison(short.result)
    assert "could be the best" not in rows_of(page)[0]
    assert "with all of them tested together" not in Reader(page).words
    assert "Too few bars to tell 3 strategies apart" in Reader(page).words


def test_column_without_a_figure_in_any_row_is_left_out():
    page = render_comparison(comparison_of(doubled_costs=None).result)
    assert "costs doubled" not in rows_of(page)[0]
    assert "at random (p)" in rows_of(page)[0]


def test_all_curves_are_in_one_chart_and_all_drawdowns_in_another(result, reader):
    assert sorted(reader.figures) == ["drawdown", "equity"]
    expected = [*(one.strategy for one in result.comparisons), "buy-and-hold"]
    assert reader.names("equity") == reader.names("drawdown") == expected


def test_each_strategy_has_its_own_verdict_notes_and_link(result):
    noted = comparison_of(changes={"trend": {"notes": ("37 of 400 candles are missing.",)}})
    reader = Reader(render_comparison(noted.result))
    for one in noted.result.comparisons:
        assert one.verdict in reader.words
        assert f"./{one.strategy}/report.html" in reader.addresses
    assert "37 of 400 candles are missing." in reader.words
    assert "Deflated Sharpe ratio" in reader.words
    assert "the same exposure held at random" in reader.words


def test_sentence_that_the_verdict_has_is_not_said_twice():
    said = CHANCE.words()
    told = comparison_of(("trend",), changes={"trend": {"verdict": f"No edge found. {said}"}})
    assert Reader(render_comparison(told.result)).words.count(said) == 1


def test_links_are_left_out_where_there_are_no_folders(result):
    assert Reader(render_comparison(result, links=False)).addresses == []


def test_configuration_is_shown_once_where_it_is_shared(result, page):
    text = re.search(r"<pre>(.*?)</pre>", page, re.DOTALL)[1].replace("&#34;", '"')
    told = json.loads(text)
    assert told["shared"] == {"cash": 10_000.0, "taker_fee": 0.0004}
    assert told["strategies"]["trend"] == {"speed": 1}


def test_models_and_data_are_named(result, reader):
    assert "models:/sim/3" in reader.words
    assert result.data_fingerprint in reader.words
    assert result.comparisons[0].verdict in reader.words


def test_strategy_that_saw_a_part_is_named_and_shaded(result):
    cut = result.comparisons[0].equity_curve[150].time
    mixed = comparison_of(changes={"lstm_fast": {"slice": "mixed", "unseen_from": cut}})
    page = render_comparison(mixed.result)
    reader = Reader(page)
    assert re.search(
        r"Partly in-sample \(shaded\) until 2023-11-25 .*?: lstm_fast\. Only", reader.words
    )
    assert "Slice partly in-sample" in reader.words
    for key in ("equity", "drawdown"):
        (shape,) = reader.shaded(key)
        assert shape["x1"].startswith(cut[:19])
    assert cell(page, "lstm_fast", "slice") == "partly in-sample"
    assert cell(page, "trend", "slice") == "nothing fitted"


def test_wholly_seen_period_is_told_of_the_strategy_that_saw_it():
    seen = comparison_of(changes={"lstm_fast": {"slice": "in_sample", "unseen_from": None}})
    reader = Reader(render_comparison(seen.result))
    assert "the model had seen the whole period of lstm_fast, so nothing there" in reader.words
    assert len(reader.shaded("equity")) == 1


def test_unseen_period_is_neither_shaded_nor_called_in_sample(reader):
    assert reader.shaded("equity") == []
    assert "in-sample" not in reader.words
    assert "Out of sample: the model had seen none" in reader.words


def test_strategies_without_models_are_told_to_be_unfitted():
    plain = comparison_of(changes={"lstm_fast": {"model": None, "bundle_sha256": None}})
    assert "Nothing was fitted" in Reader(render_comparison(plain.result)).words


@pytest.mark.parametrize("evil", [EVIL, ALERT])
def test_no_text_of_the_data_becomes_markup(evil):
    def named(text, note):
        made = comparison_of((text, "trend"), symbol=text)
        changed = {
            "verdict": text,
            "notes": (note,),
            "model": text,
            "bundle_sha256": text,
            "performance_rating": text,
            "configuration": {text: text},
        }
        comparisons = tuple(one.model_copy(update=changed) for one in made.result.comparisons)
        return made.result.model_copy(
            update={
                "comparisons": comparisons,
                "verdict": text,
                "timeframe": text,
                "data_fingerprint": text,
            }
        )

    page = render_comparison(named(evil, evil))
    reader = Reader(page)
    assert reader.tags == Reader(render_comparison(named("plain", "note"))).tags
    assert evil not in page
    assert evil in reader.words
    assert all("<" not in name for name in reader.names("equity"))
    assert all(re.fullmatch(r"\./[\w.%-]+/report\.html", one) for one in reader.addresses)
    # The check sees markup where there is any.
    spoilt = page.replace("<main>", f"<main>{evil}")
    assert Reader(spoilt).tags != reader.tags


def test_page_refers_to_nothing_but_the_reports_beside_it(page, reader):
    assert all(one.startswith("./") for one in reader.addresses)
    assert not {"link", "img", "iframe"} & set(reader.tags)
    assert "default-src 'none'" in page
    assert sum(len(body) > 1_000_000 for _, body in reader.scripts) == 1


def test_single_strategy_without_trades_is_a_page_too():
    one = comparison_of(
        ("idle",), changes={"idle": {"trades": (), "total_trades": 0, "doubled_costs": None}}
    )
    page = render_comparison(one.result)
    assert "1 strategy on" in page
    assert "Nothing to compare idle with." in page
    assert cell(page, "idle", "trades") == "0"
    assert not {"win rate", "profit factor", "rating"} & set(rows_of(page)[0])


def test_page_and_result_are_written_together(result, tmp_path):
    files = write_comparison(result, folder=tmp_path / "new" / "report")
    assert sorted(path.name for path in files.html.parent.iterdir()) == [
        "report.html",
        "result.json",
    ]
    assert ComparisonResult.model_validate_json(files.result.read_text()) == result


def test_folder_that_is_a_file_is_named_and_kept(result, tmp_path):
    place = tmp_path / "taken"
    place.write_text("mine")
    with pytest.raises(StorageError, match="taken"):
        write_comparison(result, folder=place)
    assert place.read_text() == "mine"


@pytest.mark.soak
def test_page_draws_itself_in_a_browser_without_a_network(tmp_path):
    evil = comparison_of((EVIL, "trend"), symbol=EVIL)
    files = write_comparison(evil.result, folder=tmp_path)
    document = drawn_document(files.html, tmp_path)
    assert document.count('class="main-svg"') >= 2
    assert "<title>taken" not in document
