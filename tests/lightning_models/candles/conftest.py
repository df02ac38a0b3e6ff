"""The real candles that some specifications of this folder read."""

from __future__ import annotations

from pathlib import Path

import pytest

REAL = Path(__file__).parents[3] / "../shared/data"


@pytest.fixture(scope="session")
def real_data() -> Path:
    if not REAL.is_dir():
        pytest.skip("real candles are not beside the repository (shared/data)")
    return REAL
