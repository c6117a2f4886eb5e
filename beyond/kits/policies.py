"""What methods that act share: distributions over actions, and baselines of their rewards."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import log, pi
from typing import Annotated, Any, ClassVar

import torch
from torch import Tensor

from beyond.contracts import Batch, Signal, TargetKind
from beyond.errors import require
from beyond.kits.descent import Descent, State
from beyond.problem import Problem
from beyond.search import Choice, LogUniform
from beyond.settings import (
    BelowOne,
    NonNegative,
    OneOrEach,
    Positive,
    PositiveInt,
    UnitInterval,
    settings,
)
from beyond.streams import Stream


@dataclass(frozen=True)
class Earned:
    """What actions (R, B, K) earned, and what comparable ones did.

    Attributes
    ----------
    rewards : Tensor of shape (R, B, K)
        In an environment, all that an action and those after it earned.
    others : callable
        Mean reward of the other actions at the same input: (R, B, K), or what broadcasts to it.
    """

    rewards: Tensor
    others: Callable[[], Tensor]

    @classmethod
    def by(cls, rewards: Tensor) -> Earned:
        """K actions at each of B inputs."""

        def others() -> Tensor:
            return (rewards.sum(-1, keepdim=True) - rewards) / (rewards.shape[-1] - 1)

        return cls(rewards, others)


@settings(kw_only=True)
class Baseline(ABC):
    """What a reward is compared with; independent of its own action, so that estimates stay
    unbiased.
    """

    name: ClassVar[str]
    n_needed: ClassVar[int] = 1  # actions at an input

    @abstractmethod
    def expected(self, earned: Earned, mean_reward: Tensor) -> Tensor | float:
        """Return it for what was earned; of earlier steps, `mean_reward` (R,) is remembered."""

    def after(self, mean_reward: Tensor, rewards: Tensor) -> Tensor:
        """Return what is remembered of the rewards of this step too, (R,)."""
        return mean_reward

    def require(self, setting: str, n_actions: int) -> None:
        """Raise `InputError` where an action has no others to be compared with."""
        enough = n_actions >= self.n_needed
        require(setting, f">= {self.n_needed} with baseline {self.name}", n_actions, enough)


@settings(kw_only=True)
class NoBaseline(Baseline):
    """Nothing: the reward by itself."""

    name: ClassVar[str] = "none"

    def expected(self, earned: Earned, mean_reward: Tensor) -> Tensor | float:
        return 0.0


@settings(kw_only=True)
class RunningMean(Baseline):
    """The mean of past rewards: b <- decay b + (1 - decay) mean r, taken before the step.

    Parameters
    ----------
    decay : float in [0, 1)
        For each step.
    """

    name: ClassVar[str] = "running_mean"

    decay: BelowOne = 0.9

    def expected(self, earned: Earned, mean_reward: Tensor) -> Tensor | float:
        return mean_reward[:, None, None]

    def after(self, mean_reward: Tensor, rewards: Tensor) -> Tensor:
        return torch.lerp(rewards.mean((1, 2)), mean_reward, self.decay)


@settings(kw_only=True)
class LeaveOneOut(Baseline):
    """The mean reward of the other K - 1 actions at the same input.

    In an environment: of the other K - 1 episodes from the same start, from the same time on.
    """

    name: ClassVar[str] = "leave_one_out"
    n_needed: ClassVar[int] = 2

    def expected(self, earned: Earned, mean_reward: Tensor) -> Tensor | float:
        return earned.others()


CHOICES = {made.name: (made, "") for made in (RunningMean(), LeaveOneOut(), NoBaseline())}


@settings
class Acting(Descent):
    """A rule that draws actions from a policy, the network's outputs, and hears their rewards.

    Parameters
    ----------
    n_actions : int, >= 1
        Actions drawn, and rewards heard, for each input; in an environment, episodes from each
        start.
    discount : float in [0, 1]
        Of what later steps of an episode earn, for each step; one action by itself has none.
    entropy_bonus : float, >= 0
        Reward for a nat of the policy's entropy; for values the entropy is constant and it changes
        nothing.
    action_std : float, > 0
        Standard deviation of the actions for values, in units of the standardised targets; classes
        do not use it.
    """

    signal: ClassVar[Signal] = Signal.REWARD

    n_actions: Annotated[PositiveInt, Choice(1, 2, 4, 8)] = 1
    entropy_bonus: Annotated[OneOrEach[NonNegative], LogUniform(1e-3, 1.0)] = 0.1
    action_std: Annotated[Positive, LogUniform(0.05, 2.0)] = 0.5
    discount: UnitInterval = 0.99

    def situations(self, state: State, batch: Batch, problem: Problem, rng: Stream) -> Batch:
        """What is to be acted in: the batch, or what episodes lead to by the policy's actions."""

        def choose(outputs: Tensor) -> Tensor:
            return self.policy(problem, outputs).sample(1, rng)

        return problem.situations(state["params"], batch, choose, self.n_actions)

    def act(
        self, problem: Problem, met: Batch, policy: Softmax | Gaussian, rng: Stream
    ) -> tuple[Tensor, Earned]:
        """Actions (R, B, K, ...) in situations, and what they earned; K = 1 in episodes."""
        lived = problem.lived(met)
        if lived is not None:
            returns = lived.returns(self.discount)
            return lived.actions, Earned(returns, lambda: lived.others(self.discount))
        actions = policy.sample(self.n_actions, rng)
        return actions, Earned.by(problem.reward(actions, met))

    def policy(self, problem: Problem, outputs: Tensor) -> Softmax | Gaussian:
        """Policy over classes by these logits, or values around these, (R, B, n_outputs)."""
        if problem.spec.target_kind is TargetKind.CLASSES:
            return Softmax(outputs)
        return Gaussian(outputs, self.action_std)


