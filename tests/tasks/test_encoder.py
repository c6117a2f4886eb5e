import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

import beyond
from beyond import catalog
from beyond.errors import InputError

FAULTS = [
    # a unit fewer than a code needs
    (
        "tasks/encoder.py",
        "(self.n_inputs - 1).bit_length()",
        "(self.n_inputs - 1).bit_length() - 1",
    ),
    # the symbols of the last classes never occur
    ("tasks/encoder.py", "np.arange(self.n_inputs)", "np.arange(self.n_inputs) // 2"),
    # noise of one size whatever is asked
    ("tasks/encoder.py", "self.noise_std * noise", "0.05 * noise"),
]


@pytest.fixture(scope="module")
def task():
    return catalog.load("task", "synthetic/encoder", split_seed=0)


def test_every_symbol_occurs_equally_often_with_noise_of_the_size_asked_for():
    raw = catalog.load("task", "synthetic/encoder", n_each=1000, noise_std=0.3).examples()
    assert np.bincount(raw.targets).tolist() == [1000] * 8
    noise = raw.inputs - np.eye(8)[raw.targets]
    assert noise.std() == pytest.approx(0.3, rel=0.02)
    assert np.abs(noise.mean(0)).max() < 4 * 0.3 / np.sqrt(8000)  # standard errors
    clean = catalog.load("task", "synthetic/encoder", noise_std=0.0).examples()
    np.testing.assert_array_equal(clean.inputs, np.eye(8)[clean.targets])


@pytest.mark.parametrize(("n_inputs", "n_hidden"), [(2, 1), (3, 2), (8, 3), (9, 4), (16, 4)])
def test_the_hidden_layer_has_as_many_units_as_a_code_needs(n_inputs, n_hidden):
    spec = catalog.load("task", "synthetic/encoder", n_inputs=n_inputs).spec
    assert spec.network.hidden == (n_hidden,)
    assert spec.input_shape == (spec.n_outputs,) == (n_inputs,)


def test_the_references_are_those_of_the_datasheet(task, arrays):
    linear = LogisticRegression(C=100).fit(*arrays(task, "train"))
    assert linear.score(*arrays(task, "test")) == 1.0


def test_bad_settings_are_refused():
    for setting, value, allowed in (("n_inputs", 1, ">= 2"), ("n_each", 9, ">= 10")):
        with pytest.raises(InputError, match=rf"^{setting} must be .*{allowed}, got {value}"):
            catalog.load("task", "synthetic/encoder", **{setting: value})


def test_backpropagation_finds_a_code(tmp_path):
    study = beyond.run("backprop", "synthetic/encoder", epochs=100, seeds=10, runs=tmp_path)
    assert study.runs["final_test_score"].mean() == pytest.approx(1.0, abs=0.005)
