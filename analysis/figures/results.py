"""How it ended: every seed's score, the cost to reach targets, and all tasks at a glance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import ceil

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes

from analysis.figures.canvas import (
    FAINT,
    LINE_HEIGHT,
    WIDTH,
    CostAxis,
    draw_ticks,
    off_axis,
    panels,
    score_limits,
    score_ticks,
    wrapped,
)
from analysis.figures.colours import ink
from analysis.figures.levels import level_name, levels_told, within
from analysis.figures.looks import INK, Look
from analysis.figures.training import Picture, seeds
from analysis.runs import LEVELS, RESULT, Frame
from analysis.statistics.inference import INTERVAL, Array
from analysis.summaries.frontier import levels
from analysis.tables import Tables, higher_is_better, several
from analysis.words.columns import interval, ranks, score_text

_CURRENCIES = {"epochs": "backprop epochs", "seconds": "step seconds per replica"}


def final_scores(
    tables: Tables, summary: Frame, task: str, looks: dict[str, Look]
) -> Picture | None:
    """Test score of every seed, with mean and interval; the best arm on top.

    Where a few arms stretch the axis so far that the better half is a blot, a second panel shows
    that half closer.
    """
    of_task = summary[summary["task"] == task]
    rows = of_task[of_task["n_seeds"] > 0]
    if rows.empty:
        return None
    score = tables.score(task)
    replicas = tables.runs[(tables.runs["task"] == task) & np.isfinite(tables.runs[RESULT])]
    values = {str(arm): scores.to_numpy(float) for arm, scores in replicas.groupby("arm")[RESULT]}
    arms = [str(arm) for arm in rows["arm"]]
    limits = _limits(rows, values, arms, score)
    better = arms[: ceil(len(arms) / 2)]
    closer = _limits(rows, values, better, score)
    crowded = closer[1] - closer[0] < (limits[1] - limits[0]) / 3
    views = {"all arms": limits, "the better half, closer": closer} if crowded else {"": limits}
    absent = of_task.loc[of_task["n_seeds"] == 0, "arm"]
    note = (
        f"Marks: seeds, a cross where one diverged or failed. Black: mean and {INTERVAL} over "
        f"{seeds(rows['n_seeds'])} that finished; then the rank interval, and letters shared by "
        f"arms that are not told apart.\n{off_axis(values, limits, 'seeds')}"
    )
    known = within(levels(tables, task), limits)
    if known:
        note += f"\nDotted: {', '.join(level_name(name, value) for name, value in known.items())}."
    note += levels_told(tables, task, limits)
    note += f"\nNo score: {', '.join(absent)}." if len(absent) else ""
    left = margin(arms)
    title = f"{task}: test score at the best validation"
    figure, axes = panels(
        len(views),
        2,
        height_of(arms, left),
        title,
        note,
        left=left,
        right=2.6,
        headed=len(views) - 1,
    )
    order = {seed: index for index, seed in enumerate(sorted(replicas["seed"].unique()))}
    columns = (rows["mean"], rows["low"], rows["high"], rows["rank_first"], ranks(rows))
    for place, (arm, mean, low, high, first, rank) in enumerate(zip(arms, *columns, strict=True)):
        replica = replicas[replicas["arm"] == arm]
        finished, look = (replica["status"] == "finished").to_numpy(), looks[arm]
        heights = _spread(place, len(order))[replica["seed"].map(order).to_numpy(int)]
        for panel in axes if arm in better else axes[:1]:
            for chosen, mark in (
                (finished, look.mark(4)),
                (~finished, look.paint | {"marker": "x", "ms": 6, "mew": 1.6}),
            ):
                panel.plot(values[arm][chosen], heights[chosen], ls="", **mark)
            panel.plot([low, high], [place, place], color=INK, lw=1.3, zorder=3)
            panel.plot(mean, place, marker="|", ms=11, mew=2, color=INK, zorder=3)
        text = f"{interval(mean, low, high)}   {'-' if np.isnan(first) else rank}"
        axes[-1].text(1.02, place, text, va="center", transform=axes[-1].get_yaxis_transform())
    for panel, (name, view) in zip(axes, views.items(), strict=True):
        panel.set(
            xlim=view,
            xlabel=f"test {score}" + ("" if higher_is_better(score) else " (lower is better)"),
        )
        panel.set_title(name, loc="left")
        for level in within(known, view).values():
            panel.axvline(level, color=FAINT, lw=0.8, ls=(0, (1, 2)), zorder=0)
        draw_ticks(panel, "x", score_ticks(view, 7 if len(views) == 1 else 5))
        draw_rows(panel, arms, left, named=panel is axes[0])
    alt = f"Dot plot: test {score} on {task}, every seed of {len(arms)} arms; {arms[0]} is on top."
    return Picture("final-scores", alt, figure)


def cost_to_target(
    tables: Tables, targets: Frame, task: str, looks: dict[str, Look]
) -> Picture | None:
    """Cost of every seed until each target is met; a column per target, a row per currency."""
    of_task = targets[targets["task"] == task]
    if of_task.empty:
        return None
    fastest = of_task.groupby("arm").agg(reached=("reached", "sum"), epochs=("epochs", "min"))
    arms = [
        str(arm)
        for arm in fastest.sort_values(["reached", "epochs"], ascending=[False, True]).index
    ]
    levels = [level for level in LEVELS if level in set(of_task["level"])]
    runs = tables.runs[(tables.runs["task"] == task) & (tables.runs["status"] != "skipped")]
    score, left = tables.score(task), margin(arms)
    note = (
        f"Marks: {seeds(of_task['n'])}. Hollow: one mark for all that did not reach the target "
        "within the budget. Black: median, a miss counting as infinite. k/n: seeds that reached "
        "it. On top: the arm that reaches most often; of equals the one whose median is least."
    )
    figure, axes = panels(
        len(levels) * len(_CURRENCIES),
        len(levels),
        height_of(arms, left),
        f"{task}: cost to reach a validation score",
        note,
        left=left,
        right=0.5,
        bottom=0.65,
        gaps=(0.5, 0.9),
        headed=1,
    )
    for line, (cost, label) in enumerate(_CURRENCIES.items()):
        axis = CostAxis(
            runs[[f"{cost}_to_{level}" for level in levels]].to_numpy(float).ravel(), beyond=0.3
        )
        for panel, level in zip(axes[line * len(levels) :], levels, strict=False):
            rows = of_task[of_task["level"] == level].set_index("arm")
            costs = {
                arm: runs.loc[runs["arm"] == arm, f"{cost}_to_{level}"].to_numpy(float)
                for arm in arms
            }
            _draw_costs(panel, axis, costs, rows[cost].reindex(arms).to_numpy(float), looks)
            for place, arm in enumerate(arms):
                text = (
                    f"{rows.loc[arm, 'reached']}/{rows.loc[arm, 'n']}" if arm in rows.index else ""
                )
                panel.text(
                    1.03,
                    place,
                    text,
                    color=FAINT,
                    va="center",
                    transform=panel.get_yaxis_transform(),
                )
            sign = "≥" if higher_is_better(score) else "≤"
            panel.set_title(f"{level}: {score} {sign} {rows['target'].iloc[0]:g}", loc="left")
            panel.set_xlabel(label)
            draw_rows(panel, arms, left, named=level == levels[0])
    alt = (
        f"Dot plots: cost until the validation {score} on {task} meets {len(levels)} targets, "
        f"{len(arms)} arms."
    )
    return Picture("cost-to-target", alt, figure)


def _draw_costs(
    panel: Axes, axis: CostAxis, costs: dict[str, Array], medians: Array, looks: dict[str, Look]
) -> None:
    """Every arm's seeds in one row, one mark for all that missed in a lane on the right."""
    lane = axis.high + 0.18 * axis.decades
    panel.axvspan(axis.high + 0.06 * axis.decades, axis.right, color="#eeeeee", lw=0, zorder=0)
    for place, (arm, values) in enumerate(costs.items()):
        hit, heights, look = np.isfinite(values), _spread(place, len(values)), looks[arm]
        panel.plot(axis.place(values[hit]), heights[hit], ls="", **look.mark(4))
        if not hit.all():
            panel.plot(lane, place, ls="", **replace(look, filling="none").mark(4))
    known = np.isfinite(medians)
    panel.plot(
        axis.place(medians[known]),
        np.flatnonzero(known),
        marker="|",
        ms=11,
        mew=2,
        ls="",
        color=INK,
    )
    axis.dress(panel, lane=lane)


