"""Outcomes whose spread drifts, models with bounds on two horizons, candles to feed them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest

from lightning_models import load_predictor, simulate_market
from lightning_models.bundle import write_bundle
from lightning_models.data.datamodule import CandleDataModule, DataConfig
from lightning_models.export import export_bundle
from lightning_models.forecast import LEVELS
from lightning_models.intervals import AdaptiveSettings, AdaptiveState, bounds_of, fit_intervals
from lightning_models.networks import build_network
from lightning_models.networks.multi_layer import MultiLayerConfig

UNIT = 0.01
BARS = 2000


@dataclass
class Walked:
    """Bounds in order of time and what followed, both in units of trailing volatility."""

    bounds: np.ndarray
    outcome: np.ndarray
    capped: np.ndarray
    alphas: np.ndarray

    def coverage(self):
        inside = (self.bounds[:, :, 0] <= self.outcome[:, None]) & (
            self.outcome[:, None] <= self.bounds[:, :, 1]
        )
        return inside.mean(axis=0)


@dataclass
class Drifting:
    """Forecasts that never change of a market that does; a bar is flat but for its return.

    `returns` is ``[T]``, of one bar from open to close, over trailing volatility.
    """

    calibration: np.ndarray
    returns: np.ndarray
    candles: int = 1

    @property
    def quantiles(self):
        reach = UNIT * np.sqrt(self.candles)
        return [-1.2 * reach, 0.0, 1.2 * reach]

    @property
    def closes(self):
        return np.cumprod(1.0 + UNIT * self.returns)

    @property
    def opens(self):
        return np.concatenate([[1.0], self.closes[:-1]])

    def outcomes(self):
        """Return the return from the next open to the close `candles` later, by row."""
        rows = np.arange(len(self.returns) - self.candles)
        return self.closes[rows + self.candles] / self.opens[rows + 1] - 1.0

    def intervals(self):
        reach = np.sqrt(self.candles)
        quantiles = np.tile([-1.2, 0.0, 1.2], (len(self.calibration), 1, 1))
        return fit_intervals(quantiles, self.calibration[:, None] / reach)

    def adaptive(self, settings=None):
        state = AdaptiveState(
            self.intervals().scores[0],
            candles=self.candles,
            settings=settings or AdaptiveSettings(),
        )
        unit = UNIT * np.sqrt(self.candles)
        issued = [
            state.step(row, opened, closed, self.quantiles, unit, learns=True)
            for row, (opened, closed) in enumerate(zip(self.opens, self.closes, strict=True))
        ]
        return self._walked(
            np.array([one.bounds for one in issued]),
            np.array([one.capped for one in issued]),
            np.array([one.alphas for one in issued]),
        )

    def split(self):
        unit = UNIT * np.sqrt(self.candles)
        offsets = np.array(self.intervals().offsets[0])
        bounds = bounds_of(np.array(self.quantiles), np.array(unit), offsets)
        shape = (len(self.returns), len(LEVELS))
        return self._walked(np.tile(bounds, (shape[0], 1, 1)), np.zeros(shape), np.zeros(shape))

    def _walked(self, bounds, capped, alphas):
        outcome = self.outcomes()
        return Walked(bounds[: len(outcome)], outcome, capped, alphas)


def _drifting(kind, *, candles=1, seed=0, bars=BARS):
    random = np.random.default_rng(seed)
    spread = {
        "grows": np.linspace(1.0, 2.5, bars),
        "shrinks": np.linspace(1.0, 0.4, bars),
        "jumps": np.where(np.arange(bars) < bars // 2, 1.0, 2.0),
        "swings": 1.5 + 0.9 * np.sin(np.arange(bars) / 150.0),
        "stays": np.ones(bars),
    }[kind]
    steps = random.standard_t(5, 500 + candles) * np.sqrt(3 / 5)
    calibration = np.convolve(steps, np.ones(candles), "valid")[:500]
    returns = random.standard_t(5, bars + candles) * np.sqrt(3 / 5)
    spread = np.concatenate([spread, np.full(candles, spread[-1])])
    return Drifting(calibration, returns * spread, candles)


@pytest.fixture(scope="session")
def drifting():
    """Make outcomes whose spread grows, shrinks, jumps, swings or stays, over 2,000 bars."""
    return _drifting


@pytest.fixture(scope="session")
def bounded(tmp_path_factory):
    """A model of two horizons with weights as they were drawn, and its folder."""
    config = DataConfig(features=("close", "volume"), lookback=6, horizons=(1, "4h"))
    data = CandleDataModule(config, simulate_market(candles=1500, seed=21))
    network_config = MultiLayerConfig(hidden_size=4, layers=1)
    network = build_network(network_config, features=2, horizons=2).eval()
    bundle = export_bundle(network, network_config, data)
    folder = write_bundle(tmp_path_factory.mktemp("bounded") / "model", bundle, network)
    return load_predictor(folder)


@pytest.fixture(scope="session")
def market():
    """1,800 hours that begin like those `bounded` was calibrated on, with two holes."""
    candles = simulate_market(candles=1800, seed=21)[0]
    keep = np.setdiff1d(np.arange(len(candles)), [1460, 1600, 1601])
    return replace(
        candles, time=candles.time[keep], ohlcv=candles.ohlcv[keep], incomplete=np.zeros(0, bool)
    )
