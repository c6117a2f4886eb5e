"""Local losses: prediction and similarity matching (Nokland & Eidnes, 2019).

Every hidden layer is given two losses. One asks a linear classifier to name the class
from the layer's activities. The other asks that two examples be as alike, to the layer, as their
classes are. No error passes from one layer to another.

    predict_l  = loss(H_l V_l^T, targets)             H_l: activities (B, features)
    match_l    = |S(H_l P_l^T) - S(Y)|_F^2 / B^2      S: cosines of examples; Y: targets, one-hot
                 where a layer has places (of an image, of a sequence), P_l is a convolution of
                 three places along each axis, and S compares the standard deviation of each of its
                 channels over the places; with three channels or fewer all values
    local_l    = (1 - beta) predict_l + beta match_l  beta is `similarity_weight`
    W_l, V_l, P_l follow the gradient of local_l, H_{l-1} being a constant: handed to the optimizer
    W_L        follows the gradient of the loss at the outputs, H_{L-1} being a constant

    With N the rows of H P^T - row mean, each divided by its length r, S(H P^T) = N N^T and
    d match / d N = 4 (S(H P^T) - S(Y)) N / B^2,       d / d (H P^T) = (d/dN - N (N . d/dN)) / r

Departures: batch normalisation where the network has it, as with `network.norm=batch`; V_l has no
bias, and sees every place, where the source takes means over some; a convolution P_l has a bias; a
sequence has places too, and a layer whose values are flattened before the next one has none; the
output layer's loss is not weighted by 1 - beta; values: half the squared error, and the rows of Y
are the standardised targets as they are, for one value centred over itself is nothing (so that with
one value S(Y) says whether two targets lie on the same side of the mean).
Needs: weight transport.
Cost: 1 forward pass and the weights' half of a backward pass, three products with each V_l and P_l,
and two with S.
Check: the gradients equal automatic differentiation of the losses as written above, and those of
one layer's loss for another layer are zero (tests/methods/test_local_loss.py).
Source: Proceedings of ICML 2019, PMLR 97, 4839-4850, arXiv:1901.06656 (the loss there called
predsim).
"""

from collections.abc import Callable, Mapping
from math import prod
from typing import Annotated, ClassVar

import torch.nn.functional as F
from torch import Tensor

from beyond.contracts import Batch, Signal, TargetKind
from beyond.kits.descent import Descent, State
from beyond.kits.optimizers import Adam, Optimizer
from beyond.kits.passes import apart, end_to_end, forward, gradients, widths
from beyond.network.image_layers import Conv2d
from beyond.network.initialisations import INITIALISATIONS
from beyond.network.layered import LayeredNetwork
from beyond.network.layers import Convolution, Layer
from beyond.network.sequence_layers import Conv1d
from beyond.network.vector_layers import GroupedLinear
from beyond.problem import Problem
from beyond.replicas import each
from beyond.search import Uniform
from beyond.settings import OneOrEach, UnitInterval, settings
from beyond.streams import Stream

# added to every row's, so that an example to which no unit answers is like no other
SQUARED_LENGTH = 1e-8
N_FEW = 3  # channels of which every value is compared, as in the source's code


