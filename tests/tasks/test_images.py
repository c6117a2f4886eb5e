"""Oracles: pixels written and found again, a median by hand, and one clear line for every folder
that cannot be used.
"""

import numpy as np
import pytest
import torch
from PIL import Image

from beyond import catalog
from beyond.contracts import SPLITS
from beyond.data import given
from beyond.errors import InputError

FAULTS = [
    # as the sensor saw it
    ("beyond/data/images.py", "image = ImageOps.exif_transpose(image)", "image = image.copy()"),
    ("beyond/data/images.py", 'image.size, "white"', 'image.size, "black"'),
    # the low byte of 16 bits
    ("beyond/data/images.py", "np.asarray(image) >> 8", "np.asarray(image) & 255"),
    # on its side
    ("beyond/data/images.py", ".transpose(0, 3, 1, 2)", ".transpose(0, 3, 2, 1)"),
    ("beyond/data/images.py", "min(1.0, LARGEST_SIDE", "max(1.0, LARGEST_SIDE"),
    # the sides of those turned are not
    ("beyond/data/images.py", "return (width, height) if image", "return (height, width) if image"),
    # the validation split is tested
    (
        "tasks/images.py",
        "sizes = found.n_test, found.n_validation",
        "sizes = found.n_validation, found.n_test",
    ),
    # colour is thrown away
    (
        "beyond/data/images.py",
        "if mode is None and (pixels == pixels[:, :1]).all():",
        "if mode is None:",
    ),
    # a class that may not be opened is no class
    ("beyond/data/given.py", "onerror=refuse, followlinks=True)", "followlinks=True)"),
    ("beyond/data/given.py", "onerror=refuse, followlinks=True)", "onerror=refuse)"),
    # a class that only the test split has
    ("beyond/data/given.py", "codes[: len(codes) - sum(given)]", "codes"),
]
N = 20  # images a class


def pixels(label, index, height=10, width=12, channels=1):
    rng = np.random.default_rng([label, index])
    image = rng.integers(0, 120, (height, width, channels), dtype=np.uint8)
    image[label * 3 : label * 3 + 3] += 130
    return image


def save(file, array, **how):
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.squeeze(array)).save(file, **how)
    return file


@pytest.fixture
def folder(tmp_path):
    """Three classes of grey images, 10 high and 12 wide."""
    for label, name in enumerate(("apple", "banana", "cherry")):
        for index in range(N):
            save(tmp_path / "fruit" / name / f"{index:02}.png", pixels(label, index))
    return tmp_path / "fruit"


def task(path, **settings):
    return catalog.load("task", "images", path=str(path), **settings)


def whole(made, split, seeds=(0, 1)):
    splits = made.at(seeds)
    places = torch.arange(splits.size(split)).expand(len(seeds), -1)
    batch = splits.batch(split, places)
    return batch.inputs, batch.targets, splits.ids(split, places)


