"""A study's landscape: the loss between, around and at what its runs have learnt.

It is recorded once all runs are finished, of all whose weights are in the study's folder, and anew
only where one of them, a setting, or what computes it has changed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from math import nan
from pathlib import Path
from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor

from beyond.contracts import Method
from beyond.errors import InputError, UnsupportedError, require
from beyond.files import write_whole, write_whole_text
from beyond.hardware import placed
from beyond.network.layered import LayeredNetwork
from beyond.run import landscape, provenance
from beyond.run.arm import Arm
from beyond.run.landscape import Surface
from beyond.run.notes import holding, known
from beyond.run.record import RunFolder, hash_of
from beyond.run.rows import Row, write_rows
from beyond.run.runner import arithmetic
from beyond.run.trained import Trained
from beyond.settings import Positive, PositiveInt, settings
from beyond.streams import Stream

TABLE, NOTE = "landscape.parquet", "landscape.json"  # in a study's folder


@settings(kw_only=True)
class Survey:
    """What is recorded of the loss around the solutions of a study.

    Parameters
    ----------
    n_examples : int, >= 1
        Training examples on which the loss is measured; all if they are fewer.
    n_points : int, >= 2
        On a line from the initial weights to a solution, or between two, ends included.
    n_across : int, >= 2
        Along each side of a plane around a solution.
    radius : float, > 0
        How far a plane reaches to each side, in lengths of the filters.
    """

    n_examples: PositiveInt = 1000
    n_points: Annotated[int, Ge(2)] = 21
    n_across: Annotated[int, Ge(2)] = 11
    radius: Positive = 1.0

    @classmethod
    def of(cls, study: Path) -> Survey | None:
        """Return how the landscape in a study's folder was recorded; None if there is none.

        `InputError` if the note on it has other settings.
        """
        settings = known(study / NOTE, dict).get("settings")
        try:
            return cls(**settings) if settings else None
        except InputError as error:
            raise InputError(f"{str(study / NOTE)!r}: {error}") from error

    def require(self, arms: Iterable[tuple[Arm, bool]]) -> None:
        """Refuse what has no landscape, before it is trained: arms, and if they keep weights.

        Raises
        ------
        InputError
            For an arm that keeps no weights.
        UnsupportedError
            For one whose loss at given weights is not known: see `_lacking`.
        """
        for arm, keeps in arms:
            require("keep_weights", "true where a landscape is recorded", keeps, keeps)
            if lacking := _lacking(arm):
                raise UnsupportedError(f"{arm.label} has no landscape: {lacking}")

    def record(self, study: Path) -> None:
        """Write the landscape of the runs in a study's folder, unless it is there.

        Raises
        ------
        InputError
            If a run keeps no weights, or what made it has changed since.
        """
        table, note = study / TABLE, study / NOTE
        manifests = {path.parent: RunFolder(path.parent).manifest() for path in _manifests(study)}
        files = {path.name: made.get("files", {}) for path, made in manifests.items() if made}
        ours = provenance.sources(self, landscape.Surface)
        origin = {"settings": asdict(self), "files": files, "sources": ours}
        with holding(study):
            if table.exists() and known(note) == {**origin, "table": hash_of(table)}:
                return
            runs = {path.name: Trained.load(path) for path, made in manifests.items() if made}
            self.require((run.arm, True) for run in runs.values())
            rows = self.rows(runs)
            write_whole(table, lambda path: write_rows(rows, path))
            told = {**origin, "table": hash_of(table)}
            write_whole_text(note, json.dumps(told, indent=1, sort_keys=True) + "\n")

    def rows(self, runs: Mapping[str, Trained]) -> list[Row]:
        """All rows, of runs by run_id: those of one task and network are one landscape."""
        alike: dict[str, list[tuple[str, Trained]]] = {}
        for run_id, run in runs.items():
            arm = run.arm
            place = repr((arm.task, arm.architecture, arm.hardware))
            alike.setdefault(place, []).append((run_id, run))
        return [row for one in alike.values() for row in self._of_one(one)]

    def _of_one(self, runs: Sequence[tuple[str, Trained]]) -> list[Row]:
        """Rows of runs of one task and network."""
        arm = runs[0][1].arm
        exact = replace(arm.hardware.on_host, precision="float64")
        network = arm.architecture.build(arm.task.spec).on(exact)
        assert isinstance(network, LayeredNetwork)
        arms: dict[str, dict[int, Solution]] = {}  # a study that went on has two runs of an arm
        for run_id, run in runs:
            for seed, state in run.states.items():
                weights = run.arm.method.params(state)[0].cpu().double()
                arms.setdefault(run.arm.id, {})[seed] = Solution(run_id, seed, weights)
        rows: list[Row] = []
        with arithmetic(arm.threads, exact):
            for seed in sorted(set[int]().union(*arms.values())):
                splits = placed(arm.task.at([seed]), exact)
                # the same for all seeds, where all have one split
                order = Stream("landscape", [0]).permutation(splits.size("train"))
                batch = splits.batch("train", order[:, : self.n_examples])
                surface = Surface(network, arm.task.spec, batch)
                here = [one for one in arms.values() if seed in one]
                ends = [one[seed] for one in here]
                again = [other for one in here if (other := _next(one, seed))]
                rows += self._lines(surface, ends, again)
                rows += self._planes(surface, ends)
        return rows

    def _lines(
        self, surface: Surface, ends: Sequence[Solution], again: Sequence[tuple[Solution, Solution]]
    ) -> list[Row]:
        """Rows of the lines from the start of a seed to its solutions, and between solutions.

        `ends` are an arm each; `again` are pairs of one arm's, at this seed and the next.
        """
        seed, network = ends[0].seed, surface.network
        drawn = network.init(Stream("init", [seed]))[0].double()
        lines = [Line("start", end, None, drawn, end.weights) for end in ends]
        arms = [Line.between(*pair) for pair in combinations(ends, 2)]
        seeds = [Line.between(*pair) for pair in again]
        if landscape.has_like_units(network):
            arms += [line.matched(network) for line in arms]
            seeds += [line.matched(network) for line in seeds]
        lines += [*arms, *seeds]
        places = torch.linspace(0, 1, self.n_points, dtype=torch.float64)
        ways = torch.stack([line.last - line.first for line in lines])
        origins = torch.stack([line.first for line in lines])
        losses = surface.over(origins, ways.unsqueeze(1), places.unsqueeze(1))
        # between arms both ways, so that each has all others
        there = slice(len(ends), len(ends) + len(arms))
        lines += [line.back for line in arms]
        losses = torch.cat([losses, losses[there].flip(1)])
        lengths = torch.cat([ways, ways[there]]).norm(dim=1, keepdim=True)
        sharpness = torch.full_like(losses, nan)
        points = torch.stack([drawn, *(end.weights for end in ends)])
        draws = Stream("landscape sharpness", [seed]).normal(points.shape[1]).double()
        found = surface.sharpness(points, draws.expand_as(points))
        sharpness[: len(ends), 0], sharpness[: len(ends), -1] = found[0], found[1:]
        columns = {
            "loss": losses,
            "excess": landscape.excess(losses, places),
            "rise": landscape.rise(losses),
            "distance": lengths * places,
            "sharpness": sharpness,
        }
        at = torch.stack([places, torch.zeros_like(places)], 1)
        return _rows([line.identity for line in lines], at, columns)

    def _planes(self, surface: Surface, ends: Sequence[Solution]) -> list[Row]:
        """Rows of a plane around each solution, in two directions that are drawn from the seed."""
        # 0 is exact, and its neighbours equally far
        steps = torch.arange(1 - self.n_across, self.n_across, 2, dtype=torch.float64)
        side = self.radius * steps / (self.n_across - 1)
        at = torch.cartesian_prod(side, side)
        weights = torch.stack([end.weights for end in ends])
        draws = Stream("landscape plane", [ends[0].seed]).normal(2, weights.shape[1])[0].double()
        axes = [
            landscape.filter_normalised(surface.network, weights, draw.expand_as(weights))
            for draw in draws
        ]
        plane = torch.stack(axes, 1)
        losses = surface.over(weights, plane, at)
        unknown = torch.full_like(losses, nan)
        columns = {
            "loss": losses,
            "excess": unknown,
            "rise": unknown,
            "distance": (at @ plane).norm(dim=2),
            "sharpness": unknown,
        }
        return _rows([_identity("plane", end) for end in ends], at, columns)


@dataclass(frozen=True)
class Solution:
    """What one replica has learnt: weights (n,)."""

    run_id: str
    seed: int
    weights: Tensor


@dataclass(frozen=True)
class Line:
    """A line from weights (n,) to others; `of` and `other` are those whose solutions they are."""

    path: str
    of: Solution
    other: Solution | None
    first: Tensor
    last: Tensor
    is_matched: bool = False

    @classmethod
    def between(cls, of: Solution, other: Solution) -> Line:
        """From one solution to another."""
        return cls("pair", of, other, of.weights, other.weights)

    def matched(self, network: LayeredNetwork) -> Line:
        """To the same function, whose hidden units are in the order most like the first's."""
        last = landscape.matched(network, self.first, self.last)
        return replace(self, last=last, is_matched=True)

    @property
    def back(self) -> Line:
        """From the last to the first."""
        assert self.other is not None
        return replace(self, of=self.other, other=self.of, first=self.last, last=self.first)

    @property
    def identity(self) -> Row:
        """What its rows have in common."""
        return _identity(self.path, self.of, self.other, self.is_matched)


