"""A data module of triple-barrier labels: purged by their own ends, weighted, with all classes."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from lightning_models import simulate_market
from lightning_models.data.datamodule import CandleDataModule, DataConfig
from lightning_models.data.slices import SLICE_NAMES
from lightning_models.data.targets import HorizonReturn, TripleBarrier, label_candles
from lightning_models.data.uniqueness import average_uniqueness
from lightning_models.errors import ConfigError
from lightning_models.features import compute_features

HOUR = 3_600_000
CANDLES = simulate_market(candles=900, symbols=("AAA/USDT", "BBB/USDT"), seed=5)
SHARES = {"train": 0.6, "validation": 0.15, "calibration": 0.1, "test": 0.15}


def config(target="triple-barrier", **changes):
    options = {
        "features": ("close", "volume"),
        "lookback": 6,
        "horizons": (3, 12),
        "slices": SHARES,
        "target": target,
    }
    return DataConfig(**options | changes)


def module(target="triple-barrier", **changes):
    return CandleDataModule(config(target, **changes), CANDLES)


@pytest.fixture(scope="module")
def data():
    return module()


def labels_of_symbol(data, position):
    one = data.candles[position]
    table = compute_features(
        one.time, one.ohlcv, features=data.config.features, timeframe="1h", market="continuous"
    )
    return label_candles(
        data.config.target,
        table.time,
        one.ohlcv[:, :4],
        table.real,
        table.volatility,
        horizons=data.horizons,
        period=HOUR,
    )


def own_rows(data, samples, position):
    """The candles, of a symbol of its own, that a slice's samples are decided on."""
    decided = samples.decided[samples.symbol == position]
    return np.searchsorted(data.candles[position].time, decided - HOUR)


@pytest.mark.parametrize("name", SLICE_NAMES)
def test_every_label_of_a_slice_is_known_before_the_slice_ends(data, name):
    start, end = data.slices.bounds(name)
    samples = data.samples[name]
    assert samples.decided.min() >= start
    for position in range(2):
        known = labels_of_symbol(data, position).end[own_rows(data, samples, position)]
        assert (known > 0).all()
        assert known.max() <= end


def test_labels_that_ended_early_are_kept_where_the_furthest_would_reach_over(data):
    _, end = data.slices.bounds("train")
    reach = 12 * HOUR
    assert (data.samples["train"].decided + reach > end).any()
    assert module("horizon-return").samples["train"].decided.max() + reach <= end


def test_purging_by_a_reach_that_is_too_short_would_leak(data):
    """The control: what the shortest horizon's reach lets through ends in the next slice."""
    labels = labels_of_symbol(data, 0)
    decided = data.candles[0].time + HOUR
    _, end = data.slices.bounds("train")
    short = data.slices.members("train", decided, decided + 3 * HOUR)
    assert (labels.end[short] > end).any()
    own = data.slices.members("train", decided, labels.end)
    assert labels.end[own].max() <= end


def test_targets_are_returns_at_the_exit_in_units_of_the_barriers(data):
    samples = data.samples["train"]
    touched = data.timed_out[samples.ends] == 0
    sizes = data.targets[samples.ends].abs()
    assert (sizes[touched] >= 1 - 1e-5).all()
    assert (sizes[~touched] < 1).all()
    labels = labels_of_symbol(data, 1)
    rows = own_rows(data, samples, 1)
    mine = samples.ends[samples.symbol == 1]
    np.testing.assert_allclose(data.returns[mine], labels.returns[rows], rtol=1e-6)
    np.testing.assert_array_equal(
        data.timed_out[mine].numpy(), (labels.outcome[rows] == 0).astype(np.float32)
    )


def test_weights_are_each_symbols_own_uniqueness_one_on_average(data):
    samples = data.samples["train"]
    weights = data.weights[samples.ends].numpy()
    np.testing.assert_allclose(weights.mean(axis=0), 1.0, rtol=1e-5)
    unique = np.concatenate(
        [
            average_uniqueness(rows + 1, labels_of_symbol(data, position).exit[rows, 1])
            for position in range(2)
            for rows in [own_rows(data, samples, position)]
        ]
    )
    np.testing.assert_allclose(weights[:, 1], unique / unique.mean(), rtol=1e-5)
    assert weights[:, 1].std() > 0.05


