"""The warm start of a run: a training on a related task, before the budget begins."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from typing import Any

import torch
from torch import Tensor

from beyond.errors import UnsupportedError
from beyond.hardware import placed
from beyond.ledger import Budget, Ledger
from beyond.network.trainable import Buffers
from beyond.run.buffered import buffered, buffers_of
from beyond.run.setup import Setup
from beyond.run.training import Streams, Training

STREAMS = Streams("source", "source augment", "source step")
N_REPORTS = 100  # how often a training on the source is shown, and may be saved


class Pretraining:
    """Learns the source task of a setup's start, if it has one.

    Parameters
    ----------
    setup : Setup

    Attributes
    ----------
    ledger : Ledger
        What it has cost.
    done : bool
        Whether there is nothing to learn, or nothing left.
    """

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._training: Training | None = None
        self.ledger = Ledger()
        self.done = setup.start is None

    def advance(self, initial: Tensor, pause: Callable[[], object]) -> Iterator[float]:
        """Learn the source from weights (R, n), or go on; yield the fraction done, now and then.

        `pause` is called before every step, and may raise.

        Raises
        ------
        UnsupportedError
            If the task has no source, or the epochs do not pay for a step.
        """
        training = self._training or self._begun()
        if training.state is None:
            training.start(initial)
            training.warm_up()
        told = int(N_REPORTS * training.spent())
        while not training.done:
            pause()
            refused = training.advance()
            if refused and not training.ledger.steps:
                raise UnsupportedError(f"start.epochs is too small: {refused}")
            if refused:
                break
            reached = int(N_REPORTS * training.spent())
            if reached > told:
                told = reached
                yield training.spent()

    def finish(self, initial: Tensor) -> tuple[Tensor, Buffers]:
        """Return the weights (R, n) that were learnt, with the last layer of the initial ones
        unless the start keeps it, and their buffers; let go of the training.
        """
        start, training = self._setup.start, self._training
        assert start is not None
        assert training is not None
        network, learnt = self._setup.network, training.setup.method.params(training.state)
        buffers = buffers_of(training.state, network)
        self._training, self.done = None, True
        if start.keep_head:
            return learnt, buffers
        head = network.suffix(1)
        return torch.cat([learnt[:, :head], initial[:, head:]], 1), buffers

    def _begun(self) -> Training:
        setup, task = self._setup, self._setup.task
        start = setup.start
        if start is None or start.source is None or not task.sources:
            raise UnsupportedError(f"{task.spec.name} has no source task to learn from first")
        source = task.source(start.source)
        budget = Budget("epochs", float(start.epochs))
        rule = buffered(start.method, setup.network)
        there = replace(setup, method=rule, task=source, budget=budget, start=None)
        self._training = Training(there, placed(source.at(setup.seeds), setup.hardware), STREAMS)
        self.ledger = self._training.ledger
        return self._training

    def snapshot(self) -> dict[str, Any]:
        """Return what is needed to go on from here."""
        under_way = None if self._training is None else self._training.snapshot()
        return {"done": self.done, "ledger": asdict(self.ledger), "under_way": under_way}

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Go on from a snapshot."""
        self.done = snapshot["done"]
        if snapshot["under_way"] is not None:
            self._begun().restore(snapshot["under_way"])
        self.ledger.restore(Ledger(**snapshot["ledger"]))
