"""What an arm's id and label are made of: what JSON knows, and equal where settings are equal."""

import math
from fractions import Fraction
from pathlib import Path

import pytest

from beyond.arm import plain, same, shown
from beyond.errors import InputError

FAULTS = [
    ("beyond/arm.py", "if not isinstance(value, str | int | float | None):", "if False:"),
]


def test_equal_numbers_and_sequences_are_the_same():
    assert same({"a": (1, 2.0)}, {"a": [1.0, 2]})
    assert not same(0.5, 0.25)
    assert not same(True, "true")
    assert plain((1.0, (None, "x", math.inf))) == [1, [None, "x", math.inf]]
    assert [shown(value) for value in (0.1, None, True, (64, 64), "relu")] == ["0.1", "null", "true", "[64,64]", "relu"]


@pytest.mark.parametrize("value", [Fraction(1, 3), Path("a"), {1, 2}, 1j, object()])
def test_what_has_no_text_of_its_own_is_refused(value):
    with pytest.raises(InputError, match=r"^settings must be of numbers, texts, lists and other settings, got "):
        same([value], [value])
