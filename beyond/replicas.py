"""Settings that may have a value for each replica: rates, noise scales, decays.

A field says so by its type, `noise_std: OneOrEach[Positive]`: one number, or a list of one for each
replica. Cells of a sweep that differ in such settings alone are trained together, as replicas of
one program. A rule multiplies by `each(self.noise_std, normal)`, whatever was given.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from beyond.errors import require
from beyond.settings import per_replica

Made = TypeVar("Made")
Number = float | np.ndarray  # of all replicas, or (R,) float64


def numbers(setting: float | Sequence[float]) -> Number:
    """Return a setting to compute with in double precision: a number, or an array (R,)."""
    return np.array(setting, float) if isinstance(setting, tuple) else setting  # pyright: ignore


def each(setting: float | Sequence[float] | np.ndarray, like: Tensor) -> float | Tensor:
    """Return a setting as a factor of a tensor (R, ...): a number, or a tensor (R, 1, ...).

    The tensor may have several rows a replica, next to each other: (R * K, ...).
    """
    if isinstance(setting, tuple | np.ndarray):
        n_rows = len(like)
        allowed = f"one number, or one for each of the replicas in {n_rows} rows"
        require("a setting", allowed, setting, n_rows % len(setting) == 0)
        factors = like.new_tensor(setting).repeat_interleave(n_rows // len(setting))
        return factors.view(-1, *[1] * (like.dim() - 1))
    return setting  # pyright: ignore


def add(base: Tensor, direction: Tensor, scale: Number) -> Tensor:
    """Return base + scale * direction."""
    if isinstance(scale, np.ndarray):
        return torch.addcmul(base, each(scale, direction), direction)  # pyright: ignore
    return torch.add(base, direction, alpha=scale)


def add_product(base: Tensor, a: Tensor, b: Tensor, scale: Number) -> Tensor:
    """Return base + scale * a * b."""
    if isinstance(scale, np.ndarray):
        return torch.addcmul(base, each(scale, a) * a, b)
    return torch.addcmul(base, a, b, value=scale)


def add_quotient(base: Tensor, a: Tensor, b: Tensor, scale: Number) -> Tensor:
    """Return base + scale * a / b."""
    if isinstance(scale, np.ndarray):
        return torch.addcdiv(base, each(scale, a) * a, b)
    return torch.addcdiv(base, a, b, value=scale)


def require_replicas(made: Any, n_replicas: int) -> None:
    """Raise `InputError` if a setting, or one of a part, has values for other than R replicas."""
    for part in _parts(made):
        for name in per_replica(type(part)):
            value = getattr(part, name)
            there = not isinstance(value, tuple) or len(value) == n_replicas
            allowed = f"one number, or one for each of {n_replicas} replicas"
            require(name, allowed, value, there)


def stacked(made: Sequence[Made], sizes: Sequence[int]) -> Made:
    """Return the settings of several programs, of so many replicas each, as those of one.

    They are equal but for settings that may have a value for each replica.
    """
    first = made[0]
    changes = dict[str, Any]()
    for field in dataclasses.fields(first):  # pyright: ignore
        values = [getattr(one, field.name) for one in made]
        if all(value == values[0] for value in values):
            continue
        if field.name in per_replica(type(first)):
            changes[field.name] = tuple(
                chain.from_iterable(
                    value if isinstance(value, tuple) else [value] * size
                    for value, size in zip(values, sizes, strict=True)
                )
            )
        else:
            changes[field.name] = stacked(values, sizes)
    return dataclasses.replace(first, **changes) if changes else first  # pyright: ignore


def family(made: Any) -> Any:
    """Return what programs must share to be stacked: settings, less the values of each replica.

    Whether one is zero stays: a rule may leave out what a zero turns off.
    """
    if not dataclasses.is_dataclass(made) or isinstance(made, type):
        return made
    free = per_replica(type(made))
    settings = {
        field.name: bool(np.any(getattr(made, field.name)))
        if field.name in free
        else family(getattr(made, field.name))
        for field in dataclasses.fields(made)
        if field.init
    }
    return {"": type(made), **settings}


def _parts(made: Any) -> Iterator[Any]:
    """An object of settings, and those in its fields."""
    if dataclasses.is_dataclass(made):
        yield made
        for field in dataclasses.fields(made):
            yield from _parts(getattr(made, field.name))
