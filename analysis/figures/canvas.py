"""What the figures share: a look per arm, panels in inches, axes for costs, files that stay equal.

Layout and ticks are by hand: matplotlib's automatic ones take more than half of all drawing.
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from math import ceil, floor, log10
from pathlib import Path
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator
from PIL import Image

from analysis.figures.looks import INK, Look
from analysis.files import ALSO, write
from analysis.statistics.inference import Array
from analysis.summaries.trajectories import Band
from analysis.tables import limits_of
from analysis.words.columns import folded

WIDTH = 10.0  # inches; a report shows them as 1000 pixels
DPI = 130
FAINT = "#666666"
_UNDATED: dict[str, dict[str, None]] = {
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Producer": None},
}
LINE_HEIGHT = 0.165  # inches, of the small text
_LETTER = 0.073  # inches, mean width of a letter of the small text
_STYLE: dict[Any, Any] = {
    **sns.axes_style("whitegrid"),
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 8.5,
    "axes.labelsize": 8.5,
    "axes.titlesize": 8.5,
    "axes.edgecolor": "#aaaaaa",
    "axes.grid": False,
    "text.color": INK,
    "axes.labelcolor": INK,
    "svg.hashsalt": "beyond",
    "svg.fonttype": "none",
    "pdf.fonttype": 42,  # letters that can be searched and copied
}


@contextmanager
def style() -> Iterator[None]:
    """Draw with the report's settings, whatever the user's are, and put those back."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_STYLE)
        yield
        shown_at_once = mpl.is_interactive()  # turned on as a notebook draws its first figure
    mpl.interactive(shown_at_once)


def _detached(size: tuple[float, float]) -> Figure:
    """Make a figure that no window shows: for a file."""
    figure = Figure(figsize=size)
    FigureCanvasAgg(figure)
    return figure


_new_figure: ContextVar[Callable[[tuple[float, float]], Figure]] = ContextVar(
    "new_figure", default=_detached
)


@contextmanager
def by_pyplot() -> Iterator[None]:
    """Make figures that `matplotlib.pyplot` knows: notebooks show them, `plt.show` too."""
    from matplotlib import pyplot as plt

    token = _new_figure.set(lambda size: plt.figure(figsize=size))
    try:
        yield
    finally:
        _new_figure.reset(token)


def panels(
    n: int,
    columns: int,
    height: float,
    title: str,
    note: str,
    entries: Sequence[tuple[Any, str]] = (),
    *,
    left: float = 0.75,
    right: float = 0.15,
    bottom: float = 0.45,
    gaps: tuple[float, float] = (0.25, 0.55),
    headed: int = 0,
) -> tuple[Figure, list[Axes]]:
    """Make a figure with n panels in rows, a title above, and a legend below that covers no data.

    Parameters
    ----------
    height : float
        Of a panel, in inches, as are the margins and `gaps` (between columns, and between rows
        without titles).
    note : str
        Smaller, below the title: what is drawn, and what is not.
    entries : list of (handle, label)
        The legend.
    headed : int
        Lines of the titles above the panels.
    """
    columns, gaps = min(columns, n), (gaps[0], gaps[1] + LINE_HEIGHT * headed)
    rows = ceil(n / columns)
    notes = [
        line
        for part in note.splitlines()
        for line in textwrap.wrap(part, int((WIDTH - 0.3) / _LETTER))
    ]
    longest = max((len(label) for _, label in entries), default=0)
    per_row = max(1, int((WIDTH - 0.3) / (0.6 + _LETTER * longest)))
    legend = LINE_HEIGHT * ceil(len(entries) / per_row) + (0.12 if entries else 0)
    top = 0.4 + LINE_HEIGHT * len(notes) + LINE_HEIGHT * headed + 0.05
    total = top + rows * height + (rows - 1) * gaps[1] + bottom + legend
    width = (WIDTH - left - right - (columns - 1) * gaps[0]) / columns
    figure = _new_figure.get()((WIDTH, total))
    figure.text(0.1 / WIDTH, 1 - 0.1 / total, title, va="top", fontsize=11, fontweight="bold")
    figure.text(
        0.1 / WIDTH, 1 - 0.34 / total, "\n".join(notes), va="top", color=FAINT, linespacing=1.25
    )
    axes: list[Axes] = []
    for index in range(n):
        row, column = divmod(index, columns)
        x, y = left + column * (width + gaps[0]), total - top - row * (height + gaps[1]) - height
        panel = figure.add_axes(
            (x / WIDTH, y / total, width / WIDTH, height / total), autoscale_on=False
        )
        panel.set_title("", loc="left", y=1, pad=5)
        panel.xaxis.set_label_coords(0.5, -(bottom - 0.18) / height)
        panel.yaxis.set_label_coords(-(left - 0.22) / width, 0.5)
        axes.append(panel)
    if entries:
        handles, labels = zip(*entries, strict=True)
        figure.legend(
            handles,
            labels,
            loc="lower left",
            bbox_to_anchor=(0.1 / WIDTH, 0),
            ncol=per_row,
            frameon=False,
            handlelength=3.2,
            columnspacing=1.2,
            labelspacing=0.35,
            borderaxespad=0.2,
        )
    return figure, axes


