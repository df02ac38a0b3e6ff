"""The transformer: causal, with positions, and the same alone as in a batch."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import nn
from torch.nn import functional

from lightning_models.networks.transformer import TransformerConfig, TransformerTrunk

FEATURES = 3
SMALL = TransformerConfig(width=8, attention_heads=2, layers=2, feedforward=12)


def trunk_of(config=SMALL):
    torch.manual_seed(0)
    return TransformerTrunk(config, FEATURES).eval().requires_grad_(False)


def windows(batch, steps):
    return torch.randn(batch, steps, FEATURES, generator=torch.Generator().manual_seed(1))


@given(steps=st.integers(2, 30), data=st.data())
def test_changing_later_steps_never_changes_earlier_outputs(steps, data):
    cut = data.draw(st.integers(1, steps - 1))
    trunk, window = trunk_of(), windows(2, steps)
    later = window.clone()
    later[:, cut:] = 100.0 * later[:, cut:] - 7.0
    before, after = trunk.encode(window), trunk.encode(later)
    torch.testing.assert_close(before[:, :cut], after[:, :cut], atol=1e-6, rtol=0)
    assert (before - after)[:, cut:].abs().max() > 1e-3


def test_without_the_mask_it_would(monkeypatch):
    attention = functional.scaled_dot_product_attention
    monkeypatch.setattr(
        functional,
        "scaled_dot_product_attention",
        lambda query, key, value, is_causal: attention(query, key, value),
    )
    trunk, window = trunk_of(), windows(2, 20)
    later = window.clone()
    later[:, 12:] -= 7.0
    assert (trunk.encode(window) - trunk.encode(later))[:, :12].abs().max() > 1e-3


def test_the_last_step_goes_to_the_heads_and_has_seen_the_whole_window():
    trunk, window = trunk_of(), windows(2, 20)
    torch.testing.assert_close(trunk(window), trunk.encode(window)[:, -1])
    for row in (0, 10, 19):
        changed = window.clone()
        changed[:, row] += 3.0
        assert (trunk(changed) - trunk(window)).abs().max() > 1e-4


def test_the_order_of_earlier_steps_matters():
    trunk, window = trunk_of(), windows(2, 10)
    exchanged = window[:, [3, 1, 2, 0, *range(4, 10)]]
    assert (trunk(exchanged) - trunk(window)).abs().max() > 1e-4


def test_a_single_window_gives_what_a_batch_gives():
    trunk, batch = trunk_of(TransformerConfig()), windows(300, 60)
    together = trunk(batch)
    for row in (0, 7, 299):
        torch.testing.assert_close(trunk(batch[row : row + 1])[0], together[row], atol=1e-5, rtol=0)


def test_training_and_evaluation_differ_by_dropout_alone():
    trunk = trunk_of(SMALL.model_copy(update={"dropout": 0.0}))
    window = windows(20, 30)
    in_evaluation = trunk(window)
    trunk.train().requires_grad_(True)
    torch.testing.assert_close(trunk(window), in_evaluation, atol=1e-6, rtol=0)


def test_a_layer_computes_what_torchs_own_computes():
    trunk = trunk_of()
    (layer, *_) = trunk.layers
    reference = nn.TransformerEncoderLayer(
        8, 2, 12, activation="gelu", batch_first=True, norm_first=True
    ).train()
    reference.requires_grad_(False)
    for own, other in (
        (layer.query_key_value.weight, reference.self_attn.in_proj_weight),
        (layer.query_key_value.bias, reference.self_attn.in_proj_bias),
        (layer.join.weight, reference.self_attn.out_proj.weight),
        (layer.join.bias, reference.self_attn.out_proj.bias),
        (layer.dense[0].weight, reference.linear1.weight),
        (layer.dense[0].bias, reference.linear1.bias),
        (layer.dense[3].weight, reference.linear2.weight),
        (layer.dense[3].bias, reference.linear2.bias),
    ):
        other.copy_(own)
    steps = torch.randn(4, 11, 8, generator=torch.Generator().manual_seed(2))
    mask = nn.Transformer.generate_square_subsequent_mask(11)
    expected = reference.eval()(steps, src_mask=mask, is_causal=True)
    torch.testing.assert_close(layer(steps), expected, atol=1e-5, rtol=0)


def test_it_is_small():
    trunk = TransformerTrunk(TransformerConfig(), 7)
    assert len(trunk.layers) == 2
    assert trunk.output_size == 64
    assert sum(weight.numel() for weight in trunk.parameters()) < 100_000


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"width": 10}, "width 10 cannot be split over 4 attention heads"),
        ({"width": 9, "attention_heads": 3}, "multiple of 2"),
        ({"attention_heads": 0}, "greater than 0"),
    ],
)
def test_widths_that_do_not_divide_are_refused(changes, words):
    with pytest.raises(ValidationError, match=words):
        TransformerConfig(**changes)
