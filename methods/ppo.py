"""Proximal policy optimization, PPO (Schulman, Wolski, Dhariwal, Radford & Klimov, 2017), for episodes of one step.

Rewards of one batch of actions are used for several updates. The further the policy has moved from the one that acted,
the less those rewards say of it: an action's share in the objective is cut once its probability has changed by more
than the clip allows, in the direction that its reward asked for.

    a_k ~ pi_old(. | z)                                             k = 1 .. K, asked for a reward once
    A_k = r_k - b_k                                                 reward above the baseline
    n_epochs times, for each minibatch:
        rho_k = pi(a_k | z) / pi_old(a_k | z)
        L     = (1/K) sum_k min(rho_k A_k, clip(rho_k, 1 - e, 1 + e) A_k) + c H         to be raised
        dz    = (1/K) sum_{k not cut} rho_k A_k d log pi(a_k | z) / dz + c dH/dz        its derivative
        g     = the chain rule, applied to -dz / B at the outputs                       handed to the optimizer

    cut       A_k > 0 and rho_k > 1 + e, or A_k < 0 and rho_k < 1 - e: there min takes the constant branch
    baseline  none: b_k = 0;  running_mean: b <- decay b + (1 - decay) mean r, taken before the step;
              leave_one_out: b_k = sum_{j != k} r_j / (K - 1)

Policies pi are as for REINFORCE: softmax for classes, Gaussian of a fixed width for values.

Departures: every episode ends after one action, so there is no advantage to sum over time; a baseline of the rewards
themselves in place of a learnt value function, so that against REINFORCE nothing but reuse and clip is new.
Needs: weight transport, global loss, stored activations, backward locking.
Cost: n_epochs + 1 forward and n_epochs backward passes; rewards are counted apart.
Check: the first update without a cut is REINFORCE's, and every update's gradient equals automatic differentiation of L
(tests/methods/test_ppo.py).
Source: arXiv:1707.06347, equation 7.
"""

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from beyond.contracts import Batch, Signal
from beyond.kits.descent import Descent, State
from beyond.kits.policies import Baseline, expected_reward, policy_of, require_others, running_mean
from beyond.problem import Problem
from beyond.settings import BelowOne, NonNegative, Positive, PositiveInt, PositiveOrInf, settings
from beyond.streams import Stream


@settings
class PPO(Descent):
    """Make actions that earned more than expected likelier, several times over but not far.

    Parameters
    ----------
    n_actions : int, >= 1
        Actions drawn, and rewards heard, for each input.
    n_epochs : int, >= 1
        Times that the rewards of one step are gone through.
    n_minibatches : int, >= 1
        Parts into which the inputs of a step are shuffled, each epoch anew; an update for each.
    clip : float, > 0
        Relative change of an action's probability beyond which its reward asks for no more; inf never cuts.
    baseline : {"none", "running_mean", "leave_one_out"}
        What a reward is compared with; the last needs at least two actions.
    baseline_decay : float in [0, 1)
        Of the running mean; the other baselines do not use it.
    normalise_advantages : bool
        Whether a step's advantages are brought to mean 0 and standard deviation 1.
    entropy_bonus : float, >= 0
        Reward for a nat of the policy's entropy; for values the entropy is constant and it changes nothing.
    action_std : float, > 0
        Standard deviation of the actions for values, in units of the standardised targets; classes do not use it.
    """

    signal: ClassVar[Signal] = Signal.REWARD

    batch_size: PositiveInt = 64
    n_actions: PositiveInt = 1
    n_epochs: PositiveInt = 2
    n_minibatches: PositiveInt = 2
    clip: PositiveOrInf = 0.2
    baseline: Baseline = "running_mean"
    baseline_decay: BelowOne = 0.9
    normalise_advantages: bool = False
    entropy_bonus: NonNegative = 0.1
    action_std: Positive = 0.5

    def __post_init__(self) -> None:
        require_others("n_actions", self.n_actions, self.baseline)

    def remembered(self, problem: Problem, params: Tensor, rng: Stream) -> Mapping[str, Tensor]:
        return {"mean_reward": torch.zeros(len(params))}

    def step(self, state: State, batch: Batch, problem: Problem, rng: Stream) -> State:
        policy = policy_of(problem.spec.target_kind, problem.outputs(state["params"], batch.inputs), self.action_std)
        actions = policy.sample(self.n_actions, rng)
        rewards = problem.reward(actions, batch)  # (R, B, K)
        advantages = self._advantages(rewards, state["mean_reward"])
        earned = actions, policy.log_probability(actions), advantages
        state = {**state, "mean_reward": running_mean(state["mean_reward"], rewards, self.baseline_decay)}
        replicas = torch.arange(len(rewards)).unsqueeze(1)
        for _ in range(self.n_epochs):
            for part in rng.permutation(batch.inputs.shape[1]).chunk(self.n_minibatches, 1):
                minibatch = Batch(batch.inputs[replicas, part], [own[replicas, part] for own in earned])
                state = self.descend(state, self.direction(state, minibatch, problem, rng), problem)
        return state

    def direction(self, state: State, batch: Batch, problem: Problem, rng: Stream) -> Tensor:
        """One update's: in place of targets the batch has actions, their log probabilities then, and advantages."""
        actions, before, advantages = batch.targets
        outputs, tape = problem.forward(state["params"], batch.inputs, rng)
        policy = policy_of(problem.spec.target_kind, outputs, self.action_std)
        ratio = (policy.log_probability(actions) - before).exp()
        limited = ratio.clamp(1 - self.clip, 1 + self.clip)
        kept = ratio * advantages <= limited * advantages  # the branch of the minimum that still has a slope
        ascent = policy.score(actions, kept * ratio * advantages / self.n_actions)
        ascent = ascent + self.entropy_bonus * policy.entropy_gradient()
        return problem.backward(tape, -ascent / outputs.shape[1])

    def _advantages(self, rewards: Tensor, mean_reward: Tensor) -> Tensor:
        """Rewards above their baseline, which is independent of the action that is judged, (R, B, K)."""
        advantages = rewards - expected_reward(self.baseline, rewards, mean_reward)
        if not self.normalise_advantages:
            return advantages
        spread, mean = torch.std_mean(advantages, (1, 2), correction=0, keepdim=True)
        return (advantages - mean) / (spread + 1e-8)
