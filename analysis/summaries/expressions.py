"""Expressions of quantities, each a column of numbers, one a seed; and nothing else.

What varies over seeds is averaged last, so that differences are paired.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from graphlib import CycleError, TopologicalSorter
from inspect import signature
from itertools import product
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from analysis.statistics.inference import LEVEL, RESOLUTION, UNBOUNDED, at_least, mean_interval
from analysis.summaries.stability import kendall, orders
from analysis.tables import TableError

RANGE = "range"  # in a Series' `attrs`: what its values cannot leave, as (0, 1) of an accuracy
# a Series by seed, a number, or an array (n, n - 1) whose rows lack one of n seeds each
Value = Any
Range: TypeAlias = tuple[float, float]


class NotRunError(Exception):
    """A quantity that a claim names was not measured at this scale."""


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


def _reached(value: Value, level: float) -> Value:
    """For each seed 1 where a value is a level or more, 0 elsewhere."""
    found = 1.0 * at_least(value, level)
    return pd.Series(found, value.index) if isinstance(value, pd.Series) else found


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
    "reached": _reached,
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
_GROWING = {"mean", "min", "max", "exp", "sqrt", "log", "log2", "log10"}  # with what they are given
# leaving out one seed says nothing about how these scatter
_NOT_SMOOTH = {"median", "smallest", "largest"}
_OVER_SEEDS = {"mean", "var", "std", *_NOT_SMOOTH}


def evaluate(expression: str, quantities: Mapping[str, pd.Series]) -> Value:
    """Value of an expression without comparison: a Series by seed, or a number."""
    return value_of(parse(expression), quantities)


def names(expression: str) -> list[str]:
    """Quantities that an expression names."""
    return [
        node.id
        for node in ast.walk(parse(expression))
        if isinstance(node, ast.Name) and node.id not in _FUNCTIONS
    ]


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
        node = parse(expressions[name])
        if over := sorted(_called(node) & _OVER_SEEDS):
            raise TableError(f"measure.{name}: equals must be of each seed; got {over[0]}()")
        if not needs[name]:
            raise TableError(
                f"measure.{name}: equals must name a quantity, got {expressions[name]}"
            )
        found[name] = inlined(node, found)
    return found


def limits_over_seeds(
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
    node, n = parse(expression), len(seeds)
    called = _called(inlined(parse(expression), equals))
    if n < 2 or called & _NOT_SMOOTH:
        return None
    others = np.arange(n)[None].repeat(n, 0)[~np.eye(n, dtype=bool)].reshape(n, n - 1)
    without = {
        name: quantities[name].loc[seeds].to_numpy(float)[others] for name in names(expression)
    }
    with np.errstate(invalid="ignore"):
        left_out = np.mean(value_of(node, without), axis=1)
        pseudo = value + (n - 1) * (left_out.mean() - left_out)
    if not np.isfinite(pseudo).all():
        return None
    reached = pseudo.round(9)
    if "reached" in called and np.isin(reached, (0, 1)).all():
        share = binomtest(int(reached.sum()), n).proportion_ci(LEVEL)
        return float(share.low), float(share.high)
    low, high = mean_interval(pseudo, range_of(node, quantities))
    return float(low), float(high)


def range_of(node: ast.expr, quantities: Mapping[str, pd.Series]) -> Range:
    """What no value of an expression can leave, from what its quantities cannot, see `RANGE`.

    By interval arithmetic: it holds every value, and may be wider than they are.
    """
    match node:
        case ast.Constant(value=int() | float() as number):
            return number, number
        case ast.Name(id=name):
            return quantities[name].attrs.get(RANGE, UNBOUNDED)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return scaled(range_of(operand, quantities), -1)
        case ast.BinOp(left=left, op=ast.Pow(), right=ast.Constant(value=2)):
            ends = range_of(left, quantities)
            low = 0.0 if min(ends) < 0 < max(ends) else min(map(abs, ends)) ** 2
            return low, max(map(abs, ends)) ** 2
        case ast.BinOp(left=left, op=kind, right=right) if type(kind) in _RANGES:
            return _RANGES[type(kind)](range_of(left, quantities), range_of(right, quantities))
        case ast.Call(func=ast.Name(id="reached")):
            return 0.0, 1.0
        case ast.Call(func=ast.Name(id="abs" | "var" | "std")):
            return 0.0, np.inf
        case ast.Call(func=ast.Name(id=name), args=arguments) if name in _GROWING:
            lows, highs = zip(*(range_of(one, quantities) for one in arguments), strict=True)
            with np.errstate(invalid="ignore", divide="ignore"):
                low, high = (float(_FUNCTIONS[name](*ends)) for ends in (lows, highs))
            return (-np.inf if np.isnan(low) else low), (np.inf if np.isnan(high) else high)
    return UNBOUNDED


def interval_of(values: pd.Series) -> tuple[float, float]:
    """Interval of a quantity's mean, within what its values cannot leave."""
    low, high = mean_interval(values.to_numpy(), values.attrs.get(RANGE, UNBOUNDED))
    return float(low), float(high)