@settings
class Comparing(Acting):
    """An acting rule that compares each reward with what was to be expected, without a critic.

    Parameters
    ----------
    baseline : Baseline
        What a reward is compared with.
    """

    baseline: Baseline = RunningMean()

    def __post_init__(self) -> None:
        self.baseline.require("n_actions", self.n_actions)

    def remembered(self, problem: Problem, params: Tensor, rng: Stream) -> Mapping[str, Any]:
        return {"mean_reward": params.new_zeros(len(params))}

    def advantages(self, state: State, earned: Earned) -> Tensor:
        """Return how much each reward (R, B, K) is above its baseline."""
        return earned.rewards - self.baseline.expected(earned, state["mean_reward"])

    def heard(self, state: State, earned: Earned) -> dict[str, Tensor]:
        """Entries of the state after these rewards."""
        return {"mean_reward": self.baseline.after(state["mean_reward"], earned.rewards)}


def draw_classes(probabilities: Tensor, n_draws: int, rng: Stream) -> Tensor:
    """Draw classes (R, B, K) of probabilities (R, B, n): where uniform draws fall in their sum."""
    uniform = rng.uniform(probabilities.shape[1], n_draws)
    edges = probabilities.cumsum(-1)[..., :-1].contiguous()
    return torch.searchsorted(edges, uniform, right=True)


class Softmax:
    """Policy over classes.

    Parameters
    ----------
    outputs : Tensor of shape (R, B, n_outputs)
        Logits.
    """

    def __init__(self, outputs: Tensor) -> None:
        self.log_probabilities = torch.log_softmax(outputs, -1)
        self.probabilities = self.log_probabilities.exp()

    def sample(self, n_actions: int, rng: Stream) -> Tensor:
        """Draw actions (R, B, K)."""
        return draw_classes(self.probabilities, n_actions, rng)

    def log_probability(self, actions: Tensor) -> Tensor:
        """Return log pi(action), shape (R, B, K)."""
        return self.log_probabilities.gather(-1, actions)

    def score(self, actions: Tensor, weights: Tensor) -> Tensor:
        """Sum over actions of weight * d log pi(action) / d outputs, shape (R, B, n_outputs)."""
        named = torch.zeros_like(self.probabilities).scatter_add_(-1, actions, weights)
        return named - weights.sum(-1, keepdim=True) * self.probabilities

    def entropy_gradient(self) -> Tensor:
        """Return d entropy / d outputs."""
        entropy = -(self.probabilities * self.log_probabilities).sum(-1, keepdim=True)
        return -self.probabilities * (self.log_probabilities + entropy)


class Gaussian:
    """Policy over values: the outputs are its mean, its standard deviation is fixed.

    Parameters
    ----------
    outputs : Tensor of shape (R, B, n_outputs)
    std : float
    """

    def __init__(self, outputs: Tensor, std: float) -> None:
        self.mean = outputs
        self.std = std

    def sample(self, n_actions: int, rng: Stream) -> Tensor:
        """Draw actions (R, B, K, n_outputs)."""
        noise = rng.normal(self.mean.shape[1], n_actions, self.mean.shape[2])
        return self.mean.unsqueeze(2) + self.std * noise

    def log_probability(self, actions: Tensor) -> Tensor:
        """Return the logarithm of the density at each action, shape (R, B, K)."""
        distance = (actions - self.mean.unsqueeze(2)) / self.std
        return -0.5 * distance.square().sum(-1) - self.mean.shape[2] * (
            log(self.std) + 0.5 * log(2 * pi)
        )

    def score(self, actions: Tensor, weights: Tensor) -> Tensor:
        """Sum over actions of weight * d log pi(action) / d outputs, shape (R, B, n_outputs)."""
        return (weights.unsqueeze(-1) * (actions - self.mean.unsqueeze(2))).sum(2) / self.std**2

    def entropy_gradient(self) -> float:
        """Return d entropy / d outputs: the entropy depends on the standard deviation alone."""
        return 0.0
