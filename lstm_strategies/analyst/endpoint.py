"""A chat endpoint that speaks OpenAI's protocol, and what it means when it does not answer."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from enum import Enum
from importlib.util import find_spec
from time import monotonic
from typing import Any, Final
from urllib.parse import urlsplit

from lightning_models.errors import ConfigError, LSTMStrategiesError
from lstm_strategies.analyst.config import AnalystConfig
from lstm_strategies.analyst.opinion import ANSWER_BYTES

__all__ = ["CALLS_BEFORE_GIVING_UP", "ChatEndpoint", "Failure", "NoAnswerError"]

CALLS_BEFORE_GIVING_UP: Final = 3

_KEY = re.compile(r"[!-~]+")

# The client adds an organisation, a project and a description of this machine; they are nothing
# to an endpoint that the user named for one purpose. It needs the last one here itself.
_SENT_HEADERS: Final = frozenset(
    {
        "accept",
        "accept-encoding",
        "connection",
        "content-length",
        "content-type",
        "host",
        "user-agent",
        "x-stainless-raw-response",
    }
)


class Failure(Enum):
    """Why there was no answer."""

    UNREACHABLE = "unreachable"
    KEY = "key"
    MODEL = "model"
    REQUEST = "request"

    @property
    def lasts(self) -> bool:
        """Whether the next call can only fail in the same way."""
        return self in (Failure.KEY, Failure.MODEL)


class NoAnswerError(LSTMStrategiesError):
    """A call that got no answer; the message says what to do.

    Parameters
    ----------
    failure
        Of what kind.
    message
        With the endpoint and the next step, without anything the endpoint said.
    """

    def __init__(self, failure: Failure, message: str) -> None:
        super().__init__(message)
        self.failure = failure


class ChatEndpoint:
    """Asks an endpoint and returns the bytes of its answer.

    The client under it is imported and made at the first call. Redirects are not followed, and
    no proxy of the environment comes between this machine and itself. A connection is used
    once: the next bar may be hours away.

    Parameters
    ----------
    config
        Address, model, time-out and retries.

    Raises
    ------
    ConfigError
        If the package ``openai`` is missing, or the key's variable is empty or holds no key.
    """

    def __init__(self, config: AnalystConfig) -> None:
        if find_spec("openai") is None:
            raise ConfigError(
                "the analyst needs the package openai, which is not installed: "
                "pip install 'lstm-strategies[llm]'"
            )
        self._config = config
        self._prepare = _prepared_by(_key_of(config))
        self._client: Any = None

    def ask(self, request: dict[str, Any]) -> bytes:
        """Return the body of the answer, of at most a little more than `ANSWER_BYTES`.

        Parameters
        ----------
        request
            As `lstm_strategies.analyst.prompt.chat_request` makes it.

        Raises
        ------
        NoAnswerError
            If there was none, after the configured retries.
        """
        import openai

        if self._client is None:
            self._client = self._made_client()
        try:
            completions = self._client.chat.completions.with_streaming_response
            with completions.create(**request) as response:
                body, in_time = _read(response, self._config.timeout)
        # Their texts may hold what was sent or answered: only their kind is told.
        except openai.APITimeoutError:
            raise self._unreachable(f"none within {self._config.timeout:g} s") from None
        except openai.APIStatusError as error:
            raise self._refused(error.status_code) from None
        except openai.APIConnectionError:
            raise self._unreachable("no connection") from None
        except Exception as error:
            # The errors of the libraries under openai change with its releases, and an adviser
            # must not end a run.
            raise self._unreachable(f"broken off, {type(error).__name__}") from None
        if not in_time:
            raise self._unreachable(f"none whole within {self._config.timeout:g} s")
        return body

    def _made_client(self) -> Any:
        import openai

        config = self._config
        loopback = urlsplit(config.endpoint).hostname in ("localhost", "127.0.0.1", "::1")
        hooks: dict[str, list[Callable[[Any], None]]] = {
            "request": [self._prepare],
            "response": [_drop_refused_body],
        }
        return openai.OpenAI(
            base_url=config.endpoint,
            api_key="unused",  # the key goes into the request alone
            timeout=config.timeout,
            max_retries=config.retries,
            http_client=openai.DefaultHttpxClient(
                event_hooks=hooks, follow_redirects=False, trust_env=not loopback
            ),
        )

    def _unreachable(self, detail: str) -> NoAnswerError:
        return NoAnswerError(
            Failure.UNREACHABLE,
            f"no answer from {self._config.endpoint} ({detail}), so the analyst abstains: start "
            f"Ollama with `ollama serve` and fetch the model with `ollama pull "
            f"{self._config.model}`, or set another endpoint. After {CALLS_BEFORE_GIVING_UP} "
            "calls in a row without an answer this run asks no more",
        )

    def _refused(self, status: int) -> NoAnswerError:
        config = self._config
        if status in (401, 403):
            step = (
                f"set a valid key in the environment variable {config.api_key_env}"
                if config.api_key_env
                else "name the environment variable that holds a key with api_key_env"
            )
            return NoAnswerError(
                Failure.KEY,
                f"{config.endpoint} refuses the key (HTTP {status}), so the analyst abstains "
                f"for the rest of this run: {step}",
            )
        if status == 404:
            return NoAnswerError(
                Failure.MODEL,
                f"{config.endpoint} has no model {config.model} or no such path (HTTP 404), so "
                "the analyst abstains for the rest of this run: fetch it with `ollama pull "
                f"{config.model}`, or check model and endpoint, which mostly ends in /v1",
            )
        if status in (408, 409, 429) or status >= 500:
            return self._unreachable(f"HTTP {status}")
        return NoAnswerError(
            Failure.REQUEST,
            f"{config.endpoint} does not take the request (HTTP {status}), so the analyst "
            "abstains: it may know no response_format of json_schema, or live at another "
            f"address; set another endpoint or model. After {CALLS_BEFORE_GIVING_UP} calls in a "
            "row without an answer this run asks no more",
        )


def _read(response: Any, timeout: float) -> tuple[bytes, bool]:
    # The body, or the first of it where it is too long, and whether that came in time: the
    # client's own time-out is of each part, and a body may come in many.
    deadline = monotonic() + timeout
    body = b""
    for part in response.iter_bytes():
        body += part
        if len(body) > ANSWER_BYTES:
            break
        if monotonic() > deadline:
            return body, False
    return body, True


def _key_of(config: AnalystConfig) -> str:
    name = config.api_key_env
    if not name:
        return ""
    key = os.environ.get(name, "")
    if not key:
        raise ConfigError(
            f"the environment variable {name}, which api_key_env names, is not set: export it "
            "with the key, or leave api_key_env empty for an endpoint that needs none"
        )
    if not _KEY.fullmatch(key):
        raise ConfigError(
            f"the environment variable {name} holds no key: it has spaces, line breaks or "
            "letters that no key has; set it again"
        )
    return key


def _prepared_by(key: str) -> Callable[[Any], None]:
    def prepare(request: Any) -> None:
        for name in set(request.headers) - _SENT_HEADERS:
            del request.headers[name]
        request.headers["Connection"] = "close"
        # A small compressed answer could be a large one.
        request.headers["Accept-Encoding"] = "identity"
        if key:
            request.headers["Authorization"] = f"Bearer {key}"

    return prepare


def _drop_refused_body(response: Any) -> None:
    # The status says enough, and the body may be anything, of any length.
    if not response.is_success:
        response.close()
