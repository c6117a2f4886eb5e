"""Whether printed intervals hold on other repetitions: `beyond +study=coverage`.

The seeds of an arm are cut into groups of ten, as many as a study has by default. A group's
interval covers if it holds the mean of all the arm's other seeds: what a reader would find who
repeats the study with other seeds, and so on other splits.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.runs import RESULT, Frame
from analysis.statistics.inference import mean_interval
from analysis.tables import TableError, Tables, limits_of, load, reason

SIZE = 10  # seeds a group


def publish(folder: str | Path) -> None:
    """Print how often the intervals of a study's groups hold; exit with one line if unreadable."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    try:
        found = coverage(load(folder))
    except (TableError, OSError) as error:
        sys.exit(f"beyond: {reason(error)}")
    shown = Table(box=SIMPLE_HEAD)
    for column in ("task", "arm", "mean", "hold the mean of the others"):
        shown.add_column(column, overflow="fold")
    for row in found.to_dict("records"):
        shown.add_row(
            row["task"], row["arm"], f"{row['mean']:.3f}", share(row["held"], row["groups"])
        )
    total = share(found["held"].sum(), found["groups"].sum())
    console = Console(highlight=False, markup=False)
    console.print(shown, f"In all {total} of the 95 % intervals of {SIZE} repetitions hold.")


def share(held: int, groups: int) -> str:
    """Write a count and its share: 19 of 20 (95.0 %)."""
    return f"{held} of {groups} ({held / groups:.1%})".replace("%", " %") if groups else "none"


def coverage(tables: Tables, size: int = SIZE) -> Frame:
    """Count each arm's groups of `size` seeds whose interval holds the mean of the other seeds.

    Seeds in their order make the groups; those that did not finish, and those that fill no group,
    are left out.
    """
    done = tables.runs[(tables.runs["status"] == "finished") & np.isfinite(tables.runs[RESULT])]
    rows = []
    for (task, arm), replicas in done.groupby(["task", "arm"]):
        scores = replicas.sort_values("seed")[RESULT].to_numpy(float)
        groups = scores[: len(scores) // size * size].reshape(-1, size).T  # (size, groups)
        low, high = mean_interval(groups, limits_of(tables.score(str(task))))
        others = (scores.sum() - groups.sum(axis=0)) / max(len(scores) - size, 1)
        held = int(((low <= others) & (others <= high)).sum())
        rows.append(
            {
                "task": task,
                "arm": arm,
                "mean": scores.mean(),
                "groups": groups.shape[1],
                "held": held,
            }
        )
    return pd.DataFrame(rows, columns=["task", "arm", "mean", "groups", "held"])
