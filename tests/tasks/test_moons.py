import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from beyond import catalog
from beyond.errors import InputError


@pytest.fixture(scope="module")
def task():
    return catalog.load("task", "tabular/moons", split_seed=0)


def residuals(raw):
    """Distance of each point outwards from its moon's circle; is it on the moon's half of it?"""
    centres = np.array([[0.0, 0.0], [1.0, 0.5]])[raw.targets]
    # the lower moon, turned about its centre
    offsets = (raw.inputs - centres) * np.where(raw.targets, -1, 1)[:, None]
    return np.linalg.norm(offsets, axis=1) - 1, offsets[:, 1] >= -1e-12


def test_without_noise_the_points_are_evenly_spaced_on_two_half_circles():
    raw = catalog.load("task", "tabular/moons", noise_std=0.0, n_samples=202).examples()
    assert np.bincount(raw.targets).tolist() == [101, 101]
    distances, on_half = residuals(raw)
    np.testing.assert_allclose(distances, 0, atol=1e-12)
    assert on_half.all()
    upper = raw.inputs[raw.targets == 0]
    np.testing.assert_allclose(
        np.sort(np.arccos(upper[:, 0].clip(-1, 1))), np.linspace(0, np.pi, 101), atol=1e-6
    )


def test_noise_is_normal_and_of_its_own_size(task):
    raw = task.examples()
    assert raw.inputs.shape == (1000, 2)
    assert np.bincount(raw.targets).tolist() == [500, 500]
    distances = residuals(raw)[0]
    assert distances.mean() == pytest.approx(0, abs=0.01)
    assert distances.std() == pytest.approx(0.1, rel=0.05)


def test_its_own_seed_draws_other_data(task):
    other = catalog.load("task", "tabular/moons", data_seed=1, n_samples=100).examples()
    assert len(other.targets) == 100
    assert not np.isin(other.inputs, task.examples().inputs).any()


def test_the_references_are_those_of_the_datasheet(task, arrays):
    linear = LogisticRegression().fit(*arrays(task, "train"))
    assert linear.score(*arrays(task, "test")) == pytest.approx(0.860, abs=0.005)
    nearest = KNeighborsClassifier(5).fit(*arrays(task, "train"))
    assert nearest.score(*arrays(task, "test")) == pytest.approx(1.0, abs=0.005)


def test_bad_settings_are_refused():
    for setting, value in (("n_samples", 19), ("noise_std", float("inf")), ("data_seed", 2**32)):
        with pytest.raises(InputError, match=f"^{setting} must be"):
            catalog.load("task", "tabular/moons", **{setting: value})
