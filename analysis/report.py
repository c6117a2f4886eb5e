"""The report of a study: one page, figures and tables, from the recorded tables alone.

`beyond-report runs/comparison` writes it again. The same tables give the same bytes. With `--watch`
it is written whenever another cell has finished, until all that were planned have.
`beyond-report runs/before runs/after` puts the arms of other folders beside a study's, and compares
them, arm by arm at the same seeds.
`beyond-compare runs/comparison --against gallery` writes it with published arms beside the study's.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path
from time import sleep
from typing import TYPE_CHECKING, Any

from analysis.files import ALSO

if TYPE_CHECKING:
    from analysis.study import Study


_PLACES = ("folder", "out", "watch")  # options that tell where and when, not what is shown
PLANNED = "planned.json"  # beside a study's cells, the names of all that it is to have
EVERY = 5.0  # seconds between two looks at a study that is watched


def main(arguments: Sequence[str] | None = None) -> None:
    """Console script `beyond-report`: a bad folder is one line and exit status 1."""
    publish(**vars(_reporting().parse_args(arguments)))


def compare(arguments: Sequence[str] | None = None) -> None:
    """Console script `beyond-compare`: the report, with published arms beside the study's."""
    publish(**vars(_comparing().parse_args(arguments)), script="beyond-compare")


def chosen(command: Sequence[str]) -> dict[str, Any]:
    """Read what a command of either script makes a study with, besides its folder.

    Raises
    ------
    ValueError
        If it has an option that the script does not know.
    """
    script, *arguments = command
    parser = {"beyond-report": _reporting, "beyond-compare": _comparing}[script]()
    told = StringIO()
    try:
        with redirect_stderr(told):
            options = vars(parser.parse_args(arguments))
    except SystemExit:
        raise ValueError(told.getvalue().strip().rpartition("error: ")[2]) from None
    return {name: value for name, value in options.items() if name not in _PLACES}


def _reporting() -> argparse.ArgumentParser:
    parser = _parser(
        "beyond-report",
        "Make a study's report from its tables.",
        "FOLDER/report, or FOLDER/against-OTHER",
    )
    parser.add_argument(
        "against",
        metavar="OTHER",
        nargs="*",
        help="folders whose arms are put beside, and compared at the same seeds",
    )
    again = "make it again whenever a cell has finished, until all that were planned have"
    parser.add_argument("--watch", action="store_true", help=again)
    return parser


def _comparing() -> argparse.ArgumentParser:
    from analysis.release import known

    parser = _parser(
        "beyond-compare",
        "Put published arms beside a study's, without training them again.",
        "FOLDER/against-NAME",
    )
    names = ", ".join(known()) or "none yet"
    parser.add_argument(
        "--against",
        metavar="NAME",
        required=True,
        nargs="+",
        help=f"what was published ({names}), or the path of a .parquet file of published rows",
    )
    return parser


def _parser(script: str, description: str, out: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(script, description=description)
    parser.add_argument("folder", type=Path, help="the study's folder, such as runs/comparison")
    parser.add_argument("--out", type=Path, help=f"where to write (default: {out})")
    comparison = "compare the others with this arm (default: backprop, or the best)"
    parser.add_argument("--reference", metavar="ARM", help=comparison)
    parser.add_argument(
        "--as-tuned",
        action="store_true",
        help="leave out the defaults of arms that were tuned",
    )
    for kind in ALSO:
        each = f"write each figure as {kind.upper()}, too"
        parser.add_argument(
            f"--{kind}", dest="also", action="append_const", const=kind, default=[], help=each
        )
    return parser


def publish(
    folder: str | Path,
    out: str | Path | None = None,
    reference: str | None = None,
    against: str | Sequence[str] = (),
    as_tuned: bool = False,
    watch: bool = False,
    also: Sequence[str] = (),
    script: str = "beyond-report",
) -> None:
    """Write the report; print the study's summary and the path, or exit with one line."""
    from rich.console import Console

    from analysis.study import Study
    from analysis.tables import TableError, reason

    try:
        for done in finishing(Path(folder)) if watch else ():
            page = Study(folder, reference, against, as_tuned=as_tuned).report(out, also)
            Console().print(f"Report of {done}: {page}", highlight=False, soft_wrap=True)
        study = Study(folder, reference, against, as_tuned=as_tuned)
        print_summary(study)  # the figures of a large study take a while
        page = study.report(out, also)
    except (TableError, OSError) as error:
        sys.exit(f"{script}: {reason(error)}")
    Console().print(f"Report: {page}", highlight=False, soft_wrap=True)


def finishing(folder: Path) -> Iterator[str]:
    """Say whenever more of a study's planned cells have finished how many; end with the last.

    A study that has not begun is waited for, and a cell that is killed and not begun again.
    """
    from analysis.tables import noted

    told = 0
    if not _has_begun(folder):
        sys.stderr.write(f"{folder}: no cell of a study yet, waiting for the first\n")
    while not _has_begun(folder):
        sleep(EVERY)
    while True:
        planned = noted(folder / PLANNED, dict)
        done = [name for name in planned if (folder / name / "manifest.json").is_file()]
        if len(done) == len(planned):
            return
        if len(done) > told:
            told = len(done)
            yield f"{told} of {len(planned)} cells"
        sleep(EVERY)


def _has_begun(folder: Path) -> bool:
    """Whether a folder has a cell, or is to have one."""
    return (folder / PLANNED).exists() or any(folder.glob("*/manifest.json"))


def print_summary(study: Study) -> None:
    """Print for each task arms, scores, ranks and costs; then what weakens the comparison."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from analysis.words.columns import printed_columns

    console, summary = Console(), study.summary()
    for task in study.tasks:
        rows = printed_columns(summary[summary["task"] == task], console.width)
        printed = Table(box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
        for column in rows:
            printed.add_column(
                Text(column), justify="left" if column == "arm" else "right", no_wrap=True
            )
        for row in rows.itertuples(index=False):
            printed.add_row(*map(Text, row))  # an arm's [settings] are no markup
        console.print(
            Text(f"{task}: test {study.tables.score(task)} at the best validation"), soft_wrap=True
        )
        printed.width = console.measure(
            printed, options=console.options.update(max_width=10_000)
        ).maximum
        console.print(printed, crop=False)  # as wide as it is: no number is cut
    for line in study.caveats():
        console.print(Text(f"Caveat: {line}"), soft_wrap=True)


if __name__ == "__main__":
    main()
