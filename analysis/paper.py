"""A page of claims: what was published or expected, beside what was measured; from tables alone.

`beyond +paper=NAME` repeats what others published, `beyond +study=NAME` what we ask, and each
writes the page; `beyond-verify PAGE` recomputes every number on it.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from itertools import chain, product
from os.path import realpath  # Path.resolve raises for links in a circle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.claims import VERDICTS, Claim, Judged, judge, names, told
from analysis.crossings import crossing
from analysis.statistics import at_least
from analysis.tables import Frame, TableError, Tables, load, noted, reason
from analysis.tuning import as_tuned

BOUNDS = {  # equal numbers are equal: 243 of 270 in float32 reach 0.9
    "<": lambda column, bound: ~at_least(column, bound),
    "<=": lambda column, bound: at_least(bound, column),
    ">": lambda column, bound: ~at_least(bound, column),
    ">=": at_least,
}
INTRODUCTION = (
    "Claims by verdict. A page has each claim with what was measured, figures, the command and the "
    "commit of its runs;",
    "`beyond-verify PAGE --runs FOLDER` recomputes its numbers from the tables of those runs.",
)
SETTINGS = "paper.json"  # the paper's part of the settings, written beside its runs
REQUIRED = ("name", "scale", "title", "measure", "claims")
ABOUT = {"citation": "paper", "question": "study"}  # what a page has one of, and what it then is
QUANTITY = ("where", "take")
_EXPRESSION = re.compile(r"\{([^{}]+)\}")
TAKEN = ("table", "column", "reduce")


def publish(folder: str | Path) -> None:
    """Write the page of a paper's runs; print verdicts and path, or exit with one line."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    folder = Path(folder)
    try:
        paper, judged, page = write(folder)
    except (TableError, OSError) as error:
        sys.exit(f"beyond: {reason(error)}")
    shown = Table("claim", "published", "measured", "verdict", box=SIMPLE_HEAD)
    for one in judged:
        shown.add_row(
            f"{one.claim.id} {one.claim.says}", one.claim.published, one.measured, one.verdict
        )
    console = Console(highlight=False, markup=False)
    console.print(paper["title"], shown)
    console.print(f"Page: {page}", soft_wrap=True)


def write(folder: Path) -> tuple[dict[str, Any], list[Judged], Path]:
    """Write `page/index.md` and its figure into the folder of a paper's runs."""
    from analysis import canvas
    from analysis.paper_figures import draw
    from analysis.paper_page import markdown

    paper, tables = read(folder)
    quantities = measure(paper, tables)
    judged = judge_all(paper, quantities)
    out = folder / "page"
    figures = draw(paper, quantities, out)
    page = out / "index.md"
    canvas.write(page, markdown(paper, tables, quantities, judged, figures))
    return paper, judged, page


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


def publish_index(folder: str | Path) -> None:
    """Write `index.md` over the pages below a folder: a row per page and scale, verdicts."""
    folder = Path(folder)
    found = [write(settings.parent) for settings in sorted(folder.glob(f"*/{SETTINGS}"))]
    if found:
        _write_index(folder / "index.md", found)


def collect(folder: Path, out: Path) -> None:
    """Copy the pages below a folder, not their tables; of two scales the full.

    The index keeps the rows of pages that are there and not in the folder.
    """
    chosen: dict[str, Path] = {}
    for settings in sorted(folder.glob(f"*/{SETTINGS}")):  # NAME-fast, then NAME-full
        chosen[noted(settings, dict, REQUIRED)["name"]] = settings.parent
    pages = []
    for name, runs in chosen.items():
        paper, judged, page = write(runs)
        (out / name).mkdir(parents=True, exist_ok=True)
        for path in (page, *page.parent.glob("*.png")):
            shutil.copy(path, out / name)
        pages.append((paper, judged, out / name / page.name))
    if pages:
        _write_index(out / "README.md", pages)


def _write_index(
    index: Path, pages: Sequence[tuple[Mapping[str, Any], Sequence[Judged], Path]]
) -> None:
    """Write and print a table of pages and their verdicts; rows of other pages stay."""
    from analysis import canvas

    kind = ABOUT[about(pages[0][0])]
    head = [
        f"| {kind} | scale | {' | '.join(VERDICTS[kind])} |",
        "|---" * (2 + len(VERDICTS[kind])) + "|",
    ]
    rows: dict[str, str] = {}
    for line in index.read_text(encoding="utf-8").splitlines() if index.exists() else ():
        page = re.search(r"\]\(([^()]*)\) \|", line)
        if page and (index.parent / page[1]).exists():
            rows[page[1]] = line
    for paper, judged, page in pages:
        counts = " | ".join(
            str(sum(one.verdict == verdict for one in judged)) for verdict in VERDICTS[kind]
        )
        where = page.relative_to(index.parent).as_posix()
        rows[where] = f"| [{paper['title']}]({where}) | {paper['scale']} | {counts} |"
    title = {"paper": "Published results", "study": "Studies"}[kind]
    lines = [*head, *(rows[where] for where in sorted(rows))]
    canvas.write(index, "\n".join([f"# {title}", "", *INTRODUCTION, "", *lines, ""]))
    sys.stdout.write("\n".join([*lines, f"Index: {index}", ""]))


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


