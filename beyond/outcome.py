"""What becomes of one replica: its status, its best checkpoint, and what it cost to get there."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf, nan
from typing import Any

from beyond.contracts import SPLITS
from beyond.ledger import COST_NAMES

LEVELS = ("easy", "medium", "hard")
Scores = dict[str, dict[str, float]]  # by split, by metric


@dataclass
class Outcome:
    """What becomes of one replica."""

    targets: tuple[float, ...]
    status: str = "finished"
    reason: str = ""
    best_checkpoint: int = -1
    last_checkpoint: int = -1
    best: dict[str, dict[str, float]] = field(default_factory=dict)
    final: dict[str, dict[str, float]] = field(default_factory=dict)
    best_costs: dict[str, float] = field(default_factory=dict)
    target_costs: list[dict[str, float]] = field(default_factory=lambda: [{} for _ in LEVELS])

    @property
    def alive(self) -> bool:
        return self.status == "finished"

    def update(self, index: int, costs: dict[str, float], scores: dict[str, dict[str, float]], score: str) -> None:
        """Select by validation score; the earliest of equals wins."""
        self.last_checkpoint, self.final = index, scores
        reached = scores["validation"][score]
        if self.best_checkpoint < 0 or reached > self.best["validation"][score]:
            self.best_checkpoint, self.best, self.best_costs = index, dict(scores), costs
        for target, hit in zip(self.targets, self.target_costs, strict=True):
            if not hit and reached >= target:
                hit.update(costs)

    def row(self, score: str) -> dict[str, Any]:
        """Columns of the runs table, for the task's headline `score`."""
        loss = next((name for values in self.best.values() for name in values if name.endswith("_loss")), "")
        row: dict[str, Any] = {
            "status": self.status,
            "reason": self.reason,
            "score": score,
            "best_checkpoint": self.best_checkpoint,
        }
        for moment, values in (("best", self.best), ("final", self.final if self.alive else {})):
            for split in SPLITS:
                row[f"{moment}_{split}_score"] = values.get(split, {}).get(score, nan)
                row[f"{moment}_{split}_loss"] = values.get(split, {}).get(loss, nan)
        row |= {f"{name}_to_best": self.best_costs.get(name, nan) for name in COST_NAMES}
        for level, target, hit in zip(LEVELS, self.targets, self.target_costs, strict=True):
            row[f"target_{level}"] = target
            row |= {f"{name}_to_{level}": hit.get(name, inf) for name in COST_NAMES}
        return row
