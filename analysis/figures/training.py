"""What happens while training: scores, gaps, gradients and the direction of the updates."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figures import canvas
from analysis.figures.canvas import (
    FAINT,
    LINE_HEIGHT,
    CostAxis,
    draw_bars,
    draw_mean,
    panels,
)
from analysis.figures.labels import end_height, end_margin, extent, name_ends
from analysis.figures.levels import level_name, levels_told, within
from analysis.figures.looks import INK, SIGNALS, Look
from analysis.runs import Frame
from analysis.statistics.inference import INTERVAL, Array
from analysis.summaries.frontier import levels
from analysis.summaries.trajectories import WINDOW, Band, LayerAlignment, alignment
from analysis.tables import Tables

_SURE = 4.0  # standard errors from which a mean over all checkpoints counts as above 0
_COSINES = (-1, -0.5, -0.2, -0.05, 0, 0.05, 0.2, 0.5, 1)  # ticks, evenly spaced by `_stretch`
COST_NAMES = {
    "epochs": "backprop epochs (compute of one pass over the training set)",
    "flops": "FLOPs",
    "examples": "examples (forward + 2 backward)",
    "seconds": "step seconds per replica",
}


MANY = 12  # arms that one panel can show
ASIDE = 0.05, 0.3  # of a doubling: between the bars of two arms, and of all, at most
FEWEST_APART = 5  # points of one arm between two of its bars
_LONGEST = 2.3  # inches of a name at the end of a line; longer ones are wrapped
BARS = "Bar, at every mark"
BACKDROP = Look(INK, "-", "", arm="backprop")


class Crowd(NamedTuple):
    """Arms that share a panel, its title, and the arm in the background, `backprop`, or none."""

    title: str
    arms: list[str]
    background: str


@dataclass(frozen=True)
class Picture:
    """A figure, not yet a file: its files' name, and the text for those who cannot see it."""

    name: str
    alt: str
    figure: Figure


def update_cosine(tables: Tables, task: str, looks: dict[str, Look]) -> Picture | None:
    """Cosine between update and negative true gradient by layer; of many arms, a row per signal."""
    layers = alignment(tables, task, "epochs")
    if not layers:
        return None
    arms = sorted({arm for layer in layers for arm in layer.bands})
    idle = sorted(set(tables.layers.loc[tables.layers["task"] == task, "arm"]).difference(arms))
    more = (
        f"Each is averaged over {WINDOW} checkpoints. Grey stripe: where such a mean of random "
        "directions stays in 95 % of cases."
    )
    more += _within(layers)
    more += f"\nNo update was measured: {', '.join(idle)}." if idle else ""
    if len(arms) > MANY:
        main = max(layers, key=lambda layer: len(layer.bands)).network
        layers = [layer for layer in layers if layer.network == main]
        others = sorted(set(arms).difference(*(layer.bands for layer in layers)))
        arms = [arm for arm in arms if arm not in others]
        more += f"\nNot drawn, for their network is another: {', '.join(others)}." if others else ""
    crowds = crowds_of(tables, task, arms)
    every = [band for layer in layers for band in layer.bands.values()]
    line = "Line: mean cosine, on an axis that is stretched near zero (square root)"
    note = note_of(line, every, more, BARS)
    several = len({layer.network for layer in layers}) > 1
    titles = [
        f"{f'{layer.network}, ' if several else ''}{layer.layer}: {layer.n_weights:,} "
        f"weights\nnull: ±{layer.smallest:.2g}"
        for layer in layers
    ]
    # networks have layers, and arms, of their kind: each layer has its names beside it
    columns = 1 if several else (2 if len(layers) == 4 else 3)
    columns = len(layers) if len(crowds) > 1 else min(columns, len(layers))
    names = short_names(arms)
    figure, rows = rows_of(
        crowds,
        2.3,
        f"{task}: update direction by layer",
        note,
        names,
        n=len(layers),
        columns=columns,
        gaps=(0.25, 0.15),
        headed=_lines_of(titles),
    )
    axis = CostAxis(joined(band.cost for band in every))
    values = _stretch(joined(array for band in every for array in (band.mean, band.low, band.high)))
    low, high = min(-0.15, np.nanmin(values) - 0.05), max(0.4, np.nanmax(values) + 0.05)
    ticks = {_stretch(tick): f"{tick:g}" for tick in _COSINES if low <= _stretch(tick) <= high}
    for row, (_, drawn, background) in zip(rows, crowds, strict=True):
        last, ends = row is rows[-1], dict[str, tuple[float, float]]()
        for index, (panel, layer) in enumerate(zip(row, layers, strict=True)):
            below = index + columns >= len(layers) and last
            at, null = axis.place(layer.at), _stretch(layer.null)
            panel.fill_between(at, -null, null, color="#ececec", lw=0, zorder=0)
            for level in (-null, null):
                panel.plot(at, level, color=FAINT, ls="--", lw=1)
            panel.axhline(0, color=INK, lw=0.8)
            stretched = {
                arm: replace(
                    band,
                    **{name: _stretch(getattr(band, name)) for name in ("mean", "low", "high")},
                )
                for arm, band in layer.bands.items()
            }
            draw_arms(panel, axis, stretched, looks, drawn, background)
            panel.set_title(titles[index], loc="left")
            panel.set_ylim(low, high)
            axis.dress(panel, named=below)
            ends |= line_ends(axis, stretched, drawn)
            if index % columns == columns - 1 or panel is row[-1]:
                name_lines(panel, ends, names, looks)
                ends = {}
            canvas.draw_ticks(panel, "y", ticks, named=index % columns == 0)
            panel.set_xlabel("backprop epochs" if below else "")
            panel.set_ylabel("cosine with steepest descent" if index % columns == 0 else "")
    alt = (
        f"Small multiples: cosine of updates and negative gradient on {task}, {len(layers)} "
        f"layers, {len(arms)} arms."
    )
    return Picture("update-cosine", alt, figure)