def test_pixels_are_those_of_the_files_scaled_as_one_by_the_training_part(folder):
    made = task(folder)
    source = np.stack([pixels(row // N, row % N).transpose(2, 0, 1) for row in range(3 * N)])
    assert made.spec.input_shape == (1, 10, 12)
    assert made.spec.name == "images/fruit"
    _, _, trained = whole(made, "train")
    for split in SPLITS:
        inputs, targets, rows = whole(made, split)
        for replica in range(2):
            part = source[trained[replica]].astype(float)
            expected = (source[rows[replica]] - part.mean()) / part.std()
            np.testing.assert_allclose(inputs[replica], expected, rtol=1e-4, atol=1e-5)
            assert targets[replica].tolist() == (rows[replica] // N).tolist()
    assert made.spec.levels == (0.667, 0.833, 0.933)  # of the way from 1/3 to 1


def test_what_was_understood_is_told(folder):
    save(folder / "apple" / "again.png", pixels(0, 0))
    save(folder / "cherry" / "large.bmp", pixels(2, 99, 200, 100))
    (folder / "README.txt").write_text("of fruit")
    (folder / "apple" / ".DS_Store").write_text("")
    assert task(folder, split_seed=4).told() == [
        f"{folder}: 62 images",
        "inputs: grey, 10 high and 12 wide; the files (width x height): 100x200, 12x10",
        "copies: 1 image equal to another, in any split",
        "left out: 1 other file (1 .txt)",
        "target: 3 classes (apple 21, banana 20, cherry 21), chance 0.339",
        "splits: drawn by split_seed 4",
    ]


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([(10, 12)] * 5, (10, 12)),
        ([(10, 10), (20, 30), (400, 500)], (20, 30)),
        ([(40, 80)] * 3, (16, 32)),
        ([(1000, 4)] * 3, (32, 1)),
    ],
)
def test_the_size_is_the_median_shrunk_to_fit(tmp_path, sizes, expected):
    for label in range(2):
        for index, (height, width) in enumerate(sizes):
            save(tmp_path / f"{label}" / f"{index}.png", pixels(0, index, height, width))
    assert task(tmp_path).spec.input_shape == (1, *expected)
    assert task(tmp_path, size=[7, 9]).spec.input_shape == (1, 7, 9)


def test_colour_is_kept_where_there_is_some_and_made_where_it_is_asked_for(folder):
    assert task(folder, mode="colour").spec.input_shape == (3, 10, 12)
    grey = np.repeat(pixels(0, 77), 3, 2)
    save(folder / "apple" / "grey.png", grey)
    assert task(folder).spec.input_shape == (1, 10, 12)
    colour = save(folder / "apple" / "red.png", grey * np.array([2, 1, 1], np.uint8))
    found = task(folder)
    assert found.spec.input_shape == (3, 10, 12)
    index = found._found.files.index(colour)
    np.testing.assert_array_equal(
        found.examples().inputs[index].transpose(1, 2, 0), grey * np.array([2, 1, 1], np.uint8)
    )
    luma = np.asarray(Image.open(colour).convert("L"))
    np.testing.assert_array_equal(task(folder, mode="grey").examples().inputs[index, 0], luma)


def test_each_kind_of_file_is_read_as_it_is_seen(folder):
    """Turned, transparent, of 16 bits, of a palette, moving."""
    array = pixels(1, 5)[..., 0]
    turned = Image.Exif()
    turned[0x0112] = 6  # held to the right: shown after a quarter turn clockwise
    here = folder / "banana"
    files = {
        "turned.png": (Image.fromarray(np.rot90(array)), {"exif": turned}, array),
        "deep.png": (Image.fromarray((array.astype(np.uint16) << 8) + 77), {}, array),
        "moving.gif": (
            Image.fromarray(array),
            {"save_all": True, "append_images": [Image.fromarray(255 - array)]},
            array,
        ),
        "palette.png": (Image.fromarray(array).convert("P"), {}, array),
        "bitmap.bmp": (Image.fromarray(array), {}, array),
        "upper.PNG": (Image.fromarray(array), {}, array),
    }
    alpha = np.full_like(array, 255)
    alpha[:2] = 0
    seen = array.copy()
    seen[:2] = 255
    files["clear.png"] = (Image.fromarray(np.dstack([array, alpha]), "LA"), {}, seen)
    for name, (image, how, _) in files.items():
        image.save(here / name, **how)
    made = task(folder)
    assert made.spec.input_shape == (1, 10, 12)
    assert made._seen.told[0].endswith("(width x height): 12x10")
    for name, (_, _, expected) in files.items():
        index = made._found.files.index(here / name)
        np.testing.assert_array_equal(made.examples().inputs[index, 0], expected, err_msg=name)


def test_folders_named_as_splits_are_fixed_splits(tmp_path):
    for split, n_images in (("Train", 9), ("val", 4), ("test", 5)):
        for label in range(2):
            for index in range(n_images):
                save(tmp_path / split / f"{label}" / f"{index}.png", pixels(label, index))
    made = task(tmp_path)
    splits = made.at([0, 1])
    assert [splits.size(split) for split in SPLITS] == [18, 8, 10]
    assert splits.origin == "source"
    for split, name in zip(SPLITS, ("Train", "val", "test"), strict=True):
        files = [made._found.files[row] for row in whole(made, split)[2][0]]
        assert {file.relative_to(tmp_path).parts[0] for file in files} == {name}
    assert made.told()[-1] == "splits: as given"
    (tmp_path / "val").rename(tmp_path.parent / "away")
    fewer = task(tmp_path)
    assert fewer.at([0]).origin == "source test"
    assert fewer.told()[-1] == "splits: test as given, the others drawn by seed"


def test_a_file_that_changed_is_read_again(folder):
    before = task(folder).checksum()
    assert task(folder).checksum() == before
    save(folder / "apple" / "00.png", pixels(0, 1000))
    assert task(folder).checksum() != before


@pytest.mark.parametrize(("side", "name"), [(1, "mlp-32"), (4, "cnn-8"), (8, "cnn-8-16")])
def test_the_network_fits_the_size(folder, side, name):
    assert task(folder, size=[side, side]).spec.network.name == name


def only(*names):
    """Keep these classes."""

    def spoil(folder):
        for path in list(folder.iterdir()):
            if path.name not in names:
                path.rename(folder.parent / path.name)

    return spoil


def put(name, contents):
    def spoil(folder):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(contents)

    return spoil


def cut(folder):
    file = folder / "apple" / "00.png"
    file.write_bytes(file.read_bytes()[:80])


def both_validations(folder):
    for name in ("train", "val", "validation"):
        (folder / name).mkdir()


def only_in_test(folder):
    for split, names in (("train", ("apple", "banana")), ("test", ("cherry",))):
        (folder / split).mkdir()
        for name in names:
            (folder / name).rename(folder / split / name)


BAD = {
    "an empty folder": (only(), {}, "has no folder with images in it, one for each class (.png"),
    "one class": (only("apple"), {}, "every image is of the class apple"),
    "a class of one": (put("plum/0.png", b"?"), {}, "the class plum has 1 image, fewer than one"),
    "an image cut short": (cut, {}, "1 image cannot be read: apple/00.png ("),
    "an empty file": (
        put("apple/00.png", b""),
        {},
        "fruit: 1 image cannot be read: apple/00.png (no image)",
    ),
    "a text named as an image": (
        put("banana/03.png", b"<svg/>"),
        {},
        "1 image cannot be read: banana/03.png (no image)",
    ),
    "an image of another format": (
        put("apple/00.jpg", b"RIFF\x00\x00\x00\x00WEBPVP8 "),
        {},
        "apple/00.jpg (no image)",
    ),
    "images in no class": (
        lambda folder: [file.rename(folder / file.name) for file in folder.glob("*/*.png")],
        {},
        "has no folder with images in it",
    ),
    "train beside a class": (
        lambda folder: (folder / "train").mkdir(),
        {},
        "must have splits in it or classes, got train and apple",
    ),
    "two validation folders": (
        lambda folder: (only()(folder), both_validations(folder)),
        {},
        "must have one folder for the validation split, got val and validation",
    ),
    "a class that is not trained": (
        only_in_test,
        {},
        "the class cherry has 0 images besides those of the given splits, fewer than one for each",
    ),
    "a size of three": (put("note.txt", b""), {"size": [1, 2, 3]}, "size must be height and width"),
    "a size of nothing": (put("note.txt", b""), {"size": [0, 2]}, "size must be height and width"),
    "a mode that is none": (put("note.txt", b""), {"mode": "sepia"}, "mode must be one of grey, "),
}


def test_a_large_image_is_read_without_a_warning(folder, monkeypatch, recwarn):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    task(folder)
    assert not recwarn


@pytest.mark.parametrize("name", BAD)
def test_a_bad_folder_is_one_clear_line(folder, name):
    spoil, settings, message = BAD[name]
    spoil(folder)
    with pytest.raises(InputError) as refused:
        task(folder, **settings).at([0])
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_every_image_that_cannot_be_read_is_counted(folder):
    for index in range(12):
        (folder / "cherry" / f"{index:02}.png").write_bytes(b"?")
    with pytest.raises(InputError, match=r"12 images cannot .*07\.png \(no image\) and 4 more$"):
        task(folder)


def test_a_path_that_is_no_folder_is_refused(folder):
    with pytest.raises(InputError, match=r"^task.path must be a folder that is there, got '.*x'$"):
        task(folder / "x")
    with pytest.raises(InputError, match=r"^task.path must be a folder, got '.*00\.png'$"):
        task(folder / "apple" / "00.png")


def test_a_class_that_may_not_be_opened_is_not_left_out(folder, lock):
    locked = lock(folder / "cherry")
    with pytest.raises(InputError, match=rf"^task\.path: Permission denied: '{locked}'$"):
        task(folder)


def test_a_link_to_a_class_is_one(folder, tmp_path):
    before = whole(task(folder), "train")
    (folder / "cherry").rename(tmp_path / "elsewhere")
    (folder / "cherry").symlink_to(tmp_path / "elsewhere")
    torch.testing.assert_close(whole(task(folder), "train"), before, rtol=0, atol=0)
    (folder / "apple" / "up").symlink_to(folder)
    with pytest.raises(InputError, match=r"apple/up is a link to a folder that it is in$"):
        task(folder)


def test_a_link_that_leads_nowhere_is_refused(folder):
    (folder / "apple" / "gone.png").symlink_to(folder / "nowhere.png")
    with pytest.raises(InputError, match=r"^task\.path: No such file or directory: '.*gone\.png'$"):
        task(folder)


def test_images_too_large_to_hold_are_refused(folder, monkeypatch):
    monkeypatch.setattr(given, "LARGEST", 10_000)
    with pytest.raises(InputError, match=r"fruit has 0\.0 GB; at most 2 can be held$"):
        task(folder)


def test_from_a_folder_to_a_run_in_one_command(beyond, folder):
    status, told, _ = beyond("task=images", f"task.path={folder}", "seeds=2", "budget.epochs=2")
    assert status == 0
    assert "images/fruit" in told
    assert "3 classes (apple 20, banana 20, cherry 20), chance 0.333" in told
