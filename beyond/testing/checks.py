"""What a check is: something promised, and what tries it on one subject."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from inspect import getdoc
from typing import Any, NoReturn

import numpy as np
import torch

from beyond import catalog
from beyond.errors import STRANGE, InputError, UnsupportedError, said


@dataclass(frozen=True)
class Check:
    """Something that a contribution promises.

    Attributes
    ----------
    says : str
        What is promised, in one line.
    held : callable
        Tries it: returns what was measured, or "", and raises `AssertionError` in one line where it
        does not hold, `UnsupportedError` where the contribution refuses.
    """

    says: str
    held: Callable[[], str]

    def __call__(self) -> str:
        """Try it; whatever a stranger's code raises becomes the one line of an `AssertionError`."""
        try:
            return self.held()
        except (AssertionError, UnsupportedError) as error:
            require_one_line(error)
            raise
        except STRANGE as error:
            told = str(error) if isinstance(error, InputError) else said(error)
            raise AssertionError(catalog.blame(error) or told) from error

    def __str__(self) -> str:
        return self.says


def of(function: Callable[..., str], *arguments: Any, where: str = "") -> Check:
    """Make a check of a function, which the first line of its docstring describes."""
    says = (getdoc(function) or "").partition("\n")[0].rstrip(".")
    says = says[:1].lower() + says[1:]
    return Check(f"{where}: {says}" if where else says, lambda: function(*arguments))


def require_one_line(error: Exception) -> None:
    """A refusal, and what is wrong, is one line."""
    if "\n" in str(error):
        raise AssertionError(f"must be one line: {str(error)!r}") from error


def fail(checks: list[Check]) -> None:
    """Try all; raise `AssertionError` with one line for the first that does not hold."""
    for check in checks:
        try:
            check()
        except UnsupportedError:
            continue
        except AssertionError as error:
            _fail(check, error)


def _fail(check: Check, error: AssertionError) -> NoReturn:
    raise AssertionError(f"{check.says}: {error}") from error


def global_state() -> list[Any]:
    """Where Python's, numpy's and torch's global generators stand."""
    legacy: Any = np.random.get_state(legacy=False)  # noqa: NPY002
    return [
        random.getstate(),
        repr(legacy),
        legacy["state"]["key"].tolist(),
        torch.get_rng_state().tolist(),
    ]
