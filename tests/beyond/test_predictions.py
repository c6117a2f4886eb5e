"""The table of predictions: small on disk whatever is in it, and read back as it was."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from scipy.special import softmax
from scipy.stats import norm

from beyond.contracts import TargetKind
from beyond.run.predictions import columns, joined, write

FAULTS = [
    # answers of one example beside the target of another; the wrong class's probability; too wide a
    # type
    (
        "beyond/run/predictions.py",
        "examples[order], targets[order], outputs[order]",
        "examples[order], targets, outputs",
    ),
    (
        "beyond/run/predictions.py",
        "for named in (targets, chosen)]",
        "for named in (chosen, targets)]",
    ),
    ("beyond/run/predictions.py", ".half().numpy()", ".numpy()"),
    (
        "beyond/run/predictions.py",
        "examples.int().repeat_interleave(n_outputs)",
        "examples.int().repeat(n_outputs)",
    ),
    ("beyond/run/predictions.py", "from_pandas=True", "from_pandas=False"),
    # log-variances of other values
    (
        "beyond/run/predictions.py",
        "unflatten(1, (2, -1)).mT.flatten(0, 1)",
        "unflatten(1, (-1, 2)).flatten(0, 1)",
    ),
]

TYPES = {
    "run_id": pa.dictionary(pa.int32(), pa.string()),
    "seed": pa.int64(),
    "example": pa.int32(),
    "output": pa.int16(),
    "target": None,
    "prediction": None,
    "probability": pa.float16(),
    "confidence": pa.float16(),
    "brier": pa.float16(),
    "log_density": pa.float32(),
}
ANSWER = dict.fromkeys(TargetKind, pa.float32()) | {TargetKind.CLASSES: pa.int16()}
KINDS = list(TargetKind)


def draw(kind, seed, n_examples, n_outputs, n_source=None):
    """Nothing repeats: random examples of a large source, targets that no prediction is near."""
    rng = torch.Generator().manual_seed(seed)
    examples = torch.randperm(n_source or n_examples, generator=rng)[:n_examples]
    outputs = 2 * torch.randn(n_examples, n_outputs, generator=rng)
    if kind is TargetKind.CLASSES:
        targets = torch.randint(n_outputs, (n_examples,), generator=rng)
    else:
        targets = torch.randn(n_examples, n_outputs, generator=rng)
    if kind is TargetKind.DISTRIBUTIONS:
        outputs = torch.cat([outputs, outputs], 1)
    return columns(kind, "0123456789ab", seed, examples, targets, outputs)


@pytest.mark.parametrize(("kind", "n_outputs"), [(TargetKind.CLASSES, 10), (TargetKind.VALUES, 1)])
def test_ten_thousand_examples_of_ten_seeds_stay_under_a_megabyte(kind, n_outputs, tmp_path):
    table = joined(kind, [draw(kind, seed, 10_000, n_outputs, 70_000) for seed in range(10)])
    write(table, tmp_path / "predictions.parquet")
    assert (tmp_path / "predictions.parquet").stat().st_size < 1_000_000
    assert pq.ParquetFile(tmp_path / "predictions.parquet").metadata.num_rows == 100_000


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n_replicas", [0, 1, 3])
def test_it_is_read_back_as_it_was_written_and_its_types_do_not_depend_on_its_rows(
    kind, n_replicas, tmp_path
):
    table = joined(kind, [draw(kind, seed, 50, 3) for seed in range(n_replicas)])
    write(table, tmp_path / "predictions.parquet")
    schema = pq.read_schema(tmp_path / "predictions.parquet")
    assert {name: schema.field(name).type for name in schema.names} == {
        name: declared or ANSWER[kind] for name, declared in TYPES.items()
    }
    found = pd.read_parquet(tmp_path / "predictions.parquet")
    assert list(found) == list(TYPES)
    assert len(found) == n_replicas * 50 * (1 if kind is TargetKind.CLASSES else 3)
    for name, values in table.items():
        np.testing.assert_array_equal(found[name].to_numpy(), values)


def test_rows_of_classes_are_softmax_by_hand_and_sorted_by_example():
    outputs = torch.tensor([[2.0, 0.0, 1.0], [0.0, 3.0, 0.0], [1.0, 1.0, 0.0]])
    table = columns(
        TargetKind.CLASSES, "a", 7, torch.tensor([30, 10, 20]), torch.tensor([0, 2, 1]), outputs
    )
    p = softmax(outputs.numpy(), axis=1)
    assert table["example"].tolist() == [10, 20, 30]
    assert table["target"].tolist() == [2, 1, 0]
    assert table["prediction"].tolist() == [1, 0, 0]  # the first of equals
    assert set(table["output"]) == {0}
    assert set(table["seed"]) == {7}
    np.testing.assert_allclose(table["probability"], [p[1, 2], p[2, 1], p[0, 0]], rtol=1e-3)
    np.testing.assert_allclose(table["confidence"], [p[1, 1], p[2, 0], p[0, 0]], rtol=1e-3)
    brier = [
        (1 - p[1, 2]) ** 2 + p[1, 0] ** 2 + p[1, 1] ** 2,
        (1 - p[2, 1]) ** 2 + p[2, 0] ** 2 + p[2, 2] ** 2,
        (1 - p[0, 0]) ** 2 + p[0, 1] ** 2 + p[0, 2] ** 2,
    ]
    np.testing.assert_allclose(table["brier"], brier, rtol=1e-3)


def test_rows_of_values_are_the_outputs_one_after_the_other():
    outputs, targets = (
        torch.tensor([[1.0, 2.0], [3.0, 4.0]]),
        torch.tensor([[5.0, 6.0], [7.0, 8.0]]),
    )
    table = columns(TargetKind.VALUES, "a", 0, torch.tensor([9, 4]), targets, outputs)
    assert table["example"].tolist() == [4, 4, 9, 9]
    assert table["output"].tolist() == [0, 1, 0, 1]
    assert table["target"].tolist() == [7, 8, 5, 6]
    assert table["prediction"].tolist() == [3, 4, 1, 2]
    assert all(np.isnan(table[name]).all() for name in ("probability", "confidence", "brier"))


def test_rows_of_distributions_are_their_means_and_log_densities():
    outputs = torch.tensor([[1.0, 2.0, 0.0, 1.0], [3.0, 4.0, -1.0, 2.0]])  # means, log-variances
    targets = torch.tensor([[5.0, 6.0], [7.0, 8.0]])
    table = columns(TargetKind.DISTRIBUTIONS, "a", 0, torch.tensor([9, 4]), targets, outputs)
    assert table["example"].tolist() == [4, 4, 9, 9]
    assert table["output"].tolist() == [0, 1, 0, 1]
    assert table["target"].tolist() == [7, 8, 5, 6]
    assert table["prediction"].tolist() == [3, 4, 1, 2]
    stds = np.exp(np.array([-1, 2, 0, 1]) / 2)
    densities = norm([3, 4, 1, 2], stds).logpdf([7, 8, 5, 6])
    np.testing.assert_allclose(table["log_density"], densities, rtol=1e-6)


def test_what_is_not_known_of_values_is_null_on_disk(tmp_path):
    write(draw(TargetKind.VALUES, 0, 20, 2), tmp_path / "predictions.parquet")
    found = pq.read_table(tmp_path / "predictions.parquet")
    assert found["brier"].null_count == found["log_density"].null_count == 40
