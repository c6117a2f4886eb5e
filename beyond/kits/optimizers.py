"""Optimizers on stacked weights: a gradient (R, n) becomes new weights (R, n).

Each is a frozen dataclass of hyperparameters with two pure functions: `init` makes the state and
`update` returns the new weights and the new state. A learning rate may be one number, or one per
replica. Bias corrections are Python floats (float64): in float32 Adam's drift apart after a
thousand steps.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from math import sqrt
from typing import Annotated, Any

import torch
from annotated_types import MinLen
from torch import Tensor

from beyond.errors import require
from beyond.search import LogUniform
from beyond.settings import BelowOne, NonNegative, Positive, settings

OptimizerState = dict[str, Any]
OneOrEach = Positive | Annotated[tuple[Positive, ...], MinLen(1)]  # one number, or one per replica


@settings(kw_only=True)
class Optimizer(ABC):
    """Turns a gradient into a change of the weights.

    Parameters
    ----------
    learning_rate : float, or one float per replica, > 0
    """

    learning_rate: OneOrEach

    def init(self, params: Tensor) -> OptimizerState:
        """State before the first step, for weights (R, n)."""
        return {}

    @abstractmethod
    def update(
        self, gradient: Tensor, state: OptimizerState, params: Tensor
    ) -> tuple[Tensor, OptimizerState]:
        """Return new weights and new state; neither argument is changed."""

    def require_replicas(self, n_replicas: int) -> None:
        """Raise `InputError` if there are learning rates for another number of replicas."""
        rates, allowed = self.learning_rate, f"one number, or one for each of {n_replicas} replicas"
        require(
            "learning_rate",
            allowed,
            rates,
            not isinstance(rates, tuple) or len(rates) == n_replicas,
        )

    def descend(
        self, params: Tensor, direction: Tensor, divisor: Tensor | None = None, scale: float = 1.0
    ) -> Tensor:
        """Return params - learning_rate * scale * direction / divisor."""
        if isinstance(self.learning_rate, tuple):
            self.require_replicas(len(params))
            rates = torch.tensor(self.learning_rate, dtype=params.dtype).unsqueeze(-1) * scale
            return params - rates * (direction if divisor is None else direction / divisor)
        step = -self.learning_rate * scale
        if divisor is None:
            return torch.add(params, direction, alpha=step)
        return torch.addcdiv(params, direction, divisor, value=step)


@settings(kw_only=True)
class SGD(Optimizer):
    """Stochastic gradient descent with torch's momentum (Nesterov's: Sutskever et al., 2013).

        v <- momentum v + g          (v = g at the first step)
        w <- w - learning_rate v     (Nesterov: g + momentum v)

    Parameters
    ----------
    momentum : float in [0, 1)
    nesterov : bool
        Needs momentum > 0.
    """

    learning_rate: Annotated[OneOrEach, LogUniform(1e-3, 1.0)] = 0.1
    momentum: BelowOne = 0.0
    nesterov: bool = False

    def __post_init__(self) -> None:
        require(
            "momentum", "> 0 with nesterov", self.momentum, self.momentum > 0 or not self.nesterov
        )

    def init(self, params: Tensor) -> OptimizerState:
        return {"velocity": torch.zeros_like(params)} if self.momentum else {}

    def update(
        self, gradient: Tensor, state: OptimizerState, params: Tensor
    ) -> tuple[Tensor, OptimizerState]:
        if not self.momentum:
            return self.descend(params, gradient), state
        velocity = torch.add(gradient, state["velocity"], alpha=self.momentum)
        direction = (
            torch.add(gradient, velocity, alpha=self.momentum) if self.nesterov else velocity
        )
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

    learning_rate: Annotated[OneOrEach, LogUniform(1e-4, 0.1)] = 0.001
    decay: BelowOne = 0.99
    epsilon: Positive = 1e-8

    def init(self, params: Tensor) -> OptimizerState:
        return {"square": torch.zeros_like(params)}

    def update(
        self, gradient: Tensor, state: OptimizerState, params: Tensor
    ) -> tuple[Tensor, OptimizerState]:
        square = torch.addcmul(
            state["square"] * self.decay, gradient, gradient, value=1 - self.decay
        )
        return self.descend(params, gradient, square.sqrt().add_(self.epsilon)), {"square": square}


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

    learning_rate: Annotated[OneOrEach, LogUniform(1e-4, 0.1)] = 0.001
    beta1: BelowOne = 0.9
    beta2: BelowOne = 0.999
    epsilon: Positive = 1e-8

    def init(self, params: Tensor) -> OptimizerState:
        return {"mean": torch.zeros_like(params), "square": torch.zeros_like(params), "n_steps": 0}

    def update(
        self, gradient: Tensor, state: OptimizerState, params: Tensor
    ) -> tuple[Tensor, OptimizerState]:
        n_steps = state["n_steps"] + 1
        mean = torch.lerp(state["mean"], gradient, 1 - self.beta1)
        square = torch.addcmul(
            state["square"] * self.beta2, gradient, gradient, value=1 - self.beta2
        )
        # Both corrections move out of the division: m' / (sqrt(v') + e) = m c2 / c1 / (sqrt(v) + e
        # c2).
        root_correction = sqrt(1 - self.beta2**n_steps)
        divisor = square.sqrt().add_(self.epsilon * root_correction)
        params = self.descend(
            params, mean, divisor, scale=root_correction / (1 - self.beta1**n_steps)
        )
        return params, {"mean": mean, "square": square, "n_steps": n_steps}


@settings(kw_only=True)
class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov & Hutter, 2019).

    The decay comes first: w <- w - learning_rate weight_decay w.

    Parameters
    ----------
    weight_decay : float, >= 0
    """

    weight_decay: Annotated[NonNegative, LogUniform(1e-3, 1.0)] = 0.01

    def update(
        self, gradient: Tensor, state: OptimizerState, params: Tensor
    ) -> tuple[Tensor, OptimizerState]:
        return super().update(
            gradient, state, self.descend(params, params, scale=self.weight_decay)
        )


CHOICES = {
    "sgd": (SGD(), ""),
    "momentum": (SGD(learning_rate=0.03, momentum=0.9), ""),
    "nesterov": (SGD(learning_rate=0.03, momentum=0.9, nesterov=True), ""),
    "rmsprop": (RMSprop(), ""),
    "adam": (Adam(), ""),
    "adamw": (AdamW(), ""),
}
