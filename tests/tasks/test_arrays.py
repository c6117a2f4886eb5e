"""Oracles: scaling by hand, the same images in every order of axes, and one clear line for every
file that cannot be used.
"""

import io
import zipfile

import numpy as np
import pytest
import torch

from beyond import catalog
from beyond.contracts import SPLITS, TargetKind
from beyond.errors import InputError

FAULTS = [
    # each pixel by itself
    ("tasks/arrays.py", '"whole" if values.ndim == 4 else', '"feature" if values.ndim == 4 else'),
    # heights for channels
    ("tasks/arrays.py", "for axis in (1, 3) if", "for axis in (2, 3) if"),
    # the validation split is tested
    (
        "tasks/arrays.py",
        "sizes = loaded.n_test, loaded.n_validation",
        "sizes = loaded.n_validation, loaded.n_test",
    ),
    # the splits behind one another in another order
    (
        "tasks/arrays.py",
        "for split in (WHOLE, *SPLITS) if",
        "for split in (WHOLE, *SPLITS[::-1]) if",
    ),
    ("tasks/arrays.py", "int(self._values.max()) + 1", "int(self._values.max())"),
    # NaN is no number that is too large
    ("tasks/arrays.py", "~(np.abs(array) <= LARGEST)", "(np.abs(array) > LARGEST)"),
    # a stranger's code is run
    ("tasks/arrays.py", "np.load(file, allow_pickle=False)", "np.load(file, allow_pickle=True)"),
    # what is small packed may be large
    ("tasks/arrays.py", "entry.file_size for", "entry.compress_size for"),
    # levels that the same answer for all reaches
    ("beyond/data/given.py", "self.chance + share * (1 - self.chance)", "share"),
    # a test example that trains now goes unseen
    (
        "beyond/data/given.py",
        "return [] if max(sizes) < 0 else [np.array(sizes)]",
        "return []",
    ),
]
N = 200
RNG = np.random.default_rng(0)
FEATURES = RNG.normal(5, [1, 1e-3, 100], (N, 3))
CLASSES = np.arange(N) % 4
IMAGES = RNG.integers(0, 256, (N, 3, 9, 10), dtype=np.uint8)
SYMBOLS = RNG.integers(0, 30, (N, 7))
SYMBOLS[3, 3] = 30


@pytest.fixture
def write(tmp_path):
    """Return a function that writes arrays and gives the file's path."""

    def written(**arrays):
        np.savez_compressed(tmp_path / "my.npz", **arrays)
        return str(tmp_path / "my.npz")

    return written


def task(path, **settings):
    return catalog.load("task", "arrays", path=path, **settings)


def whole(made, split, seeds=(0, 1)):
    splits = made.at(seeds)
    places = torch.arange(splits.size(split)).expand(len(seeds), -1)
    batch = splits.batch(split, places)
    return batch.inputs, batch.targets, splits.ids(split, places)


@pytest.mark.parametrize("dtype", ["f8", "f4", "f2", ">f8", "i4", "u2", "u8", "i8"])
def test_features_are_scaled_each_by_itself(write, dtype):
    raw = (FEATURES * 1000 if dtype[0] in "iu" else FEATURES).astype(dtype)
    made = task(write(X=raw, y=CLASSES * 10 - 7))
    assert made.spec.input_shape == (3,)
    assert made._targets.counts == {"-7": 50, "3": 50, "13": 50, "23": 50}
    assert made.spec.levels == (0.625, 0.812, 0.925)  # of the way from 1/4 to 1
    raw = raw.astype(float)
    _, _, trained = whole(made, "train")
    for split in SPLITS:
        inputs, targets, rows = whole(made, split)
        for replica in range(2):
            part = raw[trained[replica]]
            std = np.where(part.std(0) > 0, part.std(0), 1)
            expected = (raw[rows[replica]] - part.mean(0)) / std
            np.testing.assert_allclose(inputs[replica], expected, rtol=1e-4, atol=1e-5)
            assert targets[replica].tolist() == CLASSES[rows[replica]].tolist()


