"""Hebbian learning: Oja's rule (Oja, 1982; Sanger, 1989), or competition (Moraitis et al., 2022).

Hidden layers hear of no label and no error: a connection changes with what is active on both of its
ends, and decays so that it stays bounded. Only the output layer learns the task, by the delta rule.
For each hidden layer, from its inputs x and sums z = W x + b, with means over the batch and ' for a
value less its mean,

    oja           dW   = (mean(z' x'^T) - tril(mean(z' z'^T)) W) / s^2   s the root of mean |x'|^2
    competitive   dw_k = (mean(p_k x') - mean(p_k z'_k) w_k) / (s mean(p_k))
                  p    = softmax(z' / (temperature s))                   over the units of the layer
    both          W <- W + hebbian_rate dW,    b <- b - hebbian_rate mean(z)
    output layer  g    = d loss / d (W_out, b_out)                       handed to the optimizer

tril keeps the lower triangle: unit k sees what units 1 .. k leave of the input, so that unit k
comes to be the k-th principal component and one unit alone learns by Oja's rule. The biases settle
where sums average zero, b = -W mean(x).

Departures: biases; means over a batch; s, the inputs' size, makes rate and temperature numbers
without units; equal priors, and the division by mean(p_k), by which a unit that seldom wins moves
as far as others; an embedding of symbols and the gains of a normalisation stay as drawn.
Needs: none of these.
Cost: 1 forward pass, the gradients' half of 1 backward pass; oja: 2 k^2 (B + n_in) operations more
per layer.
Check: one unit finds the first principal component, k units the first k, in order
(tests/methods/test_hebbian.py).
Source: Journal of Mathematical Biology 15, 267-273, doi:10.1007/BF00275687; Neural Networks 2,
459-473, doi:10.1016/0893-6080(89)90044-0; competitive: arXiv:2107.05747.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Annotated, ClassVar, Literal

import torch
from annotated_types import Ge
from torch import Tensor

from beyond.contracts import Batch, Signal
from beyond.kits.descent import Descent, Direction, State
from beyond.network.layers import WEIGHTLESS, Role
from beyond.network.segments import Segment
from beyond.network.trainable import Tape
from beyond.problem import Problem
from beyond.replicas import each
from beyond.search import Choice, LogUniform
from beyond.settings import BelowOne, OneOrEach, Positive, settings
from beyond.streams import Stream

LEARNING = frozenset({Role.DENSE, Role.CONVOLUTION})
STILL = WEIGHTLESS | {Role.EMBEDDING, Role.NORMALISATION, Role.BATCH}


@settings
class Hebbian(Descent):
    """Hidden layers find features by correlation alone; the output layer learns to read them.

    Parameters
    ----------
    optimizer : Optimizer
        Trains the output layer.
    batch_size : int, >= 2, optional
        Examples per step; None takes the whole training set. So does any larger number. One example
        has no correlation.
    rule : {"competitive", "oja"}
        Clusters, or principal components.
    hebbian_rate : float in [0, 1)
        How far hidden weights go in one step; 0 leaves them unchanged.
    temperature : float, > 0
        Of the competition, in units of s; "oja" does not use it.
    """

    signal: ClassVar[Signal] = Signal.TARGETS

    batch_size: Annotated[Annotated[int, Ge(2)] | None, Choice(8, 16, 32, 64, 128, 256)] = 32
    rule: Annotated[Literal["oja", "competitive"], Choice()] = "competitive"
    hebbian_rate: Annotated[OneOrEach[BelowOne], LogUniform(0.002, 0.2)] = 0.02
    temperature: Annotated[OneOrEach[Positive], LogUniform(0.003, 0.3)] = 0.03

    def require(self, problem: Problem) -> None:
        hidden, _ = parts_of(problem)
        lack = "a correlation needs a map's inputs and sums"
        problem.require_roles("hebbian", LEARNING | STILL, lack, len(hidden))

    def trained(self, problem: Problem) -> tuple[int, int]:
        return problem.stages[-1].start, problem.n_weights

    def direction(self, state: State, batch: Batch, problem: Problem, rng: Stream) -> Direction:
        params = state["params"]
        hidden, readout = parts_of(problem)
        parts, activity = [], batch.inputs
        for segment in hidden:
            below = activity
            activity, tape = segment.forward(params, below, rng)
            block = params[:, segment.start : segment.stop]
            learns = segment.role in LEARNING
            parts.append(
                self._learn(block, segment, below, activity, tape, problem) if learns else block
            )

        outputs, tape = readout.forward(params, activity, rng)
        gradient = readout.gradient(tape, problem.error(outputs, batch.targets))
        return gradient, {"params": torch.cat([*parts, params[:, readout.start :]], 1)}

    def left_alone(self, problem: Problem) -> Sequence[str]:
        hidden, _ = parts_of(problem)
        return problem.names_of(
            layer for layer in hidden if layer.role in STILL or not self.hebbian_rate
        )

    def _learn(
        self, block: Tensor, segment: Segment, x: Tensor, z: Tensor, tape: Tape, problem: Problem
    ) -> Tensor:
        """Return a layer's new weights (R, k n_in + k), or (R, k n_in) of one without biases.

        A convolution's examples are patches.
        """
        n_units, tiny = segment.output_shape[0], torch.finfo(block.dtype).tiny
        n_weights = prod(segment.layers[0].parameters(segment.input_shape)["weight"])
        weight, bias = block.tensor_split([n_weights], 1)
        weight = weight.unflatten(1, (n_units, -1))  # (R, k, n_in), beside (R, k) or (R, 0)
        # mean |x'|^2, (R, 1, 1)
        power = weight.shape[2] * x.var(1, correction=0).flatten(1).mean(1).view(-1, 1, 1)
        size = power.clamp_min(tiny).sqrt()
        sums = z.flatten(3).movedim(2, -1).flatten(1, -2) if z.dim() > 3 else z  # (R, N, k)
        centred = sums - sums.mean(1, keepdim=True)

        def correlate(activity: Tensor) -> Tensor:
            """Mean of activity x'^T over examples: centring one factor centres the other."""
            scaled = (activity - activity.mean(1, keepdim=True)) / sums.shape[1]
            images = scaled.unflatten(1, (z.shape[1], -1)).movedim(-1, 2).reshape(z.shape)
            return segment.gradient(tape, images)[:, :n_weights].unflatten(1, (n_units, -1))

        if self.rule == "oja":
            correlations = problem.matmul(centred.mT, centred) / sums.shape[1]  # (R, k, k)
            decay = problem.matmul(correlations.tril(), weight)
            change = (correlate(centred) - decay) / size.square()
        else:
            wins = torch.softmax(centred / (each(self.temperature, centred) * size), -1)
            share = wins.mean(1).unsqueeze(-1).clamp_min(tiny)  # a unit may win nothing at all
            decay = (wins * centred).mean(1).unsqueeze(-1) * weight
            change = (correlate(wins) - decay) / (share * size)
        weight = weight + each(self.hebbian_rate, change) * change
        bias = bias - each(self.hebbian_rate, bias) * sums.mean(1)[:, : bias.shape[1]]
        return torch.cat([weight.flatten(1), bias], 1)


def parts_of(problem: Problem) -> tuple[Sequence[Segment], Segment]:
    """Return the hidden layers, and the read-out: the last stage, which follows its gradient."""
    readout = problem.stages[-1]
    return problem.layers[: -len(readout.layers)], readout
