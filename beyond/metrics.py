"""Pure scores: of outputs (R, B, n_outputs) and targets, one number a replica, float64 (R,)."""

from collections.abc import Callable, Mapping
from math import log

import torch
from torch import Tensor

from beyond.contracts import TargetKind
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


def balanced_accuracy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Mean over the classes among the targets (R, B) of the share that is found of each.

    As in scikit-learn a class without a target has no share.
    """
    hits, wanted, _ = _by_class(outputs, targets)
    there = wanted > 0
    return (hits / wanted.clamp(min=1)).sum(-1) / there.sum(-1)


def macro_f1(outputs: Tensor, targets: Tensor) -> Tensor:
    """Mean of the classes' F1, twice the hits over targets and predictions together.

    As in scikit-learn it is over the classes that some target or prediction has; one that is never
    predicted has the F1 0.
    """
    hits, wanted, predicted = _by_class(outputs, targets)
    both = wanted + predicted
    return (2 * hits / both.clamp(min=1)).sum(-1) / (both > 0).sum(-1)


def _by_class(outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Count by class, each (R, n_outputs) float64: hits, targets, predictions."""
    found = outputs.argmax(-1)
    none = torch.zeros(outputs.shape[0], outputs.shape[2], dtype=torch.float64, device=found.device)
    ones = torch.ones_like(found, dtype=torch.float64)
    hits = none.scatter_add(1, targets, (found == targets).double())
    return hits, none.scatter_add(1, targets, ones), none.scatter_add(1, found, ones)


def mean_absolute_error(outputs: Tensor, targets: Tensor) -> Tensor:
    """Mean distance, over examples and outputs, in the units of the targets (R, B, n_outputs)."""
    return (outputs.double() - targets.double()).abs().mean((1, 2))


Further = Callable[[Tensor, Tensor, Mapping[str, Tensor]], Tensor]
# What a task may record besides its score and its loss: of what kind of targets, and how it is made
# of outputs, targets, and those two.
FURTHER: dict[str, tuple[TargetKind, Further]] = {
    "balanced_accuracy_score": (TargetKind.CLASSES, lambda z, y, _: balanced_accuracy(z, y)),
    "macro_f1_score": (TargetKind.CLASSES, lambda z, y, _: macro_f1(z, y)),
    "bits_loss": (TargetKind.CLASSES, lambda _z, _y, usual: usual["cross_entropy_loss"] / log(2)),
    "mean_absolute_error": (TargetKind.VALUES, lambda z, y, _: mean_absolute_error(z, y)),
}
