"""Claims of a paper, judged on measured quantities: expressions over seeds, and nothing else.

A quantity is a column of numbers, one a seed. An expression compares quantities; what varies over
seeds is averaged just before the comparison, so that differences are paired.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from analysis.statistics.inference import LEVEL, RESOLUTION, at_least, mean_interval
from analysis.summaries.stability import kendall, orders
from analysis.tables import TableError

DIGITS = 4  # of what was measured, or as many more as show what decided
HOW = ("read", "recalled", "exact", "measured", "expected")
VERDICTS = {  # of what a page has: claims of others, or what we ask
    "paper": ("reproduced", "relation holds", "not reproduced", "not run"),
    "study": ("as expected", "not as expected", "relation holds", "not reproduced", "not run"),
}
# a Series by seed, a number, or an array (n, n - 1) whose rows lack one of n seeds each
Value = Any


def _over_seeds(statistic: Callable[..., Any], **options: Any) -> Callable[[Value], Value]:
    """Take a statistic over seeds: a number of a Series, a column (n, 1) of an array."""

    def apply(value: Value) -> Value:
        if isinstance(value, np.ndarray) and value.ndim == 2:
            return statistic(value, axis=1, keepdims=True, **options)
        return float(statistic(np.asarray(value), **options))

    return apply


_OPERATORS: dict[type, Callable[..., Value]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
    ast.USub: operator.neg,
}
# of left less right, and how far rounding may have carried it: equal numbers are equal, whichever
# side they fell on
_COMPARISONS: dict[type, Callable[[float, float], bool]] = {
    ast.Lt: lambda gap, slack: gap < -slack,
    ast.LtE: lambda gap, slack: gap <= slack,
    ast.Gt: lambda gap, slack: gap > slack,
    ast.GtE: lambda gap, slack: gap >= -slack,
}


def _halves(values: Sequence[Value]) -> tuple[Sequence[Value], Sequence[Value]]:
    """Cut arguments into what goes along and what is set against it."""
    n = len(values) // 2
    if len(values) % 2 or n < 2:
        raise TableError(f"slope and tau take two lists of two at least, got {len(values)} values")
    return values[:n], values[n:]


def _slope(*values: Value) -> Value:
    """Least-squares slope of the second half of the values against the first, for each seed."""
    x, y = _halves(values)
    centre, level = sum(x) / len(x), sum(y) / len(y)
    pairs = zip(x, y, strict=True)
    return sum((a - centre) * (b - level) for a, b in pairs) / sum((a - centre) ** 2 for a in x)


def _tau(*values: Value) -> Value:
    """Kendall's tau-b between the orders of the first and the second half, for each seed."""
    shown = [np.stack(np.broadcast_arrays(*half), -1) for half in _halves(values)]
    found = kendall(np.stack([orders(half) for half in shown], -2))[..., 0, 1]
    seeds = next((value.index for value in values if isinstance(value, pd.Series)), None)
    return found if seeds is None else pd.Series(found, seeds)


_FUNCTIONS: dict[str, Callable[..., Value]] = {
    "abs": abs,
    "sqrt": np.sqrt,
    "log": np.log,
    "log2": np.log2,
    "log10": np.log10,
    "exp": np.exp,
    "degrees_of_cosine": lambda value: np.degrees(np.arccos(value)),
    # |a - b| / |b| by the law of cosines, from |a| / |b| and the cosine, which rounding may carry
    # above 1
    "distance": lambda ratio, cosine: np.sqrt(
        (ratio - 1) ** 2 + 2 * ratio * np.maximum(1 - cosine, 0)
    ),
    # 1 where a value is a level or more, 0 elsewhere: its mean is a share of seeds
    "reached": lambda value, level: 1.0 * at_least(value, level),
    "slope": _slope,  # slope(x1, x2, ..., y1, y2, ...)
    "tau": _tau,  # tau(a1, a2, ..., b1, b2, ...)
    "min": lambda *values: reduce(np.minimum, values),
    "max": lambda *values: reduce(np.maximum, values),
    "mean": _over_seeds(np.mean),
    "median": _over_seeds(np.median),
    "var": _over_seeds(np.var, ddof=1),
    "std": _over_seeds(np.std, ddof=1),
    "smallest": _over_seeds(np.min),
    "largest": _over_seeds(np.max),
}
# leaving out one seed says nothing about how these scatter
_NOT_SMOOTH = {"median", "smallest", "largest"}


class NotRunError(Exception):
    """A quantity that a claim names was not measured at this scale."""


