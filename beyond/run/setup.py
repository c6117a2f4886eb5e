"""All that decides a run's result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from beyond.contracts import Method, Task
from beyond.hardware import HOST, Hardware
from beyond.ledger import Budget
from beyond.network.trainable import Network
from beyond.run.start import Start
from beyond.run.stopping import Stopping


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
    identities : sequence of dict of str to str
        One a replica: columns that each of its rows carries: run_id, study, method, signal, task,
        network, ... Replicas with the same run_id are of one cell. Rows of none have no such
        columns.
    time_limit : float, optional
        Seconds that the whole run may take, evaluation and first calls included; one that takes
        longer has failed.
    start : Start, optional
        What is learnt first; None for the weights as they are drawn.
    also : mapping of str to Method
        The method with other settings of its prediction, by the names that go before its metrics':
        the test split is scored with each too.
    hardware : Hardware
        Where it is trained.
    stopping : Stopping, optional
        By what a replica ends before the budget is spent.
    """

    method: Method
    task: Task
    network: Network
    seeds: list[int]
    budget: Budget
    identities: Sequence[Mapping[str, Any]] = ()
    time_limit: float | None = None
    start: Start | None = None
    also: Mapping[str, Method] = field(default_factory=dict)
    hardware: Hardware = HOST
    stopping: Stopping | None = None

    def alone(self, replica: int) -> Setup:
        """Return the same for one replica."""
        identities = self.identities[replica : replica + 1]
        return replace(self, seeds=[self.seeds[replica]], identities=identities)

    @property
    def run_ids(self) -> list[str]:
        """Of each replica's cell."""
        return [identity["run_id"] for identity in self.identities] or [""] * len(self.seeds)

    @cached_property
    def cells(self) -> dict[str, list[int]]:
        """Replicas of each cell, by its run_id."""
        found = dict[str, list[int]]()
        for replica, run_id in enumerate(self.run_ids):
            found.setdefault(run_id, []).append(replica)
        return found
