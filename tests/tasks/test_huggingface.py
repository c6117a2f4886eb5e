"""Oracle: a data set in the library's form is the same task as its rows in a file, its images in a
folder. No network.
"""

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from beyond import catalog
from beyond.contracts import SPLITS, TargetKind
from beyond.errors import InputError, MissingDataError

datasets = pytest.importorskip("datasets", reason="of the extra huggingface")

FAULTS = [
    # the validation split is tested
    (
        "tasks/huggingface.py",
        "return self._loaded.n_validation, self._loaded.n_test",
        "return self._loaded.n_test, self._loaded.n_validation",
    ),
    ("beyond/data/columns.py", "self.kind, self._where, self._fixed)", "self.kind, self._where)"),
    # classes by their numbers
    (
        "tasks/huggingface.py",
        "labelled(frame[name], feature.names)",
        "labelled(frame[name], range(len(feature.names)))",
    ),
    # a test split without labels is tested
    (
        "tasks/huggingface.py",
        'return "no targets" if column.isna().all()',
        'return "no targets" if False',
    ),
    (
        "tasks/huggingface.py",
        "for split in SPLITS if split in parts}, left_out",
        "for split in parts}, left_out",
    ),
    # the file is read once and for all
    ("tasks/huggingface.py", "self.target, _stamps(self.path))", "self.target, None)"),
    ("beyond/data/columns.py", "drawn or name is None)", "True)"),
]
N = 120


@pytest.fixture(autouse=True)
def offline(tmp_path, monkeypatch):
    """No network, and a cache that is gone with the test."""
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    datasets.disable_progress_bars()


def frame(n=N, seed=0):
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 2, n)
    return pd.DataFrame(
        {
            "age": rng.integers(18, 80, n) + 20 * label,
            "member": rng.random(n) < 0.5,
            "city": rng.choice(["Berlin", "Paris", "Rome"], n),
            "review": [
                f"it was {('dull', 'fine')[one]} word{index % 9}" for index, one in enumerate(label)
            ],
            "label": label,
        }
    )


LABELS = datasets.ClassLabel(names=["stays", "leaves"])


def rows(made):
    """A data set whose labels have names."""
    return datasets.Dataset.from_pandas(made, preserve_index=False).cast_column("label", LABELS)


def pixels(index, label):
    rng = np.random.default_rng(index)
    image = rng.integers(0, 120, (6, 8), dtype=np.uint8)
    image[3 * label : 3 * label + 3] += 120
    return image


def pictures(n=60):
    """A data set of grey images, 6 high and 8 wide."""
    label = [index % 2 for index in range(n)]
    images = [Image.fromarray(pixels(index, one)) for index, one in enumerate(label)]
    features = datasets.Features({"photo": datasets.Image(), "label": LABELS})
    return datasets.Dataset.from_dict({"photo": images, "label": label}, features=features)


@pytest.fixture
def save(tmp_path):
    """Return a function that writes a data set, or its splits, and gives the folder."""

    def saved(made, name="my"):
        path = tmp_path / name
        made = datasets.DatasetDict(made) if isinstance(made, dict) else made
        made.save_to_disk(path)
        return str(path)

    return saved


def task(path, **settings):
    return catalog.load("task", "huggingface", path=path, **settings)


def whole(made, split, seeds=(0, 1)):
    splits = made.at(seeds)
    places = torch.arange(splits.size(split)).expand(len(seeds), -1)
    return splits.batch(split, places)


def require_same(made, other):
    assert made.spec.levels == other.spec.levels
    assert made.spec.network == other.spec.network
    for split in SPLITS:
        ours, theirs = whole(made, split), whole(other, split)
        assert torch.equal(ours.inputs, theirs.inputs)
        assert torch.equal(ours.targets, theirs.targets)


def test_its_columns_are_those_of_a_table(save, tmp_path):
    made = task(save(rows(frame())), ignore=["review"])
    assert made.spec.name == "huggingface/my"
    assert made.told() == [
        f"{tmp_path / 'my'}: 120 rows, 5 columns",
        "1 column of numbers, 1 input: age",
        "1 column of truth values, 1 input: member",
        "1 column of texts, 3 inputs: city",
        "dropped review: ignored",
        made.told()[5],
        "splits: drawn by seed",
    ]
    assert made.told()[5].startswith("target label: 2 classes (stays ")
    frame().to_csv(tmp_path / "my.csv", index=False)
    path = str(tmp_path / "my.csv")
    require_same(made, catalog.load("task", "table", path=path, target="label", ignore=["review"]))


