"""What a language model may answer, and what of an answer counts."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Annotated, Any, Final, NamedTuple

import pydantic_core
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

__all__ = [
    "ANSWER_BYTES",
    "REASONING_CHARACTERS",
    "RESPONSE_FORMAT",
    "Answer",
    "Opinion",
    "read_answer",
]

ANSWER_BYTES: Final = 256 * 1024
"""Longest body of an answer that is read."""

REASONING_CHARACTERS: Final = 300
TOKENS: Final = 1_000_000_000

# Written out rather than taken from pydantic, whose releases would change the question's hash.
# The reasoning comes first: a model that has put its reasons down gives better numbers.
RESPONSE_FORMAT: Final[dict[str, Any]] = {
    "type": "json_schema",
    "json_schema": {
        "name": "opinion",
        "strict": True,
        "schema": {
            "type": "object",
            "properties": {
                "reasoning": {
                    "type": "string",
                    "description": f"at most {REASONING_CHARACTERS} characters",
                },
                "stance": {"type": "number", "minimum": -1, "maximum": 1},
                "confidence": {"type": "number", "minimum": 0, "maximum": 1},
            },
            "required": ["reasoning", "stance", "confidence"],
            "additionalProperties": False,
        },
    },
}


def _plain(text: str) -> str:
    # Line breaks, terminal codes and marks that turn the reading direction have no place in a
    # log or a report.
    kept = (" " if unicodedata.category(each)[0] in "CZ" else each for each in text)
    return " ".join("".join(kept).split())[:REASONING_CHARACTERS].rstrip()


class Opinion(BaseModel):
    r"""What a language model thinks of a market at the close of a bar.

    Parameters
    ----------
    stance
        From -1, the price will fall, to 1, it will rise; 0 is no view.
    confidence
        In that stance, from 0 to 1.
    reasoning
        The model's own words, at most 300 characters on one line; longer ones are cut. Not to
        be trusted, and nothing is decided by it.

    Examples
    --------
    >>> Opinion(stance=0.5, confidence=0.75, reasoning="rising\nvolume").reasoning
    'rising volume'
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True)

    stance: Annotated[float, Field(ge=-1.0, le=1.0)]
    confidence: Annotated[float, Field(ge=0.0, le=1.0)]
    reasoning: Annotated[str, AfterValidator(_plain)]


class Answer(NamedTuple):
    """An endpoint's answer, read.

    Parameters
    ----------
    opinion
        None where the answer holds none.
    problem
        Why not, in words that take nothing from the answer; empty where there is an opinion.
    tokens_in, tokens_out
        Read and written, as the endpoint counts them; 0 where it does not say.
    """

    opinion: Opinion | None
    problem: str
    tokens_in: int
    tokens_out: int


def read_answer(body: bytes) -> Answer:
    """Read the body of an answer of ``/chat/completions``, which may be anything.

    Parameters
    ----------
    body
        At most `ANSWER_BYTES` count as an answer.
    """
    if len(body) > ANSWER_BYTES:
        return Answer(None, f"it is longer than {ANSWER_BYTES} bytes", 0, 0)
    try:
        content = pydantic_core.from_json(body, allow_inf_nan=False)
    except ValueError:
        return Answer(None, "it is not JSON", 0, 0)
    usage = _entry(content, "usage")
    tokens = _tokens(usage, "prompt_tokens"), _tokens(usage, "completion_tokens")
    text, problem = _text(content)
    if problem:
        return Answer(None, problem, *tokens)
    try:
        return Answer(Opinion.model_validate_json(text), "", *tokens)
    except ValidationError:
        return Answer(None, "its text is not the JSON that was asked for", *tokens)


def _text(content: Any) -> tuple[str, str]:
    # What the model said, or why that counts for nothing.
    choices = _entry(content, "choices")
    if not isinstance(choices, list) or not choices:
        return "", "it has no choices"
    finish = _entry(choices[0], "finish_reason")
    message = _entry(choices[0], "message")
    if _entry(message, "refusal"):
        return "", "the model refused"
    if finish == "length":
        return "", "it was cut off at max_tokens"
    if finish != "stop":
        return "", "the model did not finish it"
    text = _entry(message, "content")
    if not isinstance(text, str) or not text.strip():
        return "", "it is empty"
    return text, ""


def _entry(content: Any, name: str) -> Any:
    return content.get(name) if isinstance(content, Mapping) else None


def _tokens(usage: Any, name: str) -> int:
    count = _entry(usage, name)
    return count if type(count) is int and 0 <= count <= TOKENS else 0
