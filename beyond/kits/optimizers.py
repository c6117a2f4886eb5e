"""Optimizers on stacked weights: a gradient (R, n) becomes new weights (R, n).

Each is a frozen dataclass of hyperparameters with two pure functions: `init` makes the state and
`update` returns the new weights and the new state. What all have in common is done there: a
gradient that is too long is shortened, and the learning rate follows its schedule. Every number may
be one, or one for each replica. Bias corrections are Python floats (float64): in float32 Adam's
drift apart after a thousand steps.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

import numpy as np
import torch
from torch import Tensor

from beyond.errors import require
from beyond.ledger import Work
from beyond.replicas import Number, add, add_product, add_quotient, each, numbers
from beyond.search import LogUniform
from beyond.settings import (
    BelowOne,
    NonNegative,
    NonNegativeInt,
    OneOrEach,
    Positive,
    PositiveInt,
    UnitInterval,
    settings,
)

OptimizerState = dict[str, Any]
SMALLEST_NORM = 1e-6  # added to the norm that a gradient is divided by, as in torch
Matrices = Sequence[tuple[int, int, int]]  # (start, n_rows, n_columns), see `Problem.matrices`
# What a learning rate is multiplied by, from `decay_factor` and the steps so far over `decay_steps`
DECAYS: dict[str, Callable[[Number, float], Number]] = {
    "cosine": lambda factor, times: factor + (1 - factor) * (1 + np.cos(np.pi * min(times, 1))) / 2,
    "linear": lambda factor, times: 1 + (factor - 1) * min(times, 1),
    "exponential": lambda factor, times: factor**times,
    "step": lambda factor, times: factor ** int(times),
}


@settings(kw_only=True)
class Optimizer(ABC):
    """Turns a gradient into a change of the weights.

    Parameters
    ----------
    learning_rate : float, > 0
    schedule : {"constant", "cosine", "linear", "exponential", "step"}
        How the learning rate falls. Along half a cosine, or a line, it stays where it arrives;
        the last two go on by the same factor, gradually or at once.
    decay_steps : int, >= 1, optional
        Steps until it has fallen so far. The warm-up's are not counted; constant has none.
    decay_factor : float in [0, 1]
        What it then is multiplied by.
    warmup_steps : int, >= 0
        Steps in which it first rises. The first takes it divided by their number, each further one
        as much more.
    max_gradient_norm : float, > 0, optional
        Longer gradients of a replica are shortened to it. The norm is over all that is trained.
    """

    learning_rate: OneOrEach[Positive]
    schedule: Literal["constant", "cosine", "linear", "exponential", "step"] = "constant"
    decay_steps: PositiveInt | None = None
    decay_factor: OneOrEach[UnitInterval] = 0.1
    warmup_steps: NonNegativeInt = 0
    max_gradient_norm: OneOrEach[Positive] | None = None

    def __post_init__(self) -> None:
        known = self.schedule == "constant" or self.decay_steps is not None
        allowed = f"given with schedule={self.schedule}, an integer >= 1"
        require("decay_steps", allowed, self.decay_steps, known)

    def init(self, params: Tensor, matrices: Matrices = ()) -> OptimizerState:
        """State before the first step.

        Parameters
        ----------
        params : Tensor of shape (R, n)
        matrices : sequence of (start, n_rows, n_columns)
            Which of the weights are maps into hidden layers, see `Problem.matrices`.
        """
        return {"n_steps": 0, **self.memory(params, matrices)}

    def update(
        self, gradient: Tensor, state: OptimizerState, params: Tensor
    ) -> tuple[Tensor, OptimizerState]:
        """Return new weights and new state; neither argument is changed."""
        n_steps = state["n_steps"] + 1
        state = {**state, "n_steps": n_steps}
        rate = numbers(self.learning_rate) * self.scheduled(n_steps - 1)
        params, memory = self.step(self.shortened(gradient), state, params, rate)
        return params, {**state, **memory}

    def memory(self, params: Tensor, matrices: Matrices) -> OptimizerState:
        """Return what is remembered from step to step, before the first; by default nothing."""
        return {}

    @abstractmethod
    def step(
        self, gradient: Tensor, state: OptimizerState, params: Tensor, rate: Number
    ) -> tuple[Tensor, OptimizerState]:
        """Return new weights and what is remembered; `state["n_steps"]` counts this step too."""

    def work(self, state: OptimizerState) -> Work:
        """Cost of the products of matrices in an update of one replica; by default none."""
        return Work()

    def scheduled(self, n_steps: int) -> Number:
        """Return what the learning rate is multiplied by in the step after so many."""
        if n_steps < self.warmup_steps:
            return (n_steps + 1) / self.warmup_steps
        if self.schedule == "constant":
            return 1.0
        times = (n_steps - self.warmup_steps) / (self.decay_steps or 1)
        return DECAYS[self.schedule](numbers(self.decay_factor), times)

    def shortened(self, gradient: Tensor) -> Tensor:
        """Return a gradient (R, m), each replica's no longer than it may be."""
        if self.max_gradient_norm is None:
            return gradient
        norm = gradient.norm(dim=1, keepdim=True) + SMALLEST_NORM
        return gradient * (each(self.max_gradient_norm, norm) / norm).clamp(max=1.0)


