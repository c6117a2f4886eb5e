"""Raw examples are looked at once, before any work; what no method could learn from is refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from beyond.contracts import SPLITS, TargetKind
from beyond.errors import InputError, require

if TYPE_CHECKING:
    from beyond.contracts import TaskSpec

LARGEST = np.finfo(np.float32).max
NUMBERS = "finite numbers of single precision"


def screen(inputs: np.ndarray, targets: np.ndarray, spec: TaskSpec) -> None:
    """Refuse examples unlike the specification; `InputError` names the first value.

    Parameters
    ----------
    inputs : array of shape (N, *input_shape)
        Finite numbers, or integers in [0, n_symbols).
    targets : array of shape (N, *target_shape)
        Integers in [0, n_outputs), or finite numbers.
    """
    classes = spec.target_kind is TargetKind.CLASSES
    n_examples = len(inputs)
    _require_shape(f"inputs of {spec.name}", inputs, (n_examples, *spec.input_shape))
    _require_shape(f"targets of {spec.name}", targets, (n_examples, *spec.target_shape))
    require_values(f"inputs of {spec.name}", inputs, spec.n_symbols, "feature")
    require_values(f"targets of {spec.name}", targets, spec.n_outputs if classes else 0, "output")


def require_examples(sizes: Mapping[str, int], spec: TaskSpec) -> None:
    """Refuse empty splits, and held-out splits of one value, whose R2 is 0 for any prediction."""
    for split in SPLITS:
        least = 2 if spec.target_kind is TargetKind.VALUES and split != "train" else 1
        examples = "example" if least == 1 else "examples"
        allowed = f"at least {least} {examples}"
        require(f"the {split} split of {spec.name}", allowed, sizes[split], sizes[split] >= least)


def _require_shape(name: str, values: np.ndarray, shape: tuple[int, ...]) -> None:
    require(name, f"of shape {shape}", values.shape, values.shape == shape)


def require_values(name: str, values: np.ndarray, n_values: int, column: str) -> None:
    """Refuse what is no integer in [0, n_values); or, if that is 0, no finite number."""
    if not values.size:
        return
    allowed = f"integers in [0, {n_values})" if n_values else NUMBERS
    if n_values and values.dtype.kind not in "iu":
        raise InputError(f"{name} must be {allowed}, got values of type {values.dtype}")
    if values.dtype.kind not in "iuf":
        raise InputError(f"{name} must be {allowed}, got values of type {values.dtype}")
    low, high = (0, n_values - 1) if n_values else (-LARGEST, LARGEST)
    if values.min() >= low and values.max() <= high:  # NaN is neither
        return
    row, *place = (int(index) for index in np.argwhere(~((values >= low) & (values <= high)))[0])
    where = f", {column} {place[0] if len(place) == 1 else tuple(place)}" if place else ""
    raise InputError(f"{name} must be {allowed}, got {values[row, *place]} in row {row}{where}")