def wrapped(label: str, inches: float) -> str:
    """Break a label into lines of the given width, see `columns.folded`."""
    return folded(label, max(12, int(inches / _LETTER)))


def draw_bars(axes: Axes, x: Array, band: Band, look: Look, place: int, n: int) -> None:
    """Draw a mean and, at every n-th point from `place` on, its interval: n arms take turns."""
    whole = np.flatnonzero(band.lost == 0)
    marked = whole[place % max(1, len(whole)) :: n]
    axes.vlines(x[marked], band.low[marked], band.high[marked], **look.paint, lw=1, alpha=0.8)
    draw_mean(axes, x, band, look, marked.tolist())


def draw_mean(axes: Axes, x: Array, band: Band, look: Look, marked: Sequence[int] = ()) -> None:
    """Draw a mean, marks at some points, and a cross where a replica was lost, then faint."""
    if len(x) == 1:
        axes.plot(x, band.mean, **look.mark(6), ls="")
        return
    line = look.paint | {"ls": look.line, "lw": 1.4}
    whole = band.lost == 0
    axes.plot(
        x[whole],
        band.mean[whole],
        **look.mark(4) | line,
        markevery=list(marked),
    )
    if not whole.all():
        last = max(int(np.argmin(whole)) - 1, 0)
        axes.plot(x[last:], band.mean[last:], **line, alpha=0.35)
        axes.plot(x[last], band.mean[last], **look.paint, marker="x", ms=7, mew=2, ls="", zorder=4)


class CostAxis:
    """A logarithmic axis whose left end is the start, where nothing has been spent.

    Positions are decimal logarithms on a linear axis, which draws faster than a logarithmic one.

    Parameters
    ----------
    costs : array
        All that will be drawn on it.
    beyond : float
        Room to the right of the largest, as a fraction of the axis.
    """

    def __init__(self, costs: Iterable[float], beyond: float = 0.02) -> None:
        costs = np.asarray(list(costs), float)
        positive = costs[np.isfinite(costs) & (costs > 0)]
        bounds = (positive.min(), positive.max()) if len(positive) else (1.0, 10.0)
        self.low, self.high = log10(bounds[0]), log10(bounds[1])
        self.decades = max(self.high - self.low, 0.3)
        self.start = self.low - 0.08 * self.decades
        self.right = self.high + beyond * self.decades

    def place(self, costs: Array) -> Array:
        """Positions of costs; zero is the start."""
        return np.log10(costs, out=np.full(np.shape(costs), self.start), where=costs > 0)

    def dress(self, axes: Axes, named: bool = True, lane: float | None = None) -> None:
        """Limits and ticks; the start is ticked 0, a lane for misses by its name."""
        axes.set_xlim(self.start - 0.01 * self.decades, self.right)
        ticks = {self.start: "0"} if lane is None else {self.start: "0", lane: "not\nreached"}
        inch = (self.right - self.start) * axes.figure.dpi / axes.get_window_extent().width
        for value in _ticks(10**self.low, 10**self.high, 6):
            place, name = log10(value), short(value)
            if all(
                abs(place - other) > inch * _apart(name, known) for other, known in ticks.items()
            ):
                ticks[place] = name
        draw_ticks(axes, "x", ticks, named)


