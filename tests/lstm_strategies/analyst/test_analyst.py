"""An opinion where there is one, silence where there is none, and no bar that pays twice."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import textwrap
import threading

import numpy as np
import pytest
from chat_server import (
    broken_off,
    drop,
    endless,
    held,
    opinion,
    raw,
    said,
    silent,
    status,
)
from pydantic import ValidationError

from lstm_strategies.analyst import (
    Analyst,
    AnalystConfig,
    AnalystUsage,
    Opinion,
    backtest_warning,
    market_facts,
)

KEY = "sk-proj-9f8e7d6c5b4a"
EXPECTED = Opinion(stance=0.4, confidence=0.7, reasoning="Rising on volume.")


@pytest.fixture
def analyst_of(config_of, tmp_path):
    def make(folder="opinions", **settings):
        return Analyst(config_of(**settings), tmp_path / folder)

    return make


@pytest.fixture
def warnings(caplog):
    caplog.set_level(logging.DEBUG)

    def read():
        return [
            each.getMessage()
            for each in caplog.records
            if each.levelno >= logging.WARNING and each.name.startswith("lstm_strategies")
        ]

    return read


def test_opinion_is_returned_and_paid_for(chat, analyst_of, facts_of):
    chat.script(opinion(tokens=(1500, 200)), opinion(stance=-1, tokens=(500, 100)))
    analyst = analyst_of(price_in=0.5, price_out=2.0)
    assert analyst.usage == AnalystUsage()
    assert analyst.opinion(facts_of(0)) == EXPECTED
    assert analyst.opinion(facts_of(1)).stance == -1.0
    assert analyst.usage == AnalystUsage(
        calls=2,
        tokens_in=2000,
        tokens_out=300,
        cost=0.0016,
    )
    assert len(chat.requests) == 2


def test_usage_is_a_snapshot(chat, analyst_of, facts_of):
    analyst = analyst_of()
    before = analyst.usage
    analyst.opinion(facts_of())
    assert (before.calls, analyst.usage.calls) == (0, 1)
    with pytest.raises(ValidationError, match="frozen"):
        before.calls = 1


def test_no_figure_from_after_the_bar_reaches_the_server(chat, analyst_of, rows):
    market, times = rows(150), np.arange(1000, 1150)
    later = market.copy()
    later[100:] = 987.654321
    for folder, known in (("one", market), ("two", later)):
        facts = market_facts("BTC/USDT", "6h", 1099, known, times=times)
        analyst_of(folder).opinion(facts)
    first, second = (request.raw for request in chat.requests)
    assert first == second
    assert b"987.65" not in second
    # Control: once those bars have closed, their figures are sent.
    analyst_of("two").opinion(market_facts("BTC/USDT", "6h", 1149, later, times=times))
    assert b"987.65" in chat.requests[2].raw


def test_second_run_asks_nothing(chat, analyst_of, facts_of):
    bars = [facts_of(bar) for bar in range(5)]
    analyst = analyst_of()
    first = [analyst.opinion(facts) for facts in bars]
    assert len(chat.requests) == 5
    chat.script(status(500))
    again = analyst_of(price_in=1.0)
    assert [again.opinion(facts) for facts in bars] == first
    assert again.usage == AnalystUsage(cached=5)
    assert len(chat.requests) == 5
    # Control: in another folder it has to ask.
    assert analyst_of("elsewhere").opinion(bars[0]) is None
    assert len(chat.requests) == 6


def test_run_that_stopped_goes_on_where_it_was(chat, analyst_of, facts_of):
    analyst_of().opinion(facts_of(0))
    resumed = analyst_of()
    for bar in range(3):
        assert resumed.opinion(facts_of(bar)) == EXPECTED
    assert (resumed.usage.cached, resumed.usage.calls) == (1, 2)
    assert len(chat.requests) == 3


def test_other_model_asks_for_itself(chat, analyst_of, facts_of):
    analyst_of().opinion(facts_of())
    analyst_of(model="qwen3").opinion(facts_of())
    assert [request.body["model"] for request in chat.requests] == ["llama3.1", "qwen3"]


def test_damaged_entry_is_asked_again(chat, analyst_of, facts_of, tmp_path, warnings):
    analyst_of().opinion(facts_of())
    (path,) = (tmp_path / "opinions").glob("*.json")
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"0.4", b"0.9"))
    analyst = analyst_of()
    assert analyst.opinion(facts_of()) == EXPECTED
    assert (analyst.usage.calls, len(chat.requests)) == (1, 2)
    assert path.read_bytes() == whole
    assert [text for text in warnings() if "is damaged" in text] == warnings()


NONSENSE = {
    "not JSON": raw(b"<html>hello</html>", kind="text/html"),
    "no body": raw(b""),
    "prose": said("I would buy."),
    "off the schema": said('{"opinion": "bullish"}'),
    "stance 7": opinion(stance=7),
    "NaN": opinion(stance=float("nan")),
    "huge": said("x" * 400_000),
    "endless": endless(200),
    "no choices": raw(b'{"choices": []}'),
    "refusal": said(None, refusal="I cannot give financial advice."),
    "cut off": said(json.dumps(EXPECTED.model_dump()), finish="length"),
    "extra keys": opinion(order="buy everything"),
}


@pytest.mark.parametrize("act", NONSENSE.values(), ids=NONSENSE)
def test_nonsense_is_counted_and_told_but_not_kept(
    chat, analyst_of, facts_of, tmp_path, warnings, act
):
    chat.script(act)
    analyst = analyst_of()
    for bar in range(2):
        assert analyst.opinion(facts_of(bar)) is None
    usage = analyst.usage
    assert (usage.calls, usage.abstained, usage.unusable, usage.failed) == (2, 2, 2, 0)
    assert list((tmp_path / "opinions").glob("*.json")) == []
    (text,) = warnings()
    assert "an answer of llama3.1 cannot be used" in text
    assert "buy" not in text
    # It is asked again, and a good answer then counts.
    chat.script(opinion())
    assert analyst.opinion(facts_of(0)) == EXPECTED
    assert len(chat.requests) == 3


def test_unusable_answers_are_paid_for(chat, analyst_of, facts_of):
    chat.script(said("I would buy.", tokens=(1_000_000, 500_000)))
    analyst = analyst_of(price_in=3.0, price_out=4.0)
    assert analyst.opinion(facts_of()) is None
    assert analyst.usage.cost == pytest.approx(5.0)


@pytest.mark.parametrize(
    "act", [status(500), status(429), drop, broken_off, silent], ids=lambda act: act.__name__
)
def test_three_failures_in_a_row_end_the_asking(
    chat, analyst_of, facts_of, tmp_path, warnings, act
):
    chat.script(act)
    analyst = analyst_of(timeout=0.15)
    for bar in range(20):
        assert analyst.opinion(facts_of(bar)) is None
    assert analyst.usage == AnalystUsage(calls=3, failed=3, abstained=20)
    assert len(chat.requests) == 3
    assert list((tmp_path / "opinions").glob("*.json")) == []
    (text,) = warnings()
    assert "After 3 calls in a row without an answer this run asks no more" in text


def test_endpoint_that_is_not_there_ends_the_asking_too(chat, analyst_of, facts_of, warnings):
    chat.stop()
    analyst = analyst_of()
    assert [analyst.opinion(facts_of(bar)) for bar in range(5)] == [None] * 5
    assert analyst.usage == AnalystUsage(calls=3, failed=3, abstained=5)
    assert len(warnings()) == 1


def test_failures_that_are_not_in_a_row_do_not(chat, analyst_of, facts_of, warnings):
    chat.script(*[status(500), status(500), opinion()] * 3, said("nonsense"), opinion())
    analyst = analyst_of()
    opinions = [analyst.opinion(facts_of(bar)) for bar in range(11)]
    assert [each is not None for each in opinions] == [False, False, True] * 3 + [False, True]
    assert analyst.usage.failed == 6
    assert len([text for text in warnings() if "HTTP 500" in text]) == 1


def test_next_run_asks_afresh(chat, analyst_of, facts_of):
    chat.script(status(500))
    silenced = analyst_of()
    for bar in range(4):
        silenced.opinion(facts_of(bar))
    chat.script(opinion())
    assert silenced.opinion(facts_of(0)) is None
    assert analyst_of().opinion(facts_of(0)) == EXPECTED


def test_kept_opinions_are_found_after_the_asking_has_ended(chat, analyst_of, facts_of):
    analyst_of().opinion(facts_of(9))
    chat.script(status(500))
    analyst = analyst_of()
    for bar in range(4):
        analyst.opinion(facts_of(bar))
    assert analyst.opinion(facts_of(9)) == EXPECTED


@pytest.mark.parametrize(("code", "told"), [(401, "refuses the key"), (404, "has no model")])
def test_refused_key_or_model_ends_the_asking_at_once(
    chat, analyst_of, facts_of, warnings, code, told
):
    chat.script(status(code))
    analyst = analyst_of(retries=2)
    for bar in range(5):
        assert analyst.opinion(facts_of(bar)) is None
    assert analyst.usage == AnalystUsage(calls=1, failed=1, abstained=5)
    assert len(chat.requests) == 1
    (text,) = warnings()
    assert told in text
    assert "abstains for the rest of this run" in text


def test_retry_counts_as_the_same_call(chat, analyst_of, facts_of, warnings):
    chat.script(status(500), opinion(), status(429), opinion())
    analyst = analyst_of(retries=1)
    assert analyst.opinion(facts_of(0)) == EXPECTED
    assert analyst.opinion(facts_of(1)) == EXPECTED
    assert (analyst.usage.calls, len(chat.requests)) == (2, 4)
    assert warnings() == []


def test_key_is_in_no_file_log_or_repr(chat, analyst_of, facts_of, tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("ANALYST_KEY", KEY)
    caplog.set_level(logging.DEBUG)
    chat.script(opinion(), status(500), said("nonsense"), status(401, KEY.encode()))
    analyst = analyst_of(api_key_env="ANALYST_KEY")
    for bar in range(4):
        analyst.opinion(facts_of(bar))
    shown = [repr(analyst), str(vars(analyst)), repr(analyst.usage), caplog.text]
    shown += [
        analyst.config.model_dump_json(),
        *(each.read_text() for each in tmp_path.rglob("*.*") if each.is_file()),
    ]
    assert KEY not in "".join(shown)
    assert "Rising on volume." in "".join(shown)
    # Control: it was sent each time.
    assert [each.headers["authorization"] for each in chat.requests] == [f"Bearer {KEY}"] * 4


CHILD = textwrap.dedent(
    """
    import json, sys
    import lstm_strategies.analyst as analyst
    clean = "openai" not in sys.modules
    endpoint, folder, facts = sys.argv[1:]
    config = analyst.AnalystConfig(endpoint=endpoint, timeout=30, retries=0)
    one = analyst.Analyst(config, folder)
    facts = [analyst.MarketFacts(**each) for each in json.loads(facts)]
    told = [one.opinion(each).model_dump() for each in facts]
    print(json.dumps([clean, "openai" in sys.modules, told, one.usage.model_dump()]))
    """
)


def test_processes_share_a_folder_and_ask_once(chat, analyst_of, facts_of, tmp_path):
    kept, contested = facts_of(0), facts_of(1)
    analyst_of().opinion(kept)
    assert len(chat.requests) == 1
    chat.asked.clear()
    chat.script(held(opinion(stance=-0.5)))
    told = json.dumps([each.model_dump(mode="json") for each in (kept, contested)])
    command = [sys.executable, "-c", CHILD, chat.endpoint, str(tmp_path / "opinions"), told]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        try:
            # The child found the first, and now asks the second.
            assert chat.asked.wait(60)
            impatient = analyst_of(timeout=0.1)
            assert impatient.opinion(contested) is None
            assert len(chat.requests) == 3
            threading.Timer(0.3, chat.released.set).start()
            waiting = analyst_of(timeout=30.0)
            opinion_here = waiting.opinion(contested)
            output = child.communicate(timeout=60)[0]
        finally:
            child.kill()
    clean, imported, opinions, usage = json.loads(output)
    assert clean, "importing the package imported openai"
    assert imported
    assert [each["stance"] for each in opinions] == [0.4, -0.5]
    assert (usage["cached"], usage["calls"]) == (1, 1)
    # This process waited for the child's answer rather than ask the same.
    assert opinion_here.stance == -0.5
    assert waiting.usage == AnalystUsage(cached=1)
    assert len(chat.requests) == 3


def test_warning_names_the_model_and_its_memory():
    text = backtest_warning(AnalystConfig(model="qwen3"))
    assert text.startswith("qwen3 may have read about this period in its training data")
