"""Through a network part by part: forward with every tape, back, and what is learnt, end to end.

A part is a layer or a stage, see `Problem.layers` and `Problem.stages`.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

from beyond.network.segments import Segment
from beyond.network.trainable import Tape
from beyond.streams import Stream


def forward(
    parts: Sequence[Segment], params: Tensor, inputs: Tensor, rng: Stream | None = None
) -> tuple[list[Tensor], list[Tape]]:
    """Run a network part by part.

    Parameters
    ----------
    params : Tensor of shape (R, n)
        The whole network's weights.
    inputs : Tensor of shape (R, B, *input_shape)
    rng : Stream, optional
        With it dropout is in training.

    Returns
    -------
    activities : list of Tensor of shape (R, B, ...)
        The inputs, then what each part hands on: one more than there are parts.
    tapes : list of Tape
        Of each part, to go back on.
    """
    activities, tapes = [inputs], []
    for part in parts:
        activity, tape = part.forward(params, activities[-1], rng)
        activities.append(activity)
        tapes.append(tape)
    return activities, tapes


def gradients(
    parts: Sequence[Segment],
    tapes: Sequence[Tape],
    errors: Sequence[Tensor],
    in_time: bool = True,
) -> Tensor:
    """Derivatives (R, n) for the parts' weights, from the error (R, B, ...) at each part's end.

    Unless `in_time`, no error goes back in time through weights, see `Segment.gradient`.
    """
    passed = zip(parts, tapes, errors, strict=True)
    return torch.cat([part.gradient(tape, error, in_time) for part, tape, error in passed], 1)


def back(parts: Sequence[Segment], tapes: Sequence[Tape], error: Tensor) -> Tensor:
    """Derivatives (R, m) for the parts' weights by the chain rule, from the error at their end.

    Nothing is carried below the first part.
    """
    learnt: list[Tensor] = []
    for part, tape in zip(reversed(parts), reversed(tapes), strict=True):
        learnt.insert(0, part.gradient(tape, error))
        error = error if part is parts[0] else part.carry(tape, error)
    return torch.cat(learnt, 1)


def widths(parts: Sequence[Segment]) -> list[int]:
    """Count the units that each part hands on."""
    return [prod(part.output_shape) for part in parts]


def end_to_end(tensors: Sequence[Tensor]) -> Tensor:
    """Tensors (R, ...) as one (R, m), for an optimizer that treats each number by itself."""
    return torch.cat([tensor.flatten(1) for tensor in tensors], 1)


def apart(whole: Tensor, shapes: Sequence[tuple[int, ...]]) -> list[Tensor]:
    """Views (R, *shape) of what was put end to end (R, m)."""
    rows = whole.split([prod(shape) for shape in shapes], 1)
    return [row.view(len(row), *shape) for row, shape in zip(rows, shapes, strict=True)]


def stretch(numbers: Tensor, like: Tensor) -> Tensor:
    """Numbers (R, ...) with axes of length 1 behind theirs, to go with a tensor that has more."""
    return numbers.reshape(*numbers.shape, *[1] * (like.dim() - numbers.dim()))


def row_numbers(values: Tensor) -> Tensor:
    """Numbers (R, 1) of the rows of a tensor (R, ...), where it is: others[numbers, values]."""
    return torch.arange(len(values), device=values.device).unsqueeze(1)
