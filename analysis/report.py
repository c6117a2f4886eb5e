"""The report of a study: one page, figures and tables, from the recorded tables alone.

`beyond-report runs/comparison` writes it again. The same tables give the same bytes.
"""

from __future__ import annotations

import argparse
import sys
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from analysis.figures import Drawn
    from analysis.ranking import Ranking
    from analysis.tables import Frame, Tables

_TEMPLATE = "report.html.j2"


def main(arguments: Sequence[str] | None = None) -> None:
    """Console script `beyond-report`: a bad folder is one line and exit status 1."""
    parser = argparse.ArgumentParser(
        "beyond-report", description="Make a study's report from its tables."
    )
    parser.add_argument("folder", type=Path, help="the study's folder, such as runs/comparison")
    parser.add_argument("--out", type=Path, help="where to write (default: FOLDER/report)")
    comparison = "compare the others with this arm (default: backprop, or the best)"
    parser.add_argument("--reference", metavar="ARM", help=comparison)
    publish(**vars(parser.parse_args(arguments)))


def publish(
    folder: str | Path, out: str | Path | None = None, reference: str | None = None
) -> None:
    """Write the report; print the study's summary and the path, or exit with one line."""
    from rich.console import Console

    from analysis.tables import TableError, load

    try:
        tables = load(folder)
        page, summary = _write(tables, Path(folder), out, reference)
    except (TableError, OSError) as error:
        sys.exit(f"beyond-report: {error}")
    print_summary(tables, summary)
    Console().print(f"Report: {page}", highlight=False, soft_wrap=True)


def write(folder: str | Path, out: str | Path | None = None, reference: str | None = None) -> Path:
    """Write `index.html`, `figures/`, `tables/` into `out` or `folder/report`; return the page.

    Raises
    ------
    TableError
        If the folder holds no tables that can be analysed.
    """
    from analysis.tables import load

    return _write(load(folder), Path(folder), out, reference)[0]


def print_summary(tables: Tables, summary: Frame) -> None:
    """Print for each task arms, scores, ranks and costs; then what weakens the comparison."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from analysis.report_tables import printed_columns
    from analysis.sentences import warnings

    console = Console()
    for task in tables.tasks:
        rows = printed_columns(summary[summary["task"] == task], console.width)
        printed = Table(box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
        for column in rows:
            printed.add_column(
                Text(column), justify="left" if column == "arm" else "right", no_wrap=True
            )
        for row in rows.itertuples(index=False):
            printed.add_row(*map(Text, row))  # an arm's [settings] are no markup
        console.print(
            Text(f"{task}: test {tables.score(task)} at the best validation"), soft_wrap=True
        )
        printed.width = console.measure(
            printed, options=console.options.update(max_width=10_000)
        ).maximum
        console.print(printed, crop=False)  # as wide as it is: no number is cut
    for line in warnings(tables):
        console.print(Text(f"Caveat: {line}"), soft_wrap=True)


def _write(
    tables: Tables, folder: Path, out: str | Path | None, reference: str | None
) -> tuple[Path, Frame]:
    """Write the page; return its path, and the summary."""
    import jinja2

    from analysis import report_tables as shown
    from analysis import sentences, summaries
    from analysis.canvas import write as write_file
    from analysis.example_tables import example_tables
    from analysis.figures import draw
    from analysis.ranking import rankings
    from analysis.statistics import INTERVAL

    out = folder / "report" if out is None else Path(out)
    orders = rankings(tables)
    summary = summaries.summary(tables, orders)
    frames = {
        "summary": summary,
        "paired_differences": summaries.paired_differences(tables, orders, reference),
        "cost_to_target": summaries.cost_to_target(tables),
        "failures": summaries.failures(tables),
    }
    found = example_tables(tables, reference)
    for name, frame in (frames | found).items():
        write_file(out / "tables" / f"{name}.csv", frame.to_csv(index=False))
    for name, frame in frames.items():
        write_file(out / "tables" / f"{name}.tex", shown.latex(name, frame))
    drawn = draw(tables, summary, frames["cost_to_target"], found, out / "figures")
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template(_TEMPLATE).render(
        study=tables.study,
        arms=tables.arms,
        figures={figure.name: _figure(figure) for figure in drawn if not figure.task},
        compared=sentences.compared(tables),
        covered=sentences.covered(tables),
        warnings=sentences.warnings(tables),
        sections=[
            _section(tables, orders[task], frames, found, drawn, task) for task in tables.tasks
        ],
        failures=shown.failure_columns(frames["failures"]),
        interval=INTERVAL,
        provenance=shown.provenance(tables.manifests),
        unfinished=tables.unfinished,
        command=_command(folder, reference),
        tables=sorted(frames),
        example_tables=sorted(found),
    )
    index = out / "index.html"
    write_file(index, page)
    return index, summary


def _section(
    tables: Tables,
    order: Ranking,
    frames: Mapping[str, Frame],
    found: Mapping[str, Frame],
    drawn: Iterable[Drawn],
    task: str,
) -> dict[str, Any]:
    """All that the page says of one task."""
    from analysis import example_columns as examples
    from analysis import report_tables as shown
    from analysis import sentences

    of_task = {
        name: frame[frame["task"] == task] for name, frame in frames.items() if not frame.empty
    }
    differences, targets = of_task.get("paired_differences"), of_task.get("cost_to_target")
    reference = (
        None if differences is None or differences.empty else differences["reference"].iloc[0]
    )
    return {
        "task": task,
        "score": tables.score(task),
        "headline": sentences.headline(tables, of_task["summary"], order, reference),
        "scores": shown.score_columns(of_task["summary"]),
        "costs": shown.cost_columns(of_task["summary"]),
        "differences": None if reference is None else shown.difference_columns(differences),
        "reference": reference,
        "targets": None if targets is None else shown.target_columns(targets),
        "examples": examples.section(tables, found, task),
        "figures": {figure.name: _figure(figure) for figure in drawn if figure.task == task},
    }


def _figure(drawn: Drawn) -> dict[str, str]:
    image = "data:image/png;base64," + b64encode(drawn.png).decode()
    vector = next(path.name for path in drawn.paths if path.suffix == ".svg")
    return {"alt": drawn.alt, "image": image, "vector": vector}


def _command(folder: Path, reference: str | None) -> str:
    """How to make the report again; without what differs between machines."""
    choice = "" if reference is None else f" --reference {reference!r}"
    return f"beyond-report {'/'.join(folder.resolve().parts[-2:])}{choice}"


if __name__ == "__main__":
    main()
