"""All that decides a run's result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from beyond.contracts import Method, Task
from beyond.ledger import Budget
from beyond.network.trainable import Network
from beyond.run.start import Start


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
        Seconds that the whole run may take, evaluation and first calls included; one that takes
        longer has failed.
    start : Start, optional
        What is learnt first; None for the weights as they are drawn.
    also : mapping of str to Method
        The method with other settings of its prediction, by the names that go before its metrics':
        the test split is scored with each too.
    """

    method: Method
    task: Task
    network: Network
    seeds: list[int]
    budget: Budget
    identity: dict[str, Any] = field(default_factory=dict)
    time_limit: float | None = None
    start: Start | None = None
    also: Mapping[str, Method] = field(default_factory=dict)
