"""The only training loop. It owns clock, evaluation, stopping and selection; it opens no file."""

from __future__ import annotations

import logging
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from math import nan
from time import perf_counter
from typing import Any

from torch import Tensor

from beyond.contracts import SPLITS, Batch, Method, Task
from beyond.data.sampler import Sampler
from beyond.errors import InputError, UnsupportedError
from beyond.ledger import Budget, Ledger
from beyond.network.trainable import Network
from beyond.problem import Problem, SourceProblem, seal
from beyond.run.evaluation import INFERENCE, Evaluation
from beyond.run.outcome import Outcome
from beyond.run.predictions import Columns, joined
from beyond.run.probe import Probe
from beyond.streams import Stream

Row = dict[str, Any]

# Fractions of the budget at which every method is evaluated: ten a decade, from a thousandth.
GRID = tuple(10 ** (-3 + step / 10) for step in range(31))
UNKNOWN = dict.fromkeys(INFERENCE, nan)
ROUNDING = 1e-9  # relative; a budget that is met exactly is not exceeded


@dataclass(frozen=True)
class Setup:
    """All that decides a run's result.

    Attributes
    ----------
    method, task, network
        `network` is built for the task.
    seeds : list of int
        One a replica.
    budget : Budget
        What each replica may spend.
    identity : dict of str to str
        Columns that every row of the run carries: run_id, study, method, signal, task, network, ...
    time_limit : float, optional
        Seconds that the whole run may take, evaluation and first calls included; one that takes longer has failed.
    """

    method: Method
    task: Task
    network: Network
    seeds: list[int]
    budget: Budget
    identity: dict[str, Any] = field(default_factory=dict)
    time_limit: float | None = None


@dataclass(frozen=True)
class Progress:
    """What happened since the last one.

    Attributes
    ----------
    spent : float
        Fraction of the budget.
    score : float
        Mean validation score of the replicas still alive.
    curves, layers, runs : list of dict
        New rows of the three tables; `runs` comes with the last one only. `layers` has the network as depth 0.
    snapshot : dict
        Hand it to `train` to go on from here.
    predictions : dict of str to array
        Columns of the fourth table, see `beyond.run.predictions`; with the last one only.
    """

    spent: float
    score: float
    curves: list[Row]
    layers: list[Row]
    runs: list[Row]
    snapshot: dict[str, Any]
    predictions: Columns = field(default_factory=dict)


def train(setup: Setup, snapshot: dict[str, Any] | None = None) -> Iterator[Progress]:
    """Train every replica until the budget is spent, yielding at each checkpoint.

    Raises
    ------
    UnsupportedError
        If the method cannot serve the task or network.
    InputError
        If a setting that only shows with the data is out of its range.
    """
    run = _Run(setup)
    try:
        if snapshot is None:
            run.start()
            yield run.checkpoint(0)
        else:
            run.restore(snapshot)
        for index in run.advance():
            yield run.checkpoint(index)
    except (UnsupportedError, InputError):
        raise
    except Exception as error:  # a method's fault is a row, not the study's end
        logging.getLogger(__name__).exception("the run failed")
        run.end("failed", f"{type(error).__name__}: {error}".splitlines()[0])
    yield run.finish()