def log_axis(axes: Axes, side: Literal["x", "y"], values: Sequence[float] = ()) -> None:
    """Make an axis logarithmic, with ticks at those ascending `values` that have room, or round."""
    upright = side == "x"
    axis = axes.xaxis if upright else axes.yaxis
    (axes.set_xscale if upright else axes.set_yscale)("log")
    low, high = axes.get_xlim() if upright else axes.get_ylim()
    ticks: list[float] = []
    for value in values:
        if not ticks or log10(value / ticks[-1]) > 0.04 * log10(high / low):
            ticks.append(value)
    axis.set_major_locator(FixedLocator(ticks or _ticks(low, high, 8)))
    axis.set_major_formatter(lambda value, _: short(value))
    axis.set_minor_locator(NullLocator())


def _apart(one: str, other: str) -> float:
    """Inches between the middles of two ticks' names that leave each other room."""
    letters = sum(max(map(len, name.split("\n"))) for name in (one, other))
    return 0.5 * _LETTER * letters + 0.08


def _ticks(low: float, high: float, most: int) -> list[float]:
    """Round numbers between two positive ones: powers of ten, thinned out, or more where few."""
    powers = range(ceil(log10(low) - 1e-9), floor(log10(high) + 1e-9) + 1)
    if len(powers) < 3:
        digits = (1, 3) if len(powers) == 2 else (1, 2, 5)
        steps = [
            digit * 10.0**power
            for power in range(powers.start - 1, powers.stop + 1)
            for digit in digits
        ]
        found = [step for step in steps if low <= step <= high]
        if len(found) < 2:  # less than a factor of two or so
            even = MaxNLocator(4, steps=[1, 2, 5, 10]).tick_values(low, high)
            found = [float(step) for step in even if low <= step <= high]
        return found
    return [10.0**power for power in powers][:: ceil(len(powers) / most)]


def draw_ticks(
    axes: Axes, side: Literal["x", "y"], ticks: Mapping[float, str], named: bool = True
) -> None:
    """Draw a grid line at each position, and its name unless a neighbouring panel has it."""
    upright = side == "x"
    axis = axes.xaxis if upright else axes.yaxis
    along = axes.get_xaxis_transform() if upright else axes.get_yaxis_transform()
    axis.set_major_locator(NullLocator())
    lines = [((place, 0), (place, 1)) if upright else ((0, place), (1, place)) for place in ticks]
    grid = LineCollection(lines, colors="#e6e6e6", linewidths=0.7, transform=along, zorder=-1)
    axes.add_collection(grid, autolim=False)
    if not named:
        return
    box, dpi = axes.get_window_extent(), axes.figure.dpi
    for place, name in ticks.items():
        at = (place, -0.07 * dpi / box.height) if upright else (-0.08 * dpi / box.width, place)
        alignment: Any = (
            {"ha": "center", "va": "top"} if upright else {"ha": "right", "va": "center"}
        )
        axes.text(*at, name, transform=along, fontsize=8, **alignment)


def score_ticks(limits: tuple[float, float], most: int = 7) -> dict[float, str]:
    """Positions and names of round scores within limits."""
    places = MaxNLocator(most, steps=[1, 2, 5, 10]).tick_values(*limits)
    return {place: f"{round(place, 10):g}" for place in places if limits[0] <= place <= limits[1]}


def short(value: float) -> str:
    """Write a tick: 0.01, 500, 10⁶."""
    if 1e-3 <= value < 1e5:
        return f"{value:g}"
    mantissa, exponent = f"{value:.2e}".split("e")
    mantissa = mantissa.rstrip("0").rstrip(".")
    power = "10" + str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return power if mantissa == "1" else f"{mantissa} · {power}"


