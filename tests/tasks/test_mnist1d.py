import hashlib
import random

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from beyond import catalog
from beyond.contracts import SPLITS
from beyond.errors import InputError
from beyond.streams import Stream
from tasks import mnist1d

# Of the values rounded to 1e-6, when they were compared with the published file.
SIGNALS = "d5e0964929566e1790ae33da5c25509ef5a5594afac9f96a524dc8561d174f41"
LABELS = "6feec4a017698c7fe237c8854cbd2e338c6dd5c16240f6fa79daefaaa129e169"


@pytest.fixture(scope="module")
def task():
    return catalog.load("task", "image/mnist1d", split_seed=0)


def test_the_generated_data_is_the_published_data(task):
    raw = task.examples()
    assert raw.inputs.shape == (5000, 40)
    assert hashlib.sha256(np.round(raw.inputs, 6).astype("<f4").tobytes()).hexdigest() == SIGNALS
    assert hashlib.sha256(raw.targets.astype("<i8").tobytes()).hexdigest() == LABELS


def test_inputs_and_test_split_are_served_as_published(task, arrays):
    raw = task.examples()
    inputs, targets = arrays(task, "test")
    assert np.array_equal(inputs, raw.inputs[4000:].astype(np.float32))
    assert np.array_equal(targets, raw.targets[4000:])


def learnt_from(task, arrays):
    """Inputs and targets of the published training examples."""
    parts = zip(arrays(task, "train"), arrays(task, "validation"), strict=True)
    return map(np.concatenate, parts)


@pytest.mark.parametrize(("shuffle", "score"), [(False, 0.328), (True, 0.329)])
def test_logistic_regression_scores_as_published(shuffle, score, arrays):
    task = catalog.load("task", "image/mnist1d", shuffle_features=shuffle)
    inputs, targets = learnt_from(task, arrays)
    reference = LogisticRegression(max_iter=5000).fit(inputs, targets)
    assert reference.score(*arrays(task, "test")) == pytest.approx(score, abs=0.005)
    assert 0.36 <= reference.score(inputs, targets) <= 0.38


@pytest.mark.parametrize(
    ("model", "half", "score"),
    [
        (KNeighborsClassifier(3), None, 0.554),
        (LogisticRegression(max_iter=5000), "upper", 0.475),
    ],
    ids=["neighbours", "upper"],
)
def test_the_references_are_those_of_the_datasheet(model, half, score, arrays):
    task = catalog.load("task", "image/mnist1d", half=half, split_seed=0)
    reference = model.fit(*learnt_from(task, arrays))
    assert reference.score(*arrays(task, "test")) == pytest.approx(score, abs=0.005)


def test_the_shuffled_control_has_the_published_order(task, arrays):
    plain, _ = arrays(task, "test")
    shuffled, _ = arrays(catalog.load("task", "image/mnist1d", shuffle_features=True), "test")
    order = np.random.RandomState(42).permutation(40)
    assert np.array_equal(shuffled, plain[:, order])


def test_the_global_generators_stay_where_they_were():
    mnist1d._published.cache_clear()
    before = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    catalog.load("task", "image/mnist1d", shuffle_features=True).examples()
    assert random.getstate() == before[0]
    assert np.array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), before[2])


@pytest.mark.parametrize("shuffle", [False, True])
def test_the_source_is_the_other_classes_with_features_in_the_same_order(shuffle):
    task = catalog.load("task", "image/mnist1d", half="upper", shuffle_features=shuffle)
    whole = catalog.load("task", "image/mnist1d", shuffle_features=shuffle).examples()
    assert np.array_equal(
        task.source("other_half").examples().inputs, whole.inputs[whole.targets < 5]
    )
    assert np.array_equal(task.examples().inputs, whole.inputs[whole.targets >= 5])
    # of the published 1,000
    assert [task.source("other_half").at([0]).size("test"), task.at([0]).size("test")] == [507, 493]
    assert np.array_equal(
        task.examples().targets[-493:] + 5, whole.targets[4000:][whole.targets[4000:] >= 5]
    )


def test_a_shift_turns_the_signal_around(task):
    first = torch.zeros(1, 100, dtype=torch.int64)
    varied = catalog.load("task", "image/mnist1d", shift=2, split_seed=0).at([0])
    turned = next(varied.training(first.unsqueeze(0), Stream("augment", [0]))).inputs[0]
    allowed = [
        task.at([0]).batch("train", first).inputs[0, 0].roll(places) for places in range(-2, 3)
    ]
    assert {
        next(i for i, one in enumerate(allowed) if torch.equal(one, signal)) for signal in turned
    } == set(range(5))


@pytest.mark.parametrize("shuffle", [False, True])
def test_fresh_validation_leaves_the_published_splits_whole(shuffle, arrays, task):
    fresh = catalog.load("task", "image/mnist1d", fresh_validation=700, shuffle_features=shuffle)
    assert [fresh.at([0]).size(split) for split in SPLITS] == [4000, 700, 1000]
    published = catalog.load("task", "image/mnist1d", shuffle_features=shuffle).examples()
    inputs, targets = arrays(fresh, "train")
    order, other = np.lexsort(inputs.T), np.lexsort(published.inputs[:4000].astype(np.float32).T)
    assert np.array_equal(inputs[order], published.inputs[:4000].astype(np.float32)[other])
    assert np.array_equal(targets[order], published.targets[:4000][other])
    assert np.array_equal(arrays(fresh, "test")[0], published.inputs[4000:].astype(np.float32))


def test_fresh_validation_signals_are_others_of_the_same_kind(arrays):
    task = catalog.load("task", "image/mnist1d", fresh_validation=2000)
    seen, fresh = arrays(task, "train"), arrays(task, "validation")
    assert not {row.tobytes() for row in seen[0]} & {row.tobytes() for row in fresh[0]}
    reference = LogisticRegression(max_iter=5000).fit(*seen)
    assert 0.30 <= reference.score(*fresh) <= 0.34
    np.testing.assert_allclose(fresh[0].mean(0), seen[0].mean(0), atol=0.12)


def test_the_generator_makes_as_many_signals_as_asked():
    task = catalog.load("task", "image/mnist1d", n_samples=600, train_fraction=0.25)
    assert [task.at([0]).size(split) for split in SPLITS] == [128, 22, 450]
    assert np.bincount(task.examples().targets).tolist() == [60] * 10
    part = catalog.load("task", "image/mnist1d", n_samples=600, fresh_validation=50, half="upper")
    assert (
        part.at([0]).size("validation") + part.source("other_half").at([0]).size("validation") == 50
    )
    assert part.at([0]).size("test") + part.source("other_half").at([0]).size("test") == 120


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_samples": 105}, "n_samples must be a multiple of 10, >= 100, got 105"),
        ({"n_samples": 50}, "n_samples must be a multiple of 10, >= 100, got 50"),
        ({"train_fraction": 1.0}, r"train_fraction must be in \(0, 1\), got 1.0"),
        ({"fresh_validation": 0}, "fresh_validation must be an integer >= 1, or null, got 0"),
        (
            {"fresh_validation": 300, "n_samples": 200},
            "fresh_validation must be at most 200, .*, got 300",
        ),
    ],
)
def test_sizes_that_cannot_be_are_refused(settings, message):
    with pytest.raises(InputError, match=f"^{message}$"):
        catalog.load("task", "image/mnist1d", **settings)
