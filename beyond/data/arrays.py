"""How task data is prepared and served: the same for every task.

A task file says what its examples are (`examples`) and what the harness must know (`spec`);
`ArrayTask` splits, thins, scales, corrupts and serves them: for each seed anew, or all from one
`split_seed`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from beyond.contracts import SPLITS, TargetKind
from beyond.data.drawn import DrawnTask, digest
from beyond.data.screening import require_examples, screen
from beyond.data.splits import (
    ArraySplits,
    Column,
    Scale,
    Scaling,
    replace_labels,
    stratified_order,
)
from beyond.errors import require
from beyond.settings import NonNegative, PositiveInt, settings

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
    targets : array of shape (N,) int64, or (N, n) real
        Classes, or values in the task's units.
    n_test : int, optional
        The last `n_test` examples are a test split that the source itself fixes; otherwise one is
        drawn.
    n_validation : int, optional
        The `n_validation` examples before those (or the last, if the test split is drawn) are a
        fixed validation split.
    column : Column, optional
        How inputs are served where more than a scale is learnt from the training part.
    scaling : {"feature", "whole", "none"}
        Inputs get mean 0 and standard deviation 1 over the training part: each feature; all
        features as one (images, so that neighbouring pixels stay comparable); or not at all
        (symbols, and inputs that were published scaled).
    """

    inputs: np.ndarray
    targets: np.ndarray
    n_test: int | None = None
    scaling: Scaling = "feature"
    n_validation: int | None = None
    target_scaling: Literal["feature", "none"] = "feature"
    column: Column | None = None


