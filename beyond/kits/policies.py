"""What methods that act share: distributions over actions, and baselines of their rewards."""

from __future__ import annotations

from collections.abc import Mapping
from math import log, pi
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from beyond.contracts import Signal, TargetKind
from beyond.errors import require
from beyond.kits.descent import Descent, State
from beyond.problem import Problem
from beyond.settings import BelowOne, NonNegative, Positive, PositiveInt, settings
from beyond.streams import Stream

Baseline = Literal["none", "running_mean", "leave_one_out"]


@settings
class Acting(Descent):
    """A rule that draws actions from a policy, the network's outputs, and hears their rewards.

    Parameters
    ----------
    n_actions : int, >= 1
        Actions drawn, and rewards heard, for each input.
    entropy_bonus : float, >= 0
        Reward for a nat of the policy's entropy; for values the entropy is constant and it changes
        nothing.
    action_std : float, > 0
        Standard deviation of the actions for values, in units of the standardised targets; classes
        do not use it.
    """

    signal: ClassVar[Signal] = Signal.REWARD

    n_actions: PositiveInt = 1
    entropy_bonus: NonNegative = 0.1
    action_std: Positive = 0.5

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
    baseline : {"none", "running_mean", "leave_one_out"}
        What a reward is compared with; the last needs at least two actions.
    baseline_decay : float in [0, 1)
        Of the running mean; the other baselines do not use it.
    """

    baseline: Baseline = "running_mean"
    baseline_decay: BelowOne = 0.9

    def __post_init__(self) -> None:
        require_others("n_actions", self.n_actions, self.baseline)

    def remembered(self, problem: Problem, params: Tensor, rng: Stream) -> Mapping[str, Any]:
        return {"mean_reward": torch.zeros(len(params))}

    def advantages(self, state: State, rewards: Tensor) -> Tensor:
        """Return how much each reward (R, B, K) is above its baseline."""
        return rewards - expected_reward(self.baseline, rewards, state["mean_reward"])

    def heard(self, state: State, rewards: Tensor) -> dict[str, Tensor]:
        """Entries of the state after these rewards: their running mean, a later baseline."""
        return {"mean_reward": running_mean(state["mean_reward"], rewards, self.baseline_decay)}


def require_others(setting: str, n_actions: int, baseline: Baseline) -> None:
    """Raise `InputError` where an action has no others at its input to be compared with."""
    enough = n_actions >= 2 or baseline != "leave_one_out"
    require(setting, ">= 2 with baseline leave_one_out", n_actions, enough)


def expected_reward(baseline: Baseline, rewards: Tensor, mean_reward: Tensor) -> Tensor | float:
    """What each reward (R, B, K) is compared with: independent of its action, so unbiased.

    Parameters
    ----------
    baseline : {"none", "running_mean", "leave_one_out"}
        Nothing; `mean_reward`, (R,), see `running_mean`; or the mean reward of the other K - 1
        actions at the input.
    """
    if baseline == "running_mean":
        return mean_reward[:, None, None]
    if baseline == "leave_one_out":
        return (rewards.sum(-1, keepdim=True) - rewards) / (rewards.shape[-1] - 1)
    return 0.0


def running_mean(mean_reward: Tensor, rewards: Tensor, decay: float) -> Tensor:
    """Return decay * mean_reward + (1 - decay) * mean reward, (R,), of rewards (R, B, K)."""
    return torch.lerp(rewards.mean((1, 2)), mean_reward, decay)


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
