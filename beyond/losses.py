"""Losses, their derivatives at the outputs, and rewards, for each kind of target.

Outputs have the contract's shape (G, B, n_outputs), where G is R replicas or R * P candidates, P of
them sharing the targets (R, ...) of their replica. Inside, the batch axis comes last: `outputs.mT`
undoes the network's transposed view, so that every reduction runs over contiguous memory.
"""

from math import log, pi

import torch
from torch import Tensor

from beyond.contracts import TargetKind


def cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Mean of log sum_c exp(z_c) - z_target over the batch, shape (G,); targets (R, B)."""
    return cross_entropies(outputs, targets).mean(-1)


def cross_entropies(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return log sum_c exp(z_c) - z_target of each example, shape (G, B); targets (R, B)."""
    log_probabilities = torch.log_softmax(_shared(outputs, len(targets)), 2)  # (R, P, n_outputs, B)
    index = targets[:, None, None, :].expand(-1, log_probabilities.shape[1], 1, -1)
    return -log_probabilities.gather(2, index).squeeze(2).flatten(0, 1)


def cross_entropy_error(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return d cross_entropy / d outputs = (softmax - one_hot) / B, shape (R, B, n_outputs)."""
    error = torch.softmax(outputs.mT, 1)  # (R, n_outputs, B)
    error.scatter_add_(
        1, targets.unsqueeze(1), error.new_full((), -1.0).expand(len(targets), 1, targets.shape[1])
    )
    return error.div_(targets.shape[1]).mT


def squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    """Half the squared distance, averaged over the batch, shape (G,); targets (R, B, n_outputs).

    The half makes the derivative (outputs - targets) / B, the same form as cross-entropy's.
    """
    return squared_errors(outputs, targets).mean(-1)


def squared_errors(outputs: Tensor, targets: Tensor) -> Tensor:
    """Half the squared distance of each example, shape (G, B); targets (R, B, n_outputs)."""
    distance = _shared(outputs, len(targets)) - targets.mT.unsqueeze(1)
    return 0.5 * distance.square_().sum(2).flatten(0, 1)


def squared_error_error(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return d squared_error / d outputs = (outputs - targets) / B, shape (R, B, n_outputs)."""
    return (outputs - targets) / targets.shape[1]


def gaussian_nll(outputs: Tensor, targets: Tensor) -> Tensor:
    """Mean of -log N(target; mean, variance) over the batch, shape (G,); targets (R, B, n)."""
    return gaussian_nlls(outputs, targets).mean(-1)


def gaussian_nlls(outputs: Tensor, targets: Tensor) -> Tensor:
    """Sum over n values of (log 2 pi + v + (mean - target)^2 exp(-v)) / 2 of each example, (G, B).

    Outputs (G, B, 2 n) are the n means, then the n log-variances v; targets (R, B, n).
    """
    mean, log_variance = _shared(outputs, len(targets)).chunk(2, 2)  # (R, P, n, B)
    squared = (mean - targets.mT.unsqueeze(1)).square()
    terms = log(2 * pi) + log_variance + squared * torch.exp(-log_variance)
    return 0.5 * terms.sum(2).flatten(0, 1)


def gaussian_nll_error(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return d gaussian_nll / d outputs, shape (R, B, 2 n); targets (R, B, n).

    With e = mean - target: e exp(-v) / B for a mean, (1 - e^2 exp(-v)) / 2 B for a log-variance.
    """
    mean, log_variance = outputs.chunk(2, 2)
    distance, precision = mean - targets, torch.exp(-log_variance)
    at_variance = 0.5 * (1 - distance.square() * precision)
    return torch.cat([distance * precision, at_variance], 2) / targets.shape[1]


EXAMPLE_LOSSES = {
    TargetKind.CLASSES: cross_entropies,
    TargetKind.VALUES: squared_errors,
    TargetKind.DISTRIBUTIONS: gaussian_nlls,
}
ERRORS = {
    TargetKind.CLASSES: cross_entropy_error,
    TargetKind.VALUES: squared_error_error,
    TargetKind.DISTRIBUTIONS: gaussian_nll_error,
}


def loss(kind: TargetKind, outputs: Tensor, targets: Tensor) -> Tensor:
    """Loss of shape (G,) for this kind of target."""
    return example_losses(kind, outputs, targets).mean(-1)


def example_losses(kind: TargetKind, outputs: Tensor, targets: Tensor) -> Tensor:
    """Loss of each example, shape (G, B), for this kind of target."""
    return EXAMPLE_LOSSES[kind](outputs, targets)


def error(kind: TargetKind, outputs: Tensor, targets: Tensor) -> Tensor:
    """Derivative of the loss at the outputs, shape (R, B, n_outputs), for this kind of target."""
    return ERRORS[kind](outputs, targets)


def reward(kind: TargetKind, actions: Tensor, targets: Tensor) -> Tensor:
    """Reward of K actions per input, shape (R, B, K).

    Classes: actions (R, B, K) int64 earn 1 where they name the target class, else 0. Otherwise:
    actions (R, B, K, n_outputs) are outputs and earn minus their loss, of values half the squared
    distance to the target.
    """
    if kind is TargetKind.CLASSES:
        return (actions == targets.unsqueeze(-1)).float()
    outputs = actions.transpose(1, 2).flatten(0, 1)  # (R * K, B, n_outputs): as of K candidates
    earned = -example_losses(kind, outputs, targets)
    return earned.unflatten(0, (len(targets), -1)).transpose(1, 2)


def _shared(outputs: Tensor, n_replicas: int) -> Tensor:
    """View outputs (R * P, B, n_outputs) as (R, P, n_outputs, B)."""
    return outputs.mT.unflatten(0, (n_replicas, -1))