def test_its_texts_are_those_of_a_file(save, tmp_path):
    path = save(rows(frame()))
    made = task(path, text="review")
    assert made.told()[2] == "dropped age, member, city: only the text is read"
    frame().to_csv(tmp_path / "my.csv", index=False)
    other = {"path": str(tmp_path / "my.csv"), "text": "review", "target": "label", "rare": 3}
    require_same(made, catalog.load("task", "text", **other))


def test_its_images_are_those_of_a_folder(save, tmp_path):
    made = task(save(pictures()))
    assert made.told()[1] == "inputs: grey, 6 high and 8 wide; the files (width x height): 8x6"
    for index in range(60):
        file = tmp_path / "photos" / ("0stays", "1leaves")[index % 2] / f"{index:02}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels(index, index % 2)).save(file)
    other = catalog.load("task", "images", path=str(tmp_path / "photos"))
    assert made.spec.network == other.spec.network
    assert made.spec.levels == other.spec.levels
    expected = np.stack([pixels(index, index % 2) for index in range(60)])
    np.testing.assert_array_equal(made.examples().inputs[:, 0], expected)
    assert made.examples().scaling == other.examples().scaling
    assert made.examples().targets.tolist() == [0, 1] * 30


def test_a_text_is_read_beside_images(save):
    made = pictures().add_column("title", [f"word{row % 4} it" for row in range(60)])
    assert task(save(made), text="title").spec.n_symbols == 7
    assert task(save(made, "seen")).spec.input_shape == (1, 6, 8)


def test_splits_are_given_by_name(save):
    made = rows(frame())
    parts = {
        "unsupervised": made.select(range(10)),
        "test": made.select(range(10, 30)),
        "valid": made.select(range(30, 45)),
        "train": made.select(range(45, 120)),
    }
    given = task(save(parts), ignore=["review"])
    assert (
        given.told()[1] == "left out unsupervised: no training, validation or test split, 10 rows"
    )
    assert given.told()[-1] == "splits: as given"
    for split, name in (("train", "train"), ("validation", "valid"), ("test", "test")):
        labels = whole(given, split).targets
        assert labels.shape[1] == len(parts[name])
        if split != "train":
            assert labels[1].tolist() == parts[name]["label"][:]
    with pytest.raises(InputError, match=r"task\.group must be null where splits are given, got"):
        task(given.path, group="city")
    only = task(save({"everything": made}, "one"))
    assert only.told()[-1] == "splits: drawn by seed"


def test_a_test_split_without_labels_is_left_out(save):
    made = frame()
    made.loc[100:, "label"] = -1
    parts = {"train": rows(made[:100]), "test": rows(made[100:])}
    given = task(save(parts))
    assert given.told()[1] == "left out test: no targets"
    assert given.told()[-1] == "splits: drawn by seed"
    assert len(given.examples().targets) == 100


def test_a_folder_of_files_is_read_as_the_library_does(tmp_path):
    for split, part in (("train", frame()), ("test", frame(40, 1))):
        (tmp_path / "mine").mkdir(exist_ok=True)
        part.to_csv(tmp_path / "mine" / f"{split}.csv", index=False)
    made = task(str(tmp_path / "mine"), target="age", kind="values")
    assert made.spec.target_kind is TargetKind.VALUES
    assert made.told()[-1] == "splits: test as given, the others drawn by seed"
    assert made.at([0]).size("test") == 40


def test_what_no_network_sees_is_told(save):
    made = rows(frame()).add_column("parts", [[1, 2]] * N)
    told = task(save(made), ignore=["review"]).told()
    assert told[5] == "dropped parts: neither numbers nor texts"
    two = pictures()
    two = two.add_column("age", list(range(60)))
    assert "dropped age: only the image is seen" in task(save(two, "two")).told()
    assert task(save(two, "three"), ignore=["photo"]).spec.input_shape == (1,)


def test_other_data_in_the_folder_are_seen(save, tmp_path):
    first = task(save(rows(frame()))).checksum()
    for file in (tmp_path / "my").iterdir():
        file.unlink()
    assert task(save(rows(frame(90, seed=1)))).checksum() != first


def test_times_and_groups_split_as_in_a_table(save):
    path = save(rows(frame().assign(day=range(N), shop=[index % 30 for index in range(N)])))
    timed = task(path, time="day", text="review")
    assert timed.at([0]).rows["test"][0].tolist() == list(range(N - 18, N))
    assert "whole groups of shop" in task(path, group="shop").told()[-1]


