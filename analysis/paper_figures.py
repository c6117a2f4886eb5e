"""A paper's figures, redrawn from what was measured: curves along an axis, scatter over seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from scipy.stats import norm

from analysis import canvas
from analysis.canvas import panels, save, style
from analysis.claims import NotRunError, evaluate
from analysis.looks import INK, distinct
from analysis.statistics import INTERVAL, mean_interval


def draw(
    paper: Mapping[str, Any], quantities: Mapping[str, pd.Series], out: Path
) -> list[tuple[str, str]]:
    """Draw the paper's figures as PNG and SVG; return their file names and alternative texts."""
    drawn = []
    with style():
        for index, figure in enumerate(paper.get("figures", ()), 1):
            name = f"figure-{index}"
            kind = _histogram if "values" in figure["series"][0] else _curves
            save(kind(figure, quantities), out / name)
            drawn.append((name, figure["title"]))
    return drawn


def _curves(spec: Mapping[str, Any], quantities: Mapping[str, pd.Series]) -> Figure:
    """Quantities against a number or a name: marks with intervals measured, crosses not."""
    look_of = distinct([series["name"] for series in spec["series"]])
    entries = [
        (Line2D([], [], color=look.colour, ls=look.line, marker=look.marker, ms=5), name)
        for name, look in look_of.items()
    ]
    if any("reference" in series for series in spec["series"]):
        name = spec.get("reference", "published")
        entries.append((Line2D([], [], color=INK, ls="", marker="x", ms=7, mew=1.6), name))
    along = list(dict.fromkeys(place for series in spec["series"] for place in series["points"]))
    categories = any(isinstance(_number(name), str) for name in along)
    places = {
        name: float(index if categories else _number(name)) for index, name in enumerate(along)
    }
    figure, axes = _panel(spec, f"Marks: mean over seeds and {INTERVAL}.", entries)
    for index, series in enumerate(spec["series"]):
        look = look_of[series["name"]]
        # so that no mark hides another
        aside = 0.12 * (index - (len(spec["series"]) - 1) / 2) if categories else 0.0
        # wider, so that what later ones cover looks out
        under = 1.6 * (1 - (index + 1) / len(spec["series"]))
        shown = {
            place: quantities[key]
            for place, key in series["points"].items()
            if len(quantities.get(key, ()))
        }
        if shown:
            mean = np.array([values.mean() for values in shown.values()])
            bounds = np.array([mean_interval(values.to_numpy()) for values in shown.values()])
            bars = np.nan_to_num([mean - bounds[:, 0], bounds[:, 1] - mean]).clip(0)
            axes.errorbar(
                [places[place] + aside for place in shown],
                mean,
                bars,
                color=look.colour,
                marker=look.marker,
                ls="" if categories else look.line,
                ms=5 + under,
                lw=1.4 + under,
                capsize=3,
            )
        for place, value in series.get("reference", {}).items():
            # as in the legend
            axes.plot(places[place] + aside, value, "x", color=INK, ms=7, mew=1.6, zorder=5)
    if categories:
        axes.set_xticks(list(places.values()), [canvas.wrapped(name, 1.4) for name in along])
    elif spec.get("x_scale") == "log":
        canvas.log_axis(axes, "x", sorted(places.values()))
    if spec.get("y_scale") == "log":
        canvas.log_axis(axes, "y")
    return figure


def _histogram(spec: Mapping[str, Any], quantities: Mapping[str, pd.Series]) -> Figure:
    """How values scatter over seeds, as a density, and the normal law that they should follow."""
    look_of = distinct([series["name"] for series in spec["series"]])
    entries = [
        (Line2D([], [], color=look.colour, lw=3, alpha=0.5), name) for name, look in look_of.items()
    ]
    entries.append((Line2D([], [], color=INK), spec["reference"]))
    figure, axes = _panel(spec, "Steps: density over seeds. Lines: the normal law.", entries)
    for series in spec["series"]:
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
    spec: Mapping[str, Any], note: str, entries: Sequence[tuple[Any, str]]
) -> tuple[Figure, Axes]:
    """One titled panel that scales to what is drawn on it."""
    figure, (axes,) = panels(1, 1, 3.4, spec["title"], note, entries, left=0.9)
    axes.set_autoscale_on(True)
    axes.set(xlabel=spec["x"], ylabel=spec["y"])
    axes.grid(visible=True, color="#e6e6e6", lw=0.7)
    return figure, axes


def _number(place: Any) -> float | str:
    """Read a place on the axis: keys of JSON are text."""
    try:
        return float(place)
    except ValueError:
        return str(place)
