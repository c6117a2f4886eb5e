"""How an arm is drawn: a method looks the same in every figure of every study, whoever else runs.

What a method is told gives the hue, and a place among those that are told the same gives shade,
marker and line. Backpropagation is drawn in the ink of the text, controls (the constant answer,
random search, a linear network) in grey. Arms of one method share its colour and differ by line and
filling of their marks. Methods that are not known here have a place by a hash of their names.

The colours were searched for: the smallest difference between any two of them that a figure has to
tell apart, in full colour vision and in three kinds of colour blindness, is a test's
(tests/analysis/test_looks.py).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any

from analysis.runs import Frame, is_linear, with_numbers

INK = "#222222"
CONTROL = "#8a8a8a"
LINEAR = "linear"  # what a linear network is called, whatever trains it
SIGNALS = {  # what is told, in words
    "gradient": "the gradient",
    "error": "the error at the outputs",
    "targets": "the targets",
    "loss": "losses alone",
    "reward": "rewards alone",
}
SHADES = {
    "gradient": ("#2e41fe", "#7685b2", "#470bb5"),
    "error": ("#0b6427", "#03330b", "#00885c"),
    "targets": ("#7d2876", "#9330c5", "#ce3aff"),
    "loss": ("#a48608", "#756705", "#4d4406"),
    "reward": ("#279ed6", "#2a707f", "#013d56"),
}
MARKERS = "osD^vP<>p"  # of one size
FILLINGS = ("full", "none", "left", "top", "right", "bottom")
LINES: tuple[Any, ...] = (
    "-",
    (0, (5, 1.5)),
    (0, (1.2, 1.2)),
    (0, (5, 1.5, 1.2, 1.5)),
    (0, (8, 2, 1, 1.5, 1, 1.5)),
)
# Seaborn's "colorblind" without grey, brown and the two that are too pale for thin lines on white,
# and with a darker vermilion; indigo and wine are dark instead, so that all stay apart in every
# kind of colour blindness.
_COLOURS = ("#0173b2", "#de8f05", "#029e73", "#c44200", "#cc78bc", "#301a75", "#56b4e9", "#6e1330")
_CONTROLS = {"constant": "s", "random_search": "D"}  # their markers; a linear network's is "o"
_PLACES = {  # among those that are told the same: the first three have a shade each, and full lines
    "gradient": (
        *("spiking_surrogate", "forward_gradient", "fine_tuning"),
        *("last_layer", "maml", "meta_sgd", "reptile", "prototypes"),
    ),
    "error": ("feedback_alignment", "direct_feedback_alignment", "sign_symmetry", "pepita"),
    "targets": (
        *("predictive_coding", "equilibrium_propagation", "target_propagation"),
        *("forward_forward", "hebbian", "local_loss", "mono_forward"),
    ),
    "loss": (
        *("genetic", "evolution_strategy", "cma_es"),
        *("node_perturbation", "weight_perturbation"),
    ),
    "reward": ("reinforce", "actor_critic", "ppo", "q_learning", "spiking_stdp"),
}


@dataclass(frozen=True)
class Look:
    """How an arm is drawn, in every figure of every report."""

    colour: str
    line: Any
    marker: str
    filling: str = "full"
    arm: str = ""

    @property
    def paint(self) -> dict[str, Any]:
        """Settings of matplotlib's for all that is drawn of it; pages know it by the gid."""
        return {"color": self.colour, "gid": self.arm or None}

    def mark(self, size: float) -> dict[str, Any]:
        """Settings of matplotlib's for a mark of a size in points."""
        return self.paint | {
            "marker": self.marker,
            "fillstyle": self.filling,
            "markerfacecoloralt": "white",
            "ms": size,
            "mew": 0.9,
        }


def looks(runs: Frame) -> dict[str, Look]:
    """Give each arm of the runs table, over all tasks, its look.

    Parameters
    ----------
    runs : DataFrame
        Columns arm, method, signal, network and default_network.
    """
    columns = ["arm", "method", "signal", "network", "default_network"]
    arms = runs[columns].drop_duplicates("arm").to_dict("records")
    found: dict[str, Look] = {}
    turns = Counter[tuple[str, bool]]()
    for row in sorted(arms, key=lambda row: with_numbers(row["arm"])):  # the plain arm is first
        method, linear = row["method"], is_linear(row)
        look = _look(method, row["signal"], linear, turns[method, linear])
        found[row["arm"]] = replace(look, arm=row["arm"])
        turns[method, linear] += 1
    return found


def of_series(methods: Mapping[str, str], signals: Mapping[str, str]) -> dict[str, Look]:
    """Give each series of a figure the look of its method; one of none another, see `distinct`.

    Parameters
    ----------
    methods : mapping of str to str
        By name of the series: "" for one of no method, "linear" for a linear network.
    signals : mapping of str to str
        What methods are told.
    """
    found = distinct([name for name, method in methods.items() if not method])
    turns = Counter[str]()
    for name, method in methods.items():
        if method:
            found[name] = _look(method, signals.get(method, ""), method == LINEAR, turns[method])
            turns[method] += 1
    return found


def distinct(names: Sequence[str]) -> dict[str, Look]:
    """Give each series of a paper's figure a look: colour and marker are distinct for 72."""
    n = len(_COLOURS)
    return {
        name: Look(_COLOURS[i % n], LINES[i // n % len(LINES)], MARKERS[i % len(MARKERS)])
        for i, name in enumerate(names)
    }


def _look(method: str, signal: str, linear: bool, turn: int) -> Look:
    """How a method's arm is drawn that is the `turn`-th of it, from 0."""
    colour, place, marker = _method(method, signal)
    if linear or method in _CONTROLS:
        colour, place, marker = CONTROL, 1, "o" if linear else _CONTROLS[method]
    along = MARKERS.index(marker) + turn // len(FILLINGS)
    return Look(
        colour,
        LINES[(place + turn) % len(LINES)],
        MARKERS[along % len(MARKERS)],
        FILLINGS[turn % len(FILLINGS)],
    )


def _method(method: str, signal: str) -> tuple[str, int, str]:
    """Colour, place of its line, and marker of a method."""
    if method == "backprop":
        return INK, 0, MARKERS[0]
    shades = SHADES[signal if signal in SHADES else [*SHADES][_number(signal) % len(SHADES)]]
    taken = _PLACES.get(signal, ())
    n = len(shades) * len(MARKERS)
    if method in taken:
        place = taken.index(method)
    else:
        place = len(taken) + _number(method) % (n - len(taken))
    # three rounds of markers, each with other shades
    shade = (place + place // len(MARKERS)) % len(shades)
    return shades[shade], place // len(shades), MARKERS[place % len(MARKERS)]


def _number(name: str) -> int:
    """Give a name a number that is the same on every machine."""
    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "big")
