"""An answer is an opinion of the asked form, or nothing."""

from __future__ import annotations

import json
import math

import pytest
from pydantic import ValidationError

from lstm_strategies.analyst import Opinion
from lstm_strategies.analyst.opinion import ANSWER_BYTES, RESPONSE_FORMAT, read_answer

TOLD = {"reasoning": "Rising.", "stance": 0.25, "confidence": 0.5}


def body(text, *, finish="stop", **more):
    message = {"role": "assistant", "content": text, **more}
    answer = {"choices": [{"message": message, "finish_reason": finish}]}
    return json.dumps({**answer, "usage": {"prompt_tokens": 7, "completion_tokens": 3}}).encode()


def told(**changes):
    return json.dumps({**TOLD, **changes})


def test_opinion_and_tokens_are_read():
    answer = read_answer(body(told()))
    assert answer == (Opinion(**TOLD), "", 7, 3)


@pytest.mark.parametrize(("stance", "confidence"), [(-1, 0), (1, 1), (0.0, 0.123456789012345)])
def test_ends_of_the_ranges_count(stance, confidence):
    opinion = read_answer(body(told(stance=stance, confidence=confidence))).opinion
    assert (opinion.stance, opinion.confidence) == (stance, confidence)


@pytest.mark.parametrize(
    "text",
    [
        "The market looks strong.",
        "```json\n" + told() + "\n```",
        told() + told(),
        told()[:-1],
        "[]",
        "null",
        "7",
        "{}",
        told(stance=7),
        told(stance=-1.0000001),
        told(confidence=1.5),
        told(confidence=-0.1),
        told(stance=math.nan),
        told(stance=math.inf),
        told(confidence=-math.inf),
        told(stance="0.5"),
        told(stance=None),
        told(stance=True),
        told(stance=[0.5]),
        told(reasoning=5),
        told(order="buy"),
        json.dumps({"stance": 0.5, "confidence": 0.5}),
        '{"reasoning": "", "stance": 1e999, "confidence": 0.5}',
        "[" * 100_000,
    ],
)
def test_text_that_is_not_what_was_asked_for_is_nothing(text):
    answer = read_answer(body(text))
    assert answer == (None, "its text is not the JSON that was asked for", 7, 3)


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (body(""), "it is empty"),
        (body("  \n"), "it is empty"),
        (body(None), "it is empty"),
        (body([told()]), "it is empty"),
        (body(told(), finish="length"), "it was cut off at max_tokens"),
        (body(told(), finish="content_filter"), "the model did not finish it"),
        (body(told(), finish=None), "the model did not finish it"),
        (body(None, refusal="I cannot advise."), "the model refused"),
        (body(told(), refusal="I cannot advise."), "the model refused"),
    ],
)
def test_unfinished_refused_and_empty_answers_are_nothing(answer, problem):
    assert read_answer(answer) == (None, problem, 7, 3)


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (b"", "it is not JSON"),
        (b"<html>Bad gateway</html>", "it is not JSON"),
        (b"\xff\xfe\x00", "it is not JSON"),
        (body(told())[:-5], "it is not JSON"),
        (b"[" * 100_000, "it is not JSON"),
        (b'{"choices": NaN}', "it is not JSON"),
        (b"[]", "it has no choices"),
        (b"null", "it has no choices"),
        (b'{"choices": []}', "it has no choices"),
        (b'{"choices": {}}', "it has no choices"),
        (b'{"choices": [5]}', "the model did not finish it"),
        (b'{"choices": [{"finish_reason": "stop"}]}', "it is empty"),
        (body(told()) + b" " * ANSWER_BYTES, "it is longer than 262144 bytes"),
    ],
)
def test_anything_else_is_nothing(answer, problem):
    assert read_answer(answer) == (None, problem, 0, 0)


def test_problem_takes_no_word_from_the_answer():
    assert "INJECTED" not in read_answer(body("INJECTED")).problem
    assert "INJECTED" not in read_answer(body(None, refusal="INJECTED")).problem
    assert "INJECTED" not in read_answer(body(told(), finish="INJECTED")).problem


@pytest.mark.parametrize("count", [-1, 1.5, "7", True, None, 10**12, [7]])
def test_token_counts_that_cannot_be_are_zero(count):
    answer = json.loads(body(told()))
    answer["usage"]["prompt_tokens"] = count
    assert read_answer(json.dumps(answer).encode())[1:] == ("", 0, 3)


def test_reasoning_is_one_plain_line_of_at_most_300_characters():
    written = "Up\r\n\ton  volume\x1b[2J\u202e\u2028\u00a0now\x00 \ud83d\ude80" + "!" * 1000
    reasoning = read_answer(body(told(reasoning=written))).opinion.reasoning
    assert reasoning.startswith("Up on volume [2J now \U0001f680!!!")
    assert len(reasoning) == 300
    assert reasoning.isprintable()
    assert Opinion(**{**TOLD, "reasoning": reasoning}).reasoning == reasoning


def test_opinion_refuses_what_is_no_number():
    for stance in (math.nan, math.inf, "1", True, 1.1):
        with pytest.raises(ValidationError, match="stance"):
            Opinion(stance=stance, confidence=0.5, reasoning="")
    with pytest.raises(ValidationError, match="frozen"):
        Opinion(**TOLD).stance = 1.0


def test_asked_form_is_the_opinion_s():
    asked, own = RESPONSE_FORMAT["json_schema"]["schema"], Opinion.model_json_schema()
    assert RESPONSE_FORMAT["json_schema"]["strict"] is True
    assert asked["additionalProperties"] is own["additionalProperties"] is False
    assert set(asked["required"]) == set(own["required"]) == set(asked["properties"])
    for name, field in asked["properties"].items():
        for word in ("type", "minimum", "maximum"):
            assert field.get(word) == own["properties"][name].get(word)
