"""Results on random walks, for the reports to tell of."""

from __future__ import annotations

import pytest

from tests.experiments.report.made import Made, made_up


@pytest.fixture(scope="session")
def make():
    """Make up a backtest; give the number of candles, trades and so on."""
    return made_up


@pytest.fixture(scope="session")
def made() -> Made:
    """Give an ordinary backtest."""
    return made_up()
