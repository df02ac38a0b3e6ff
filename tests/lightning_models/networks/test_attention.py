"""Attention: weights that sum to one and find the candle that matters."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from lightning_models.networks import ForecastNetwork
from lightning_models.networks.attention import AttentionConfig, AttentionTrunk

STEPS = 12


def trunk_of(**changes):
    torch.manual_seed(0)
    config = AttentionConfig(**({"hidden_size": 6, "layers": 1, "attention_size": 5} | changes))
    return AttentionTrunk(config, 2)


def planted(count, seed):
    """Windows of noise in which one step is marked; its value alone decides the direction."""
    random = torch.Generator().manual_seed(seed)
    value = torch.randn(count, STEPS, generator=random)
    row = torch.randint(0, STEPS, (count,), generator=random)
    mark = functional.one_hot(row, STEPS).float()
    return torch.stack([value, mark], dim=-1), (value * mark).sum(dim=1, keepdim=True), row


@pytest.fixture(scope="module")
def trained():
    """A network that was shown the marked steps."""
    torch.manual_seed(0)
    network = ForecastNetwork(trunk_of(hidden_size=8, dropout=0.0), horizons=1)
    optimiser = torch.optim.Adam(network.parameters(), lr=0.02)
    for epoch in range(120):
        window, target, _ = planted(128, seed=epoch)
        optimiser.zero_grad()
        network.loss(network(window), target).direction.backward()
        optimiser.step()
    return network.eval().requires_grad_(False)


@given(
    steps=st.integers(1, 40),
    scale=st.sampled_from([0.0, 1.0, 100.0]),
    training=st.booleans(),
)
def test_weights_are_shares_of_the_window(steps, scale, training):
    window = scale * torch.randn(3, steps, 2, generator=torch.Generator().manual_seed(1))
    weights = trunk_of().train(training).attention(window)
    assert weights.shape == (3, steps)
    assert (weights > 0).all()
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(3))


def test_weights_are_those_that_the_forecast_is_made_of():
    trunk, (window, _, _) = trunk_of().eval(), planted(5, seed=1)
    read, _ = trunk.lstm(window)
    mean = torch.einsum("bt,bth->bh", trunk.attention(window), read)
    torch.testing.assert_close(trunk(window), mean)


def test_after_training_the_planted_step_gets_the_weight(trained):
    window, target, row = planted(400, seed=10_000)
    weights = trained.trunk.attention(window)
    on_planted = weights.gather(1, row[:, None])
    assert ((trained(window).logits > 0) == (target > 0)).float().mean() > 0.9
    assert float(on_planted.mean()) > 0.9
    assert (weights.argmax(dim=1) == row).float().mean() > 0.9


def test_before_training_it_does_not():
    fresh = ForecastNetwork(trunk_of(hidden_size=8, dropout=0.0), horizons=1).eval()
    fresh.requires_grad_(False)
    window, _, row = planted(400, seed=10_000)
    on_planted = fresh.trunk.attention(window).gather(1, row[:, None])
    assert float(on_planted.mean()) < 2 / STEPS


def test_without_the_mark_there_is_no_step_to_find(trained):
    window, _, row = planted(400, seed=10_000)
    window[..., 1] = 0.0
    weights = trained.trunk.attention(window)
    assert (weights.argmax(dim=1) == row).float().mean() < 2 / STEPS
