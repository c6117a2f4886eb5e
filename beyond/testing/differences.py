"""Gradients by central differences, in double precision."""

from __future__ import annotations

import torch
from torch import Tensor

from beyond import losses
from beyond.contracts import Batch, SealedTargets, TaskSpec
from beyond.network.trainable import Network
from beyond.problem import Problem

STEP = 1e-6  # of weights of order one: rounding errs by about 1e-9, and a kink is rarely so near


def slopes(network: Network, spec: TaskSpec, params: Tensor, along: Tensor, batch: Batch) -> Tensor:
    """Slopes (K,) of the loss at weights (1, n) along directions (K, n), on the first's batch."""
    shifts = STEP * along.double()
    weights = torch.cat([params.double() + shifts, params.double() - shifts])
    inputs = batch.inputs[:1] if spec.n_symbols else batch.inputs[:1].double()
    sealed = isinstance(batch.targets, SealedTargets)
    targets = batch.targets._targets if sealed else batch.targets
    outputs = network.outputs(weights, inputs)
    forth, back = losses.loss(spec.target_kind, outputs, targets[:1]).chunk(2)
    return (forth - back) / (2 * STEP)


def gradient(spec: TaskSpec, problem: Problem, params: Tensor, batch: Batch) -> Tensor:
    """Gradient (n,) of the loss at weights (1, n), float64: two passes a weight."""
    identity = torch.eye(problem.n_weights, dtype=torch.float64)
    return slopes(problem._network, spec, params, identity, batch)