class _Run:
    """One run under way. `state` is the method's; the harness never looks inside."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        method, task, network, seeds = setup.method, setup.task, setup.network, setup.seeds
        self.ledger = Ledger()
        source = None if task.source is None else SourceProblem(task.source, network, seeds, method.signal)
        self.problem = Problem(network, task.spec, self.ledger, method.signal, source)
        self.pretraining = Ledger() if source is None or source.ledger is None else source.ledger
        self.splits = task.at(seeds)
        self.evaluation = Evaluation(method, task, network, seeds, self.splits)
        self.n_examples = {split: self.evaluation.n_examples(split) for split in SPLITS}
        self.epoch_flops = self.n_examples["train"] * (network.forward_flops + network.backward_flops())
        n_train = self.splits.size("train")
        self.sampler = Sampler(n_train, min(method.batch_size, n_train), Stream("data", seeds))
        self.augmentation = Stream("augment", seeds)
        self.ahead: Iterator[Batch] = iter(())  # the sampler's next batches
        self.rng = Stream("step", seeds)
        self.probe = Probe(self.splits, task.spec, network, seeds)
        self.outcomes = [Outcome(setup.task.spec.targets) for _ in seeds]
        self.kept: dict[int, Any] = {}  # states that are some replica's best so far, by checkpoint
        self.state: Any = None
        self.previous: Any = None
        self.batch: Batch | None = None  # that the last step saw
        self.n_passed = 0
        self.began = perf_counter()

    # ----------------------------------------------------------------------------------------------- running

    def start(self) -> None:
        initial = self.setup.network.init(Stream("init", self.setup.seeds))
        clock = perf_counter()
        self.state = self.setup.method.init(self.problem, initial, self.rng)
        if self.pretraining.flops:
            self.pretraining.seconds += (perf_counter() - clock) / len(self.setup.seeds)

    @property
    def under_way(self) -> bool:
        """Whether there is something left to spend, and it would change anything."""
        left = self.spent() < 1 and any(outcome.alive for outcome in self.outcomes)
        return left and not self.setup.method.done(self.state)

    @property
    def late(self) -> bool:
        """Whether the run has taken longer than it may."""
        limit = self.setup.time_limit
        return limit is not None and self.elapsed > limit

    @property
    def elapsed(self) -> float:
        """Seconds since the run began, without those between an interruption and its going on."""
        return perf_counter() - self.began

    def advance(self) -> Iterator[int]:
        """Step; yield how many points of the grid are passed whenever that grows, and all of them at the end."""
        setup = self.setup
        reason = "the method was done before its first step"
        evaluated = True
        if self.under_way:
            self.warm_up()
        while self.under_way and not self.late:
            before, drawn = self.ledger.copy(), self.draw()
            state = self.step(drawn)
            spent = self.spent()
            if spent > 1 + ROUNDING:  # such a step is not taken
                self.ledger.restore(before)
                amount, currency = setup.budget.amount, setup.budget.currency
                reason = f"one step costs {spent * amount:.4g} {currency}, the budget is {amount:g}"
                break
            if spent <= setup.budget.spent(before, self.epoch_flops) and not setup.method.done(state):
                raise RuntimeError(
                    f"a step spends nothing of the budget in {setup.budget.currency}: it would never end"
                )
            self.previous, self.state, self.batch, evaluated = self.state, state, drawn, False
            passed = bisect_right(GRID, spent * (1 + ROUNDING))
            if passed > self.n_passed:
                self.n_passed, evaluated = passed, True
                yield passed
        if self.late:
            self.end("failed", f"time limit of {setup.time_limit:g} s")
        if not evaluated:
            yield len(GRID)
        if not self.ledger.steps:
            self.end("untrained", reason)

    def draw(self) -> Batch:
        """Draw the batch of the next step."""
        batch = next(self.ahead, None)
        if batch is None:
            self.ahead = self.splits.training(self.sampler.ahead(), self.augmentation)
            batch = next(self.ahead)
        self.sampler.advance()
        return batch

    def step(self, drawn: Batch) -> Any:
        """Let the method step once, on the clock; a step that fails is not charged."""
        batch, before = seal(drawn, self.setup.method.signal), self.ledger.copy()
        clock = perf_counter()
        try:
            state = self.setup.method.step(self.state, batch, self.problem, self.rng)
        except Exception:
            self.ledger.restore(before)
            raise
        self.ledger.seconds += (perf_counter() - clock) / len(self.outcomes)
        self.ledger.steps += 1
        return state

    def warm_up(self) -> None:
        """Step and forget it, as if interrupted: what only a first call costs is not on the method's clock."""
        before, began = self.snapshot(), self.began
        try:
            self.step(self.draw())
        finally:
            self.restore(before)
            self.began = began  # which the time limit counts from

    def end(self, status: str, reason: str) -> None:
        """End the replicas that are still alive."""
        for outcome in self.outcomes:
            outcome.end(status, reason)

    # -------------------------------------------------------------------------------------------- evaluating

    def checkpoint(self, index: int) -> Progress:
        """Evaluate the current solution and keep it where it is a replica's best."""
        costs = self.costs()
        scores = {split: self.replicas(self.evaluation.scores(self.state, split)) for split in ("train", "validation")}
        curves: list[Row] = []
        for replica, outcome in enumerate(self.outcomes):
            own = {split: rows[replica] for split, rows in scores.items()}
            outcome.update(index, costs, own, self.setup.task.spec.score)
            for split, values in own.items() if outcome.alive else ():
                curves += self.curve_rows(replica, index, costs, split, values)
        layers = self.layer_rows(index)
        best = {outcome.best_checkpoint for outcome in self.outcomes}
        self.kept = {key: state for key, state in {**self.kept, index: self.state}.items() if key in best}
        alive = [outcome.final["validation"][self.setup.task.spec.score] for outcome in self.outcomes if outcome.alive]
        score = sum(alive) / len(alive) if alive else nan
        return Progress(self.spent(), score, curves, layers, [], self.snapshot())

    def finish(self) -> Progress:
        """Touch the test split, once: each replica at its best checkpoint and at the end."""
        setup, outcomes = self.setup, self.outcomes
        states, ends = dict(self.kept), {outcome.last_checkpoint for outcome in outcomes if outcome.alive}
        states |= dict.fromkeys(ends, self.state)
        at = {
            key: self.evaluation.test(
                state, [r for r, o in enumerate(outcomes) if o.best_checkpoint == key], setup.identity.get("run_id", "")
            )
            for key, state in states.items()
        }
        scores = {key: self.replicas(tested.scores) for key, tested in at.items()}
        curves: list[Row] = []
        runs: list[Row] = []
        for replica, outcome in enumerate(outcomes):
            best, last = outcome.best_checkpoint, outcome.last_checkpoint
            if best in at:
                outcome.best = {**outcome.best, "test": scores[best][replica]}
                curves += self.curve_rows(replica, best, outcome.best_costs, "test", scores[best][replica])
            if outcome.alive:
                outcome.final = {**outcome.final, "test": scores[last][replica]}
                if last != best:
                    curves += self.curve_rows(replica, last, self.costs(), "test", scores[last][replica])
            runs.append(self.run_row(replica, at[best].inference[replica] if best in at else UNKNOWN))
        tables = [at[o.best_checkpoint].predictions[r] for r, o in enumerate(outcomes) if o.best_checkpoint in at]
        predictions = joined(setup.task.spec.target, tables)
        return Progress(self.spent(), nan, curves, [], runs, {}, predictions)

    def spent(self) -> float:
        return self.setup.budget.spent(self.ledger, self.epoch_flops)

    @property
    def total_seconds(self) -> float:
        return self.ledger.seconds * len(self.outcomes)

    def costs(self) -> dict[str, float]:
        return self.ledger.costs(self.epoch_flops)

    # ------------------------------------------------------------------------------------------------- rows

    def curve_rows(
        self, replica: int, index: int, costs: dict[str, float], split: str, values: dict[str, float]
    ) -> list[Row]:
        common = {**self.setup.identity, "seed": self.setup.seeds[replica], "checkpoint": index, **costs}
        return [{**common, "split": split, "metric": name, "value": value} for name, value in values.items()]

    def layer_rows(self, index: int) -> list[Row]:
        method = self.setup.method
        before = None if self.previous is None else method.params(self.previous)
        transport = method.transport(self.state, self.evaluation.problem)
        measured = self.probe.measure(method.params(self.state), before, transport, self.batch)
        parts = [self.replicas(part) for part in measured]
        return [
            {**self.setup.identity, "seed": self.setup.seeds[replica], "checkpoint": index, **part[replica]}
            for replica, outcome in enumerate(self.outcomes)
            if outcome.alive
            for part in parts
        ]

    def replicas(self, columns: dict[str, Any]) -> list[Row]:
        """Turn columns (R,) into a row a replica; what is no tensor is the same for all."""
        n = len(self.outcomes)
        lists = [own.tolist() if isinstance(own, Tensor) else [own] * n for own in columns.values()]
        return [dict(zip(columns, row, strict=True)) for row in zip(*lists, strict=True)]

    def run_row(self, replica: int, inference: Row) -> Row:
        outcome, setup = self.outcomes[replica], self.setup
        return {
            **setup.identity,
            "seed": setup.seeds[replica],
            **outcome.row(setup.task.spec.score),
            "budget": setup.budget.amount,
            "budget_currency": setup.budget.currency,
            "unspent": max(0.0, 1 - self.spent()),
            **self.costs(),
            "total_seconds": self.total_seconds,
            "split": self.splits.origin,
            **{f"n_{split}": n_examples for split, n_examples in self.n_examples.items()},
            "n_weights": setup.network.n_weights,
            **inference,
            **{f"pretraining_{name}": cost for name, cost in self.pretraining.costs(self.epoch_flops).items()},
            "state_bytes": _bytes(self.state) // len(self.outcomes),
        }

    # ---------------------------------------------------------------------------------------------- resuming

    def snapshot(self) -> dict[str, Any]:
        return {
            "state": self.state,
            "kept": self.kept,
            "ledger": asdict(self.ledger),
            "pretraining": asdict(self.pretraining),
            "sampler": self.sampler.state(),
            "augmentation": self.augmentation.state(),
            "rng": self.rng.state(),
            "outcomes": [vars(outcome).copy() for outcome in self.outcomes],
            "n_passed": self.n_passed,
            "elapsed": self.elapsed,
        }

    def restore(self, snapshot: dict[str, Any]) -> None:
        self.state, self.kept, self.n_passed = snapshot["state"], snapshot["kept"], snapshot["n_passed"]
        self.began = perf_counter() - snapshot["elapsed"]
        self.ledger.restore(Ledger(**snapshot["ledger"]))
        self.pretraining.restore(Ledger(**snapshot["pretraining"]))
        self.sampler.restore(snapshot["sampler"])
        self.ahead = iter(())
        self.augmentation.restore(snapshot["augmentation"])
        self.rng.restore(snapshot["rng"])
        self.outcomes = [Outcome(**outcome) for outcome in snapshot["outcomes"]]


def skip(setup: Setup, reason: str) -> Progress:
    """Rows for a method that cannot serve."""
    run = _Run(setup)
    run.end("skipped", reason)
    return run.finish()


def _bytes(state: Any) -> int:
    """Bytes of the tensors that a method holds between steps."""
    if isinstance(state, Tensor):
        return state.numel() * state.element_size()
    if isinstance(state, dict):
        return sum(_bytes(value) for value in state.values())
    return sum(_bytes(value) for value in state) if isinstance(state, list | tuple) else 0
