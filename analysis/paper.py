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

from analysis.files import write as write_file
from analysis.summaries.claims import VERDICTS, Claim, Judged, evaluate, judge
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
    measure,
    quantities_of,
    read,
)
from analysis.tables import TableError, noted, reason

INTRODUCTION = (
    "Claims by verdict. A page has each claim with what was measured, figures, the command and the "
    "commit of its runs;",
    "`beyond-verify PAGE --runs FOLDER` recomputes its numbers from the tables of those runs.",
)
QUANTITY = ("where", "take")
FOLLOWS = ("equals", "for", "over")
FAMILY = ("each", "for", "over")
TABLE = ("title", "rows", "columns", "cell")
MAP = ("title", "x", "y", "value", "rows", "columns", "map")
CURVES = ("title", "x", "y", "series")
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
    from analysis.figures.paper import draw
    from analysis.page.paper import markdown

    paper, tables = read(folder)
    quantities = measure(paper, tables)
    judged = judge_all(paper, quantities)
    out = folder / "page"
    figures = draw(paper, quantities, out)
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
        if isinstance(entry, Mapping) and "equals" in entry:
            _require_keys(f"measure.{name}", entry, FOLLOWS[:1], FOLLOWS)
        else:
            _require_keys(f"measure.{name}", entry, QUANTITY, (*QUANTITY, "for", "times", "plus"))
    layers = {*columns["layers"], *columns["curves"]}  # with the costs of their checkpoints
    known = {**columns, "layers": layers, "networks": layers}
    for name, entry in quantities_of(paper).items():
        if "equals" in entry:
            continue
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
        for part in claim["holds"] if isinstance(claim["holds"], list) else [claim["holds"]]:
            if not isinstance(part, str):
                _require_keys(f"claim {claim['id']}: holds", part, FAMILY[:1], FAMILY)
    for table in paper.get("tables", ()):
        _require_keys(f"table {table.get('title')!r}", table, TABLE, (*TABLE, "about"))
    for figure in paper.get("figures", ()):
        required = MAP if "map" in figure else CURVES
        _require_keys(f"figure {figure.get('title')!r}", figure, required, figure)
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


def _require_keys(what: str, entry: Any, required: Sequence[str], known: Collection[str]) -> None:
    if not isinstance(entry, Mapping):
        raise TableError(f"{what} must be a mapping, got {entry!r}")
    if missing := [key for key in required if key not in entry]:
        raise TableError(f"{what} must have {', '.join(missing)}")
    if unknown := [str(key) for key in entry if key not in known]:
        raise TableError(f"{what}: unknown key {unknown[0]!r}; known: {', '.join(known)}")


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
    printed = set(page.read_text(encoding="utf-8").splitlines())
    lost = [f"recomputed, not on the page: {row}" for row in expected if row not in printed]
    rows = {line for line in printed if line.startswith("| ")}
    return lost + [
        f"on the page, not recomputed: {row}" for row in sorted(rows.difference(expected))
    ]


if __name__ == "__main__":  # the runs of papers, and where their pages go
    collect(*map(Path, sys.argv[1:]))
