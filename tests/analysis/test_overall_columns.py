"""Tables over tasks as a reader sees them: the right number in the right row, from either side."""

import pandas as pd
import pytest

from analysis.study import Study
from analysis.words import overall_columns

FAULTS = [
    ("analysis/words/overall_columns.py", "interval(1 - mean, 1 - high, 1 - low)",
     "interval(mean, low, high)"),
    ("analysis/words/overall_columns.py", "interval(1 - mean, 1 - high, 1 - low)",
     "interval(1 - mean, 1 - low, 1 - high)"),
    ("analysis/words/overall_columns.py", 'improvements["n_tasks"] > 1]',
     'improvements["n_tasks"] > 0]'),
    ("analysis/words/overall_columns.py", 'stability["first"] == _MEASURED]',
     'stability["first"] != ""]'),
    ("analysis/words/overall_columns.py", "if len(tasks) > 1 else pd.DataFrame()", ""),
    ("analysis/page/study.py", "next(filter(None, references), \"\")", '""'),
]  # fmt: skip


def pair(arm, other, mean, low, high, n_tasks=2):
    return {
        **{"task": "mean of 2 tasks", "arm": arm, "other": other, "n_tasks": n_tasks},
        **{"improvement": mean, "low": low, "high": high},
    }


@pytest.fixture
def overall():
    means = [
        ("a", 2, 10, 1, 0.8, 0.7, 0.9),
        ("b", 2, 10, 0, 0.5, 0.4, 0.6),
        ("c", 1, 5, 0, 1, 1, 1),
    ]
    names = ["arm", "n_tasks", "n_runs", "unfinished", "iqm", "low", "high"]
    scores = [("flops", "a", 6, 5, 0.1, 0.9, 0.95), ("flops", "b", 6, 0, 0.0, 0.0, 0.0)]
    scores += [("steps", "b", 6, 0, 0.0, 0.25, 0.5), ("steps", "a", 6, 5, 0.1, 0.7, 0.8)]
    columns = ["currency", "arm", "problems", "met", "first", "score", "log_score"]
    taus = [("x", "test score", "flops to easy", 3, 0.5, 0.25, 0.75)]
    taus += [("y", "test score", "flops to easy", 3, -1.0, -1.0, -1.0)]
    taus += [("x", "flops to easy", "steps to easy", 3, 0.1, 0.0, 0.2)]
    return {
        "interquartile_means": pd.DataFrame(means, columns=names),
        "improvements": pd.DataFrame(
            [
                *[pair("a", "b", 0.9, 0.8, 0.95), pair("b", "c", 0.2, 0.1, 0.4)],
                pair("c", "d", 0.2, 0.1, 0.4) | {"task": "x", "n_tasks": 1},
                pair("b", "d", 0.6, 0.5, 0.7) | {"task": "x", "n_tasks": 1},
            ]
        ),
        "profile_scores": pd.DataFrame(scores, columns=columns),
        "rank_stability": pd.DataFrame(
            taus, columns=["task", "first", "second", "n_arms", "tau", "low", "high"]
        ),
    }


def test_a_probability_is_turned_where_the_reference_comes_first(overall):
    shown = overall_columns.section(overall, ["x", "y"], "b")["means"].set_index("arm")
    better = shown["P(better than b)"]
    assert dict(better) == {"a": "0.900 [0.800, 0.950]", "b": "-", "c": "0.800 [0.600, 0.900]"}
    assert shown.loc["a", "IQM of normalised scores"] == "0.800 [0.700, 0.900]"


def test_profiles_have_a_row_for_each_arm(overall):
    shown = overall_columns.section(overall, ["x", "y"], "b")["profiles"].set_index("arm")
    assert list(shown["targets met"]) == ["5 of 6", "0 of 6"]
    assert dict(shown["steps, to 4 times"]) == {"a": "0.700", "b": "0.250"}
    assert shown.loc["a", "flops, to 1,000 times, log"] == "0.950"


def test_rankings_are_held_against_that_by_test_score(overall):
    shown = overall_columns.section(overall, ["x", "y"], "")["stability"]
    assert shown.to_dict("records") == [
        {
            "ranked by": "flops to easy",
            "x": "0.500 [0.250, 0.750]",
            "y": "-1.000 [-1.000, -1.000]",
        }
    ]


def test_one_task_has_no_means_over_tasks(overall):
    assert set(overall_columns.section(overall, ["x"], "b")) == {"profiles", "stability"}


def test_the_page_shows_them(study):
    for task in ("image/digits", "text/languages"):
        study.cell("backprop", task)
        study.cell("genetic", task)
    page = Study(study.folder).report().read_text()
    assert "Over tasks, targets and currencies" in page
    assert "P(better than backprop)" in page
