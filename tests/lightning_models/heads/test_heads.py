"""Heads: quantiles in order, losses that mean what they say."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lightning_models.heads import QUANTILES, ChangeHead, DirectionHead


@given(
    seed=st.integers(0, 1000),
    scale=st.sampled_from([1e-3, 1.0, 1e3]),
    horizons=st.integers(1, 4),
)
def test_quantiles_never_cross(seed, scale, horizons):
    torch.manual_seed(seed)
    head = ChangeHead(6, horizons)
    with torch.no_grad():
        for weight in head.parameters():
            weight.mul_(scale)
    quantiles = head(scale * torch.randn(20, 6))
    assert quantiles.shape == (20, horizons, 3)
    assert (quantiles.diff(dim=-1) >= 0).all()


def test_three_free_outputs_would_cross():
    torch.manual_seed(0)
    free = torch.nn.Linear(6, 3)(torch.randn(20, 6))
    assert (free.diff(dim=-1) < 0).any()


def test_the_pinball_loss_is_least_at_the_quantiles():
    target = torch.randn(20_000, generator=torch.Generator().manual_seed(0)).unsqueeze(-1)
    truth = torch.tensor(np.quantile(target.numpy(), QUANTILES), dtype=torch.float32)
    head = ChangeHead(1, 1)
    least = head.loss(truth.expand(20_000, 1, 3), target)
    for position in range(3):
        for shift in (-0.2, -0.05, 0.05, 0.2):
            moved = truth.clone()
            moved[position] += shift
            assert head.loss(moved.expand(20_000, 1, 3), target) > least


def test_the_pinball_loss_is_that_of_koenker_and_bassett():
    head = ChangeHead(1, 1)
    quantiles = torch.tensor([[[-1.0, 0.0, 1.0]]])
    above, below = (
        head.loss(quantiles, torch.tensor([[2.0]])),
        head.loss(quantiles, torch.tensor([[-2.0]])),
    )
    assert float(above) == pytest.approx((0.1 * 3 + 0.5 * 2 + 0.9 * 1) / 3)
    assert float(below) == pytest.approx((0.9 * 1 + 0.5 * 2 + 0.1 * 3) / 3)


def test_bounds_start_where_those_of_a_normal_lie():
    head = ChangeHead(4, 2)
    quantiles = head(torch.zeros(1, 4))[0, 1]
    assert quantiles.tolist() == pytest.approx([-1.28, 0.0, 1.28], abs=1e-4)


def test_the_direction_loss_is_the_cross_entropy():
    head = DirectionHead(1, 1)
    logits = torch.tensor([[2.0], [2.0]])
    loss = head.loss(logits, torch.tensor([[0.3], [-0.3]]))
    up = 1 / (1 + np.exp(-2.0))
    assert float(loss) == pytest.approx(-(np.log(up) + np.log(1 - up)) / 2, abs=1e-6)


@given(zeros=st.integers(0, 10))
def test_returns_of_exactly_zero_take_no_part_in_the_direction(zeros):
    head = DirectionHead(1, 1)
    logits = torch.linspace(-2, 2, 5).unsqueeze(-1)
    target = torch.tensor([0.1, -0.2, 0.3, -0.4, 0.5]).unsqueeze(-1)
    more_logits = torch.cat([logits, torch.full((zeros, 1), 5.0)])
    more_target = torch.cat([target, torch.zeros(zeros, 1)])
    torch.testing.assert_close(head.loss(more_logits, more_target), head.loss(logits, target))


def test_taken_for_falls_they_would_count():
    head = DirectionHead(1, 1)
    logits = torch.full((2, 1), 5.0)
    target = torch.tensor([[0.1], [0.0]])
    as_a_fall = torch.tensor([[0.1], [-1e-9]])
    assert head.loss(logits, as_a_fall) > head.loss(logits, target) + 1


def test_a_batch_in_which_nothing_moved_has_no_direction_loss():
    head = DirectionHead(1, 1)
    logits = torch.full((3, 1), 5.0, requires_grad=True)
    loss = head.loss(logits, torch.zeros(3, 1))
    loss.backward()
    assert float(loss.detach()) == 0.0
    assert logits.grad.abs().sum() == 0
