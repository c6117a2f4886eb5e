"""Quantities of a page, by seed, as its settings say where to find them; its claims and answers.

A quantity is a column of the tables of those cells whose settings are as `where` says.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import chain, product
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from analysis.runs import Frame, is_amount
from analysis.statistics.inference import UNBOUNDED, at_least
from analysis.summaries import language
from analysis.summaries.claims import Claim, Family, Judged, judge, told
from analysis.summaries.crossings import crossing
from analysis.summaries.expressions import (
    RANGE,
    NotRunError,
    Range,
    defined,
    evaluate,
    names,
    range_of,
    scaled,
)
from analysis.summaries.tuning import as_tuned
from analysis.tables import TableError, Tables, limits_of, load, noted

BOUNDS = {  # equal numbers are equal: 243 of 270 in float32 reach 0.9
    "<": lambda column, bound: ~at_least(column, bound),
    "<=": lambda column, bound: at_least(bound, column),
    ">": lambda column, bound: ~at_least(bound, column),
    ">=": at_least,
}
SETTINGS = "paper.json"  # the paper's part of the settings, written beside its runs
REQUIRED = ("name", "scale", "title", "measure", "claims")
ABOUT = {"citation": "paper", "question": "study"}  # what a page has one of, and what it then is
_EXPRESSION = re.compile(r"\{([^{}]+)\}")
_SPREAD = re.compile(r"\*\[([^\[\]]*)\]")


def read(folder: Path) -> tuple[dict[str, Any], Tables]:
    """Return a paper's settings and the tables of its runs; as tuned, if it says `as_tuned`.

    Its runs are those that its command has asked for, where that is noted.
    """
    paper = noted(folder / SETTINGS, dict, REQUIRED)
    tables = _asked(load(folder), paper.get("asked"))
    about(paper)  # one that is of neither kind is refused
    return paper, as_tuned(folder, tables) if paper.get("as_tuned") else tables


def _asked(tables: Tables, seeds: Mapping[str, Collection[int]] | None) -> Tables:
    """Keep the replicas of these seeds by arm, whose id their run's begins with; all for None."""
    if seeds is None:
        return tables

    def kept(runs: pd.Series, of: pd.Series) -> list[bool]:
        pairs = zip(runs.astype(str).str.partition("-")[0], of, strict=True)
        return [seed in seeds.get(arm, ()) for arm, seed in pairs]

    found = tables.runs[kept(tables.runs["run_id"], tables.runs["seed"])]
    cells, lines = set(found["run_id"]), tables.landscape
    if len(lines):
        other = kept(lines["other_run_id"], lines["other_seed"])
        ends = np.array(other) | (lines["other_run_id"] == "").to_numpy()
        lines = lines[np.array(kept(lines["run_id"], lines["seed"])) & ends]
    return replace(
        tables.labelled(found),
        manifests={cell: made for cell, made in tables.manifests.items() if cell in cells},
        landscape=lines,
    )


def about(paper: Mapping[str, Any]) -> str:
    """Return what tells whose result a page is, "citation", or what we ask, "question"."""
    found = [key for key in ABOUT if key in paper]
    if len(found) != 1:
        got = " and ".join(found) or "neither"
        raise TableError(f"paper must have one of {', '.join(ABOUT)}; got {got}")
    return found[0]


def measure(paper: Mapping[str, Any], tables: Tables) -> dict[str, pd.Series]:
    """Every quantity of a paper, a Series by seed; those that were not run are empty."""
    entries = quantities_of(paper)
    found = {
        name: _quantity(name, entry, tables)
        for name, entry in entries.items()
        if "equals" not in entry
    }
    followed = followed_by(paper, found)
    return {name: followed[name] for name in entries}


def followed_by(
    paper: Mapping[str, Any], measured: Mapping[str, pd.Series]
) -> dict[str, pd.Series]:
    """Return what was measured, and the quantities that equal an expression of it, by seed."""
    found = dict(measured)
    for name, expression in equals_of(paper).items():
        try:
            value = evaluate(ast.unparse(expression), measured)
            found[name] = _within(value, range_of(expression, measured))
        except NotRunError:
            found[name] = pd.Series(dtype=float)
    return found


