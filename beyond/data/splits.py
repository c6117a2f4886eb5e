"""What each replica sees of a task's data: rows of one copy, scaled by its training part."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from beyond.contracts import SPLITS, Batch
from beyond.errors import require, require_one_of
from beyond.hardware import Hardware, moved
from beyond.streams import Stream, derive_seed

BLOCK = 4096  # rows worked on at once in float64, which bounds the memory of their copies
AHEAD = 8192  # training examples of all replicas that are looked up at once
NOISE = 4  # a spread of so many units in the last place is rounding, not variation
Scaling = Literal["feature", "whole", "none"]  # see `beyond.data.arrays.Examples`


@dataclass(frozen=True)
class Scale:
    """Mean and standard deviation over the training part of each of S splits, float64.

    Attributes
    ----------
    mean, std : Tensor of shape (S, 1, *feature_shape), or (S, 1, 1, ...) where all features are
    scaled as one
    """

    mean: Tensor
    std: Tensor

    def apply(self, values: Tensor) -> Tensor:
        """Standardise values (R, B, *feature_shape)."""
        return (values - self.mean) / self.std

    def undo(self, values: Tensor) -> Tensor:
        """Turn standardised values (R, B, *feature_shape) back into the task's units."""
        return (values * self.std + self.mean).to(values.dtype)

    def to(self, dtype: torch.dtype) -> Scale:
        """Return the same scale in the type of the values that it is for."""
        return Scale(self.mean.to(dtype), self.std.to(dtype))


@dataclass(frozen=True)
class Column:
    """Inputs or targets of every example in the source's order, (N, *feature_shape), unscaled."""

    values: Tensor

    @property
    def known(self) -> np.ndarray:
        """What there is to look at before anything is learnt."""
        return self.values.numpy()

    def fitted(self, rows: Tensor, scaling: Scaling, shared: bool) -> Served:
        """Inputs as batches take them: what is learnt is learnt from training rows (S, n)."""
        scale = None if scaling == "none" else self.scale(rows, scaling == "feature")
        return self.served(scale, shared, torch.float64 if scaling == "feature" else torch.float32)

    def scale(self, rows: Tensor, per_feature: bool) -> Scale:
        """Scale of each split by its training rows (S, n): each feature, or all as one.

        A feature whose spread is rounding noise counts as constant: it is only shifted, to 0.
        """
        centres = self.values.double() if per_feature else self._moments[1]
        within = torch.zeros(()) if per_feature else self._moments[0]
        means, stds = [], []
        for part in rows:
            values = centres[part]
            mean = values[0] + (values - values[0]).mean(0)  # exact where all are equal
            std = (
                (values - mean).square().mean(0) + (within[part].mean() if within.dim() else 0)
            ).sqrt()
            constant = std <= NOISE * self._precision * mean.abs()
            means.append(mean)
            stds.append(torch.where(constant, 1.0, std))
        shape = (
            len(rows),
            1,
            *(self.values.shape[1:] if per_feature else [1] * (self.values.dim() - 1)),
        )
        return Scale(torch.stack(means).view(shape), torch.stack(stds).view(shape))

    def scaled(self, scale: Scale) -> Tensor:
        """All values by one scale, float32."""
        result = torch.empty(self.values.shape)
        for scaled, block in zip(result.split(BLOCK), self.values.split(BLOCK), strict=True):
            scaled.copy_(scale.apply(block.double().unsqueeze(0))[0])
        return result

    def served(self, scale: Scale | None, shared: bool, dtype: torch.dtype) -> Served:
        """As batches take them: scaled once where all replicas share a split, else in `dtype`."""
        if scale is not None and shared:
            return Scaled(self.scaled(scale), learnt=scale)
        values = self.values
        if scale is not None or values.is_floating_point():
            values = values.to(dtype)
        return Served(values, None if scale is None else scale.to(dtype))

    @cached_property
    def _moments(self) -> tuple[Tensor, Tensor]:
        """Variance and mean (N,) over the features of each example."""
        blocks = [
            torch.var_mean(block.flatten(1).double(), 1, correction=0)
            for block in self.values.split(BLOCK)
        ]
        variances, means = zip(*blocks, strict=True)
        return torch.cat(variances), torch.cat(means)

    @property
    def _precision(self) -> float:
        return torch.finfo(
            self.values.dtype if self.values.is_floating_point() else torch.float64
        ).eps