def torn():
    plain = pictures().cast_column("photo", datasets.Image(decode=False))
    contents = [
        {**photo, "bytes": b"torn"} if row == 4 else photo
        for row, photo in enumerate(plain["photo"])
    ]
    return datasets.Dataset.from_dict(
        {"photo": contents, "label": plain["label"][:]}, plain.features
    )


def twice(made, name):
    """The same column again, by another name."""
    return datasets.concatenate_datasets(
        [made, made.select_columns(name).rename_column(name, "other")], axis=1
    )


def plain():
    return rows(frame())


BAD = {
    "no such target": (
        plain,
        {"target": "y"},
        "task.target must be one of age, member, city, review, label; got 'y'",
    ),
    "no labels": (
        lambda: plain().remove_columns("label"),
        {},
        "task.target must be given, one of age, member, city, review: no column has class labels",
    ),
    "two labels": (lambda: twice(plain(), "label"), {}, "class labels are in label, other"),
    "two images": (
        lambda: twice(pictures(), "photo"),
        {},
        "task.image must name one of photo, other, or task.ignore all",
    ),
    "no images": (
        plain,
        {"image": "age"},
        "task.image must be null: no column has images, got 'age'",
    ),
    "text and image": (
        plain,
        {"image": "age", "text": "review"},
        "task.image must be null where task.text is set, to 'review', got 'age'",
    ),
    "no such text": (plain, {"text": "body"}, "task.text must be one of age, member"),
    "no column of texts": (
        lambda: plain().add_column("parts", [[1]] * N),
        {"text": "parts"},
        "task.text must be one of age, member",
    ),
    "numbers as text": (plain, {"text": "age"}, "column 'age' has no texts but int64; task=table"),
    "an image as the target": (
        pictures,
        {"target": "photo"},
        "task.target must be one of label; got 'photo'",
    ),
    "a torn image": (torn, {}, "1 image cannot be read: row 5 (no image)"),
    "nothing to train on": (
        lambda: {"test": plain(), "dev": plain()},
        {},
        "has the splits test, dev, and none to train on",
    ),
    "splits twice": (
        lambda: dict.fromkeys(("train", "val", "validation"), plain()),
        {},
        "must have one validation split, got train, val, validation",
    ),
    "splits of other columns": (
        lambda: {"train": plain(), "test": plain().cast_column("age", datasets.Value("string"))},
        {},
        "must have the same columns in every split: ",
    ),
    "one class": (lambda: rows(frame().assign(label=1)), {}, "every row is of the class leaves"),
    "a class of the test split alone": (
        lambda: {"train": rows(frame().assign(label=0)), "test": plain()},
        {},
        "the class leaves has 0 rows besides those of the given splits",
    ),
    "a configuration": (
        plain,
        {"config": "de"},
        "task.config must be null for what save_to_disk wrote, got 'de'",
    ),
    "no rows": (lambda: plain().select([]), {}, "cannot be read as a data set: "),
}


@pytest.mark.parametrize("name", BAD)
def test_data_that_cannot_be_used_are_one_clear_line(save, name):
    make, settings, message = BAD[name]
    path = save(make())
    with pytest.raises(InputError) as refused:
        task(path, **settings)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_path_that_cannot_be_read_is_one_clear_line(tmp_path):
    (tmp_path / "my.txt").write_text("x")
    (tmp_path / "empty").mkdir()
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut" / "state.json").write_text("{")
    bad = {
        "none": "task.path must be a folder that is there, got ",
        "my.txt": "task.path must be a folder, or a data set of the hub, got the file ",
        "empty": "cannot be read as a data set: ",
        "cut": "cannot be read as a data set: ",
    }
    for name, message in bad.items():
        path = str(tmp_path / name)
        with pytest.raises(InputError, match=message) as refused:
            task(path)
        assert path in str(refused.value)
        assert "\n" not in str(refused.value)
    with pytest.raises(MissingDataError, match="'no/such' is not here, and cannot be fetched: "):
        task("no/such")


def test_a_folder_that_may_not_be_opened_is_not_left_out(tmp_path, lock):
    (tmp_path / "mine" / "more").mkdir(parents=True)
    frame().to_csv(tmp_path / "mine" / "a.csv", index=False)
    locked = lock(tmp_path / "mine" / "more")
    with pytest.raises(InputError, match=rf"^task\.path: Permission denied: '{locked}'$"):
        task(str(tmp_path / "mine"), target="label")


def test_from_a_folder_to_a_run_in_one_command(beyond, save):
    path = save(rows(frame()))
    status, told, _ = beyond("task=huggingface", f"task.path={path}", "budget.epochs=2")
    assert status == 0
    assert "huggingface/my" in told
