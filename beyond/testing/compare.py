"""Equality that says in one line what differs, and by how much."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor


def require(ok: bool, said: str) -> None:
    """Raise `AssertionError` unless `ok`."""
    if not ok:
        raise AssertionError(said)


def require_same(found: Any, expected: Any, what: str) -> None:
    """Compare states: nested dicts, lists and tuples of tensors and numbers, equal to the bit."""
    if isinstance(expected, Tensor):
        require_close(found, expected, what)
    elif isinstance(expected, dict):
        require(set(found) == set(expected), f"{what} has keys {list(found)}, not {list(expected)}")
        for key in expected:
            require_same(found[key], expected[key], f"{what}[{key!r}]")
    elif isinstance(expected, list | tuple):
        require(len(found) == len(expected), f"{what} has {len(found)} items, not {len(expected)}")
        for place, (one, other) in enumerate(zip(found, expected, strict=True)):
            require_same(one, other, f"{what}[{place}]")
    else:
        require(found == expected, f"{what} is {found!r}, not {expected!r}")


def require_close(
    found: Tensor, expected: Tensor, what: str, rtol: float = 0, atol: float = 0
) -> float:
    """Compare tensors; return their largest difference."""
    require(isinstance(found, Tensor), f"{what} is {type(found).__name__}, not a tensor")
    require(
        found.shape == expected.shape,
        f"{what} has the shape {tuple(found.shape)}, not {tuple(expected.shape)}",
    )
    require(found.dtype == expected.dtype, f"{what} is {found.dtype}, not {expected.dtype}")
    if torch.allclose(found.double(), expected.double(), rtol, atol, equal_nan=True):
        return _largest(found, expected)
    raise AssertionError(f"{what} differs by up to {_largest(found, expected):.3g}")


def _largest(found: Tensor, expected: Tensor) -> float:
    gap = (found.double() - expected.double()).abs().nan_to_num(nan=0.0)
    return gap.max().item() if gap.numel() else 0.0


def require_same_rows(
    found: pd.DataFrame, expected: pd.DataFrame, what: str, rtol: float = 0, atol: float = 0
) -> float:
    """Compare tables, row by row; return the largest difference of two numbers."""
    names = list(expected.columns)
    require(list(found.columns) == names, f"{what}: other columns, {list(found.columns)}")
    require(len(found) == len(expected), f"{what}: {len(found)} rows, not {len(expected)}")
    largest = 0.0
    for name in names:
        one, other = found[name].to_numpy(), expected[name].to_numpy()
        if one.dtype.kind == "f" and other.dtype.kind in "if":
            ok = np.isclose(one, other, rtol, atol, equal_nan=True)
            with np.errstate(invalid="ignore"):
                gap = np.nan_to_num(np.abs(one.astype(float) - other.astype(float)), posinf=0)
            largest = max(largest, gap.max(initial=0))
        else:
            ok = (one == other) | (pd.isna(one) & pd.isna(other))
        if not ok.all():
            row = int(np.argmin(ok))
            raise AssertionError(f"{what}: {name} is {one[row]}, not {other[row]}, in row {row}")
    return float(largest)


def copied(value: Any) -> Any:
    """Return a copy of a state that shares no memory with it."""
    if isinstance(value, Tensor):
        return value.clone()
    if isinstance(value, dict):
        return {key: copied(item) for key, item in value.items()}
    return type(value)(map(copied, value)) if isinstance(value, list | tuple) else value


def saved(state: Any) -> Any:
    """Write a state as a run is saved, and read it."""
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)
