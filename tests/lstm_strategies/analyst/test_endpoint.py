"""A real server on loopback: what it is sent, and what is made of what it does."""

from __future__ import annotations

import logging
import sys
import time

import pytest
from chat_server import (
    ENOUGH,
    broken_off,
    drop,
    endless,
    opinion,
    raw,
    silent,
    status,
    trickle,
)

from lightning_models.errors import ConfigError
from lstm_strategies.analyst import AnalystConfig
from lstm_strategies.analyst.endpoint import ChatEndpoint, Failure, NoAnswerError
from lstm_strategies.analyst.opinion import ANSWER_BYTES, RESPONSE_FORMAT
from lstm_strategies.analyst.prompt import chat_request

KEY = "sk-proj-9f8e7d6c5b4a"


@pytest.fixture
def ask(chat, config_of, facts_of):
    def make(**settings):
        config = config_of(**settings)
        return ChatEndpoint(config).ask(chat_request(config, facts_of()))

    return make


def failure_of(ask, **settings):
    with pytest.raises(NoAnswerError) as caught:
        ask(**settings)
    # What the client knows of the request is not told along.
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    return caught.value.failure, str(caught.value)


def test_request_as_the_server_receives_it(chat, ask, config_of, facts_of):
    chat.script(raw(b"anything"))
    assert ask() == b"anything"
    (request,) = chat.requests
    assert request.path == "/v1/chat/completions"
    assert request.body == chat_request(config_of(), facts_of())
    assert request.body["model"] == "llama3.1"
    assert request.body["response_format"] == RESPONSE_FORMAT
    assert request.body["temperature"] == 0.0
    assert request.figures["symbol"] == "BTC/USDT"


def test_no_key_is_sent_where_none_is_configured(chat, ask, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_ORG_ID", "org-secret")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "proj-secret")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/elsewhere")
    ask()
    (request,) = chat.requests
    assert set(request.headers) == {
        "accept",
        "accept-encoding",
        "connection",
        "content-length",
        "content-type",
        "host",
        "user-agent",
        "x-stainless-raw-response",
    }
    assert not any("secret" in value or KEY in value for value in request.headers.values())