def equals_of(paper: Mapping[str, Any]) -> dict[str, ast.expr]:
    """Return the expressions of those quantities that follow from others, of what is measured."""
    entries = quantities_of(paper)
    equals = {name: entry["equals"] for name, entry in entries.items() if "equals" in entry}
    found = defined(equals)
    for name, expression in equals.items():
        _require_known(f"measure.{name}", names(expression), entries)
    return found


def quantities_of(paper: Mapping[str, Any]) -> dict[str, Any]:
    """Where to find every quantity, by name: an entry of `measure` for each value of its `for`.

    `for: {depth: [1, 2]}` puts 1 and 2 in the place of `{depth}`; `for: {size: {small: 0.01, large:
    1.0}}` puts the labels small and large into the name, and the values everywhere else.
    """
    entries: dict[str, Any] = {}
    for name, entry in paper["measure"].items():
        for labels, values in _chosen(entry.get("for", {})):
            made = _filled(entry, values)
            if "equals" in entry:
                made["equals"] = spread(made["equals"], entry.get("over", {}))
            written = _filled(name, labels)
            if written in entries:
                raise TableError(f"measure: {written} is said twice, the second time by {name}")
            entries[written] = made
    return entries


def family_of(entry: Mapping[str, Any]) -> Family:
    """Expressions of a claim that are alike: `each`, for all that its `for` runs through."""
    each, over = entry["each"], entry.get("over", {})
    ranges = entry.get("for", {})
    members = {
        ", ".join(map(str, labels.values())): spread(str(_filled(each, values)), over)
        for labels, values in _chosen(ranges)
    }
    shown = {
        name: [str(label) for label, _ in _labelled(given)]
        for name, given in [*ranges.items(), *over.items()]
    }
    return Family(each, members, shown)


def spread(expression: str, over: Mapping[str, Any]) -> str:
    """Write a list out, `*[{rule}_cost]`: an argument for all that the names in it run through."""

    def written(found: re.Match[str]) -> str:
        ranges = {name: given for name, given in over.items() if f"{{{name}}}" in found[1]}
        return ", ".join(str(_filled(found[1], values)) for _, values in _chosen(ranges))

    return _SPREAD.sub(written, expression)


def _chosen(ranges: Mapping[str, Any]) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Labels and values by name, one of each of what several names run through."""
    found = []
    for chosen in product(*map(_labelled, ranges.values())):
        bound = dict(zip(ranges, chosen, strict=True))
        labels, values = ({key: pair[side] for key, pair in bound.items()} for side in (0, 1))
        found.append((labels, values))
    return found


def _labelled(given: Sequence[Any] | Mapping[str, Any]) -> list[tuple[Any, Any]]:
    """Label and value of all that a `for` runs through; a value without a label is its label."""
    return (
        list(given.items()) if isinstance(given, Mapping) else [(value, value) for value in given]
    )


def answers(paper: Mapping[str, Any], quantities: Mapping[str, pd.Series]) -> list[str]:
    """Return what a page answers, each `{expression}` filled with its mean and interval."""
    equals = equals_of(paper)
    return [
        _EXPRESSION.sub(lambda found: told(found[1], quantities, equals), line)
        for line in paper.get("answers", ())
    ]


def tabled(
    paper: Mapping[str, Any], quantities: Mapping[str, pd.Series]
) -> list[tuple[Mapping[str, Any], dict[Any, dict[Any, str]]]]:
    """Return a page's tables, each with its cells by row and column: mean and interval."""
    equals = equals_of(paper)
    return [
        (
            table,
            {
                row: {
                    column: told(expression, quantities, equals)
                    for column, expression in cells.items()
                }
                for row, cells in map_of(table, "cell").items()
            },
        )
        for table in paper.get("tables", ())
    ]


def judge_all(paper: Mapping[str, Any], quantities: Mapping[str, pd.Series]) -> list[Judged]:
    """Judge the claims of a paper, in their order."""
    equals = equals_of(paper)
    return [judge(claim, quantities, equals) for claim in claims_of(paper)]


