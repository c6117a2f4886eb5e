"""All figures of a study, as files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from analysis import example_figures as examples
from analysis import result_figures as results
from analysis import training_figures as training
from analysis.canvas import looks, save, style
from analysis.tables import Frame, Tables


@dataclass(frozen=True)
class Drawn:
    """A figure on disk.

    Attributes
    ----------
    task : str
        Empty for a figure of all tasks.
    name, alt : str
        As in `training_figures.Picture`.
    png : bytes
        The image itself, to embed.
    paths : list of Path
        PNG and SVG.
    """

    task: str
    name: str
    alt: str
    png: bytes
    paths: list[Path]


def draw(
    tables: Tables, summary: Frame, targets: Frame, found: Mapping[str, Frame], folder: Path
) -> list[Drawn]:
    """Draw every figure for which there is data, as PNG and SVG in a folder.

    Parameters
    ----------
    summary, targets : DataFrame
        From `summaries.summary` and `summaries.cost_to_target`: figures and tables show the same
        numbers.
    found : dict of str to DataFrame
        From `example_tables.example_tables`.
    """
    look_of = looks(_neighbours(tables))
    drawn = []

    def keep(task: str, picture: training.Picture | None) -> None:
        if picture is not None:
            png, paths = save(
                picture.figure, folder / "-".join(filter(None, (_slug(task), picture.name)))
            )
            drawn.append(Drawn(task, picture.name, picture.alt, png, paths))

    with style():
        keep("", results.overview(summary))
        for task in tables.tasks:
            keep(task, results.final_scores(tables, summary, task, look_of))
            keep(task, training.convergence(tables, task, look_of))
            keep(task, results.cost_to_target(tables, targets, task, look_of))
            keep(task, training.generalisation_gap(tables, task, look_of))
            keep(task, training.gradient_norms(tables, task))
            keep(task, training.update_cosine(tables, task, look_of))
            keep(task, examples.error_consistency(found, task))
            keep(task, examples.reliability(found, task, look_of))
            keep(task, examples.recall(found, task))
    return drawn


def _neighbours(tables: Tables) -> list[str]:
    """Order arms so that those that may share a panel stand together: their colours differ.

    Those that were skipped on every task are last: they are drawn nowhere.
    """
    skipped = tables.runs["status"] == "skipped"
    arms = (
        tables.runs.assign(skipped=skipped)
        .groupby("arm")
        .agg(skipped=("skipped", "all"), signal=("signal", "first"))
    )
    order = ["skipped", "signal", "arm"] if len(arms) > training.MANY else ["skipped", "arm"]
    return [str(arm) for arm in arms.sort_values(order).index]


def _slug(name: str) -> str:
    """Make a file name of a task's."""
    return re.sub(r"[^A-Za-z0-9=-]+", "-", name).strip("-")  # a setting of -1 is not one of 1
