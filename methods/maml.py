"""MAML: model-agnostic meta-learning (Finn, Abbeel & Levine, 2017).

Find weights from which a few gradient steps on an episode's support answer its queries well. For
each episode e, with S the loss on its support and Q that on its queries,

    w_0     = w
    w_{k+1} = w_k - a dS/dw(w_k)                k = 0 .. K-1, the inner steps
    v_K     = dQ/dw(w_K)                        at the adapted weights
    v_k     = (I - a d2S/dw2(w_k)) v_{k+1}      back through the inner steps; order=first: v_0 = v_K
    g       = mean over episodes of v_0         handed to the optimizer

A prediction takes `n_adaptation_steps` inner steps on the episode's support first. With
n_inner_steps=0 this is joint training on all episodes at once and fine-tuning afterwards, the
paper's baseline. With scope=last_layer (ANIL; Raghu, Raghu, Bengio & Vinyals, 2020) the inner steps
change the last layer alone, the features below being reused.

Departures: gradients are not clipped, and initial weights are the harness's instead of the
paper's. Dropout is off.
Needs: weight transport, global loss, stored activations, separate phases, backward locking.
Cost: a forward and a backward pass of the queries; for each inner step the same of the support, and
in second order about two and a half more (4 backward less 2 forward passes).
Check: the gradient equals finite differences in float64; first order equals the gradient at the
adapted weights (tests/methods/test_maml.py).
Source: ICML 2017, arXiv:1703.03400; ANIL: ICLR 2020, arXiv:1909.09157.
"""

from typing import Annotated, ClassVar, Literal

from torch import Tensor

from beyond.contracts import Batch, Signal
from beyond.kits.adaptation import Adaptive, InnerLoop, gathered, in_lanes, require_episodes, spread
from beyond.kits.descent import Descent, State
from beyond.kits.optimizers import Adam, Optimizer
from beyond.network.layers import ONE_MATRIX, Role
from beyond.problem import Problem
from beyond.search import Choice, LogUniform
from beyond.settings import BatchSize, NonNegativeInt, Positive, settings
from beyond.streams import Stream


@settings
class MAML(Adaptive, Descent):
    """Learn where to start from.

    Parameters
    ----------
    batch_size : int, >= 1, optional
        Episodes per step; None takes the whole training set. So does any larger number.
    inner_rate : float, > 0
        Learning rate of the inner steps. The default suits regression/sinusoids; image/glyphs takes
        ten times as much.
    n_inner_steps : int, >= 0
        In training; 0 trains on the queries jointly.
    order : {"second", "first"}
        Whether the inner steps are differentiated.
    scope : {"all", "last_layer"}
        What the inner steps change.
    """

    signal: ClassVar[Signal] = Signal.GRADIENT

    optimizer: Optimizer = Adam(learning_rate=0.001)
    batch_size: Annotated[BatchSize, LogUniform(4, 64)] = 25
    inner_rate: Annotated[Positive, LogUniform(0.001, 1.0)] = 0.01
    n_inner_steps: Annotated[NonNegativeInt, Choice(1, 2, 4)] = 1
    n_adaptation_steps: NonNegativeInt = 1
    order: Literal["second", "first"] = "second"
    scope: Literal["all", "last_layer"] = "all"

    def require(self, problem: Problem) -> None:
        require_episodes(problem.spec)
        known = ONE_MATRIX if self.order == "second" else set(Role)
        problem.require_roles("maml", known, "steps through time are not differentiated twice")

    def direction(self, state: State, batch: Batch, problem: Problem, rng: Stream) -> Tensor:
        queries, support, lanes = in_lanes(batch, problem)
        inner, start = self._inner(self.n_inner_steps), spread(state["params"], support)
        if self.order == "second":
            (gradient,) = inner.gradients(start, self.inner_rate, queries, support, lanes)
        else:
            gradient = lanes.gradient(inner.adapt(start, self.inner_rate, support, lanes), queries)
        return gathered(gradient, len(state["params"]))

    def adapted(self, state: State, support: Batch, lanes: Problem) -> Tensor:
        inner = self._inner(self.n_adaptation_steps)
        return inner.adapt(spread(state["params"], support), self.inner_rate, support, lanes)

    def _inner(self, n_steps: int) -> InnerLoop:
        return InnerLoop(n_steps, self.scope == "last_layer")
