"""Curves whose crossing is known in closed form."""

import numpy as np
import pandas as pd
import pytest

from analysis.summaries.crossings import crossing
from analysis.tables import TableError

FAULTS = [
    (
        "analysis/summaries/crossings.py",
        "np.where(begun < level, at_least(values, level), at_least(level, values))",
        "at_least(values, level)",
    ),
    (
        "analysis/summaries/crossings.py",
        'rows.sort_values(["seed", at])',
        'rows.sort_values(["seed"])',
    ),
    (
        "analysis/statistics/targets.py",
        "np.where(np.isfinite(shown).all(axis=0), shown, ends)",
        "shown",
    ),
]

# ten checkpoints a decade, as the loop takes them
GRID = np.array([0, *(100 * 10 ** (np.arange(21) / 10))])


def curve(*by_seed):
    columns = {
        "seed": np.repeat(range(len(by_seed)), len(GRID)),
        "steps": np.tile(GRID, len(by_seed)),
    }
    return pd.DataFrame({**columns, "value": np.concatenate(by_seed)})


def test_each_scale_is_exact_for_the_curve_it_suits():
    exact = curve(GRID / 2000)
    assert crossing(exact, "value", 0.5, "steps")[0] == pytest.approx(1000)
    decays = curve(np.exp(-GRID / 700))
    assert crossing(decays, "value", 0.5, "steps", "log")[0] == pytest.approx(700 * np.log(2))
    grows = curve(1 / (1 + 9999 * np.exp(-GRID / 300)))
    assert crossing(grows, "value", 0.5, "steps", "logit")[0] == pytest.approx(300 * np.log(9999))
    assert crossing(grows, "value", 0.9, "steps")[0] != pytest.approx(
        300 * np.log(9999 * 9), rel=0.01
    )


def test_seeds_are_apart_and_one_that_never_gets_there_is_infinite():
    found = crossing(curve(GRID / 2000, GRID / 4000, 0 * GRID, 1 + GRID), "value", 0.5, "steps")
    assert list(found.index) == [0, 1, 2, 3]
    assert found[:2].tolist() == pytest.approx([1000, 2000])
    assert np.isinf(found[[2, 3]]).all()


def test_rows_come_in_any_order(rng):
    rows = curve(np.abs(GRID - 1000), GRID / 2000)
    for level in (0.5, 500):
        expected = crossing(rows, "value", level, "steps")
        for _ in range(5):
            shuffled = rows.iloc[rng.permutation(len(rows))]
            assert crossing(shuffled, "value", level, "steps").equals(expected)


def test_the_first_crossing_counts_from_either_side():
    assert crossing(curve(np.abs(GRID - 1000)), "value", 500, "steps")[0] == pytest.approx(
        500, rel=0.01
    )
    assert crossing(curve(np.minimum(GRID, 2000 - GRID)), "value", 500, "steps")[
        0
    ] == pytest.approx(500)
    assert crossing(curve(np.full(len(GRID), 0.5)), "value", 0.5, "steps")[0] == 0


def test_a_bracket_that_the_scale_cannot_show_is_straight():
    steps = curve(np.where(GRID < 1000, 0.0, 1.0))
    before = GRID[GRID < 1000].max()
    assert crossing(steps, "value", 0.25, "steps", "logit")[0] == pytest.approx(
        before + 0.25 * (1000 - before)
    )


def test_what_is_no_curve_a_seed_is_refused():
    with pytest.raises(TableError, match="one curve per seed"):
        crossing(pd.concat([curve(GRID), curve(GRID)]), "value", 1.0)
    with pytest.raises(TableError, match="linear, log, logit; got 'square'"):
        crossing(curve(GRID), "value", 1.0, scale="square")
