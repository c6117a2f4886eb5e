"""Claims of a paper, judged on measured quantities: expressions over seeds, and nothing else.

A quantity is a column of numbers, one a seed. An expression compares quantities; what varies over
seeds is averaged just before the comparison, so that differences are paired.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from graphlib import CycleError, TopologicalSorter
from inspect import signature
from itertools import chain, pairwise
from types import MappingProxyType
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
    "study": (
        "as expected",
        "not as expected",
        "undecided",
        "relation holds",
        "not reproduced",
        "not run",
    ),
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
_OVER_SEEDS = {"mean", "var", "std", *_NOT_SMOOTH}


class NotRunError(Exception):
    """A quantity that a claim names was not measured at this scale."""


@dataclass(frozen=True)
class Family:
    """Expressions that are alike: what they are made from, and each with its label.

    Attributes
    ----------
    pattern : str
        `mean({rule}_at_100) < 3`.
    members : mapping of str to str
        Expressions by label, `genetic: mean(genetic_at_100) < 3`.
    ranges : mapping of str to sequence of str
        Labels of what each name in the pattern runs through.
    """

    pattern: str
    members: Mapping[str, str]
    ranges: Mapping[str, Sequence[str]]

    def sides(self) -> dict[str, tuple[str, str]]:
        """Pattern and label of each side that was made from one; no label if all members have it.

        They are found by what was made.
        """
        # a place to fill is read as a name
        patterns = [
            re.sub(r"_0(\w+?)0_", r"{\1}", ast.unparse(side))
            for side in _sides(re.sub(r"\{(\w+)\}", r"_0\g<1>0_", self.pattern))
        ]
        found: dict[str, tuple[str, str]] = {}
        for label, expression in self.members.items():
            for pattern, side in zip(patterns, _sides(expression), strict=True):
                if "{" in pattern:
                    shown = ast.unparse(side)
                    found[shown] = (pattern, "" if shown in found else label)
        return found


@dataclass(frozen=True)
class Claim:
    """What a paper says, or we expect, and the expression that would make it so.

    Attributes
    ----------
    id, says : str
    holds : tuple of str
        Expressions; all must be true. Empty where nothing here can measure it.
    families : tuple of Family
        Those of the expressions that are alike, which a page shows together.
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
    families: tuple[Family, ...] = ()

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> Claim:
        """Read an entry of a paper's settings; raise `TableError` where it is no claim."""
        claim = cls(**{**entry, "holds": tuple(entry["holds"])})
        if claim.published and claim.how != "read":
            raise TableError(
                f"claim {claim.id}: only a number that was read in its source is shown as published"
            )
        return claim

    def verdict(self, holds: bool | None) -> str:
        """Return the verdict on a claim whose expressions are true, or not, or may be either."""
        if self.how == "expected":
            return {True: "as expected", False: "not as expected", None: "undecided"}[holds]
        if not holds:
            return "not reproduced"
        return "reproduced" if self.published else "relation holds"


@dataclass(frozen=True)
class Judged:
    """A claim with its verdict, and what each side that names quantities measured, with interval.

    Numbers have four digits, or as many more as show what decided. What others found holds or does
    not as it was measured, for a tolerance allows for chance; what was expected only if it does so
    all through its interval, and is undecided otherwise, as it is with one seed.
    """

    claim: Claim
    verdict: str
    measured: str
    n_seeds: int


def judge(
    claim: Claim,
    quantities: Mapping[str, pd.Series],
    equals: Mapping[str, ast.expr] = MappingProxyType({}),
) -> Judged:
    """Evaluate a claim; `not run` without expressions or where a quantity was not measured.

    Parameters
    ----------
    claim : Claim
    quantities : mapping of str to Series
        Values by seed.
    equals : mapping of str to expression
        What those quantities equal that follow from others, as `defined` returns it.
    """
    try:
        parts = [_compare(expression, quantities, equals) for expression in claim.holds]
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
    written = {
        shown: f"{value:.{digits}g}"
        f"{_interval(shown, value, quantities, shared[shown], digits, equals)}"
        for shown, (value, digits) in sides.items()
    }
    n_seeds = min(map(len, shared.values()))
    holds: bool | None = all(ok for ok, *_ in parts)
    if claim.how == "expected":
        holds = _every(_certainly(expression, quantities, equals) for expression in claim.holds)
    return Judged(claim, claim.verdict(holds), _together(claim, written), n_seeds)


