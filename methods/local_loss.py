"""Local losses: prediction and similarity matching (Nokland & Eidnes, 2019).

Every hidden layer is given two losses. One asks a linear classifier to name the class
from the layer's activities. The other asks that two examples be as alike, to the layer, as their
classes are. No error passes from one layer to another.

    predict_l  = loss(H_l V_l^T, targets)             H_l: activities (B, features)
    match_l    = |S(H_l P_l^T) - S(Y)|_F^2 / B^2      S: cosines of examples; Y: targets, one-hot
    local_l    = (1 - beta) predict_l + beta match_l  beta is `similarity_weight`
    W_l, V_l, P_l follow the gradient of local_l, H_{l-1} being a constant: handed to the optimizer
    W_L        follows the gradient of the loss at the outputs, H_{L-1} being a constant

    With N the rows of H P^T - row mean, each divided by its length r, S(H P^T) = N N^T and
    d match / d N = 4 (S(H P^T) - S(Y)) N / B^2,       d / d (H P^T) = (d/dN - N (N . d/dN)) / r

Departures: no batch normalisation; V_l has no bias; P_l is a full matrix on convolutions too, where
the source has a convolution and compares the standard deviations of feature maps; the output
layer's loss is not weighted by 1 - beta; values: half the squared error, and the rows of Y are the
standardised targets as they are, for one value centred over itself is nothing (so that with one
value S(Y) says whether two targets lie on the same side of the mean).
Needs: weight transport.
Cost: 1 forward pass and the weights' half of a backward pass, three products with each V_l and P_l,
and two with S.
Check: the gradients equal automatic differentiation of the losses as written above, and those of
one layer's loss for another layer are zero (tests/methods/test_local_loss.py).
Source: Proceedings of ICML 2019, PMLR 97, 4839-4850, arXiv:1901.06656 (the loss there called
predsim).
"""

from collections.abc import Mapping
from typing import Annotated, ClassVar

import torch.nn.functional as F
from torch import Tensor

from beyond.contracts import Batch, Signal, TargetKind
from beyond.kits.descent import Descent, State
from beyond.kits.optimizers import Adam, Optimizer
from beyond.kits.passes import apart, end_to_end, forward, gradients, widths
from beyond.problem import Problem
from beyond.replicas import each
from beyond.search import Uniform
from beyond.settings import OneOrEach, UnitInterval, settings
from beyond.streams import Stream

# added to every row's, so that an example to which no unit answers is like no other
SQUARED_LENGTH = 1e-8


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
        maps = [rng.normal(width, width) / width**0.5 for width in hidden]
        return {"extras": end_to_end([classifiers, *maps])}  # V_l, then P_l

    def read_outs(self, state: State, problem: Problem) -> tuple[list[Tensor], list[Tensor]]:
        """Each hidden layer's V_l, (R, n_outputs, features), and P_l, (R, features, features)."""
        hidden = widths(problem.stages[:-1])
        shapes = [
            *((problem.spec.n_outputs, width) for width in hidden),
            *((width, width) for width in hidden),
        ]
        both = apart(state["extras"], shapes)
        return both[: len(hidden)], both[len(hidden) :]

    def direction(self, state: State, batch: Batch, problem: Problem, rng: Stream) -> Tensor:
        (_, *hidden, outputs), tapes = forward(problem.stages, state["params"], batch.inputs, rng)
        target_similarity = _target_similarity(batch.targets, problem)  # (R, B, B)
        errors, classifier_gradients, map_gradients = [], [], []
        for x, classifier, linear_map in zip(hidden, *self.read_outs(state, problem), strict=True):
            h = x.flatten(2)  # (R, B, features)
            predicted, seen = problem.matmul(h, classifier.mT), problem.matmul(h, linear_map.mT)
            # (R, B, n_outputs)
            share = each(self.similarity_weight, h)
            dz = (1 - share) * problem.error(predicted, batch.targets)
            # (R, B, features)
            dp = share * _match_error(seen, target_similarity, problem)
            classifier_gradients.append(problem.matmul(dz.mT, h))
            map_gradients.append(problem.matmul(dp.mT, h))
            errors.append(
                (problem.matmul(dz, classifier) + problem.matmul(dp, linear_map)).view(x.shape)
            )
        errors.append(problem.error(outputs, batch.targets))
        return end_to_end(
            [gradients(problem.stages, tapes, errors), *classifier_gradients, *map_gradients]
        )


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
