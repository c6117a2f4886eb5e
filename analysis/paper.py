"""A page of claims: what was published or expected, beside what was measured; from tables alone.

`beyond +paper=NAME` repeats what others published, `beyond +study=NAME` what we ask, and each
writes the page; `beyond-verify PAGE` recomputes every number on it.
"""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.figures.looks import LINEAR
from analysis.files import write as write_file
from analysis.summaries import language
from analysis.summaries.claims import VERDICTS, Judged, judge
from analysis.summaries.expressions import evaluate
from analysis.summaries.quantities import (
    ABOUT,
    REQUIRED,
    SETTINGS,
    about,
    answers,
    claims_of,
    equals_of,
    expressions_of,
    followed_by,
    judge_all,
    kind_of,
    measure,
    points_of,
    quantities_of,
    read,
    series_of,
)
from analysis.tables import TableError, noted, reason

INTRODUCTION = (
    "Claims by verdict. A page has each claim with what was measured, figures, the command and the "
    "commit of its runs;",
    "`beyond-verify PAGE --runs FOLDER` recomputes its numbers from the tables of those runs.",
)


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
    shown = Table(box=SIMPLE_HEAD)
    told = {
        "claim": [f"{one.claim.id} {one.claim.says}" for one in judged],
        "published": [one.claim.published for one in judged],
        "measured": [one.measured for one in judged],
        "verdict": [one.verdict for one in judged],
    }
    told = {name: cells for name, cells in told.items() if any(cells)}
    for name in told:
        shown.add_column(name, overflow="fold")  # a long name goes on in the next line
    for row in zip(*told.values(), strict=True):
        shown.add_row(*row)
    console = Console(highlight=False, markup=False)
    console.print(paper["title"], shown)
    console.print(f"Page: {page}", soft_wrap=True)


def write(folder: Path) -> tuple[dict[str, Any], list[Judged], Path]:
    """Write `page/index.md` and its figure into the folder of a paper's runs."""
    from analysis.figures.paper import draw
    from analysis.page.paper import markdown

    paper, tables = read(folder)
    quantities = measure(paper, tables)
    judged = judge_all(paper, quantities)
    out = folder / "page"
    signals = dict(tables.runs[["method", "signal"]].drop_duplicates().to_numpy())
    figures = draw(paper, quantities, signals, out)
    page = out / "index.md"
    write_file(page, markdown(paper, tables, quantities, judged, figures))
    return paper, judged, page


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
    write_file(index, "\n".join([f"# {title}", "", *INTRODUCTION, "", *lines, ""]))
    sys.stdout.write("\n".join([*lines, f"Index: {index}", ""]))


def require_sound(
    paper: Mapping[str, Any],
    columns: Mapping[str, Mapping[str, str]],
    settings: Mapping[str, Collection[str]],
) -> None:
    """Refuse a paper whose page could not be made from its runs, before they are made.

    Parameters
    ----------
    paper : mapping
        Its settings.
    columns : mapping of str to mapping of str to str
        Types of the columns of each run table, by name: "text", or others.
    settings : mapping of str to collection of str
        What a cell may be told by: labels and settings, with the names of those inside.

    Raises
    ------
    TableError
        For a key that is missing or unknown, a column that no table has, a setting that no run has,
        an expression that names or does what it may not.
    """
    language.PAPER.require("paper", paper)
    about(paper)
    for name, entry in paper["measure"].items():
        part = language.FOLLOWS if "equals" in entry else language.PATTERN
        part.require(f"measure.{name}", entry)
    layers = {**columns["layers"], **columns["curves"]}  # with the costs of their checkpoints
    known = {**columns, "layers": layers, "networks": layers}
    for name, entry in quantities_of(paper).items():
        if "equals" not in entry:
            _require_found(f"measure.{name}", entry, known, settings)
    for table in paper.get("tables", ()):
        language.TABLE.require(f"table {table.get('title')!r}", table)
    methods = {
        str(entry["where"].get("method"))
        for entry in quantities_of(paper).values()
        if "equals" not in entry
    }
    for figure in paper.get("figures", ()):
        _require_figure(figure, {*methods, LINEAR})
    measured = {
        name: pd.Series([0.1, 0.2, 0.3, 0.4])
        for name, entry in quantities_of(paper).items()
        if "equals" not in entry
    }
    claims = claims_of(paper)
    # of these numbers, not of those to come
    with np.errstate(all="ignore"):
        example, equals = followed_by(paper, measured), equals_of(paper)
        for claim in claims:
            with _naming(f"claim {claim.id}"), suppress(ArithmeticError):
                judge(claim, example, equals)
        for user, expressions in expressions_of(paper).items():
            for expression in expressions:
                with _naming(user), suppress(ArithmeticError):
                    evaluate(expression, example)


