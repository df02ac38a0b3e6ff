"""Scaling knows train rows only, pooled over symbols."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from lightning_models.data import Scaler, ScalerFit


@given(sizes=st.lists(st.integers(0, 40), min_size=1, max_size=5), seed=st.integers(0, 100))
def test_gathering_by_symbol_equals_one_fit_over_all_rows(sizes, seed):
    rng = np.random.default_rng(seed)
    parts = [rng.normal(3.0, 2.0, size=(size, 2)) for size in sizes]
    fit = ScalerFit(2)
    for part in parts:
        fit.add(part)
    rows = np.concatenate(parts)
    if len(rows) < 2:
        return
    scaler = fit.scaler()
    np.testing.assert_allclose(scaler.mean, rows.mean(axis=0))
    np.testing.assert_allclose(scaler.deviation, rows.std(axis=0))


def test_a_feature_that_never_moves_is_not_blown_up():
    fit = ScalerFit(1)
    fit.add(np.full((50, 1), 0.25))
    scaler = fit.scaler()
    assert scaler.deviation == (1.0,)
    assert scaler.transform(np.array([[0.25]])).tolist() == [[0.0]]


def test_a_broken_candle_cannot_push_a_network_far():
    scaler = Scaler(mean=(0.0,), deviation=(1.0,))
    assert scaler.transform(np.array([[1e9], [-1e9]])).ravel().tolist() == [10.0, -10.0]


@given(values=st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=20))
def test_training_and_forecasting_scale_alike(values):
    scaler = Scaler(mean=(0.5,), deviation=(20.0,))
    column = np.array(values)[:, None]
    in_place = column.astype(np.float32)
    scaler.transform_in_place(in_place)
    np.testing.assert_allclose(in_place, scaler.transform(column), atol=1e-5)


@pytest.mark.parametrize(("mean", "deviation"), [((0.0,), (1.0, 1.0)), ((0.0,), (0.0,))])
def test_a_scaler_that_does_not_fit_together_is_refused(mean, deviation):
    with pytest.raises(ValidationError, match="one positive deviation for each mean"):
        Scaler(mean=mean, deviation=deviation)
