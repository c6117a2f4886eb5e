"""Outlines of SVG, written as briefly as they can be drawn."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import groupby
from operator import itemgetter

import numpy as np

from analysis.statistics.inference import Array


def compact(d: str, digits: int = 1, corner: Array | tuple[float, float] = (0, 0)) -> str:
    """Write an outline of matplotlib's in relative coordinates of so many decimals.

    They start at the corner. Each point is rounded where it lies, so that errors do not add up.
    Points of lines are left out that lie within the last decimal of what the others draw.
    """
    scale, out, last = 10**digits, list[str](), ""
    here = start = np.zeros(2, int)
    at = np.zeros(2)  # as `here`, not rounded

    def put(mark: str, numbers: Iterable[int]) -> None:
        nonlocal last
        text = listed((number / scale for number in numbers), digits)
        repeated = mark == last and mark != "M"
        out.append(("" if text.startswith("-") else " ") + text if repeated else mark + text)
        last = mark

    for letter, numbers in _commands(d):
        if letter in "zZ":
            out.append("z")
            here, at, last = start, start / scale, "z"
            continue
        points = np.array(numbers.split(), float).reshape(-1, 2) - corner
        if letter == "L":
            points = thinned(np.vstack([at, points]), 1 / scale)[1:]
        at, rounded = points[-1], np.rint(points * scale).astype(int)
        if letter == "M":
            here = start = rounded[0]
            put("M", here.tolist())
        elif letter == "L":
            for point in rounded:
                right, down = (point - here).tolist()
                if right and down:
                    put("l", (right, down))
                elif down:
                    put("v", (down,))
                elif right or last == "M":  # a point by itself is drawn too
                    put("h", (right,))
                here = point
        else:
            put(letter.lower(), (rounded - here).ravel().tolist())
            here = rounded[-1]
    return "".join(out)


def _commands(d: str) -> Iterator[tuple[str, str]]:
    """Commands of an outline with their numbers; lines that go on from each other are one."""
    found = re.findall(r"([A-Za-z])([^A-Za-z]*)", d)
    for letter, commands in groupby(found, itemgetter(0)):
        if letter == "L":
            yield letter, " ".join(numbers for _, numbers in commands)
        else:
            yield from commands


def thinned(points: Array, slack: float) -> Array:
    """Leave out points of a line that lie within `slack` of what the others draw.

    The algorithm of Douglas and Peucker (1973), by the distance from a segment, not from the
    straight line through it: a line that turns back keeps its end.
    """
    kept, parts = {0, len(points) - 1}, [(0, len(points) - 1)]
    while parts:
        first, last = parts.pop()
        if last - first < 2:
            continue
        inner, along = points[first + 1 : last] - points[first], points[last] - points[first]
        share = np.clip(inner @ along / max(along @ along, 1e-12), 0, 1)
        off = np.hypot(*(inner - share[:, None] * along).T)
        farthest = int(off.argmax())
        if off[farthest] > slack:
            middle = first + 1 + farthest
            kept.add(middle)
            parts += [(first, middle), (middle, last)]
    return points[sorted(kept)]


def listed(numbers: Iterable[float], digits: int = 1) -> str:
    """Join numbers as briefly as SVG reads them: a minus parts two as well as a blank does."""
    return " ".join(rounded(number, digits) for number in numbers).replace(" -", "-")


def rounded(number: float, digits: int = 1) -> str:
    """Write a number without zeros that say nothing: 12.3, .4, -5."""
    text = f"{number:.{digits}f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    text = re.sub(r"^(-?)0\.", r"\1.", text)
    return "0" if text in ("-0", "", "-") else text
