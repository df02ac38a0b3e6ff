"""Walk-forwards of a tiny network over two symbols, in window and in sequence mode."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import mlflow
import pytest

from experiments.config import TrainConfig
from experiments.walk_forward import WalkForwardConfig, WalkForwardResult, plan_folds, walk_forward
from lightning_models import load_predictor, simulate_market

if TYPE_CHECKING:
    from experiments.walk_forward import Fold
    from lightning_models.candles import Candles
    from lightning_models.forecast_series import ForecastSeries
    from lightning_models.home import Home

LISTED_LATER = 300


@dataclass(frozen=True)
class Walked:
    """A walk-forward that was run, shared by all tests: nobody may change its home."""

    home: Home
    config: TrainConfig
    walk: WalkForwardConfig
    candles: tuple[Candles, ...]
    result: WalkForwardResult

    @property
    def folds(self) -> tuple[Fold, ...]:
        return plan_folds(self.walk, self.config.data, self.candles)

    def series(self) -> ForecastSeries:
        return load_predictor(self.result.model, home=self.home)


@pytest.fixture(scope="session")
def two_symbols() -> tuple[Candles, ...]:
    """SIM/USDT, and ALT/USDT that was listed later, sorted."""
    sim, alt = simulate_market(candles=1700, symbols=("SIM/USDT", "ALT/USDT"), seed=1, signal=0.5)
    return alt.between(int(alt.time[LISTED_LATER]), None), sim


@pytest.fixture(scope="session")
def stream_config(tiny_config: TrainConfig) -> TrainConfig:
    """The tiny network in sequence mode."""
    settings = tiny_config.model_dump()
    settings["data"] |= {"mode": "sequence", "chunk": 64, "burn_in": 16}
    settings["training"] |= {"batch_size": 8}
    return TrainConfig.model_validate(settings)


@pytest.fixture(scope="session")
def walked(tiny_config, two_symbols, empty_home) -> Walked:
    """Three anchored folds of windows."""
    return _walked(tiny_config, WalkForwardConfig(folds=3), two_symbols, empty_home())


@pytest.fixture(scope="session")
def walked_stream(stream_config, two_symbols, empty_home) -> Walked:
    """Two rolling folds of a network that carries its state."""
    walk = WalkForwardConfig(folds=2, scheme="rolling", embargo=3)
    return _walked(stream_config, walk, two_symbols, empty_home())


@pytest.fixture(params=["window", pytest.param("sequence", marks=pytest.mark.soak)])
def walked_either(request) -> Walked:
    """Each of the two."""
    return request.getfixturevalue("walked" if request.param == "window" else "walked_stream")


def _walked(config, walk, candles, home):
    # In the other order than sorted: the result must not depend on it.
    result = walk_forward(config, walk, candles[::-1], name="walked", home=home)
    mlflow.set_tracking_uri(None)
    mlflow.set_registry_uri(None)
    return Walked(home, config, walk, candles, result)