@settings
class LocalLoss(Descent):
    """Train each layer to predict the targets, and to see examples as alike as their targets are.

    Parameters
    ----------
    similarity_weight : float in [0, 1]
        Weight beta of similarity matching; the rest is the prediction's. The source's is 0.99.
    """

    signal: ClassVar[Signal] = Signal.TARGETS

    optimizer: Optimizer = Adam(learning_rate=0.01)
    similarity_weight: Annotated[OneOrEach[UnitInterval], Uniform(0.0, 1.0)] = 0.9

    def remembered(self, problem: Problem, params: Tensor, rng: Stream) -> Mapping[str, Tensor]:
        hidden = widths(problem.stages[:-1])
        classifiers = params.new_zeros(len(params), problem.spec.n_outputs * sum(hidden))
        maps = [network.init(rng).to(params.dtype) for network in map_networks(problem)]
        return {"extras": end_to_end([classifiers, *maps])}  # V_l, then P_l

    def read_outs(self, state: State, problem: Problem) -> tuple[list[Tensor], Tensor]:
        """Each hidden layer's V_l, (R, n_outputs, features), and weights (R, m) of all P_l."""
        shapes = [(problem.spec.n_outputs, width) for width in widths(problem.stages[:-1])]
        n_weights = sum(map(prod, shapes))
        return apart(state["extras"][:, :n_weights], shapes), state["extras"][:, n_weights:]

    def direction(self, state: State, batch: Batch, problem: Problem, rng: Stream) -> Tensor:
        (_, *hidden, outputs), tapes = forward(problem.stages, state["params"], batch.inputs, rng)
        target_similarity = _target_similarity(batch.targets, problem)  # (R, B, B)
        errors, classifier_gradients, map_gradients = [], [], []
        classifiers, weights = self.read_outs(state, problem)
        maps = problem.segments_of(map_networks(problem))
        for x, classifier, linear_map in zip(hidden, classifiers, maps, strict=True):
            h = x.flatten(2)  # (R, B, features)
            predicted = problem.matmul(h, classifier.mT)
            seen, tape = linear_map.forward(weights, x)
            # (R, B, n_outputs)
            share = each(self.similarity_weight, h)
            dz = (1 - share) * problem.error(predicted, batch.targets)
            rows = _rows(seen)
            d_rows = share * _match_error(rows, target_similarity, problem)
            dp = _at_places(seen, rows, d_rows)  # as `seen`
            classifier_gradients.append(problem.matmul(dz.mT, h))
            map_gradients.append(linear_map.gradient(tape, dp))
            errors.append(problem.matmul(dz, classifier).view(x.shape) + linear_map.carry(tape, dp))
        errors.append(problem.error(outputs, batch.targets))
        return end_to_end(
            [gradients(problem.stages, tapes, errors), *classifier_gradients, *map_gradients]
        )


def map_networks(problem: Problem) -> list[LayeredNetwork]:
    """P_l of each hidden layer: of its units, or of the channels at each place and around it."""
    kinds = {1: lambda n: GroupedLinear(n, 1), 2: _around(Conv1d), 3: _around(Conv2d)}
    shapes = [stage.output_shape for stage in problem.stages[:-1]]
    lecun = INITIALISATIONS["lecun"]
    return [LayeredNetwork([kinds[len(shape)](shape[0])], shape, lecun) for shape in shapes]


def _around(kind: type[Convolution]) -> Callable[[int], Layer]:
    return lambda n_channels: kind(n_channels, 3, padding=1)


def _spread(seen: Tensor) -> bool:
    """Whether of each channel the standard deviation over places is compared, not every value."""
    return seen.dim() > 3 and seen.shape[2] > N_FEW and prod(seen.shape[3:]) > 1


def _rows(seen: Tensor) -> Tensor:
    """What of an example's map is compared, (R, B, n)."""
    if not _spread(seen):
        return seen.flatten(2)
    return (seen.flatten(3).var(3) + SQUARED_LENGTH).sqrt()


def _at_places(seen: Tensor, rows: Tensor, error: Tensor) -> Tensor:
    """Derivative at the map, from the one at what is compared of it."""
    if not _spread(seen):
        return error.view(seen.shape)
    places = seen.flatten(3)
    slopes = (places - places.mean(3, keepdim=True)) / (places.shape[3] - 1)
    return (slopes * (error / rows).unsqueeze(3)).view(seen.shape)


def _match_error(z: Tensor, target_similarity: Tensor, problem: Problem) -> Tensor:
    """Derivative of the similarity loss at z (R, B, features)."""
    z = z - z.mean(-1, keepdim=True)
    rows, inverse_length = _normalised(z)
    surplus = problem.matmul(rows, rows.mT) - target_similarity
    d_rows = 4 / z.shape[1] ** 2 * problem.matmul(surplus, rows)
    # Every row of `d_rows` is a mixture of centred rows: the mean that was taken off has nothing to
    # give back.
    return inverse_length * (d_rows - rows * (rows * d_rows).sum(-1, keepdim=True))


def _target_similarity(targets: Tensor, problem: Problem) -> Tensor:
    """Cosines (R, B, B) between the targets of a batch."""
    n_outputs = problem.spec.n_outputs
    if problem.spec.target_kind is TargetKind.CLASSES:
        targets = F.one_hot(targets, n_outputs) - 1 / n_outputs
    rows, _ = _normalised(targets)
    return problem.matmul(rows, rows.mT)


def _normalised(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Rows divided by their lengths, and what they were multiplied by, (R, B, 1)."""
    inverse_length = (rows.square().sum(-1, keepdim=True) + SQUARED_LENGTH).rsqrt()
    return rows * inverse_length, inverse_length