def test_images_are_scaled_as_one_whatever_the_order_of_their_axes(write):
    first = task(write(X=IMAGES, y=CLASSES))
    inputs, _, rows = whole(first, "train")
    for replica in range(2):
        part = IMAGES[rows[replica]].astype(float)
        np.testing.assert_allclose(
            inputs[replica], (part - part.mean()) / part.std(), rtol=1e-4, atol=1e-5
        )
    last = task(write(X=IMAGES.transpose(0, 2, 3, 1), y=CLASSES))
    assert first.spec.input_shape == last.spec.input_shape == (3, 9, 10)
    assert torch.equal(whole(last, "train")[0], inputs)
    grey = task(write(X=IMAGES[:, 1], y=CLASSES))
    assert grey.spec.input_shape == (1, 9, 10)
    assert grey.spec.network.name == "cnn-8-16"
    path = write(X=IMAGES[:, :, :, :3], y=CLASSES)
    with pytest.raises(InputError, match=r"my\.npz: X has the shape \(200, 3, 9, 3\): task\.ch"):
        task(path)
    assert task(path, channels="first").spec.input_shape == (3, 9, 3)
    assert task(path, channels="last").spec.input_shape == (3, 3, 9)


def test_symbols_stay_as_they_are(write):
    path = write(inputs=SYMBOLS.astype(np.uint8), labels=CLASSES)
    made = task(path, symbols=True)
    assert (made.spec.input_shape, made.spec.n_symbols) == ((7,), 31)
    inputs, _, rows = whole(made, "train")
    assert torch.equal(inputs, torch.from_numpy(SYMBOLS)[rows])
    assert made.told()[1] == "inputs inputs: uint8, sequences of 7 symbols of 31"
    assert "(task.symbols=true takes them as symbols)" in task(path).told()[1]


