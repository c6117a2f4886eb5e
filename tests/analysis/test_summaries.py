import numpy as np
import pandas as pd
import pytest

from analysis.summaries import (
    cost_to_target,
    failures,
    paired_differences,
    ranges,
    reference_arm,
    summary,
)
from analysis.tables import TableError, Tables, load


def rows(arm, scores, task="t", status="finished", **more):
    """Rows of the runs table with these test scores; a string in their place is a status."""
    made = []
    for seed, score in enumerate(scores):
        bad = isinstance(score, str)
        made.append({
            "task": task, "arm": arm, "signal": "loss", "seed": seed, "score": "accuracy_score",
            "status": score if bad else status, "reason": score if bad else "",
            "best_test_score": np.nan if bad else score, "best_validation_score": np.nan if bad else score,
            "final_validation_score": np.nan if bad else score - 0.1,
            "final_test_score": np.nan if bad else score - 0.2,
            "flops": 10.0, "pretraining_flops": 5.0, **more,
        })  # fmt: skip
    return made


def tables(*arms):
    runs = pd.DataFrame([row for arm in arms for row in arm])
    inference = [f"inference_{name}" for name in ("flops", "spikes", "accumulates")]
    for column in ("epochs", "examples", "seconds", "rewards", "n_weights", "state_bytes", *inference):
        runs[column] = 1.0
    for column in ("epochs", "examples", "seconds"):
        runs[f"pretraining_{column}"] = 0.0
    return Tables("s", pd.DataFrame(), pd.DataFrame(), pd.DataFrame(), runs, {})


def test_summary_by_hand(rng):
    table = summary(tables(rows("a", [0.5, 0.7, 0.6]), rows("b", [0.9, 0.8, "diverged"])), rng).set_index("arm")
    assert list(table.index) == ["b", "a"]  # the best mean first
    assert table.loc["a", ["n_seeds", "finished", "mean", "best", "std"]].tolist() == pytest.approx(
        [3, 3, 0.6, 0.7, 0.1]
    )
    assert table.loc["a", ["overfitting_cost", "final_mean"]].tolist() == pytest.approx([0.1, 0.4])
    assert table.loc["a", ["flops", "pretraining_flops"]].tolist() == [10, 5]
    assert table.loc["b", ["n_seeds", "finished", "diverged", "failed", "skipped"]].tolist() == [2, 2, 1, 0, 0]
    assert table.loc["b", "low"] == pytest.approx(0.8)
    # b is first at two seeds and last at the third: (1 + 1 + 2) / 3
    assert table["rank"].to_dict() == pytest.approx({"a": 5 / 3, "b": 4 / 3})


def test_a_diverged_replica_is_ranked_last_whatever_it_had_reached(rng):
    made = tables(rows("a", [0.5] * 3), rows("b", [0.9] * 3, status="diverged"))
    assert summary(made, rng).set_index("arm")["rank"].to_dict() == {"a": 1, "b": 2}


def test_ranks_are_refused_below_three_seeds_and_for_skipped_arms(rng):
    made = tables(rows("a", [0.1] * 3), rows("b", [0.2] * 4), rows("c", [0.3] * 2), rows("d", ["skipped"] * 3))
    table = summary(made, rng).set_index("arm")
    assert table["rank"].fillna(-1).to_dict() == {"b": 1, "a": 2, "c": -1, "d": -1}
    assert table["rank_note"].to_dict() == {"a": "", "b": "", "c": "fewer than 3 seeds", "d": "skipped"}
    assert np.isnan(table.loc["d", "flops"])  # what was not run cost nothing, rather than 0
    apart = rows("b", [0.2] * 3)
    for row in apart:
        row["seed"] += 2
    assert (
        summary(tables(rows("a", [0.1] * 3), apart), rng)["rank_note"].unique()
        == "fewer than 3 seeds shared by all arms"
    )


def test_an_error_goes_down(rng):
    made = tables(rows("a", [0.1, 0.2, 0.3], score="top_error"), rows("b", [0.5, 0.6, 0.7], score="top_error"))
    table = summary(made, rng).set_index("arm")
    assert list(table.index) == ["a", "b"]
    assert table["rank"].tolist() == [1, 2]
    assert table["best"].tolist() == [0.1, 0.5]
    assert table["overfitting_cost"].tolist() == pytest.approx([-0.1, -0.1])
    assert reference_arm(made, "t") == "a"


def test_paired_differences_by_hand(rng):
    made = tables(
        rows("backprop", [0.5] * 5), rows("a", [0.6, 0.7, 0.8, 0.9, 1.0]), rows("b", [0.5, 0.4, "failed", 0.6, 0.5])
    )
    table = paired_differences(made, rng).set_index("arm")
    assert table["reference"].unique() == "backprop"
    assert table.loc["a", ["n", "mean", "p", "p_holm", "smallest_p"]].tolist() == pytest.approx(
        [5, 0.3, 2 / 32, 4 / 32, 2 / 32]
    )
    assert table.loc["b", ["n", "mean", "p", "p_holm"]].tolist() == pytest.approx([4, 0, 1, 1])


def test_the_reference_is_chosen_by_validation_if_backprop_did_not_run(rng):
    better = rows("a", [0.1] * 3)
    for row in better:
        row["best_validation_score"] = 0.9
    made = tables(better, rows("b", [0.5] * 3), rows("backprop", ["skipped"] * 3))
    assert reference_arm(made, "t") == "a"
    assert reference_arm(made, "t", "b") == "b"
    assert reference_arm(tables(rows("a", ["failed"])), "t") is None
    assert paired_differences(tables(rows("a", ["failed"])), rng).empty
    with pytest.raises(TableError, match=r"^no arm has the name x; known: a, b, backprop$"):
        paired_differences(made, rng, "x")


def test_cost_to_target_by_hand():
    made = tables(rows("a", [0.5] * 4), rows("b", [0.5, "failed", "skipped"]))
    made.runs["target_easy"] = 0.4
    for level in ("medium", "hard"):
        made.runs[f"target_{level}"] = np.nan
    for cost in ("epochs", "examples", "flops", "seconds"):
        made.runs[f"{cost}_to_easy"] = [1.0, 3.0, 2.0, np.inf, 7.0, np.nan, np.nan]
    table = cost_to_target(made).set_index("arm")
    assert table["level"].tolist() == ["easy", "easy"]
    assert table.loc["a", ["n", "reached", "epochs"]].tolist() == [4, 3, 2.5]  # of 1, 2, 3, inf
    assert table.loc["b", ["n", "reached", "epochs"]].tolist() == [2, 1, np.inf]  # of 7, inf; skipped is not counted


def test_failures_with_one_reason_are_told_together(small):
    table = failures(load(small)).to_numpy().tolist()
    assert table[0] == ["image/digits", "reinforce", "diverged", "4", "a loss is not finite"]
    assert table[1][2:] == ["skipped", "0-4", "forward_forward needs a classification task"]


def test_ranges():
    assert ranges(pd.Series([3, 0, 1, 7, 2])) == "0-3, 7"