def scaled(limits: Range, times: float, plus: float = 0.0) -> Range:
    """Return a range of values that are multiplied, and moved."""
    low, high = sorted(_product(limit, times) + plus for limit in limits)
    return low, high


def _product(one: float, other: float) -> float:
    """Multiply ends of ranges: nothing, however often, is nothing."""
    return one * other if one and other else 0.0


def _multiplied(one: Range, other: Range) -> Range:
    ends = [_product(*pair) for pair in product(one, other)]
    return min(ends), max(ends)


def _divided(one: Range, other: Range) -> Range:
    low, high = other
    if low < 0 < high or low == high == 0:
        return UNBOUNDED
    return _multiplied(one, (1 / high if high else -np.inf, 1 / low if low else np.inf))


_RANGES: dict[type, Callable[[Range, Range], Range]] = {
    ast.Add: lambda one, other: (one[0] + other[0], one[1] + other[1]),
    ast.Sub: lambda one, other: (one[0] - other[1], one[1] - other[0]),
    ast.Mult: _multiplied,
    ast.Div: _divided,
}


def slack_of(
    side: ast.expr, quantities: Mapping[str, pd.Series], equals: Mapping[str, ast.expr]
) -> float:
    """How far a side may be off because its quantities, one by one, were float32."""
    node = inlined(parse(ast.unparse(side)), equals)
    value = float(np.mean(value_of(side, quantities)))
    moved = [
        float(np.mean(value_of(node, {**quantities, name: quantities[name] * (1 + RESOLUTION)})))
        - value
        for name in names(ast.unparse(node))
    ]
    return float(np.abs([change for change in moved if np.isfinite(change)]).sum())


def shared_seeds(series: Sequence[pd.Series]) -> list[Any]:
    """Seeds that all have, in their order."""
    if not series:
        return []
    shared = reduce(lambda a, b: a.intersection(b), (one.index for one in series))
    return list(shared.unique())


def parse(expression: str) -> ast.expr:
    """Read an expression, or a comparison; `TableError` for what is none."""
    try:
        return ast.parse(expression.strip(), mode="eval").body
    except SyntaxError as error:
        raise TableError(f"not an expression: {expression}") from error


def value_of(node: ast.expr, quantities: Mapping[str, Any]) -> Value:
    """Value of what was read; `NotRunError` where a quantity in it was not measured."""
    match node:
        case ast.Constant(value=int() | float() as number):
            return number
        case ast.Name(id=name):
            if name not in quantities or not len(quantities[name]):
                raise NotRunError(name)
            return quantities[name]
        case ast.UnaryOp(op=kind, operand=operand) if type(kind) in _OPERATORS:
            return _OPERATORS[type(kind)](value_of(operand, quantities))
        case ast.BinOp(left=left, op=kind, right=right) if type(kind) in _OPERATORS:
            return _OPERATORS[type(kind)](
                *_aligned([value_of(left, quantities), value_of(right, quantities)])
            )
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name in _FUNCTIONS:
            given = _aligned([value_of(argument, quantities) for argument in arguments])
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
    seeds = shared_seeds(series)
    return [value.loc[seeds] if isinstance(value, pd.Series) else value for value in values]


class _Inlined(ast.NodeTransformer):
    """Puts what quantities equal in the place of their names."""

    def __init__(self, equals: Mapping[str, ast.expr]) -> None:
        self.equals = equals

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return self.equals.get(node.id, node)


def inlined(node: ast.expr, equals: Mapping[str, ast.expr]) -> ast.expr:
    """Return an expression with what quantities equal in the place of their names."""
    return _Inlined(equals).visit(node)


def _called(node: ast.expr) -> set[str]:
    """Functions that an expression calls."""
    return {
        part.func.id
        for part in ast.walk(node)
        if isinstance(part, ast.Call) and isinstance(part.func, ast.Name)
    }
