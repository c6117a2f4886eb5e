"""PEPITA: the error perturbs the input to modulate activity (Dellaferrera & Kreiman, 2022).

Instead of a backward pass, a second forward pass: of the input with the error added to it, through
a fixed random matrix. A layer learns from the difference between its activities in the two passes.

    h_0  = x        h_l  = f(W_l h_{l-1} + b_l)   first pass
    e    = h_L - target                           derivative of the loss at the outputs
    h_0' = x + F e  h_l' = f(W_l h_{l-1}' + b_l)  second pass, modulated
    g_l  = (h_l - h_l') h_{l-1}'^T                l < L; for the optimizer, h_l - h_l' for b_l
    g_L  = e h_{L-1}'^T                           likewise, and e for b_L

Departures: the last layer follows the error of the first pass, as algorithm 1 has it, where the
authors' torch code takes that of the second; any optimizer instead of momentum with a decaying
rate; layers have biases; F is normal where the source's is uniform; where pooling comes before the
activation, the difference is taken behind both and given to the winners of the second pass. Symbols
cannot be added to: F e is added to the embedded input, which is then h_1', and the rule makes the
embedding's update h_1 - h_1' = -F e for each letter that was there.
Needs: global loss, stored activations, separate phases.
Cost: 2 forward passes and the weights' half of a backward pass; one product with F.
Check: a step equals the definition worked by hand on plain tensors (tests/methods/test_pepita.py).
Source: Proceedings of ICML 2022, PMLR 162, 4937-4955, arXiv:2201.11665, algorithm 1.
"""

from collections.abc import Mapping, Sequence
from math import prod
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from beyond.contracts import Batch, Signal
from beyond.kits.descent import Descent, State
from beyond.kits.passes import forward
from beyond.network.layers import TRANSPARENT
from beyond.network.segments import Segment
from beyond.network.trainable import Tape
from beyond.problem import Problem
from beyond.replicas import each
from beyond.search import LogUniform
from beyond.settings import OneOrEach, Positive, settings
from beyond.streams import Stream


@settings
class Pepita(Descent):
    """Show the network its error at the input, and learn from what that changes.

    Parameters
    ----------
    feedback_std : float, > 0
        Standard deviation of F, in units of 1/sqrt(features): about how far an error of length one
        moves the input. The source's is 0.07.
    """

    signal: ClassVar[Signal] = Signal.ERROR

    feedback_std: Annotated[OneOrEach[Positive], LogUniform(0.005, 0.5)] = 0.05

    def require(self, problem: Problem) -> None:
        problem.require_roles(
            "pepita", TRANSPARENT, "what it does between its inputs and its units is not to be seen"
        )

    def remembered(self, problem: Problem, params: Tensor, rng: Stream) -> Mapping[str, Tensor]:
        first = problem.stages[0]
        width = prod(first.output_shape if problem.spec.n_symbols else first.input_shape)
        feedback = rng.normal(width, problem.spec.n_outputs)
        return {"feedback": feedback * (each(self.feedback_std, feedback) / width**0.5)}  # F

    def direction(self, state: State, batch: Batch, problem: Problem, rng: Stream) -> Tensor:
        params, stages = state["params"], problem.stages
        masks = rng.state()
        activities, _ = forward(stages, params, batch.inputs, rng)  # h_0 .. h_L
        error = problem.error(activities[-1], batch.targets)  # (R, B, n_outputs), divided by B

        rng.restore(masks)  # dropout, where there is any, is the same in both passes
        n_examples = error.shape[1]
        # F e, (R, B, features)
        modulation = n_examples * problem.matmul(error, state["feedback"].mT)
        modulated, symbols = batch.inputs, problem.spec.n_symbols
        if not symbols:
            modulated = modulated + modulation.view(modulated.shape)
        singles, parts = iter(problem.layers), []
        for stage, activity in zip(stages, activities[1:], strict=True):
            layers = [next(singles) for _ in stage.layers]
            (_, *_, modulated), tapes = forward(layers, params, modulated, rng)
            if symbols and stage is stages[0]:
                modulated = modulated + modulation
            difference = error if stage is stages[-1] else (activity - modulated) / n_examples
            parts.append(_differences_to_gradients(layers, tapes, difference))
        return torch.cat(parts, 1)


def _differences_to_gradients(
    layers: Sequence[Segment], tapes: Sequence[Tape], difference: Tensor
) -> Tensor:
    """Direction (R, n) for the weights of a stage, from the difference at the end of their stage.

    The rule knows no derivative of an activation: what does not change the shape is passed as it
    is. Pooling and flattening are undone.
    """
    first = next(index for index, layer in enumerate(layers) if layer.start < layer.stop)
    gradients: list[Tensor] = []
    for layer, tape in zip(reversed(layers[first:]), reversed(tapes[first:]), strict=True):
        if layer.start < layer.stop:
            gradients.append(layer.gradient(tape, difference))
        elif layer.input_shape != layer.output_shape:
            difference = layer.carry(tape, difference)
    return torch.cat(gradients[::-1], 1)
