"""Optimizers on stacked weights: a gradient (R, n) becomes new weights (R, n).

Each is a frozen dataclass of hyperparameters with two pure functions: `init` makes the state and
`update` returns the new weights and the new state. Every number may be one, or one for each
replica. Bias corrections are Python floats (float64): in float32 Adam's drift apart after a
thousand steps.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Annotated, Any

import numpy as np
import torch
from torch import Tensor

from beyond.errors import require
from beyond.replicas import Number, add, add_product, add_quotient, each, numbers
from beyond.search import LogUniform
from beyond.settings import BelowOne, NonNegative, OneOrEach, Positive, settings

OptimizerState = dict[str, Any]


@settings(kw_only=True)
class Optimizer(ABC):
    """Turns a gradient into a change of the weights.

    Parameters
    ----------
    learning_rate : float, > 0
    """

    learning_rate: OneOrEach[Positive]

    def init(self, params: Tensor) -> OptimizerState:
        """State before the first step, for weights (R, n)."""
        return {}

    @abstractmethod
    def update(
        self, gradient: Tensor, state: OptimizerState, params: Tensor
    ) -> tuple[Tensor, OptimizerState]:
        """Return new weights and new state; neither argument is changed."""

    def descend(
        self, params: Tensor, direction: Tensor, divisor: Tensor | None = None, scale: Number = 1.0
    ) -> Tensor:
        """Return params - learning_rate * scale * direction / divisor."""
        step = -numbers(self.learning_rate) * scale
        if divisor is None:
            return add(params, direction, step)
        return add_quotient(params, direction, divisor, step)


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
        moves = bool(np.all(numbers(self.momentum) > 0))  # pyright: ignore
        require("momentum", "> 0 with nesterov", self.momentum, moves or not self.nesterov)

    def init(self, params: Tensor) -> OptimizerState:
        return {"velocity": torch.zeros_like(params)} if self.momentum else {}

    def update(
        self, gradient: Tensor, state: OptimizerState, params: Tensor
    ) -> tuple[Tensor, OptimizerState]:
        if self.weight_decay:
            gradient = add(gradient, params, numbers(self.weight_decay))
        if not self.momentum:
            return self.descend(params, gradient), state
        momentum = numbers(self.momentum)
        velocity = add(gradient, state["velocity"], momentum)
        direction = add(gradient, velocity, momentum) if self.nesterov else velocity
        return self.descend(params, direction), {"velocity": velocity}


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

    def init(self, params: Tensor) -> OptimizerState:
        return {"square": torch.zeros_like(params)}

    def update(
        self, gradient: Tensor, state: OptimizerState, params: Tensor
    ) -> tuple[Tensor, OptimizerState]:
        decay = numbers(self.decay)
        decayed = state["square"] * each(decay, gradient)
        square = add_product(decayed, gradient, gradient, 1 - decay)
        divisor = square.sqrt().add_(each(self.epsilon, square))
        return self.descend(params, gradient, divisor), {"square": square}


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

    def init(self, params: Tensor) -> OptimizerState:
        return {"mean": torch.zeros_like(params), "square": torch.zeros_like(params), "n_steps": 0}

    def update(
        self, gradient: Tensor, state: OptimizerState, params: Tensor
    ) -> tuple[Tensor, OptimizerState]:
        n_steps, beta1, beta2 = state["n_steps"] + 1, numbers(self.beta1), numbers(self.beta2)
        mean = torch.lerp(state["mean"], gradient, each(1 - beta1, gradient))
        decayed = state["square"] * each(beta2, gradient)
        square = add_product(decayed, gradient, gradient, 1 - beta2)
        # Both corrections move out of the division: m' / (sqrt(v') + e) = m c2 / c1 / (sqrt(v) + e
        # c2).
        root_correction = np.sqrt(1 - beta2**n_steps)
        divisor = square.sqrt().add_(each(numbers(self.epsilon) * root_correction, square))
        scale = root_correction / (1 - beta1**n_steps)
        params = self.descend(params, mean, divisor, scale)
        return params, {"mean": mean, "square": square, "n_steps": n_steps}


@settings(kw_only=True)
class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov & Hutter, 2019).

    The decay comes first: w <- w - learning_rate weight_decay w.

    Parameters
    ----------
    weight_decay : float, >= 0
    """

    weight_decay: Annotated[OneOrEach[NonNegative], LogUniform(1e-3, 1.0)] = 0.01

    def update(
        self, gradient: Tensor, state: OptimizerState, params: Tensor
    ) -> tuple[Tensor, OptimizerState]:
        decayed = self.descend(params, params, scale=numbers(self.weight_decay))
        return super().update(gradient, state, decayed)


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

    def init(self, params: Tensor) -> OptimizerState:
        return {"mean": torch.zeros_like(params)}

    def update(
        self, gradient: Tensor, state: OptimizerState, params: Tensor
    ) -> tuple[Tensor, OptimizerState]:
        beta1, beta2 = numbers(self.beta1), numbers(self.beta2)
        sign = torch.lerp(state["mean"], gradient, each(1 - beta1, gradient)).sign_()
        mean = torch.lerp(state["mean"], gradient, each(1 - beta2, gradient))
        return self.descend(params, add(sign, params, numbers(self.weight_decay))), {"mean": mean}


CHOICES = {
    "sgd": (SGD(), ""),
    "momentum": (SGD(learning_rate=0.03, momentum=0.9), ""),
    "nesterov": (SGD(learning_rate=0.03, momentum=0.9, nesterov=True), ""),
    "rmsprop": (RMSprop(), ""),
    "adam": (Adam(), ""),
    "adamw": (AdamW(), ""),
    "lion": (Lion(), ""),
}
