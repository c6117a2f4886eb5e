"""The only training loop: when to evaluate, and when to stop. It opens no file."""

from __future__ import annotations

import logging
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from math import nan
from typing import Any

import numpy as np

from beyond import catalog
from beyond.contracts import TargetKind
from beyond.errors import STRANGE, InputError, UnsupportedError, said
from beyond.hardware import out_of_memory, placed
from beyond.ledger import Ledger
from beyond.run.buffered import buffers_of, with_buffers
from beyond.run.evaluation import Evaluation
from beyond.run.predictions import Columns, joined
from beyond.run.pretraining import Pretraining
from beyond.run.probe import Probe
from beyond.run.rows import UNKNOWN, Row, curve_rows, layer_rows, run_row
from beyond.run.selection import Selection
from beyond.run.setup import Setup
from beyond.run.training import ROUNDING, Training
from beyond.streams import Stream

# Fractions of the budget at which every method is evaluated: ten a decade, from a thousandth.
GRID = tuple(10 ** (-3 + step / 10) for step in range(31))


@dataclass(frozen=True)
class Progress:
    """What happened since the last one.

    Attributes
    ----------
    spent : float
        Fraction of the budget, or of what is learnt first.
    score : float
        Mean validation score of the replicas still alive.
    curves, layers, runs : list of dict
        New rows of the three tables; `runs` comes with the last one only. `layers` has the network
        as depth 0.
    snapshot : dict
        Hand it to `train` to go on from here.
    predictions : dict of str to array
        Columns of the fourth table, see `beyond.run.predictions`; with the last one only.
    of : {"budget", "pre-training"}
        What `spent` is a fraction of.
    selected : dict of int to state
        By replica, the method's state at the best checkpoint, of that replica alone (R = 1); with
        the last one only.
    """

    spent: float
    score: float
    curves: list[Row]
    layers: list[Row]
    runs: list[Row]
    snapshot: dict[str, Any]
    predictions: Columns = field(default_factory=dict)
    of: str = "budget"
    selected: dict[int, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Ended:
    """What the last of a run's `Progress` has of its replicas, see there."""

    runs: list[Row]
    predictions: Columns
    selected: dict[int, Any]

    @classmethod
    def joined(cls, kind: TargetKind, parts: Sequence[Ended]) -> Ended:
        """Of all replicas, from parts."""
        runs = [row for part in parts for row in part.runs]
        predictions = joined(kind, [part.predictions for part in parts if part.predictions])
        return cls(runs, predictions, {r: s for part in parts for r, s in part.selected.items()})

    def plain(self) -> dict[str, Any]:
        """As a snapshot may hold it."""
        lists = {name: (str(v.dtype), v.tolist()) for name, v in self.predictions.items()}
        return {**vars(self), "predictions": lists}

    @classmethod
    def of(cls, plain: dict[str, Any]) -> Ended:
        """Undo `plain`."""
        lists = plain["predictions"].items()
        columns = {name: np.array(values, dtype) for name, (dtype, values) in lists}
        return cls(**{**plain, "predictions": columns})


def never() -> bool:
    """Nobody asks to stop."""
    return False


def train(
    setup: Setup, snapshot: dict[str, Any] | None = None, stop: Callable[[], bool] = never
) -> Iterator[Progress]:
    """Train every replica until the budget is spent, yielding at each checkpoint.

    Parameters
    ----------
    snapshot : dict, optional
        Where to go on from.
    stop : callable
        Asked before every step. Once it says so, the last that is yielded has no `runs`, and a
        snapshot from which the tables become those of a run that was never stopped.

    Raises
    ------
    UnsupportedError
        If the method cannot serve the task or network.
    InputError
        If a setting that only shows with the data is out of its range.
    """
    if setup.task.spec.world is not None and len(setup.seeds) > 1:
        yield from _in_turn(setup, snapshot, stop)
        return
    run: _Run | None = None
    try:
        run = _Run(setup, stop)
        if snapshot is not None:
            run.restore(snapshot)
        begins = not run.started
        yield from run.start()
        run.warm_up()  # a step that is refused comes before any row
        if begins:
            yield run.checkpoint(0)
        for index in run.advance():
            yield run.checkpoint(index)
    except _StoppedError:
        assert run is not None  # which alone asks
        yield Progress(run.training.spent(), nan, [], [], [], run.snapshot())
        return
    except (UnsupportedError, InputError):
        raise
    except STRANGE as error:  # a method's fault is a row, not the study's end
        if run is None and not out_of_memory(error):
            raise
        reason = _failure(error)
        if run is None:  # the data alone are too much
            yield skip(setup, reason, "failed")
            return
        run.selection.end("failed", reason)
    yield run.finish()


def _in_turn(
    setup: Setup, snapshot: dict[str, Any] | None, stop: Callable[[], bool]
) -> Iterator[Progress]:
    """Train one replica after the other: episodes differ in length, and so do replicas in cost."""
    ended = [Ended.of(plain) for plain in snapshot["ended"]] if snapshot else list[Ended]()
    going = snapshot["replica"] if snapshot else None
    n_replicas = len(setup.seeds)
    while len(ended) < n_replicas:
        replica = len(ended)
        for progress in train(setup.alone(replica), going, stop):
            if progress.runs:
                selected = {replica + place: state for place, state in progress.selected.items()}
                ended.append(Ended(progress.runs, progress.predictions, selected))
            going = None if progress.runs else progress.snapshot
            kept = {"ended": [one.plain() for one in ended], "replica": going}
            progress = replace(
                progress,
                spent=(replica + progress.spent) / n_replicas,
                **vars(Ended([], {}, {})),
                snapshot=kept,
            )
            if len(ended) == n_replicas:
                whole = Ended.joined(setup.task.spec.scored_kind, ended)
                progress = replace(progress, **vars(whole), snapshot={})
            yield progress
        if len(ended) == replica:
            return  # stopped


def _failure(error: BaseException) -> str:
    """Log an error, whole; return why the run has failed, in one line."""
    logging.getLogger(__name__).exception("the run failed")
    return _reason(error)


def _reason(error: BaseException) -> str:
    """Why a run has failed, in one line."""
    if out_of_memory(error):
        less = "fewer seeds in a run, smaller batches or populations, or max_memory take less"
        return f"out of memory: {less} ({said(error)})"
    return catalog.blame(error) or said(error)


def skip(setup: Setup, reason: str, status: str = "skipped") -> Progress:
    """Rows for a method that cannot serve, or of which nothing is known but how it ended.

    They are made on the CPU: a device may be what it ended for.
    """
    run = _Run(replace(setup, hardware=setup.hardware.on_host))
    run.selection.end(status, reason)
    return run.finish()


class _StoppedError(Exception):
    """Somebody asked to stop."""


class _Run:
    """One run: a training under way, and what is selected from it."""

    def __init__(self, setup: Setup, stop: Callable[[], bool] = never) -> None:
        network = setup.network.on(setup.hardware)
        self.setup = setup = with_buffers(replace(setup, network=network))
        method, task, seeds = setup.method, setup.task, setup.seeds
        splits = placed(task.at(seeds), setup.hardware)
        self.evaluation = Evaluation(method, task, network, seeds, splits, setup.also)
        self.pretraining = Pretraining(setup)
        self.training = Training(setup, splits)
        self.selection = Selection(setup, self.evaluation)
        self.probe = Probe(splits, task.spec, network.on(setup.hardware.exact), seeds)
        self.n_passed = 0
        self.evaluated = True  # whether no step was taken since the last checkpoint
        self.stop = stop
        self.ended: dict[str, Ledger] = {}  # of cells whose replicas have all ended, by run_id

    @property
    def started(self) -> bool:
        """Whether the method has the weights that it starts from."""
        return self.training.state is not None and self.pretraining.done

    def start(self) -> Iterator[Progress]:
        """Let the method start from the shared initial weights, or from what they learn first.

        One that goes on has started.
        """
        if self.started:
            return
        setup, training, pretraining = self.setup, self.training, self.pretraining
        drawn = setup.network.init(Stream("init", setup.seeds))
        initial = drawn.to(setup.hardware.place, setup.hardware.dtype)
        training.start(initial)  # what it cannot serve is refused before anything is learnt
        if pretraining.done:
            return
        for spent in pretraining.advance(initial, self.pause):
            yield Progress(spent, nan, [], [], [], self.snapshot(), of="pre-training")
            if training.late:
                return self.end_late()
        training.start(*pretraining.finish(initial))

    def pause(self) -> None:
        """Go no further if somebody asked to stop."""
        if self.stop():
            raise _StoppedError

    def end_late(self) -> None:
        """Fail for taking longer than a run may."""
        self.selection.end("failed", f"time limit of {self.setup.time_limit:g} s")

    @property
    def under_way(self) -> bool:
        """Whether there is something left to spend, and it would change anything."""
        return self.selection.going and not self.training.done

    def warm_up(self) -> None:
        """Take the next step for trial, where there is one."""
        if self.under_way:
            self.training.warm_up()

    def advance(self) -> Iterator[int]:
        """Step; yield how many points of the grid are passed when that grows, and at the end."""
        training = self.training
        reason = "the method was done before its first step"
        while self.under_way and not training.late:
            self.pause()
            refused = training.advance()
            if refused:
                reason = refused
                break
            self.evaluated = False
            passed = bisect_right(GRID, training.spent() * (1 + ROUNDING))
            if passed > self.n_passed:
                self.n_passed, self.evaluated = passed, True
                yield passed
        if training.late:
            self.end_late()
        if not self.evaluated:
            self.evaluated = True
            yield len(GRID)
        if not training.ledger.steps:
            self.selection.end("untrained", reason)

    def checkpoint(self, index: int) -> Progress:
        """Evaluate the current solution, and look into its layers."""
        setup, training, outcomes = self.setup, self.training, self.selection.outcomes
        costs = training.costs()
        stopping = setup.stopping if index < len(GRID) else None  # it has ended anyway
        scores = self.selection.update(index, training.state, costs, stopping)
        for run_id, replicas in setup.cells.items():
            if run_id not in self.ended and not any(outcomes[r].going for r in replicas):
                self.ended[run_id] = training.ledger.copy()
        curves = [
            row
            for replica, outcome in enumerate(outcomes)
            if outcome.last_checkpoint == index
            for split, values in scores[replica].items()
            for row in curve_rows(setup, replica, index, costs, split, values)
        ]
        layers = layer_rows(setup, index, self.measured(), outcomes)
        return Progress(
            training.spent(), self.selection.mean_score, curves, layers, [], self.snapshot()
        )

    def measured(self) -> list[dict[str, Any]]:
        """What the probe sees of the network and its blocks, and of the last step."""
        method, training = self.setup.method, self.training
        before = None if training.previous is None else method.params(training.previous)
        carriers = method.carriers(training.state, self.evaluation.problem)
        buffers = buffers_of(training.state, self.setup.network)
        return self.probe.measure(
            method.params(training.state), before, carriers, training.batch, buffers
        )

    def finish(self) -> Progress:
        """Test, and write what became of each replica; a test that fails is their failure."""
        setup, training = self.setup, self.training
        try:
            tested = self.selection.test(training.state)
        except STRANGE as error:
            tested = {}
            self.selection.fail(_failure(error))
        curves: list[Row] = []
        runs: list[Row] = []
        predictions: list[Columns] = []
        for replica, outcome in enumerate(self.selection.outcomes):
            best, last, inference = outcome.best_checkpoint, outcome.last_checkpoint, UNKNOWN
            if best in tested:
                curves += curve_rows(
                    setup, replica, best, outcome.best_costs, "test", outcome.best["test"]
                )
                predictions.append(tested[best].predictions[replica])
                inference = tested[best].inference[replica]
            if outcome.alive and last != best:
                curves += curve_rows(
                    setup, replica, last, outcome.final_costs, "test", outcome.final["test"]
                )
            ledger = self.ended.get(setup.run_ids[replica], training.ledger)
            if outcome.stopped:
                ledger = Ledger.of(outcome.final_costs)
            pretraining, evaluation = self.pretraining.ledger, self.evaluation
            runs.append(
                run_row(
                    setup, replica, outcome, training, ledger, pretraining, evaluation, inference
                )
            )
        written = joined(setup.task.spec.scored_kind, predictions)
        selected = self.selection.selected()
        return Progress(training.spent(), nan, curves, [], runs, {}, written, selected=selected)

    def snapshot(self) -> dict[str, Any]:
        return {
            **self.training.snapshot(),
            **self.selection.snapshot(),
            "n_passed": self.n_passed,
            # what the next checkpoint looks into, if no step comes before it
            "last_step": None if self.evaluated else self.training.last_step(),
            "ended": {run_id: asdict(ledger) for run_id, ledger in self.ended.items()},
            "pretraining": self.pretraining.snapshot(),
        }

    def restore(self, snapshot: dict[str, Any]) -> None:
        self.training.restore(snapshot)
        self.selection.restore(snapshot)
        self.n_passed = snapshot["n_passed"]
        last_step = snapshot["last_step"]
        self.evaluated = last_step is None
        if last_step is not None:
            self.training.restore_last_step(last_step)
        self.ended = {run_id: Ledger(**costs) for run_id, costs in snapshot["ended"].items()}
        self.pretraining.restore(snapshot["pretraining"])
