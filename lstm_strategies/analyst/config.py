"""Which language model is asked, where, and on what terms."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import SplitResult, urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from lightning_models.errors import ConfigError

__all__ = ["AnalystConfig"]

# Most keys have small letters: one that was put where its variable's name belongs is refused.
_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]{0,63}")
_PRINTABLE = re.compile(r"[!-~]{1,200}")
_SECRET = re.compile(r"key|token|secret|password", re.I)
_EXAMPLE = "http://localhost:11434/v1"

# ConfigError and not ValueError below: pydantic would put the value, which may be a key, into
# its own error.


class AnalystConfig(BaseModel):
    """A chat endpoint that speaks OpenAI's protocol; by default Llama 3.1 through Ollama.

    The key of an endpoint that wants one stays in the environment: here is only the name of
    its variable.

    Parameters
    ----------
    endpoint
        Address up to and with the version, ``http`` or ``https``, without a user, a password
        or a query.
    model
        As the endpoint calls it.
    api_key_env
        Name of the environment variable that holds the key, capital letters; empty where none
        is needed, and then none is sent.
    timeout
        Seconds an attempt may take to connect, to begin its answer, and to finish it, each.
    retries
        Further attempts after a time-out, a lost connection, or an answer of 408, 409, 429 or
        5xx. The wait before each doubles from half a second; where the endpoint says how long
        to wait, that counts, up to two minutes.
    temperature
        Of the sampling, from 0 to 2; 0 is the most repeatable.
    max_tokens
        Longest answer; one that was cut off counts for nothing.
    price_in, price_out
        Of a million tokens read and written, quote currency.
    seed
        Of the sampling, for endpoints that heed it.

    Raises
    ------
    ConfigError
        If the endpoint, the model or the variable's name cannot be one, or a key was given in
        place of its variable's name. The message shows neither keys nor passwords.

    Examples
    --------
    >>> AnalystConfig().endpoint
    'http://localhost:11434/v1'
    >>> AnalystConfig(endpoint="localhost:11434")
    Traceback (most recent call last):
    lightning_models.errors.ConfigError: endpoint='localhost:11434' is no http:// or https:// \
address: give one such as http://localhost:11434/v1
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, hide_input_in_errors=True
    )

    endpoint: str = _EXAMPLE
    model: str = "llama3.1"
    api_key_env: str = ""
    timeout: Annotated[float, Field(gt=0.0, le=600.0)] = 30.0
    retries: Annotated[int, Field(ge=0, le=10)] = 1
    temperature: Annotated[float, Field(ge=0.0, le=2.0)] = 0.0
    max_tokens: Annotated[int, Field(ge=1, le=100_000)] = 400
    price_in: Annotated[float, Field(ge=0.0)] = 0.0
    price_out: Annotated[float, Field(ge=0.0)] = 0.0
    seed: int = 0

    @model_validator(mode="before")
    @classmethod
    def _refuse_secrets(cls, given: Any) -> Any:
        if isinstance(given, Mapping):
            for name in given:
                if name not in cls.model_fields and _SECRET.search(str(name)):
                    raise ConfigError(
                        f"the analyst has no setting {name}: put the key into an environment "
                        "variable and its name into api_key_env, such as "
                        "api_key_env=OPENAI_API_KEY"
                    )
        return given

    @field_validator("endpoint")
    @classmethod
    def _check_endpoint(cls, endpoint: str) -> str:
        try:
            parts = urlsplit(endpoint)
            known = parts.scheme in ("http", "https") and bool(parts.hostname)
            _ = parts.port  # raises where it is no number
        except ValueError:
            known = False
        if not known or not _PRINTABLE.fullmatch(endpoint):
            raise ConfigError(
                f"endpoint={_without_user(endpoint)!r} is no http:// or https:// address: give "
                f"one such as {_EXAMPLE}"
            )
        if "@" in parts.netloc or parts.query or parts.fragment:
            raise ConfigError(
                f"endpoint={_place(parts)!r} was given with a user, a password or a query, "
                "which would be shown and stored: put a key into an environment variable and "
                "its name into api_key_env"
            )
        return endpoint

    @field_validator("model")
    @classmethod
    def _check_model(cls, model: str) -> str:
        if not _PRINTABLE.fullmatch(model):
            raise ConfigError(
                f"model={model[:200]!r} is no model's name: give one without spaces, such as "
                "llama3.1"
            )
        return model

    @field_validator("api_key_env")
    @classmethod
    def _check_variable(cls, name: str) -> str:
        if name and not _VARIABLE.fullmatch(name):
            # What was given may be the key itself.
            raise ConfigError(
                "api_key_env is no name of an environment variable in capital letters (what was "
                "given is not shown, as it may be a key): give a name such as OPENAI_API_KEY, "
                "and the key in that variable"
            )
        return name


def _without_user(endpoint: str) -> str:
    # Whatever stands before the last @ may be a password, encoded or not.
    before, at, after = endpoint[:200].rpartition("@")
    scheme, slashes, _ = before.partition("://")
    hidden = f"{scheme}{slashes}***@{after}" if slashes else f"***@{after}"
    return (hidden if at else after).partition("?")[0]


def _place(parts: SplitResult) -> str:
    port = "" if parts.port is None else f":{parts.port}"
    return f"{parts.scheme}://{parts.hostname}{port}{parts.path}"