def descend(
    params: Tensor, direction: Tensor, rate: Number, divisor: Tensor | None = None
) -> Tensor:
    """Return params - rate * direction / divisor."""
    if divisor is None:
        return add(params, direction, -rate)
    return add_quotient(params, direction, divisor, -rate)


@settings(kw_only=True)
class SGD(Optimizer):
    """Stochastic gradient descent with torch's momentum (Nesterov's: Sutskever et al., 2013).

        g <- g + weight_decay w
        v <- momentum v + g          (v = g at the first step)
        w <- w - learning_rate v     (Nesterov: g + momentum v)

    Parameters
    ----------
    momentum : float in [0, 1)
    nesterov : bool
        Needs momentum > 0.
    weight_decay : float, >= 0
    """

    learning_rate: Annotated[OneOrEach[Positive], LogUniform(1e-3, 1.0)] = 0.1
    momentum: OneOrEach[BelowOne] = 0.0
    nesterov: bool = False
    weight_decay: OneOrEach[NonNegative] = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        moves = bool(np.all(numbers(self.momentum) > 0))  # pyright: ignore
        require("momentum", "> 0 with nesterov", self.momentum, moves or not self.nesterov)

    def memory(self, params: Tensor, matrices: Matrices) -> OptimizerState:
        return {"velocity": torch.zeros_like(params)} if self.momentum else {}

    def step(
        self, gradient: Tensor, state: OptimizerState, params: Tensor, rate: Number
    ) -> tuple[Tensor, OptimizerState]:
        if self.weight_decay:
            gradient = add(gradient, params, numbers(self.weight_decay))
        if not self.momentum:
            return descend(params, gradient, rate), {}
        momentum = numbers(self.momentum)
        velocity = add(gradient, state["velocity"], momentum)
        direction = add(gradient, velocity, momentum) if self.nesterov else velocity
        return descend(params, direction, rate), {"velocity": velocity}


@settings(kw_only=True)
class RMSprop(Optimizer):
    """Gradient divided by the root of its running mean square (Tieleman & Hinton, 2012).

        s <- decay s + (1 - decay) g^2
        w <- w - learning_rate g / (sqrt(s) + epsilon)

    Parameters
    ----------
    decay : float in [0, 1)
    epsilon : float, > 0
    """

    learning_rate: Annotated[OneOrEach[Positive], LogUniform(1e-4, 0.1)] = 0.001
    decay: OneOrEach[BelowOne] = 0.99
    epsilon: OneOrEach[Positive] = 1e-8

    def memory(self, params: Tensor, matrices: Matrices) -> OptimizerState:
        return {"square": torch.zeros_like(params)}

    def step(
        self, gradient: Tensor, state: OptimizerState, params: Tensor, rate: Number
    ) -> tuple[Tensor, OptimizerState]:
        decay = numbers(self.decay)
        decayed = state["square"] * each(decay, gradient)
        square = add_product(decayed, gradient, gradient, 1 - decay)
        divisor = square.sqrt().add_(each(self.epsilon, square))
        return descend(params, gradient, rate, divisor), {"square": square}


