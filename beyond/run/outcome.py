"""What becomes of one replica: its status, its best checkpoint, and what it cost to get there."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf, isfinite, nan
from typing import Any

from beyond.contracts import SPLITS
from beyond.ledger import COST_NAMES
from beyond.run.stopping import Stopping, loss_of

# From best to worst: `skipped` never began, `untrained` took no step, the last two ended before
# their budget did.
STATUSES = ("finished", "skipped", "untrained", "diverged", "failed")
LEVELS = ("easy", "medium", "hard")
# A loss this many times that at the start, or 1 if that was less, is divergence, finite or not:
# outputs are a thousand times too large by squared error, or the right class has the probability
# exp(-1e6). By itself no method rises above 1.2 times its start on digits or diabetes.
DIVERGENCE = 1e6
Scores = dict[str, dict[str, float]]  # by split, by metric


@dataclass
class Outcome:
    """What becomes of one replica. What its fields hold never changes: a snapshot may hold it."""

    levels: tuple[float, ...]
    status: str = "finished"
    reason: str = ""
    best_checkpoint: int = -1
    last_checkpoint: int = -1
    start: Scores = field(default_factory=dict)
    best: Scores = field(default_factory=dict)
    final: Scores = field(default_factory=dict)
    best_costs: dict[str, float] = field(default_factory=dict)
    final_costs: dict[str, float] = field(default_factory=dict)
    target_costs: list[dict[str, float]] = field(default_factory=lambda: [{} for _ in LEVELS])
    losses: tuple[tuple[float, float], ...] = ()  # on training and validation split, if looked at
    stopped: bool = False

    @property
    def alive(self) -> bool:
        """Whether it has neither diverged nor failed."""
        return self.status == "finished"

    @property
    def going(self) -> bool:
        """Whether it has not ended."""
        return self.alive and not self.stopped

    def end(self, status: str, reason: str) -> None:
        """Stop here, if it has not ended before."""
        if self.going:
            self.status, self.reason = status, reason

    def stop(self, criterion: Stopping) -> None:
        """Finish here if the criterion says so, from what it was told so far and is told now."""
        if not self.going:
            return
        now = loss_of(self.final["train"]), loss_of(self.final["validation"])
        self.losses = (*self.losses, now)
        if criterion.fires(self.losses):
            self.stopped = True
            self.reason = f"{criterion.name} stopped it after {self.final_costs['steps']} steps"

    def update(self, index: int, costs: dict[str, float], scores: Scores, score: str) -> None:
        """Take scores in, unless ended or diverged; select by validation score, first of equals.

        Parameters
        ----------
        index : int
            Of the checkpoint.
        costs : dict of str to float
            What was spent so far, in every currency.
        scores : dict of str to dict of str to float
            On training and validation split.
        score : str
            The metric that selects.
        """
        reason = self._divergence(scores, costs["steps"])
        if reason:
            self.end("diverged", reason)
        if not self.going:
            return
        self.start = self.start or dict(scores)
        self.last_checkpoint, self.final, self.final_costs = index, scores, costs
        reached = scores["validation"][score]
        if self.best_checkpoint < 0 or reached > self.best["validation"][score]:
            self.best_checkpoint, self.best, self.best_costs = index, dict(scores), costs
        self.target_costs = [
            hit or (costs if reached >= level else {})
            for level, hit in zip(self.levels, self.target_costs, strict=True)
        ]

    def _divergence(self, scores: Scores, n_steps: float) -> str:
        """Say why these are scores of a replica that diverged; empty if they are not."""
        for split, values in scores.items():
            for metric, value in values.items():
                if not isfinite(value):
                    return f"a loss is not finite after {n_steps} steps"
                start = self.start.get(split, values)[metric]
                if metric.endswith("_loss") and value > DIVERGENCE * max(1.0, start):
                    begun = f"{start:.3g} at the start"
                    return f"a loss of {value:.3g} after {n_steps} steps, from {begun}"
        return ""

    def row(self, score: str) -> dict[str, Any]:
        """Columns of the runs table, for the task's headline `score`."""
        loss = next(
            (name for values in self.best.values() for name in values if name.endswith("_loss")), ""
        )
        row: dict[str, Any] = {
            "status": self.status,
            "reason": self.reason,
            "headline_metric": score,
            "best_checkpoint": self.best_checkpoint,
        }
        for moment, values in (("best", self.best), ("final", self.final if self.alive else {})):
            for split in SPLITS:
                row[f"{moment}_{split}_score"] = values.get(split, {}).get(score, nan)
                row[f"{moment}_{split}_loss"] = values.get(split, {}).get(loss, nan)
        row |= {f"{name}_to_best": self.best_costs.get(name, nan) for name in COST_NAMES}
        for word, level, hit in zip(LEVELS, self.levels, self.target_costs, strict=True):
            row[f"target_{word}"] = level
            row |= {f"{name}_to_{word}": hit.get(name, inf) for name in COST_NAMES}
        return row


def worst(statuses: list[str]) -> str:
    """Return the worst of several statuses."""
    return max(statuses, key=STATUSES.index)
