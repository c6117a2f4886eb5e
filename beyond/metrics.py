"""Pure scores. Each takes outputs (R, B, n_outputs) and targets, and returns one number a replica, shape (R,)."""

import torch
from torch import Tensor


def accuracy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Fraction of examples whose largest output is the target class; targets (R, B)."""
    return (outputs.argmax(-1) == targets).float().mean(-1)


def r2(outputs: Tensor, targets: Tensor) -> Tensor:
    """Coefficient of determination, averaged over outputs; targets (R, B, n_outputs).

    1 minus squared error over the squared deviation from the targets' own mean; 0 for predicting that mean. Targets
    that do not vary score 1 where they are met exactly and 0 otherwise, as in scikit-learn.
    """
    residual = (outputs - targets).square().sum(1)  # (R, n_outputs)
    total = (targets - targets.mean(1, keepdim=True)).square().sum(1)
    return torch.where(total > 0, 1 - residual / total, (residual == 0).float()).mean(-1)