def _certainly(
    expression: str, quantities: Mapping[str, pd.Series], equals: Mapping[str, ast.expr]
) -> bool | None:
    """Say whether comparisons hold all through the intervals of their gaps; None if in a part."""
    node, sides = _comparison(expression), _sides(expression)
    found = list[bool | None]()
    for kind, (left, right) in zip(node.ops, pairwise(sides), strict=True):
        slack = sum(_slack(side, quantities, equals) for side in (left, right))
        ends = _gap(left, right, quantities, equals)
        truths = {_COMPARISONS[type(kind)](end, slack) for end in ends}
        found.append(truths.pop() if len(truths) == 1 else None)
    return _every(found)


def _every(found: Iterable[bool | None]) -> bool | None:
    """Say whether all are true; None if none is false, and one may be either."""
    known = set(found)
    return None if None in known and False not in known else False not in known


def _gap(
    left: ast.expr,
    right: ast.expr,
    quantities: Mapping[str, pd.Series],
    equals: Mapping[str, ast.expr],
) -> tuple[float, float]:
    """Limits of one side less the other, paired by seed; of what has no interval its value twice.

    With one seed they are all numbers.
    """
    whole = ast.BinOp(left, ast.Sub(), right)
    seeds = _shared([quantities[name] for name in names(ast.unparse(whole))])
    if len(seeds) < 2:
        return -np.inf, np.inf
    # a share of seeds has another interval than a number less it
    one = (
        left if not names(ast.unparse(right)) else right if not names(ast.unparse(left)) else whole
    )
    value, gap = (float(np.mean(_value(node, quantities))) for node in (one, whole))
    limits = _limits(ast.unparse(one), value, quantities, seeds, equals) or (value, value)
    low, high = sorted(gap + (value - limit if one is right else limit - value) for limit in limits)
    return low, high


def _together(claim: Claim, written: Mapping[str, str]) -> str:
    """Write what each side measured: of a family its pattern once, then each label's number."""
    alike = dict(chain.from_iterable(family.sides().items() for family in claim.families))
    told: dict[str, list[str]] = {}
    for shown, number in written.items():
        pattern, label = alike.get(shown, (shown, ""))
        if label:
            told.setdefault(f"{pattern}: ", []).append(f"{label} {number}")
        else:
            told[f"{pattern} = "] = [number]
    return "; ".join(f"{head}{', '.join(numbers)}" for head, numbers in told.items())


def told(
    expression: str,
    quantities: Mapping[str, pd.Series],
    equals: Mapping[str, ast.expr] = MappingProxyType({}),
) -> str:
    """Write what an expression comes to, its mean over seeds, with interval; or `not run`."""
    try:
        value = float(np.mean(evaluate(expression, quantities)))
    except NotRunError:
        return "not run"
    if np.isposinf(value):
        return "not reached"
    seeds = _shared([quantities[name] for name in names(expression)])
    return f"{value:.{DIGITS}g}{_interval(expression, value, quantities, seeds, DIGITS, equals)}"


def defined(expressions: Mapping[str, str]) -> dict[str, ast.expr]:
    """Each expression in terms of what is measured, in an order in which each can be computed.

    Parameters
    ----------
    expressions : mapping of str to str
        What quantities equal, by name; they may name one another.

    Raises
    ------
    TableError
        For one that follows from itself, names no quantity, or takes a statistic over seeds: what a
        claim takes the mean of must have a value of each.
    """
    needs = {name: names(expression) for name, expression in expressions.items()}
    try:
        order = [name for name in TopologicalSorter(needs).static_order() if name in needs]
    except CycleError as error:
        raise TableError(f"measure: {' -> '.join(error.args[1])} follow from themselves") from error
    found: dict[str, ast.expr] = {}
    for name in order:
        node = _parse(expressions[name])
        if over := sorted(_called(node) & _OVER_SEEDS):
            raise TableError(f"measure.{name}: equals must be of each seed; got {over[0]}()")
        if not needs[name]:
            raise TableError(
                f"measure.{name}: equals must name a quantity, got {expressions[name]}"
            )
        found[name] = _inlined(node, found)
    return found


