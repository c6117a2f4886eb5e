"""Advantage actor-critic (Barto, Sutton & Anderson, 1983; Mnih et al., 2016).

The actor is the network, whose outputs z make a policy pi; the critic is a linear unit on the
network's last hidden activations h, which learns what reward to expect at an input. An action is
judged by what it earned beyond that.

    a_k ~ pi(. | z)                                                k = 1 .. K
    v   = u^T h + u_0                                              the reward to expect
    A_k = r_k - v                                                  reward above it
    dz  = (1/K) sum_k A_k d log pi(a_k | z) / dz + c dH/dz         ascent for the actor; H: entropy
    dv  = (1/K) sum_k A_k                                          the critic descends (r - v)^2 / 2
    dh  = W^T dz + value_weight u dv                               for the hidden layers; W on top
    g   = the chain rule, applied to -dz / B, -dv / B and -dh / B  handed to the optimizer, both

In an environment K episodes are played from each start; every situation met is an input with one
action, whose reward r is all that is earned from it on, later steps discounted.

An output layer without hidden layers below it shares nothing: there h are the inputs, embedded
where they are symbols.

Departures: r is summed to the end of the episode, so the temporal difference r + gamma v(x') - v(x)
has no second term; whole episodes in place of stretches of them; any optimizer, one for both.
Needs: weight transport, global loss, stored activations, backward locking.
Cost: 1 forward and 1 backward pass, and 4 operations for each activation in h; rewards are counted
apart. In an environment one more forward pass, to act.
Check: over every action by enumeration the actor's mean update is the policy gradient whatever the
critic says, and the critic finds the mean reward (tests/methods/test_actor_critic.py).
Source: IEEE Transactions on Systems, Man, and Cybernetics 13, 834-846,
doi:10.1109/TSMC.1983.6313077; shared layers, value_weight and entropy bonus: arXiv:1602.01783.
"""

from collections.abc import Mapping
from math import prod
from typing import Annotated

import torch
from torch import Tensor

from beyond.contracts import Batch
from beyond.kits.descent import State
from beyond.kits.passes import back, forward
from beyond.kits.policies import Acting
from beyond.problem import Problem
from beyond.replicas import each
from beyond.search import LogUniform
from beyond.settings import NonNegative, OneOrEach, settings
from beyond.streams import Stream


@settings
class ActorCritic(Acting):
    """Make actions that earned more than the critic expected likelier.

    Parameters
    ----------
    value_weight : float, >= 0
        Of the critic's error in what the hidden layers are told; 0 leaves them to the actor. The
        critic's weights always follow their error in full.
    """

    value_weight: Annotated[OneOrEach[NonNegative], LogUniform(0.05, 5.0)] = 0.5

    def remembered(self, problem: Problem, params: Tensor, rng: Stream) -> Mapping[str, Tensor]:
        n_features = prod(problem.stages[-1].input_shape)
        # the critic, its bias last
        return {"extras": params.new_zeros(len(params), n_features + 1)}

    def direction(self, state: State, batch: Batch, problem: Problem, rng: Stream) -> Tensor:
        *trunk, head = problem.stages
        params, value_weights, value_bias = (
            state["params"],
            state["extras"][:, :-1],
            state["extras"][:, -1:],
        )
        met = self.situations(state, batch, problem, rng)
        (*_, hidden), tapes = forward(trunk, params, met.inputs, rng)
        outputs, head_tape = head.forward(params, hidden, rng)
        features = hidden.flatten(2)  # (R, B, n_features)
        n_inputs = features.shape[1]
        # (R, B, 1)
        values = problem.matmul(features, value_weights.unsqueeze(2)) + value_bias.unsqueeze(1)

        policy = self.policy(problem, outputs)
        actions, earned = self.act(problem, met, policy, rng)
        advantages = earned.rewards - values  # (R, B, K)
        ascent = (
            policy.score(actions, advantages / advantages.shape[2])
            + each(self.entropy_bonus, outputs) * policy.entropy_gradient()
        )
        actor_error = -ascent / n_inputs
        critic_error = -advantages.mean(2, keepdim=True) / n_inputs  # (R, B, 1)

        from_features = problem.matmul(features.mT, critic_error).squeeze(2)
        critic_gradient = torch.cat([from_features, critic_error.sum(1)], 1)
        learnt = [head.gradient(head_tape, actor_error), critic_gradient]
        if trunk:
            weighted = each(self.value_weight, critic_error) * critic_error
            from_critic = (weighted * value_weights.unsqueeze(1)).view(hidden.shape)
            learnt.insert(0, back(trunk, tapes, head.carry(head_tape, actor_error) + from_critic))
        return torch.cat(learnt, 1)
