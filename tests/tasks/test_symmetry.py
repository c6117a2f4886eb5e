import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from beyond import catalog
from beyond.errors import InputError

FAULTS = [
    # the halves are the same, not mirrored
    ("tasks/symmetry.py", "[left, left[:, ::-1]]", "[left, left]"),
    # some strings of the other class are symmetric
    ("tasks/symmetry.py", "(first + 1 + apart)", "(first + apart)"),
    # half of the strings never occur
    ("tasks/symmetry.py", "% 2**half\n", "% 2 ** (half - 1)\n"),
]


@pytest.fixture(scope="module")
def task():
    return catalog.load("task", "synthetic/symmetry", split_seed=0)


def pairs(inputs):
    half = inputs.shape[1] // 2
    return inputs[:, :half] * inputs[:, : half - 1 : -1]


@pytest.mark.parametrize("n_bits", [8, 12])
def test_the_class_is_whether_the_string_read_backwards_is_the_same(n_bits):
    most = 2 ** (n_bits // 2 + 1)
    raw = catalog.load("task", "synthetic/symmetry", n_bits=n_bits, n_samples=max(most, 20))
    raw = raw.examples()
    backwards = (raw.inputs == raw.inputs[:, ::-1]).all(1)
    assert backwards.tolist() == (raw.targets == 1).tolist()
    assert len(np.unique(raw.inputs, axis=0)) == most
    assert raw.targets.mean() == 0.5  # so that all symmetric strings are there


def test_bits_are_uniform_in_both_classes_and_pairs_of_the_others_are_independent(task):
    raw = task.examples()
    for part in (raw.inputs[raw.targets == 0], raw.inputs[raw.targets == 1]):
        assert np.abs(part.mean(0)).max() < 4 / np.sqrt(4000)  # standard errors
    assert np.abs(pairs(raw.inputs[raw.targets == 0]).mean(0)).max() < 4 / np.sqrt(4000)
    assert len(np.unique(raw.inputs, axis=0)) == 8000


def test_the_references_are_those_of_the_datasheet(task, arrays):
    inputs, targets = arrays(task, "train")
    test_inputs, test_targets = arrays(task, "test")
    assert [len(inputs), len(test_inputs)] == [5600, 1200]
    linear = LogisticRegression().fit(inputs, targets)
    assert linear.score(test_inputs, test_targets) == pytest.approx(0.491, abs=0.005)
    paired = LogisticRegression().fit(pairs(inputs), targets)
    assert paired.score(pairs(test_inputs), test_targets) == 1.0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_bits": 9}, r"^n_bits must be .*got 9"),
        (
            {"n_bits": 8, "n_samples": 34},
            r"^n_samples must be at most 32, with all symmetric strings of 8 bits, got 34",
        ),
        ({"n_samples": 21}, r"^n_samples must be .*got 21"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        catalog.load("task", "synthetic/symmetry", **settings)