class _Inlined(ast.NodeTransformer):
    """Puts what quantities equal in the place of their names."""

    def __init__(self, equals: Mapping[str, ast.expr]) -> None:
        self.equals = equals

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return self.equals.get(node.id, node)


def _inlined(node: ast.expr, equals: Mapping[str, ast.expr]) -> ast.expr:
    return _Inlined(equals).visit(node)


def _called(node: ast.expr) -> set[str]:
    """Functions that an expression calls."""
    return {
        part.func.id
        for part in ast.walk(node)
        if isinstance(part, ast.Call) and isinstance(part.func, ast.Name)
    }


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


def _comparison(expression: str) -> ast.Compare:
    node = _parse(expression)
    if not isinstance(node, ast.Compare):
        raise TableError(f"a claim must compare: {expression}")
    if not all(type(kind) in _COMPARISONS for kind in node.ops):
        raise TableError(f"a claim must compare by <, <=, > or >=: {expression}")
    if not names(expression):
        raise TableError(f"a claim must name a quantity: {expression}")
    return node


def _sides(expression: str) -> list[ast.expr]:
    """What a comparison compares."""
    node = _comparison(expression)
    return [node.left, *node.comparators]


def _compare(
    expression: str, quantities: Mapping[str, pd.Series], equals: Mapping[str, ast.expr]
) -> tuple[bool, dict[str, float], int]:
    """Say whether a comparison is true; the means of its measured sides; to how many digits."""
    node, sides = _comparison(expression), _sides(expression)
    values = [float(np.mean(_value(side, quantities))) for side in sides]
    slack = [_slack(side, quantities, equals) for side in sides]
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


def _slack(
    side: ast.expr, quantities: Mapping[str, pd.Series], equals: Mapping[str, ast.expr]
) -> float:
    """How far a side may be off because its quantities, one by one, were float32."""
    node = _inlined(_parse(ast.unparse(side)), equals)
    value = float(np.mean(_value(side, quantities)))
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
            given = _aligned([_value(argument, quantities) for argument in arguments])
            try:
                signature(_FUNCTIONS[name]).bind(*given)
            except TypeError as error:
                raise TableError(f"{ast.unparse(node)}: {name} has {error}") from error
            return _FUNCTIONS[name](*given)
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
    equals: Mapping[str, ast.expr],
) -> str:
    """Write the interval over paired seeds; empty where there is none."""
    limits = _limits(expression, value, quantities, seeds, equals)
    return "" if limits is None else f" [{limits[0]:.{digits}g}, {limits[1]:.{digits}g}]"


def _limits(
    expression: str,
    value: float,
    quantities: Mapping[str, pd.Series],
    seeds: list[Any],
    equals: Mapping[str, ast.expr],
) -> tuple[float, float] | None:
    """Return the interval over paired seeds; None if fewer than two, infinite, of order statistics.

    It is that of the mean of the jackknife's pseudo-values, n times the whole less n - 1 times what
    is found without one seed, around what was found: of a mean, these are the seeds' values. Where
    they say which seeds have reached a level, it is Clopper and Pearson's (1934) of their share.
    """
    node, n = _parse(expression), len(seeds)
    called = _called(_inlined(_parse(expression), equals))
    if n < 2 or called & _NOT_SMOOTH:
        return None
    others = np.arange(n)[None].repeat(n, 0)[~np.eye(n, dtype=bool)].reshape(n, n - 1)
    without = {
        name: quantities[name].loc[seeds].to_numpy(float)[others] for name in names(expression)
    }
    with np.errstate(invalid="ignore"):
        left_out = np.mean(_value(node, without), axis=1)
        pseudo = value + (n - 1) * (left_out.mean() - left_out)
    if not np.isfinite(pseudo).all():
        return None
    reached = pseudo.round(9)
    if "reached" in called and np.isin(reached, (0, 1)).all():
        share = binomtest(int(reached.sum()), n).proportion_ci(LEVEL)
        return float(share.low), float(share.high)
    low, high = mean_interval(pseudo)
    return float(low), float(high)