def line_ends(
    axis: CostAxis, bands: Mapping[str, Band], arms: Iterable[str]
) -> dict[str, tuple[float, float]]:
    """Where the lines of arms end, by arm: a single value's lies across the panel."""
    found = {}
    for arm in (arm for arm in arms if arm in bands):
        known = np.flatnonzero(np.isfinite(bands[arm].mean))
        if len(known):
            cost = axis.place(bands[arm].cost)[known[-1]]
            place = axis.right if len(bands[arm].cost) == 1 else cost
            found[arm] = (float(place), float(bands[arm].mean[known[-1]]))
    return found


def _within(layers: Iterable[LayerAlignment]) -> str:
    """Name arms that are never above the stripe, and descend nonetheless, over all of training."""
    found = dict[str, float]()
    for layer in layers:
        for arm, band in layer.bands.items():
            above = band.mean > np.interp(band.cost, layer.at, layer.null)
            if layer.errors[arm] > _SURE and not above.any():
                found[arm] = max(layer.errors[arm], found.get(arm, 0.0))
    if not found:
        return ""
    told = ", ".join(f"{arm} ({errors:.0f})" for arm, errors in sorted(found.items()))
    return (
        "\nNowhere above the stripe of some layer, but above 0 over all checkpoints, by so many "
        f"standard errors of random directions: {told}."
    )


