"""Any rule as a scikit-learn estimator, for pipelines, cross-validation and searches.

    from beyond.sklearn import Classifier

    model = Classifier(method="predictive_coding", epochs=30).fit(X, y)
    model.score(X, y), model.cost_["flops"], model.curve_

One replica is trained by the harness's loop, in this process and on one thread, so that a result
does not depend on the machine's cores; nothing is written to disk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from numbers import Integral
from typing import Annotated, Any, Self, cast
from warnings import warn

import numpy as np
import pandas as pd
import torch
from annotated_types import Interval
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data
from threadpoolctl import threadpool_limits

from beyond.architectures.mlp import suited
from beyond.catalog import brought, names
from beyond.contracts import TargetKind
from beyond.data.arrays import Examples, SourceTask
from beyond.data.given import Targets
from beyond.data.splits import ArraySplits, stratified_order
from beyond.errors import InputError
from beyond.ledger import COST_NAMES, Budget
from beyond.run.chosen import chosen, name_of
from beyond.run.loop import Progress, train
from beyond.run.setup import Setup
from beyond.run.trained import Predictor
from beyond.settings import NonNegativeInt, Positive, checked

Fraction = Annotated[float, Interval(gt=0, lt=1)]
ROWS = 256  # of inputs that are answered at once
NESTED = ("method", "network")  # parameters whose settings are parameters too


class _Estimator(BaseEstimator):
    """What both estimators share: see `Classifier`."""

    def __init__(
        self,
        method: Any = "backprop",
        network: Any = None,
        *,
        epochs: float = 100.0,
        validation_fraction: float = 0.15,
        random_state: Any = None,
    ) -> None:
        self.method = method
        self.network = network
        self.epochs = epochs
        self.validation_fraction = validation_fraction
        self.random_state = random_state

    def set_params(self, **params: Any) -> Self:
        """Set parameters; `method__batch_size=64` changes one setting of the method."""
        nested = {name: params[name] for name in params if name.partition("__")[0] in NESTED}
        nested = {name: value for name, value in nested.items() if "__" in name}
        super().set_params(**{name: params[name] for name in params if name not in nested})
        for name, value in nested.items():
            part, *path = name.split("__")
            setattr(self, part, _with_setting(part, getattr(self, part), path, value))
        return self

    def _learn(self, inputs: np.ndarray, targets: Targets) -> None:
        """Train, and keep what predicts."""
        method = chosen("method", self.method)
        network = suited(len(inputs)) if self.network is None else chosen("network", self.network)
        spec = targets.spec(type(self).__name__, inputs.shape[1:], network or suited(len(inputs)))
        task = _Sample(
            description=spec,
            load=lambda: Examples(inputs, targets.values),
            validation_fraction=_number("validation_fraction", Fraction, self.validation_fraction),
        )
        seed = _seed(self.random_state)
        name = name_of("method", self.method)
        starts = brought("method", name) if name in names("method") else {}
        setup = Setup(
            method,
            task,
            spec.network.build(spec),
            [seed],
            Budget("epochs", _number("epochs", Positive, self.epochs)),
            start=chosen("start", starts["start"]).on(task) if starts else None,
        )
        curves: list[dict[str, Any]] = []
        last: Progress | None = None
        with _one_thread():
            for last in train(setup):
                curves += last.curves
        assert last is not None
        ended = last.runs[0]
        if ended["status"] == "untrained":
            raise InputError(f"epochs must pay for a step: {ended['reason']}")
        if ended["status"] == "failed":
            raise RuntimeError(ended["reason"])
        if ended["status"] == "diverged":
            warn(f"{name} diverged: {ended['reason']}", ConvergenceWarning, stacklevel=3)
        splits = cast(ArraySplits, task.at([seed])).emptied()
        self.predictor_ = Predictor(method, spec.network, spec, splits, last.selected[0])
        self.cost_ = {name: ended[name] for name in COST_NAMES}
        self.n_iter_ = int(ended["steps"])
        table = pd.DataFrame(curves)
        self.curve_ = table[table["split"] != "test"].drop(columns="seed").reset_index(drop=True)

    def _answers(self, X: Any, ask: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """What is asked of each input, in batches of one size: by which others it stands beside,
        or how many, not even the rounding of an answer differs.
        """
        inputs: Any = validate_data(self, X, reset=False, dtype=np.float64)
        n_batches = -(-len(inputs) // ROWS)
        repeated = np.resize(inputs, (n_batches * ROWS, inputs.shape[1]))
        with _one_thread():
            answers = [ask(batch) for batch in np.split(repeated, n_batches)]
        return np.concatenate(answers)[: len(inputs)]


class Classifier(ClassifierMixin, _Estimator):
    """A rule that learns to tell classes apart.

    Parameters
    ----------
    method : str, dict or Method, default="backprop"
        A name (`beyond --methods` has all), a name with settings, `{"name": "genetic", "selection":
        {"size": 5}}`, or an object. `method__batch_size=64` in `set_params`, and so in a grid,
        changes one setting.
    network : str, dict, Architecture or None, default=None
        Likewise; None is one hidden layer or two, as suits the number of examples.
    epochs : float, > 0, default=100
        What may be spent, in backprop epochs: the compute of as many passes of backpropagation over
        the training part.
    validation_fraction : float in (0, 1), default=0.15
        Of the examples, stratified by class: not trained on, they select the checkpoint.
    random_state : int, RandomState instance or None, default=None
        Seeds the validation part, the initial weights, the order of examples and the rule's draws.

    Attributes
    ----------
    classes_ : array of shape (n_classes,)
        In the order of `predict_proba`'s columns.
    n_features_in_ : int
        Columns of X.
    feature_names_in_ : array of shape (n_features_in_,)
        Where inputs have names.
    n_iter_ : int
        Changes of the weights.
    cost_ : dict of str to float
        What was spent, in every currency: epochs, examples forward and backward, FLOPs, rewards,
        steps, seconds.
    curve_ : DataFrame
        A row a checkpoint, split and metric, with what was spent until then.
    predictor_ : beyond.run.trained.Predictor
        Has `state_dict()`, and `module()` of a network that is a torch module.

    Raises
    ------
    InputError
        A `ValueError`, in one line, for parameters that are unknown or out of range.
    UnsupportedError
        In `fit`, if the rule cannot serve the network or the data.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from beyond.sklearn import Classifier
    >>> X, y = load_iris(return_X_y=True)
    >>> model = Classifier("feedback_alignment", epochs=50, random_state=0).fit(X, y)
    >>> model.score(X, y) > 0.9
    True
    """

    def fit(self, X: Any, y: Any) -> Self:
        """Train on inputs (n_samples, n_features) and the class (n_samples,) of each."""
        X, y = validate_data(self, X, y, dtype=np.float64, copy=True, ensure_min_samples=2)
        y = column_or_1d(y, warn=True)
        check_classification_targets(y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise InputError(f"y must have at least 2 classes, got 1 class: {self.classes_[0]!r}")
        counts = {str(code): int(count) for code, count in enumerate(np.bincount(codes))}
        self._learn(X, Targets(codes.astype(np.int64), counts))
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Return the class (n_samples,) of each input."""
        places = self.predict_proba(X).argmax(1)
        return self.classes_[places]

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return probabilities (n_samples, n_classes), in the order of `classes_`."""
        check_is_fitted(self)
        return self._answers(X, self.predictor_.probabilities)


class Regressor(RegressorMixin, _Estimator):
    """A rule that learns to predict values, one for each input or several.

    Parameters and attributes are those of `Classifier`, but for `classes_`.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from beyond.sklearn import Regressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = Regressor({"name": "backprop", "batch_size": 64}, epochs=20, random_state=0)
    >>> model.fit(X, y).score(X, y) > 0.4
    True
    """

    def fit(self, X: Any, y: Any) -> Self:
        """Train on inputs (n_samples, n_features) and values (n_samples,) or (n_samples, k)."""
        X, y = validate_data(
            self,
            X,
            y,
            dtype=np.float64,
            copy=True,
            multi_output=True,
            y_numeric=True,
            ensure_min_samples=3,
        )
        self._n_axes = y.ndim
        self._learn(X, Targets(y.reshape(len(y), -1).astype(np.float64)))
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Return values in the units of `y`, and of its shape but for the samples."""
        check_is_fitted(self)
        values = self._answers(X, self.predictor_.predict).astype(np.float64)
        return values[:, 0] if self._n_axes == 1 else values

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


