"""Forest of paired differences: each arm less the reference, and who is told apart from whom."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import ceil

import numpy as np
from matplotlib.axes import Axes

from analysis.figures.canvas import FAINT, draw_ticks, panels, score_limits, score_ticks, wrapped
from analysis.figures.labels import width
from analysis.figures.looks import INK, Look
from analysis.figures.results import draw_rows, height_of, margin
from analysis.figures.training import Picture
from analysis.runs import Frame
from analysis.statistics.inference import INTERVAL, LEVEL
from analysis.tables import Tables, higher_is_better
from analysis.words.columns import interval, number

_MOST_GROUPS = 14  # that are drawn as lines; of more there are letters
_COLUMN = 0.13  # inches between two of these lines


def differences(
    tables: Tables, summary: Frame, found: Frame, task: str, looks: dict[str, Look]
) -> Picture | None:
    """Score less the reference's at the same seeds, the best arm on top, with its tie groups."""
    rows = found[found["task"] == task] if len(found) else found
    rows = rows[np.isfinite(rows["mean"])] if len(rows) else rows
    if rows.empty:
        return None
    reference, score = str(rows["reference"].iloc[0]), tables.score(task)
    of_task = summary[(summary["task"] == task) & (summary["n_seeds"] > 0)]
    arms = [arm for arm in map(str, of_task["arm"]) if arm in {reference, *rows["arm"]}]
    rows = rows.set_index("arm")
    ends = {arm: rows.loc[arm, ["mean", "low", "high"]].to_numpy(float) for arm in rows.index}
    limits = _limits(ends, list(ends), score)
    better = arms[: ceil(len(arms) / 2)]
    closer = _limits(ends, better, score)
    crowded = len(arms) > 3 and closer[1] - closer[0] < (limits[1] - limits[0]) / 3
    views = {"all arms": limits, "the better half, closer": closer} if crowded else {"": limits}
    groups = _groups(of_task.set_index("arm").loc[arms, "group"].tolist())
    told = len(groups) <= _MOST_GROUPS
    note = (
        f"Mean difference to {reference} at the same seeds and its {INTERVAL}; right of it the p "
        f"that is corrected for all pairs of the task. Full: p < {1 - LEVEL:.2g}; hollow: not told "
        f"apart from {reference}, or not ranked."
    )
    note += (
        " Lines on the right: tie groups; no two arms with a dot on one line are told apart."
        if told
        else " Letters: no two arms that share one are told apart."
    )
    texts = {
        arm: f"{interval(*ends[arm])}   {number(rows.loc[arm, 'p_corrected'])}" for arm in ends
    }
    texts[reference] = "reference"
    column = max(map(width, texts.values())) + 0.25
    marks = _COLUMN * len(groups) if told else max(map(width, of_task["group"])) + 0.1
    left, right = margin(arms), column + marks + 0.25
    figure, axes = panels(
        len(views),
        2,
        height_of(arms, left),
        f"{task}: differences to {reference}",
        note,
        left=left,
        right=right,
        headed=len(views) - 1,
    )
    for panel, (name, view) in zip(axes, views.items(), strict=True):
        panel.axvline(0, color=INK, lw=0.9, zorder=1)
        for place, arm in enumerate(arms):
            if arm in ends and (panel is axes[0] or arm in better):
                mean, low, high = ends[arm]
                look = replace(looks[arm], filling="full")
                panel.plot([low, high], [place] * 2, **look.paint, lw=1.5, zorder=2)
                (mark,) = panel.plot(mean, place, ls="", zorder=3, **look.mark(6))
                if not rows.loc[arm, "p_corrected"] < 1 - LEVEL:
                    mark.set_markerfacecolor("white")
        along = f"difference of test {score}"
        along += "" if higher_is_better(score) else " (lower is better)"
        inches = panel.get_window_extent().width / figure.dpi
        panel.set(xlim=view, xlabel=wrapped(along, inches))
        panel.set_title(name, loc="left")
        draw_ticks(panel, "x", score_ticks(view, 7 if len(views) == 1 else 4))
        draw_rows(panel, arms, left, named=panel is axes[0])
    last = axes[-1]
    wide = last.get_window_extent().width / last.figure.dpi
    for place, arm in enumerate(arms):
        at = {"va": "center", "transform": last.get_yaxis_transform(), "fontsize": 8}
        last.text(1 + 0.1 / wide, place, texts[arm], color=INK if arm in ends else FAINT, **at)
        if not told:
            group = str(of_task.set_index("arm").loc[arm, "group"])
            last.text(1 + column / wide, place, group, **at)
    if told:
        _draw_groups(last, groups, 1 + column / wide, _COLUMN / wide)
    alt = (
        f"Forest plot: difference of test {score} to {reference} on {task}, {len(ends)} arms, with "
        "intervals and tie groups."
    )
    return Picture("differences", alt, figure)


def _limits(ends: dict[str, np.ndarray], arms: Sequence[str], score: str) -> tuple[float, float]:
    """Limits for some arms' differences, with 0 among them."""
    values = [values for arm, values in ends.items() if arm in arms]
    return score_limits(np.concatenate([*values, [0.0]]), f"difference of {score}")


def _groups(letters: Sequence[str]) -> list[list[int]]:
    """Rows of the arms in each tie group of two or more, from the letters that each arm has."""
    # of more groups than letters the names are parted by blanks; one alone may be "aa"
    parted = any(" " in text or len({*text}) < len(text) for text in letters)
    parts = [text.split() if parted else [*text] for text in letters]
    names = sorted({name for part in parts for name in part}, key=lambda name: (len(name), name))
    rows = [[place for place, part in enumerate(parts) if name in part] for name in names]
    return [group for group in rows if len(group) > 1]


def _draw_groups(axes: Axes, groups: Sequence[Sequence[int]], left: float, step: float) -> None:
    """A line with dots for each tie group, right of the panel."""
    for index, group in enumerate(groups):
        x = left + (index + 0.5) * step
        style = {"color": FAINT, "transform": axes.get_yaxis_transform(), "clip_on": False}
        axes.plot([x, x], [group[0], group[-1]], lw=1, **style)
        axes.plot([x] * len(group), group, "o", ms=3, mew=0, **style)