def test_configured_key_is_sent_and_no_other(chat, ask, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-another")
    monkeypatch.setenv("ANALYST_KEY", KEY)
    ask(api_key_env="ANALYST_KEY")
    assert chat.requests[0].headers["authorization"] == f"Bearer {KEY}"
    assert KEY.encode() not in chat.requests[0].raw


def test_key_stays_out_of_logs_errors_and_repr(chat, ask, config_of, monkeypatch, caplog):
    monkeypatch.setenv("ANALYST_KEY", KEY)
    caplog.set_level(logging.DEBUG)
    echo = f'{{"error": {{"message": "wrong key {KEY}"}}}}'.encode()
    shown = []
    for act in (opinion(), status(401, echo), status(500, echo), status(400, echo), drop):
        chat.script(act)
        try:
            ask(api_key_env="ANALYST_KEY")
        except NoAnswerError as error:
            shown += [repr(error), str(vars(error))]
    config = config_of(api_key_env="ANALYST_KEY")
    endpoint = ChatEndpoint(config)
    shown += [repr(config), repr(endpoint), str(vars(endpoint)), caplog.text]
    assert KEY not in "".join(shown)
    # Control: it was there to be shown, and the log is the one of the client at its wordiest.
    assert [request.headers["authorization"] for request in chat.requests] == [f"Bearer {KEY}"] * 5
    assert any(record.name.startswith("openai") for record in caplog.records)


@pytest.mark.parametrize(
    ("value", "said"),
    [(None, "is not set"), ("", "is not set"), (f"{KEY}\n", "holds no key"), ("é", "no key")],
)
def test_variable_without_a_key_is_told_before_anything_is_asked(monkeypatch, value, said):
    monkeypatch.delenv("ANALYST_KEY", raising=False)
    if value is not None:
        monkeypatch.setenv("ANALYST_KEY", value)
    with pytest.raises(ConfigError, match=said) as caught:
        ChatEndpoint(AnalystConfig(api_key_env="ANALYST_KEY"))
    assert "ANALYST_KEY" in str(caught.value)
    assert KEY not in str(caught.value)


def test_missing_package_is_told_with_the_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(ConfigError, match=r"pip install 'lstm-strategies\[llm\]'"):
        ChatEndpoint(AnalystConfig())


@pytest.mark.parametrize("trouble", [status(500), status(429), status(503), drop])
def test_passing_trouble_is_tried_again(chat, ask, trouble):
    chat.script(trouble, raw(b"fine"))
    assert ask(retries=1) == b"fine"
    assert len(chat.requests) == 2
    assert chat.requests[0].raw == chat.requests[1].raw
    # Control: without a retry it is a failure.
    chat.script(trouble, raw(b"fine"))
    assert failure_of(ask, retries=0)[0] is Failure.UNREACHABLE


@pytest.mark.parametrize("code", [408, 429, 500, 502, 503])
def test_lasting_trouble_ends_with_the_status_and_the_next_step(chat, ask, code):
    chat.script(status(code))
    failure, text = failure_of(ask, retries=2)
    assert failure is Failure.UNREACHABLE
    assert f"no answer from {chat.endpoint} (HTTP {code})" in text
    assert "`ollama serve`" in text
    assert "`ollama pull llama3.1`" in text
    assert "set another endpoint" in text
    assert "After 3 calls in a row without an answer this run asks no more" in text
    assert len(chat.requests) == 3


def test_silence_ends_at_the_time_out(chat, ask):
    chat.script(silent)
    started = time.monotonic()
    failure, text = failure_of(ask, timeout=0.2)
    assert time.monotonic() - started < 5.0
    assert failure is Failure.UNREACHABLE
    assert "(none within 0.2 s)" in text
    assert len(chat.requests) == 1


def test_answer_that_trickles_in_ends_at_the_time_out(chat, ask):
    chat.script(trickle)
    failure, text = failure_of(ask, timeout=0.3)
    assert failure is Failure.UNREACHABLE
    assert "(none whole within 0.3 s)" in text


def test_nobody_there(chat, ask):
    chat.stop()
    failure, text = failure_of(ask)
    assert failure is Failure.UNREACHABLE
    assert "(no connection)" in text


def test_name_that_no_host_can_have_is_no_error(ask):
    assert failure_of(ask, endpoint="http://a..b/v1")[0] is Failure.UNREACHABLE


def test_answer_that_breaks_off_is_none(chat, ask):
    chat.script(broken_off)
    failure, text = failure_of(ask)
    assert failure is Failure.UNREACHABLE
    assert "(broken off, " in text


@pytest.mark.parametrize("code", [401, 403])
def test_refused_key_is_not_tried_again(chat, ask, code, monkeypatch):
    chat.script(status(code))
    failure, text = failure_of(ask, retries=3)
    assert failure is Failure.KEY
    assert f"refuses the key (HTTP {code})" in text
    assert "name the environment variable that holds a key with api_key_env" in text
    assert len(chat.requests) == 1
    monkeypatch.setenv("ANALYST_KEY", KEY)
    text = failure_of(ask, api_key_env="ANALYST_KEY")[1]
    assert "set a valid key in the environment variable ANALYST_KEY" in text


def test_unknown_model_is_not_tried_again(chat, ask):
    chat.script(status(404))
    failure, text = failure_of(ask, retries=3, model="llama99")
    assert failure is Failure.MODEL
    assert "has no model llama99 or no such path (HTTP 404)" in text
    assert "`ollama pull llama99`" in text
    assert len(chat.requests) == 1


def test_request_that_is_not_understood_is_not_tried_again(chat, ask):
    chat.script(status(400))
    failure, text = failure_of(ask, retries=3)
    assert failure is Failure.REQUEST
    assert "(HTTP 400)" in text
    assert len(chat.requests) == 1


def test_redirect_is_not_followed(chat, ask):
    chat.script(status(307, Location=f"{chat.endpoint}/elsewhere"))
    failure, text = failure_of(ask, retries=3)
    assert failure is Failure.REQUEST
    assert "(HTTP 307)" in text
    assert len(chat.requests) == 1


def test_proxy_of_the_environment_is_not_between_this_machine_and_itself(chat, ask, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    chat.script(raw(b"direct"))
    assert ask() == b"direct"
    # Control: it would have been in the way.
    assert failure_of(ask, endpoint="http://127.0.0.2:9/v1")[0] is Failure.UNREACHABLE


def test_endless_answer_is_read_no_further_than_it_counts(chat, ask):
    chat.script(endless(200))
    assert ANSWER_BYTES < len(ask()) < 2 * ANSWER_BYTES
    chat.stop()
    assert chat.poured < ENOUGH


def test_endless_error_is_not_read(chat, ask):
    chat.script(endless(500))
    assert failure_of(ask)[0] is Failure.UNREACHABLE
    chat.stop()
    assert chat.poured < ENOUGH
