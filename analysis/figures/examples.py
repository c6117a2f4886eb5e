"""Figures of single examples: who fails on the same ones, is confidence right, classes known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil

import matplotlib as mpl
import numpy as np
import seaborn as sns
from matplotlib.colors import ListedColormap
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath
from scipy.cluster.hierarchy import leaves_list, linkage, optimal_leaf_ordering
from scipy.spatial.distance import squareform

from analysis.figures.canvas import FAINT, WIDTH, draw_ticks, panels, wrapped
from analysis.figures.colours import ink
from analysis.figures.looks import INK, Look
from analysis.figures.training import Picture
from analysis.runs import Frame
from analysis.statistics.inference import INTERVAL, Array

FEWEST = 20  # examples, over all seeds, below which a bin of confidence is not drawn
MOST_CLASSES = 30
# Blue below 0, red above, for the colour-blind, too; without the ends, on which no frame would
# show.
_DIVERGING = ListedColormap(mpl.colormaps["RdBu_r"](np.linspace(0.1, 0.9, 257)))
_MEASURES = {
    "kappa": (
        "error consistency (Cohen's kappa)",
        "0: independent errors, whatever their rates; 1: the same errors",
    ),
    "correlation": (
        "correlation of residuals (Pearson's)",
        "0: unrelated residuals; 1: the same ones up to scale",
    ),
}


def error_consistency(found: Mapping[str, Frame], task: str) -> Picture | None:
    """Consistency of each pair of arms; those that fail alike stand together.

    Below the diagonal two arms at the same seed, above it at other seeds, on it an arm with itself
    at other seeds.
    """
    pairs = _of(found, "error_consistency", task)
    if pairs is None or (pairs["arm"] == pairs["other"]).all():
        return None
    arms = sorted(set(pairs["arm"]) | set(pairs["other"]))
    parts = [_square(pairs[pairs["seeds"] == seeds], arms) for seeds in ("same", "other")]
    order = _order(np.where(np.isnan(parts[0][0]), parts[1][0], parts[0][0]))
    same, other = (part[:, order][:, :, order] for part in parts)
    below = np.tri(len(arms), k=-1, dtype=bool)
    value, low, high = np.where(below, same, other)
    arms = [arms[index] for index in order]
    name, scale = _MEASURES[pairs["measure"].iloc[0]]
    note = (
        f"{scale}. Below the diagonal: two arms at the same seed. Above: at different seeds, on "
        "examples that both test. On it, framed: two seeds of one arm, the yardstick for what "
        "stands above. Red: above 0, blue: below, darkest where two arms are furthest from 0. Grey "
        "on white: the 95 % interval over seeds (jackknife, Student's t) holds 0, or is not known. "
        "Blank: not defined."
    )
    left = _margin(arms)
    width = min(1.2, (WIDTH - left - 0.15) / len(arms))  # of a cell, in inches
    height = min(0.4, width)
    size = min(8.5, 30 * width)
    names, turn, bottom = _column_names(arms, width, size)
    figure, (axes,) = panels(
        1,
        1,
        height * len(arms),
        f"{task}: {name}",
        note,
        left=left,
        right=WIDTH - left - width * len(arms),
        bottom=0.2 + bottom,
    )
    told = np.isfinite(value) & ~((low <= 0) & (high >= 0)) & np.isfinite(low)
    # an arm with itself may be far above them
    pairs = np.abs(value[told & ~np.eye(len(arms), dtype=bool)])
    limit = max(0.1, pairs.max(initial=0))
    colours = _DIVERGING(0.5 + np.where(told, value, 0).clip(-limit, limit) / limit / 2)
    colours[~told] = 1
    axes.imshow(colours, extent=(0, len(arms), len(arms), 0), aspect="auto", interpolation="none")
    inks = np.where(told, ink(colours), FAINT)
    for (row, column), number in np.ndenumerate(value):
        if np.isfinite(number):
            axes.text(
                column + 0.5,
                row + 0.5,
                _short(number),
                ha="center",
                va="center",
                fontsize=size,
                color=str(inks[row, column]),
            )
    for place in range(len(arms)):
        axes.plot(
            place + np.array([0, 1, 1, 0, 0]), place + np.array([0, 0, 1, 1, 0]), color=INK, lw=0.9
        )
    axes.set(xlim=(0, len(arms)), ylim=(len(arms), 0))
    draw_ticks(axes, "x", {}, named=False)
    draw_ticks(
        axes, "y", {place + 0.5: wrapped(arm, left - 0.15) for place, arm in enumerate(arms)}
    )
    under = -0.08 / (height * len(arms))
    for place, label in enumerate(names):
        axes.text(
            place + 0.5,
            under,
            label,
            transform=axes.get_xaxis_transform(),
            ha="center",
            va="top",
            fontsize=size,
            rotation=turn,
        )
    alt = f"Matrix: {name} of {len(arms)} arms on {task}, clustered."
    return Picture("error-consistency", alt, figure)


def _square(rows: Frame, arms: Sequence[str]) -> Array:
    """Value, low and high of each pair of arms, (3, A, A), symmetric; NaN where there is none."""
    place = {arm: index for index, arm in enumerate(arms)}
    square = np.full((3, len(arms), len(arms)), np.nan)
    i, j = rows["arm"].map(place).to_numpy(int), rows["other"].map(place).to_numpy(int)
    square[:, i, j] = square[:, j, i] = rows[["value", "low", "high"]].to_numpy(float).T
    return square


def _order(value: Array) -> list[int]:
    """Order arms so that consistent ones are neighbours: average linkage on 1 - value."""
    if len(value) < 3:
        return list(range(len(value)))
    distance = 1 - np.nan_to_num(value)
    np.fill_diagonal(distance, 0)
    condensed = squareform(distance, checks=False)
    return leaves_list(optimal_leaf_ordering(linkage(condensed, "average"), condensed)).tolist()


def _short(value: float) -> str:
    """Write a number between -1 and 1 in few letters: .43, -.07, 1."""
    text = f"{value:.2f}"
    return {"1.00": "1", "-1.00": "-1", "-0.00": ".00"}.get(text, text.replace("0.", ".", 1))


def reliability(found: Mapping[str, Frame], task: str, looks: dict[str, Look]) -> Picture | None:
    """Accuracy against confidence, one panel per arm."""
    table = _of(found, "reliability", task)
    if table is None:
        return None
    drawn, arms = table[table["n"] >= FEWEST], sorted(table["arm"].unique())
    columns = max(4, ceil(len(arms) / ceil(len(arms) / 6)))  # rows are equally full
    width = (WIDTH - 0.75 - 0.15 - (columns - 1) * 0.2) / columns
    names = {arm: wrapped(arm, width) for arm in arms}
    lines = max(name.count("\n") + 1 for name in names.values())
    note = (
        "Accuracy of the examples in each tenth of confidence (the probability of the class that "
        f"is named), mean over seeds and {INTERVAL}, at their mean confidence. Below the grey "
        "line: too sure of itself. Grey bars: the tenth's share of the examples. Tenths with fewer "
        f"than {FEWEST} examples, over all seeds, are not drawn."
    )
    figure, axes = panels(
        len(arms), columns, width, f"{task}: calibration", note, gaps=(0.2, 0.35), headed=lines
    )
    counts = table.groupby("arm")["n"].sum()
    for index, (panel, arm) in enumerate(zip(axes, arms, strict=True)):
        rows, paint = drawn[drawn["arm"] == arm], looks[arm].paint
        panel.bar(
            rows["bin"] / 10 + 0.05, rows["n"] / counts[arm], width=0.09, color="#dddddd", lw=0
        )
        panel.plot([0, 1], [0, 1], color=FAINT, lw=0.8)
        panel.fill_between(
            rows["confidence"],
            rows["accuracy_low"],
            rows["accuracy_high"],
            **paint,
            alpha=0.25,
            lw=0,
        )
        panel.plot(
            rows["confidence"],
            rows["accuracy"],
            **paint,
            marker="o",
            ms=3,
            lw=1.2,
            clip_on=False,
            zorder=3,
        )
        panel.set(xlim=(0, 1), ylim=(0, 1))
        panel.set_title(names[arm], loc="left", fontsize=8)
        ticks = {0.0: "0", 0.5: "0.5", 1.0: "1"}
        draw_ticks(panel, "x", ticks, named=index >= len(arms) - columns)
        draw_ticks(panel, "y", ticks, named=index % columns == 0)
        if index % columns == 0:
            panel.set_ylabel("accuracy")
        if index >= len(arms) - columns:
            panel.set_xlabel("confidence")
    alt = f"Reliability diagrams: accuracy on {task} against confidence, {len(arms)} arms."
    return Picture("calibration", alt, figure)


def recall(found: Mapping[str, Frame], task: str) -> Picture | None:
    """Recall of each class, one row per arm, the best arm on top."""
    classes = _of(found, "classes", task)
    if classes is None or classes["target"].nunique() > MOST_CLASSES:
        return None
    wide = classes.pivot_table(index="arm", columns="target", values="recall", dropna=False)
    order = wide.mean(axis=1).sort_values(ascending=False, kind="stable").index
    values, arms = wide.loc[order].to_numpy(float), [str(arm) for arm in order]
    left = _margin(arms)
    width = min(WIDTH - left - 0.15, 0.9 * values.shape[1])
    note = (
        "Share of each class's test examples that are recognised, mean over seeds; intervals are "
        "in classes.csv. On top: the arm whose mean over classes is best."
    )
    figure, (axes,) = panels(
        1,
        1,
        0.25 * len(arms),
        f"{task}: recall by class",
        note,
        left=left,
        right=WIDTH - left - width,
    )
    palette = sns.color_palette("crest", as_cmap=True).with_extremes(bad="white")
    axes.imshow(
        np.ma.masked_invalid(values),
        cmap=palette,
        vmin=0,
        vmax=1,
        aspect="auto",
        interpolation="none",
        extent=(0, values.shape[1], len(arms), 0),
    )
    inks = ink(palette(values))
    for (row, column), number in np.ndenumerate(values):
        if np.isfinite(number):
            axes.text(
                column + 0.5,
                row + 0.5,
                f"{number:.2f}",
                ha="center",
                va="center",
                fontsize=7,
                color=str(inks[row, column]),
            )
    names = classes.groupby("target")["target_class"].first()
    fitting = int(width / values.shape[1] / 0.08)  # characters beside one another
    short = [name if len(name) <= fitting else f"{name[: fitting - 1]}\u2026" for name in names]
    draw_ticks(axes, "x", {place + 0.5: name for place, name in enumerate(short)})
    draw_ticks(
        axes, "y", {place + 0.5: wrapped(arm, left - 0.15) for place, arm in enumerate(arms)}
    )
    axes.set(xlim=(0, values.shape[1]), ylim=(len(arms), 0), xlabel="class")
    alt = f"Heat map: recall of {values.shape[1]} classes on {task}, {len(arms)} arms."
    return Picture("recall", alt, figure)


def _of(found: Mapping[str, Frame], name: str, task: str) -> Frame | None:
    """Rows of one task in one of the tables; None where there are none."""
    rows = found[name][found[name]["task"] == task] if name in found else []
    return rows if len(rows) else None


def _margin(arms: Sequence[str]) -> float:
    return min(0.3 + 0.075 * max(map(len, arms)), WIDTH / 3.5)


def _column_names(arms: Sequence[str], width: float, size: float) -> tuple[list[str], int, float]:
    """Names below columns of a width in inches, their turn in degrees, and inches down."""
    if width > 0.9:
        names = [wrapped(arm, width) for arm in arms]
        return names, 0, 1.25 * size / 72 * max(name.count("\n") + 1 for name in names)
    names = [arm if len(arm) <= 40 else arm[:39] + "…" for arm in arms]
    font = FontProperties(family="DejaVu Sans")
    return (
        names,
        90,
        max(TextPath((0, 0), name, size=size, prop=font).get_extents().width for name in names)
        / 72,
    )
