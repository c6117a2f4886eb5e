"""How task data is prepared and served: the same for every task.

A task file says what its examples are (`examples`) and what the harness must know (`spec`); `ArrayTask` splits,
thins, scales, corrupts and serves them. All of it depends on `split_seed` alone, never on a run's seed.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from beyond import losses, metrics
from beyond.contracts import SPLITS, Batch, TargetKind
from beyond.errors import require, require_one_of

if TYPE_CHECKING:
    from beyond.contracts import Task, TaskSpec
    from beyond.streams import Stream


@dataclass(frozen=True)
class Examples:
    """Raw examples of a task.

    Attributes
    ----------
    inputs : array of shape (N, *input_shape)
        Real numbers, or int64 symbols.
    targets : array of shape (N,) int64, or (N, n_outputs) real
        Classes, or values in the task's own units.
    n_test : int, optional
        The last `n_test` examples are a test split that the source itself fixes; otherwise one is drawn.
    n_validation : int, optional
        The `n_validation` examples before those (or the last, if the test split is drawn) are a fixed validation split.
    scaling : {"feature", "whole", "none"}
        Inputs get mean 0 and standard deviation 1 over the training part: each feature; all features as one (images,
        so that neighbouring pixels stay comparable); or not at all (symbols, and inputs that were published scaled).
    """

    inputs: np.ndarray
    targets: np.ndarray
    n_test: int | None = None
    scaling: Literal["feature", "whole", "none"] = "feature"
    n_validation: int | None = None
    target_scaling: Literal["feature", "none"] = "feature"


@dataclass(frozen=True, kw_only=True)
class ArrayTask(ABC):
    """A task whose examples fit in memory.

    Parameters
    ----------
    split_seed : int, >= 0
        Fixes which examples are train, validation and test (stratified by class where there are classes), which of
        them `train_size` and `shots` keep, and the label noise.
    train_size : int, optional, >= 1
        Keep this many training examples, stratified; None keeps all. A smaller set is part of every larger one.
    shots : int, optional, >= 1
        Keep this many training examples a class (few-shot), again nested; not together with `train_size`.
    label_noise : float
        Classes: the fraction in [0, 1] of training labels replaced by a label drawn uniformly, which may be the old
        one. Values: the standard deviation, >= 0, of normal noise added to standardised training targets.
    source_data : str, optional
        Which of the task's `SOURCES` to learn from first; None for no related task.
    """

    SOURCES: ClassVar[tuple[str, ...]] = ()
    VALIDATION_FRACTION: ClassVar = 0.15  # of all examples but those of fixed splits
    TEST_FRACTION: ClassVar = 0.15

    split_seed: int = 0
    train_size: int | None = None
    shots: int | None = None
    label_noise: float = 0.0
    source_data: str | None = None

    @property
    @abstractmethod
    def spec(self) -> TaskSpec:
        """What the harness must know."""

    @abstractmethod
    def examples(self) -> Examples:
        """Load the raw examples."""

    def source_examples(self) -> Examples:
        """Load the raw examples of the related task that `source_data` names."""
        raise NotImplementedError

    @property
    def source(self) -> Task | None:
        """The related task to learn from first: whole, clean and split as this one is."""
        if self.source_data is None:
            return None
        description = replace(self.spec, name=f"{self.spec.name} ({self.source_data})")
        return SourceTask(description=description, load=self.source_examples, split_seed=self.split_seed)

    def augment(self, inputs: Tensor, rng: Stream) -> Tensor:
        """Vary training inputs (R, B, *input_shape); by default not at all."""
        return inputs

    def __post_init__(self) -> None:
        classes = self.spec.target is TargetKind.CLASSES
        require("split_seed", "an integer >= 0", self.split_seed, is_integer(self.split_seed, 0))
        for name in ("train_size", "shots"):
            value = getattr(self, name)
            require(name, "an integer >= 1, or null", value, value is None or is_integer(value, 1))
        require("shots", "null where train_size is set", self.shots, self.shots is None or self.train_size is None)
        require("shots", "null for a task without classes", self.shots, self.shots is None or classes)
        upper, allowed = (1.0, "in [0, 1]") if classes else (float("inf"), "finite and >= 0")
        noise = self.label_noise
        require("label_noise", allowed, noise, 0 <= noise <= upper and noise != float("inf"))
        known = ", ".join([*self.SOURCES, "null"])
        source = self.source_data
        require("source_data", f"one of {known}", source, source is None or source in self.SOURCES)

    def size(self, split: str) -> int:
        """Count the examples of a split."""
        return len(self._split(split)[0])

    def batch(self, split: str, indices: Tensor, rng: Stream | None = None) -> Batch:
        """Examples by `indices` (R, B); the training split is augmented when given an `rng`."""
        inputs, targets = (_rows(values, indices) for values in self._split(split))
        if rng is not None and split == "train":
            inputs = self.augment(inputs, rng)
        return Batch(inputs, targets)

    def score(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Scores of shape (R,): accuracy and cross-entropy for classes; R2 and half the squared error for values."""
        return scores(self.spec.target, outputs, targets)

    def checksum(self) -> str:
        """SHA-256 over every split's inputs and targets."""
        digest = hashlib.sha256()
        for split in SPLITS:
            for tensor in self._split(split):
                digest.update(tensor.numpy().tobytes())
        return digest.hexdigest()

    def _split(self, split: str) -> tuple[Tensor, Tensor]:
        require_one_of("split", SPLITS, split)
        return self._splits[split]

    @cached_property
    def _splits(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Inputs and targets of each split, prepared when first asked for."""
        raw = self.examples()
        order_rng, noise_rng = np.random.default_rng(self.split_seed).spawn(2)
        rows = self._divide(raw, order_rng)
        train = rows["train"]

        inputs, targets = raw.inputs, raw.targets
        if raw.scaling != "none":
            inputs = standardise(inputs, train, per_feature=raw.scaling == "feature")
        if self.spec.target is TargetKind.CLASSES:
            noisy = replace_labels(targets[train], self.label_noise, self.spec.n_outputs, noise_rng)
        else:
            if raw.target_scaling == "feature":
                targets = standardise(targets, train, per_feature=True)
            noisy = targets[train] + self.label_noise * noise_rng.standard_normal(targets[train].shape)
        own = {name: targets[indices] for name, indices in rows.items()} | {"train": noisy}
        return {name: (_tensor(inputs[indices]), _tensor(own[name])) for name, indices in rows.items()}

    def _divide(self, raw: Examples, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Rows of each split, the training part thinned."""
        n_examples = len(raw.targets)
        n_free = n_examples - (raw.n_test or 0) - (raw.n_validation or 0)
        # Every stretch of a stratified order is stratified: one order gives the splits and the nested smaller sets.
        classes = raw.targets if self.spec.target is TargetKind.CLASSES else np.zeros(n_examples, np.int64)
        order = stratified_order(classes[:n_free], rng)
        fixed = np.arange(n_free, n_examples)
        test, validation = fixed[raw.n_validation or 0 :], fixed[: raw.n_validation]
        if raw.n_test is None:
            test, order = np.split(order, [round(self.TEST_FRACTION * n_free)])
        if raw.n_validation is None:
            validation, order = np.split(order, [round(self.VALIDATION_FRACTION * n_free)])
        return {"train": self._thin(order, classes), "validation": validation, "test": test}

    def _thin(self, train: np.ndarray, classes: np.ndarray) -> np.ndarray:
        """Keep the first `train_size` rows, or the first `shots` of each class."""
        name = self.spec.name
        if self.shots is not None:
            by_class = [train[classes[train] == label] for label in range(self.spec.n_outputs)]
            most = min(map(len, by_class))
            require("shots", f"at most {most}, the smallest class of {name}", self.shots, self.shots <= most)
            return np.concatenate([members[: self.shots] for members in by_class])
        if self.train_size is not None:
            most = len(train)
            allowed = f"at most {most}, the training part of {name}"
            require("train_size", allowed, self.train_size, self.train_size <= most)
        return train[: self.train_size]


@dataclass(frozen=True, kw_only=True)
class SourceTask(ArrayTask):
    """A task that another one names as its source.

    Parameters
    ----------
    description : TaskSpec
        Its spec.
    load : callable
        Returns its raw examples.
    """

    description: TaskSpec
    load: Callable[[], Examples]

    @property
    def spec(self) -> TaskSpec:
        return self.description

    def examples(self) -> Examples:
        return self.load()


def scores(kind: TargetKind, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
    """Scores of shape (R,) for a kind of target: see `ArrayTask.score`."""
    if kind is TargetKind.CLASSES:
        loss = losses.cross_entropy(outputs, targets)
        return {"accuracy_score": metrics.accuracy(outputs, targets), "cross_entropy_loss": loss}
    loss = losses.squared_error(outputs, targets)
    return {"r2_score": metrics.r2(outputs, targets), "squared_error_loss": loss}


def select_classes(raw: Examples, labels: range) -> Examples:
    """Keep the examples of neighbouring classes, counted from 0."""
    keep = (raw.targets >= labels.start) & (raw.targets < labels.stop)
    fixed = keep[len(keep) - (raw.n_test or 0) - (raw.n_validation or 0) :]
    n_test = None if raw.n_test is None else int(fixed[raw.n_validation or 0 :].sum())
    n_validation = None if raw.n_validation is None else int(fixed[: raw.n_validation].sum())
    return Examples(raw.inputs[keep], raw.targets[keep] - labels.start, n_test, raw.scaling, n_validation)


def stratified_order(classes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Shuffle so that every stretch of the order holds each class in proportion, to about one example.

    Member k of a class of m, in random order, stands at (k + u) / m, with one u in [0, 1) a class.
    """
    place = np.empty(len(classes))
    for label in np.unique(classes):
        members = rng.permutation(np.flatnonzero(classes == label))
        place[members] = (np.arange(len(members)) + rng.random()) / len(members)
    return np.argsort(place, kind="stable")


def standardise(values: np.ndarray, train: np.ndarray, per_feature: bool) -> np.ndarray:
    """Shift and scale by mean and standard deviation of the rows `train`; a constant feature becomes 0."""
    axis = 0 if per_feature else None
    mean, std = values[train].mean(axis), values[train].std(axis)
    return (values - mean) / np.where(std > 0, std, 1.0)


def replace_labels(labels: np.ndarray, fraction: float, n_classes: int, rng: np.random.Generator) -> np.ndarray:
    """Replace a fraction of the labels by labels drawn uniformly; a smaller fraction is part of a larger one."""
    noisy = rng.integers(0, n_classes, len(labels))
    kept = rng.permutation(len(labels))[round(fraction * len(labels)) :]
    noisy[kept] = labels[kept]
    return noisy


def jitter(
    inputs: Tensor, rng: Stream, shift: int, axes: Sequence[int], fill: float | None, noise_std: float
) -> Tensor:
    """Move each example along each axis by whole steps drawn from [-shift, shift], then add normal noise."""
    for axis in axes if shift else ():
        steps = rng.integers(2 * shift + 1, inputs.shape[1]) - shift
        inputs = move(inputs, axis, steps, fill)
    return inputs + noise_std * rng.normal(*inputs.shape[1:]) if noise_std else inputs


def move(inputs: Tensor, axis: int, steps: Tensor, fill: float | None) -> Tensor:
    """Move each example (R, B, ...) along an axis by its own `steps` (R, B); positive is towards higher indices.

    What enters is `fill`; with None, what left at the other end.
    """
    length = inputs.shape[axis]
    origin = torch.arange(length) - steps.unsqueeze(-1)  # (R, B, length): where each value comes from
    shape = [*steps.shape, *(1 for _ in inputs.shape[2:])]
    shape[axis] = length
    moved = inputs.gather(axis, (origin % length).view(shape).expand_as(inputs))
    outside = (origin < 0) | (origin >= length)
    return moved if fill is None else moved.masked_fill(outside.view(shape), fill)


def require_jitter(shift: int, noise_std: float, length: int) -> None:
    """Refuse what `jitter` cannot do to inputs `length` long."""
    require("shift", f"an integer in [0, {length - 1}]", shift, is_integer(shift, 0) and shift < length)
    require("noise_std", "finite and >= 0", noise_std, 0 <= noise_std < float("inf"))


def is_integer(value: object, lowest: int) -> bool:
    """Say whether a setting is a whole number of at least `lowest`."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= lowest


def _rows(values: Tensor, indices: Tensor) -> Tensor:
    """Rows by indices (R, B), shape (R, B, ...): values[indices], several times faster on wide batches."""
    return values.index_select(0, indices.flatten()).unflatten(0, indices.shape)


def _tensor(values: np.ndarray) -> Tensor:
    """As int64 (symbols, classes) or float32."""
    return torch.from_numpy(values.astype(np.int64 if values.dtype.kind == "i" else np.float32))
