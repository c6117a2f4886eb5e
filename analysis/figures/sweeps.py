"""Test score against each setting of which a study tried several numbers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from analysis.figures import canvas
from analysis.figures.canvas import draw_ticks, panels, score_limits, score_ticks, short
from analysis.figures.labels import end_height, end_margin, name_ends
from analysis.figures.levels import level_name, levels_told, within
from analysis.figures.looks import LINES, Look
from analysis.figures.training import Picture
from analysis.statistics.inference import INTERVAL
from analysis.summaries.frontier import levels
from analysis.summaries.sweeps import sweeps
from analysis.tables import Tables, higher_is_better

_LONGEST = 2.3  # inches of a name; longer ones are wrapped
_DECADE = 10.0  # ratio of the largest to the smallest number from which an axis is logarithmic


def settings(tables: Tables, task: str, looks: dict[str, Look]) -> Picture | None:
    """A panel for each setting, a curve for each method; the best value by validation is ringed."""
    found = sweeps(tables, task)
    if not found:
        return None
    score = tables.score(task)
    ends = np.concatenate([values for one in found for values in (one.mean, one.low, one.high)])
    limits = score_limits(ends, score)
    known = within(levels(tables, task), limits)
    names = {one.name: canvas.wrapped(one.name, _LONGEST) for one in found}
    of_levels = {name: level_name(name, value) for name, value in known.items()}
    swept = list(dict.fromkeys(one.setting for one in found))
    most = max(
        end_height([names[one.name] for one in found if one.setting == name]) for name in swept
    )
    note = (
        f"Mean over seeds and {INTERVAL}. Ring: the number with the best validation score, which "
        "is the one to choose; that it is best by the test score, too, is not said."
        f"{levels_told(tables, task, limits)}"
    )
    figure, axes = panels(
        len(swept),
        1,
        max(2.4, most + end_height(of_levels.values())),
        f"{task}: test score against settings",
        note,
        right=end_margin([*names.values(), *of_levels.values()]),
    )
    for panel, setting in zip(axes, swept, strict=True):
        curves = [one for one in found if one.setting == setting]
        values = np.unique(np.concatenate([one.values for one in curves]))
        logarithmic = values[0] > 0 and values[-1] / values[0] >= _DECADE
        place = np.log10 if logarithmic else np.asarray
        at = place(values)
        margin = 0.04 * (at[-1] - at[0])
        panel.set(xlim=(at[0] - margin, at[-1] + margin), ylim=limits, xlabel=setting)
        panel.set_ylabel(
            f"test {score}" + ("" if higher_is_better(score) else " (lower is better)")
        )
        draw_ticks(panel, "x", _apart(at, values))
        draw_ticks(panel, "y", score_ticks(limits))
        for value in known.values():
            canvas.level_line(panel, value)
        drawn = []
        for turn, one in enumerate(curves):
            look = looks[one.arms[0]]
            # curves of one method have its colour, each another line
            turn = sum(looks[other.arms[0]].colour == look.colour for other in curves[:turn])
            look = replace(look, filling="full", line=LINES[turn % len(LINES)], arm="")
            x = place(one.values)
            panel.vlines(x, one.low, one.high, **look.paint, lw=1, alpha=0.8)
            panel.plot(x, one.mean, **look.mark(4) | {"ls": look.line, "lw": 1.4})
            ring = {"ms": 10, "mfc": "none", "mew": 1.3, "zorder": 4}
            panel.plot(x[one.best], one.mean[one.best], "o", **look.paint | ring)
            drawn.append((x[-1], one.mean[-1], names[one.name], look.colour))
        drawn += [(at[-1] + margin, known[name], of_levels[name], canvas.FAINT) for name in known]
        x, y, texts, colours = zip(*drawn, strict=True)
        name_ends(panel, x, y, list(texts), list(colours))
    alt = f"Line charts: test {score} on {task} against {', '.join(swept)}."
    return Picture("settings", alt, figure)


def _apart(at: np.ndarray, values: np.ndarray) -> dict[float, str]:
    """Ticks at the numbers that were tried, those that have room."""
    room, ticks = 0.06 * (at[-1] - at[0]), dict[float, str]()
    for place, value in zip(at.tolist(), values.tolist(), strict=True):
        if not ticks or place - max(ticks) > room:
            ticks[place] = short(value)
    return ticks
