"""The datasheet of a run's tables: every column, its unit, what it means and who writes it.

One rule of names: a column that is named for a quantity holds its values, in the unit given here;
the name of a metric stands in a column that is called so. What is spent has the ledger's names in
every table.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass

from beyond.contracts import SPLITS, TRAIN_SCORED, Signal
from beyond.run.outcome import LEVELS, STATUSES


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes
    ----------
    name : str
    type : str
        As it is stored: "text", "bool", or numpy's name of a number; several where that depends on
        the values.
    unit : str
        Empty for a number without one.
    meaning : str
    writer : str
        The module of `beyond.run` that makes its values.
    """

    name: str
    type: str
    unit: str
    meaning: str
    writer: str


@dataclass(frozen=True)
class Table:
    """One file of a run's folder.

    Attributes
    ----------
    row : str
        What a row stands for.
    columns : tuple of Column
        In their order.
    """

    row: str
    columns: tuple[Column, ...]


# Name, type, unit, meaning: what a ledger holds, whatever it was spent on.
COSTS = (
    (
        "epochs",
        "float64",
        "backprop epochs",
        "FLOPs over those of backpropagation on the training set once",
    ),
    (
        "forward",
        "float64",
        "examples",
        "examples passed forward; part of a pass counts by its share in the operations",
    ),
    ("backward", "float64", "examples", "examples passed back"),
    (
        "flops",
        "int64",
        "FLOPs",
        "floating-point operations of all passes, and of a rule's products",
    ),
    (
        "bytes_moved",
        "int64",
        "bytes",
        "read and written by those, of weights and at both ends of each layer, and of a rule's "
        "state by each step that changes it",
    ),
    ("rewards", "int64", "rewards", "rewards asked for, one per action"),
    ("steps", "int64", "steps", "changes of the weights"),
    (
        "seconds",
        "float64",
        "s",
        "step time over the number of replicas; evaluation and first calls are off the clock",
    ),
)
METRICS = {
    "accuracy_score": (
        "share of examples whose largest output is the target class; up to 1, which is best"
    ),
    "cross_entropy_loss": "mean of -log of the probability of the target class, in nats",
    "r2_score": (
        "share of the variance that is explained, mean over outputs; up to 1; 0 for predicting the "
        "mean"
    ),
    "squared_error_loss": "mean over examples of half the squared distance, in standardised units",
    "log_likelihood_score": "minus `nll_loss`",
    "nll_loss": (
        "mean over examples of -log of the predicted normal density at the target, in nats, "
        "of standardised units"
    ),
    "balanced_accuracy_score": (
        "mean over the classes among the targets of the share that is found of each"
    ),
    "macro_f1_score": (
        "mean over classes of F1, the harmonic mean of precision and recall; of those that some "
        "target or prediction has"
    ),
    "bits_loss": "`cross_entropy_loss` in bits: of characters, bits a character",
    "mean_absolute_error": "mean over examples and outputs of the distance, in standardised units",
}

IDENTITY = (
    Column(
        "run_id",
        "text",
        "name",
        "the run: a hash of the arm, then one of its seeds; names its folder",
        "cell",
    ),
    Column("study", "text", "name", "the study that the run is part of", "cell"),
    Column("method", "text", "name", "the rule: its choice, or the class in its place", "cell"),
    Column("signal", "text", "name", f"what the rule is told: {', '.join(Signal)}", "cell"),
    Column("task", "text", "name", "the data", "cell"),
    Column("network", "text", "name", "the architecture, with its widths", "cell"),
    Column("default_network", "bool", "", "whether that is the task's default", "cell"),
    Column(
        "variant", "text", "settings", "those in which the arm differs from the defaults", "cell"
    ),
)
_SEED = Column(
    "seed",
    "int64",
    "",
    "the replica's: it decides split, weights, order and all further draws",
    "rows",
)
_CHECKPOINT = Column(
    "checkpoint",
    "int64",
    "",
    "points of the grid of budgets that are passed: 0 at the start, 31 at the end",
    "loop",
)


def _spent(when: str, prefix: str = "") -> tuple[Column, ...]:
    """Columns of what was spent, a currency each."""
    return tuple(
        Column(f"{prefix}{name}", type, unit, f"{meaning}: {when}", "training")
        for name, type, unit, meaning in COSTS
    )


def _spent_to(goal: str, when: str) -> tuple[Column, ...]:
    """Columns of what it cost to get somewhere; whole numbers are real where a replica did not."""
    types = {"int64": "int64 or float64", "float64": "float64"}
    return tuple(
        Column(f"{name}_to_{goal}", types[type], unit, f"{meaning}: {when}", "outcome")
        for name, type, unit, meaning in COSTS
    )


def _curves() -> tuple[Column, ...]:
    return (
        *IDENTITY,
        _SEED,
        _CHECKPOINT,
        *_spent("so far"),
        Column(
            "split",
            "text",
            "name",
            f"{', '.join(SPLITS)}; test at the best and last checkpoints",
            "selection",
        ),
        Column(
            "metric",
            "text",
            "name",
            "see Metrics; with another value of a setting of the prediction (`test_also`), that "
            "before it",
            "evaluation",
        ),
        Column(
            "value",
            "float64",
            "the metric's",
            f"over the whole split; train: over at most {TRAIN_SCORED:,} examples, drawn once",
            "evaluation",
        ),
    )


