"""Oracles: a small archive of the published form, and images mirrored and moved by hand."""

import io
import tarfile

import numpy as np
import pytest
import torch

from beyond import catalog
from beyond.errors import InputError, MissingDataError
from beyond.streams import Stream
from tasks import cifar10

FAULTS = [
    # colours vary fastest
    (
        "tasks/cifar10.py",
        "rows[:, 1:].reshape(-1, 3, 32, 32)",
        "rows[:, 1:].reshape(-1, 32, 32, 3).transpose(0, 3, 1, 2)",
    ),
    ("tasks/cifar10.py", "inputs.flip(-1)", "inputs.flip(-2)"),
    ("tasks/cifar10.py", '*("dog", "frog"', '*("frog", "dog"'),
    ("tasks/cifar10.py", '), "test_batch")', '), "test_batch")[::-1]'),
]


@pytest.fixture
def small(publish):
    """Publish six batches of 60 images; returns their pixels (6, 60, 3, 32, 32) and classes."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (6, 60, 3, 32, 32)).astype(np.uint8)
    classes = np.tile(np.arange(60) % 10, (6, 1)).astype(np.uint8)
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        # in the order of the published archive, which is not theirs
        for name, batch in (
            ("data_batch_1", 0),
            ("test_batch", 5),
            *((f"data_batch_{i}", i - 1) for i in (2, 3, 4, 5)),
        ):
            contents = b"".join(
                bytes([label]) + image.tobytes()
                for label, image in zip(classes[batch], pixels[batch], strict=True)
            )
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}.bin")
            member.size = len(contents)
            archive.addfile(member, io.BytesIO(contents))
    publish(cifar10, stream.getvalue())
    return pixels, classes


def test_images_and_splits_are_those_of_the_archive(small):
    pixels, classes = small
    task = catalog.load("task", "image/cifar10")
    raw = task.examples()
    np.testing.assert_array_equal(raw.inputs, pixels.reshape(-1, 3, 32, 32))
    np.testing.assert_array_equal(raw.targets, classes.flatten())
    names = "airplane automobile bird cat deer dog frog horse ship truck"  # batches.meta.txt
    assert [*task.classes] == names.split()
    assert [task.at([0]).size(split) for split in ("train", "validation", "test")] == [270, 30, 60]
    shown = task.at([0]).batch("test", torch.arange(60).unsqueeze(0)).inputs[0].numpy()
    assert np.corrcoef(shown.ravel(), pixels[5].ravel())[0, 1] == pytest.approx(1)


@pytest.mark.usefixtures("small")
def test_images_are_mirrored_and_moved_in_training_alone():
    places = torch.arange(100).unsqueeze(0)
    plain = catalog.load("task", "image/cifar10", split_seed=0).at([0]).batch("train", places)

    def varied(**settings):
        task = catalog.load("task", "image/cifar10", split_seed=0, **settings)
        return next(task.at([0]).training(places.unsqueeze(0), Stream("augment", [0]))).inputs[0]

    images = plain.inputs[0]
    torch.testing.assert_close(varied(flip_rate=1.0), images.flip(3))
    half = varied(flip_rate=0.5)
    mirrored = [torch.equal(one, other) for one, other in zip(half, images.flip(3), strict=True)]
    kept = [torch.equal(one, other) for one, other in zip(half, images, strict=True)]
    assert all(one != other for one, other in zip(mirrored, kept, strict=True))
    assert 30 <= sum(mirrored) <= 70
    padded = torch.nn.functional.pad(images, (2, 2, 2, 2))
    for moved, whole in zip(varied(shift=2), padded, strict=True):
        crops = [
            whole[:, top : top + 32, left : left + 32] for top in range(5) for left in range(5)
        ]
        assert sum(torch.equal(moved, crop) for crop in crops) == 1


def test_what_is_cut_off_is_refused():
    with pytest.raises(InputError, match=r"^not a file of CIFAR-10: 3,072 bytes, not a multiple "):
        cifar10.records(bytes(3072))


def test_where_it_is_missing_one_line_says_what_brings_it(tmp_path, monkeypatch):
    monkeypatch.setenv("BEYOND_DATA", str(tmp_path))
    cifar10._published.cache_clear()
    told = r"^cifar10 is not on this machine: beyond-data fetch cifar10 \(170.1 MB, none given\)$"
    with pytest.raises(MissingDataError, match=told):
        catalog.load("task", "image/cifar10").at([0])