@settings(kw_only=True)
class ArrayTask(DrawnTask):
    """A task whose examples fit in memory.

    Splits are stratified by class where there are classes, and so is what `train_size` keeps.
    `split_seed` fixes which examples each split has, which of them `train_size` and `shots` keep,
    and the label noise.

    Parameters
    ----------
    shots : int, optional, >= 1
        Keep this many training examples per class (few-shot), again nested; not together with
        `train_size`.
    label_noise : float
        Classes: the fraction in [0, 1] of training labels replaced by a label drawn uniformly,
        which may be the old one. Values: the standard deviation, >= 0, of normal noise added to
        standardised training targets.
    noisy_validation : bool
        Whether validation targets are corrupted too, in the same way; those of the test split never
        are.
    """

    VALIDATION_FRACTION: ClassVar = 0.15  # of all examples but those of fixed splits
    TEST_FRACTION: ClassVar = 0.15

    shots: PositiveInt | None = None
    label_noise: NonNegative = 0.0
    noisy_validation: bool = False

    @abstractmethod
    def examples(self) -> Examples:
        """Load the raw examples."""

    def related(self) -> Mapping[str, Callable[[], Examples]]:
        """Return what loads the raw examples of each task to learn from first; by default none."""
        return {}

    @property
    def sources(self) -> Sequence[str]:
        return tuple(self.related())

    def source(self, name: str) -> Task:
        """Return a related task: whole, clean and split as this one is."""
        description = replace(self.spec, name=f"{self.spec.name} ({name})")
        load = self.related()[name]
        return SourceTask(description=description, load=load, split_seed=self.split_seed)

    def augment(self, inputs: Tensor, rng: Stream) -> Tensor:
        """Vary training inputs (R, B, *input_shape); by default not at all."""
        return inputs

    def __post_init__(self) -> None:
        classes = self.spec.target_kind is TargetKind.CLASSES
        require(
            "shots",
            "null where train_size is set",
            self.shots,
            self.shots is None or self.train_size is None,
        )
        require(
            "shots", "null for a task without classes", self.shots, self.shots is None or classes
        )
        require("label_noise", "in [0, 1]", self.label_noise, not classes or self.label_noise <= 1)

    def checksum(self) -> str:
        """SHA-256 over the raw inputs and targets."""
        raw = self.examples()
        return digest(raw.inputs, raw.targets)

    @cached_property
    def _raw(self) -> tuple[Examples, Column, Column]:
        return self._load()

    def _load(self) -> tuple[Examples, Column, Column]:
        """Raw examples, and their inputs and targets as tensors."""
        raw = self.examples()
        known = raw.inputs if raw.column is None else raw.column.known
        screen(known, raw.targets, self.spec)
        inputs = Column(_tensor(raw.inputs)) if raw.column is None else raw.column
        return raw, inputs, Column(_tensor(raw.targets))

    def _make(self, drawn: tuple[int, ...]) -> ArraySplits:
        """Split, thin, scale and corrupt, by each of the seeds `drawn`."""
        shared = self.split_seed is not None
        raw, inputs, targets = self._load() if shared else self._raw
        generators = [np.random.default_rng(seed).spawn(3) for seed in drawn]
        divided = [self._divide(raw, spawned[0]) for spawned in generators]
        rows = {
            split: torch.from_numpy(np.stack([parts[split] for parts in divided]))
            for split in SPLITS
        }
        require_examples({split: parts.shape[1] for split, parts in rows.items()}, self.spec)
        train = rows["train"]

        values = self.spec.target_kind is not TargetKind.CLASSES
        units = targets.scale(train, True) if values and raw.target_scaling == "feature" else None
        corrupted = {"train": 1, "validation": 2} if self.noisy_validation else {"train": 1}
        noisy = {
            split: self._corrupt(
                targets.values[rows[split]], units, [spawned[which] for spawned in generators]
            )
            for split, which in corrupted.items()
            if self.label_noise
        }
        return ArraySplits(
            origin=self._origin(raw),
            rows=rows,
            inputs=inputs.fitted(train, raw.scaling, shared),
            targets=targets.served(units, shared, torch.float64),
            noisy=noisy,
            units=units,
            augment=self.augment,
        )

    def _origin(self, raw: Examples) -> str:
        """Say where the splits come from: see `Splits.origin`."""
        if raw.n_test is not None and raw.n_validation is not None:
            return "source"
        if self.split_seed is not None:
            return str(self.split_seed)
        return "own" if raw.n_test is None else "source test"

    def _corrupt(
        self, targets: Tensor, units: Scale | None, generators: Sequence[np.random.Generator]
    ) -> Tensor:
        """Noisy targets (S, n, ...) of a split, a generator for each of the S."""
        if self.spec.target_kind is TargetKind.CLASSES:
            noisy = [
                replace_labels(labels, self.label_noise, self.spec.n_outputs, rng)
                for labels, rng in zip(targets.numpy(), generators, strict=True)
            ]
            return torch.from_numpy(np.stack(noisy))
        clean = targets if units is None else units.apply(targets)
        noise = np.stack([rng.standard_normal(targets.shape[1:]) for rng in generators])
        return (clean + self.label_noise * torch.from_numpy(noise)).float()

    def _divide(self, raw: Examples, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Rows of each split, the training part thinned."""
        n_examples = len(raw.targets)
        n_free = max(0, n_examples - (raw.n_test or 0) - (raw.n_validation or 0))
        # Every stretch of a stratified order is stratified: one order gives the splits and the
        # nested smaller sets.
        labelled = self.spec.target_kind is TargetKind.CLASSES
        classes = raw.targets if labelled else np.zeros(n_examples, np.int64)
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
            require(
                "shots",
                f"at most {most}, the smallest class of {name}",
                self.shots,
                self.shots <= most,
            )
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


def select_classes(raw: Examples, labels: range) -> Examples:
    """Keep the examples of neighbouring classes, counted from 0."""
    keep = (raw.targets >= labels.start) & (raw.targets < labels.stop)
    fixed = keep[len(keep) - (raw.n_test or 0) - (raw.n_validation or 0) :]
    n_test = None if raw.n_test is None else int(fixed[raw.n_validation or 0 :].sum())
    n_validation = None if raw.n_validation is None else int(fixed[: raw.n_validation].sum())
    return Examples(
        raw.inputs[keep], raw.targets[keep] - labels.start, n_test, raw.scaling, n_validation
    )


def _tensor(values: np.ndarray) -> Tensor:
    """Whole numbers (symbols, classes) as int64, others as they are."""
    return torch.from_numpy(
        values.astype(np.int64, copy=False) if values.dtype.kind == "i" else values
    )
