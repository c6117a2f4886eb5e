"""Where the gradient vanishes or explodes: its norm by depth and training, as maps."""

from __future__ import annotations

from math import ceil, floor

import matplotlib as mpl
import numpy as np
from matplotlib.colors import Colormap, ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from analysis.figures import canvas
from analysis.figures.canvas import LINE_HEIGHT, CostAxis, panels, short
from analysis.figures.training import Picture, joined, seeds
from analysis.statistics.inference import Array
from analysis.summaries.trajectories import GRADIENT_RANGE, Band, forward_fill, gradient_bands
from analysis.tables import Tables

VANISHING, EXPLODING = 1e-4, 1e2  # gradient norms
DECADES = 3  # above and below the last layer's norm, at which the map of ratios ends
_ENDS = ("#2f74c0", "#c8322b")  # of vanishing and exploding gradients
_GREYS = ListedColormap(mpl.colormaps["Greys"](np.linspace(0.06, 0.85, 256)))
_DIVERGING = ListedColormap(mpl.colormaps["RdBu_r"](np.linspace(0.04, 0.96, 257)))
_CELLS = 90  # columns of a map
_COLUMNS = 4  # of panels
_BATCHES = {
    "gradient_norm": ("gradient-norm", "validation"),
    "train_gradient_norm": ("train-gradient-norm", "training"),
}


def gradient_norms(tables: Tables, task: str, norm: str = "gradient_norm") -> Picture | None:
    """Norm of the true gradient, a map for each arm: depth upwards, training to the right.

    Parameters
    ----------
    norm : str
        Of the layers table: on the probe's validation examples, or on as many of training.
    """
    arms = {
        arm: bands
        for arm, bands in gradient_bands(tables, task, "epochs", norm).items()
        if max(len(band.cost) for band in bands.values()) > 1  # the others spent nothing
    }
    if not arms:
        return None
    name, split = _BATCHES[norm]
    every = [band for bands in arms.values() for band in bands.values()]
    logs = joined(band.mean for band in every)
    low = max(np.log10(VANISHING), floor(np.nanmin(logs)))
    high = max(min(np.log10(EXPLODING), ceil(np.nanmax(logs))), low + 1)
    note = (
        f"Colour: geometric mean of the norm over {seeds(band.n for band in every)}, on the "
        f"probe's {split} examples, whether the method uses gradients or not. Rows: layers, the "
        "input's at the bottom."
    )
    if (logs <= np.log10(GRADIENT_RANGE[0])).any():
        note += f"\nNorms below {short(GRADIENT_RANGE[0])}, zero among them, count as that."
    colours = _GREYS.with_extremes(under=_ENDS[0], over=_ENDS[1], bad="white")
    middle = [
        (Patch(color=colours((tick - low) / (high - low))), short(10.0**tick))
        for tick in np.linspace(low, high, round(high - low) + 1)
    ]
    vanishing = (Patch(color=_ENDS[0]), f"vanishing: < {short(VANISHING)}")
    exploding = (Patch(color=_ENDS[1]), f"exploding: > {short(EXPLODING)}")
    entries = [
        *([vanishing] if np.nanmin(logs) < np.log10(VANISHING) else []),
        *middle,
        *([exploding] if np.nanmax(logs) > np.log10(EXPLODING) else []),
    ]
    title = f"{task}: gradient norm by layer, {split}"
    picture = _maps(arms, title, note, entries, colours, Normalize(low, high))
    alt = f"Heat maps: gradient norm of each layer on {task} along training, one for each arm."
    return Picture(name, alt, picture)


def gradient_ratios(tables: Tables, task: str) -> Picture | None:
    """Norm of the true gradient over that of the last layer, a map for each arm."""
    arms = gradient_bands(tables, task, "epochs")
    ratios: dict[str, dict[int, Band]] = {}
    for arm, bands in arms.items():
        last = bands[max(bands)]
        if len(bands) > 1 and len(last.cost) > 1:
            ratios[arm] = {depth: _over(band, last) for depth, band in bands.items()}
    if not ratios:
        return None
    every = [band for bands in ratios.values() for band in bands.values()]
    note = (
        "Colour: the norm as a ratio to the last layer's at the same time, geometric mean over "
        f"{seeds(band.n for band in every)}, on the probe's validation examples. Blue: the error "
        "weakens on its way back, red: it grows. Rows: layers, the input's at the bottom."
    )
    reach = min(ceil(np.nanmax(np.abs(joined(band.mean for band in every)))), DECADES)
    low, high = -max(reach, 1), max(reach, 1)
    colours = _DIVERGING.with_extremes(bad="white")
    entries = [
        (
            Patch(color=colours((tick - low) / (high - low))),
            ("≤ " if tick == low else "≥ " if tick == high else "") + short(10.0**tick),
        )
        for tick in range(low, high + 1)
    ]
    title = f"{task}: gradient norm over that of the last layer"
    picture = _maps(ratios, title, note, entries, colours, Normalize(low, high, clip=True))
    alt = (
        f"Heat maps: gradient norm of each layer on {task} over the last layer's along training, "
        "one for each arm."
    )
    return Picture("gradient-ratio", alt, picture)


def _over(band: Band, last: Band) -> Band:
    """Difference of two logarithms, where both are known."""
    at = forward_fill(last.cost, last.mean, band.cost)
    return Band(band.cost, band.mean - at, band.low, band.high, band.lost, band.n)


def _maps(
    arms: dict[str, dict[int, Band]],
    title: str,
    note: str,
    entries: list[tuple[Patch, str]],
    colours: Colormap,
    scale: Normalize,
) -> Figure:
    """A panel for each arm."""
    titles = [canvas.wrapped(arm, 2.2) for arm in arms]
    most = max(len(bands) for bands in arms.values())
    figure, axes = panels(
        len(arms),
        _COLUMNS,
        max(0.5, min(0.16 * most, 2.4)),
        title,
        note,
        entries,
        left=0.6,
        gaps=(0.6, 0.15 + LINE_HEIGHT),
        headed=max(name.count("\n") + 1 for name in titles),
    )
    axis = CostAxis(joined(band.cost for bands in arms.values() for band in bands.values()))
    for index, (panel, bands) in enumerate(zip(axes, arms.values(), strict=True)):
        panel.imshow(
            _grid(bands, axis),
            cmap=colours,
            norm=scale,
            origin="lower",
            extent=(axis.start, axis.high, 0.5, len(bands) + 0.5),
            aspect="auto",
            interpolation="none",
        )
        panel.set_title(titles[index], loc="left")
        below = index + _COLUMNS >= len(arms)
        axis.dress(panel, named=below)
        panel.set_ylim(0.5, len(bands) + 0.5)
        step = max(1, round(len(bands) / 8))
        canvas.draw_ticks(panel, "y", {row: str(row) for row in range(1, len(bands) + 1, step)})
        panel.set_xlabel("backprop epochs" if below else "")
        panel.set_ylabel("depth")
    return figure


def _grid(bands: dict[int, Band], axis: CostAxis) -> Array:
    """Values by depth, (n_depths, n_columns), at evenly spaced places of a cost's axis."""
    edges = np.linspace(axis.start, axis.high, _CELLS + 1)
    ends = edges[1:] + 1e-9  # a column has what was known at its end
    rows = []
    for depth in sorted(bands):
        places = axis.place(bands[depth].cost)
        known = ends <= places[-1] + (edges[1] - edges[0])
        rows.append(np.where(known, forward_fill(places, bands[depth].mean, ends), np.nan))
    return np.array(rows)
