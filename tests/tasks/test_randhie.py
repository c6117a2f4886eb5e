import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import LinearRegression

from beyond import catalog
from beyond.data.splits import whole_groups
from beyond.errors import InputError

FAULTS = [
    # a group that does not fit is cut
    ("beyond/data/splits.py", "if counts[group] <= room", "if room > 0"),
    # persons are told by their rated health
    ("tasks/randhie.py", "inputs[:, :N_GROUPED]", "inputs"),
    ("tasks/randhie.py", "np.log1p(visits)", "visits"),
]


@pytest.fixture(scope="module")
def task():
    return catalog.load("task", "regression/randhie", split_seed=0)


@pytest.mark.parametrize("seed", range(5))
def test_parts_are_of_whole_groups_and_exactly_as_large_as_asked(seed):
    rng = np.random.default_rng(seed)
    groups = rng.permutation(np.repeat(np.arange(40), rng.integers(1, 9, 40)))
    parts = whole_groups(groups, [30, 21], rng)
    assert [len(part) for part in parts] == [30, 21, len(groups) - 51]
    assert sorted(np.concatenate(parts)) == list(range(len(groups)))
    of = [set(groups[part]) for part in parts]
    assert sum(map(len, of)) == len(set().union(*of)) == 40


def test_groups_that_cannot_fill_a_part_are_refused():
    with pytest.raises(InputError, match=r"^groups must be small enough to fill .*\[1\], got 2"):
        whole_groups(np.array([0, 0, 1, 1]), [3], np.random.default_rng(0))


@pytest.mark.parametrize("seed", [0, 1])
def test_no_plan_and_chronic_index_is_in_two_splits(task, arrays, seed):
    task = catalog.load("task", "regression/randhie", split_seed=seed)
    raw, splits = task.examples(), task.at([0])
    persons = np.unique(raw.inputs[:, :6], axis=0, return_inverse=True)[1]
    of = [set(persons[splits.rows[split][0]]) for split in ("train", "validation", "test")]
    assert sum(map(len, of)) == len(set().union(*of)) == 2300


def test_the_target_is_the_logarithm_of_a_skewed_count(task):
    visits = np.expm1(task.examples().targets[:, 0])
    np.testing.assert_allclose(visits, visits.round(), atol=1e-9)
    assert (visits.min(), visits.max()) == (0, pytest.approx(77))
    assert (visits < 0.5).mean() == pytest.approx(0.31, abs=0.005)
    share = (
        np.sort((visits - visits.mean()) ** 2)[-60:].sum() / ((visits - visits.mean()) ** 2).sum()
    )
    assert share == pytest.approx(0.29, abs=0.005)


def test_the_references_are_those_of_the_datasheet(task, arrays):
    linear = LinearRegression().fit(*arrays(task, "train"))
    assert linear.score(*arrays(task, "test")) == pytest.approx(0.095, abs=0.001)
    inputs, targets = arrays(task, "train")
    trees = HistGradientBoostingRegressor(random_state=0).fit(inputs, targets.ravel())
    assert trees.score(*arrays(task, "test")) == pytest.approx(0.082, abs=0.005)
