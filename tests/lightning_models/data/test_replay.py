"""Newer slices for a fitted network: its units, and older samples in none of the slices."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lightning_models import simulate_market
from lightning_models.data import SliceConfig, cut_slices
from lightning_models.data.datamodule import CandleDataModule, DataConfig
from lightning_models.data.replay import ReplayDataModule
from lightning_models.data.targets import TripleBarrier

MARKET = simulate_market(candles=1500, symbols=("A/USDT", "B/USDT"), seed=4)
SHARES = SliceConfig(train=0.6, validation=0.15, calibration=0.15, test=0.1)


def modules(mode="window", target=None, replay=0.25):
    options = {} if target is None else {"target": target}
    config = DataConfig(
        features=("close", "volume"), lookback=8, mode=mode, chunk=32, burn_in=16, **options
    )
    period = MARKET[0].period_ms
    seen = int(MARKET[0].time[700])
    parent = CandleDataModule(config, [one.between(None, seen) for one in MARKET])
    end = int(MARKET[0].time[-1]) + period
    child = ReplayDataModule(
        config.model_copy(update={"slices": SHARES}),
        MARKET,
        slices=cut_slices(SHARES, parent.slices.unseen_from, end, parent.slices.embargo_ms),
        scaler=parent.scaler,
        older=[parent.slices.bounds("train")],
        replay=replay,
        batch_size=8 if mode == "sequence" else 64,
    )
    return parent, child


@pytest.mark.parametrize("mode", ["window", "sequence"])
def test_every_slice_begins_after_what_the_parent_has_seen(mode):
    parent, child = modules(mode)
    for name in ("train", "validation", "calibration", "test"):
        assert child.samples[name].decided.min() >= parent.slices.unseen_from
    assert child.slices.unseen_from > child.samples["calibration"].decided.max()


def test_what_is_replayed_is_what_the_parent_was_trained_on():
    parent, child = modules()
    for attribute in ("decided", "symbol"):
        older = getattr(child.older, attribute)
        assert older.tolist() == getattr(parent.samples["train"], attribute).tolist()
    np.testing.assert_array_equal(
        child.features[child.older.ends], parent.features[parent.samples["train"].ends]
    )


def test_the_scaler_is_the_parents_and_not_the_newer_candles():
    parent, child = modules()
    assert child.scaler == parent.scaler
    fitted_anew = CandleDataModule(child.config, MARKET, slices=child.slices).scaler
    assert fitted_anew != parent.scaler


def rows_with_a_loss(child):
    batches = list(child.train_dataloader())
    if child.config.mode == "sequence":
        return torch.cat([batch.target[batch.labelled] for batch in batches])
    return torch.cat([batch.target for batch in batches])


@pytest.mark.parametrize("mode", ["window", "sequence"])
def test_training_sees_older_samples_and_validation_does_not(mode):
    _, child = modules(mode)
    newer = len(child.samples["train"])
    assert newer < len(rows_with_a_loss(child)) < 1.6 * newer
    assert len(rows_with_a_loss(modules(mode, replay=0.0)[1])) == newer
    (validation,) = child.val_dataloader()
    held = sum(
        int(batch.labelled.sum()) if mode == "sequence" else len(batch.target)
        for batch in validation
    )
    assert held == len(child.samples["validation"])


def test_replayed_barrier_labels_have_their_weights():
    _, child = modules(target=TripleBarrier())
    weights = child.weights[child.older.ends]
    assert float(weights.mean()) == pytest.approx(1.0, abs=0.01)
    assert float(weights.min()) > 0.0
