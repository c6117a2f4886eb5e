"""The forest of paired differences: what is drawn is what the tables have."""

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

from analysis.figures.canvas import FAINT
from analysis.figures.differences import _groups, differences
from analysis.figures.looks import looks
from analysis.study import Study

FAULTS = [
    ("analysis/figures/differences.py", "[low, high], [place] * 2", "[mean, high], [place] * 2"),
    (
        "analysis/figures/differences.py",
        'if not rows.loc[arm, "p_corrected"] < 1 - LEVEL',
        "if False",
    ),
    ("analysis/figures/differences.py", "or len({*text}) < len(text)", ""),
    ("analysis/figures/differences.py", "if len(group) > 1]", "if group]"),
]
TASK = "image/digits"


def drawn(study):
    made = Study(study.folder)
    look = looks(made.tables.runs)
    return made, look, differences(made.tables, made.summary(), made.differences(), TASK, look)


def test_intervals_are_those_of_the_table_and_full_marks_are_told_apart(study):
    levels = {"backprop": 0.9, "reinforce": 0.899, "genetic": 0.3, "constant": 0.1}
    for method, level in levels.items():
        cell = study.folder / study.cell(method, seeds=range(8))
        runs = pd.read_parquet(cell / "runs.parquet")
        noise = np.random.default_rng(len(method)).normal(0, 0.004, len(runs))
        runs.assign(best_test_score=level + noise).to_parquet(cell / "runs.parquet")
    made, look, picture = drawn(study)
    whole, closer = picture.figure.axes
    rows = made.differences().set_index("arm")
    colours = {look[arm].colour: arm for arm in rows.index}
    assert len(colours) == len(rows) - (look["constant"].colour == look["genetic"].colour)
    spans = {
        colours[line.get_color()]: tuple(line.get_xdata())
        for line in whole.lines
        if line.get_color() in colours and len(line.get_xdata()) == 2
    }
    for arm, ends in spans.items():
        assert ends == (rows.loc[arm, "low"], rows.loc[arm, "high"])
    assert spans.keys() == set(rows.index)
    hollow = {
        colours[line.get_color()] for line in whole.lines if line.get_markerfacecolor() == "white"
    }
    assert hollow == {"reinforce"} == set(rows.index[rows["p_corrected"] >= 0.05])
    assert -0.1 < closer.get_xlim()[0] < closer.get_xlim()[1] < 0.1
    groups = [
        list(line.get_ydata())
        for line in closer.lines
        if line.get_color() == FAINT and line.get_marker() == "o"
    ]
    assert groups == [[0, 1]]
    shown = "\n".join(text.get_text() for text in picture.figure.findobj(mpl.text.Text))
    assert "reference" in shown
    assert picture.alt.startswith("Forest plot: difference of test accuracy_score to backprop")


@pytest.mark.parametrize(
    ("letters", "groups"),
    [
        (["a", "ab", "b", ""], [[0, 1], [1, 2]]),
        (["a", "b"], []),
        (["a", "a b", "aa", "aa"], [[0, 1], [2, 3]]),
        (["aa", "aa", "a"], [[0, 1]]),
    ],
)
def test_tie_groups_are_read_from_letters(letters, groups):
    assert _groups(letters) == groups


def test_without_a_second_arm_there_is_no_forest(study):
    study.cell("backprop")
    assert drawn(study)[2] is None