@settings(kw_only=True)
class Adam(Optimizer):
    """Adam (Kingma & Ba, 2015, algorithm 1).

        m <- beta1 m + (1 - beta1) g
        v <- beta2 v + (1 - beta2) g^2
        w <- w - learning_rate (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + epsilon)

    Parameters
    ----------
    beta1, beta2 : float in [0, 1)
    epsilon : float, > 0
    """

    learning_rate: Annotated[OneOrEach[Positive], LogUniform(1e-4, 0.1)] = 0.001
    beta1: OneOrEach[BelowOne] = 0.9
    beta2: OneOrEach[BelowOne] = 0.999
    epsilon: OneOrEach[Positive] = 1e-8

    def memory(self, params: Tensor, matrices: Matrices) -> OptimizerState:
        return {"mean": torch.zeros_like(params), "square": torch.zeros_like(params)}

    def step(
        self, gradient: Tensor, state: OptimizerState, params: Tensor, rate: Number
    ) -> tuple[Tensor, OptimizerState]:
        n_steps, beta1, beta2 = state["n_steps"], numbers(self.beta1), numbers(self.beta2)
        mean = torch.lerp(state["mean"], gradient, each(1 - beta1, gradient))
        decayed = state["square"] * each(beta2, gradient)
        square = add_product(decayed, gradient, gradient, 1 - beta2)
        # Both corrections move out of the division: m' / (sqrt(v') + e) = m c2 / c1 / (sqrt(v) + e
        # c2).
        root_correction = np.sqrt(1 - beta2**n_steps)
        divisor = square.sqrt().add_(each(numbers(self.epsilon) * root_correction, square))
        scale = root_correction / (1 - beta1**n_steps)
        return descend(params, mean, rate * scale, divisor), {"mean": mean, "square": square}