def _identity(path: str, of: Solution, other: Solution | None = None, matched: bool = False) -> Row:
    return {
        "run_id": of.run_id,
        "seed": of.seed,
        "path": path,
        "matched": matched,
        "other_run_id": other.run_id if other else "",
        "other_seed": other.seed if other else -1,
    }


def _rows(identities: Sequence[Row], at: Tensor, columns: Mapping[str, Tensor]) -> list[Row]:
    """Return a row a place, (P, 2), of each line or plane, from columns (L, P)."""
    values = torch.stack([*columns.values()], 2).tolist()
    return [
        {**identity, "x": x, "y": y, **dict(zip(columns, told, strict=True))}
        for identity, places in zip(identities, values, strict=True)
        for (x, y), told in zip(at.tolist(), places, strict=True)
    ]


def _next(solutions: Mapping[int, Solution], seed: int) -> tuple[Solution, Solution] | None:
    """Return an arm's solution at a seed and at its next, after the last the first; None alone."""
    seeds = sorted(solutions)
    other = seeds[(seeds.index(seed) + 1) % len(seeds)]
    return None if other == seed else (solutions[seed], solutions[other])


def _manifests(study: Path) -> list[Path]:
    return sorted(study.glob("*/manifest.json"))


def _lacking(arm: Arm) -> str:
    """Why the loss at an arm's weights, or its start, is not known; "" if it is."""
    spec, network = arm.task.spec, arm.architecture.build(arm.task.spec)
    if arm.start is not None:
        return "it starts from weights that it learns elsewhere"
    if spec.episode is not None or spec.world is not None:
        return f"{spec.name} has no fixed examples to measure a loss on"
    if type(arm.method).predict is not Method.predict:
        return f"{arm.name} predicts by more than its network's outputs"
    if not isinstance(network, LayeredNetwork):
        return "a wrapped torch module gives no access to its layers"
    if network.fresh_buffers(1):
        return f"{arm.architecture.name} keeps statistics, which are of no point between two others"
    return ""
