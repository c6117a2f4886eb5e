"""Proximal policy optimization (Schulman, Wolski, Dhariwal, Radford & Klimov, 2017), one step.

Rewards of one batch of actions are used for several updates. The further the policy has moved from
the one that acted, the less those rewards say of it: an action's share in the objective is cut once
its probability has changed by more than the clip allows, in the direction that its reward asked
for.

    a_k ~ pi_old(. | z)                                             k = 1 .. K, rewarded once
    A_k = r_k - b_k                                                 reward above the baseline
    n_epochs times, for each minibatch:
        rho_k = pi(a_k | z) / pi_old(a_k | z)
        L     = (1/K) sum_k min(rho_k A_k, clip(rho_k, 1 - e, 1 + e) A_k) + c H   to be raised
        dz    = (1/K) sum_{k not cut} rho_k A_k d log pi(a_k | z) / dz + c dH/dz  its derivative
        g     = the chain rule, applied to -dz / B at the outputs                 to the optimizer

In an environment K episodes are played from each start; every situation met is an input with one
action, whose reward is all that is earned from it on, later steps discounted.

    cut       A_k > 0 and rho_k > 1 + e, or A_k < 0 and rho_k < 1 - e: min is the constant branch
    baseline  none: b_k = 0;  running_mean: b <- decay b + (1 - decay) mean r, before the step;
              leave_one_out: b_k = sum_{j != k} r_j / (K - 1); over the start's other episodes, from
              the same time on, in an environment

Policies pi are as for REINFORCE: softmax for classes, Gaussian of a fixed width for values.

Departures: whole episodes in place of stretches of them; a baseline of the rewards themselves in
place of a learnt value function, so that against REINFORCE nothing but reuse and clip is new.
Needs: weight transport, global loss, stored activations, backward locking.
Cost: n_epochs + 1 forward and n_epochs backward passes; rewards are counted apart. In an
environment one more forward pass, to act.
Check: the first update without a cut is REINFORCE's, and every update's gradient equals automatic
differentiation of L (tests/methods/test_ppo.py).
Source: arXiv:1707.06347, equation 7.
"""

from typing import Annotated

import torch
from torch import Tensor

from beyond.contracts import Batch
from beyond.kits.descent import State
from beyond.kits.passes import row_numbers
from beyond.kits.policies import Comparing, Earned
from beyond.problem import Problem
from beyond.replicas import each
from beyond.search import Choice
from beyond.settings import BatchSize, PositiveInt, PositiveOrInf, settings
from beyond.streams import Stream


@settings
class PPO(Comparing):
    """Make actions that earned more than expected likelier, several times over but not far.

    Parameters
    ----------
    n_epochs : int, >= 1
        Times that the rewards of one step are gone through.
    n_minibatches : int, >= 1
        Parts into which the inputs of a step are shuffled, each epoch anew; an update for each.
    clip : float, > 0
        Relative change of an action's probability beyond which its reward asks for no more; inf
        never cuts.
    normalise_advantages : bool
        Whether a step's advantages are brought to mean 0 and standard deviation 1.
    """

    batch_size: BatchSize = 64
    n_epochs: Annotated[PositiveInt, Choice(1, 2, 4, 8)] = 2
    n_minibatches: PositiveInt = 2
    clip: PositiveOrInf = 0.2
    normalise_advantages: bool = False

    def step(self, state: State, batch: Batch, problem: Problem, rng: Stream) -> State:
        met = self.situations(state, batch, problem, rng)
        policy = self.policy(problem, problem.outputs(state["params"], met.inputs))
        actions, earned = self.act(problem, met, policy, rng)
        known = actions, policy.log_probability(actions), self.advantages(state, earned)
        state = {**state, **self.heard(state, earned)}
        replicas = row_numbers(earned.rewards)
        for _ in range(self.n_epochs):
            for part in rng.permutation(met.inputs.shape[1]).chunk(self.n_minibatches, 1):
                minibatch = Batch(
                    met.inputs[replicas, part], [values[replicas, part] for values in known]
                )
                state = self.descend(state, self.direction(state, minibatch, problem, rng), problem)
        return state

    def direction(self, state: State, batch: Batch, problem: Problem, rng: Stream) -> Tensor:
        """One update's: the batch has actions, log probabilities and advantages as targets."""
        actions, before, advantages = batch.targets
        outputs, tape = problem.forward(state["params"], batch.inputs, rng)
        policy = self.policy(problem, outputs)
        ratio = (policy.log_probability(actions) - before).exp()
        limited = ratio.clamp(1 - self.clip, 1 + self.clip)
        # the branch of the minimum that still has a slope
        kept = ratio * advantages <= limited * advantages
        ascent = policy.score(actions, kept * ratio * advantages / advantages.shape[2])
        ascent = ascent + each(self.entropy_bonus, outputs) * policy.entropy_gradient()
        return problem.backward(tape, -ascent / outputs.shape[1])

    def advantages(self, state: State, earned: Earned) -> Tensor:
        advantages = super().advantages(state, earned)
        if not self.normalise_advantages:
            return advantages
        spread, mean = torch.std_mean(advantages, (1, 2), correction=0, keepdim=True)
        return (advantages - mean) / (spread + 1e-8)