@contextmanager
def _naming(user: str) -> Iterator[None]:
    """Say whose expression does what it may not."""
    try:
        yield
    except (TypeError, KeyError, TableError) as error:
        raise TableError(f"{user}: {error}") from error


def _require_found(
    what: str,
    entry: Mapping[str, Any],
    columns: Mapping[str, Mapping[str, str]],
    settings: Mapping[str, Collection[str]],
) -> None:
    """Refuse a quantity that no run can have."""
    language.MEASURED.require(what, entry)
    if left := re.search(r"\{\w+\}", str(entry)):
        raise TableError(f"{what}: {left[0]} is no name of its for")
    for path in entry["where"]:
        first, second, *_ = [*path.split("."), ""]
        if first not in settings or (second and second not in settings[first]):
            raise TableError(f"{what}: no run has a setting {path!r}")
    take = {"column": entry["take"]} if isinstance(entry["take"], str) else entry["take"]
    language.TAKEN.require(f"{what}: take", take)
    if isinstance(take.get("reduce"), Mapping):
        language.CROSSING.require(f"{what}: reduce", take["reduce"])
    table = take.get("table", "runs")
    if table not in columns:
        raise TableError(f"{what}: table {table!r} is none of {', '.join(columns)}")
    told = [key for key in take if key not in language.TAKEN.optional]
    wanted = [take.get("column", "value"), *told]
    if unknown := [column for column in wanted if column not in columns[table]]:
        raise TableError(f"{what}: the table {table} has no column {unknown[0]!r}")
    if columns[table][wanted[0]] == "text":
        raise TableError(f"{what}: the column {wanted[0]!r} of {table} is text, no number")


def _require_figure(figure: Mapping[str, Any], methods: Collection[str]) -> None:
    """Refuse what is none of the three kinds of figures."""
    what, kind = f"figure {figure.get('title')!r}", kind_of(figure)
    language.FIGURES[kind].require(what, figure)
    for one in figure.get("series", ()):
        called = f"{what}: series {one.get('name')!r}"
        language.SERIES[kind].require(called, one)
        if isinstance(one.get("points"), str) and "along" not in figure:
            raise TableError(f"{called}: points are a pattern, and the figure has no along")
    drawn = series_of(figure)
    for one in drawn:
        called = f"{what}: series {one['name']!r}"
        if [other["name"] for other in drawn].count(one["name"]) > 1:
            raise TableError(f"{called}: there are several of this name")
        if one.get("method", LINEAR) not in methods:
            raise TableError(
                f"{called}: method must be that of a quantity, or {LINEAR}; got {one['method']!r}"
            )
        places = list(map(str, points_of(figure, one))) if "points" in one else []
        if lost := [place for place in one.get("reference", ()) if str(place) not in places]:
            raise TableError(f"{called}: reference has {lost[0]!r}, where it has no point")


def differences(page: Path, folder: Path) -> list[str]:
    """Rows of the page's tables that the runs do not bear out."""
    from analysis.page.paper import claim_rows, measured_rows, tables_of

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
        *chain.from_iterable(tables_of(paper, quantities)),
        *(f"- {line}" for line in answers(paper, quantities)),
    ]
    try:
        printed = set(page.read_text(encoding="utf-8").splitlines())
    except UnicodeDecodeError as error:
        raise TableError(f"{page} is no page: {error}") from error
    lost = [f"recomputed, not on the page: {row}" for row in expected if row not in printed]
    rows = {line for line in printed if line.startswith("| ")}
    return lost + [
        f"on the page, not recomputed: {row}" for row in sorted(rows.difference(expected))
    ]


if __name__ == "__main__":  # the runs of papers, and where their pages go
    collect(*map(Path, sys.argv[1:]))