def tuning(
    tables: Tables, found: Mapping[str, Frame], task: str, looks: dict[str, Look]
) -> Picture | None:
    """Expected best validation score after some trials; where arms are many, a row a signal."""
    if not found:
        return None
    after = found["tuning_trials"]
    score, bands = tables.score(task), dict[str, Band]()
    for arm, rows in after[after["task"] == task].groupby("arm"):
        if arm in looks:
            k, mean, low, high = rows[["k", "validation", "low", "high"]].to_numpy(float).T
            bands[str(arm)] = Band(k, mean, low, high, np.zeros(len(rows)), int(rows["n"].iloc[0]))
    if not bands:
        return None
    after = after[(after["task"] == task) & after["arm"].isin(bands)]
    defaults = after.drop_duplicates("arm").set_index("arm")["default"]
    limits = canvas.score_limits(np.concatenate([shown(bands), defaults.dropna()]), score)
    known = within(levels(tables, task), limits)
    note = (
        "Line: mean over all choices of so many of the arm's trials of the best validation score "
        "among them. Bar, at every mark: in four of five choices it lies there; at all trials "
        "there is one choice. Dotted: the defaults."
    ) + levels_told(tables, task, limits)
    counts = "-".join(map(str, sorted({int(after["n"].min()), int(after["n"].max())})))
    samplers = ", ".join(sorted(set(after["sampler"])))
    title = f"{task}: tuning, {counts} trials an arm, sampler {samplers}"
    crowds = crowds_of(tables, task, bands)
    names = short_names(bands) | {
        name: f"{level_name(name, value)} (test)" for name, value in known.items()
    }
    height = 3.2 if len(crowds) == 1 else 2.0
    figure, panels_of = rows_of(crowds, height, title, note, names, known)
    ticks = sorted({float(k) for band in bands.values() for k in band.cost})
    for (axes,), (_, arms, background) in zip(panels_of, crowds, strict=True):
        if background in bands:
            draw_mean(axes, np.log2(bands[background].cost), bands[background], BACKDROP)
        drawn = [arm for arm in arms if arm in bands]
        for place, arm in enumerate(drawn):
            apart = min(ASIDE[0], ASIDE[1] / len(drawn))
            aside = apart * (place - (len(drawn) - 1) / 2)
            at, band, look = np.log2(bands[arm].cost) + aside, bands[arm], looks[arm]
            axes.vlines(at, band.low, band.high, **look.paint, lw=1, alpha=0.8)
            draw_mean(axes, at, band, look, range(len(at)))
            axes.axhline(defaults[arm], **look.paint, ls=":", lw=0.8, zorder=1)
        axes.set(xlim=(-0.2, np.log2(ticks[-1]) + 0.2), ylim=limits, xlabel="trials")
        canvas.draw_ticks(axes, "x", {float(np.log2(k)): f"{k:g}" for k in ticks})
        axes.set_ylabel(f"best validation {score}")
        canvas.draw_ticks(axes, "y", canvas.score_ticks(limits))
        ends = {arm: (np.log2(bands[arm].cost[-1]), bands[arm].mean[-1]) for arm in drawn}
        name_lines(axes, ends, names, looks, known)
    alt = f"Line chart: expected best validation {score} on {task} of {len(bands)} arms by trials."
    return Picture("tuning", alt, figure)


def seeds(counts: Iterable[int]) -> str:
    """Say how many seeds there are: "5 seeds", "3-5 seeds"."""
    counts = sorted(set(counts))
    return (
        f"{'-'.join(map(str, dict.fromkeys((counts[0], counts[-1]))))} "
        f"seed{'' if counts == [1] else 's'}"
    )


def crowds_of(tables: Tables, task: str, arms: Iterable[str]) -> list[Crowd]:
    """Arms that share a panel: all, or those told one signal."""
    arms = list(arms)
    if len(arms) <= MANY:
        return [Crowd("", arms, "")]
    runs = tables.runs[tables.runs["task"] == task]
    signal = dict(zip(runs["arm"], runs["signal"], strict=True))
    told = sorted(set(signal.values()), key=lambda name: ([*SIGNALS, name].index(name), name))
    groups = {name: [arm for arm in arms if signal[arm] == name] for name in told}
    return [
        Crowd(
            f"told {SIGNALS.get(name, name)}", members, "" if "backprop" in members else "backprop"
        )
        for name, members in groups.items()
        if members
    ]


def short_names(arms: Iterable[str]) -> dict[str, str]:
    """Names of arms as they stand at the ends of lines."""
    return {arm: canvas.wrapped(arm, _LONGEST) for arm in arms}


