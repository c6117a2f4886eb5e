"""Forward-Forward (Hinton, 2022), with the label as part of the input.

Two forward passes and no backward pass: one of images that carry their label, one of images
that carry a wrong one. Each layer learns to be active in the first and quiet in the second.

    h_0   = x + label_scale p_c                           h_l = f(W_l hat_{l-1} + b_l)
    p_c   = a random unit vector for each class c, orthogonal to the others, in the space of inputs
            or (label_place: border) of the pixels along the edge of an image
    G_l   = mean of h_l^2 over the layer's units          goodness
    hat_l = h_l / sqrt(mean of h_l^2)                     passed on: its length says nothing
    loss_l = softplus(theta - G_l) with the true label, softplus(G_l - theta) with a wrong one
    g_l   = d loss_l / d W_l, hat_{l-1} being a constant  its batch mean to the optimizer

    prediction: the label with which the goodness, summed over the layers, is largest; every label
    is tried

Departures: the label is added to the whole input, as Scodellaro et al. (2023) add a pattern so that
filters see it everywhere, or to the border of an image, where the source overwrites pixels of its
blank border, one for each class: borders are not all blank, and nothing is lost; goodness is the
mean of squares, not their sum, so that theta does not depend on a layer's width; the input itself
is not normalised; the task's network is a stack of hidden layers and an output layer: the output
layer takes no part and stays as it was drawn; the first hidden layer's goodness counts in a
prediction (the source leaves it out, but here it may be the only one); the wrong label is drawn
uniformly, or (negatives: hard) with probabilities softmax(summed goodness) by the network itself,
where the source asks a separate read-out; no weight decay and no peer normalisation.
Needs: separate phases.
Cost: 2 forward passes and the weights' half of 2 backward passes, all through the hidden layers
alone; with hard negatives one forward pass more for each label. A prediction is one forward pass
for each label.
Check: each layer's gradient equals automatic differentiation of its loss, whose gradient for
every other layer is zero; a prediction equals trying the labels one by one by hand
(tests/methods/test_forward_forward.py).
Source: arXiv:2212.13345; labels over the whole input: arXiv:2312.14924.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import prod
from typing import Annotated, ClassVar, Literal

import torch
from torch import Tensor

from beyond.contracts import Batch, Signal, TargetKind
from beyond.errors import UnsupportedError
from beyond.kits.descent import Descent, State
from beyond.kits.optimizers import Adam, Optimizer
from beyond.kits.passes import row_numbers, stretch
from beyond.kits.policies import draw_classes
from beyond.network.initialisations import orthogonal
from beyond.network.segments import Segment
from beyond.network.trainable import Tape
from beyond.problem import Problem
from beyond.replicas import each
from beyond.search import Choice, LogUniform
from beyond.settings import OneOrEach, Positive, settings
from beyond.streams import Stream

SMALLEST = 1e-6  # added to the mean square that activities are divided by: none may be on


@settings
class ForwardForward(Descent):
    """Teach every hidden layer to tell a right label from a wrong one by how active it is.

    Parameters
    ----------
    batch_size : int, >= 1, optional
        Examples per step, each shown twice; None takes the whole training set. So does any larger
        number.
    threshold : float, > 0
        Goodness theta (mean square activity) at which a layer is undecided; sigmoid and tanh units
        never exceed 1.
    label_scale : float, > 0
        Length of what a label adds to the inputs.
    label_place : {"whole", "border"}
        Inputs that a label is added to: all, or the outermost pixels of an image.
    negatives : {"uniform", "hard"}
        Which wrong label: any, or rather one that the network takes for right.
    """

    signal: ClassVar[Signal] = Signal.TARGETS

    optimizer: Optimizer = Adam(learning_rate=0.01)
    threshold: Annotated[OneOrEach[Positive], LogUniform(0.1, 4.0)] = 0.5
    label_scale: Annotated[OneOrEach[Positive], LogUniform(1.0, 16.0)] = 4.0
    label_place: Literal["whole", "border"] = "whole"
    negatives: Annotated[Literal["uniform", "hard"], Choice()] = "uniform"

    def require(self, problem: Problem) -> None:
        spec = problem.spec
        if spec.target_kind is not TargetKind.CLASSES:
            raise UnsupportedError(
                "forward_forward puts a class label into the input; this task asks for values"
            )
        if spec.n_symbols or prod(spec.input_shape) < spec.n_outputs:
            raise UnsupportedError(
                "forward_forward needs real-valued inputs with at least one feature for each class"
            )
        if self.label_place == "border" and len(spec.input_shape) != 3:
            raise UnsupportedError(
                "forward_forward finds a border on images alone; label_place=whole adds a label to "
                "all inputs"
            )
        if self._places(spec.input_shape).sum() < spec.n_outputs:
            raise UnsupportedError(
                f"forward_forward needs a pixel of the border for each of {spec.n_outputs} classes"
            )
        if len(problem.stages) < 2:
            raise UnsupportedError("forward_forward trains hidden layers; this network has none")

    def remembered(self, problem: Problem, params: Tensor, rng: Stream) -> Mapping[str, Tensor]:
        spec = problem.spec
        places = self._places(spec.input_shape).flatten().to(rng.device)
        patterns = orthogonal(rng.normal(spec.n_outputs, int(places.sum())), 0, 0)
        labels = patterns.new_zeros(*patterns.shape[:2], len(places))
        labels[:, :, places] = patterns
        return {"labels": labels}  # p, (R, n_outputs, features); never changed

    def trained(self, problem: Problem) -> tuple[int, int]:
        return 0, problem.stages[-1].start

    def direction(self, state: State, batch: Batch, problem: Problem, rng: Stream) -> Tensor:
        # (R, 2 B)
        labels = torch.cat([batch.targets, self._wrong_labels(state, batch, problem, rng)], 1)
        shown = self._with_labels(torch.cat([batch.inputs, batch.inputs], 1), labels, state)
        n_examples = batch.targets.shape[1]
        sign = shown.new_ones(2 * n_examples)
        sign[n_examples:] = -1  # of the goodness that is wanted
        gradients = []
        for stage, h, tape in _hidden(problem, state["params"], shown, rng):
            # d loss / d goodness
            goodness = _goodness(h)
            lack = each(self.threshold, goodness) - goodness
            slope = -sign * torch.sigmoid(sign * lack) / n_examples
            gradients.append(stage.gradient(tape, stretch(slope, h) * 2 * h / h[0, 0].numel()))
        return torch.cat(gradients, 1)

    def predict(self, state: State, problem: Problem, batch: Batch) -> Tensor:
        outputs = []
        for label in range(problem.spec.n_outputs):
            labels = batch.inputs.new_full(batch.inputs.shape[:2], label, dtype=torch.int64)
            shown = self._with_labels(batch.inputs, labels, state)
            hidden = _hidden(problem, state["params"], shown)
            outputs.append(sum((_goodness(h) for _, h, _ in hidden), shown.new_zeros(())))
        return torch.stack(outputs, -1)

    def _places(self, input_shape: tuple[int, ...]) -> Tensor:
        """Return which inputs, bool of their shape, a label is added to."""
        places = torch.ones(input_shape, dtype=torch.bool)
        if self.label_place == "border":
            places[..., 1:-1, 1:-1] = False
        return places

    def _with_labels(self, inputs: Tensor, labels: Tensor, state: State) -> Tensor:
        """Inputs (R, B, ...) with their labels (R, B) added to them."""
        # (R, B, features)
        patterns = state["labels"][row_numbers(labels), labels]
        return inputs + each(self.label_scale, inputs) * patterns.view(inputs.shape)

    def _wrong_labels(self, state: State, batch: Batch, problem: Problem, rng: Stream) -> Tensor:
        """Draw a wrong label (R, B) for each example."""
        n_classes = problem.spec.n_outputs
        if self.negatives == "uniform":
            return (
                batch.targets + 1 + rng.integers(n_classes - 1, batch.targets.shape[1])
            ) % n_classes
        goodness = self.predict(state, problem, batch)
        goodness.scatter_(2, batch.targets.unsqueeze(2), -torch.inf)
        return draw_classes(torch.softmax(goodness, 2), 1, rng).squeeze(2)


def _hidden(
    problem: Problem, params: Tensor, h: Tensor, rng: Stream | None = None
) -> Iterator[tuple[Segment, Tensor, Tape]]:
    """Hidden layers with activities h_l and tapes, for labelled inputs; each hands on hat_l."""
    for stage in problem.stages[:-1]:
        h, tape = stage.forward(params, h, rng)
        yield stage, h, tape
        h = h * stretch((_goodness(h) + SMALLEST).rsqrt(), h)


def _goodness(h: Tensor) -> Tensor:
    """Mean square activity (R, B)."""
    return h.flatten(2).square().mean(2)