@dataclass(frozen=True, kw_only=True)
class _Sample(SourceTask):
    """Arrays in memory. There is nothing to test on: the last look is at the validation part."""

    validation_fraction: float

    def _divide(self, raw: Examples, rng: np.random.Generator) -> dict[str, np.ndarray]:
        classes = self.spec.target_kind is TargetKind.CLASSES
        n_examples = len(raw.targets)
        order = stratified_order(raw.targets if classes else np.zeros(n_examples, np.int64), rng)
        fewest = 1 if classes else 2  # whose R2 is not 0 whatever is predicted
        n_validation = max(fewest, round(self.validation_fraction * n_examples))
        validation, training = np.split(order, [n_validation])
        return {"train": training, "validation": validation, "test": validation}


def _with_setting(part: str, value: Any, path: Sequence[str], setting: Any) -> Any:
    """Return a choice, as `chosen` takes it, with one setting that is another."""
    first, *rest = path
    if value is None:
        raise InputError(f"{part} must be named where {'__'.join([part, *path])} is set")
    if isinstance(value, str):
        value = {"name": value}
    mapping = isinstance(value, Mapping)
    if rest:
        within = value.get(first, {}) if mapping else getattr(value, first, None)
        setting = _with_setting(first, within, rest, setting)
    return {**value, first: setting} if mapping else replace(value, **{first: setting})


def _number(name: str, declared: Any, value: Any) -> float:
    return checked(name, declared, value.item() if isinstance(value, np.generic) else value)


def _seed(random_state: Any) -> int:
    """Return a whole number itself; otherwise draw one."""
    if isinstance(random_state, Integral):
        return checked("random_state", NonNegativeInt, int(random_state))
    return int(check_random_state(random_state).randint(np.iinfo(np.int32).max))


@contextmanager
def _one_thread() -> Iterator[None]:
    """Compute as a run does, on one thread and without denormal numbers; restore what was."""
    n_threads = torch.get_num_threads()
    flushed = bool(torch.tensor(1e-38) * 0.1 == 0)
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(n_threads)
        torch.set_flush_denormal(flushed)
