"""Who is ranked on a task, and what is known of the order: for tables, figures and sentences."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.runs import RESULT, STATUSES, Frame
from analysis.statistics.inference import MIN_SEEDS, Array, average_ranks, stream
from analysis.statistics.ties import Ties, ties
from analysis.tables import Tables, higher_is_better


@dataclass(frozen=True)
class Ranking:
    """The arms of one task.

    Attributes
    ----------
    arms : list of str
        Those that are ranked: every replica finished, and they share enough seeds, see `_together`.
    unranked : dict of str to str
        The others, and why.
    rank : array of shape (n_arms,)
        Mean place over the shared seeds.
    ties : Ties
        What the shared seeds say of the order.
    """

    arms: list[str]
    unranked: dict[str, str]
    rank: Array
    ties: Ties

    def p(self, arm: str, other: str) -> float:
        """Corrected p of a pair; NaN where one of the two is not ranked."""
        if arm not in self.arms or other not in self.arms:
            return np.nan
        return float(self.ties.p[self.arms.index(arm), self.arms.index(other)])


def rankings(tables: Tables) -> dict[str, Ranking]:
    """Rank the arms of every task: once, for all that tables, figures and sentences say."""
    return {task: ranking(tables, task) for task in tables.tasks}


def ranking(tables: Tables, task: str) -> Ranking:
    """Rank the arms of a task."""
    runs = tables.runs[tables.runs["task"] == task]
    notes = {str(arm): _unranked(replicas) for arm, replicas in runs.groupby("arm")}
    candidates = runs[runs["arm"].map(notes) == ""]
    every = candidates.pivot_table(index="arm", columns="seed", values=RESULT)
    wide = _together(every)
    if len(wide):
        notes |= {
            arm: f"not all of the {wide.shape[1]} seeds of the others"
            for arm in every.index.difference(wide.index)
        }
    else:
        notes |= dict.fromkeys(every.index, f"fewer than {MIN_SEEDS} seeds shared by all arms")
    scores = wide.to_numpy(float) * (1 if higher_is_better(tables.score(task)) else -1)
    return Ranking(
        arms=[str(arm) for arm in wide.index],
        unranked={arm: note for arm, note in notes.items() if note},
        rank=average_ranks(scores) if len(scores) else np.empty(0),
        ties=ties(scores, stream(task, "ties")),
    )


def _together(scores: Frame) -> Frame:
    """Arms that are ranked, over the seeds that they share; no row where no two arms share enough.

    An arm of few seeds would leave all the others with few. Arms join in the order of how many
    seeds they have, as long as that makes the table of scores, arms times shared seeds, no smaller.
    """
    order = scores.notna().sum(axis=1).sort_values(ascending=False, kind="stable").index
    shared = [
        scores.loc[order[:n]].dropna(axis=1) for n in range(min(2, len(order)), len(order) + 1)
    ]
    enough = [table for table in shared if table.shape[1] >= MIN_SEEDS and len(table)]
    largest = max(reversed(enough), key=lambda table: table.size, default=scores.iloc[:0])
    return largest.sort_index()


def _unranked(replicas: Frame) -> str:
    """Say why an arm is not ranked; nothing if it is."""
    n = len(replicas)
    counts = {
        status: int((replicas["status"] == status).sum())
        for status in STATUSES
        if status != "finished"
    }
    if whole := [status for status, count in counts.items() if count == n]:
        return whole[0]
    if lost := [f"{count} of {n} {status}" for status, count in counts.items() if count]:
        return ", ".join(lost)
    if not np.isfinite(replicas[RESULT]).all():
        return "no test score"
    return f"fewer than {MIN_SEEDS} seeds" if n < MIN_SEEDS else ""
