import itertools

import numpy as np
import pytest

from beyond.data.series import in_order, windows
from beyond.errors import InputError

FAULTS = [
    # nothing is left out before the test split
    ("beyond/data/series.py", "n_held + gap]", "n_held]"),
    # a day is told its own value
    ("beyond/data/series.py", "length)[:-1]", "length)[1:]"),
]


@pytest.mark.parametrize(("n_days", "gap"), [(1000, 60), (101, 0), (23, 3)])
def test_splits_follow_one_another_and_share_no_window(n_days, gap):
    days, n_validation, n_test = in_order(n_days, gap)
    parts = np.split(days, [len(days) - n_validation - n_test, len(days) - n_test])
    assert len(days) == n_days - 2 * gap
    assert (days[0], days[-1]) == (0, n_days - 1)
    assert n_validation == n_test == round(0.15 * len(days))
    for part in parts:
        assert (np.diff(part) == 1).all()
    for earlier, later in itertools.pairwise(parts):
        assert later[0] - earlier[-1] == gap + 1
        assert (later[0] - np.arange(1, gap + 1) > earlier[-1]).all()  # its window


def test_too_few_days_are_refused():
    with pytest.raises(InputError, match=r"^the days between splits must be so few .*, got 50"):
        in_order(100, 50)


def test_a_window_ends_the_day_before():
    assert windows(np.arange(6), 3).tolist() == [[0, 1, 2], [1, 2, 3], [2, 3, 4]]