def require_sound(
    paper: Mapping[str, Any],
    columns: Mapping[str, Collection[str]],
    settings: Mapping[str, Collection[str]],
) -> None:
    """Refuse a paper whose page could not be made from its runs, before they are made.

    Parameters
    ----------
    paper : mapping
        Its settings.
    columns : mapping of str to collection of str
        Names of the columns of each run table.
    settings : mapping of str to collection of str
        What a cell may be told by: labels and settings, with the names of those inside.

    Raises
    ------
    TableError
        For a key that is missing or unknown, a column that no table has, a setting that no run has,
        an expression that names or does what it may not.
    """
    _require_keys("paper", paper, REQUIRED, paper)  # it may have values for other places, too
    about(paper)
    for name, entry in paper["measure"].items():
        _require_keys(f"measure.{name}", entry, QUANTITY, (*QUANTITY, "for", "times", "plus"))
    layers = {*columns["layers"], *columns["curves"]}  # with the costs of their checkpoints
    known = {**columns, "layers": layers, "networks": layers}
    for name, entry in quantities_of(paper).items():
        if not isinstance(entry["where"], Mapping):
            raise TableError(f"measure.{name}: where must be a mapping, got {entry['where']!r}")
        for path in entry["where"]:
            first, second, *_ = [*path.split("."), ""]
            if first not in settings or (second and second not in settings[first]):
                raise TableError(f"measure.{name}: no run has a setting {path!r}")
        take = {"column": entry["take"]} if isinstance(entry["take"], str) else entry["take"]
        table = take.get("table", "runs")
        if table not in known:
            raise TableError(f"measure.{name}: table {table!r} is none of {', '.join(known)}")
        wanted = [take.get("column", "value"), *(key for key in take if key not in TAKEN)]
        if unknown := [column for column in wanted if column not in known[table]]:
            raise TableError(f"measure.{name}: the table {table} has no column {unknown[0]!r}")
    for claim in paper["claims"]:
        _require_keys(
            f"claim {claim.get('id')}",
            claim,
            ("id", "says", "holds", "how", "source"),
            Claim.__dataclass_fields__,
        )
    example = {name: pd.Series([0.1, 0.2, 0.3, 0.4]) for name in quantities_of(paper)}
    for claim in claims_of(paper):
        try:
            # of these numbers, not of those to come
            with suppress(ArithmeticError), np.errstate(all="ignore"):
                judge(claim, example)
        except (TypeError, KeyError, TableError) as error:
            raise TableError(f"claim {claim.id}: {error}") from error


def _require_keys(what: str, entry: Any, required: Sequence[str], known: Collection[str]) -> None:
    if not isinstance(entry, Mapping):
        raise TableError(f"{what} must be a mapping, got {entry!r}")
    if missing := [key for key in required if key not in entry]:
        raise TableError(f"{what} must have {', '.join(missing)}")
    if unknown := [str(key) for key in entry if key not in known]:
        raise TableError(f"{what}: unknown key {unknown[0]!r}; known: {', '.join(known)}")


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
    points = (series.get("points", {}).values() for series in figure.get("series", ()))
    return [*chain.from_iterable(points), *chain.from_iterable(map(names, told_of))]


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


def verify(arguments: Sequence[str] | None = None) -> None:
    """Console script `beyond-verify`: recompute a page's numbers; exit status 1 if any differs."""
    parser = argparse.ArgumentParser(
        "beyond-verify", description="Recompute every measured number on a paper's page."
    )
    parser.add_argument(
        "page", type=Path, help="the page, such as runs/papers/mnist1d/page/index.md"
    )
    parser.add_argument(
        "--runs", type=Path, help="the folder of the runs (default: the folder above the page's)"
    )
    chosen = parser.parse_args(arguments)
    try:
        beside = Path(realpath(chosen.page)).parent.parent
        differing = differences(chosen.page, chosen.runs or beside)
    except (TableError, OSError) as error:
        sys.exit(f"beyond-verify: {reason(error)}")
    for line in differing:
        sys.stdout.write(f"{line}\n")
    sys.stdout.write(
        f"{len(differing)} differ\n" if differing else "every number agrees with the tables\n"
    )
    sys.exit(bool(differing))


def differences(page: Path, folder: Path) -> list[str]:
    """Rows of the page's tables that the runs do not bear out."""
    from analysis.paper_page import claim_rows, measured_rows

    if not (folder / SETTINGS).exists():
        raise TableError(
            f"no runs of a paper in {folder}: expected {folder / SETTINGS}; --runs names their "
            "folder"
        )
    paper, tables = read(folder)
    quantities = measure(paper, tables)
    expected = [
        *claim_rows(judge_all(paper, quantities)),
        *measured_rows(quantities),
        *(f"- {line}" for line in answers(paper, quantities)),
    ]
    printed = set(page.read_text(encoding="utf-8").splitlines())
    lost = [f"recomputed, not on the page: {row}" for row in expected if row not in printed]
    rows = {
        line
        for line in printed
        if line.startswith("| ") and not line.startswith(("| claim", "| quantity"))
    }
    return lost + [
        f"on the page, not recomputed: {row}" for row in sorted(rows.difference(expected))
    ]


if __name__ == "__main__":  # the runs of papers, and where their pages go
    collect(*map(Path, sys.argv[1:]))
