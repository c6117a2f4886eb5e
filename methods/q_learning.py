"""Q-learning (Watkins & Dayan, 1992): the network predicts what each action earns from now on.

Its outputs are the action values Q(x, .). Only the action that was taken is told what it earned;
the answer to an input is the action with the largest value.

    a_k ~ exploration                                               k = 1 .. K
    y_k   = r_k + gamma max_b Q(x'_k, b)                            x'_k: where it led, if anywhere
    dQ(a) = (1/K) sum_{k: a_k = a} (Q(x, a_k) - y_k)                the derivative of (Q - y)^2 / 2
    g     = the chain rule, applied to dQ / B at the outputs        handed to the optimizer

On data an answer leads to nothing: y = r. In an environment a step plays whole episodes, K from
each start, and learns from all that was met; an action that ends one leads to nothing, one after
which it is cut off does.

    epsilon_greedy  a = argmax Q, one of equal ones at random, but with probability epsilon any
                    action; epsilon goes in a straight line from its first to its final value over
                    n_decay_steps steps, and stays
    softmax         a ~ softmax(Q / temperature)

Departures: a network in place of the table; a batch of inputs, or of episodes, instead of one step;
neither a memory of earlier episodes nor a second, slower network for y.
Needs: weight transport, global loss, stored activations, backward locking.
Cost: 1 forward and 1 backward pass whatever K is; rewards are counted apart. In an environment 3
forward passes: to act, to learn, and for y.
Check: the values become the mean rewards, and the gradient equals automatic differentiation
(tests/methods/test_q_learning.py).
Source: Machine Learning 8, 279-292, doi:10.1007/BF00992698.
"""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

import torch
from torch import Tensor

from beyond.contracts import Batch, Signal, TargetKind
from beyond.control import Lived
from beyond.errors import UnsupportedError
from beyond.kits.descent import Descent, Direction, State
from beyond.kits.policies import Softmax
from beyond.problem import Problem
from beyond.search import Choice, LogUniform, Uniform
from beyond.settings import Positive, PositiveInt, UnitInterval, settings
from beyond.streams import Stream


@settings
class QLearning(Descent):
    """Learn what each action earns; for classes only.

    Parameters
    ----------
    n_actions : int, >= 1
        Actions taken, and rewards heard, for each input; in an environment, episodes from each
        start.
    discount : float in [0, 1]
        gamma, for each step; one action by itself does not use it.
    exploration : {"epsilon_greedy", "softmax"}
        How actions are drawn from the values.
    epsilon, final_epsilon : float in [0, 1]
        Probability of an action at random, at the first step and in the end; softmax does not use
        it.
    n_decay_steps : int, >= 1
        Steps from the one to the other.
    temperature : float, > 0
        Difference in value that makes an action e times as likely; epsilon_greedy does not use it.
    """

    signal: ClassVar[Signal] = Signal.REWARD

    n_actions: Annotated[PositiveInt, Choice(1, 2, 4, 8)] = 1
    exploration: Annotated[Literal["epsilon_greedy", "softmax"], Choice()] = "epsilon_greedy"
    epsilon: Annotated[UnitInterval, Uniform(0.0, 0.5)] = 0.2
    final_epsilon: UnitInterval = 0.1
    n_decay_steps: PositiveInt = 1000
    temperature: Annotated[Positive, LogUniform(0.01, 1.0)] = 0.1
    discount: UnitInterval = 0.99

    def require(self, problem: Problem) -> None:
        if problem.spec.target_kind is not TargetKind.CLASSES:
            raise UnsupportedError(
                "action values need a finite number of actions: classes, not values"
            )

    def remembered(self, problem: Problem, params: Tensor, rng: Stream) -> Mapping[str, int]:
        return {"n_steps": 0}  # how far exploration has come

    def direction(self, state: State, batch: Batch, problem: Problem, rng: Stream) -> Direction:
        def choose(values: Tensor) -> Tensor:
            return self._explore(values, 1, state["n_steps"], rng)

        met = problem.situations(state["params"], batch, choose, self.n_actions)
        values, tape = problem.forward(state["params"], met.inputs, rng)  # (R, B, n_outputs)
        lived = problem.lived(met)
        if lived is not None:
            actions, earned = lived.actions, self._foreseen(lived, state, problem)
        else:
            actions = self._explore(values, self.n_actions, state["n_steps"], rng)
            earned = problem.reward(actions, met)
        surprise = values.gather(2, actions) - earned  # (R, B, K)
        error = torch.zeros_like(values).scatter_add_(2, actions, surprise / surprise[0].numel())
        return problem.backward(tape, error), {"n_steps": state["n_steps"] + 1}

    def _foreseen(self, lived: Lived, state: State, problem: Problem) -> Tensor:
        """What each step earned, and what the values promise after it, (1, N, 1)."""
        promised = problem.outputs(state["params"], lived.following).amax(2, keepdim=True)
        return lived.immediate() + self.discount * promised * ~lived.terminated

    def _explore(self, values: Tensor, n_actions: int, n_steps: int, rng: Stream) -> Tensor:
        """Actions (R, B, K) for values (R, B, n_outputs)."""
        if self.exploration == "softmax":
            return Softmax(values / self.temperature).sample(n_actions, rng)
        progress = min(1.0, n_steps / self.n_decay_steps)
        epsilon = self.epsilon + progress * (self.final_epsilon - self.epsilon)
        _, n_inputs, n_outputs = values.shape
        at_random = rng.uniform(n_inputs, n_actions) < epsilon
        # of equal values one is drawn, as the first may be any class
        best = values == values.amax(2, keepdim=True)
        greedy = (best * (1 + rng.uniform(n_inputs, n_outputs))).argmax(2, keepdim=True)
        return torch.where(at_random, rng.integers(n_outputs, n_inputs, n_actions), greedy)
