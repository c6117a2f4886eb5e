from itertools import combinations
from math import comb

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from beyond import catalog
from beyond.errors import InputError

FAULTS = [
    # one bit more decides
    ("tasks/parity.py", "bits[:, : self.n_relevant]", "bits[:, : self.n_relevant + 1]"),
    # strings are drawn again
    ("tasks/parity.py", "replace=False", "replace=True"),
]


@pytest.fixture(scope="module")
def task():
    return catalog.load("task", "synthetic/parity", split_seed=0)


def products(inputs, n_most):
    """Products of up to `n_most` of the features."""
    places = range(inputs.shape[1])
    chosen = [c for n in range(1, n_most + 1) for c in combinations(places, n)]
    return np.stack([inputs[:, c].prod(1) for c in chosen], 1)


@pytest.mark.parametrize("n_relevant", [1, 2, 3, 6])
def test_of_all_strings_only_the_product_of_the_relevant_bits_tells_the_class(n_relevant):
    raw = catalog.load(
        "task", "synthetic/parity", n_bits=6, n_relevant=n_relevant, n_samples=64
    ).examples()
    assert len(np.unique(raw.inputs, axis=0)) == 64
    signs = 1 - 2 * raw.targets
    correlations = products(raw.inputs, 6).T @ signs / 64
    names = [c for n in range(1, 7) for c in combinations(range(6), n)]
    assert dict(zip(names, correlations, strict=True)) == {
        name: float(name == tuple(range(n_relevant))) for name in names
    }


def test_strings_are_uniform_and_none_is_in_two_splits(task, arrays):
    parts = [arrays(task, split)[0] for split in ("train", "validation", "test")]
    assert [len(part) for part in parts] == [7000, 1500, 1500]
    strings = np.concatenate(parts)
    assert set(np.unique(strings)) == {-1.0, 1.0}
    assert len(np.unique(strings, axis=0)) == 10_000
    assert np.abs(strings.mean(0)).max() < 4 / np.sqrt(10_000)  # standard errors


@pytest.mark.parametrize(("n_relevant", "right"), [(1, 1.0), (2, 0.75), (3, 0.75), (4, 0.6875)])
def test_the_best_threshold_on_the_sum_is_right_as_often_as_the_datasheet_says(n_relevant, right):
    raw = catalog.load(
        "task", "synthetic/parity", n_bits=6, n_relevant=n_relevant, n_samples=64
    ).examples()
    sums = raw.inputs[:, :n_relevant].sum(1)
    found = [((sums > at) == raw.targets).mean() for at in range(-n_relevant - 1, n_relevant + 1)]
    assert max(*found, *(1 - share for share in found)) == right
    assert right == 0.5 + comb(n_relevant - 1, (n_relevant - 1) // 2) / 2**n_relevant


def test_the_references_are_those_of_the_datasheet(task, arrays):
    inputs, targets = arrays(task, "train")
    test_inputs, test_targets = arrays(task, "test")
    linear = LogisticRegression().fit(inputs, targets)
    assert linear.score(test_inputs, test_targets) == pytest.approx(0.503, abs=0.005)
    cubic = LogisticRegression().fit(products(inputs, 3), targets)
    assert cubic.score(products(test_inputs, 3), test_targets) == 1.0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_bits": 1}, r"^n_bits must be .* \[2, 62\], got 1"),
        ({"n_relevant": 21}, r"^n_relevant must be at most n_bits \(20\), got 21"),
        ({"n_bits": 5, "n_samples": 33}, r"^n_samples must be at most 2\^n_bits \(32\), got 33"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        catalog.load("task", "synthetic/parity", **settings)
