"""REINFORCE (Williams, 1992), with the baseline of Kool, van Hoof & Welling (2019) as a choice.

The task as a bandit: an input x comes, the network's outputs z make a policy pi, K actions are
drawn from it and each earns a reward. Nobody says which action would have been right. In an
environment K episodes are played from each start, and every situation met in them is an input with
one action, whose reward is all that is earned from it on, later steps discounted. For each input

    a_k ~ pi(. | z)                                          k = 1 .. K
    A_k = r_k - b_k                                          reward above the baseline
    dz  = (1/K) sum_k A_k d log pi(a_k | z) / dz + c dH/dz   an ascent direction; H: entropy of pi
    g   = the chain rule, applied to -dz / B at the outputs  handed to the optimizer

    classes   pi = softmax(z)       d log pi / dz = one_hot(a) - pi    dH/dz = -pi (log pi + H)
    values    pi = N(z, std^2 I)    d log pi / dz = (a - z) / std^2    dH/dz = 0
    baseline  none: b_k = 0;  running_mean: b <- decay b + (1 - decay) mean r, before the step;
              leave_one_out: b_k = sum_{j != k} r_j / (K - 1); over the start's other episodes, from
              the same time on, in an environment

Departures: units of the output layer alone are stochastic, the hidden ones are carried through by
the chain rule (the source combines the two likewise); a batch of inputs instead of one; any
optimizer instead of a plain step; the entropy term (Williams & Peng, 1991, Connection Science 3,
241-268), without which whole classes are never named again.
Needs: weight transport, global loss, stored activations, backward locking.
Cost: 1 forward and 1 backward pass whatever K is, for the derivative is linear in the error at the
outputs; rewards are counted apart. In an environment one more forward pass, to act.
Check: the estimate, averaged over every action by enumeration, equals the gradient of the expected
reward by automatic differentiation (tests/methods/test_reinforce.py).
Source: Machine Learning 8, 229-256, doi:10.1007/BF00992696; leave-one-out: Buy 4 REINFORCE samples,
get a baseline for free!, ICLR workshop on deep reinforcement learning meets structured prediction,
2019.
"""

from beyond.contracts import Batch
from beyond.kits.descent import Direction, State
from beyond.kits.policies import Comparing
from beyond.problem import Problem
from beyond.replicas import each
from beyond.settings import settings
from beyond.streams import Stream


@settings
class Reinforce(Comparing):
    """Make actions that earned more than expected likelier."""

    def direction(self, state: State, batch: Batch, problem: Problem, rng: Stream) -> Direction:
        met = self.situations(state, batch, problem, rng)
        outputs, tape = problem.forward(state["params"], met.inputs, rng)
        policy = self.policy(problem, outputs)
        actions, earned = self.act(problem, met, policy, rng)
        advantages = self.advantages(state, earned)  # (R, B, K)
        ascent = (
            policy.score(actions, advantages / advantages.shape[2])
            + each(self.entropy_bonus, outputs) * policy.entropy_gradient()
        )
        gradient = problem.backward(tape, -ascent / outputs.shape[1])
        return gradient, self.heard(state, earned)
