import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid

from beyond import catalog
from beyond.data import idx
from beyond.errors import InputError
from tasks.fashion_mnist import PUBLISHED

FAULTS = [
    ("tasks/fashion_mnist.py", "NAMES[label] for label in self.labels", "*NAMES"),
]


@pytest.fixture(scope="module")
def task(load_task):
    return load_task("image/fashion_mnist", split_seed=0)


@pytest.fixture
def absent(tmp_path, monkeypatch):
    """A machine without the data."""
    for variable in ("XDG_DATA_DIRS", "BEYOND_DATA"):
        monkeypatch.setenv(variable, str(tmp_path))
    idx.published.cache_clear()


@pytest.mark.parametrize("half", [None, "lower", "upper"])
def test_each_label_has_its_name_in_a_half_as_well(half, task):
    """Of a half the first image of each class is that of the same name among all."""
    part = catalog.load("task", "image/fashion_mnist", half=half)
    whole, raw = task.examples(), part.examples()
    assert len(part.classes) == part.spec.n_outputs
    for label, name in enumerate(part.classes):
        first = whole.inputs[whole.targets == task.classes.index(name)][0]
        np.testing.assert_array_equal(raw.inputs[raw.targets == label][0], first)
    assert task.classes[4:6] == ["coat", "sandal"]  # where the halves meet


@pytest.mark.usefixtures("absent")
def test_where_the_data_are_missing_one_line_says_what_brings_them():
    task = catalog.load("task", "image/fashion_mnist")
    assert task.spec.n_outputs == 10  # what needs no data works
    with pytest.raises(
        InputError,
        match=r"^fashion_mnist is not on this machine: apt install dataset-fashion-mnist or "
        r"beyond-data fetch fashion_mnist \(30.9 MB, MIT\)$",
    ):
        task.at([0]).size("train")


def test_the_published_images_and_splits(task, arrays):
    images, classes = idx.published(PUBLISHED)
    assert images.shape == (70_000, 1, 28, 28)
    assert images.dtype == np.uint8
    assert np.bincount(classes[:60_000]).tolist() == [6000] * 10
    assert np.bincount(classes[60_000:]).tolist() == [1000] * 10
    inputs, targets = arrays(task, "test")
    np.testing.assert_array_equal(targets, classes[60_000:])
    scale = np.polyfit(images[60_000:60_100].ravel(), inputs[:100].ravel(), 1)
    grey = images[:60_000].astype(float)
    assert 1 / scale[0] == pytest.approx(grey.std(), rel=0.01)
    assert -scale[1] / scale[0] == pytest.approx(grey.mean(), rel=0.01)


def test_an_image_is_the_right_way_up(task):
    """Trousers have two legs, at the bottom."""
    images, classes = idx.published(PUBLISHED)
    trousers = images[classes == 1, 0].mean(0)
    assert trousers[22, 14] < 0.2 * trousers[22, [11, 17]].min()
    assert trousers[3, 14] > 0.9 * trousers[3, [11, 17]].min()


def test_nearest_centroid_scores_as_it_does_on_raw_pixels(task, arrays):
    reference = NearestCentroid().fit(*arrays(task, "train"))
    assert 0.67 <= reference.score(*arrays(task, "test")) <= 0.685
    assert 0.66 <= reference.score(*arrays(task, "validation")) <= 0.70


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:lbfgs failed to converge")
@pytest.mark.parametrize(
    ("model", "score"),
    [(KNeighborsClassifier(3), 0.813), (LogisticRegression(C=0.01, max_iter=200), 0.837)],
    ids=["neighbours", "logistic"],
)
def test_references_of_10000_images_are_those_of_the_datasheet(model, score, load_task, arrays):
    task = load_task("image/fashion_mnist", split_seed=0, train_size=10_000)
    reference = model.fit(*arrays(task, "train"))
    assert reference.score(*arrays(task, "test")) == pytest.approx(score, abs=0.005)
