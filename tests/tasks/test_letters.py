import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid

from tasks import letters

FAULTS = [
    # a typeface is in two splits
    (
        "tasks/letters.py",
        'n_test=len(FACES["test"]) * n_each',
        'n_test=len(FACES["train"]) * n_each',
    ),
    # a capital is of another class
    (
        "tasks/letters.py",
        "np.arange(len(letters)) % len(ascii_lowercase)",
        "np.arange(len(letters)) // 2",
    ),
    ("tasks/letters.py", "return ascii_lowercase\n", "return ascii_lowercase[1:] + 'a'\n"),
]


@pytest.fixture(scope="module")
def task(load_task):
    return load_task("image/letters", split_seed=0)


def test_a_split_has_each_letter_of_each_of_its_faces_ten_times_in_both_cases(task):
    raw = task.examples()
    by_face = raw.targets.reshape(22, 2, 26, 10)
    assert (by_face == np.arange(26)[:, None]).all()
    assert (raw.n_validation, raw.n_test) == (4 * 520, 6 * 520)
    assert raw.inputs.min() >= 0
    assert 0.9 < raw.inputs.max() <= 1 + 1e-6


def test_a_capital_is_a_capital(task):
    """T has its ink at the top, L at the left and at the bottom."""
    shown = task.examples().inputs[:, 0].reshape(22, 2, 26, 10, 16, 16).mean((0, 3))
    ink = {name: shown[1, task.classes.index(name.lower())] for name in "TL"}
    assert ink["T"][:6].sum() > ink["T"][-6:].sum()
    assert ink["L"][:, :8].sum() > 1.5 * ink["L"][:, 8:].sum()
    assert ink["L"][8:].sum() > 1.2 * ink["L"][:8].sum()


@pytest.mark.parametrize(
    ("model", "score"),
    [
        (NearestCentroid(), 0.50),
        (LogisticRegression(C=0.01, max_iter=1000), 0.70),
        (KNeighborsClassifier(3), 0.783),
    ],
    ids=["centroid", "logistic", "neighbours"],
)
def test_references_of_other_typefaces_are_those_of_the_datasheet(model, score, task, arrays):
    reference = model.fit(*arrays(task, "train"))
    assert reference.score(*arrays(task, "test")) == pytest.approx(score, abs=0.01)
    assert set(letters.FACES["train"]).isdisjoint(letters.FACES["test"])