def overview(summary: Frame) -> Picture | None:
    """Mean score and rank interval of every arm and task, coloured by the interval's middle.

    Colours go from a task's first rank to its last: tasks may rank different numbers of arms.
    """
    last = summary.groupby("task")["rank_last"].transform("max").clip(lower=2)
    middle = ((summary["rank_first"] + summary["rank_last"]) / 2 - 1) / (last - 1)
    places = ("  (" + pd.Series(ranks(summary), summary.index) + ")").where(middle.notna(), "")
    table = summary.assign(middle=middle, place=places, text=summary["mean"].map(score_text))
    wide = table.pivot_table(index="arm", columns="task", values="middle", dropna=False)
    if wide.empty:
        return None
    wide = wide.loc[wide.mean(axis=1).sort_values(na_position="last", kind="stable").index]
    # in the page's order
    wide = wide[[task for task in dict.fromkeys(summary["task"]) if task in wide]]
    arms, tasks = [str(arm) for arm in wide.index], [str(task) for task in wide]
    left, title = margin(arms), "All tasks: mean test score, coloured by rank"
    cell = (WIDTH - left) / len(tasks)  # inches
    note = (
        "Dark: the middle of the rank interval is near the task's first rank; bright: near its "
        "last. In brackets: the interval, and letters shared by arms that are not told apart. "
        "White: not ranked. Rows: by the mean of this place over the tasks that rank the arm."
    )
    figure, (axes,) = panels(1, 1, height_of(arms, left), title, note, left=left)
    palette = sns.color_palette("crest_r", as_cmap=True).with_extremes(bad="white")
    sns.heatmap(
        wide,
        ax=axes,
        cmap=palette,
        vmin=0,
        vmax=1,
        cbar=False,
        linewidths=1,
        linecolor="white",
        xticklabels=False,
        yticklabels=False,
    )
    cells = table[["arm", "task", "middle", "text", "place"]]
    for arm, task, middle, text, place in cells.to_numpy():
        at = (tasks.index(task) + 0.5, arms.index(arm) + 0.5)
        colour = str(ink(palette(middle))) if np.isfinite(middle) else INK
        axes.text(*at, text + (place if cell > 1.3 else ""), ha="center", va="center", color=colour)
    draw_ticks(axes, "x", {place + 0.5: wrapped(task, cell) for place, task in enumerate(tasks)})
    draw_rows(axes, arms, left, shift=0.5)
    axes.set(xlabel="", ylabel="", xlim=(0, len(tasks)))
    shown = f"{several(len(arms), 'arm')} on {several(len(tasks), 'task')}"
    alt = f"Heat map: mean test score and rank interval of {shown}."
    return Picture("overview", alt, figure)


