"""How training inputs are varied: shifted and made noisy, each example by itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from beyond.streams import Stream


def jitter(
    inputs: Tensor,
    rng: Stream,
    shift: int,
    axes: Sequence[int],
    fill: Tensor | float | None,
    noise_std: float,
) -> Tensor:
    """Move each example along each axis by whole steps in [-shift, shift]; add normal noise."""
    for axis in axes if shift else ():
        steps = rng.integers(2 * shift + 1, inputs.shape[1]) - shift
        inputs = move(inputs, axis, steps, fill)
    return inputs + noise_std * rng.normal(*inputs.shape[1:]) if noise_std else inputs


def move(inputs: Tensor, axis: int, steps: Tensor, fill: Tensor | float | None) -> Tensor:
    """Move each example (R, B, ...) along an axis by `steps` (R, B), positive to higher indices.

    What enters is `fill`, one number or one for each example (R, B); with None, what left at the
    other end.
    """
    length = inputs.shape[axis]
    # (R, B, length): where each value comes from
    origin = torch.arange(length, device=steps.device) - steps.unsqueeze(-1)
    shape = [*steps.shape, *(1 for _ in inputs.shape[2:])]
    shape[axis] = length
    moved = inputs.gather(axis, (origin % length).view(shape).expand_as(inputs))
    outside = (origin < 0) | (origin >= length)
    if fill is None:
        return moved
    if isinstance(fill, Tensor):
        fill = fill.view(*steps.shape, *(1 for _ in inputs.shape[2:]))
    return torch.where(outside.view(shape), fill, moved)
