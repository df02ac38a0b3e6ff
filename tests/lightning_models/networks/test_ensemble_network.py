"""The ensemble's network: what its members are given, and how what they say is joined."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from lightning_models.calibration import DirectionCalibration
from lightning_models.networks import NetworkConfig, build_network
from lightning_models.networks.ensemble import EnsembleConfig
from lightning_models.timeouts import TimeoutCalibration

SMALL = {"kind": "multi-layer", "hidden_size": 4, "layers": 1, "dropout": 0.0}
MEMBERS = [
    {"name": "wide", "network": SMALL},
    {"name": "narrow", "network": SMALL, "features": ["close"], "lookback": 3},
]


def config_of(members=MEMBERS):
    return TypeAdapter(NetworkConfig).validate_python({"kind": "ensemble", "members": members})


def ensemble_of(members=MEMBERS, *, horizons=2, target="horizon-return", seed=0):
    torch.manual_seed(seed)
    config = config_of(members)
    return build_network(config, features=3, horizons=horizons, target=target).eval()


def windows(seed=1, rows=5):
    return torch.randn(rows, 8, 3, generator=torch.Generator().manual_seed(seed))


def said(network, window):
    with torch.inference_mode():
        return network(window)


def test_the_configuration_survives_json():
    config = config_of()
    again = TypeAdapter(NetworkConfig).validate_json(config.model_dump_json())
    assert again == config
    assert isinstance(config, EnsembleConfig)


@pytest.mark.parametrize(
    ("members", "words"),
    [
        (MEMBERS[:1], "at least 2"),
        ([MEMBERS[0], MEMBERS[0]], "'wide' is there twice"),
        ([{"name": "a", "network": {"kind": "mutli-layer"}}, MEMBERS[0]], "multi-layer"),
        ([{"name": "a", "network": {**SMALL, "units": 3}}, MEMBERS[0]], "units: Extra inputs"),
        ([{"name": "a", "network": SMALL, "weight": 1}, MEMBERS[0]], "weight"),
    ],
)
def test_a_configuration_that_cannot_be_meant_is_refused(members, words):
    with pytest.raises(ValidationError, match=words):
        config_of(members)


def test_it_says_the_weighted_mean_of_calibrated_logits_and_of_quantiles():
    network = ensemble_of()
    weights = torch.tensor([0.8, 0.2])
    network.weights.copy_(weights)
    network.members[1].temperature.copy_(torch.tensor([2.0, 0.5]))
    network.members[1].bias.copy_(torch.tensor([0.1, -0.2]))
    window = windows()
    joined = said(network, window)
    wide = said(network.members[0].network, window.clamp(-10, 10))
    narrow = said(network.members[1].network, window[:, -3:, :1].clamp(-10, 10))
    logits = narrow.logits / torch.tensor([2.0, 0.5]) + torch.tensor([0.1, -0.2])
    torch.testing.assert_close(joined.logits, 0.8 * wide.logits + 0.2 * logits)
    torch.testing.assert_close(joined.quantiles, 0.8 * wide.quantiles + 0.2 * narrow.quantiles)
    plain = 0.8 * wide.logits + 0.2 * narrow.logits
    assert not torch.allclose(joined.logits, plain), "calibration would not have shown"


@given(
    weight=st.floats(0, 1),
    scale=st.floats(0.1, 20),
    seed=st.integers(0, 10_000),
)
def test_quantiles_never_cross(weight, scale, seed):
    network = ensemble_of(seed=seed)
    network.weights.copy_(torch.tensor([weight, 1.0 - weight]))
    quantiles = said(network, scale * windows(seed)).quantiles
    assert (quantiles.diff(dim=-1) >= -1e-6).all()


def test_a_member_reads_its_own_features_and_rows_alone():
    network = ensemble_of()
    network.weights.copy_(torch.tensor([0.0, 1.0]))
    window = windows()
    other = window.clone()
    other[:, :, 1:] += 3.0
    other[:, :5] -= 3.0
    assert torch.equal(said(network, window).logits, said(network, other).logits)
    network.weights.copy_(torch.tensor([1.0, 0.0]))
    assert not torch.equal(said(network, window).logits, said(network, other).logits)


def test_features_are_scaled_and_clipped_as_the_member_was_used_to():
    network = ensemble_of()
    alone = build_network(config_of().members[1].network, features=1, horizons=2).eval()
    network.members[1].take(
        alone,
        columns=[2],
        scale=[0.5],
        shift=[1.0],
        calibration=[DirectionCalibration(temperature=3.0, bias=0.2), DirectionCalibration()],
    )
    network.weights.copy_(torch.tensor([0.0, 1.0]))
    window = windows()
    window[0, -1, 2] = 1e6
    own = (0.5 * window[:, -3:, 2:] + 1.0).clamp(-10.0, 10.0)
    expected = said(alone, own)
    found = said(network, window)
    torch.testing.assert_close(found.logits[:, 0], expected.logits[:, 0] / 3.0 + 0.2)
    torch.testing.assert_close(found.quantiles, expected.quantiles)
    unclipped = said(alone, 0.5 * window[:, -3:, 2:] + 1.0)
    assert not torch.allclose(found.quantiles[0], unclipped.quantiles[0])


def test_time_outs_are_joined_after_their_own_calibration():
    network = ensemble_of(target="triple-barrier")
    rate, slope, shift = 0.2, 0.5, 0.3
    member = network.members[0]
    member.take(
        build_network(
            config_of().members[0].network, features=3, horizons=2, target="triple-barrier"
        ),
        columns=[0, 1, 2],
        scale=np.ones(3),
        shift=np.zeros(3),
        calibration=[DirectionCalibration()] * 2,
        timeouts=[TimeoutCalibration(rate=rate, slope=slope, shift=shift)] * 2,
    )
    network.weights.copy_(torch.tensor([1.0, 0.0]))
    window = windows()
    raw = said(member.network, window.clamp(-10, 10)).logits[:, 2:].double().numpy()
    expected = TimeoutCalibration(rate=rate, slope=slope, shift=shift).probability(raw)
    joined = said(network, window).logits
    assert joined.shape == (5, 4)
    np.testing.assert_allclose(torch.sigmoid(joined[:, 2:]).numpy(), expected, atol=1e-6)


def test_a_forecaster_that_knows_no_time_outs_gives_their_usual_share():
    silent = {"name": "silent", "network": {"kind": "zero-return"}}
    network = ensemble_of([silent, MEMBERS[0]], target="triple-barrier")
    member = network.members[0]
    member.take(
        member.network,
        columns=[0, 1, 2],
        scale=np.ones(3),
        shift=np.zeros(3),
        calibration=[DirectionCalibration()] * 2,
        timeouts=[TimeoutCalibration(rate=0.2, slope=0.7)] * 2,
    )
    logits = said(member, windows()).logits
    assert logits.shape == (5, 4)
    np.testing.assert_allclose(torch.sigmoid(logits[:, 2:]).numpy(), 0.2, atol=1e-6)


def test_an_ensemble_may_be_a_member():
    inner = {"name": "inner", "network": {"kind": "ensemble", "members": MEMBERS}}
    network = ensemble_of([inner, MEMBERS[0]])
    network.weights.copy_(torch.tensor([1.0, 0.0]))
    window = windows()
    inside = said(network.members[0].network, window.clamp(-10, 10))
    torch.testing.assert_close(said(network, window).logits, inside.logits)
