"""The only training loop. It owns clock, evaluation, stopping and selection; it opens no file."""

from __future__ import annotations

import logging
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from math import isfinite, nan
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from beyond.contracts import Batch, Method, Task
from beyond.errors import InputError, UnsupportedError
from beyond.ledger import Budget, Ledger
from beyond.outcome import Outcome
from beyond.probe import Probe
from beyond.problem import Problem, SourceProblem, seal
from beyond.sampler import Sampler
from beyond.streams import Stream
from beyond.trainable import Network

Row = dict[str, Any]

# Fractions of the budget at which every method is evaluated: ten a decade, from a thousandth.
GRID = tuple(10 ** (-3 + step / 10) for step in range(31))
ACTIVITY = ("spikes", "accumulates")  # what `Problem.count` may be told
INFERENCE = tuple(f"inference_{name}" for name in ("flops", *ACTIVITY))
EVALUATION_CHUNK = 8192  # examples of all replicas together; bounds the memory of an evaluation
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
        Seconds of step time for the whole run; beyond it the run counts as failed.
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
    """

    spent: float
    score: float
    curves: list[Row]
    layers: list[Row]
    runs: list[Row]
    snapshot: dict[str, Any]


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
        self.observer = Problem(network, task.spec, signal=method.signal)
        self.pretraining = Ledger() if source is None or source.ledger is None else source.ledger
        self.splits = task.at(seeds)
        n_train = self.splits.size("train")
        n_queries = 1 if task.spec.episode is None else task.spec.episode.n_query
        self.epoch_flops = n_train * n_queries * (network.forward_flops + network.backward_flops())
        self.sampler = Sampler(n_train, min(method.batch_size, n_train), Stream("data", seeds))
        self.augmentation = Stream("augment", seeds)
        self.rng = Stream("step", seeds)
        self.probe = Probe(self.splits, task.spec, network, seeds)
        self.outcomes = [Outcome(setup.task.spec.targets) for _ in seeds]
        self.kept: dict[int, Any] = {}  # states that are some replica's best so far, by checkpoint
        self.state: Any = None
        self.previous: Any = None
        self.batch: Batch | None = None  # that the last step saw
        self.n_passed = 0

    # ----------------------------------------------------------------------------------------------- running

    def start(self) -> None:
        initial = self.setup.network.init(Stream("init", self.setup.seeds))
        clock = perf_counter()
        self.state = self.setup.method.init(self.problem, initial, self.rng)
        if self.pretraining.flops:
            self.pretraining.seconds += (perf_counter() - clock) / len(self.setup.seeds)

    def advance(self) -> Iterator[int]:
        """Step; yield how many points of the grid are passed whenever that grows, and all of them at the end."""
        setup, method = self.setup, self.setup.method
        n_replicas, limit = len(setup.seeds), setup.time_limit
        evaluated = True
        while not method.done(self.state) and any(outcome.alive for outcome in self.outcomes):
            drawn = self.splits.batch("train", self.sampler.next(), self.augmentation)
            batch = seal(drawn, method.signal)
            before = self.ledger.copy()
            clock = perf_counter()
            try:
                state = method.step(self.state, batch, self.problem, self.rng)
            except Exception:
                self.ledger.restore(before)
                raise
            self.ledger.seconds += (perf_counter() - clock) / n_replicas
            self.ledger.steps += 1
            spent = setup.budget.spent(self.ledger, self.epoch_flops)
            if spent > 1 + ROUNDING:  # such a step is not taken
                self.ledger.restore(before)
                if not self.ledger.steps:
                    for outcome in self.outcomes:
                        outcome.reason = outcome.reason or "one step costs more than the budget"
                break
            if spent <= setup.budget.spent(before, self.epoch_flops) and not method.done(state):
                raise RuntimeError(
                    f"a step spends nothing of the budget in {setup.budget.currency}: it would never end"
                )
            self.previous, self.state, self.batch, evaluated = self.state, state, drawn, False
            passed = bisect_right(GRID, spent * (1 + ROUNDING))
            if passed > self.n_passed:
                self.n_passed, evaluated = passed, True
                yield passed
            if limit is not None and self.ledger.seconds * n_replicas > limit:
                self.end("failed", f"time limit of {limit:g} s")
                break
        if not evaluated:
            yield len(GRID)

    def end(self, status: str, reason: str) -> None:
        """End the replicas that are still alive."""
        for outcome in self.outcomes:
            if outcome.alive:
                outcome.status, outcome.reason = status, reason

    # -------------------------------------------------------------------------------------------- evaluating

    def checkpoint(self, index: int) -> Progress:
        """Evaluate the current solution and keep it where it is a replica's best."""
        costs = self.costs()
        scores = {split: self.scores(self.state, split) for split in ("train", "validation")}
        curves: list[Row] = []
        for replica, outcome in enumerate(self.outcomes):
            if not outcome.alive:
                continue
            own = {split: {name: float(v[replica]) for name, v in scores[split].items()} for split in scores}
            if not all(isfinite(value) for values in own.values() for value in values.values()):
                outcome.status, outcome.reason = "diverged", f"a loss is not finite after {self.ledger.steps} steps"
                continue
            for split, values in own.items():
                curves += self.curve_rows(replica, index, costs, split, values)
            outcome.update(index, costs, own, self.setup.task.spec.score)
        layers = self.layer_rows(index)
        best = {outcome.best_checkpoint for outcome in self.outcomes}
        self.kept = {key: state for key, state in {**self.kept, index: self.state}.items() if key in best}
        alive = [outcome.final["validation"][self.setup.task.spec.score] for outcome in self.outcomes if outcome.alive]
        score = sum(alive) / len(alive) if alive else nan
        return Progress(self.spent(), score, curves, layers, [], self.snapshot())

    def finish(self) -> Progress:
        """Touch the test split, once: each replica at its best checkpoint and at the end."""
        curves: list[Row] = []
        at = {key: self.test_scores(state) for key, state in self.kept.items()}
        end = self.test_scores(self.state) if any(outcome.alive for outcome in self.outcomes) else {}
        for replica, outcome in enumerate(self.outcomes):
            best, last = outcome.best_checkpoint, outcome.last_checkpoint
            if best in at:
                outcome.best["test"] = {name: float(values[replica]) for name, values in at[best].items()}
                curves += self.curve_rows(replica, best, outcome.best_costs, "test", outcome.best["test"])
            if outcome.alive:
                outcome.final["test"] = {name: float(values[replica]) for name, values in end.items()}
                if last != best:
                    curves += self.curve_rows(replica, last, self.costs(), "test", outcome.final["test"])
        cost = {key: self.inference(state) for key, state in self.kept.items()}
        unknown = [dict.fromkeys(INFERENCE, nan)] * len(self.outcomes)
        runs = [
            self.run_row(replica, cost.get(outcome.best_checkpoint, unknown)[replica])
            for replica, outcome in enumerate(self.outcomes)
        ]
        return Progress(self.spent(), nan, curves, [], runs, {})

    def test_scores(self, state: Any) -> dict[str, Tensor]:
        """Scores (R,) on the test split, and those of the method's variants under their names."""
        found = self.scores(state, "test")
        for name, variant in self.setup.method.variants().items():
            found |= {f"{name}_{metric}": own for metric, own in self.scores(state, "test", variant).items()}
        return found

    def scores(self, state: Any, split: str, method: Method | None = None) -> dict[str, Tensor]:
        """Scores (R,) of the current solution on a whole split, by the run's method or a variant."""
        found = [(self.predictions(state, chunk, self.observer, method), chunk.targets) for chunk in self.chunks(split)]
        outputs, targets = (torch.cat(parts, 1) for parts in zip(*found, strict=True))
        return self.setup.task.score(outputs, targets.expand(len(outputs), *targets.shape[1:]))

    def predictions(self, state: Any, batch: Batch, problem: Problem, method: Method | None = None) -> Tensor:
        """Outputs (R, B, n_outputs) for a batch, whose tensors may have one replica for all."""
        n_replicas = len(self.setup.seeds)
        inputs = batch.inputs.expand(n_replicas, *batch.inputs.shape[1:])
        support = None
        if batch.support is not None:
            own = batch.support
            shown, answers = (part.expand(n_replicas, *part.shape[1:]) for part in (own.inputs, own.targets))
            support = Batch(shown, answers)
        return (method or self.setup.method).predict(state, problem, inputs, support)

    def chunks(self, split: str) -> Iterator[Batch]:
        """Cut a split into parts of about `EVALUATION_CHUNK` examples, or that many queries of whole episodes."""
        episode = self.setup.task.spec.episode
        n_queries = 1 if episode is None else episode.n_query
        size = max(1, EVALUATION_CHUNK // (n_queries * len(self.setup.seeds)))
        for indices in torch.arange(self.splits.size(split)).split(size):
            yield self.splits.batch(split, indices.unsqueeze(0))

    def inference(self, state: Any) -> list[Row]:
        """Cost of a prediction, for each replica: operations, spikes, and the additions that spikes cause."""
        sample = next(self.chunks("validation"))
        n_examples, n_replicas = sample.inputs.shape[1], len(self.outcomes)
        ledger = Ledger()
        meter = Problem(self.setup.network, self.setup.task.spec, ledger, self.setup.method.signal)
        self.predictions(state, sample, meter)
        none = torch.zeros(n_replicas)
        rates = [(meter.activity.get(name, none) / n_examples).tolist() for name in ACTIVITY]
        flops = ledger.flops / n_examples
        return [dict(zip(INFERENCE, (flops, *own), strict=True)) for own in zip(*rates, strict=True)]

    def spent(self) -> float:
        return self.setup.budget.spent(self.ledger, self.epoch_flops)

    def costs(self) -> dict[str, float]:
        return self.ledger.costs(self.epoch_flops)

    # ------------------------------------------------------------------------------------------------- rows

    def curve_rows(
        self, replica: int, index: int, costs: dict[str, float], split: str, values: dict[str, float]
    ) -> list[Row]:
        spent = {("step" if name == "steps" else name): cost for name, cost in costs.items()}
        common = {**self.setup.identity, "seed": self.setup.seeds[replica], "checkpoint": index, **spent}
        return [{**common, "split": split, "metric": name, "value": value} for name, value in values.items()]

    def layer_rows(self, index: int) -> list[Row]:
        method = self.setup.method
        before = None if self.previous is None else method.params(self.previous)
        transport = method.transport(self.state, self.observer)
        measured = self.probe.measure(method.params(self.state), before, transport, self.batch)
        return [
            {
                **self.setup.identity,
                "seed": self.setup.seeds[replica],
                "checkpoint": index,
                **{k: float(v[replica]) if isinstance(v, Tensor) else v for k, v in part.items()},
            }
            for replica, outcome in enumerate(self.outcomes)
            if outcome.alive
            for part in measured
        ]

    def run_row(self, replica: int, inference: Row) -> Row:
        outcome, setup = self.outcomes[replica], self.setup
        return {
            **setup.identity,
            "seed": setup.seeds[replica],
            **outcome.row(setup.task.spec.score),
            "budget": setup.budget.amount,
            "budget_currency": setup.budget.currency,
            **self.costs(),
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
            "outcomes": [asdict(outcome) for outcome in self.outcomes],
            "n_passed": self.n_passed,
        }

    def restore(self, snapshot: dict[str, Any]) -> None:
        self.state, self.kept, self.n_passed = snapshot["state"], snapshot["kept"], snapshot["n_passed"]
        self.ledger.restore(Ledger(**snapshot["ledger"]))
        self.pretraining.restore(Ledger(**snapshot["pretraining"]))
        self.sampler.restore(snapshot["sampler"])
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