def test_targets_are_classes_or_values(write):
    values = RNG.normal(100, 5, (N, 2))
    texts = np.array(["low", "high"])[CLASSES // 2]
    expected = {
        "texts": (texts, {}, TargetKind.CLASSES, 2),
        "bytes": (texts.astype("S"), {}, TargetKind.CLASSES, 2),
        "truths": (CLASSES > 1, {}, TargetKind.CLASSES, 2),
        "a column": (CLASSES[:, None], {}, TargetKind.CLASSES, 4),
        "numbers": (values[:, 0], {}, TargetKind.VALUES, 1),
        "two numbers": (values, {}, TargetKind.VALUES, 2),
        "floats as classes": (CLASSES * 1.0, {"kind": "classes"}, TargetKind.CLASSES, 4),
        "integers as values": (CLASSES, {"kind": "values"}, TargetKind.VALUES, 1),
    }
    for name, (targets, settings, kind, n_outputs) in expected.items():
        spec = task(write(X=FEATURES, y=targets), **settings).spec
        assert (spec.target_kind, spec.n_outputs) == (kind, n_outputs), name
    made = task(write(X=FEATURES, y=values))
    assert made.spec.levels == (0.25, 0.5, 0.75)
    _, targets, rows = whole(made, "test")
    np.testing.assert_allclose(made.at((0, 1)).in_units(targets), values[rows], rtol=1e-5)
    assert task(write(X=FEATURES, y=texts))._targets.counts == {"high": 100, "low": 100}


@pytest.mark.parametrize("form", ["{stem}_{split}", "{split}_{stem}"])
def test_arrays_named_as_splits_are_fixed_splits(write, form):
    parts = {"test": slice(0, 40), "val": slice(40, 100), "train": slice(100, 200)}
    arrays = {
        form.format(stem=stem, split=split): array[part]
        for split, part in parts.items()
        for stem, array in (("X", FEATURES), ("y", CLASSES))
    }
    path = write(**arrays)
    made = task(path)
    assert [made.at([0]).size(split) for split in SPLITS] == [100, 60, 40]
    for split, name in zip(SPLITS, ("train", "val", "test"), strict=True):
        _, targets, rows = whole(made, split)
        np.testing.assert_array_equal(
            np.sort(made.examples().inputs[rows[0]][:, 0]), np.sort(FEATURES[parts[name]][:, 0])
        )
        assert torch.equal(targets[0], torch.from_numpy(CLASSES[parts[name]])[rows[0] - rows.min()])
    assert made.told()[-1] == "splits: as given"
    assert made.told()[1].startswith(
        f"inputs {', '.join(form.format(stem='X', split=split) for split in ('train', 'val', 'test'))}: float64, 3 f"
    )


def test_where_fixed_splits_begin_is_part_of_the_data(write):
    def cut(n_train):
        path = write(
            X_train=FEATURES[:n_train],
            y_train=CLASSES[:n_train],
            X_test=FEATURES[n_train:],
            y_test=CLASSES[n_train:],
        )
        return task(path)

    first, other = cut(150), cut(160)
    assert np.array_equal(first.examples().inputs, other.examples().inputs)
    assert first.checksum() != other.checksum()
    assert first.told()[-1] == "splits: test as given, the others drawn by seed"


def test_names_are_the_usual_ones_or_those_given(write):
    path = write(pixels=FEATURES, X=FEATURES[:, :1], digit=CLASSES, y=CLASSES[:, None] * 0.5)
    assert task(path).spec.input_shape == (1,)
    given = task(path, inputs="pixels", targets="digit")
    assert given.spec.input_shape == (3,)
    assert given.told() == [
        f"{path}: 200 examples",
        "inputs pixels: float64, 3 features",
        "targets digit: int64, 4 classes (0 50, 1 50, 2 50, 3 50), chance 0.250",
        "splits: drawn by seed",
    ]


def objects():
    return np.array([{"a": 1}] * N, dtype=object)


GOOD = {"X": FEATURES, "y": CLASSES}


def hole(array, *place, value=np.nan):
    copy = array.astype(float)
    copy[place] = value
    return copy


BAD = {
    "no inputs": ({"A": FEATURES, "y": CLASSES}, {}, "no array X, x, inputs, images, features, "),
    "no such inputs": (GOOD, {"inputs": "Z"}, "no array 'Z'; task.inputs may name one of X, y"),
    "no such targets": (GOOD, {"targets": "Z"}, "no array 'Z'; task.targets may name one of X, y"),
    "other lengths": (GOOD | {"y": CLASSES[1:]}, {}, "X has 200 rows, y has 199"),
    "no rows": ({"X": FEATURES[:0], "y": CLASSES[:0]}, {}, "my.npz: X has no rows"),
    "one number": (GOOD | {"y": np.array(3)}, {}, "my.npz: y has no rows"),
    "no features": (GOOD | {"X": FEATURES[:, :0]}, {}, "or those in channels, got (200, 0)"),
    "one axis": (GOOD | {"X": FEATURES[:, 0]}, {}, "X must be (N, features), (N, height, width)"),
    "five axes": (GOOD | {"X": np.zeros((N, 1, 1, 1, 1))}, {}, "got (200, 1, 1, 1, 1)"),
    "not a number": (GOOD | {"X": hole(FEATURES, 7, 2)}, {}, "X[7, 2] is nan, no finite number"),
    "an infinite target": (
        GOOD | {"y": hole(CLASSES, 9, value=np.inf)},
        {},
        "y[9] is inf, no finite number of single precision",
    ),
    "objects": (GOOD | {"X": objects()}, {}, "X holds Python objects, which are not read"),
    "objects for targets": (GOOD | {"y": objects()}, {}, "y holds Python objects, which are not"),
    "texts for inputs": (GOOD | {"X": FEATURES.astype("U")}, {}, "X must be numbers, got texts"),
    "complex inputs": (GOOD | {"X": FEATURES * 1j}, {}, "must be numbers, got complex numbers"),
    "complex targets": (GOOD | {"y": CLASSES * 1j}, {}, "got complex numbers of shape (200,)"),
    "one class": (GOOD | {"y": CLASSES * 0}, {}, "y: every row is of the class 0"),
    "a class of one": (GOOD | {"y": (CLASSES + 1) * (np.arange(N) > 0)}, {}, "class 0 has 1 row, "),
    "a class for each": (GOOD | {"y": np.arange(N)}, {}, "task.kind=values predicts the number"),
    "one value": (GOOD | {"y": CLASSES * 0.0}, {}, "y: every row has the same target"),
    "texts as values": (
        GOOD | {"y": CLASSES.astype("U")},
        {"kind": "values"},
        "task.kind must be classes where targets are texts",
    ),
    "halves as classes": (
        GOOD | {"y": CLASSES / 2},
        {"kind": "classes"},
        "y has 0.5: task.kind must be values",
    ),
    "one of each class": (GOOD | {"y": np.eye(4, dtype=int)[CLASSES]}, {}, "the shape (200, 4): a"),
    "negative symbols": (
        {"X": SYMBOLS - 1, "y": CLASSES},
        {"symbols": True},
        "X must be symbols in [0, 65536), got -1 in row ",
    ),
    "numbers as symbols": (GOOD, {"symbols": True}, "whole numbers (N, length) where task.symbols"),
    "the whole and a part": (
        GOOD | {"X_test": FEATURES},
        {},
        "for each split, or one, got X and X_",
    ),
    "a split twice": (
        {"X_val": FEATURES, "X_validation": FEATURES, "X_train": FEATURES, "y": CLASSES},
        {},
        "one array for each split, or one, got X_val and X_validation",
    ),
    "none to train on": ({"X_test": FEATURES, "y": CLASSES}, {}, "X_test, and none to train on"),
    "a split of one alone": (
        {"X_train": FEATURES, "y_train": CLASSES, "X_test": FEATURES},
        {},
        "inputs X_train, X_test and targets y_train",
    ),
    "splits of other shapes": (
        {"X_train": FEATURES, "y_train": CLASSES, "X_test": FEATURES[:, :2], "y_test": CLASSES},
        {},
        "one shape but for the rows, got X_train of (200, 3), X_test of (200, 2)",
    ),
    "a class that is not trained": (
        {"X_train": FEATURES, "y_train": CLASSES, "X_test": FEATURES, "y_test": CLASSES + 1},
        {},
        "the class 4 has 0 rows besides those of the given splits",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_one_clear_line(write, name):
    arrays, settings, message = BAD[name]
    path = write(**arrays)
    with pytest.raises(InputError) as refused:
        task(path, **settings).at([0])
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def truncated():
    held = io.BytesIO()
    np.savez_compressed(held, X=FEATURES, y=CLASSES)
    damaged = bytearray(held.getvalue())
    damaged[100:140] = bytes(40)
    return bytes(damaged)


def zipped(files):
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        for name, contents in files.items():
            archive.writestr(name, contents)
    return held.getvalue()


def promising(shape):
    """An array of which only the header is there."""
    held = io.BytesIO()
    described = {"descr": "<f8", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(held, described)
    return held.getvalue()


def locked():
    """An archive that says of its files that they are encrypted."""
    held = io.BytesIO()
    np.savez(held, X=FEATURES, y=CLASSES)
    marked = bytearray(held.getvalue())
    for signature, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = marked.find(signature)
        while at >= 0:
            marked[at + place] |= 1
            at = marked.find(signature, at + 4)
    return bytes(marked)


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        (b"", "no .npz file, or damaged"),
        (b"PK\x03\x04nothing", "no .npz file, or damaged"),
        (truncated(), "my.npz"),
        (zipped({"X.npy": b"no array", "y.npy": b""}), "my.npz: X is no array$"),
        (
            zipped({"X.npy": promising((10**12, 40)), "y.npy": b""}),
            "no .npz file, or damaged: Unable",
        ),
        (locked(), "no .npz file, or damaged: File 'X.npy' is encrypted"),
    ],
)
def test_a_damaged_file_is_one_clear_line(tmp_path, contents, message):
    (tmp_path / "my.npz").write_bytes(contents)
    with pytest.raises(InputError, match=message) as refused:
        task(str(tmp_path / "my.npz"))
    assert "\n" not in str(refused.value)


def test_a_file_that_is_not_there_or_of_another_kind_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"^task.path: No such file or directory: '.*none.npz'$"):
        task(str(tmp_path / "none.npz"))
    with pytest.raises(InputError, match=r"^the ending of task.path must be one of \.npz; got "):
        task(str(tmp_path / "my.npy"))


def test_arrays_too_large_to_hold_are_refused_before_they_are_unpacked(tmp_path, monkeypatch):
    from beyond.data import given

    path = tmp_path / "bomb.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("X.npy", bytes(1 << 20))
    monkeypatch.setattr(given, "LARGEST", 1 << 19)
    with pytest.raises(InputError, match=r"bomb\.npz has 0\.0 GB; at most 2 can be held$"):
        task(str(path))


def test_from_a_file_to_a_run_in_one_command(beyond, write):
    status, told, _ = beyond(
        "task=arrays", f"task.path={write(**GOOD)}", "seeds=2", "budget.epochs=2"
    )
    assert status == 0
    assert "arrays/my" in told
