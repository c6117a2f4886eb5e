"""Where names stand beside what they name: at ends of lines, and around points, none on another."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path
from numpy.typing import ArrayLike, NDArray

from analysis.figures.colours import readable
from analysis.statistics.inference import Array

SIZE = 8.0  # points, of a name
GAP = 0.3  # inches between a panel and the names at the ends of its lines
_APART = 0.035  # inches around a name that are kept free
_AWAY = (0.0, 0.06, 0.13, 0.22, 0.33, 0.46, 0.62, 0.8, 1.0, 1.3, 1.6)  # inches from a mark
_TURNS = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (1, -1), (-1, 1), (-1, -1))
_CROSSED = 0.12  # inches further away that a name goes rather than cross a bar
_STRAYED = 0.3  # or rather than stand nearer to another mark than to its point
_MARK = 0.05  # inches from the middle of a mark to its edge


@cache
def width(name: str, size: float = SIZE) -> float:
    """Inches that a line of text takes."""
    font = FontProperties(family="DejaVu Sans", size=size)
    return text_to_path.get_text_width_height_descent(name, font, ismath=False)[0] / 72


def spread(wanted: ArrayLike, room: ArrayLike, low: float, high: float) -> Array:
    """Middles as near as can be to the wanted ones, in their order, so that none meets another.

    The sum of squared distances is least: isotonic regression of what is left after each has been
    moved by the room of those below (Best & Chakravarti, 1990). Where there is not enough room they
    share what there is.

    Parameters
    ----------
    wanted : array of shape (n,)
    room : float or array of shape (n,)
        That each takes.
    low, high : float
        Between which they stand.

    Returns
    -------
    array of shape (n,)
    """
    wanted = np.asarray(wanted, float)
    if not len(wanted):
        return wanted
    order = np.argsort(wanted, kind="stable")
    rooms = np.broadcast_to(np.asarray(room, float), wanted.shape)[order]
    rooms = rooms * min(1.0, (high - low) / rooms.sum())
    steps = np.concatenate([[0], np.cumsum((rooms[1:] + rooms[:-1]) / 2)])
    blocks: list[tuple[float, int]] = []  # mean and size of those that move together
    for value in wanted[order] - steps:
        mean, size = float(value), 1
        while blocks and blocks[-1][0] >= mean:
            other, more = blocks.pop()
            mean, size = (mean * size + other * more) / (size + more), size + more
        blocks.append((mean, size))
    level = np.repeat([mean for mean, _ in blocks], [size for _, size in blocks])
    last = max(low + rooms[0] / 2, high - rooms[-1] / 2 - steps[-1])  # rounding may turn the two
    placed = np.empty(len(wanted))
    placed[order] = np.clip(level, low + rooms[0] / 2, last) + steps
    return placed


def around(
    points: Array, names: list[str], size: tuple[float, float], taken: Array, bars: Array
) -> list[Array | None]:
    """Find each name a place near its point: on no other name, on no mark, within the panel.

    The nearest free place is taken, those that cross a bar, or are nearer to another mark, last.
    The first name to be placed chooses first; one for which there is no place within reach has
    None.

    Parameters
    ----------
    points : array of shape (n, 2)
        In inches from the panel's lower left corner.
    size : (float, float)
        Of the panel, in inches.
    taken, bars : array of shape (m, 4)
        Boxes on which no name may stand, and on which it had better not: left, bottom, right, top.

    Returns
    -------
    list of array of shape (2,)
        Lower left corners of the names.
    """
    height = 1.2 * SIZE / 72
    marks = np.concatenate([np.concatenate([points - _MARK, points + _MARK], axis=1), taken])
    boxes = [*marks]
    away, turns = (np.repeat(_AWAY, len(_TURNS)), np.tile(np.array(_TURNS), (len(_AWAY), 1)))
    places = []
    for index, (point, name) in enumerate(zip(points, names, strict=True)):
        extent = np.array([width(name), height])
        # the middle of the near side, or the near corner, stands off by so much
        corners = point + turns * (_MARK + _APART + away)[:, None] + extent * (turns - 1) / 2
        found = np.concatenate([corners, corners + extent], axis=1)  # (candidates, 4)
        inside = (found[:, :2] >= 0).all(axis=1) & (found[:, 2:] <= size).all(axis=1)
        free = np.flatnonzero(inside & ~_meet(found, np.array(boxes)).any(axis=1))
        if len(free):
            crossed = _meet(found[free], bars).sum(axis=1) if len(bars) else np.zeros(len(free))
            gaps = _gaps(found[free], marks)
            strayed = gaps.min(axis=1) < gaps[:, index]
            chosen = free[np.argmin(away[free] + _CROSSED * crossed + _STRAYED * strayed)]
            boxes.append(found[chosen])
            places.append(corners[chosen])
        else:
            places.append(None)
    return places


def _meet(boxes: Array, others: Array) -> NDArray[np.bool_]:
    """Say which boxes (n, 4) come near which others (m, 4)."""
    above = (boxes[:, None, :2] - _APART / 2 < others[None, :, 2:]).all(axis=-1)
    return np.logical_and(
        above, (boxes[:, None, 2:] + _APART / 2 > others[None, :, :2]).all(axis=-1)
    )


def _gaps(boxes: Array, others: Array) -> Array:
    """Inches from each box (n, 4) to each other (m, 4), (n, m); 0 where they overlap."""
    before = others[None, :, :2] - boxes[:, None, 2:]
    after = boxes[:, None, :2] - others[None, :, 2:]
    return np.hypot(*np.maximum(np.maximum(before, after), 0).transpose(2, 0, 1))


def extent(axes: Axes) -> tuple[float, float]:
    """Width and height of a panel in inches."""
    box, dpi = axes.get_window_extent(), axes.figure.dpi
    return box.width / dpi, box.height / dpi


def inches(axes: Axes, x: ArrayLike, y: ArrayLike) -> Array:
    """Places in a panel, (n, 2), in inches from its lower left corner; by its present limits."""
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    wide, high = extent(axes)
    across = (np.asarray(x, float) - left) / (right - left) * wide
    return np.stack([across, (np.asarray(y, float) - bottom) / (top - bottom) * high], axis=-1)


def name_points(
    axes: Axes,
    points: Array,
    names: list[str],
    colours: list[str],
    *,
    taken: Array,
    bars: Array,
) -> list[str]:
    """Write the names of points beside them, with a thin line where one stands apart.

    Parameters
    ----------
    points, taken, bars : arrays
        In inches, as in `around`; points with a name come first.

    Returns
    -------
    list of str
        Names that found no place.
    """
    size, left_out = extent(axes), list[str]()
    marks = np.concatenate([points - _MARK, points + _MARK], axis=1)[len(names) :]
    points = points[: len(names)]
    places = around(points, names, size, np.concatenate([taken, marks]), bars)
    for spot, name, colour, corner in zip(points, names, colours, places, strict=True):
        if corner is None:
            left_out.append(name)
            continue
        near = np.clip(spot, corner, corner + np.array([width(name), SIZE / 72]))
        if np.hypot(*(near - spot)) > 2 * (_MARK + _APART):
            ends = np.stack([spot, near]) / size
            axes.plot(*ends.T, **_leader(axes, name, colour), zorder=1)
        _write(
            axes, (corner[0] / size[0], corner[1] / size[1]), name, colour, va="bottom", zorder=4
        )
    return left_out


def end_margin(names: Iterable[str], gap: float = GAP) -> float:
    """Inches right of a panel that names at the ends of its lines take."""
    lines = (line for name in names for line in name.split("\n"))
    return gap + max(map(width, lines), default=0.0) + 0.1


def end_height(names: Iterable[str]) -> float:
    """Inches that a panel must be high for names at the ends of its lines."""
    return sum(map(_room, names))


def name_ends(
    axes: Axes, x: ArrayLike, y: ArrayLike, names: list[str], colours: list[str], gap: float = GAP
) -> None:
    """Write the names of lines right of the panel, none on another, a thin line to each end.

    Parameters
    ----------
    x, y : array of shape (n,)
        Where the lines end.
    gap : float
        Inches between panel and names.
    """
    spots, (wide, high) = inches(axes, x, y), extent(axes)
    heights = spread(spots[:, 1].clip(0, high), [_room(name) for name in names], 0, high)
    for (across, up), name, colour, height in zip(spots, names, colours, heights, strict=True):
        up = float(np.clip(up, 0, high))
        ends = np.array([[across, up], [wide, up], [wide + gap - 0.03, height]]) / (wide, high)
        axes.plot(*ends.T, **_leader(axes, name, colour), clip_on=False)
        place = ((wide + gap) / wide, height / high)
        _write(axes, place, name, colour, va="center", linespacing=1.05)


def _write(axes: Axes, place: tuple[float, float], name: str, colour: str, **how: Any) -> None:
    """Write a name, at a place in shares of the panel."""
    settings = {"transform": axes.transAxes, "fontsize": SIZE, "color": readable(colour)}
    axes.text(*place, name, **settings, **how)


def _leader(axes: Axes, name: str, colour: str) -> dict[str, Any]:
    """Settings of the thin line from a mark to its name."""
    fine = {"lw": 0.5, "alpha": 0.6, "transform": axes.transAxes}
    return {"color": colour, "gid": name} | fine


def _room(name: str) -> float:
    """Inches that a name of some lines takes."""
    return 1.25 * SIZE / 72 * (name.count("\n") + 1)