def _limits(
    rows: Frame, values: Mapping[str, Array], arms: Sequence[str], score: str
) -> tuple[float, float]:
    """Limits for the seeds of some arms and their intervals."""
    ends = rows.loc[rows["arm"].isin(arms), ["low", "high"]].to_numpy(float).ravel()
    return score_limits(np.concatenate([*(values[arm] for arm in arms), ends]), score)


def _spread(place: float, n: int) -> Array:
    """Heights of n seeds around a row."""
    return place + (np.linspace(-0.25, 0.25, n) if n > 1 else np.zeros(n))


def margin(arms: Sequence[str]) -> float:
    """Inches for the longest of the names, which are wrapped beyond a third of the figure."""
    return min(0.3 + 0.075 * max(len(arm) for arm in arms), WIDTH / 3)


def height_of(arms: Sequence[str], left: float) -> float:
    """Inches for a panel with one row per arm, tall enough for the longest name."""
    lines = max(wrapped(arm, left - 0.15).count("\n") + 1 for arm in arms)
    return len(arms) * max(0.27, LINE_HEIGHT * lines) + 0.1


def draw_rows(
    axes: Axes, arms: Sequence[str], left: float, named: bool = True, shift: float = 0.0
) -> None:
    """One row per arm, the first on top."""
    draw_ticks(
        axes, "y", {row + shift: wrapped(arm, left - 0.15) for row, arm in enumerate(arms)}, named
    )
    axes.set_ylim(len(arms) - 0.5 + shift, -0.5 + shift)