def test_effective_samples_are_fewer_by_about_how_long_labels_live(data):
    samples = len(data.samples["train"])
    assert samples / 12 < data.effective_samples["train"] < samples / 3


def test_without_weights_all_labels_count_alike():
    data = module({"name": "triple-barrier", "weights": "none"})
    assert data.weights is None
    assert next(iter(data.loader("train"))).weight is None
    assert data.effective_samples["train"] > 0


def test_the_horizons_return_has_neither_weights_nor_time_outs():
    data = module("horizon-return")
    batch = next(iter(data.loader("train")))
    assert (batch.weight, batch.timed_out, data.effective_samples) == (None, None, {})


def test_windows_come_with_the_weights_and_time_outs_of_their_own_rows(data):
    batch = next(iter(data.loader("validation")))
    ends = torch.from_numpy(data.samples["validation"].ends[: len(batch.window)])
    torch.testing.assert_close(batch.weight, data.weights[ends])
    torch.testing.assert_close(batch.timed_out, data.timed_out[ends])


def test_chunks_come_with_the_weights_and_time_outs_of_their_own_steps():
    data = module(mode="sequence", chunk=32, burn_in=8)
    seen = [
        torch.cat([part[batch.labelled] for part in (batch.weight, batch.timed_out)], dim=1)
        for batch in data.loader("train")
    ]
    ends = torch.from_numpy(data.samples["train"].ends)
    expected = torch.cat([data.weights[ends], data.timed_out[ends]], dim=1)
    torch.testing.assert_close(torch.cat(seen), expected)


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (
            {"upper": 40},
            r"none of the \d+ labels of the train slice touch the upper barrier over 3",
        ),
        ({"lower": 40}, r"train slice touch the lower barrier over 3h: lower data.target.lower"),
        ({"upper": 1e-3, "lower": 1e-3, "both": "lower"}, r"train slice time out over 3h: raise"),
    ],
)
def test_a_class_that_never_occurs_is_named_with_its_slice(target, words):
    with pytest.raises(ConfigError, match=words):
        module({"name": "triple-barrier", **target})


def test_a_test_slice_without_a_class_is_only_warned_of(caplog):
    calm = simulate_market(candles=900, seed=5)[0]
    prices = calm.ohlcv.copy()
    cut = 770
    prices[cut:, :4] = prices[cut - 1, 3]
    flat = type(calm)(symbol="A/B", timeframe="1h", market="continuous", time=calm.time,
                      ohlcv=prices)  # fmt: skip
    with caplog.at_level(logging.WARNING):
        CandleDataModule(config(horizons=(3,)), [flat])
    assert "labels of the test slice touch the upper barrier" in caplog.text


def test_candles_that_touch_both_barriers_are_counted_in_the_log(caplog):
    with caplog.at_level(logging.INFO, logger="lightning_models.data.barrier_samples"):
        module({"name": "triple-barrier", "upper": 0.6, "lower": 0.6})
    assert "reaches both barriers" in caplog.text


@pytest.mark.parametrize(
    "wrong",
    [
        {"upper": 0},
        {"lower": -1},
        {"upper": float("inf")},
        {"lower": float("nan")},
        {"both": "first"},
        {"weights": "time"},
        {"widht": 1},
        {"name": "four-barriers"},
    ],
)
def test_what_cannot_be_meant_is_refused(wrong):
    with pytest.raises(ValidationError):
        config({"name": "triple-barrier", **wrong})


def test_a_target_may_be_given_by_its_name_alone():
    assert config("triple-barrier").target == TripleBarrier()
    assert DataConfig(features=("close",)).target == HorizonReturn()


def test_the_default_target_leaves_a_written_configuration_as_it_was():
    assert "target" not in config("horizon-return").model_dump()
    chosen = config(TripleBarrier(upper=2)).model_dump()
    assert chosen["target"]["upper"] == 2
    assert DataConfig.model_validate(chosen).target == TripleBarrier(upper=2)
