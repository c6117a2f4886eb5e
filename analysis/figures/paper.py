"""A page's figures, from what was measured: curves along an axis, maps, scatter over seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from scipy.stats import norm

from analysis.figures import canvas
from analysis.figures.canvas import panels, save, style
from analysis.figures.looks import INK, Look, of_series
from analysis.statistics.inference import INTERVAL
from analysis.summaries.expressions import NotRunError, evaluate, interval_of
from analysis.summaries.quantities import kind_of, map_of, points_of, series_of


def draw(
    paper: Mapping[str, Any],
    quantities: Mapping[str, pd.Series],
    signals: Mapping[str, str],
    out: Path,
) -> list[tuple[str, str]]:
    """Draw the paper's figures as SVG and PNG; return their file names and alternative texts.

    `signals` is what methods are told, for a series that names its method has the method's look.
    """
    drawn = []
    with style():
        for index, figure in enumerate(paper.get("figures", ()), 1):
            name = f"figure-{index}"
            if (kind := kind_of(figure)) == "map":
                drawing = _map(figure, quantities)
            else:
                methods = {one["name"]: one.get("method", "") for one in series_of(figure)}
                drawn_as = {"densities": _histogram, "curves": _curves}[kind]
                drawing = drawn_as(figure, quantities, of_series(methods, signals))
            save(drawing, out / name, ["png"])
            drawn.append((name, figure["title"]))
    return drawn


def _map(spec: Mapping[str, Any], quantities: Mapping[str, pd.Series]) -> Figure:
    """Means over seeds by row and column, as colours with their numbers; what was not run is left.

    With `scale: log` equal steps of colour are equal factors.
    """
    cells = {
        row: {column: _mean(expression, quantities) for column, expression in columns.items()}
        for row, columns in map_of(spec, "map").items()
    }
    frame = pd.DataFrame.from_dict(cells, orient="index")
    values = frame.to_numpy(float)
    note = "Numbers: mean over seeds."
    if (values == -np.inf).any():
        note += " -∞: of what is nothing, or less than single precision holds."
    height = 0.34 * len(frame) + 0.2
    left = 0.6 + 0.085 * max(map(len, map(str, frame.index)))
    figure, (axes,) = panels(1, 1, height, spec["title"], note, left=left)
    logarithmic = spec.get("scale") == "log"
    shown = values[np.isfinite(values) & ((values > 0) | (not logarithmic))]
    low, high = spec.get("limits", (shown.min(initial=1), shown.max(initial=1)))
    sns.heatmap(
        frame.replace(-np.inf, low),
        ax=axes,
        annot=frame.map(_short).to_numpy(),
        fmt="",
        annot_kws={"fontsize": 8},
        cmap="cividis",
        norm=(LogNorm if logarithmic else Normalize)(low, high, clip=True),
        linewidths=0.5,
        cbar_kws={"label": spec["value"], "pad": 0.02},
    )
    axes.set(xlabel=spec["x"], ylabel=spec["y"])
    axes.tick_params(length=0, labelrotation=0)
    return figure


def _short(value: float) -> str:
    """Write a number in few letters: 0.035, 12, 100, 3.4e+06, -∞."""
    if np.isinf(value):
        return f"{'-' if value < 0 else ''}∞"
    return f"{value:.0f}" if 10 <= abs(value) < 10_000 else f"{value:.2g}"


def _mean(expression: str, quantities: Mapping[str, pd.Series]) -> float:
    try:
        with np.errstate(divide="ignore"):  # the logarithm of nothing is drawn as what it is
            return float(np.mean(evaluate(expression, quantities)))
    except NotRunError:
        return float("nan")


def _curves(
    spec: Mapping[str, Any], quantities: Mapping[str, pd.Series], look_of: Mapping[str, Look]
) -> Figure:
    """Quantities against a number or by name: marks with intervals measured, crosses not.

    Names are rows, from the top, with a dot for every seed.
    """
    series = series_of(spec)
    entries = [
        (Line2D([], [], ls=look.line, **look.mark(5)), name) for name, look in look_of.items()
    ]
    if any("reference" in one for one in series):
        name = spec.get("reference", "published")
        entries.append((Line2D([], [], color=INK, ls="", marker="x", ms=7, mew=1.6), name))
    along = list(dict.fromkeys(place for one in series for place in points_of(spec, one)))
    named = any(isinstance(_number(name), str) for name in along)
    places = {name: float(index if named else _number(name)) for index, name in enumerate(along)}
    note = f"Marks: mean over seeds and {INTERVAL}.{' Dots: seeds.' if named else ''}"
    rows = max(3.4, (0.3 + 0.12 * (len(series) - 1)) * len(along) + 0.3) if named else 3.4
    figure, axes = _panel(spec, note, entries, height=rows, named=named)
    for index, one in enumerate(series):
        look = look_of[one["name"]]
        # so that no mark hides another
        aside = 0.16 * (index - (len(series) - 1) / 2) if named else 0.0
        # wider, so that what later ones cover looks out
        under = 1.6 * (1 - (index + 1) / len(series))
        shown = {
            place: quantities[key]
            for place, key in points_of(spec, one).items()
            if len(quantities.get(key, ()))
        }
        if shown:
            at = np.array([places[place] + aside for place in shown])
            mean = np.array([values.mean() for values in shown.values()])
            bounds = np.array([interval_of(values) for values in shown.values()])
            bars = np.nan_to_num([mean - bounds[:, 0], bounds[:, 1] - mean]).clip(0)
            axes.errorbar(
                *((mean, at) if named else (at, mean)),
                xerr=bars if named else None,
                yerr=None if named else bars,
                **look.mark(5 + under),
                ls="" if named else look.line,
                lw=1.4 + under,
                capsize=3,
            )
        for place, values in shown.items() if named else ():
            below = places[place] + aside + np.linspace(0.12, 0.3, len(values))
            axes.plot(values, below, ".", color=look.colour, ms=3, alpha=0.6)
        for place, value in one.get("reference", {}).items():
            # as in the legend
            point = (places[place] + aside, value)
            axes.plot(*(point[::-1] if named else point), "x", color=INK, ms=7, mew=1.6, zorder=5)
    if named:
        axes.set_yticks(list(places.values()), along)
        axes.set_ylim(len(along) - 0.4, -0.6)
        if spec.get("y_scale") == "log":
            canvas.log_axis(axes, "x")
        return figure
    if spec.get("x_scale") == "log":
        canvas.log_axis(axes, "x", sorted(places.values()))
    if spec.get("y_scale") == "log":
        canvas.log_axis(axes, "y")
    return figure


def _histogram(
    spec: Mapping[str, Any], quantities: Mapping[str, pd.Series], look_of: Mapping[str, Look]
) -> Figure:
    """How values scatter over seeds, as a density, and the normal law that they should follow."""
    entries = [
        (Line2D([], [], color=look.colour, lw=3, alpha=0.5), name) for name, look in look_of.items()
    ]
    entries.append((Line2D([], [], color=INK), spec["reference"]))
    figure, axes = _panel(spec, "Steps: density over seeds. Lines: the normal law.", entries)
    for series in series_of(spec):
        colour = look_of[series["name"]].colour
        try:
            values = evaluate(series["values"], quantities)
        except NotRunError:
            continue
        sns.histplot(x=values, stat="density", element="step", color=colour, alpha=0.3, ax=axes)
        mean, variance = series["normal"]
        grid = np.linspace(*axes.get_xlim(), 200)
        axes.plot(grid, norm.pdf(grid, mean, variance**0.5), color=colour, lw=1.6)
    axes.set(xlabel=spec["x"], ylabel=spec["y"])
    return figure


def _panel(
    spec: Mapping[str, Any],
    note: str,
    entries: Sequence[tuple[Any, str]],
    height: float = 3.4,
    named: bool = False,
) -> tuple[Figure, Axes]:
    """One titled panel that scales to what is drawn on it; with names, these are its rows."""
    entries = entries if len(entries) > 1 else ()  # one needs no legend
    left = 2.2 if named else 0.9
    figure, (axes,) = panels(1, 1, height, spec["title"], note, entries, left=left)
    axes.set_autoscale_on(True)
    x, y = (spec["y"], spec["x"]) if named else (spec["x"], spec["y"])
    axes.set(xlabel=x, ylabel=y)
    axes.grid(visible=True, color="#e6e6e6", lw=0.7)
    return figure, axes


def _number(place: Any) -> float | str:
    """Read a place on the axis: keys of JSON are text."""
    try:
        return float(place)
    except ValueError:
        return str(place)