@dataclass(frozen=True)
class Served:
    """Values of every example, (N, ...), as a batch takes them: scaled beforehand or on the way."""

    values: Tensor
    scale: Scale | None = None
    dtype: torch.dtype = field(default=torch.float32, kw_only=True)  # of what is served

    def at(self, rows: Tensor) -> Tensor:
        """Values of rows (..., R, B), shape (..., R, B, ...)."""
        values = take(self.values, rows)
        if self.scale is not None:
            values = values.sub_(self.scale.mean).div_(self.scale.std)
        return values.to(self.dtype) if values.is_floating_point() else values

    def of(self, values: Tensor) -> Tensor:
        """Values of other examples (B, ...) as a batch takes them, (R or 1, B, ...)."""
        others = replace(self, values=values.to(self.values.dtype))
        rows = torch.arange(len(values), device=values.device)
        return others.at(rows.expand(self._n_splits, -1))

    @property
    def _n_splits(self) -> int:
        """Splits by which values differ."""
        return 1 if self.scale is None else len(self.scale.mean)


@dataclass(frozen=True)
class Scaled(Served):
    """Values that were scaled beforehand, where all replicas share a split and so its scale."""

    learnt: Scale = field(kw_only=True)

    def of(self, values: Tensor) -> Tensor:
        return Column(values).scaled(self.learnt).unsqueeze(0).to(self.dtype)


