"""The first picture: what was reached, and what it cost."""

from __future__ import annotations

from math import ceil

import numpy as np
from matplotlib.axes import Axes

from analysis.figures.canvas import (
    FAINT,
    CostAxis,
    draw_ticks,
    level_line,
    panels,
    score_limits,
    score_ticks,
)
from analysis.figures.labels import SIZE, extent, inches, name_points, spread, width
from analysis.figures.levels import level_name, levels_told, within
from analysis.figures.looks import Look
from analysis.figures.training import Picture, seeds
from analysis.runs import Frame
from analysis.statistics.inference import INTERVAL, Array
from analysis.summaries.frontier import levels, points
from analysis.tables import Tables, higher_is_better

_REACH = 0.5  # of what the scores take: a level that is further above them is not drawn
_CLOSER = 1 / 3  # of the axis: where the better half takes less, it is drawn again by itself


def pareto(tables: Tables, task: str, looks: dict[str, Look]) -> Picture | None:
    """Test score against operations, with intervals of both, and the Pareto front of the means."""
    rows = points(tables, task)
    if rows.empty:
        return None
    score, known = tables.score(task), levels(tables, task)
    ends = rows[["score", "score_low", "score_high"]].to_numpy(float)
    top, bottom = np.nanmax(ends), min(np.nanmin(ends), known.get("chance", np.inf))
    for name in ("ceiling", "best"):
        value = known.get(name, top)
        if max(value - top, bottom - value) > _REACH * (top - bottom):
            del known[name]  # it would leave half of the panel empty
    limits = score_limits(np.append(ends.ravel(), [*known.values()]), score)
    closer = score_limits(ends[: ceil(len(rows) / 2)].ravel(), score)
    crowded = len(rows) > 3 and closer[1] - closer[0] < (limits[1] - limits[0]) * _CLOSER
    views = {"": limits}
    if crowded:
        views = {"all arms; those of the better half are named below": limits, "closer": closer}
    axis = CostAxis(rows[["flops", "flops_low", "flops_high"]].to_numpy(float).ravel(), 0.12)
    note = (
        f"Mark: mean over {seeds(rows['n'])} that finished; bars: {INTERVAL} of the score and of "
        "the operations. Line: the Pareto front; for an arm beside it another is better, and no "
        "dearer, or cheaper, and no worse."
    )
    if (rows["before"] > 0).any():
        told = ", ".join(rows.loc[rows["before"] > 0, "arm"])
        note += f"\nOperations of pre-training are counted in, of {told}."
    note += levels_told(tables, task, limits)
    title = f"{task}: test score against compute"
    figure, axes = panels(
        len(views), 1, 4.0, title, note, gaps=(0, 0.5), headed=len(views) - 1, right=0.3
    )
    left_out: list[str] = []
    for panel, (name, view) in zip(axes, views.items(), strict=True):
        panel.set_ylim(view)
        panel.set_title(name, loc="left")
        draw_ticks(panel, "y", score_ticks(view))
        axis.dress(panel)
        panel.set_xlabel("FLOPs until the selected checkpoint, pre-training counted")
        panel.set_ylabel(
            f"test {score}" + ("" if higher_is_better(score) else " (lower is better)")
        )
        drawn = rows[rows["score"].between(*view)]
        _draw_front(panel, axis, rows)
        bars = _draw_points(panel, axis, drawn, looks)
        taken = _draw_levels(panel, known)
        below = crowded and panel is axes[0]  # what the other panel shows is named there
        first = (
            drawn.sort_values("score", key=lambda scores: scores.between(*closer))
            if below
            else drawn
        )
        names = first["arm"][~first["score"].between(*closer) | (not below)].tolist()
        spots = inches(panel, axis.place(first["flops"].to_numpy(float)), first["score"])
        colours = [looks[arm].colour for arm in names]
        left_out += name_points(panel, spots, names, colours, taken=taken, bars=bars)
    if left_out:
        axes[-1].text(
            1,
            -0.4 / extent(axes[-1])[1],
            f"Without a name: {', '.join(left_out)}.",
            transform=axes[-1].transAxes,
            ha="right",
            fontsize=7,
            color=FAINT,
        )
    alt = (
        f"Scatter plot: test {score} on {task} of {len(rows)} arms against operations; on the "
        f"Pareto front: {', '.join(rows.loc[rows['is_front'], 'arm'])}."
    )
    return Picture("pareto", alt, figure)


def _draw_points(axes: Axes, axis: CostAxis, rows: Frame, looks: dict[str, Look]) -> Array:
    """Marks and their bars; return the bars' boxes in inches."""
    boxes = []
    for row in rows.to_dict("records"):
        look, x = looks[row["arm"]], axis.place(np.array([row["flops"]]))[0]
        if np.isfinite(row["score_low"]):
            left, right = axis.place(np.array([row["flops_low"], row["flops_high"]]))
            line = look.paint | {"lw": 1, "alpha": 0.5, "zorder": 2}
            axes.plot([left, right], [row["score"]] * 2, **line)
            axes.plot([x, x], [row["score_low"], row["score_high"]], **line)
            boxes += [(left, row["score"], right, row["score"])]
            boxes += [(x, row["score_low"], x, row["score_high"])]
        axes.plot(x, row["score"], ls="", zorder=3, **look.mark(6))
    left, low, right, high = np.array(boxes, float).reshape(-1, 4).T
    return np.concatenate([inches(axes, left, low), inches(axes, right, high)], axis=1)


def _draw_front(axes: Axes, axis: CostAxis, rows: Frame) -> None:
    """Steps through the arms that no other beats: at a cost, the best score that is reached."""
    on = rows[rows["is_front"]].sort_values("flops")
    x, y = axis.place(on["flops"].to_numpy(float)), on["score"].to_numpy(float)
    line = {"color": "#cccccc", "lw": 3, "solid_joinstyle": "miter", "zorder": 0.5}
    axes.step(np.append(x, axis.right), np.append(y, y[-1]), where="post", **line)


def _draw_levels(axes: Axes, known: dict[str, float]) -> Array:
    """A line for each level within the axis, with its name at the right end; boxes of the names."""
    (low, high), (wide, tall) = axes.get_ylim(), extent(axes)
    known = within(known, (low, high))
    heights = (np.array([*known.values()]) - low) / (high - low) * tall
    line = 1.2 * SIZE / 72
    feet = spread(heights + 0.02 + line / 2, line, 0, tall) - line / 2
    boxes = []
    for (name, value), up, foot in zip(known.items(), heights, feet, strict=True):
        level_line(axes, value)
        text, right = level_name(name, value), wide - 0.05
        place = {"transform": axes.transAxes, "fontsize": SIZE, "color": FAINT, "ha": "right"}
        axes.text(right / wide, foot / tall, text, va="bottom", **place)
        boxes.append((right - width(text), min(foot, up), wide, foot + line))
    return np.array(boxes, float).reshape(-1, 4)
