"""MNIST, and the format that it shares with Fashion-MNIST, on small files of that format."""

import gzip
import hashlib
from dataclasses import replace

import numpy as np
import pytest
from sklearn.neighbors import NearestCentroid

from beyond import catalog
from beyond.data import idx
from beyond.data.sources import File, Source
from beyond.errors import InputError
from tasks.mnist import MNIST, PUBLISHED

FAULTS = [
    # labels first
    (
        "beyond/data/idx.py",
        "arrays[::2]), np.concatenate(arrays[1::2])",
        "arrays[1::2]), np.concatenate(arrays[::2])",
    ),
    (
        "beyond/data/idx.py",
        "VALIDATION_FRACTION: ClassVar = 1 / 12",
        "VALIDATION_FRACTION: ClassVar = 1 / 6",
    ),
    ("beyond/data/idx.py", "prod(shape) != len(contents) - start", "False"),
]


def written(array):
    """Write bytes as LeCun's page describes the format."""
    lengths = b"".join(length.to_bytes(4, "big") for length in array.shape)
    return bytes([0, 0, 8, array.ndim]) + lengths + array.tobytes()


@pytest.fixture
def small(tmp_path, monkeypatch):
    """Return four files as published, but of 120 and 40 images of 28x28, and their arrays."""
    monkeypatch.setenv("BEYOND_DATA", str(tmp_path))
    monkeypatch.setattr(idx, "N_TEST", 40)
    rng = np.random.default_rng(0)
    arrays = [
        array
        for size in (120, 40)
        for array in (
            rng.integers(0, 256, (size, 28, 28)).astype(np.uint8),
            np.arange(size).astype(np.uint8) % 10,
        )
    ]
    files = []
    (tmp_path / "small").mkdir()
    for name, array in zip(idx.FILES, arrays, strict=True):
        contents = written(array)
        files.append(File(f"{name}-ubyte", hashlib.sha256(contents).hexdigest(), 0))
        (tmp_path / f"small/{name}-ubyte.gz").write_bytes(gzip.compress(contents))
    monkeypatch.setattr(MNIST, "DATA", (Source("small", "", tuple(files)),))
    return arrays


def test_images_classes_and_splits_are_those_of_the_files(small, arrays):
    task = catalog.load("task", "image/mnist")
    raw = task.examples()
    np.testing.assert_array_equal(raw.inputs[:120, 0], small[0])
    np.testing.assert_array_equal(raw.inputs[120:, 0], small[2])
    np.testing.assert_array_equal(raw.targets, np.concatenate([small[1], small[3]]))
    sizes = [task.at([0]).size(split) for split in ("train", "validation", "test")]
    assert sizes == [110, 10, 40]
    inputs, targets = arrays(task, "test")
    np.testing.assert_array_equal(targets, small[3])
    assert np.corrcoef(inputs.ravel(), small[2].ravel())[0, 1] == pytest.approx(1)


def test_what_is_not_idx_is_refused():
    header = bytes([0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3])
    np.testing.assert_array_equal(idx.idx(header + bytes(range(6))), [[0, 1, 2], [3, 4, 5]])
    for wrong in (
        header + bytes(5),
        bytes([0, 0, 13]) + header[3:] + bytes(6),
        header,
        b"",
        b"\0\0",
    ):
        with pytest.raises(InputError, match=r"^not an IDX file of bytes: its header is "):
            idx.idx(wrong)


def test_the_two_sources_differ_in_their_sums_alone():
    other = catalog.load("task", "image/fashion_mnist").DATA[0]
    alike = [
        [replace(file, sha256="", size=0, urls=()) for file in source.files]
        for source in (PUBLISHED, other)
    ]
    assert alike[0] == alike[1]
    assert len({file.sha256 for source in (PUBLISHED, other) for file in source.files}) == 8


def test_nearest_centroid_scores_as_it_does_on_raw_pixels(load_task, arrays):
    task = load_task("image/mnist", split_seed=0)
    reference = NearestCentroid().fit(*arrays(task, "train"))
    assert 0.81 <= reference.score(*arrays(task, "test")) <= 0.83
