"""What a state is worth: scores on the splits, the cost of a prediction, the test answers.

Validation and test splits are scored whole. Of a large training split, some examples are, drawn
once: to pass all at each checkpoint takes longer than to learn from them
(docs/decisions/0030-scores-of-training.md).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from math import nan
from typing import Any

import torch
from torch import Tensor

from beyond.contracts import TRAIN_SCORED, Batch, Method, Splits, Task
from beyond.control import ControlProblem, door, greedy, spread
from beyond.hardware import within_memory
from beyond.ledger import Ledger
from beyond.network.trainable import Network
from beyond.problem import Problem
from beyond.run.predictions import Columns, columns
from beyond.streams import Stream

ACTIVITY = ("spikes", "accumulates")  # what `Problem.count` may be told
INFERENCE = tuple(f"inference_{name}" for name in ("flops", *ACTIVITY))
EVALUATION_CHUNK = 8192  # examples of all replicas together; bounds the memory of an evaluation
KEPT = 1 << 25  # bytes of a split that is not looked up at each checkpoint anew, but kept


@dataclass(frozen=True)
class Tested:
    """What a state is worth on the test split.

    Attributes
    ----------
    scores : dict of str to Tensor of shape (R,)
        Those of other settings of its prediction under their names too.
    inference : list of dict
        What a prediction costs, for each replica: operations, spikes, and the additions that spikes
        cause.
    predictions : dict of int to (dict of str to array)
        A table each of the replicas that were asked for.
    """

    scores: dict[str, Tensor]
    inference: list[dict[str, float]]
    predictions: dict[int, Columns]


class Evaluation:
    """Evaluates states of one method on one task. Nothing that it does is charged.

    Parameters
    ----------
    method : Method
    task : Task
    network : Network
    seeds : sequence of int
        One a replica.
    splits : Splits
        The task's, at these seeds.
    also : mapping of str to Method
        The method with other settings of its prediction, by name.
    """

    def __init__(
        self,
        method: Method,
        task: Task,
        network: Network,
        seeds: Sequence[int],
        splits: Splits,
        also: Mapping[str, Method],
    ) -> None:
        self.method = method
        self.task = task
        self.network = network
        self.seeds = seeds
        self.splits = splits
        self.also = also
        self.problem = door(network, task.spec, signal=method.signal)
        self._kept: dict[tuple[str, int], list[Batch]] = {}  # chunks, by split and size

    def n_examples(self, split: str) -> int:
        """Count what is scored: examples, or the queries of all episodes."""
        return self.splits.size(split) * self.task.spec.n_scored

    def scores(self, state: Any, split: str) -> dict[str, Tensor]:
        """Scores (R,) on a split; on at most `TRAIN_SCORED` examples of the training split."""
        return self.task.score(*self._answers(self.method, state, split, self.problem))

    def test(self, state: Any, replicas: Sequence[int], run_ids: Sequence[str]) -> Tested:
        """Scores and costs on the test split; the predictions of some replicas, for their runs."""
        spec, n_examples = self.task.spec, self.n_examples("test")
        ledger = Ledger()
        meter = door(self.network, spec, ledger, self.method.signal)
        outputs, targets = self._answers(self.method, state, "test", meter)
        scores = self.task.score(outputs, targets)
        for name, other in self.also.items():
            further = self.task.score(*self._answers(other, state, "test", self.problem))
            scores |= {f"{name}_{metric}": values for metric, values in further.items()}
        none = outputs.new_zeros(len(self.seeds))
        n_answers = ledger.rewards or n_examples  # an episode that is played has many
        activity = [(meter.activity.get(name, none) / n_answers).tolist() for name in ACTIVITY]
        flops = ledger.flops / n_answers
        inference = [
            dict(zip(INFERENCE, (flops, *counts), strict=True))
            for counts in zip(*activity, strict=True)
        ]
        ids = self._expanded(self.splits.ids("test", self._places("test")))
        if spec.world is not None:
            targets = torch.full_like(outputs, nan)  # there are none
        elif targets.ndim == outputs.ndim:  # values
            outputs, targets = self.splits.in_units(outputs), self.splits.in_units(targets)
        told = ids, targets, outputs
        tables = {
            r: columns(
                spec.scored_kind, run_ids[r], self.seeds[r], *(part[r].cpu() for part in told)
            )
            for r in replicas
        }
        return Tested(scores, inference, tables)

    def _answers(
        self, method: Method, state: Any, split: str, problem: Problem
    ) -> tuple[Tensor, Tensor]:
        """Outputs (R, B, n_outputs) and targets (R, B, ...) of what is scored of a split.

        Where the task is to act, these are the returns (R, B, 1) of episodes, and their starts.
        """

        def answers(size: int) -> list[tuple[Tensor, Tensor]]:
            if problem.ledger is not None:  # a meter counts one attempt
                problem.ledger.restore(Ledger())
            problem.activity = {}
            return [
                (self._predict(method, state, batch, problem), batch.targets)
                for batch in self._chunks(split, size)
            ]

        size = self.network.hardware.at_once(EVALUATION_CHUNK, self.network.example_bytes)
        found = within_memory(min(size, self.n_examples(split) * len(self.seeds)), answers)
        outputs, targets = (torch.cat(parts, 1) for parts in zip(*found, strict=True))
        return outputs, self._expanded(targets)

    def _predict(self, method: Method, state: Any, batch: Batch, problem: Problem) -> Tensor:
        """Outputs (R, B, n_outputs) for a batch, whose tensors may have one replica for all."""
        if isinstance(problem, ControlProblem):
            return self._played(method, state, batch, problem)
        shown = batch.support
        support = None
        if shown is not None:
            support = Batch(self._expanded(shown.inputs), self._expanded(shown.targets))
        return method.predict(state, problem, Batch(self._expanded(batch.inputs), None, support))

    def _played(self, method: Method, state: Any, batch: Batch, problem: ControlProblem) -> Tensor:
        """Returns (1, B, 1) of episodes in which the likeliest action is taken, from each start."""
        kind = self.task.spec.target_kind

        def act(observations: Tensor, alive: Tensor) -> Tensor:
            shown = Batch(observations[alive].unsqueeze(0), None)
            (actions,) = greedy(kind, method.predict(state, problem, shown))
            return spread(actions, alive)

        return problem.returns(act, batch.targets)

    def _expanded(self, values: Tensor) -> Tensor:
        return values.expand(len(self.seeds), *values.shape[1:])

    def _places(self, split: str) -> Tensor:
        """Places (1, B) of what is scored of a split, the same for every method and seed."""
        size, most = self.splits.size(split), max(1, TRAIN_SCORED // self.task.spec.n_scored)
        places = torch.arange(size).unsqueeze(0)
        if split == "train" and size > most:
            places = Stream("train score", [0]).permutation(size)[:, :most].sort(1).values
        return places.to(self.network.hardware.place)

    def _chunks(self, split: str, n_at_once: int) -> Iterable[Batch]:
        """Cut what is scored into parts of about so many examples, or queries of episodes."""
        if (split, n_at_once) in self._kept:
            return self._kept[split, n_at_once]
        size, n_examples = self.splits.size(split), self.n_examples(split)
        parts = self._places(split).split(
            max(1, n_at_once * size // (n_examples * len(self.seeds))), 1
        )
        chunks = (self.splits.batch(split, part) for part in parts)
        first = next(chunks)
        if len(parts) * _n_bytes(first) > self.network.hardware.at_once(KEPT, 1):
            return chain([first], chunks)
        return self._kept.setdefault((split, n_at_once), [first, *chunks])


def _n_bytes(batch: Batch) -> int:
    shown = 0 if batch.support is None else _n_bytes(batch.support)
    return batch.inputs.nbytes + batch.targets.nbytes + shown
