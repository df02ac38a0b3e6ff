"""Networks that look back only: a window and a stream are the same computation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lightning_models.networks.layer_norm import LayerNormConfig, LayerNormTrunk
from lightning_models.networks.multi_layer import MultiLayerConfig, MultiLayerTrunk
from lightning_models.networks.table import NETWORKS
from lightning_models.networks.trunk import SequenceTrunk
from lightning_models.networks.univariate import GATES, UnivariateConfig, UnivariateTrunk

FEATURES = 3
SMALL = {
    "univariate": UnivariateConfig(hidden_size=6, dropout=0.5),
    "layer-norm": LayerNormConfig(units=(8, 6, 4), dense=(6, 5), dropout=0.5),
    "multi-layer": MultiLayerConfig(hidden_size=6, layers=2, dropout=0.5),
}
KINDS = sorted(SMALL)


def trunk_of(kind):
    torch.manual_seed(0)
    return NETWORKS[kind](SMALL[kind], FEATURES).eval().requires_grad_(False)


def sequence_of(steps, batch=2, seed=1):
    return torch.randn(batch, steps, FEATURES, generator=torch.Generator().manual_seed(seed))


def same(one, other):
    torch.testing.assert_close(one, other, atol=1e-6, rtol=0)


def test_this_specification_knows_every_network_that_looks_back_only():
    assert {name for name, trunk in NETWORKS.items() if issubclass(trunk, SequenceTrunk)} == set(
        SMALL
    )


@settings(max_examples=10)
@given(kind=st.sampled_from(KINDS), steps=st.integers(2, 40), data=st.data())
def test_two_stretches_with_the_state_carried_over_are_one(kind, steps, data):
    cut = data.draw(st.integers(1, steps - 1))
    trunk, sequence = trunk_of(kind), sequence_of(steps)
    whole = trunk.steps(sequence)
    first = trunk.steps(sequence[:, :cut])
    second = trunk.steps(sequence[:, cut:], first.state)
    same(torch.cat([first.vectors, second.vectors], dim=1), whole.vectors)
    assert len(second.state) == len(whole.state)
    for one, other in zip(second.state, whole.state, strict=True):
        same(one, other)


@pytest.mark.parametrize("kind", KINDS)
def test_with_the_state_lost_they_would_not_be(kind):
    trunk, sequence = trunk_of(kind), sequence_of(20)
    whole = trunk.steps(sequence).vectors
    restarted = trunk.steps(sequence[:, 10:]).vectors
    assert (whole[:, 10] - restarted[:, 0]).abs().max() > 1e-4


@pytest.mark.parametrize("kind", KINDS)
def test_a_window_gives_the_last_step_from_a_zero_state(kind):
    trunk, sequence = trunk_of(kind), sequence_of(20)
    steps = trunk.steps(sequence)
    assert steps.vectors.shape == (2, 20, trunk.output_size)
    same(trunk(sequence), steps.vectors[:, -1])
    for length in (1, 7):
        same(trunk(sequence[:, :length]), steps.vectors[:, length - 1])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("training", [False, True])
def test_no_step_knows_a_later_one(kind, training):
    trunk, sequence = trunk_of(kind).train(training), sequence_of(20)
    later = sequence.clone()
    later[:, 12:] += 5.0
    vectors = []
    for given_ in (sequence, later):
        torch.manual_seed(3)  # the same units are dropped
        vectors.append(trunk.steps(given_).vectors)
    same(vectors[0][:, :12], vectors[1][:, :12])
    assert (vectors[0][:, 12:] - vectors[1][:, 12:]).abs().max() > 1e-3


def test_batch_normalisation_in_its_place_would_let_a_step_know_later_ones():
    def normalised(sequence):
        norm = nn.BatchNorm1d(FEATURES).train()
        return norm(sequence.flatten(0, 1)).unflatten(0, sequence.shape[:2])

    sequence = sequence_of(20)
    later = sequence.clone()
    later[:, 12:] += 5.0
    assert (normalised(sequence) - normalised(later))[:, :12].abs().max() > 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_the_layers_named_for_a_stepper_are_what_is_computed(kind):
    trunk, sequence = trunk_of(kind), sequence_of(9)
    known = (nn.LSTM, nn.LayerNorm, nn.Linear, nn.ReLU, nn.Dropout)
    vectors, parameters = sequence, 0
    for layer in trunk.step_layers():
        assert isinstance(layer, known)
        parameters += sum(weight.numel() for weight in layer.parameters())
        vectors = layer(vectors)[0] if isinstance(layer, nn.LSTM) else layer(vectors)
    same(vectors, trunk.steps(sequence).vectors)
    assert parameters == sum(weight.numel() for weight in trunk.parameters())


def test_the_state_has_hidden_and_cell_of_each_recurrent_layer():
    state = trunk_of("layer-norm").steps(sequence_of(5)).state
    assert [tuple(part.shape) for part in state] == [(1, 2, units) for units in (8, 8, 6, 6, 4, 4)]
    assert [tuple(part.shape) for part in trunk_of("univariate").steps(sequence_of(5)).state] == [
        (1, 2, 6)
    ] * 2


def test_the_layer_norm_network_is_built_as_described():
    trunk = LayerNormTrunk(LayerNormConfig(), 7)
    shapes = {nn.LSTM: "hidden_size", nn.Linear: "out_features", nn.Dropout: "p"}
    found = [
        (
            type(layer).__name__,
            layer.normalized_shape[0]
            if isinstance(layer, nn.LayerNorm)
            else getattr(layer, shapes.get(type(layer), ""), None),
        )
        for layer in trunk.step_layers()
    ]
    recurrent = [
        part
        for units in (128, 64, 32)
        for part in (("LSTM", units), ("Dropout", 0.2), ("LayerNorm", units))
    ]
    dense = [("Linear", 32), ("ReLU", None), ("Dropout", 0.2), ("Linear", 16), ("ReLU", None)]
    assert found == recurrent + dense
    assert trunk.output_size == 16


def test_the_univariate_network_is_one_layer_of_32_drawn_by_xaviers_rule():
    torch.manual_seed(0)
    trunk = UnivariateTrunk(UnivariateConfig(), 1).requires_grad_(False)
    lstm = trunk.lstm
    assert (lstm.input_size, lstm.hidden_size, lstm.num_layers) == (1, 32, 1)
    for weight, inputs in ((lstm.weight_ih_l0, 1), (lstm.weight_hh_l0, 32)):
        widest = np.sqrt(6.0 / (inputs + 32))
        for gate in weight.chunk(4):
            largest = float(gate.abs().max())
            assert 0.9 * widest < largest <= widest
    bias = (lstm.bias_ih_l0 + lstm.bias_hh_l0).unflatten(0, (4, 32))
    assert bias.mean(dim=1).tolist() == [0.0, 1.0, 0.0, 0.0]
    assert bias.std(dim=1).tolist() == [0.0] * 4


def test_torch_keeps_a_cells_memory_by_the_gate_that_got_the_bias():
    lstm = nn.LSTM(1, 1)
    with torch.no_grad():
        for weight in lstm.parameters():
            weight.zero_()
        lstm.bias_ih_l0[GATES.index("forget")] = 50.0  # open
        kept = lstm(torch.zeros(1, 1, 1), (torch.zeros(1, 1, 1), torch.full((1, 1, 1), 3.0)))[1][1]
        lstm.bias_ih_l0[GATES.index("forget")] = -50.0  # shut
        lost = lstm(torch.zeros(1, 1, 1), (torch.zeros(1, 1, 1), torch.full((1, 1, 1), 3.0)))[1][1]
    assert float(kept) == pytest.approx(3.0)
    assert float(lost) == pytest.approx(0.0)


def test_other_networks_have_no_steps():
    for kind in set(NETWORKS) - set(SMALL):
        assert not hasattr(NETWORKS[kind], "steps")
    assert issubclass(MultiLayerTrunk, SequenceTrunk)
