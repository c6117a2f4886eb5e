"""Estimators: scikit-learn's checks, least squares as an oracle, and what they refuse."""

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from beyond import catalog
from beyond.architectures.mlp import suited
from beyond.data.arrays import Examples
from beyond.data.given import Targets
from beyond.errors import InputError, UnsupportedError
from beyond.ledger import COST_NAMES
from beyond.sklearn import Classifier, Regressor, _Sample, _seed
from methods.backprop import Backprop

FAULTS = [
    ("beyond/sklearn.py", "self.classes_[places]", "places"),
    ("beyond/sklearn.py", 'table[table["split"] != "test"]', "table"),
    ("beyond/sklearn.py", "if starts else None", "if not starts else None"),
    ("beyond/sklearn.py", "torch.set_num_threads(n_threads)", "pass"),
    ("beyond/sklearn.py", "round(self.validation_fraction * n_examples)", "0"),
    (
        "beyond/sklearn.py",
        'return checked("random_state", NonNegativeInt, int(random_state))',
        "return 0",
    ),
    ("beyond/sklearn.py", "setting = _with_setting(first, within, rest, setting)", "pass"),
    (
        "beyond/sklearn.py",
        "repeated = np.resize(inputs, (n_batches * ROWS, inputs.shape[1]))",
        "repeated, n_batches = inputs, 1",
    ),
    ("beyond/sklearn.py", "raw.targets if classes else", "raw.targets if not classes else"),
    ("beyond/sklearn.py", "fewest = 1 if classes else 2", "fewest = 1"),
    (
        "beyond/sklearn.py",
        "validation_fraction=_number(",
        "split_seed=0, validation_fraction=_number(",
    ),
    ("beyond/sklearn.py", "values[:, 0] if self._n_axes == 1 else values", "values[:, 0]"),
    ("beyond/sklearn.py", 'if ended["status"] == "failed":', "if False:"),
    ("beyond/sklearn.py", "torch.set_flush_denormal(flushed)", "torch.set_flush_denormal(False)"),
    (
        "beyond/sklearn.py",
        "return int(check_random_state(random_state)",
        "return 0 * int(check_random_state(random_state)",
    ),
    ("beyond/sklearn.py", "{**value, first: setting} if mapping", "{first: setting} if mapping"),
    ("beyond/data/splits.py", "part.values[:0].clone()", "part.values"),
]


@pytest.fixture(scope="module")
def iris():
    """A DataFrame, and the classes by name."""
    data = load_iris(as_frame=True)
    return data.data, data.target_names[data.target]


@pytest.fixture(scope="module")
def diabetes():
    return load_diabetes(return_X_y=True)


def divided(targets, fraction):
    """Rows of each part of examples with these targets."""
    targets = np.asarray(targets)
    inputs = np.arange(2.0 * len(targets)).reshape(-1, 2)
    kind = Targets(targets, {"a": 1, "b": 1} if targets.ndim == 1 else {})
    task = _Sample(
        description=kind.spec("sample", (2,), suited(len(targets))),
        load=lambda: Examples(inputs, targets),
        validation_fraction=fraction,
    )
    return task._divide(task.examples(), np.random.default_rng(0))


def test_the_validation_part_is_stratified_and_apart():
    classes = [0] * 16 + [1] * 4
    parts = divided(classes, 0.25)
    assert np.bincount(np.take(classes, parts["validation"])).tolist() == [4, 1]
    both = np.concatenate([parts["train"], parts["validation"]])
    assert sorted(both) == list(range(20))
    # one value has no variance to be explained
    assert len(divided(np.arange(6.0)[:, None], 0.1)["validation"]) == 2


def test_another_seed_has_another_validation_part(iris):
    X, y = iris
    seeds = [0, 0, 1]
    models = [Classifier(epochs=1, random_state=seed).fit(X, y) for seed in seeds]
    scaled = [model.predictor_.splits.prepared(torch.zeros(1, 4)) for model in models]
    assert torch.equal(scaled[0], scaled[1])
    assert not torch.equal(scaled[0], scaled[2])


def test_without_a_number_seeds_are_drawn_from_numpy():
    np.random.seed(0)  # noqa: NPY002 - the convention of scikit-learn
    first = [_seed(None), _seed(None)]
    np.random.seed(0)  # noqa: NPY002
    assert [_seed(None), _seed(None)] == first
    assert first[0] != first[1]


def test_values_come_back_in_the_shape_in_which_they_were_given(diabetes):
    X, y = diabetes
    for given in (y, y[:, None]):
        assert Regressor(epochs=1).fit(X, given).predict(X[:7]).shape == (7, *given.shape[1:])


