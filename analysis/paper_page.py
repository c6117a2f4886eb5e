"""A paper's page and figure, from what was measured."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis import canvas
from analysis.canvas import INK, looks, panels, save, style
from analysis.claims import Judged
from analysis.statistics import bootstrap_interval
from analysis.tables import Tables

SEED = 0  # of the drawn and printed intervals
HOW = {
    "read": "read in the source",
    "recalled": "from memory, so only the relation is checked",
    "exact": "theory",
    "measured": "measured by a re-implementation",
}


def markdown(
    paper: Mapping[str, Any],
    tables: Tables,
    quantities: Mapping[str, pd.Series],
    judged: Sequence[Judged],
    figures: Sequence[tuple[str, str]],
) -> str:
    """Return the page: verdicts, figures, quantities, departures, cost and provenance."""
    manifests = list(tables.manifests.values())
    commits = ", ".join(sorted({str(manifest.get("commit", ""))[:12] for manifest in manifests}))
    wall = sum(float(manifest.get("wall_seconds", 0)) for manifest in manifests)
    command = f"beyond +paper={paper['name']}" + ("" if paper["scale"] == "fast" else f" scale={paper['scale']}")
    lines = [
        f"# {paper['title']}",
        "",
        paper["citation"],
        "",
        f"`{command}` at commit {commits}: {len(manifests)} cells, {wall:,.0f} s of work on one core each.",
        "",
        "| claim | published | how it is known | measured [95 % interval] | seeds | verdict |",
        "|---|---|---|---|---|---|",
        *claim_rows(judged),
        "",
        *map(_criterion, judged),
        "",
        *itertools.chain.from_iterable((f"![{alt}]({name}.png)", "") for name, alt in figures),
        "## What differs from the source",
        "",
        *(f"- {line}" for line in paper.get("departures", ["Nothing known."])),
        "",
        "## Quantities",
        "",
        "Means over seeds with percentile bootstrap intervals, from the run tables.",
        "",
        "| quantity | mean [95 % interval] | seeds |",
        "|---|---|---|",
        *measured_rows(quantities),
        "",
    ]  # fmt: skip
    return "\n".join(lines)


def _criterion(one: Judged) -> str:
    """What would make a claim hold, and why that much."""
    claim = one.claim
    expressions = " and ".join(f"`{expression}`" for expression in claim.holds)
    return f"- **{claim.id}** {f'holds if {expressions}' if expressions else 'is not measured'}. {claim.why}"


def claim_rows(judged: Sequence[Judged]) -> list[str]:
    """One row a claim."""
    rows = []
    for one in judged:
        claim = one.claim
        found = f" {claim.reimplemented}" if claim.reimplemented else ""
        known = f"{HOW[claim.how]}{found}: {claim.source}"
        cells = [
            f"{claim.id} {claim.says}",
            claim.published or "-",
            known,
            one.measured or "-",
            str(one.n_seeds or "-"),
        ]
        rows.append(f"| {' | '.join(cells)} | **{one.verdict}** |")
    return rows


def measured_rows(quantities: Mapping[str, pd.Series]) -> list[str]:
    """One row a quantity that was run."""
    rng = np.random.default_rng(SEED)
    rows = []
    for name, values in quantities.items():
        if len(values):
            low, high = bootstrap_interval(values.to_numpy(), rng, 1000)
            interval = f" [{low:.4g}, {high:.4g}]" if np.isfinite(values).all() and np.isfinite(low) else ""
            rows.append(f"| {name} | {values.mean():.4g}{interval} | {len(values)} |")
    return rows


def draw(paper: Mapping[str, Any], quantities: Mapping[str, pd.Series], out: Path) -> list[tuple[str, str]]:
    """Draw the paper's figures as PNG and SVG; return the files' names and their texts for those who cannot see."""
    drawn = []
    with style():
        for index, figure in enumerate(paper.get("figures", ()), 1):
            name = f"figure-{index}"
            save(_figure(figure, quantities), out / name)
            drawn.append((name, figure["title"]))
    return drawn


def _figure(spec: Mapping[str, Any], quantities: Mapping[str, pd.Series]) -> Figure:
    """Quantities against a number or a name: marks and intervals measured, crosses what they are compared with."""
    own = looks([series["name"] for series in spec["series"]])
    entries = [
        (Line2D([], [], color=look.colour, ls=look.line, marker=look.marker, ms=5), name) for name, look in own.items()
    ]
    if any("reference" in series for series in spec["series"]):
        name = spec.get("reference", "published")
        entries.append((Line2D([], [], color=INK, ls="", marker="x", ms=7, mew=1.6), name))
    names = list(dict.fromkeys(place for series in spec["series"] for place in series["points"]))
    categories = any(isinstance(_number(name), str) for name in names)
    places = {name: float(index if categories else _number(name)) for index, name in enumerate(names)}
    figure, (axes,) = panels(1, 1, 3.4, spec["title"], "Marks: mean and 95 % bootstrap interval over seeds.", entries)
    axes.set_autoscale_on(True)
    axes.set(xlabel=spec["x"], ylabel=spec["y"])
    axes.grid(visible=True, color="#e6e6e6", lw=0.7)
    rng = np.random.default_rng(SEED)
    for index, series in enumerate(spec["series"]):
        look = own[series["name"]]
        aside = 0.12 * (index - (len(spec["series"]) - 1) / 2) if categories else 0.0  # so that no mark hides another
        under = 0.8 * (len(spec["series"]) - 1 - index)  # what later ones cover still looks out
        shown = {place: quantities[key] for place, key in series["points"].items() if len(quantities.get(key, ()))}
        if shown:
            mean = np.array([values.mean() for values in shown.values()])
            bounds = np.array([bootstrap_interval(values.to_numpy(), rng, 1000) for values in shown.values()])
            bars = np.nan_to_num([mean - bounds[:, 0], bounds[:, 1] - mean]).clip(0)
            axes.errorbar(
                [places[place] + aside for place in shown], mean, bars, color=look.colour, marker=look.marker,
                ls="" if categories else look.line, ms=5 + under, lw=1.4 + under, capsize=3,
            )  # fmt: skip
        for place, value in series.get("reference", {}).items():
            axes.plot(places[place] + aside, value, "x", color=look.colour, ms=7, mew=1.6, zorder=5)
    if categories:
        axes.set_xticks(list(places.values()), [canvas.wrapped(name, 1.4) for name in names])
    elif spec.get("x_scale") == "log":
        canvas.log_axis(axes, "x", sorted(places.values()))
    if spec.get("y_scale") == "log":
        canvas.log_axis(axes, "y")
    return figure


def _number(place: Any) -> float | str:
    """Read a place on the axis: keys of JSON are text."""
    try:
        return float(place)
    except ValueError:
        return str(place)
