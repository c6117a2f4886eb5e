"""All figures of a study, as files."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from matplotlib.axes import Axes

from analysis.figures import canvas, examples, frontier, gradients, learning, results, training
from analysis.figures import differences as forest
from analysis.figures import sweeps as swept
from analysis.figures.canvas import save
from analysis.figures.looks import Look, looks
from analysis.figures.training import Picture
from analysis.figures.vectors import Block, Entry, Sheet, named
from analysis.runs import COSTS
from analysis.tables import TableError

if TYPE_CHECKING:
    from analysis.study import Study

Looks: TypeAlias = dict[str, Look]  # of arms, by their names


@dataclass(frozen=True)
class Drawn:
    """A figure on disk.

    Attributes
    ----------
    task : str
        Empty for a figure of all tasks.
    name : str
        As in `training_figures.Picture`.
    blocks : list of Block
        Its panels for a page.
    paths : list of Path
        SVG, and the formats that were asked for.
    """

    task: str
    name: str
    blocks: list[Block]
    paths: list[Path]


# By name: how each figure of a task is drawn. They stand on the page in this order.
FIGURES: dict[str, Callable[[Study, str, Looks], Picture | None]] = {
    "pareto": lambda study, task, looks: frontier.pareto(study.tables, task, looks),
    "final_scores": lambda study, task, looks: results.final_scores(
        study.tables, study.summary(), task, looks
    ),
    "differences": lambda study, task, looks: forest.differences(
        study.tables, study.summary(), study.differences(), task, looks
    ),
    **{
        f"convergence_{cost}": lambda study, task, looks, cost=cost: learning.convergence(
            study.tables, task, looks, cost
        )
        for cost in COSTS
    },
    "settings": lambda study, task, looks: swept.settings(study.tables, task, looks),
    "cost_to_target": lambda study, task, looks: results.cost_to_target(
        study.tables, study.cost_to_target(), task, looks
    ),
    "generalisation_gap": lambda study, task, looks: learning.generalisation_gap(
        study.tables, task, looks
    ),
    "gradient_norms": lambda study, task, _: gradients.gradient_norms(study.tables, task),
    "gradient_norms_training": lambda study, task, _: gradients.gradient_norms(
        study.tables, task, "train_gradient_norm"
    ),
    "gradient_ratios": lambda study, task, _: gradients.gradient_ratios(study.tables, task),
    "update_cosine": lambda study, task, looks: training.update_cosine(study.tables, task, looks),
    "tuning": lambda study, task, looks: training.tuning(study.tables, study.tuning(), task, looks),
    "error_consistency": lambda study, task, _: examples.error_consistency(study.examples(), task),
    "reliability": lambda study, task, looks: examples.reliability(study.examples(), task, looks),
    "recall": lambda study, task, _: examples.recall(study.examples(), task),
}


def draw(
    study: Study, folder: Path, sheet: Sheet, also: Collection[str] = ()
) -> tuple[list[Drawn], list[Entry]]:
    """Draw every figure for which there is data, as files in a folder, and for a page.

    The files are SVG, and of the formats `also`, see `files.ALSO`.

    Returns
    -------
    list of Drawn
    list of Entry
        A legend of all arms.
    """
    drawn = []

    def keep(task: str, picture: Picture | None) -> None:
        if picture is not None:
            stem = folder / "-".join(filter(None, (_slug(task), picture.name)))
            with named(picture.figure) as names:
                svg, paths = save(picture.figure, stem, also)
            blocks = sheet.blocks(picture.figure, svg, names, picture.alt)
            drawn.append(Drawn(task, picture.name, blocks, paths))

    look = looks(study.tables.runs)
    with canvas.style():
        keep("", results.overview(study.summary()))
        for task in study.tasks:
            for figure in FIGURES.values():
                keep(task, figure(study, task, look))
        return drawn, sheet.key(look)


class Plots:
    """A study's figures, drawn as in its report, for `matplotlib.pyplot` to show and save.

    Each returns its panels, a list of matplotlib Axes to restyle; `axes[0].figure` is the figure.
    `task` is one of the study's and may be left out where there is one, or one was asked for.
    `TableError` says so where there is nothing to draw.
    """

    def __init__(self, study: Study) -> None:
        self._study = study

    def overview(self) -> list[Axes]:
        """Rank of every arm on every task."""
        return self._shown(lambda: results.overview(self._study.summary()), "overview")

    def pareto(self, task: str | None = None) -> list[Axes]:
        """Test score against operations, with the Pareto front."""
        return self._of_task("pareto", task)

    def final_scores(self, task: str | None = None) -> list[Axes]:
        """Test score of every replica, with means and intervals."""
        return self._of_task("final_scores", task)

    def differences(self, task: str | None = None) -> list[Axes]:
        """Test score less the reference's at the same seeds, and the tie groups."""
        return self._of_task("differences", task)

    def convergence(self, task: str | None = None, cost: str = "epochs") -> list[Axes]:
        """Validation score against a cost: epochs, examples, flops or seconds."""
        if cost not in COSTS:
            raise TableError(f"cost must be one of {', '.join(COSTS)}; got {cost!r}")
        return self._of_task(f"convergence_{cost}", task)

    def settings(self, task: str | None = None) -> list[Axes]:
        """Test score against each setting that the study gave several numbers."""
        return self._of_task("settings", task)

    def cost_to_target(self, task: str | None = None) -> list[Axes]:
        """Cost until the validation score meets each level."""
        return self._of_task("cost_to_target", task)

    def generalisation_gap(self, task: str | None = None) -> list[Axes]:
        """Training minus validation score: overfitting."""
        return self._of_task("generalisation_gap", task)

    def gradient_norms(self, task: str | None = None, on: str = "validation") -> list[Axes]:
        """Norm of the true gradient at every layer: vanishing, exploding; or on="training"."""
        suffixes = {"validation": "", "training": "_training"}
        if on not in suffixes:
            raise TableError(f"on must be one of {', '.join(suffixes)}; got {on!r}")
        return self._of_task(f"gradient_norms{suffixes[on]}", task)

    def gradient_ratios(self, task: str | None = None) -> list[Axes]:
        """Norm of the true gradient at every layer over the last layer's."""
        return self._of_task("gradient_ratios", task)

    def update_cosine(self, task: str | None = None) -> list[Axes]:
        """Cosine of each arm's updates with the direction of steepest descent."""
        return self._of_task("update_cosine", task)

    def tuning(self, task: str | None = None) -> list[Axes]:
        """Expected best validation score after some trials."""
        return self._of_task("tuning", task)

    def error_consistency(self, task: str | None = None) -> list[Axes]:
        """How far two arms err on the same examples."""
        return self._of_task("error_consistency", task)

    def reliability(self, task: str | None = None) -> list[Axes]:
        """Accuracy against confidence."""
        return self._of_task("reliability", task)

    def recall(self, task: str | None = None) -> list[Axes]:
        """Share of each class that is recognised."""
        return self._of_task("recall", task)

    def _of_task(self, name: str, task: str | None) -> list[Axes]:
        chosen = self._study.task(task)
        look = looks(self._study.tables.runs)
        return self._shown(lambda: FIGURES[name](self._study, chosen, look), f"{name} of {chosen}")

    def _shown(self, figure: Callable[[], Picture | None], what: str) -> list[Axes]:
        with canvas.style(), canvas.by_pyplot():
            picture = figure()
        if picture is None:
            raise TableError(f"there is nothing to draw for {what}")
        return picture.figure.axes


def _slug(name: str) -> str:
    """Make a file name of a task's."""
    return re.sub(r"[^A-Za-z0-9=-]+", "-", name).strip("-")  # a setting of -1 is not one of 1