def rows_of(
    crowds: list[Crowd],
    height: float,
    title: str,
    note: str,
    names: Mapping[str, str],
    known: Collection[str] = (),
    *,
    n: int = 1,
    columns: int = 1,
    headed: int = 0,
    **layout: Any,
) -> tuple[Figure, list[list[Axes]]]:
    """Make n panels for each crowd, as high as the names right of a row need.

    Parameters
    ----------
    names : mapping of str to str
        Of arms and levels, as they stand at the ends of lines.
    known : collection of str
        Levels that each row names.
    columns : int
        Of one crowd; of several each has a row.
    """
    if len(crowds) > 1:
        note += "\nA row for the arms that are told the same signal."
        if any(crowd.background for crowd in crowds):
            note += " Black: backprop's mean, for comparison."
        columns, headed = n, headed + 1
    most = max(end_height(names[name] for name in (*crowd.arms, *known)) for crowd in crowds)
    figure, axes = panels(
        n * len(crowds),
        columns,
        max(height, most),
        title,
        note,
        right=end_margin(names.values()),
        headed=headed,
        **layout,
    )
    rows = [axes[first : first + n] for first in range(0, len(axes), n)]
    for row, crowd in zip(rows, crowds, strict=True):
        if n == 1:
            row[0].set_title(crowd.title, loc="left")
        elif crowd.title:
            above = 1 + LINE_HEIGHT * (headed - 1) / extent(row[0])[1]
            bold = {"weight": "bold"}
            row[0].set_title(crowd.title, bold, "center", x=0, y=above, ha="left")
    return figure, rows


def name_lines(
    axes: Axes,
    ends: Mapping[str, tuple[float, float]],
    names: Mapping[str, str],
    looks: Mapping[str, Look],
    known: Mapping[str, float] = MappingProxyType({}),
) -> None:
    """Write the names of arms where their lines end; draw the levels, and name them too.

    Parameters
    ----------
    ends : mapping of str to (float, float)
        By arm.
    known : mapping of str to float
        Scores, by level.
    """
    for value in known.values():
        canvas.level_line(axes, value)
    right = axes.get_xlim()[1]
    ends = {**ends, **{name: (right, value) for name, value in known.items()}}
    x, y = np.array([*ends.values()], float).reshape(-1, 2).T
    colours = [looks[name].colour if name in looks else FAINT for name in ends]
    name_ends(axes, x, y, [names[name] for name in ends], colours)


def draw_arms(
    axes: Axes,
    axis: CostAxis,
    bands: dict[str, Band],
    looks: dict[str, Look],
    arms: Iterable[str],
    background: str,
) -> None:
    """Some arms along a cost, on an axis for all; an arm that never spent any is a level line."""
    if background in bands:
        draw_mean(axes, axis.place(bands[background].cost), bands[background], BACKDROP)
    drawn = [arm for arm in arms if arm in bands]
    for place, arm in enumerate(drawn):
        band, look = bands[arm], looks[arm]
        draw_bars(axes, axis.place(band.cost), band, look, place, max(len(drawn), FEWEST_APART))
        if len(band.cost) == 1:
            axes.axhline(band.mean[0], **look.paint, ls=look.line, lw=1)


def shown(bands: Mapping[str, Band]) -> Array:
    """What an axis must hold: all means, and most ends of their intervals."""
    means, lows, highs = (
        joined(getattr(band, name) for band in bands.values()) for name in ("mean", "low", "high")
    )
    known = np.isfinite(lows)
    ends = [np.quantile(lows[known], 0.05), np.quantile(highs[known], 0.95)] if known.any() else []
    return np.concatenate([means, ends])


def beyond(bands: Mapping[str, Band], limits: tuple[float, float]) -> str:
    """Say what lies off the axis."""
    note = canvas.off_axis(
        {arm: band.mean for arm, band in bands.items()}, limits, "points of the means"
    )
    wide = any(
        (band.low < limits[0]).any() or (band.high > limits[1]).any() for band in bands.values()
    )
    return note + ("\nSome intervals go on beyond the axis." if wide else "")


def note_of(line: str, bands: Iterable[Band], more: str = "", drawn: str = "Band") -> str:
    """Say what line and band or bars are, and what is missing."""
    bands = list(bands)
    text = (
        f"{line}. {drawn}: {INTERVAL} of the mean over {seeds(band.n for band in bands)}.\n{more}"
    )
    if any(band.lost.any() for band in bands):
        text += "\nCross: a replica diverged or failed; the line continues, faint, over the others."
    return text


def _stretch(value: Any) -> Any:
    """Signed square root: 0.01 becomes 0.1."""
    return np.sign(value) * np.sqrt(np.abs(value))


def _lines_of(titles: Iterable[str]) -> int:
    return max(title.count("\n") + 1 for title in titles)


def joined(arrays: Iterable[Array]) -> Array:
    """Put arrays end to end."""
    return np.concatenate(list(arrays))
