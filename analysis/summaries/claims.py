"""Claims of a paper, judged on measured quantities: expressions over seeds, and nothing else.

A quantity is a column of numbers, one a seed. An expression compares quantities; what varies over
seeds is averaged just before the comparison, so that differences are paired.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from analysis.summaries.expressions import (
    NotRunError,
    evaluate,
    limits_over_seeds,
    names,
    parse,
    shared_seeds,
    slack_of,
    value_of,
)
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


# of left less right, and how far rounding may have carried it: equal numbers are equal, whichever
# side they fell on
_COMPARISONS: dict[type, Callable[[float, float], bool]] = {
    ast.Lt: lambda gap, slack: gap < -slack,
    ast.LtE: lambda gap, slack: gap <= slack,
    ast.Gt: lambda gap, slack: gap > slack,
    ast.GtE: lambda gap, slack: gap >= -slack,
}


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
    shared = {shown: shared_seeds([quantities[name] for name in names(shown)]) for shown in sides}
    written = {
        shown: f"{value:.{digits}g}"
        f"{_interval(shown, value, quantities, shared[shown], digits, equals)}"
        for shown, (value, digits) in sides.items()
    }
    n_seeds = min(
        _n_with_value(evaluate(shown, quantities), seeds) for shown, seeds in shared.items()
    )
    holds: bool | None = all(ok for ok, *_ in parts)
    if claim.how == "expected":
        holds = _every(_certainly(expression, quantities, equals) for expression in claim.holds)
    return Judged(claim, claim.verdict(holds), _together(claim, written), n_seeds)


def _n_with_value(value: Any, seeds: Sequence[Any]) -> int:
    """How many seeds a mean is over: of a Series those with a value."""
    return int(value.loc[seeds].notna().sum()) if isinstance(value, pd.Series) else len(seeds)


def _certainly(
    expression: str, quantities: Mapping[str, pd.Series], equals: Mapping[str, ast.expr]
) -> bool | None:
    """Say whether comparisons hold all through the intervals of their gaps; None if in a part."""
    node, sides = _comparison(expression), _sides(expression)
    found = list[bool | None]()
    for kind, (left, right) in zip(node.ops, pairwise(sides), strict=True):
        slack = sum(slack_of(side, quantities, equals) for side in (left, right))
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

    With one seed they are all numbers, and where a seed has no value.
    """
    whole = ast.BinOp(left, ast.Sub(), right)
    seeds = shared_seeds([quantities[name] for name in names(ast.unparse(whole))])
    if len(seeds) < 2 or np.isnan(np.asarray(value_of(whole, quantities), float)).any():
        return -np.inf, np.inf
    # a share of seeds has another interval than a number less it
    one = (
        left if not names(ast.unparse(right)) else right if not names(ast.unparse(left)) else whole
    )
    value, gap = (float(np.mean(value_of(node, quantities))) for node in (one, whole))
    limits = limits_over_seeds(ast.unparse(one), value, quantities, seeds, equals)
    if limits is None:
        return gap, gap
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
        of_seeds = evaluate(expression, quantities)
    except NotRunError:
        return "not run"
    value = float(np.mean(of_seeds))
    if np.isposinf(value):
        return "not reached"
    seeds = shared_seeds([quantities[name] for name in names(expression)])
    interval = _interval(expression, value, quantities, seeds, DIGITS, equals)
    n = _n_with_value(of_seeds, seeds)
    return f"{value:.{DIGITS}g}{interval}{'' if n == len(seeds) else f' ({n} of {len(seeds)})'}"


def _comparison(expression: str) -> ast.Compare:
    node = parse(expression)
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
    values = [float(np.mean(value_of(side, quantities))) for side in sides]
    slack = [slack_of(side, quantities, equals) for side in sides]
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


def _interval(
    expression: str,
    value: float,
    quantities: Mapping[str, pd.Series],
    seeds: list[Any],
    digits: int,
    equals: Mapping[str, ast.expr],
) -> str:
    """Write the interval over paired seeds; empty where there is none."""
    limits = limits_over_seeds(expression, value, quantities, seeds, equals)
    return "" if limits is None else f" [{limits[0]:.{digits}g}, {limits[1]:.{digits}g}]"
