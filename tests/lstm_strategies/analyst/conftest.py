"""A chat endpoint on loopback, and facts to ask about."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

_spec = importlib.util.spec_from_file_location(
    "chat_server", Path(__file__).with_name("chat_server.py")
)
chat_server = importlib.util.module_from_spec(_spec)
sys.modules["chat_server"] = chat_server
_spec.loader.exec_module(chat_server)

from lstm_strategies.analyst import AnalystConfig, market_facts  # noqa: E402

NOON = 1_700_006_400_000


@pytest.fixture
def chat():
    server = chat_server.ChatServer()
    yield server
    server.stop()


@pytest.fixture
def config_of(chat):
    """Return a configuration that asks the server, impatient and without retries."""

    def make(**settings):
        return AnalystConfig(
            **{"endpoint": chat.endpoint, "timeout": 5.0, "retries": 0, **settings}
        )

    return make


@pytest.fixture
def rows():
    """Return ``T`` candles of a random walk."""

    def make(count=100, seed=1):
        generator = np.random.default_rng(seed)
        close = 100.0 * np.exp(np.cumsum(generator.normal(0.0, 0.01, count)))
        opened = np.concatenate([[100.0], close[:-1]])
        spread = 0.3 + generator.random(count)
        return np.column_stack(
            [
                opened,
                np.maximum(opened, close) + spread,
                np.minimum(opened, close) - spread,
                close,
                10.0 + generator.random(count),
            ]
        )

    return make


@pytest.fixture
def facts_of(rows):
    """Return the facts of one of many bars."""

    def make(bar=0, **given):
        market = rows(200 + bar)
        return market_facts(given.pop("symbol", "BTC/USDT"), "6h", NOON + bar, market, **given)

    return make