def claims_of(paper: Mapping[str, Any]) -> list[Claim]:
    """Read a paper's claims; raise `TableError` if anything names what is not measured."""
    claims = [_claim(entry) for entry in paper["claims"]]
    if twice := [one for one, count in Counter(claim.id for claim in claims).items() if count > 1]:
        raise TableError(f"claims: the id {twice[0]} is given twice")
    used = {f"claim {claim.id}": claim.holds for claim in claims} | expressions_of(paper)
    known = quantities_of(paper)
    for user, expressions in used.items():
        _require_known(user, chain.from_iterable(map(names, expressions)), known)
    return claims


def expressions_of(paper: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return all expressions of figures, tables and answers, by what has them."""
    used = {f"figure {figure['title']!r}": drawn(figure) for figure in paper.get("figures", ())}
    used |= {
        f"table {table['title']!r}": [
            cell for row in map_of(table, "cell").values() for cell in row.values()
        ]
        for table in paper.get("tables", ())
    }
    return used | {
        f"answer {line!r}": _EXPRESSION.findall(line) for line in paper.get("answers", ())
    }


def _require_known(user: str, wanted: Iterable[str], known: Collection[str]) -> None:
    if unknown := sorted(set(wanted).difference(known)):
        raise TableError(f"{user} names what the paper does not measure: {', '.join(unknown)}")


def _claim(entry: Mapping[str, Any]) -> Claim:
    """Read a claim; what is alike among its expressions is written out, and kept together."""
    what = f"claim {entry.get('id')}"
    language.CLAIM.require(what, entry)
    given = entry["holds"]
    families, holds = list[Family](), list[str]()
    for part in given if isinstance(given, list) else [given]:
        if isinstance(part, str):
            holds.append(part)
        else:
            language.FAMILY.require(f"{what}: holds", part)
            families.append(family_of(part))
            holds += families[-1].members.values()
    return Claim.of({**entry, "holds": holds, "families": tuple(families)})


def drawn(figure: Mapping[str, Any]) -> list[str]:
    """Expressions that a figure draws."""
    series = series_of(figure)
    found = [one["values"] for one in series if "values" in one]
    found += chain.from_iterable(row.values() for row in map_of(figure, "map").values())
    points = (points_of(figure, one).values() for one in series if "points" in one)
    return [*chain.from_iterable(points), *found]


def kind_of(figure: Mapping[str, Any]) -> Literal["map", "densities", "curves"]:
    """Say what a figure is, by what it has: a `map`, or series, of which any has `values`."""
    if "map" in figure:
        return "map"
    series = figure.get("series", ())
    scattered = isinstance(series, list) and any("values" in one for one in series)
    return "densities" if scattered else "curves"


def series_of(figure: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Series of a figure: an entry for each value of their `for`, with labels in the name alone."""
    return [
        {**_filled(entry, values), "name": str(_filled(entry["name"], labels))}
        for entry in figure.get("series", ())
        for labels, values in _chosen(entry.get("for", {}))
    ]


def points_of(figure: Mapping[str, Any], series: Mapping[str, Any]) -> dict[Any, str]:
    """Quantities of a series by place: `points`, or a pattern with those of `along` as `{along}`.

    Places are named as rows of a map are.
    """
    points = series["points"]
    if not isinstance(points, str):
        return dict(points)
    return {
        place: str(_filled(points, {"along": value})) for place, value in _labelled(figure["along"])
    }


def map_of(spec: Mapping[str, Any], key: str) -> dict[Any, dict[Any, str]]:
    """Expressions by row and column of a figure's `map` or a table's `cell`.

    Each row and column takes the place of `{row}` and `{column}`. They are named by their values,
    or `{label: value}`.
    """
    return {
        row: {
            column: str(_filled(spec[key], {"row": first, "column": second}))
            for column, second in _labelled(spec["columns"])
        }
        for row, first in _labelled(spec.get("rows", ()))
    }


def _quantity(name: str, entry: Mapping[str, Any], tables: Tables) -> pd.Series:
    """One column of the tables by seed, of the cells whose settings are as `where` says."""
    cells = [
        cell for cell, manifest in tables.manifests.items() if matches(manifest, entry["where"])
    ]
    take = entry["take"]
    spec = {"column": take} if isinstance(take, str) else dict(take)
    table: Frame = getattr(tables, spec.pop("table", "runs"))
    column, reduced = spec.pop("column", "value"), spec.pop("reduce", None)
    rows = table[table["run_id"].isin(cells)]
    for key, wanted in spec.items():
        if isinstance(wanted, Mapping):  # another run, by its settings as ours
            others = [cell for cell, made in tables.manifests.items() if matches(made, wanted)]
            rows = rows[rows[key].isin(others)]
        else:
            rows = rows[_wanted(rows[key], wanted)]
    if rows.empty:
        return pd.Series(dtype=float)
    times, plus = entry.get("times", 1), entry.get("plus", 0)
    if isinstance(reduced, Mapping):
        limits = _limits(rows, reduced.get("at", "steps"))
        found = crossing(rows, column, **reduced) * times + plus
        return _within(found, scaled(limits, times, plus))
    by_seed = rows.groupby("seed")[column]
    if reduced is None and (by_seed.size() > 1).any():
        raise TableError(
            f"measure.{name}: more than one row per seed; narrow `where`, or have `reduce: min` in "
            f"`take`; got {entry}"
        )
    values = by_seed.agg(reduced or "first").astype(float) * times + plus
    low, high = _limits(rows, column)
    if reduced == "sum":  # of any number of rows
        low, high = (0.0 if low >= 0 else -np.inf), (0.0 if high <= 0 else np.inf)
    return _within(values, scaled((low, high), times, plus))


def _limits(rows: Frame, column: str) -> Range:
    """What a column of some rows cannot leave: a score, by its name; an amount."""
    if is_amount(column):
        return 0.0, np.inf
    if column == "value" and "metric" in rows:
        scores = set(rows["metric"])
    else:
        scores = set(rows["headline_metric"]) if column.endswith("_score") else set()
    limits = set(map(limits_of, scores))
    return limits.pop() if len(limits) == 1 else UNBOUNDED


def _within(values: pd.Series, limits: Range) -> pd.Series:
    """Return values with a note of what they cannot leave."""
    values = values.copy()
    values.attrs = {RANGE: limits}
    return values


def _wanted(column: pd.Series, wanted: Any) -> Any:
    """Say which rows have a value: itself, `last` for the largest, or a bound such as `>= 0.99`."""
    if wanted == "last":
        return column == column.max()
    if isinstance(wanted, str) and (bound := re.fullmatch(r"([<>]=?) *(.+)", wanted)):
        return BOUNDS[bound[1]](column, float(bound[2]))
    if isinstance(wanted, float):
        return at_least(column, wanted) & at_least(wanted, column)
    return column == wanted


def matches(manifest: Mapping[str, Any], where: Mapping[str, Any]) -> bool:
    """Say whether a cell's settings, by dotted path, or its labels are those wanted."""
    for path, wanted in where.items():
        found: Any = manifest.get("identity", {}).get(path)
        if found is None:
            found = manifest.get("settings", {})
            for key in path.split("."):
                found = _inside(found, key)
        if found != wanted:
            return False
    return True


def _inside(settings: Any, key: str) -> Any:
    """Go one step down a path: a key, or a place in a list; None where there is no such."""
    if isinstance(settings, Mapping):
        return settings.get(key)
    if isinstance(settings, list) and key.isdigit() and int(key) < len(settings):
        return settings[int(key)]
    return None


def _filled(template: Any, bound: Mapping[str, Any]) -> Any:
    """Replace `{name}` in every text; a text that is nothing else becomes the value itself."""
    if isinstance(template, Mapping):
        return {
            _filled(key, bound): _filled(value, bound)
            for key, value in template.items()
            if key not in ("for", "over")
        }
    if isinstance(template, list):
        return [_filled(item, bound) for item in template]
    if isinstance(template, str):
        if whole := re.fullmatch(r"\{(\w+)\}", template):
            return bound.get(whole[1], template)
        return re.sub(r"\{(\w+)\}", lambda found: str(bound.get(found[1], found[0])), template)
    return template