@dataclass(frozen=True)
class ArraySplits:
    """Splits of examples that fit in memory: S index tables, one per replica, or one for all.

    Attributes
    ----------
    origin : str
        See `Splits`.
    rows : dict of str to Tensor of shape (S, n)
        Rows of the data that each split has.
    inputs, targets : Served
    noisy : dict of str to Tensor of shape (S, n, ...)
        Targets that stand in for the true ones of a whole split.
    units : Scale, optional
        Of the targets.
    augment : callable
        Varies training inputs (R, B, *input_shape), given a stream.
    """

    origin: str
    rows: Mapping[str, Tensor]
    inputs: Served
    targets: Served
    noisy: Mapping[str, Tensor]
    units: Scale | None
    augment: Callable[[Tensor, Stream], Tensor]

    def size(self, split: str) -> int:
        require_one_of("split", SPLITS, split)
        return self.rows[split].shape[1]

    def batch(self, split: str, indices: Tensor) -> Batch:
        rows = self.ids(split, indices)
        return Batch(self.inputs.at(rows), self._answers(split, indices, rows))

    def training(self, indices: Tensor, rng: Stream) -> Iterator[Batch]:
        # What is narrow is looked up for many batches at once; inputs may be wide.
        for ahead in indices.split(max(1, AHEAD // indices[0].numel())):
            rows = self.ids("train", ahead)
            for chosen, targets in zip(rows, self._answers("train", ahead, rows), strict=True):
                yield Batch(self.augment(self.inputs.at(chosen), rng), targets)

    def ids(self, split: str, indices: Tensor) -> Tensor:
        require_one_of("split", SPLITS, split)
        return pick(self.rows[split], indices)

    def prepared(self, inputs: Tensor) -> Tensor:
        return self.inputs.of(inputs)

    def on(self, hardware: Hardware) -> ArraySplits:
        there = moved(self, hardware.place)
        inputs, targets = (
            replace(part, dtype=hardware.dtype) for part in (there.inputs, there.targets)
        )
        noisy = moved(dict(there.noisy), hardware.place, hardware.dtype)
        return replace(there, inputs=inputs, targets=targets, noisy=noisy)

    def emptied(self) -> ArraySplits:
        """Return the same scales, of no examples: all that a prediction needs."""
        inputs, targets = (
            replace(part, values=part.values[:0].clone()) for part in (self.inputs, self.targets)
        )
        return replace(self, rows={}, inputs=inputs, targets=targets, noisy={}, augment=_unchanged)

    def in_units(self, values: Tensor) -> Tensor:
        if self.units is None:
            return values
        mean, *log_variance = values.split(self.units.mean.shape[-1], -1)
        wider = [(part + 2 * self.units.std.log()).to(part.dtype) for part in log_variance]
        return torch.cat([self.units.undo(mean), *wider], -1)

    def _answers(self, split: str, indices: Tensor, rows: Tensor) -> Tensor:
        return pick(self.noisy[split], indices) if split in self.noisy else self.targets.at(rows)


def _unchanged(inputs: Tensor, _: Stream) -> Tensor:
    return inputs


def split_seeds(split_seed: int | None, seeds: Sequence[int]) -> tuple[int, ...]:
    """Return what splits are drawn from: one seed for all replicas, or by default one for each."""
    if split_seed is not None:
        return (split_seed,)
    return tuple(derive_seed("split", seed) for seed in seeds)


def take(values: Tensor, rows: Tensor) -> Tensor:
    """values[rows], for rows (..., R, B) of shape (..., R, B, ...): much faster on wide batches."""
    return values.index_select(0, rows.flatten()).view(*rows.shape, *values.shape[1:])


def pick(table: Tensor, indices: Tensor) -> Tensor:
    """Entries (..., R or 1, B, ...), by indices (..., R or 1, B), of a table (S, n, ...)."""
    starts = table.shape[1] * torch.arange(len(table), device=table.device).unsqueeze(1)
    return take(table.flatten(0, 1), indices + starts)


def stratified_order(classes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Shuffle so that every stretch holds each class in proportion, to about one example.

    Member k of a class of m, in random order, stands at (k + u) / m, with one u in [0, 1) per
    class.
    """
    place = np.empty(len(classes))
    for label in np.unique(classes):
        members = rng.permutation(np.flatnonzero(classes == label))
        place[members] = (np.arange(len(members)) + rng.random()) / len(members)
    return np.argsort(place, kind="stable")


def whole_groups(
    groups: np.ndarray, sizes: Sequence[int], rng: np.random.Generator
) -> list[np.ndarray]:
    """Draw parts of exactly these sizes, each of whole groups; the last is of all other rows.

    A part takes every group that still fits, in random order; `InputError` if none fills it.

    Parameters
    ----------
    groups : array of shape (N,)
        Each row's, an integer >= 0.
    sizes : sequence of int
    """
    part_of = np.full(groups.max() + 1, len(sizes))
    counts = np.bincount(groups).tolist()
    for group in rng.permutation(len(counts)):
        part = next((part for part, room in enumerate(sizes) if counts[group] <= room), None)
        if part is not None:
            part_of[group] = part
            sizes = [*sizes[:part], sizes[part] - counts[group], *sizes[part + 1 :]]
    require(
        "groups", f"small enough to fill parts, which lack {sizes}", len(counts), not any(sizes)
    )
    return [np.flatnonzero(part_of[groups] == part) for part in range(len(sizes) + 1)]


def replace_labels(
    labels: np.ndarray, fraction: float, n_classes: int, rng: np.random.Generator
) -> np.ndarray:
    """Replace a fraction of labels by uniform draws; a smaller fraction is part of a larger one."""
    noisy = rng.integers(0, n_classes, len(labels))
    kept = rng.permutation(len(labels))[round(fraction * len(labels)) :]
    noisy[kept] = labels[kept]
    return noisy