@dataclass(frozen=True)
class Claim:
    """What a paper says, or we expect, and the expression that would make it so.

    Attributes
    ----------
    id, says : str
    holds : tuple of str
        Expressions; all must be true. Empty where nothing here can measure it.
    published : str
        The number as printed in the source; empty for a relation.
    reimplemented : str
        What a re-implementation outside of this project measured; never shown as published.
    how : {"read", "recalled", "exact", "measured", "expected"}
        How the number is known: read in the source, from memory only, by theory, measured
        elsewhere by a re-implementation, or not: it was expected before it was measured.
    source : str
        Where it stands.
    why : str
        Where the tolerance comes from.
    """

    id: str
    says: str
    holds: tuple[str, ...]
    how: str
    source: str
    published: str = ""
    reimplemented: str = ""
    why: str = ""

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> Claim:
        """Read an entry of a paper's settings; raise `TableError` where it is no claim."""
        unknown = sorted(set(entry) - set(cls.__dataclass_fields__))
        if unknown:
            raise TableError(f"claim {entry.get('id')}: unknown keys {', '.join(unknown)}")
        holds = entry["holds"]
        claim = cls(**{**entry, "holds": tuple([holds] if isinstance(holds, str) else holds)})
        if claim.how not in HOW:
            raise TableError(
                f"claim {claim.id}: how must be one of {', '.join(HOW)}; got {claim.how!r}"
            )
        if claim.published and claim.how != "read":
            raise TableError(
                f"claim {claim.id}: only a number that was read in its source is shown as published"
            )
        return claim

    def verdict(self, holds: bool) -> str:
        """Return the verdict on a claim whose expressions are true, or not."""
        if self.how == "expected":
            return "as expected" if holds else "not as expected"
        if not holds:
            return "not reproduced"
        return "reproduced" if self.published else "relation holds"


@dataclass(frozen=True)
class Judged:
    """A claim with its verdict, and what each side that names quantities measured, with interval.

    Numbers have four digits, or as many more as show what decided.
    """

    claim: Claim
    verdict: str
    measured: str
    n_seeds: int


def judge(claim: Claim, quantities: Mapping[str, pd.Series]) -> Judged:
    """Evaluate a claim; `not run` without expressions or where a quantity was not measured."""
    try:
        parts = [_compare(expression, quantities) for expression in claim.holds]
    except NotRunError:
        parts = []
    if not parts:
        return Judged(claim, "not run", "", 0)
    sides: dict[str, tuple[float, int]] = {}
    for _, values, digits in parts:
        sides |= {
            shown: (value, max(digits, sides.get(shown, (value, 0))[1]))
            for shown, value in values.items()
        }
    shared = {shown: _shared([quantities[name] for name in names(shown)]) for shown in sides}
    measured = [
        f"{shown} = {value:.{digits}g}{_interval(shown, value, quantities, shared[shown], digits)}"
        for shown, (value, digits) in sides.items()
    ]
    n_seeds = min(map(len, shared.values()))
    verdict = claim.verdict(all(ok for ok, *_ in parts))
    return Judged(claim, verdict, "; ".join(measured), n_seeds)


def told(expression: str, quantities: Mapping[str, pd.Series]) -> str:
    """Write what an expression comes to, its mean over seeds, with interval; or `not run`."""
    try:
        value = float(np.mean(evaluate(expression, quantities)))
    except NotRunError:
        return "not run"
    if np.isposinf(value):
        return "not reached"
    seeds = _shared([quantities[name] for name in names(expression)])
    return f"{value:.{DIGITS}g}{_interval(expression, value, quantities, seeds, DIGITS)}"


def names(expression: str) -> list[str]:
    """Quantities that an expression names."""
    return [
        node.id
        for node in ast.walk(_parse(expression))
        if isinstance(node, ast.Name) and node.id not in _FUNCTIONS
    ]


def evaluate(expression: str, quantities: Mapping[str, pd.Series]) -> Value:
    """Value of an expression without comparison: a Series by seed, or a number."""
    return _value(_parse(expression), quantities)


def _compare(
    expression: str, quantities: Mapping[str, pd.Series]
) -> tuple[bool, dict[str, float], int]:
    """Say whether a comparison is true; the means of its measured sides; to how many digits."""
    node = _parse(expression)
    if not isinstance(node, ast.Compare):
        raise TableError(f"a claim must compare: {expression}")
    sides = [node.left, *node.comparators]
    values = [float(np.mean(_value(side, quantities))) for side in sides]
    slack = [_rounding(side, value, quantities) for side, value in zip(sides, values, strict=True)]
    measured = [bool(names(ast.unparse(side))) for side in sides]
    truths = _truths(node.ops, values, slack)
    digits = next(
        (
            n
            for n in range(DIGITS, 17)
            if _truths(node.ops, _printed(values, measured, n)) == truths
        ),
        17,
    )
    told = {
        ast.unparse(side): value
        for side, value, known in zip(sides, values, measured, strict=True)
        if known
    }
    return all(truths), told, digits