def _layers() -> tuple[Column, ...]:
    measured = (
        ("n_weights", "int64", "weights", "in the block"),
        (
            "gradient_norm",
            "float64",
            "",
            "norm of the gradient of the loss on the probe's validation examples",
        ),
        ("train_gradient_norm", "float64", "", "the same on as many training examples"),
        ("weight_norm", "float64", "", "norm of the weights"),
        ("update_norm", "float64", "", "norm of the last step's change"),
        (
            "update_cosine",
            "float64",
            "cosine",
            "between that and the negative gradient on the probe's examples",
        ),
        (
            "batch_cosine",
            "float64",
            "cosine",
            "between that and the negative gradient on the step's batch",
        ),
        (
            "transport_cosine",
            "float64",
            "cosine",
            "between the weights and what carries the error back instead",
        ),
        (
            "dead_fraction",
            "float64",
            "share",
            "of the units behind the block that are 0 for every example",
        ),
        (
            "activation_norm",
            "float64",
            "",
            "norm of what an example has behind the block: root mean square",
        ),
        ("first_activation_norm", "float64", "", "the same, of the first example alone"),
        (
            "error_norm",
            "float64",
            "",
            "norm of the derivative of an example's loss there: root mean square",
        ),
        ("first_error_norm", "float64", "", "the same, of the first example alone"),
        (
            "batch_loss",
            "float64",
            "",
            "loss on the step's batch after it, of the whole network; NaN of a block",
        ),
        (
            "jacobian_largest",
            "float64",
            "",
            "singular value of the outputs' derivative by the inputs: the largest",
        ),
        ("jacobian_median", "float64", "", "the median one"),
        ("jacobian_smallest", "float64", "", "the smallest one"),
    )
    return (
        *IDENTITY,
        _SEED,
        _CHECKPOINT,
        Column(
            "layer",
            "text",
            "name",
            'the block: a layer with weights; "network" is all of them',
            "probe",
        ),
        Column(
            "depth",
            "int64",
            "",
            "the block's place from the inputs, from 1; the network's is 0",
            "probe",
        ),
        *(Column(*column, "probe") for column in measured),
    )


def _runs() -> tuple[Column, ...]:
    moments = {
        "best": "with the highest validation score",
        "final": "last; missing unless the replica finished",
    }
    levels = [
        (
            Column(
                f"target_{level}",
                "float64",
                "the score's",
                f"a validation score that is {level} to reach",
                "outcome",
            ),
            *_spent_to(level, "until that was reached; infinite if never"),
        )
        for level in LEVELS
    ]
    sizes = {"train": "training", "validation": "validation", "test": "test"}
    return (
        *IDENTITY,
        _SEED,
        Column("status", "text", "name", f"what became of it: {', '.join(STATUSES)}", "outcome"),
        Column(
            "reason",
            "text",
            "sentence",
            "why it ended before its budget did; empty if it did not",
            "outcome",
        ),
        Column(
            "headline_metric",
            "text",
            "name",
            "the metric that selects, and that `_score` columns hold",
            "outcome",
        ),
        Column(
            "best_checkpoint",
            "int64",
            "",
            "the first with the highest validation score; -1 for none",
            "outcome",
        ),
        *(
            Column(
                f"{moment}_{split}_{kind}",
                "float64",
                unit,
                f"on the {split} split, at the checkpoint {at}",
                "outcome",
            )
            for moment, at in moments.items()
            for split in SPLITS
            for kind, unit in (("score", "the score's"), ("loss", "the loss's"))
        ),
        *_spent_to("best", "until the best checkpoint"),
        *(column for level in levels for column in level),
        Column("budget", "float64", "its currency", "what a replica might spend", "rows"),
        Column(
            "budget_currency",
            "text",
            "name",
            "epochs, examples, flops, rewards, steps or seconds",
            "rows",
        ),
        Column("unspent", "float64", "share", "of the budget that was left", "training"),
        *_spent("at the end"),
        Column(
            "total_seconds",
            "float64",
            "s",
            "step time of all replicas that are trained with it, together",
            "training",
        ),
        Column(
            "split",
            "text",
            "name",
            "own, source, source test, source pools, or the split_seed of all",
            "training",
        ),
        *(
            Column(
                f"n_{split}",
                "int64",
                "examples",
                f"in the {said} split; queries, if in episodes",
                "evaluation",
            )
            for split, said in sizes.items()
        ),
        Column("n_weights", "int64", "weights", "in the network", "rows"),
        Column(
            "inference_flops",
            "float64",
            "FLOPs",
            "of a prediction, mean over the test split",
            "evaluation",
        ),
        Column(
            "inference_spikes",
            "float64",
            "spikes",
            "of a prediction; 0 where nothing spikes",
            "evaluation",
        ),
        Column(
            "inference_accumulates", "float64", "additions", "that those spikes cause", "evaluation"
        ),
        *_spent("on the task's source, before the first step", "pretraining_"),
        Column(
            "state_bytes",
            "int64",
            "bytes",
            "of the tensors that a replica holds between steps",
            "training",
        ),
    )


