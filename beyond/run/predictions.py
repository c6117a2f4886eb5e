"""Each replica's answers to its test examples, in compact columns: what a mean hides."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from beyond.contracts import TargetKind
from beyond.losses import gaussian_nlls

Columns = dict[str, np.ndarray]


def columns(
    kind: TargetKind, run_id: str, seed: int, examples: Tensor, targets: Tensor, outputs: Tensor
) -> Columns:
    """Columns of one replica, a row an example and output, sorted by them.

    run_id : str
    seed : int64
    example : int32, in the source's numbering
    output : int16, which value is predicted; 0 for classes
    target, prediction : int16 class, or float32 value in the task's units
    probability : float16, of the target class
    confidence : float16, of the predicted class
    brier : float16, sum over classes of (probability - one_hot)^2
    log_density : float32, of a predicted distribution at the target, in nats

    Three are softmax probabilities' and NaN for values; where distributions are predicted, the
    prediction is their mean, and elsewhere no log-density is known: NaN.

    Parameters
    ----------
    kind : TargetKind
    run_id : str
    seed : int
    examples : Tensor of shape (B,)
    targets : Tensor of shape (B,) or (B, n)
        Classes, or values in the task's units.
    outputs : Tensor of shape (B, n_outputs)
        Logits, or values in the task's units; of distributions means, then log-variances.
    """
    order = examples.argsort(stable=True)
    examples, targets, outputs = examples[order], targets[order], outputs[order]
    n_outputs = 1 if kind is TargetKind.CLASSES else targets.shape[1]
    if kind is TargetKind.CLASSES:
        probabilities = outputs.double().softmax(1)
        chosen = outputs.argmax(1)
        brier = (
            (probabilities - torch.nn.functional.one_hot(targets, outputs.shape[1])).square().sum(1)
        )
        told = [probabilities.gather(1, named[:, None]).squeeze(1) for named in (targets, chosen)]
        answer, beliefs = (targets.short(), chosen.short()), (*told, brier)
    else:
        answer = targets.float().flatten(), outputs[:, :n_outputs].float().flatten()
        beliefs = (torch.full_like(answer[0], float("nan")),) * 3
    density = torch.full((len(answer[0]),), float("nan"))
    if kind is TargetKind.DISTRIBUTIONS:
        # an example and value at a time
        alone = outputs.double().unflatten(1, (2, -1)).mT.flatten(0, 1).unsqueeze(0)
        density = -gaussian_nlls(alone, targets.double().view(1, -1, 1))[0]
    n_rows = len(answer[0])
    return {
        "run_id": np.full(n_rows, run_id),
        "seed": np.full(n_rows, seed, np.int64),
        "example": examples.int().repeat_interleave(n_outputs).numpy(),
        "output": torch.arange(n_outputs).short().repeat(len(examples)).numpy(),
        "target": answer[0].numpy(),
        "prediction": answer[1].numpy(),
        **{
            name: belief.half().numpy()
            for name, belief in zip(("probability", "confidence", "brier"), beliefs, strict=True)
        },
        "log_density": density.float().numpy(),
    }


def joined(kind: TargetKind, tables: Sequence[Columns]) -> Columns:
    """Tables end to end; of none, a table without rows."""
    none = torch.empty(0, 2)
    targets = none[:, 0].long() if kind is TargetKind.CLASSES else none[:, :1]
    nothing = columns(kind, "", 0, none[:, 0].long(), targets, none)
    return {
        name: np.concatenate([table[name] for table in tables] or [empty])
        for name, empty in nothing.items()
    }


def write(table: Columns, path: Path) -> None:
    """Write columns as parquet, each in the encoding that makes it small: sorted numbers by their
    differences, real numbers a byte at a time (signs and exponents are alike), few values by a
    dictionary.
    """
    # NaN becomes null
    arrays = {name: pa.array(values, from_pandas=True) for name, values in table.items()}
    arrays["run_id"] = arrays["run_id"].dictionary_encode()
    encodings = {
        name: "BYTE_STREAM_SPLIT" for name, values in table.items() if values.dtype.kind == "f"
    }
    encodings["example"] = "DELTA_BINARY_PACKED"
    repeating: Any = [name for name in table if name not in encodings]
    pq.write_table(
        pa.table(arrays),
        path,
        compression="zstd",
        use_dictionary=repeating,
        column_encoding=encodings,
        write_statistics=False,
    )
