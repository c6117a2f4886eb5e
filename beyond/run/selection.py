"""What becomes of each replica: scores at checkpoints, best states, one look at the test split."""

from __future__ import annotations

from math import nan
from typing import Any

from torch import Tensor

from beyond.hardware import moved
from beyond.run.evaluation import Evaluation, Tested
from beyond.run.outcome import Outcome, Scores
from beyond.run.rows import by_replica
from beyond.run.setup import Setup
from beyond.run.stopping import Stopping


class Selection:
    """Selects by validation score, for each replica by itself.

    Parameters
    ----------
    setup : Setup
    evaluation : Evaluation

    Attributes
    ----------
    outcomes : list of Outcome
        One a replica.
    kept : dict of int to state
        By checkpoint, states that are some replica's best so far.
    """

    def __init__(self, setup: Setup, evaluation: Evaluation) -> None:
        self._evaluation = evaluation
        self._score = setup.task.spec.score
        self._run_ids = setup.run_ids
        self.outcomes = [Outcome(setup.task.spec.levels) for _ in setup.seeds]
        self.kept: dict[int, Any] = {}

    @property
    def going(self) -> bool:
        """Whether some replica has not ended."""
        return any(outcome.going for outcome in self.outcomes)

    @property
    def mean_score(self) -> float:
        """Mean validation score of the replicas that neither diverged nor failed, or NaN."""
        scores = [
            outcome.final["validation"][self._score] for outcome in self.outcomes if outcome.alive
        ]
        return sum(scores) / len(scores) if scores else nan

    def end(self, status: str, reason: str) -> None:
        """End the replicas that have not ended."""
        for outcome in self.outcomes:
            outcome.end(status, reason)

    def fail(self, reason: str) -> None:
        """Let those that have finished have failed."""
        for outcome in self.outcomes:
            outcome.stopped = False
            outcome.end("failed", reason)

    def update(
        self, index: int, state: Any, costs: dict[str, float], stopping: Stopping | None = None
    ) -> list[Scores]:
        """Evaluate a checkpoint, keep it where it is a replica's best; return replicas' scores.

        Parameters
        ----------
        index : int
            Of the checkpoint.
        state
            The method's.
        costs : dict of str to float
            What was spent so far, in every currency.
        stopping : Stopping, optional
            By what a replica ends here.
        """
        n_replicas = len(self.outcomes)
        found = {
            split: by_replica(self._evaluation.scores(state, split), n_replicas)
            for split in ("train", "validation")
        }
        scores = [
            {split: values[replica] for split, values in found.items()}
            for replica in range(n_replicas)
        ]
        for outcome, of_replica in zip(self.outcomes, scores, strict=True):
            outcome.update(index, costs, of_replica, self._score)
            if stopping is not None:
                outcome.stop(stopping)
        wanted = {outcome.best_checkpoint for outcome in self.outcomes}
        wanted |= {outcome.last_checkpoint for outcome in self.outcomes if outcome.stopped}
        states = {**self.kept, index: state}
        self.kept = {key: kept for key, kept in states.items() if key in wanted}
        return scores

    def test(self, state: Any) -> dict[int, Tested]:
        """Touch the test split, once: each replica at its best checkpoint, and `state` at the end.

        Returns
        -------
        dict of int to Tested
            By checkpoint.
        """
        ends = {outcome.last_checkpoint for outcome in self.outcomes if outcome.going}
        tested = {
            key: self._evaluation.test(kept, self._selected(key), self._run_ids)
            for key, kept in {**self.kept, **dict.fromkeys(ends, state)}.items()
        }
        scores = {key: by_replica(one.scores, len(self.outcomes)) for key, one in tested.items()}
        for replica, outcome in enumerate(self.outcomes):
            best, last = outcome.best_checkpoint, outcome.last_checkpoint
            if best in tested:
                outcome.best = {**outcome.best, "test": scores[best][replica]}
            if outcome.alive:
                outcome.final = {**outcome.final, "test": scores[last][replica]}
        return tested

    def _selected(self, checkpoint: int) -> list[int]:
        """Replicas whose best checkpoint this is."""
        return [
            replica
            for replica, outcome in enumerate(self.outcomes)
            if outcome.best_checkpoint == checkpoint
        ]

    def selected(self) -> dict[int, Any]:
        """Return by replica the state at the best checkpoint, of that replica alone, on the CPU."""
        kept = moved(self.kept, "cpu")
        return {
            replica: of_replica(kept[outcome.best_checkpoint], replica, len(self.outcomes))
            for replica, outcome in enumerate(self.outcomes)
            if outcome.best_checkpoint in kept
        }

    def snapshot(self) -> dict[str, Any]:
        """Return what is needed to go on from here."""
        return {"kept": self.kept, "outcomes": [vars(outcome).copy() for outcome in self.outcomes]}

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Go on from a snapshot."""
        self.kept = moved(snapshot["kept"], self._evaluation.network.hardware.place)
        self.outcomes = [Outcome(**outcome) for outcome in snapshot["outcomes"]]


def of_replica(state: Any, replica: int, n_replicas: int) -> Any:
    """Return a state with one replica's rows of its tensors, (1, ...), copied."""
    if isinstance(state, Tensor):
        by_replicas = state.dim() and len(state) == n_replicas
        return state[replica : replica + 1].clone() if by_replicas else state
    if isinstance(state, dict):
        return {name: of_replica(part, replica, n_replicas) for name, part in state.items()}
    if isinstance(state, list | tuple):
        return type(state)(of_replica(part, replica, n_replicas) for part in state)
    return state
