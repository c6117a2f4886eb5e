"""Rows of a run's tables; `beyond/run/tables.py` says what is in each column."""

from __future__ import annotations

from collections.abc import Sequence
from math import nan
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from torch import Tensor

from beyond.contracts import SPLITS
from beyond.ledger import Ledger
from beyond.run.evaluation import INFERENCE, Evaluation
from beyond.run.outcome import Outcome
from beyond.run.setup import Setup
from beyond.run.training import Training

Row = dict[str, Any]
UNKNOWN = dict.fromkeys(INFERENCE, nan)
# how values are stored, the first that some value of a column has
STORED = {float: pa.float64(), bool: pa.bool_(), int: pa.int64(), str: pa.large_string()}


def curve_rows(
    setup: Setup,
    replica: int,
    checkpoint: int,
    costs: dict[str, float],
    split: str,
    scores: dict[str, float],
) -> list[Row]:
    """Return a row a metric, of one replica at one checkpoint on one split."""
    common = {**_replica(setup, replica), "checkpoint": checkpoint, **costs}
    return [
        {**common, "split": split, "metric": name, "value": value} for name, value in scores.items()
    ]


def layer_rows(
    setup: Setup, checkpoint: int, measured: Sequence[dict[str, Any]], outcomes: Sequence[Outcome]
) -> list[Row]:
    """Return a row a block that was measured, and one a network, of replicas not ended."""
    parts = [by_replica(part, len(outcomes)) for part in measured]
    return [
        {**_replica(setup, replica), "checkpoint": checkpoint, **part[replica]}
        for replica, outcome in enumerate(outcomes)
        if outcome.last_checkpoint == checkpoint
        for part in parts
    ]


def run_row(
    setup: Setup,
    replica: int,
    outcome: Outcome,
    training: Training,
    ledger: Ledger,
    pretraining: Ledger,
    evaluation: Evaluation,
    inference: Row,
) -> Row:
    """Return the row of an ended replica.

    Parameters
    ----------
    ledger : Ledger
        When its cell ended.
    inference : dict
        What one of its predictions costs.
    """
    budget, epoch_flops = setup.budget, training.epoch_flops
    before = pretraining.costs(epoch_flops)
    n_replicas = len(setup.cells[setup.run_ids[replica]])
    return {
        **_replica(setup, replica),
        **outcome.row(setup.task.spec.score),
        "budget": budget.amount,
        "budget_currency": budget.currency,
        "unspent": max(0.0, 1 - budget.spent(ledger, epoch_flops)),
        **ledger.costs(epoch_flops),
        "total_seconds": ledger.seconds * n_replicas,
        "split": training.splits.origin,
        **{f"n_{split}": evaluation.n_examples(split) for split in SPLITS},
        "n_weights": setup.network.n_weights,
        **inference,
        **{f"pretraining_{name}": cost for name, cost in before.items()},
        "state_bytes": training.state_bytes,
    }


def by_replica(columns: dict[str, Any], n_replicas: int) -> list[Row]:
    """Turn columns (R,) into a row a replica; what is no tensor is the same for all."""
    lists = [
        values.tolist() if isinstance(values, Tensor) else [values] * n_replicas
        for values in columns.values()
    ]
    return [dict(zip(columns, row, strict=True)) for row in zip(*lists, strict=True)]


def write_rows(rows: Sequence[Row], path: Path) -> None:
    """Write rows, whose columns are the same, as parquet; NaN becomes null."""
    columns = {name: [row[name] for row in rows] for name in (rows[0] if rows else ())}
    pq.write_table(pa.table({name: _stored(values) for name, values in columns.items()}), path)


def _stored(values: list[Any]) -> pa.Array:
    found = set(map(type, values))
    kind = next(kind for kind in STORED if any(issubclass(one, kind) for one in found))
    numbers = map(float, values) if kind is float else values  # some may be whole
    return pa.array(numbers, STORED[kind], from_pandas=True)


def _replica(setup: Setup, replica: int) -> Row:
    """Columns that every row of a replica has."""
    identity = setup.identities[replica] if setup.identities else {}
    return {**identity, "seed": setup.seeds[replica]}
