"""How far each arm has learned for what it has spent, and how much better it knows its examples."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from analysis.figures import canvas
from analysis.figures.canvas import CostAxis
from analysis.figures.levels import level_name, levels_told, within
from analysis.figures.looks import INK, Look
from analysis.figures.training import (
    BARS,
    COST_NAMES,
    Picture,
    beyond,
    crowds_of,
    draw_arms,
    joined,
    line_ends,
    name_lines,
    note_of,
    rows_of,
    short_names,
    shown,
)
from analysis.runs import RESULT
from analysis.statistics.inference import Array
from analysis.summaries.frontier import levels
from analysis.summaries.trajectories import Band, gap_bands, score_bands
from analysis.tables import Tables

FEW = 6  # arms of one panel, up to which their training scores are drawn, too


def convergence(
    tables: Tables, task: str, looks: dict[str, Look], cost: str = "epochs"
) -> Picture | None:
    """Validation score against a cost, a row for each signal where arms are many.

    Pictures of one task are laid out alike, whatever the cost.
    """
    score = tables.score(task)
    epochs = score_bands(tables, task, "epochs")
    if not epochs:
        return None
    # a moment's seconds are no training
    level = {arm: band for arm, band in epochs.items() if len(band.cost) == 1}
    bands = score_bands(tables, task, cost) | level
    crowds = crowds_of(tables, task, bands)
    few = all(len(crowd.arms) <= FEW for crowd in crowds)
    train = score_bands(tables, task, cost, "train") if few else {}
    limits = canvas.score_limits(shown(epochs), score)
    known = within(levels(tables, task), limits)
    more = "Ring: where the checkpoint was selected, the median over seeds."
    more += " Thin: training score." if train else ""
    more += f"\n{beyond(epochs, limits)}{levels_told(tables, task, limits)}"
    note = note_of("Line: mean validation score", epochs.values(), more, BARS)
    title = f"{task}: convergence, by {COST_NAMES[cost].partition(' (')[0]}"
    of_levels = {name: f"{level_name(name, value)} (test)" for name, value in known.items()}
    names = short_names(bands) | of_levels
    height = 3.6 if len(crowds) == 1 else 2.0
    figure, rows = rows_of(crowds, height, title, note, names, known)
    axis = CostAxis(joined(band.cost for band in bands.values()))
    chosen = _selected(tables, task, cost)
    for (axes,), crowd in zip(rows, crowds, strict=True):
        for arm in (arm for arm in crowd.arms if arm in train):
            place = axis.place(train[arm].cost)
            axes.plot(place, train[arm].mean, **looks[arm].paint, lw=0.8, alpha=0.6)
        draw_arms(axes, axis, bands, looks, crowd.arms, crowd.background)
        for arm in (arm for arm in crowd.arms if arm in chosen and arm not in level):
            _ring(axes, axis, bands[arm], chosen[arm], looks[arm])
        axes.set_ylim(limits)
        axis.dress(axes)
        axes.set_xlabel(COST_NAMES[cost])
        axes.set_ylabel(f"validation {score}")
        canvas.draw_ticks(axes, "y", canvas.score_ticks(limits))
        name_lines(axes, line_ends(axis, bands, crowd.arms), names, looks, known)
    alt = (
        f"Line chart: validation {score} on {task} of {len(bands)} arms against {COST_NAMES[cost]}."
    )
    return Picture(f"convergence-{cost}", alt, figure)


def generalisation_gap(tables: Tables, task: str, looks: dict[str, Look]) -> Picture | None:
    """Training minus validation score, of arms in which it exceeds its noise at the end."""
    score = tables.score(task)
    every = gap_bands(tables, task, "epochs")
    if not every:
        return None
    bands = {arm: band for arm, band in every.items() if _exceeds(band)}
    told = bands or every
    limits = canvas.score_limits(np.append(shown(told), 0.0), f"gap of {score}")
    more = f"{beyond(told, limits)}\n"
    quiet = ", ".join(arm for arm in every if arm not in bands)
    if not bands:
        more += "None is told apart from 0 at the end of training."
    elif quiet:
        more += f"Not drawn, for its interval holds 0 at the end of training: {quiet}."
    note = note_of("Line: mean gap", told.values(), more, BARS)
    axis = CostAxis(joined(band.cost for band in told.values()))
    crowds, names = crowds_of(tables, task, told), short_names(told)
    height = 3.6 if len(crowds) == 1 else 2.0
    figure, rows = rows_of(crowds, height, f"{task}: generalisation gap", note, names)
    for (axes,), crowd in zip(rows, crowds, strict=True):
        axes.axhline(0, color=INK, lw=0.8)
        draw_arms(axes, axis, told, looks, crowd.arms, crowd.background)
        axes.set_ylim(limits)
        axis.dress(axes)
        axes.set_xlabel(COST_NAMES["epochs"])
        axes.set_ylabel(f"train - validation {score}")
        canvas.draw_ticks(axes, "y", canvas.score_ticks(limits))
        name_lines(axes, line_ends(axis, told, crowd.arms), names, looks)
    alt = (
        f"Line chart: training minus validation {score} on {task} of {len(told)} arms against "
        "epochs."
    )
    return Picture("generalisation-gap", alt, figure)


def _exceeds(band: Band) -> bool:
    """Whether the last interval of a gap lies on one side of 0; so does one that is not known."""
    low, high = band.low[-1], band.high[-1]
    return not low <= 0 <= high


def _selected(tables: Tables, task: str, cost: str) -> dict[str, float]:
    """Median cost until the selected checkpoint, by arm."""
    runs = tables.runs[(tables.runs["task"] == task) & np.isfinite(tables.runs[RESULT])]
    spent = runs.groupby("arm")[f"{cost}_to_best"].median()
    return {str(arm): float(value) for arm, value in spent.items() if np.isfinite(value)}


def _ring(axes: Axes, axis: CostAxis, band: Band, cost: float, look: Look) -> None:
    """Mark a cost on a mean."""
    known = np.isfinite(band.mean)
    place: Array = axis.place(np.array([cost]))
    height = np.interp(place, axis.place(band.cost[known]), band.mean[known])
    axes.plot(place, height, "o", ms=8, mfc="none", mew=1.3, zorder=4, **look.paint)
