"""What every task has whose splits are drawn: the settings of the draw, scores, and a checksum."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
from torch import Tensor

from beyond import losses, metrics
from beyond.contracts import BestKnown, TargetKind
from beyond.data.sources import Source
from beyond.data.splits import split_seeds
from beyond.errors import require
from beyond.metrics import FURTHER
from beyond.settings import NonNegativeInt, OneOf, PositiveInt, Says, settings

if TYPE_CHECKING:
    from beyond.contracts import Splits, TaskSpec

Metrics = Annotated[
    tuple[Annotated[str, OneOf(FURTHER)], ...], Says(f"a list of {', '.join(FURTHER)}")
]


@settings(kw_only=True)
class DrawnTask(ABC):
    """A task that draws its splits: for each seed anew, or all from one `split_seed`.

    Parameters
    ----------
    split_seed : int, optional, >= 0
        Fixes, for every seed, what each split holds. None: each seed draws its own.
    train_size : int, optional, >= 1
        Keep this many training examples, or episodes; None keeps all. A smaller set is part of
        every larger one.
    metrics : tuple of str
        Recorded besides score and loss. For classes balanced_accuracy_score, macro_f1_score and
        bits_loss, for values mean_absolute_error (in standardised units).
    """

    PACKAGES: ClassVar[tuple[str, ...]] = ()
    BEST_KNOWN: ClassVar[tuple[BestKnown, ...]] = ()
    DATA: ClassVar[tuple[Source, ...]] = ()

    split_seed: NonNegativeInt | None = None
    train_size: PositiveInt | None = None
    metrics: Metrics = ()

    @property
    @abstractmethod
    def spec(self) -> TaskSpec:
        """What the harness must know."""

    @abstractmethod
    def _make(self, drawn: tuple[int, ...]) -> Splits:
        """Make the splits that are drawn from each of the numbers `drawn`."""

    def at(self, seeds: Sequence[int]) -> Splits:
        """Return the data as the repetitions of these seeds see them; `InputError` if unusable."""
        kind = self.spec.target_kind
        known = [name for name, (of, _) in FURTHER.items() if of is kind]
        allowed = f"of {', '.join(known) or 'none'} where targets are {kind}"
        require("metrics", allowed, list(self.metrics), set(self.metrics) <= set(known))
        return self._made(split_seeds(self.split_seed, seeds))

    @cached_property
    def _made(self) -> Callable[[tuple[int, ...]], Splits]:
        # the runs of a study ask for the same seeds in turn
        return lru_cache(maxsize=1)(self._make)

    def told(self) -> Sequence[str]:
        return ()

    @property
    def classes(self) -> Sequence[str]:
        return ()

    def encode(self, inputs: Any) -> np.ndarray:
        return np.asarray(inputs)

    def score(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Scores (R,), float64, and the loss: accuracy, R2, or the mean log-likelihood in nats.

        Of episodes they are over the queries of all. The further `metrics` come behind them.
        """
        usual = self._usual(outputs.double(), targets)
        return usual | {name: FURTHER[name][1](outputs, targets, usual) for name in self.metrics}

    def _usual(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Score and loss, by the kind of target."""
        if self.spec.target_kind is TargetKind.CLASSES:
            loss = losses.cross_entropy(outputs, targets)
            return {
                "accuracy_score": metrics.accuracy(outputs, targets),
                "cross_entropy_loss": loss,
            }
        if self.spec.target_kind is TargetKind.DISTRIBUTIONS:
            loss = losses.gaussian_nll(outputs, targets)
            return {"log_likelihood_score": -loss, "nll_loss": loss}
        loss = losses.squared_error(outputs, targets)
        return {"r2_score": metrics.r2(outputs, targets), "squared_error_loss": loss}


def digest(*arrays: np.ndarray) -> str:
    """SHA-256 over arrays: their shapes, types and contents."""
    state = hashlib.sha256()
    for array in arrays:
        state.update(f"{array.dtype.str} {array.shape}".encode())
        state.update(np.ascontiguousarray(array).data)
    return state.hexdigest()
