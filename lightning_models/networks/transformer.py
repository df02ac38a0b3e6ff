"""A small causal transformer encoder, to compare the recurrent networks with."""

from __future__ import annotations

import math
from typing import Literal

import torch
from pydantic import Field, PositiveInt, model_validator
from torch import Tensor, nn
from torch.nn import functional

from lightning_models.networks.trunk import Trunk, TrunkConfig

__all__ = ["TransformerConfig", "TransformerTrunk"]

# Of the slowest position wave, in steps over 2 pi (Vaswani et al., 2017).
LONGEST_WAVE = 10_000.0


class TransformerConfig(TrunkConfig):
    """Width and depth.

    Parameters
    ----------
    width
        Of what is known of each step; an even multiple of `attention_heads`.
    attention_heads
        Of each layer.
    layers
        How many.
    feedforward
        Units of the dense part of each layer.
    dropout
        Of the embedded window and of each part of a layer.
    """

    kind: Literal["transformer"] = "transformer"
    width: PositiveInt = Field(default=64, multiple_of=2)
    attention_heads: PositiveInt = 4
    layers: PositiveInt = 2
    feedforward: PositiveInt = 128
    dropout: float = Field(default=0.1, ge=0, lt=1)

    @model_validator(mode="after")
    def _splits_evenly(self) -> TransformerConfig:
        if self.width % self.attention_heads:
            raise ValueError(
                f"width {self.width} cannot be split over {self.attention_heads} attention heads: "
                "give a multiple of them"
            )
        return self


class _CausalLayer(nn.Module):
    # Normalisation before each part and a way past it (pre-norm: Xiong et al., 2020). Written
    # out, as torch's own layer computes differently in evaluation than in training and cannot
    # be compiled for one window.
    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.attention_heads = config.attention_heads
        self.attention_norm = nn.LayerNorm(config.width)
        self.query_key_value = nn.Linear(config.width, 3 * config.width)
        self.join = nn.Linear(config.width, config.width)
        self.dense_norm = nn.LayerNorm(config.width)
        self.dense = nn.Sequential(
            nn.Linear(config.width, config.feedforward),
            nn.GELU(),
            nn.Dropout(config.dropout),
            nn.Linear(config.feedforward, config.width),
        )
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, steps: Tensor) -> Tensor:
        steps = steps + self.dropout(self._attend(self.attention_norm(steps)))
        past_dense: Tensor = steps + self.dropout(self.dense(self.dense_norm(steps)))
        return past_dense

    def _attend(self, steps: Tensor) -> Tensor:
        query, key, value = (
            part.unflatten(-1, (self.attention_heads, -1)).transpose(1, 2)
            for part in self.query_key_value(steps).chunk(3, dim=-1)
        )
        attended = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        joined: Tensor = self.join(attended.transpose(1, 2).flatten(2))
        return joined


class TransformerTrunk(Trunk):
    """Causal self-attention over a window; what the last step knows goes to the heads.

    A step attends to itself and to earlier steps. Positions count from the window's first
    step, as sine and cosine waves (Vaswani et al., 2017).

    Parameters
    ----------
    config
        Width, depth and dropout.
    features
        Width of the input.
    """

    Config = TransformerConfig

    def __init__(self, config: TransformerConfig, features: int) -> None:
        super().__init__()
        self.embed = nn.Linear(features, config.width)
        self.dropout = nn.Dropout(config.dropout)
        self.layers = nn.ModuleList(_CausalLayer(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width)
        self.output_size = config.width

    def forward(self, window: Tensor) -> Tensor:
        """Return ``[batch, width]`` from ``[batch, time, feature]``."""
        return self.encode(window)[:, -1]

    def encode(self, window: Tensor) -> Tensor:
        """Return ``[batch, time, width]``: what is known after each step of the window."""
        steps = self.embed(window)
        steps = self.dropout(steps + _positions(window.shape[1], steps))
        for layer in self.layers:
            steps = layer(steps)
        encoded: Tensor = self.norm(steps)
        return encoded


def _positions(length: int, like: Tensor) -> Tensor:
    # ``[length, width]``: sines in the first half of the columns, cosines in the second.
    waves = like.shape[-1] // 2
    rate = torch.exp(torch.arange(waves, device=like.device) * (-math.log(LONGEST_WAVE) / waves))
    angle = torch.arange(length, device=like.device)[:, None] * rate
    return torch.cat([angle.sin(), angle.cos()], dim=-1).to(like.dtype)
