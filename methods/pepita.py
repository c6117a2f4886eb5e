"""PEPITA: present the error to perturb the input to modulate activity (Dellaferrera & Kreiman, 2022).

Instead of a backward pass, a second forward pass: of the input with the error added to it, through a fixed random
matrix. A layer learns from the difference between its activities in the two passes.

    h_0  = x        h_l  = f(W_l h_{l-1} + b_l)        first pass
    e    = h_L - target                                derivative of the loss at the outputs
    h_0' = x + F e  h_l' = f(W_l h_{l-1}' + b_l)       second pass, modulated
    g_l  = (h_l - h_l') h_{l-1}'^T                     l < L; handed to the optimizer, and h_l - h_l' for b_l
    g_L  = e h_{L-1}'^T                                likewise, and e for b_L

Departures: the last layer follows the error of the first pass, as algorithm 1 has it, where the authors' torch code
takes that of the second; any optimizer instead of momentum with a decaying rate; layers have biases; F is normal where
the source's is uniform; where pooling comes before the activation, the difference is taken behind both and given to the
winners of the second pass. Symbols cannot be added to: F e is added to the embedded input, which is then h_1', and the
rule makes the embedding's own update h_1 - h_1' = -F e for each letter that was there.
Needs: global loss, stored activations, separate phases.
Cost: 2 forward passes and the weights' half of a backward pass; one product with F.
Check: a step equals the definition worked by hand on plain tensors (tests/methods/test_pepita.py).
Source: Proceedings of ICML 2022, PMLR 162, 4937-4955, arXiv:2201.11665, algorithm 1.
"""

from math import prod
from typing import Any, ClassVar, TypedDict

import torch
from torch import Tensor

from beyond.contracts import Batch, Method, Signal
from beyond.kits.optimizers import Adam, Optimizer
from beyond.network.layers import SUMS, WEIGHTLESS, Role
from beyond.network.segments import Segment
from beyond.problem import Problem
from beyond.settings import Positive, PositiveInt, settings
from beyond.streams import Stream


class State(TypedDict):
    """Weights, what brings the error to the input, and what the optimizer remembers."""

    params: Tensor  # (R, n)
    feedback: Tensor  # F, (R, features, n_outputs)
    optimizer: dict[str, Any]


@settings
class Pepita(Method[State]):
    """Show the network its error at the input, and learn from what that changes.

    Parameters
    ----------
    optimizer : Optimizer
        Turns the layers' differences into a change of the weights.
    batch_size : int, >= 1
        Examples a step; a training set that is smaller is taken whole.
    feedback_std : float, > 0
        Standard deviation of F, in units of 1/sqrt(features): about how far an error of length one moves the input.
        The source's is 0.07.
    """

    signal: ClassVar[Signal] = Signal.ERROR

    optimizer: Optimizer = Adam(learning_rate=0.003)
    batch_size: PositiveInt = 32
    feedback_std: Positive = 0.05

    def init(self, problem: Problem, params: Tensor, rng: Stream) -> State:
        known = SUMS | WEIGHTLESS | {Role.NORMALISATION}
        problem.require_roles("pepita", known, "what it does between its inputs and its units is not to be seen")
        first = problem.stages[0]
        width = prod(first.output_shape if problem.spec.n_symbols else first.input_shape)
        feedback = rng.normal(width, problem.spec.n_outputs) * (self.feedback_std / width**0.5)
        return {"params": params, "feedback": feedback, "optimizer": self.optimizer.init(params)}

    def step(self, state: State, batch: Batch, problem: Problem, rng: Stream) -> State:
        params, stages = state["params"], problem.stages
        masks = rng.state()
        activities = [batch.inputs]
        for stage in stages:
            activities.append(stage.forward(params, activities[-1], rng)[0])
        error = problem.error(activities[-1], batch.targets)  # (R, B, n_outputs), divided by B

        rng.restore(masks)  # dropout, where there is any, is the same in both passes
        n_examples = error.shape[1]
        modulation = n_examples * problem.matmul(error, state["feedback"].mT)  # F e, (R, B, features)
        gradients = []
        singles = iter(problem.layers)
        modulated = batch.inputs
        for index, stage in enumerate(stages):
            if index == 0 and not problem.spec.n_symbols:
                modulated = modulated + modulation.view(modulated.shape)
            layers = [next(singles) for _ in stage.layers]
            tapes = []
            for layer in layers:
                modulated, tape = layer.forward(params, modulated, rng)
                tapes.append(tape)
            if index == 0 and problem.spec.n_symbols:
                modulated = modulated + modulation
            is_last = index == len(stages) - 1
            difference = error if is_last else (activities[index + 1] - modulated) / n_examples
            gradients += _differences_to_gradients(layers, tapes, difference)
        params, optimizer = self.optimizer.update(torch.cat(gradients, 1), state["optimizer"], params)
        return {**state, "params": params, "optimizer": optimizer}

    def params(self, state: State) -> Tensor:
        return state["params"]


def _differences_to_gradients(layers: list[Segment], tapes: list[Any], difference: Tensor) -> list[Tensor]:
    """Each layer's direction (R, own weights), from the difference at the end of their stage.

    The rule knows no derivative of an activation: what does not change the shape is passed as it is. Pooling and
    flattening are undone.
    """
    first = next(index for index, layer in enumerate(layers) if layer.start < layer.stop)
    gradients: list[Tensor] = []
    for layer, tape in zip(reversed(layers[first:]), reversed(tapes[first:]), strict=True):
        if layer.start < layer.stop:
            gradients.insert(0, layer.gradient(tape, difference))
        elif layer.input_shape != layer.output_shape:
            difference = layer.carry(tape, difference)
    return gradients
