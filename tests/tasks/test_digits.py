import hashlib

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from beyond import catalog
from beyond.streams import Stream
from tasks import digits

FAULTS = [
    ("beyond/data/halves.py", 'start = middle if self.half == "upper" else 0', "start = 0"),
    ("beyond/data/halves.py", 'middle if self.half == "lower"', "self.N_CLASSES if True"),
    ("beyond/data/halves.py", "- set(self.labels))", ")"),
]
NEAREST = KNeighborsClassifier(3)
UCI = "8f26b2bd9d135c256808f68f14fdabddde6d9c7f869ae419704b051f0f14b3b3"


@pytest.fixture(scope="module")
def task():
    return catalog.load("task", "image/digits", split_seed=0)


def test_the_pixels_and_labels_are_ucis(task):
    raw = task.examples()
    assert hashlib.sha256(raw.inputs.astype(np.uint8).tobytes()).hexdigest() == UCI
    assert raw.inputs[0, 0, 3].tolist() == [0, 4, 12, 0, 0, 8, 8, 0]  # a zero's hole
    assert raw.targets[:10].tolist() == list(range(10))
    assert np.bincount(raw.targets).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


def test_the_references_are_those_of_the_datasheet(task, arrays):
    linear = LogisticRegression(max_iter=5000).fit(*arrays(task, "train"))
    assert linear.score(*arrays(task, "test")) == pytest.approx(0.967, abs=0.005)
    assert NEAREST.fit(*arrays(task, "train")).score(*arrays(task, "test")) == pytest.approx(
        0.993, abs=0.005
    )


def test_neighbouring_pixels_stay_comparable(task, arrays):
    inputs, _ = arrays(task, "train")
    assert inputs.mean() == pytest.approx(0, abs=1e-5)
    assert inputs.std() == pytest.approx(1, abs=1e-5)
    steps = np.unique(inputs)
    assert len(steps) == 17
    np.testing.assert_allclose(np.diff(steps), np.diff(steps)[0], rtol=1e-3)


def test_printed_digits_look_like_handwritten_ones(task):
    """Upside down or mirrored they would not."""
    printed, written = digits.glyphs(), task.examples()
    assert np.bincount(printed.targets).tolist() == [252] * 10  # 21 faces, 12 variants
    assert (printed.inputs.min(), printed.inputs.max()) == (0, 16)
    pixels = written.inputs.reshape(-1, 64)
    scores = [
        NEAREST.fit(images.reshape(-1, 64), printed.targets).score(pixels, written.targets)
        for images in (printed.inputs, printed.inputs[:, :, ::-1], printed.inputs[:, :, :, ::-1])
    ]
    assert scores[0] == pytest.approx(0.67, abs=0.02)
    assert max(scores[1:]) < 0.5


def test_half_of_the_classes_can_be_the_source(task):
    upper, whole = catalog.load("task", "image/digits", half="upper"), task.examples()
    lower = catalog.load("task", "image/digits", half="lower")
    parts = (upper.source("other_half"), 0), (upper, 5), (lower, 0), (lower.source("other_half"), 5)
    for raw, low in ((part.examples(), low) for part, low in parts):
        mine = (whole.targets >= low) & (whole.targets < low + 5)
        assert np.array_equal(raw.inputs, whole.inputs[mine])
        assert np.array_equal(raw.targets + low, whole.targets[mine])


def test_a_shift_moves_the_image_and_background_enters(task):
    first = torch.zeros(1, 200, dtype=torch.int64)
    varied = catalog.load("task", "image/digits", shift=1, split_seed=0).at([0])
    moved = next(varied.training(first.unsqueeze(0), Stream("augment", [0]))).inputs[0, :, 0]
    image = task.at([0]).batch("train", first).inputs[0, 0, 0]
    padded = torch.nn.functional.pad(
        image, (1, 1, 1, 1), value=task.at([0]).batch("train", first).inputs.min().item()
    )
    allowed = [
        padded[1 - down : 9 - down, 1 - right : 9 - right]
        for down in (-1, 0, 1)
        for right in (-1, 0, 1)
    ]
    kinds = [
        next(kind for kind, one in enumerate(allowed) if torch.equal(one, image)) for image in moved
    ]
    assert set(kinds) == set(range(9))
