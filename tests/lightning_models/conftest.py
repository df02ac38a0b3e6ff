"""Real candles beside the repository, for the specifications that read them."""

from __future__ import annotations

from pathlib import Path

import pytest

from lightning_models import read_candles


@pytest.fixture(scope="session")
def real_hours():
    """Read a symbol's real hourly candles by the stem of its file."""
    folder = Path(__file__).parents[2] / "../shared/data/candles/binance/1h"
    if not folder.is_dir():
        pytest.skip("no real candles: the folder shared/data is not beside the repository")
    return lambda stem: read_candles(folder / f"{stem}.parquet")