def test_a_rule_that_fails_is_an_error_and_no_model(iris, monkeypatch):
    def fail(*_):
        raise ZeroDivisionError("by nothing")

    monkeypatch.setattr(Backprop, "step", fail)
    model = Classifier(epochs=1)
    with pytest.raises(RuntimeError, match=r"^ZeroDivisionError: by nothing"):
        model.fit(*iris)
    assert not hasattr(model, "predictor_")


@pytest.mark.parametrize("flushed", [False, True])
def test_denormal_numbers_are_afterwards_what_they_were(flushed, iris):
    torch.set_flush_denormal(flushed)
    try:
        Classifier(epochs=1).fit(*iris)
        assert bool(torch.tensor(1e-38) * 0.1 == 0) == flushed
    finally:
        torch.set_flush_denormal(False)


def test_a_setting_leaves_its_neighbours_alone():
    model = Classifier({"name": "backprop", "batch_size": 64, "optimizer": {"name": "sgd"}})
    model.set_params(method__optimizer__learning_rate=0.1)
    optimizer = {"name": "sgd", "learning_rate": 0.1}
    assert model.method == {"name": "backprop", "batch_size": 64, "optimizer": optimizer}


def test_classes_by_name_from_a_frame(iris, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    X, y = iris
    torch.set_num_threads(2)
    model = Classifier("feedback_alignment", epochs=30, random_state=0).fit(X, y)
    assert torch.get_num_threads() == 2
    torch.set_num_threads(1)
    assert model.score(X, y) > 0.8
    assert model.classes_.tolist() == ["setosa", "versicolor", "virginica"]
    assert model.feature_names_in_.tolist() == X.columns.tolist()
    probabilities = model.predict_proba(X)
    np.testing.assert_allclose(probabilities.sum(1), 1)
    assert (model.classes_[probabilities.argmax(1)] == model.predict(X)).all()
    assert not list(tmp_path.iterdir())


def test_what_was_spent_and_the_curve(iris):
    model = Classifier(epochs=10, random_state=0).fit(*iris)
    assert set(model.cost_) == set(COST_NAMES)
    assert model.cost_["epochs"] == pytest.approx(10)
    n_train = len(iris[0]) - round(0.15 * len(iris[0]))
    assert model.cost_["forward"] == 10 * n_train
    assert model.n_iter_ == model.cost_["steps"]
    assert set(model.curve_["split"]) == {"train", "validation"}
    last = model.curve_.query("split == 'train' and metric == 'accuracy_score'").iloc[-1]
    assert last["epochs"] == pytest.approx(10)


def test_a_linear_network_learns_what_least_squares_does(diabetes):
    X, y = diabetes
    method = {"name": "backprop", "batch_size": None, "optimizer": {"learning_rate": 0.02}}
    model = Regressor(method, "linear", epochs=1000, validation_fraction=0.02, random_state=0)
    expected = LinearRegression().fit(X, y).predict(X)
    found = model.fit(X, y).predict(X)
    assert found.shape == y.shape
    assert np.corrcoef(found, expected)[0, 1] > 0.99
    assert abs(found - expected).mean() < 0.1 * y.std()


def test_a_whole_number_seeds_all_draws(iris):
    X, y = iris
    first, again, other = (
        Classifier(epochs=2, random_state=seed).fit(X, y).predict_proba(X) for seed in (1, 1, 2)
    )
    assert (first == again).all()
    assert (first != other).any()
    first, again = (
        Classifier(epochs=2, random_state=np.random.RandomState(5)).fit(X, y).predict_proba(X)
        for _ in range(2)
    )
    assert (first == again).all()


def test_in_a_pipeline_a_search_and_by_cross_validation(iris):
    X, y = iris
    model = Classifier(network={"name": "mlp", "hidden": [8]}, epochs=5, random_state=0)
    grid = {
        "classifier__method__batch_size": np.array([8, 64]),
        "classifier__method__optimizer__learning_rate": [1e-9, 0.05],
        "classifier__network__hidden": [[4]],
    }
    search = GridSearchCV(make_pipeline(StandardScaler(), model), grid, cv=2).fit(X, y)
    found = search.best_estimator_[-1].predictor_
    assert found.method == Backprop(
        optimizer=type(Backprop().optimizer)(learning_rate=0.05),
        batch_size=search.best_params_["classifier__method__batch_size"].item(),
    )
    assert found.state_dict()["0.weight"].shape == (4, 4)
    assert search.best_score_ > 0.7
    assert cross_val_score(model, X, y, cv=2).min() > 0.5


def test_a_setting_of_a_method_however_it_was_given():
    for method in ("backprop", {"name": "backprop"}, Backprop()):
        model = Classifier(method).set_params(method__batch_size=7, epochs=3)
        model = clone(model).set_params(method__optimizer__learning_rate=0.5)
        made = model.method
        given = made if isinstance(made, Backprop) else catalog.load("method", "backprop")
        if isinstance(made, dict):
            assert made == {
                "name": "backprop",
                "batch_size": 7,
                "optimizer": {"learning_rate": 0.5},
            }
        else:
            assert (given.batch_size, given.optimizer.learning_rate) == (7, 0.5)
        assert model.epochs == 3


def test_a_pickle_has_no_data_in_it(diabetes):
    X, y = diabetes
    sizes = []
    for n_examples in (50, 400):
        model = Regressor(epochs=2, random_state=0).fit(X[:n_examples], y[:n_examples])
        stored = pickle.dumps(model)
        sizes.append(len(pickle.dumps(model.predictor_)))
        assert (pickle.loads(stored).predict(X) == model.predict(X)).all()
    assert abs(sizes[1] - sizes[0]) < 500


@pytest.mark.parametrize("method", ["backprop", "forward_forward", "spiking_surrogate"])
def test_an_answer_does_not_depend_on_what_else_is_asked(method, iris):
    X, y = iris
    model = Classifier(method, {"name": "mlp", "hidden": [37]}, epochs=2, random_state=0).fit(X, y)
    whole = model.predict_proba(X)
    for rows in (slice(0, 1), slice(140, 141), slice(3, 20), slice(None, None, -7)):
        assert (model.predict_proba(X[rows]) == whole[rows]).all()


def test_several_values(diabetes):
    X, y = diabetes
    both = np.stack([y, -2 * y], 1)
    model = Regressor(epochs=20, random_state=0).fit(X, both)
    assert model.predict(X).shape == both.shape
    assert model.score(X, both) > 0.4


def test_divergence_is_a_warning_and_the_best_checkpoint_stays(iris):
    method = {"name": "backprop", "optimizer": {"name": "sgd", "learning_rate": 1e9}}
    with pytest.warns(ConvergenceWarning, match="^backprop diverged: a loss"):
        model = Classifier(method, epochs=3, random_state=0).fit(*iris)
    assert np.isfinite(model.predict_proba(iris[0])).all()


@pytest.mark.parametrize(
    ("settings", "error", "said"),
    [
        ({"method": "bakprop"}, InputError, r"^method must be one of .*; got 'bakprop'$"),
        ({"method": {"name": "backprop", "x": 1}}, InputError, "^unknown setting 'x' of Backprop"),
        ({"network": "mpl"}, InputError, r"^network must be one of .*; got 'mpl'$"),
        ({"epochs": 0}, InputError, r"^epochs must be > 0, got 0$"),
        ({"epochs": 0.001}, InputError, r"^epochs must pay for a step: one step costs"),
        (
            {"validation_fraction": 1.0},
            InputError,
            r"^validation_fraction must be in \(0, 1\), got",
        ),
        ({"random_state": -1}, InputError, r"^random_state must be an integer >= 0, got -1$"),
        ({"method": "maml"}, UnsupportedError, "episode"),
        ({"method": "fine_tuning"}, UnsupportedError, "no source task to learn from first$"),
        ({"network": "cnn"}, InputError, "image"),
    ],
)
def test_what_cannot_be_is_one_line(settings, error, said, iris):
    with pytest.raises(error, match=said) as raised:
        Classifier(**{"random_state": 0, **settings}).fit(*iris)
    assert "\n" not in str(raised.value)


def test_a_network_must_be_named_before_its_settings():
    with pytest.raises(InputError, match=r"^network must be named where network__hidden is set$"):
        Classifier().set_params(network__hidden=[3])


@pytest.mark.parametrize("method", catalog.names("method"))
def test_a_method_predicts_or_says_why_it_cannot(method, iris):
    model = Classifier(method, epochs=30, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        try:
            model.fit(*iris)
        except UnsupportedError:
            return
    assert set(model.predict(iris[0])) <= set(model.classes_)
    assert isinstance(model.curve_, pd.DataFrame)


@parametrize_with_checks([Classifier(), Regressor()])
@pytest.mark.once
def test_what_scikit_learn_checks(estimator, check):
    check(estimator)
