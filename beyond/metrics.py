"""Pure scores: of outputs (R, B, n_outputs) and targets, one number a replica, float64 (R,)."""

import torch
from torch import Tensor

from beyond.errors import require


def accuracy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Fraction of examples whose largest output, the first of equals, is the target (R, B).

    A count over a size, rounded once: 243 of 270 is the float64 that is written 0.9.
    """
    return (outputs.argmax(-1) == targets).sum(-1).double() / targets.shape[-1]


def r2(outputs: Tensor, targets: Tensor) -> Tensor:
    """Coefficient of determination, averaged over outputs; targets (R, B, n_outputs).

    1 minus squared error over the squared deviation from the targets' mean; 0 for predicting
    that mean. Targets that do not vary score 1 where they are met exactly and 0 otherwise, as in
    scikit-learn; one that is not a number has no score: NaN.

    Raises
    ------
    InputError
        For fewer than two examples, which have no deviation to explain.
    """
    require("examples", "at least 2 to have an R2", targets.shape[1], targets.shape[1] > 1)
    outputs, targets = outputs.double(), targets.double()
    residual = (outputs - targets).square().sum(1)  # (R, n_outputs)
    total = (targets - targets.mean(1, keepdim=True)).square().sum(1)
    # That equal numbers have a mean equal to them is not so in floating point: their spread is
    # asked, not the total.
    constant = targets.amax(1) == targets.amin(1)
    return torch.where(constant, (residual == 0).double(), 1 - residual / total).mean(-1)
