"""Each fault planted into good examples, by itself."""

import numpy as np
import pytest

from beyond.architectures.mlp import MLP
from beyond.contracts import TargetKind, TaskSpec
from beyond.data.screening import require_examples, screen
from beyond.errors import InputError

FAULTS = [
    (
        "beyond/data/screening.py",
        "values.min() >= low and values.max() <= high",
        "not (values.min() < low or values.max() > high)",
    ),
    ("beyond/data/screening.py", "(0, n_values - 1) if n_values", "(0, n_values) if n_values"),
    ("beyond/data/screening.py", 'and split != "train" else 1', 'and split == "test" else 1'),
    (
        "beyond/data/screening.py",
        'if n_values and values.dtype.kind not in "iu"',
        'if n_values and values.dtype.kind not in "iuf"',
    ),
]

LABELS = np.arange(6) % 3
NUMBERS = np.linspace(-1, 1, 12).reshape(6, 2)


def spec(target_kind=TargetKind.CLASSES, input_shape=(2,), n_symbols=0):
    return TaskSpec(
        "box/toy", input_shape, 3, target_kind, MLP(), "score", (0.1, 0.2, 0.3), n_symbols
    )


def planted(values, place, wrong):
    values = values.copy()
    values[place] = wrong
    return values


CLASSES, VALUES = spec(), spec(TargetKind.VALUES)
IMAGES, SYMBOLS = spec(input_shape=(1, 2, 2)), spec(n_symbols=6)
PIXELS, LETTERS, MANY = (
    np.zeros((6, 1, 2, 2), np.uint8),
    np.arange(12).reshape(6, 2) % 6,
    np.ones((6, 3)),
)
FINITE = "must be finite numbers of single precision, got"


def test_good_examples_pass():
    for inputs, targets, spec in (
        (NUMBERS, LABELS, CLASSES),
        (NUMBERS.astype(np.float32), MANY, VALUES),
        (PIXELS, LABELS, IMAGES),
        (LETTERS, LABELS, SYMBOLS),
    ):
        screen(inputs, targets, spec)


@pytest.mark.parametrize(
    ("inputs", "targets", "of", "message"),
    [
        (
            planted(NUMBERS, (4, 1), np.nan),
            LABELS,
            CLASSES,
            f"inputs of box/toy {FINITE} nan in row 4, feature 1",
        ),
        (
            planted(NUMBERS, (0, 0), -np.inf),
            LABELS,
            CLASSES,
            f"inputs of box/toy {FINITE} -inf in row 0, feature 0",
        ),
        (
            planted(NUMBERS, (5, 1), 1e39),
            LABELS,
            CLASSES,
            f"inputs of box/toy {FINITE} 1e+39 in row 5, feature 1",
        ),
        (
            planted(PIXELS * 1.0, (2, 0, 1, 0), np.inf),
            LABELS,
            IMAGES,
            f"inputs of box/toy {FINITE} inf in row 2, feature (0, 1, 0)",
        ),
        (
            NUMBERS,
            planted(MANY, (3, 2), np.nan),
            VALUES,
            f"targets of box/toy {FINITE} nan in row 3, output 2",
        ),
        (
            NUMBERS,
            LABELS + 1,
            CLASSES,
            "targets of box/toy must be integers in [0, 3), got 3 in row 2",
        ),
        (
            NUMBERS,
            LABELS - 1,
            CLASSES,
            "targets of box/toy must be integers in [0, 3), got -1 in row 0",
        ),
        (
            NUMBERS,
            LABELS * 1.0,
            CLASSES,
            "targets of box/toy must be integers in [0, 3), got values of type float64",
        ),
        (
            LETTERS + 1,
            LABELS,
            SYMBOLS,
            "inputs of box/toy must be integers in [0, 6), got 6 in row 2, feature 1",
        ),
        (
            NUMBERS,
            LABELS,
            SYMBOLS,
            "inputs of box/toy must be integers in [0, 6), got values of type float64",
        ),
        (
            NUMBERS.astype(str),
            LABELS,
            CLASSES,
            "inputs of box/toy must be finite numbers of single precision, got ",
        ),
        (NUMBERS[:, :1], LABELS, CLASSES, "inputs of box/toy must be of shape (6, 2), got (6, 1)"),
        (NUMBERS, LABELS[:5], CLASSES, "targets of box/toy must be of shape (6,), got (5,)"),
        (NUMBERS, MANY[:, 0], VALUES, "targets of box/toy must be of shape (6, 3), got (6,)"),
    ],
)
def test_what_cannot_be_learnt_from_is_named(inputs, targets, of, message):
    with pytest.raises(InputError) as caught:
        screen(inputs, targets, of)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("target", "sizes", "message"),
    [
        (
            TargetKind.CLASSES,
            (0, 1, 1),
            "the train split of box/toy must be at least 1 example, got 0",
        ),
        (
            TargetKind.CLASSES,
            (1, 0, 1),
            "the validation split of box/toy must be at least 1 example, got 0",
        ),
        (
            TargetKind.VALUES,
            (1, 1, 2),
            "the validation split of box/toy must be at least 2 examples, got 1",
        ),
        (
            TargetKind.VALUES,
            (1, 2, 1),
            "the test split of box/toy must be at least 2 examples, got 1",
        ),
    ],
)
def test_a_split_that_is_empty_or_too_small_for_a_score_is_refused(target, sizes, message):
    with pytest.raises(InputError) as caught:
        require_examples(
            dict(zip(("train", "validation", "test"), sizes, strict=True)), spec(target)
        )
    assert str(caught.value) == message
    require_examples(dict.fromkeys(("train", "validation", "test"), 2), spec(target))