def _predictions() -> tuple[Column, ...]:
    written = (
        ("run_id", "text", "name", "of the run"),
        ("seed", "int64", "", "of the replica"),
        ("example", "int32", "", "the test example, by its number in the task's source"),
        ("output", "int16", "", "which value is predicted, from 0; 0 for classes"),
        ("target", "int16 or float32", "class, or the task's", "what is right"),
        ("prediction", "int16 or float32", "class, or the task's", "what the network says"),
        ("probability", "float16", "probability", "of the target class; missing for values"),
        ("confidence", "float16", "probability", "of the predicted class; missing for values"),
        (
            "brier",
            "float16",
            "",
            "sum over classes of (probability - 1 or 0)^2; missing for values",
        ),
        (
            "log_density",
            "float32",
            "nats",
            "of the predicted distribution at the target, in the task's units; else missing",
        ),
    )
    return tuple(Column(*column, "predictions") for column in written)


def _landscape() -> tuple[Column, ...]:
    written = (
        (
            "run_id",
            "text",
            "name",
            "the run whose solution, the selected weights, is at x = 1 of `start`, at x = 0 of "
            "`pair`, and in the middle of `plane`",
        ),
        ("seed", "int64", "", "of its replica"),
        (
            "path",
            "text",
            "name",
            "`start`: from the initial weights to a solution; `pair`: to another, of another arm "
            "at this seed, or of this arm at its next seed (after the last the first); `plane`: "
            "two random directions, drawn from the seed, in which each unit's incoming weights are "
            "as long as the solution's, and biases and gains stay",
        ),
        (
            "matched",
            "bool",
            "",
            "whether hidden units of one solution of a pair are in the order that agrees best with "
            "the other's; where there are dense layers alone",
        ),
        ("other_run_id", "text", "name", "of a pair, the run at x = 1; else empty"),
        ("other_seed", "int64", "", "of a pair, the replica at x = 1; else -1"),
        ("x", "float64", "", "the place on the line, from 0 to 1; on a plane along its first side"),
        ("y", "float64", "", "along the second side of a plane; 0 on a line"),
        (
            "loss",
            "float64",
            "the loss's",
            "of the network there, on the same training examples of the seed for all: as many as "
            "`landscape.n_examples`; no dropout",
        ),
        (
            "excess",
            "float64",
            "the loss's",
            "loss less the straight line between the two ends; the largest is the barrier",
        ),
        ("rise", "float64", "the loss's", "loss less the smallest on the line up to there"),
        ("distance", "float64", "", "norm of the difference from the weights at x = 0, y = 0"),
        (
            "sharpness",
            "float64",
            "",
            "largest eigenvalue of the Hessian of the loss; at both ends of `start` alone",
        ),
    )
    return tuple(Column(*column, "survey") for column in written)


TABLES: Mapping[str, Table] = {
    "curves": Table("a replica, checkpoint, split and metric", _curves()),
    "layers": Table("a replica, checkpoint and block, and one for the whole network", _layers()),
    "runs": Table("a replica", _runs()),
    "predictions": Table(
        "a replica, test example and output, at the best checkpoint", _predictions()
    ),
}
LANDSCAPE = Table("a place on a line or a plane of weights", _landscape())
RECORDED = {**TABLES, "landscape": LANDSCAPE}  # of runs, and of a study
HEAD = """# Tables

A run's folder has four tables, in parquet, and `manifest.json`, which says how they came to be;
with `keep_weights=true` also `weights.pt`, which `beyond.run.trained` reads. A study's folder has
a fifth table, `landscape`, where that is [asked for](command-line.md#landscapes). A table without
rows may be without columns. What cannot be known is missing (NaN or null): `update_norm` before the
first step, the signals of a network without access to its layers.

One rule of names: a column that is named for a quantity holds its values; the name of a metric
stands in a column that is called so. What is spent has the ledger's names in every table. The last
column names the module of `beyond/run` that writes it. This page is made from
`beyond/run/tables.py`, by `make tables`.
"""


def markdown() -> str:
    """Return the page `docs/tables.md`: for each table a row a column."""
    lines = [HEAD]
    for name, table in RECORDED.items():
        lines += [
            f"## {name}",
            "",
            f"A row is {table.row}.",
            "",
            "| column | meaning | type | unit | written by |",
        ]
        lines.append("|---|---|---|---|---|")
        lines += [
            f"| `{c.name}` | {c.meaning} | {c.type} | {c.unit} | `{c.writer}` |"
            for c in table.columns
        ]
        lines.append("")
    lines += [
        "## Metrics",
        "",
        "The last four are recorded where `task.metrics` names them, and a task may add others; "
        "`_score` is better up, `_loss` and `_error` down.",
        "",
    ]
    return "\n".join(
        [*lines, *(f"- `{name}`: {meaning}." for name, meaning in METRICS.items()), ""]
    )


if __name__ == "__main__":
    sys.stdout.write(markdown())
