"""Layers on stacked sequences whose times see one another, see `beyond.network.sequence_layers`.

The maps into queries, keys and values, and that of what the heads answer, are convolutions of one
time (`Conv1d` with a kernel of 1): each is a block of its own, and attention has no weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import NamedTuple

import torch
from torch import Tensor

from beyond.errors import require
from beyond.hardware import single
from beyond.network.layers import Flops, Layer, Role, Shape, Weights
from beyond.network.sequence_layers import sequence
from beyond.streams import Stream


class Attended(NamedTuple):
    """What attention keeps: (R, B, n_heads, length, features of a head), and who sees whom."""

    queries: Tensor
    keys: Tensor
    values: Tensor
    shares: Tensor  # (R, B, n_heads, length, length)


@dataclass(frozen=True)
class Attention(Layer):
    """Scaled dot-product attention of several heads (Vaswani et al., 2017, section 3.2).

        y_t = sum_s a_ts v_s,   a_t = softmax over s of q_t . k_s / sqrt(features of a head)

    Channels are the queries of all heads, then the keys, then the values, (3 n, length); outputs
    (n, length). With `causal` a time sees no later one.
    """

    role = Role.ATTENTION

    n_heads: int = 4
    causal: bool = False

    def __post_init__(self) -> None:
        require("n_heads", ">= 1", self.n_heads, self.n_heads >= 1)

    def output_shape(self, shape: Shape) -> Shape:
        n_channels, length = sequence(self, shape)
        fits = n_channels % (3 * self.n_heads) == 0
        allowed = f"a multiple of 3 n_heads ({3 * self.n_heads}) channels along time"
        require("Attention input", allowed, shape, fits)
        return n_channels // 3, length

    def flops(self, shape: Shape) -> Flops:
        n_channels, length = self.output_shape(shape)
        product = 2 * n_channels * length**2
        return Flops(2 * product, 4 * product)

    def kept(self, shape: Shape) -> int:
        n_channels, length = shape
        return (n_channels + 2 * self.n_heads * length) * length

    def forward(
        self, weights: Weights, x: Tensor, rng: Stream | None = None
    ) -> tuple[Tensor, Attended]:
        # (R, 3, n_heads, features, length, B) to (3, R, B, n_heads, length, features)
        parts = x.unflatten(1, (3, self.n_heads, -1)).permute(1, 0, 5, 2, 4, 3).contiguous()
        queries, keys, values = parts.unbind()
        scores = single(queries @ keys.mT) / sqrt(queries.shape[-1])
        if self.causal:
            later = torch.ones(scores.shape[-2:], dtype=torch.bool, device=x.device).triu(1)
            scores = scores.masked_fill(later, float("-inf"))
        shares = scores.softmax(-1).to(x.dtype)
        y = (shares @ values).permute(0, 2, 4, 3, 1).flatten(1, 2)
        return y, Attended(queries, keys, values, shares)

    def carry(
        self, weights: Weights, cache: Attended, dy: Tensor, carrier: Tensor | None = None
    ) -> Tensor:
        queries, keys, values, shares = cache
        answers = dy.unflatten(1, (self.n_heads, -1)).permute(0, 4, 1, 3, 2)
        at_shares = answers @ values.mT
        common = (at_shares * shares).sum(-1, keepdim=True)
        at_scores = shares * (at_shares - common) / sqrt(queries.shape[-1])
        parts = at_scores @ keys, at_scores.mT @ queries, shares.mT @ answers
        return torch.stack(parts).permute(1, 0, 3, 5, 4, 2).flatten(1, 3)


@dataclass(frozen=True)
class Positions(Layer):
    """Learnt numbers added to each channel at each time, bias (G, channels, length), from zero."""

    role = Role.OFFSET

    def parameters(self, shape: Shape) -> dict[str, Shape]:
        return {"bias": sequence(self, shape)}

    def forward(
        self, weights: Weights, x: Tensor, rng: Stream | None = None
    ) -> tuple[Tensor, None]:
        bias = weights["bias"].unflatten(0, (len(x), -1)).unsqueeze(-1)
        return (x.unsqueeze(1) + bias).flatten(0, 1), None

    def carry(
        self, weights: Weights, cache: None, dy: Tensor, carrier: Tensor | None = None
    ) -> Tensor:
        return dy

    def gradients(self, cache: None, dy: Tensor) -> dict[str, Tensor]:
        return {"bias": dy.sum(-1)}
