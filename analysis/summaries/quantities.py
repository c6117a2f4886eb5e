"""Quantities of a page, by seed, as its settings say where to find them; its claims and answers.

A quantity is a column of the tables of those cells whose settings are as `where` says.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import chain, product
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.statistics.inference import at_least
from analysis.summaries.claims import Claim, Judged, judge, names, told
from analysis.summaries.crossings import crossing
from analysis.summaries.tuning import as_tuned
from analysis.tables import Frame, TableError, Tables, load, noted

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


def read(folder: Path) -> tuple[dict[str, Any], Tables]:
    """Return a paper's settings and the tables of its runs; as tuned, if it says `as_tuned`."""
    paper, tables = noted(folder / SETTINGS, dict, REQUIRED), load(folder)
    about(paper)  # one that is of neither kind is refused
    return paper, as_tuned(folder, tables) if paper.get("as_tuned") else tables


def about(paper: Mapping[str, Any]) -> str:
    """Return what tells whose result a page is, "citation", or what we ask, "question"."""
    found = [key for key in ABOUT if key in paper]
    if len(found) != 1:
        got = " and ".join(found) or "neither"
        raise TableError(f"paper must have one of {', '.join(ABOUT)}; got {got}")
    return found[0]


def measure(paper: Mapping[str, Any], tables: Tables) -> dict[str, pd.Series]:
    """Every quantity of a paper, a Series by seed; those that were not run are empty."""
    return {name: _quantity(entry, tables) for name, entry in quantities_of(paper).items()}


def quantities_of(paper: Mapping[str, Any]) -> dict[str, Any]:
    """Where to find every quantity, by name: an entry of `measure` for each value of its `for`.

    `for: {depth: [1, 2]}` puts 1 and 2 in the place of `{depth}`; `for: {size: {small: 0.01, large:
    1.0}}` puts the labels small and large into the name, and the values everywhere else.
    """
    entries: dict[str, Any] = {}
    for name, entry in paper["measure"].items():
        ranges = entry.get("for", {})
        for chosen in product(*map(_labelled, ranges.values())):
            bound = dict(zip(ranges, chosen, strict=True))
            labels, values = ({key: pair[side] for key, pair in bound.items()} for side in (0, 1))
            entries[_filled(name, labels)] = _filled(entry, values)
    return entries


def _labelled(given: Sequence[Any] | Mapping[str, Any]) -> list[tuple[Any, Any]]:
    """Label and value of all that a `for` runs through; a value without a label is its label."""
    return (
        list(given.items()) if isinstance(given, Mapping) else [(value, value) for value in given]
    )


def answers(paper: Mapping[str, Any], quantities: Mapping[str, pd.Series]) -> list[str]:
    """Return what a page answers, each `{expression}` filled with its mean and interval."""
    return [
        _EXPRESSION.sub(lambda found: told(found[1], quantities), line)
        for line in paper.get("answers", ())
    ]


def judge_all(paper: Mapping[str, Any], quantities: Mapping[str, pd.Series]) -> list[Judged]:
    """Judge the claims of a paper, in their order."""
    return [judge(claim, quantities) for claim in claims_of(paper)]


def claims_of(paper: Mapping[str, Any]) -> list[Claim]:
    """Read a paper's claims; raise `TableError` if one, or a figure, names what is not measured."""
    claims = [Claim.of(entry) for entry in paper["claims"]]
    used = {
        f"claim {claim.id}": list(chain.from_iterable(map(names, claim.holds))) for claim in claims
    }
    used |= {f"figure {figure['title']!r}": drawn(figure) for figure in paper.get("figures", ())}
    used |= {
        f"answer {line!r}": list(chain.from_iterable(map(names, _EXPRESSION.findall(line))))
        for line in paper.get("answers", ())
    }
    known = set(quantities_of(paper))
    for user, wanted in used.items():
        if unknown := sorted(set(wanted) - known):
            raise TableError(f"{user} names what the paper does not measure: {', '.join(unknown)}")
    return claims


def drawn(figure: Mapping[str, Any]) -> list[str]:
    """Quantities that a figure names."""
    told_of = [series["values"] for series in figure.get("series", ()) if "values" in series]
    told_of += chain.from_iterable(row.values() for row in map_of(figure).values())
    series = figure.get("series", ())
    points = (points_of(figure, one).values() for one in series if "points" in one)
    return [*chain.from_iterable(points), *chain.from_iterable(map(names, told_of))]


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


def map_of(figure: Mapping[str, Any]) -> dict[Any, dict[Any, str]]:
    """Expressions of a map by row and column: `map` with those in place of `{row}`, `{column}`.

    Rows and columns are named by their values, or `{label: value}`.
    """
    return {
        row: {
            column: str(_filled(figure["map"], {"row": first, "column": second}))
            for column, second in _labelled(figure["columns"])
        }
        for row, first in _labelled(figure.get("rows", ()))
    }


def _quantity(entry: Mapping[str, Any], tables: Tables) -> pd.Series:
    """One column of the tables by seed, of the cells whose settings are as `where` says."""
    cells = [
        cell for cell, manifest in tables.manifests.items() if matches(manifest, entry["where"])
    ]
    take = entry["take"]
    spec = {"column": take} if isinstance(take, str) else dict(take)
    table: Frame = getattr(tables, spec.pop("table", "runs"))
    column, reduced = spec.pop("column", "value"), spec.pop("reduce", None)
    rows = table[table["run_id"].isin(cells)]
    for name, wanted in spec.items():
        if isinstance(wanted, Mapping):  # another run, by its settings as ours
            others = [cell for cell, made in tables.manifests.items() if matches(made, wanted)]
            rows = rows[rows[name].isin(others)]
        else:
            rows = rows[_wanted(rows[name], wanted)]
    if rows.empty:
        return pd.Series(dtype=float)
    if isinstance(reduced, Mapping):
        return crossing(rows, column, **reduced) * entry.get("times", 1) + entry.get("plus", 0)
    by_seed = rows.groupby("seed")[column]
    if reduced is None and (by_seed.size() > 1).any():
        raise TableError(
            f"{entry}: more than one row per seed; narrow `where`, or say `reduce: min`"
        )
    return by_seed.agg(reduced or "first").astype(float) * entry.get("times", 1) + entry.get(
        "plus", 0
    )


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
            if key != "for"
        }
    if isinstance(template, list):
        return [_filled(item, bound) for item in template]
    if isinstance(template, str):
        if whole := re.fullmatch(r"\{(\w+)\}", template):
            return bound.get(whole[1], template)
        return re.sub(r"\{(\w+)\}", lambda found: str(bound.get(found[1], found[0])), template)
    return template
