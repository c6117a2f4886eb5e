"""A method under way: its state, its batches, what it has spent, and the clock."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from time import perf_counter
from typing import Any, NamedTuple

from torch import Tensor

from beyond.contracts import Batch, Splits
from beyond.control import door
from beyond.data.sampler import Sampler
from beyond.errors import UnsupportedError
from beyond.hardware import moved
from beyond.ledger import Ledger
from beyond.network.trainable import NO_BUFFERS, Buffers
from beyond.problem import SEALED, seal
from beyond.run.setup import Setup
from beyond.streams import Stream

ROUNDING = 1e-9  # relative; a budget that is met exactly is not exceeded


class Streams(NamedTuple):
    """Names of the random streams of a training."""

    order: str = "data"  # of the training examples
    augmentation: str = "augment"
    rule: str = "step"  # what the method draws


STREAMS = Streams()


class Training:
    """Steps a method, and charges for it. `state` is the method's; the harness never looks inside.

    Parameters
    ----------
    setup : Setup
    splits : Splits
        The task's, at the setup's seeds, on its hardware, as its network is.
    streams : Streams

    Attributes
    ----------
    epoch_flops : int
        What backpropagation spends on the training set once.
    state, previous
        After the last step, and before it.
    batch : Batch, optional
        That the last step saw.
    """

    def __init__(self, setup: Setup, splits: Splits, streams: Streams = STREAMS) -> None:
        self.setup = setup
        method, task, network, seeds = setup.method, setup.task, setup.network, setup.seeds
        self.ledger = Ledger()
        self.problem = door(network, task.spec, self.ledger, method.signal)
        self.splits = splits
        n_train = splits.size("train")
        n_examples = n_train * task.spec.n_passed
        self.epoch_flops = n_examples * (network.forward_flops + network.backward_flops())
        order = Stream(streams.order, seeds)
        size = n_train if method.batch_size is None else min(method.batch_size, n_train)
        self.sampler = Sampler(n_train, size, order)
        self.augmentation = Stream(streams.augmentation, seeds, setup.hardware)
        self.ahead: Iterator[Batch] = iter(())  # the sampler's next batches
        self.streams = streams
        self.rng = Stream(streams.rule, seeds, setup.hardware)
        self.state: Any = None
        self.previous: Any = None
        self.batch: Batch | None = None
        self.began = perf_counter()

    def start(self, weights: Tensor, buffers: Buffers = NO_BUFFERS) -> None:
        """Let the method start from weights (R, n); a second time as if it were the first.

        `buffers` belong to these weights, where they are not those that the network starts with.
        """
        spec, signal = self.setup.task.spec, self.setup.method.signal
        if spec.world is not None and signal not in SEALED:
            raise UnsupportedError(
                f"{spec.name} tells returns and rewards alone: it has no targets, and no "
                f"derivative, where the signal is {signal}"
            )
        self.rng = Stream(self.streams.rule, self.setup.seeds, self.setup.hardware)
        self.state = self.setup.method.init(self.problem.holding(buffers), weights, self.rng)
        seeds = len(self.setup.seeds)
        what = f"what the method holds for {seeds} replicas between steps would"
        self.setup.hardware.require_room(self.state_bytes * seeds, what)

    def advance(self) -> str:
        """Step once; if the budget does not pay for a whole step, take none and say why."""
        method, budget = self.setup.method, self.setup.budget
        before, drawn = self.ledger.copy(), self._draw()
        state = self._step(drawn)
        spent = self.spent()
        if spent > 1 + ROUNDING:
            self.ledger.restore(before)
            return (
                f"one step costs {spent * budget.amount:.4g} {budget.currency}, the budget is "
                f"{budget.amount:g}"
            )
        if spent <= budget.spent(before, self.epoch_flops) and not method.done(state):
            raise RuntimeError(
                f"a step spends nothing of the budget in {budget.currency}: it would never end"
            )
        self.previous, self.state, self.batch = self.state, state, drawn
        return ""

    def warm_up(self) -> None:
        """Step and forget it, as if interrupted: a first call's costs are not on the clock."""
        before, began = self.snapshot(), self.began
        try:
            state = self._step(self._draw())
        finally:
            self.restore(before)
            self.began = began  # which the time limit counts from
        if any(tensor.requires_grad for tensor in tensors(state)):
            raise RuntimeError("a step's state must be detached: it would keep every step's graph")

    def _draw(self) -> Batch:
        """Draw the batch of the next step."""
        batch = next(self.ahead, None)
        if batch is None:
            places = self.sampler.ahead().to(self.setup.hardware.place)
            self.ahead = self.splits.training(places, self.augmentation)
            batch = next(self.ahead)
        self.sampler.advance()
        return batch

    def _step(self, drawn: Batch) -> Any:
        """Let the method step once, on the clock; a step that fails is not charged."""
        batch, before = seal(drawn, self.setup.method.signal), self.ledger.copy()
        clock = perf_counter()
        try:
            state = self.setup.method.step(self.state, batch, self.problem, self.rng)
            self.setup.hardware.wait()
        except Exception:
            self.ledger.restore(before)
            raise
        self.ledger.seconds += (perf_counter() - clock) / len(self.setup.seeds)
        self.ledger.charge(bytes_moved=2 * self._changed(state))
        self.ledger.steps += 1
        return state

    def _changed(self, state: Any) -> int:
        """Bytes of what a step has changed of a replica's state: a tensor that is new."""
        before = {id(tensor) for tensor in tensors(self.state)}
        return self._bytes(tensor for tensor in tensors(state) if id(tensor) not in before)

    def _bytes(self, held: Iterable[Tensor]) -> int:
        """Bytes of tensors, for a replica."""
        total = sum(tensor.numel() * tensor.element_size() for tensor in held)
        return total // len(self.setup.seeds)

    @property
    def done(self) -> bool:
        """Whether the budget is spent, or further steps would change nothing."""
        return self.spent() >= 1 or self.setup.method.done(self.state)

    @property
    def late(self) -> bool:
        """Whether the run has taken longer than it may."""
        limit = self.setup.time_limit
        return limit is not None and self.elapsed > limit

    @property
    def elapsed(self) -> float:
        """Seconds since the run began, without those between an interruption and its going on."""
        return perf_counter() - self.began

    def spent(self) -> float:
        """Fraction of the budget."""
        return self.setup.budget.spent(self.ledger, self.epoch_flops)

    def costs(self) -> dict[str, float]:
        """What a replica has spent, in every currency."""
        return self.ledger.costs(self.epoch_flops)

    @property
    def state_bytes(self) -> int:
        """Bytes of the tensors that the method holds for a replica between steps."""
        return self._bytes(tensors(self.state))

    def snapshot(self) -> dict[str, Any]:
        """Return what is needed to go on from here."""
        return {
            "state": self.state,
            "ledger": asdict(self.ledger),
            "sampler": self.sampler.state(),
            "augmentation": self.augmentation.state(),
            "rng": self.rng.state(),
            "elapsed": self.elapsed,
        }

    def last_step(self) -> dict[str, Any]:
        """Return the state before the last step, and the batch that it saw."""
        assert self.batch is not None
        return {"previous": self.previous, "batch": _plain(self.batch)}

    def restore_last_step(self, step: dict[str, Any]) -> None:
        """Take up what `last_step` returned."""
        step = moved(step, self.setup.hardware.place)
        self.previous, self.batch = step["previous"], _batch(step["batch"])

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Go back to a snapshot, or on from it."""
        self.state = moved(snapshot["state"], self.setup.hardware.place)
        self.began = perf_counter() - snapshot["elapsed"]
        self.ledger.restore(Ledger(**snapshot["ledger"]))
        self.sampler.restore(snapshot["sampler"])
        self.ahead = iter(())
        self.augmentation.restore(snapshot["augmentation"])
        self.rng.restore(snapshot["rng"])


def _plain(batch: Batch) -> dict[str, Any]:
    """Write a batch as a file may hold it: copied, for it may be a view of all that are ahead."""
    support = None if batch.support is None else _plain(batch.support)
    return {"inputs": batch.inputs.clone(), "targets": batch.targets.clone(), "support": support}


def _batch(plain: dict[str, Any]) -> Batch:
    support = None if plain["support"] is None else _batch(plain["support"])
    return Batch(plain["inputs"], plain["targets"], support)


def tensors(state: Any) -> Iterator[Tensor]:
    """Tensors of a method's state, however it nests them."""
    if isinstance(state, Tensor):
        yield state
    elif isinstance(state, dict | list | tuple):
        for value in state.values() if isinstance(state, dict) else state:
            yield from tensors(value)
