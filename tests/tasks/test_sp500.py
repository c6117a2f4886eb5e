import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from beyond import catalog
from tasks.sp500 import _closes, told, window

FAULTS = [
    # the class of the day before is told
    ("tasks/sp500.py", "before.shape[1] :]", "before.shape[1] - 1 : -1]"),
    ("tasks/sp500.py", "before[:, -span:].std(1)", "before[:, :span].std(1)"),
    ("tasks/sp500.py", "np.diff(np.log(closes))", "np.diff(closes)"),
]


@pytest.fixture(scope="module")
def task():
    return catalog.load("task", "finance/sp500")


@pytest.fixture(scope="module")
def closes():
    return _closes("sp500")


def first_that_changes(make, closes, day):
    """The first example whose inputs change when every price from `day` on does."""
    other = closes.copy()
    other[day:] *= np.random.default_rng(0).uniform(0.5, 2, len(other) - day)
    changed = (make(closes) != make(other)).reshape(len(make(closes)), -1).any(1)
    return int(np.flatnonzero(changed)[0])


@pytest.mark.parametrize("day", [200, 1000, 5000])
def test_nobody_is_told_a_price_of_the_day_that_is_asked_for(closes, day):
    n_before = window(20)
    # example i asks for the change from close n_before + i to the next
    asks = day - n_before - 1
    assert first_that_changes(lambda prices: told(prices, 20)[0], closes, day) == asks + 1
    assert first_that_changes(lambda prices: told(prices, 20)[1], closes, day) >= asks

    def leaking(prices):  # the window ends a day later
        return told(prices, 20)[0][1:]

    assert first_that_changes(leaking, closes, day) == asks


def test_inputs_and_classes_are_by_hand_those_of_a_day(closes):
    inputs, classes = told(closes, 20)
    assert len(inputs) == len(closes) - 1 - 60
    returns = 100 * np.log(closes[1:] / closes[:-1])
    for example in (0, 17, len(inputs) - 1):
        day = 60 + example  # of the return that is asked for
        np.testing.assert_allclose(inputs[example, :20], returns[day - 20 : day])
        for place, span in enumerate((5, 20, 60)):
            assert inputs[example, 20 + place] == pytest.approx(np.std(returns[day - span : day]))
        assert classes[example] == (returns[day] > 0)


def test_more_lags_have_a_longer_window(closes):
    assert told(closes, 100)[0].shape == (5031 - 1 - 100, 103)


def test_the_shares_of_up_days_are_those_of_the_datasheet(task, arrays):
    shares = [arrays(task, split)[1].mean() for split in ("train", "validation", "test")]
    np.testing.assert_allclose(shares, [0.528, 0.544, 0.541], atol=5e-4)
    assert task.at([0]).origin == "source"


def test_the_linear_reference_is_no_better_than_chance(task, arrays):
    inputs, classes = arrays(task, "test")
    right = LogisticRegression().fit(*arrays(task, "train")).predict(inputs) == classes
    error = right.std() / np.sqrt(len(right))
    assert (right.mean(), error) == (
        pytest.approx(0.538, abs=0.005),
        pytest.approx(0.018, abs=5e-4),
    )
    gain = right.astype(float) - classes
    assert gain.mean() == pytest.approx(-0.003, abs=0.005)
    assert gain.std() / np.sqrt(len(gain)) == pytest.approx(0.011, abs=0.001)
