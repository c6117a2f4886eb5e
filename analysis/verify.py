"""Whether a page's numbers are those that the tables of its runs give.

`beyond-verify PAGE` takes a study's report, `index.html`, or a page of claims, `index.md`. A report
is made again from the recorded tables, as the command that stands on it says, and compared with
what was made text by text: tables, sentences, figures, and the files beside the page.
"""

from __future__ import annotations

import argparse
import html
import re
import shlex
import sys
from collections import Counter
from collections.abc import Sequence
from os.path import realpath  # Path.resolve raises for links in a circle
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from analysis import paper, report
from analysis.page.printed import NUMBERED, apart, parts
from analysis.study import Study
from analysis.tables import TableError, reason

_COMMAND = re.compile(rb"<code>(beyond-(?:report|compare) [^<]*)</code>")


def main(arguments: Sequence[str] | None = None) -> None:
    """Console script `beyond-verify`: recompute a page's numbers; exit status 1 if any differs."""
    parser = argparse.ArgumentParser(
        "beyond-verify", description="Recompute every number of a report, or of a page of claims."
    )
    parser.add_argument(
        "page",
        type=Path,
        help="the page, such as runs/comparison/report/index.html or "
        "runs/papers/mnist1d-fast/page/index.md",
    )
    parser.add_argument(
        "--runs", type=Path, help="the folder of the runs (default: the folder above the page's)"
    )
    chosen = parser.parse_args(arguments)
    of = of_report if chosen.page.suffix == ".html" else of_claims
    if chosen.page.is_dir():
        within = ("report/index.html", "page/index.md", "index.html", "index.md")
        page = next((path for name in within if (path := chosen.page / name).is_file()), "none")
        sys.exit(f"beyond-verify: {chosen.page} is a folder; its page: {page}")
    if not chosen.page.is_file():
        sys.exit(f"beyond-verify: no such page: {chosen.page}")
    try:
        beside = Path(realpath(chosen.page)).parent.parent
        differing, agreed = of(chosen.page, chosen.runs or beside)
    except (TableError, OSError) as error:
        sys.exit(f"beyond-verify: {reason(error)}")
    for line in differing:
        sys.stdout.write(f"{line}\n")
    sys.stdout.write(f"{len(differing)} differ\n" if differing else f"{agreed}\n")
    sys.exit(bool(differing))


def of_claims(page: Path, folder: Path) -> tuple[list[str], str]:
    """What a page of claims has otherwise than its runs, and what to say if that is nothing."""
    return paper.differences(page, folder), "every number agrees with the tables"


def of_report(page: Path, folder: Path) -> tuple[list[str], str]:
    """What a report has otherwise than its runs, and what to say if that is nothing.

    Parameters
    ----------
    page : Path
        `index.html`, with `figures/` and `tables/` beside it.
    folder : Path
        Of the runs.

    Returns
    -------
    list of str
        A line for each text that differs: where, what is printed, what was recomputed.
    str
        How many numbers there are, and in how many places of each kind.

    Raises
    ------
    TableError
        If the page is no report, or nothing can be made from the runs.
    """
    command = _command(page)
    also = command.pop("also")
    command |= {"against": [_found(other, folder) for other in command["against"]]}
    differing: list[str] = []
    numbers, places = Counter[str](), Counter[str]()
    with TemporaryDirectory() as made:
        again = Study(folder, **command).report(made, also)
        for path in sorted(Path(made).rglob("*.*"), key=lambda path: (path != again, path)):
            name = path.relative_to(made).as_posix()
            there = page if path == again else page.parent / name
            if not there.is_file():
                differing.append(f"{name}: recomputed, not there")
                continue
            # the command was followed, and has the folder's name, which may have changed
            printed, right = (_COMMAND.sub(b"", file.read_bytes()) for file in (there, path))
            found = parts(name, printed)
            for part in found:
                numbers[part.kind] += part.n_numbers
                places[part.kind] += 1
            if printed != right:
                lines = [*apart(found, parts(name, right))]
                differing += lines or [f"{name}: differs, in no text"]
    counts = [f"{numbers[kind]:,} in {places[kind]} {kind}" for kind in NUMBERED]
    return differing, f"every number agrees with the tables: {', '.join(counts)}"


def _found(against: str, folder: Path) -> str:
    """Where that lies now which the runs were compared with: a page has the end of its path.

    It is looked for here, and in the folders above the runs; what is nowhere is a published name.
    """
    above = realpath(folder)
    places = [Path(against), *(parent / against for parent in list(Path(above).parents)[:2])]
    return next((str(place) for place in places if place.exists()), against)


def _command(page: Path) -> dict[str, Any]:
    """Return what a report was made with, from the command that it says makes it again."""
    found = _COMMAND.findall(page.read_bytes())
    if len(found) != 1:
        raise TableError(f"{page} is no report: it has no one command that makes it again")
    try:
        return report.chosen(shlex.split(html.unescape(found[0].decode())))
    except ValueError as error:
        raise TableError(f"{page}: cannot read {found[0].decode()!r}: {error}") from error
