"""What a replica has spent, and what it may spend.

The replicas of a run advance in lockstep, each charged alike, so one ledger holds what any one of
them spent. Seconds are the run's step time divided by its number of replicas.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Annotated, Any

from beyond.errors import InputError, require, require_one_of
from beyond.settings import OneOf, Positive, checked, settings


@dataclass(frozen=True)
class Work:
    """What passes cost, or products.

    Bytes are of the numbers read and written, each as often as somebody wants it: a pass forward
    reads the weights once for each copy of them, and for each example what enters each layer, and
    writes what leaves it; one that carries an error back moves as much, and so does one that makes
    gradients, through the layers that have weights. A product reads its factors and is written.
    What a layer keeps to itself, and what may stay in a cache, is not known here.
    """

    flops: int = 0
    bytes_moved: int = 0

    def __add__(self, other: Work) -> Work:
        return Work(self.flops + other.flops, self.bytes_moved + other.bytes_moved)

    def __mul__(self, times: int) -> Work:
        return Work(self.flops * times, self.bytes_moved * times)


@dataclass
class Ledger:
    """Costs of one replica so far.

    Attributes
    ----------
    forward, backward : float
        Examples passed forward, and back, through the network. A candidate of a population counts
        each example; a pass through part of the network counts by that part's share in the
        operations.
    flops : int
        Floating-point operations of those passes, by the layers' counts, and of the products of
        matrices that a method makes itself.
    bytes_moved : int
        Bytes that those read and write, see `Work`, and twice those of what steps change in a
        method's state: read, and written.
    rewards : int
        Rewards asked for, one per action: of an environment, its steps.
    steps : int
        Changes of the weights.
    seconds : float
        Step time on the clock; evaluation, recording and what only the first call of a step costs
        are off it.
    """

    forward: float = 0.0
    backward: float = 0.0
    flops: int = 0
    bytes_moved: int = 0
    rewards: int = 0
    steps: int = 0
    seconds: float = 0.0

    def charge(
        self,
        forward: float = 0,
        backward: float = 0,
        flops: int = 0,
        bytes_moved: int = 0,
        rewards: int = 0,
    ) -> None:
        """Add the cost of passes, or of answers."""
        self.forward += forward
        self.backward += backward
        self.flops += flops
        self.bytes_moved += bytes_moved
        self.rewards += rewards

    def copy(self) -> Ledger:
        """Return a copy, to go back to."""
        return Ledger(**vars(self))

    @classmethod
    def of(cls, costs: Mapping[str, Any]) -> Ledger:
        """Return what has such costs."""
        return cls(**{name: costs[name] for name in costs if name != "epochs"})

    def restore(self, earlier: Ledger) -> None:
        """Go back to a copy."""
        vars(self).update(vars(earlier))

    def costs(self, epoch_flops: int) -> dict[str, float]:
        """Every currency; an epoch is `epoch_flops`, backpropagation on the training set once."""
        return {"epochs": self.flops / epoch_flops, **vars(self)}


CURRENCIES = ("epochs", "examples", "flops", "rewards", "steps", "seconds")


@settings
class Budget:
    """What a replica may spend, in one currency.

    Parameters
    ----------
    currency : {"epochs", "examples", "flops", "rewards", "steps", "seconds"}
        Epochs are backprop epochs; examples are forward + 2 backward; of an environment, rewards
        are steps in it.
    amount : float, > 0
        Whole, if of steps or rewards.
    """

    currency: Annotated[str, OneOf(CURRENCIES)]
    amount: Positive

    def __post_init__(self) -> None:
        whole = self.currency not in ("rewards", "steps") or self.amount.is_integer()
        require(f"budget.{self.currency}", "a whole number > 0", self.amount, whole)

    @classmethod
    def of(cls, amounts: Mapping[str, float | None]) -> Budget:
        """Read the one amount that is set: `{"epochs": 300, "flops": None}`."""
        for currency in amounts:
            require_one_of("budget", CURRENCIES, currency)
        chosen = {currency: amount for currency, amount in amounts.items() if amount is not None}
        if len(chosen) != 1:
            raise InputError(
                f"budget must be set in exactly one of {', '.join(CURRENCIES)}; got "
                f"{chosen or 'none'}"
            )
        currency, amount = next(iter(chosen.items()))
        return cls(currency, checked(f"budget.{currency}", Positive, amount))

    def spent(self, ledger: Ledger, epoch_flops: int) -> float:
        """Fraction of the budget that is spent; above 1 it is exceeded."""
        if self.currency == "epochs":
            return ledger.flops / epoch_flops / self.amount
        if self.currency == "examples":
            return (ledger.forward + 2 * ledger.backward) / self.amount
        return getattr(ledger, self.currency) / self.amount


COST_NAMES = ("epochs", *(field.name for field in fields(Ledger)))
