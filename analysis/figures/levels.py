"""The levels that scores are held against, on an axis of scores."""

from __future__ import annotations

from collections.abc import Mapping

from analysis.summaries.frontier import LEVEL_NAMES, best_known, levels
from analysis.tables import Tables


def level_name(name: str, value: float) -> str:
    """A level in words: `chance 0.1`."""
    return f"{LEVEL_NAMES[name]} {value:.3g}"


def within(known: Mapping[str, float], limits: tuple[float, float]) -> dict[str, float]:
    """Those of some levels that an axis shows."""
    return {name: value for name, value in known.items() if limits[0] <= value <= limits[1]}


def levels_told(tables: Tables, task: str, limits: tuple[float, float]) -> str:
    """Say which levels an axis does not show, and who states the best known score, a line each.

    A ceiling that it does not show is the score's, and known.
    """
    known, stated = levels(tables, task), best_known(tables, task)
    away = [
        level_name(name, value)
        for name, value in known.items()
        if name != "ceiling" and name not in within(known, limits)
    ]
    text = f"\nOff the axis: {', '.join(away)}." if away else ""
    return text + (f"\nBest known: {stated['value']:g}, {stated['source']}." if stated else "")
