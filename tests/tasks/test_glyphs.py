import unicodedata

import numpy as np
import pytest
import torch

from beyond import catalog
from beyond.data.fonts import placed
from beyond.streams import Stream
from tasks import glyphs

FAULTS = [("tasks/glyphs.py", '[letters()["train"]]', '[letters()["test"]]')]


@pytest.fixture(scope="module")
def task():
    return catalog.load("task", "image/glyphs", split_seed=0)


@pytest.fixture(scope="module")
def names():
    """Of every candidate letter, by row."""
    return [
        unicodedata.name(chr(code)) for codes in glyphs._candidates().values() for code in codes
    ]


def test_inputs_are_scaled_by_the_training_letters_alone():
    pixels = glyphs._rendered()[glyphs.letters()["train"]]
    assert glyphs._scale() == pytest.approx((pixels.mean(), pixels.std()))


def test_scripts_are_held_out(names):
    scripts = {
        split: {names[row].split()[0] for row in rows} for split, rows in glyphs.letters().items()
    }
    assert scripts == {
        "train": {"LATIN", "CYRILLIC"},
        "validation": {"GREEK", "GEORGIAN"},
        "test": {"ARMENIAN"},
    }
    assert {split: len(rows) for split, rows in glyphs.letters().items()} == {
        "train": 166,
        "validation": 44,
        "test": 51,
    }


def test_look_alikes_are_left_out(names):
    rows = np.concatenate(list(glyphs.letters().values()))
    kept = {names[row] for row in rows}
    assert {
        "LATIN CAPITAL LETTER A",
        "LATIN CAPITAL LETTER O",
        "CYRILLIC CAPITAL LETTER YA",
    } <= kept
    assert not kept & {
        "LATIN SMALL LETTER O",
        "CYRILLIC CAPITAL LETTER A",
        "GREEK CAPITAL LETTER ALPHA",
        "GREEK SMALL LETTER OMICRON",
        "ARMENIAN CAPITAL LETTER OH",
    }
    images = glyphs.glyphs()[rows].mean(1).flatten(1)
    # another measure of likeness, which they must pass as well
    cosines = torch.corrcoef(images).fill_diagonal_(0)
    assert cosines.max() < 0.93
    for face in glyphs.glyphs()[rows].unbind(1):  # nor are two the same in any face
        assert torch.cdist(face.flatten(1), face.flatten(1)).fill_diagonal_(9).min() > 0.9


def test_an_episode_has_as_many_images_of_each_of_its_letters():
    few = catalog.load("task", "image/glyphs", ways=3, shots=2, queries=4)
    batch = few.at([0]).batch("test", torch.arange(5).unsqueeze(0))
    for part, n_images in ((batch, 4), (batch.support, 2)):
        for labels in part.targets[0].unflatten(0, (5, -1)):
            assert labels.bincount().tolist() == [n_images] * 3
    families = few.at([0]).parts["test"][0][0]
    assert all(len(set(letters)) == 3 for letters in families.tolist())
    assert set(families.flatten().tolist()) <= set(glyphs.letters()["test"].tolist())
    assert few.at([7]).origin == "source pools"


def test_a_placement_turns_sizes_and_moves(task):
    """A bar, followed by its centre of mass and its main direction."""
    bar = torch.zeros(1, 16, 16)
    bar[0, 3:13, 7:9] = 1
    steps = torch.arange(16) - 7.5

    def seen(*draws):
        image = placed(bar, torch.tensor([draws]))[0, 0]
        total = image.sum()
        right, down = (image.sum(0) * steps).sum() / total, (image.sum(1) * steps).sum() / total
        tilt = (image * (steps[:, None] - down) * (steps - right)).sum() / (
            image * (steps[:, None] - down) ** 2
        ).sum()
        return torch.stack([total, right, down, tilt])

    torch.testing.assert_close(placed(bar, torch.full((1, 4), 0.5))[0], bar)
    still = torch.tensor([20.0, 0.0, 0.0, 0.0])
    expected = {  # draws near 1: 10 degrees, a tenth, a pixel
        (1.0, 0.5, 0.5, 0.5): still + torch.tensor([0, 0, 0, np.tan(np.pi / 18)]),
        # the sampling grid grows, the letter shrinks
        (0.5, 1.0, 0.5, 0.5): still / torch.tensor([1.21, 1, 1, 1]),
        (0.5, 0.5, 1.0, 0.5): still - torch.tensor([0, 1.0, 0, 0]),
        (0.5, 0.5, 0.5, 1.0): still - torch.tensor([0, 0, 1.0, 0]),
    }
    for draws, values in expected.items():
        torch.testing.assert_close(seen(*draws), values.float(), atol=0.06, rtol=0.06)


def test_pixels_are_scaled_by_the_training_letters(task):
    inputs = task.at([0]).batch("train", torch.arange(500).unsqueeze(0)).inputs
    assert inputs.mean() == pytest.approx(0, abs=0.05)
    # of images as rendered it is 1: placing them blurs
    assert inputs.std() == pytest.approx(0.9, abs=0.05)


def test_fresh_images_show_the_same_letters(task):
    """Each is nearest, on average, to the fixed images of its letter."""
    indices = torch.arange(100).unsqueeze(0)
    visited = next(task.at([0]).training(indices.unsqueeze(0), Stream("augment", [0])))
    fixed, fresh = (
        part.inputs[0].flatten(1) for part in (task.at([0]).batch("train", indices), visited)
    )
    means = fixed.unflatten(0, (100, 5, 5)).mean(1)  # (episodes, letters, pixels)
    nearest = torch.cdist(fresh.unflatten(0, (100, 25)), means).argmin(2)
    assert (nearest == torch.arange(25) % 5).float().mean() > 0.85


def test_the_reference_is_that_of_the_datasheet(task):
    batch = task.at([0]).batch("test", torch.arange(400).unsqueeze(0))
    queries, support = (
        part.inputs[0].flatten(1).unflatten(0, (400, -1)) for part in (batch, batch.support)
    )
    nearest = torch.cdist(queries, support).argmin(2)  # the support shows letter 0 to 4 in turn
    assert (nearest == batch.targets[0].unflatten(0, (400, -1))).float().mean() == pytest.approx(
        0.62, abs=0.01
    )
