"""Performance profiles, against the integral of the profile and ratios by hand."""

import numpy as np
import pytest
from scipy.integrate import quad

from analysis.summaries.profiles import log_score, problems, profile_scores, profiles, ratios, score
from analysis.summaries.results import cost_to_target

FAULTS = [
    ("analysis/summaries/profiles.py", "least = costs.min(axis=0, initial=np.inf)", "least = costs.max(axis=0, initial=0)"),
    # pairing: the least over problems, not over arms
    ("analysis/summaries/profiles.py", "least = costs.min(axis=0, initial=np.inf)", "least = costs.min(axis=1, initial=np.inf)[:, None]"),
    # a tie for the cheapest
    ("analysis/summaries/profiles.py", "np.where(at_least(least, costs), 1.0, found)", "found"),
    ("analysis/summaries/profiles.py", "np.isfinite(row)]), return_counts", "row > 1]), return_counts"),
    # missing rows
    ("analysis/summaries/profiles.py", "return wide.fillna(np.inf)", "return wide.dropna(axis=1)"),
    ("analysis/summaries/profiles.py", "np.cumsum(counts) / len(row)", "np.cumsum(counts) / counts.sum()"),
    ("analysis/summaries/profiles.py", "(within - 1), 0, 1).mean(axis=-1)", "(within - 1), None, None).mean(axis=-1)"),
    ("analysis/summaries/profiles.py", "(within - 1), 0, 1)", "within, 0, 1)"),
    ("analysis/summaries/profiles.py", "np.clip(1 - np.log(", "np.clip(1 - np.log10("),
    ("analysis/summaries/profiles.py", "spent = targets[cost] + before", "spent = targets[cost] + 0 * before"),
]  # fmt: skip

COSTS = np.array([[10.0, 4.0, np.inf], [20.0, 2.0, 7.0], [40.0, np.inf, np.inf]])


def test_ratios_by_hand():
    expected = [[1, 2, np.inf], [2, 1, 1], [4, np.inf, np.inf]]
    assert ratios(COSTS).tolist() == expected
    assert ratios([[0.0], [0.0], [3.0]])[:, 0].tolist() == [1, 1, np.inf]
    assert ratios([[np.inf], [np.inf]])[:, 0].tolist() == [np.inf, np.inf]  # nobody met it
    near = np.float64(np.float32(0.3))
    assert ratios([[0.3], [near]])[:, 0].tolist() == [1, 1]


@pytest.mark.parametrize("arm", range(3))
def test_scores_are_the_integrals_of_the_profile(arm, rng):
    found = ratios(np.vstack([COSTS[arm], rng.uniform(1, 60, (4, 3))]))[0]

    def share(tau):
        return (found <= tau).mean()

    steps = sorted(ratio for ratio in found if 1 < ratio < 1000)
    area = quad(share, 1, 4, points=[step for step in steps if step < 4] or None)[0]
    assert score(found) == pytest.approx(area / 3, abs=1e-6)
    area = quad(
        lambda x: share(np.exp(x)), 0, np.log(1000), points=np.log(steps) if steps else None
    )
    assert log_score(found) == pytest.approx(area[0] / np.log(1000), abs=1e-6)


def test_scores_by_hand():
    # (4 - 1) / 3, (4 - 2) / 3 and a miss; twice 1 and (4 - 2) / 3; 0 at r = 4
    assert score(ratios(COSTS)).tolist() == pytest.approx([5 / 9, 8 / 9, 0])
    assert log_score([[1.0, 1000.0, 10.0**1.5]]).tolist() == pytest.approx([0.5])


@pytest.fixture
def study_of_costs(tables_of):
    """Three arms on two tasks, two of whose levels are asked for; `c` was not tried on `u`."""
    values = {"a": [0.5] * 3, "b": [0.5] * 3, "c": [0.5] * 3}
    made = tables_of({"t": values, "u": {arm: values[arm] for arm in "ab"}})
    epochs = {
        ("t", "a"): ([1.0, 2.0, 9.0], [np.inf] * 3),
        ("t", "b"): ([4.0, 4.0, 4.0], [6.0, 6.0, np.inf]),
        ("t", "c"): ([5.0, np.inf, np.inf], [np.inf] * 3),
        ("u", "a"): ([3.0] * 3, [5.0] * 3),
        ("u", "b"): ([1.0] * 3, [5.0] * 3),
    }
    for place, level in enumerate(("easy", "hard")):
        made.runs[f"target_{level}"] = 0.4 + place / 10
        made.runs[f"epochs_to_{level}"] = np.concatenate(
            [found[place] for found in epochs.values()]
        )
    made.runs["pretraining_epochs"] = np.where(made.runs["run_id"] == "u/b", 2.0, 0.0)
    return made


def test_a_problem_is_a_level_and_pre_training_is_paid_for(study_of_costs):
    wide = problems(study_of_costs, cost_to_target(study_of_costs), "epochs")
    # medians over seeds, a miss being infinite
    expected = [[2, np.inf, 3, 5], [4, 6, 3, 7], [np.inf, np.inf, np.inf, np.inf]]
    assert wide.to_numpy().tolist() == expected
    assert list(wide.index) == ["a", "b", "c"]


def test_profiles_of_a_study(study_of_costs):
    targets = cost_to_target(study_of_costs)
    table = profiles(study_of_costs, targets)
    steps = table[table["currency"] == "epochs"].set_index("arm")
    assert steps.loc["a", ["ratio", "share"]].tolist() == pytest.approx([1, 0.75])
    assert steps.loc["b", ["ratio", "share"]].to_numpy().tolist() == pytest.approx(
        np.array([[1, 0.5], [1.4, 0.75], [2, 1]])
    )
    assert "c" not in steps.index  # it meets nothing at half of its seeds
    scores = profile_scores(study_of_costs, targets)
    scores = scores[scores["currency"] == "epochs"].set_index("arm")
    assert scores["problems"].tolist() == [4, 4, 4]
    assert scores["met"].to_dict() == {"b": 4, "a": 3, "c": 0}
    assert scores["first"].to_dict() == {"b": 0.5, "a": 0.75, "c": 0}
    assert scores["score"].to_dict() == pytest.approx(
        {"b": (1 + 1 + 2.6 / 3 + 2 / 3) / 4, "a": 0.75, "c": 0}
    )
    assert list(scores.index) == ["b", "a", "c"]


def test_a_study_without_targets_has_no_profile(tables_of):
    made = tables_of({"t": {"a": [0.5] * 3}})
    targets = cost_to_target(made)
    assert profiles(made, targets).empty
    assert profile_scores(made, targets).empty