def score_limits(values: Array, score: str) -> tuple[float, float]:
    """Limits of a score's axis that a few far values cannot blow up.

    A share, such as an accuracy, is bounded and keeps its range; R² ends at -0.5, below which a
    model is useless anyway; anything else ends one spread of the middle 90 % beyond it, where a
    value lies ten spreads away.
    """
    values = values[np.isfinite(values)]
    if not len(values):
        return 0.0, 1.0
    low, high = float(values.min()), float(values.max())
    if score == "r2_score":
        low, high = max(low, -0.5), max(high, -0.4)
    elif not np.isfinite(limits_of(score)).all():
        five, ninety_five = np.quantile(values, [0.05, 0.95])
        spread = ninety_five - five
        if high - low > 10 * spread > 0:
            low, high = max(low, five - spread), min(high, ninety_five + spread)
    margin = 0.04 * (high - low) or 0.05
    return low - margin, high + margin


def level_line(axes: Axes, value: float) -> None:
    """A level that scores are held against, behind all else."""
    axes.axhline(value, color=FAINT, lw=0.8, ls=(0, (1, 2)), zorder=0)


def off_axis(values: Mapping[str, Array], limits: tuple[float, float], what: str) -> str:
    """Say how many values lie outside, and of which arms; empty if none does."""
    outside = {
        arm: int(((scores < limits[0]) | (scores > limits[1])).sum())
        for arm, scores in values.items()
    }
    arms = [arm for arm, count in outside.items() if count]
    if not arms:
        return ""
    count, total = sum(outside.values()), sum(map(len, values.values()))
    return f"{count} of {total} {what} lie off the axis: {', '.join(arms)}."


def save(figure: Figure, stem: Path, also: Collection[str] = ()) -> tuple[bytes, list[Path]]:
    """Write SVG, and what of `files.ALSO` is asked for; the same bytes for the same figure.

    A file of another format that was made before is removed: it would show what was found then.

    Returns
    -------
    bytes
        The SVG.
    list of Path
        What was written.
    """
    paths = {kind: stem.with_name(f"{stem.name}.{kind}") for kind in ("svg", *ALSO)}
    asked = [kind for kind in paths if kind in {"svg", *also}]
    # SVG last: a page takes apart what it has left of the layout
    contents = {kind: _content(figure, kind) for kind in reversed(asked)}
    for kind, path in paths.items():
        if kind in contents:
            write(path, contents[kind])
        else:
            path.unlink(missing_ok=True)
    return contents["svg"], [paths[kind] for kind in asked]


def _content(figure: Figure, kind: str) -> bytes:
    """Return a figure's file of a format, without what differs from day to day."""
    file = io.BytesIO()
    if kind == "png":
        _indexed(_pixels(figure)).save(file, "png")
    else:
        figure.savefig(file, format=kind, metadata=_UNDATED[kind])
    return file.getvalue()


def _pixels(figure: Figure) -> Array:
    """Return a figure's pixels (height, width, 4) at `DPI`, and leave its resolution as it was."""
    before = figure.dpi
    figure.set_dpi(DPI)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    figure.set_dpi(before)
    return np.asarray(canvas.buffer_rgba())


def _indexed(pixels: Array) -> Image.Image:
    """Give opaque pixels a palette: a third of the size.

    White, which most of a figure is, has the last place, and only the rest is looked through.
    The octree would be smaller still, but loses pale colours.
    """
    inked = pixels.view(np.uint32)[..., 0] != 0xFFFFFFFF
    places = np.full(inked.shape, 255, np.uint8)
    colours = list[int]()
    if inked.any():
        marks = Image.fromarray(pixels[inked][None, :, :3]).quantize(
            255, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE
        )
        places[inked] = np.asarray(marks)[0]
        colours = (marks.getpalette() or [])[: 3 * 255]
    image = Image.fromarray(places)
    image.putpalette([*colours, *[255] * (3 * 256 - len(colours))])
    return image