def _truths(
    kinds: Sequence[ast.cmpop], values: Sequence[float], slack: Sequence[float] | None = None
) -> list[bool]:
    """Compare neighbours; `slack` is how far each value may be off."""
    slack = slack or [0.0] * len(values)
    return [
        _COMPARISONS[type(kind)](values[place] - values[place + 1], slack[place] + slack[place + 1])
        for place, kind in enumerate(kinds)
    ]


def _printed(values: Sequence[float], measured: Sequence[bool], digits: int) -> list[float]:
    """Return the values as a reader has them: the measured to so many digits, a claim's in full."""
    return [
        float(f"{value:.{digits}g}") if known else value
        for value, known in zip(values, measured, strict=True)
    ]


def _rounding(node: ast.expr, value: float, quantities: Mapping[str, pd.Series]) -> float:
    """How far a side may be off because its quantities, one by one, were float32."""
    moved = [
        float(np.mean(_value(node, {**quantities, name: quantities[name] * (1 + RESOLUTION)})))
        - value
        for name in names(ast.unparse(node))
    ]
    return float(np.abs([change for change in moved if np.isfinite(change)]).sum())


def _parse(expression: str) -> ast.expr:
    try:
        return ast.parse(expression.strip(), mode="eval").body
    except SyntaxError as error:
        raise TableError(f"not an expression: {expression}") from error


def _value(node: ast.expr, quantities: Mapping[str, Any]) -> Value:
    match node:
        case ast.Constant(value=int() | float() as number):
            return number
        case ast.Name(id=name):
            if name not in quantities or not len(quantities[name]):
                raise NotRunError(name)
            return quantities[name]
        case ast.UnaryOp(op=kind, operand=operand) if type(kind) in _OPERATORS:
            return _OPERATORS[type(kind)](_value(operand, quantities))
        case ast.BinOp(left=left, op=kind, right=right) if type(kind) in _OPERATORS:
            return _OPERATORS[type(kind)](
                *_aligned([_value(left, quantities), _value(right, quantities)])
            )
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name in _FUNCTIONS:
            return _FUNCTIONS[name](
                *_aligned([_value(argument, quantities) for argument in arguments])
            )
    raise TableError(
        f"not allowed in a claim: {ast.unparse(node)}; known functions: {', '.join(_FUNCTIONS)}"
    )


def _aligned(values: Sequence[Value]) -> list[Value]:
    """Keep the seeds that all Series share, so that differences are paired."""
    series = [value for value in values if isinstance(value, pd.Series)]
    seeds = _shared(series)
    return [value.loc[seeds] if isinstance(value, pd.Series) else value for value in values]


def _shared(series: Sequence[pd.Series]) -> list[Any]:
    if not series:
        return []
    shared = reduce(lambda a, b: a.intersection(b), (one.index for one in series))
    return list(shared.unique())


def _interval(
    expression: str,
    value: float,
    quantities: Mapping[str, pd.Series],
    seeds: list[Any],
    digits: int,
) -> str:
    """Write the interval over paired seeds; empty if fewer than two, infinite, of order statistics.

    It is that of the mean of the jackknife's pseudo-values, n times the whole less n - 1 times what
    is found without one seed, around what was found: of a mean, these are the seeds' values. Where
    they say which seeds have reached a level, it is Clopper and Pearson's (1934) of their share.
    """
    node, n = _parse(expression), len(seeds)
    called = {
        part.func.id
        for part in ast.walk(node)
        if isinstance(part, ast.Call) and isinstance(part.func, ast.Name)
    }
    if n < 2 or called & _NOT_SMOOTH:
        return ""
    others = np.arange(n)[None].repeat(n, 0)[~np.eye(n, dtype=bool)].reshape(n, n - 1)
    without = {
        name: quantities[name].loc[seeds].to_numpy(float)[others] for name in names(expression)
    }
    with np.errstate(invalid="ignore"):
        left_out = np.mean(_value(node, without), axis=1)
        pseudo = value + (n - 1) * (left_out.mean() - left_out)
    if not np.isfinite(pseudo).all():
        return ""
    reached = pseudo.round(9)
    if "reached" in called and np.isin(reached, (0, 1)).all():
        share = binomtest(int(reached.sum()), n).proportion_ci(LEVEL)
        low, high = float(share.low), float(share.high)
    else:
        low, high = map(float, mean_interval(pseudo))
    return f" [{low:.{digits}g}, {high:.{digits}g}]"