@settings(kw_only=True)
class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov & Hutter, 2019).

    The decay comes first: w <- w - learning_rate weight_decay w.

    Parameters
    ----------
    weight_decay : float, >= 0
    """

    weight_decay: Annotated[OneOrEach[NonNegative], LogUniform(1e-3, 1.0)] = 0.01

    def step(
        self, gradient: Tensor, state: OptimizerState, params: Tensor, rate: Number
    ) -> tuple[Tensor, OptimizerState]:
        decayed = descend(params, params, rate * numbers(self.weight_decay))
        return super().step(gradient, state, decayed, rate)


@settings(kw_only=True)
class Lion(Optimizer):
    """The sign of an interpolated momentum, all steps of one size (Chen et al., 2023, algorithm 2).

        c <- beta1 m + (1 - beta1) g
        w <- w - learning_rate (sign(c) + weight_decay w)
        m <- beta2 m + (1 - beta2) g

    Parameters
    ----------
    beta1, beta2 : float in [0, 1)
    weight_decay : float, >= 0
    """

    learning_rate: Annotated[OneOrEach[Positive], LogUniform(3e-5, 0.03)] = 3e-4
    beta1: OneOrEach[BelowOne] = 0.9
    beta2: OneOrEach[BelowOne] = 0.99
    weight_decay: OneOrEach[NonNegative] = 0.0

    def memory(self, params: Tensor, matrices: Matrices) -> OptimizerState:
        return {"mean": torch.zeros_like(params)}

    def step(
        self, gradient: Tensor, state: OptimizerState, params: Tensor, rate: Number
    ) -> tuple[Tensor, OptimizerState]:
        beta1, beta2 = numbers(self.beta1), numbers(self.beta2)
        sign = torch.lerp(state["mean"], gradient, each(1 - beta1, gradient)).sign_()
        mean = torch.lerp(state["mean"], gradient, each(1 - beta2, gradient))
        return descend(params, add(sign, params, numbers(self.weight_decay)), rate), {"mean": mean}


@settings(kw_only=True)
class Muon(AdamW):
    """Momentum made orthogonal, for matrices (Jordan et al., 2024; Liu et al., 2025, equation 4).

        M <- momentum M + (1 - momentum) G
        O <- NS((1 - momentum) G + momentum M)      its singular values all about 1
        W <- W - learning_rate (0.2 sqrt(max(rows, columns)) O + weight_decay W)

    NS divides by the norm, then takes n_iterations times X <- a X + (b X X^T + c (X X^T)^2) X. That
    is for what leads into hidden layers, a convolution's windows as the columns; read-out,
    embeddings, gains and biases are AdamW's, for which the 0.2 makes steps of one size.

    Parameters
    ----------
    momentum : float in [0, 1)
    n_iterations : int, >= 1
        Of Newton and Schulz, in the precision of the weights, where the source's is bfloat16.
    """

    learning_rate: Annotated[OneOrEach[Positive], LogUniform(1e-4, 0.1)] = 0.001
    beta2: OneOrEach[BelowOne] = 0.95
    momentum: OneOrEach[BelowOne] = 0.95
    n_iterations: PositiveInt = 5

    def memory(self, params: Tensor, matrices: Matrices) -> OptimizerState:
        spans = {"matrices": [list(matrix) for matrix in matrices]}
        parts = _parts(params, spans["matrices"])
        rest = super().memory(torch.cat(parts[::2], 1), ())
        return {**spans, "momenta": [torch.zeros_like(part) for part in parts[1::2]], **rest}

    def step(
        self, gradient: Tensor, state: OptimizerState, params: Tensor, rate: Number
    ) -> tuple[Tensor, OptimizerState]:
        matrices, momentum = state["matrices"], numbers(self.momentum)
        gradients, weights = _parts(gradient, matrices), _parts(params, matrices)
        rest, memory = super().step(
            torch.cat(gradients[::2], 1), state, torch.cat(weights[::2], 1), rate
        )
        parts = list(rest.split([part.shape[1] for part in weights[::2]], 1))
        momenta = []
        for place, (_, *shape) in enumerate(matrices):
            g, w = gradients[2 * place + 1], weights[2 * place + 1]
            mean = torch.lerp(state["momenta"][place], g, each(1 - momentum, g))
            ahead = torch.lerp(g, mean, each(momentum, g)).unflatten(1, shape)
            turned = orthogonal(ahead, self.n_iterations).flatten(1)
            decayed = descend(w, w, rate * numbers(self.weight_decay))
            size = 0.2 * max(shape) ** 0.5
            parts.insert(2 * place + 1, descend(decayed, turned, rate * size))
            momenta.append(mean)
        return torch.cat(parts, 1), {**memory, "momenta": momenta}

    def work(self, state: OptimizerState) -> Work:
        shapes = [sorted(shape) for _, *shape in state["matrices"]]
        flops = sum(2 * few * few * (2 * many + few) for few, many in shapes)
        moved = sum(
            few * (4 * many + 5 * few) * held.element_size()
            for (few, many), held in zip(shapes, state["momenta"], strict=True)
        )
        return Work(flops, moved) * self.n_iterations


def orthogonal(matrices: Tensor, n_iterations: int) -> Tensor:
    """Return U V^T, about, of matrices U S V^T (R, rows, columns); of nothing, nothing."""
    a, b, c = 3.4445, -4.7750, 2.0315  # Jordan et al.: steep at 0, singular values in [0.7, 1.2]
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    for _ in range(n_iterations):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x


def _parts(values: Tensor, matrices: Sequence[Sequence[int]]) -> list[Tensor]:
    """Cut (R, m) at the matrices: what is before each, it, ..., and what is behind the last."""
    sizes, at = [], 0
    for start, n_rows, n_columns in matrices:
        sizes += [start - at, n_rows * n_columns]
        at = start + n_rows * n_columns
    return list(values.split([*sizes, values.shape[1] - at], 1))


CHOICES = {
    "sgd": (SGD(), ""),
    "momentum": (SGD(learning_rate=0.03, momentum=0.9), ""),
    "nesterov": (SGD(learning_rate=0.03, momentum=0.9, nesterov=True), ""),
    "rmsprop": (RMSprop(), ""),
    "adam": (Adam(), ""),
    "adamw": (AdamW(), ""),
    "lion": (Lion(), ""),
    "muon": (Muon(), ""),
}
