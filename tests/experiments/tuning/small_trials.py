"""Studies and candidates so small that a fold is fitted in less than a second."""

from __future__ import annotations

from functools import cache
from typing import Any

from experiments.presets import load_train_config
from experiments.tuning.candidate import Candidate, StartingPoint
from experiments.tuning.config import StudyConfig
from lightning_models import simulate_market
from lightning_models.candles import Candles

SMALL_SLICES = "{train: 0.5, validation: 0.15, calibration: 0.15, test: 0.2}"
EPOCHS = 3

COMMON = ["data.features=[close, volume]", "data.lookback=6", f"data.slices={SMALL_SLICES}"]
REGRESSION = ("logistic-regression", *COMMON)
NETWORK = (
    "quickstart",
    *COMMON,
    "network.hidden_size=4",
    "network.dropout=0",
    "training.batch_size=32",
    f"training.epochs={EPOCHS}",
    "training.patience=0",
    "training.learning_rate=0.02",
)


@cache
def small_market(
    candles: int = 420, symbols: tuple[str, ...] = ("SIM/USDT",), seed: int = 4
) -> tuple[Candles, ...]:
    """Hourly candles with a planted signal that any model finds, sorted by symbol."""
    made = simulate_market(candles=candles, symbols=symbols, seed=seed, signal=0.7)
    return tuple(sorted(made, key=lambda one: one.symbol))


def small_study(objective: Any = "log_loss", folds: int = 3, **changes: Any) -> StudyConfig:
    """A study of forecasts by a metric's name, or of whatever objective is given."""
    if isinstance(objective, str):
        objective = {"kind": "forecast", "metric": objective}
    content = {
        "name": "small",
        "preset": "quickstart",
        "space": {"data.lookback": [6, 8]},
        "objective": objective,
        "walk_forward": {"folds": folds},
    }
    return StudyConfig.model_validate(content | changes)


def small_candidate(
    model: tuple[str, ...] = REGRESSION,
    *settings: str,
    backtest: dict[str, Any] | None = None,
) -> Candidate:
    """One of `REGRESSION` or `NETWORK` with settings laid over it."""
    preset, *own = model
    train = load_train_config(preset, [*own, *settings])
    return StartingPoint(train, backtest).with_values({}, origin="a test")
