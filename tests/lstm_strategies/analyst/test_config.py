"""A configuration names an endpoint and a key's variable, and never shows a secret."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from lightning_models.errors import ConfigError
from lstm_strategies.analyst import AnalystConfig

SECRET = "sk-proj-9f8e7d6c5b4a"


def test_default_is_llama_through_ollama_and_free():
    config = AnalystConfig()
    assert config.model_dump() == {
        "endpoint": "http://localhost:11434/v1",
        "model": "llama3.1",
        "api_key_env": "",
        "timeout": 30.0,
        "retries": 1,
        "temperature": 0.0,
        "max_tokens": 400,
        "price_in": 0.0,
        "price_out": 0.0,
        "seed": 0,
    }


@pytest.mark.parametrize(
    "endpoint",
    [
        "https://api.openai.com/v1",
        "http://127.0.0.1:8000",
        "http://[::1]:11434/v1",
        "http://ollama:11434/v1/",
    ],
)
def test_http_addresses_are_taken(endpoint):
    assert AnalystConfig(endpoint=endpoint).endpoint == endpoint


@pytest.mark.parametrize(
    "endpoint",
    [
        "",
        "localhost:11434/v1",
        "ftp://localhost/v1",
        "file:///etc/passwd",
        "http://",
        "http:///v1",
        "http://[::1/v1",
        "http://localhost:port/v1",
        "http://local host/v1",
        "http://localhost/v1\nHost: elsewhere",
    ],
)
def test_anything_else_is_refused_with_an_example(endpoint):
    with pytest.raises(ConfigError, match=r"is no http:// or https:// address") as caught:
        AnalystConfig(endpoint=endpoint)
    assert "http://localhost:11434/v1" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "endpoint",
    [
        f"https://me:{SECRET}@host/v1",
        f"https://{SECRET}@host/v1",
        f"https://me:p@ss{SECRET}@host/v1",
        f"https://host/v1?api_key={SECRET}",
        f"https://host/v1#{SECRET}",
        f"ftp://me:{SECRET}@host/v1",
        f"me:{SECRET}@host/v1",
        f"ftp://host/v1?key={SECRET}",
    ],
)
def test_secret_in_an_address_is_refused_and_not_shown(endpoint):
    with pytest.raises(ConfigError) as caught:
        AnalystConfig(endpoint=endpoint)
    assert SECRET not in str(caught.value)
    assert "host/v1" in str(caught.value)


@pytest.mark.parametrize(
    "given", [SECRET, "gsk_abcDEF123", "two words", "1ST", "A=B", "KEY\n", "K" * 65]
)
def test_key_in_place_of_its_variable_is_refused_and_not_shown(given):
    with pytest.raises(ConfigError, match="api_key_env is no name") as caught:
        AnalystConfig(api_key_env=given)
    assert given not in str(caught.value)
    assert AnalystConfig(api_key_env="OPENAI_API_KEY").api_key_env == "OPENAI_API_KEY"


@pytest.mark.parametrize("name", ["api_key", "key", "token", "secret", "OPENAI_API_KEY"])
def test_key_as_a_setting_is_refused_and_not_shown(name):
    with pytest.raises(ConfigError, match=f"no setting {name}") as caught:
        AnalystConfig(**{name: SECRET})
    assert SECRET not in str(caught.value)


def test_other_unknown_settings_are_refused_without_their_value():
    with pytest.raises(ValidationError, match="modle") as caught:
        AnalystConfig(modle=SECRET)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("model", ["", "two words", "x" * 201, "llama\x1b[2J"])
def test_model_that_is_no_name_is_refused(model):
    with pytest.raises(ConfigError, match="is no model's name"):
        AnalystConfig(model=model)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("timeout", 0.0),
        ("timeout", float("inf")),
        ("retries", -1),
        ("temperature", 2.5),
        ("max_tokens", 0),
        ("price_in", -1.0),
        ("price_out", float("nan")),
    ],
)
def test_numbers_out_of_range_are_refused(setting, value):
    with pytest.raises(ValidationError, match=setting):
        AnalystConfig(**{setting: value})


def test_nothing_can_be_changed_afterwards():
    with pytest.raises(ValidationError, match="frozen"):
        AnalystConfig().timeout = 1.0
