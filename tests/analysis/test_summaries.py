import numpy as np
import pandas as pd
import pytest

from analysis.statistics.inference import mean_interval
from analysis.summaries import results as summaries
from analysis.summaries.ranking import rankings
from analysis.summaries.results import cost_to_target, failures, reference_arm, spans
from analysis.tables import TableError, Tables, load
from beyond.run.display import spans as of_a_run

FAULTS = [
    # who took no step missed the target
    ("analysis/summaries/results.py", 'isin(["skipped", "untrained"])', 'isin(["skipped"])'),
    ("analysis/summaries/results.py", 'if preferred in set(replicas["arm"])', "if False"),
    (
        "analysis/summaries/results.py",
        "ascending = not higher_is_better(tables.score(task))",
        "ascending = False",
    ),
    ("analysis/summaries/results.py", "sign * (sign * values).max()", "values.max()"),
    # a failed replica is no miss
    (
        "analysis/summaries/results.py",
        "rename(columns=names).fillna(np.inf)",
        "rename(columns=names)",
    ),
    # direction: of ranks, of the order of rows, of what selection gained, of the reference
    (
        "analysis/summaries/ranking.py",
        "(1 if higher_is_better(tables.score(task)) else -1)",
        "(1 if tables.score(task) else -1)",
    ),
    ("analysis/summaries/results.py", 'merged(-sign * table["mean"])', 'merged(-table["mean"])'),
    (
        "analysis/summaries/results.py",
        'sign * values, sign * done["final_test_score"]',
        'values, done["final_test_score"]',
    ),
    (
        "analysis/summaries/results.py",
        "if higher_is_better(tables.score(task)) else validation.idxmin()",
        "if tables.score(task) else validation.idxmin()",
    ),
    # pairing: by seed
    (
        "analysis/summaries/results.py",
        "asdict(paired(wide[arm], wide[name],",
        "asdict(paired(wide[arm].sort_values(), wide[name],",
    ),
    ("analysis/summaries/ranking.py", ".dropna(axis=1) for n in", ".fillna(0) for n in"),
    # a missing row: of a replica that did not finish, or is not there
    (
        "analysis/summaries/results.py",
        'done = replicas[(replicas["status"] == "finished") & np.isfinite(replicas[RESULT])]',
        "done = replicas.fillna({RESULT: 0.0})",
    ),
    (
        "analysis/summaries/ranking.py",
        "if lost := [",
        "if False and [",
    ),
    # the median over seeds, misses included
    (
        "analysis/summaries/results.py",
        'arms[[*COSTS, "bracket"]].median()',
        'arms[[*COSTS, "bracket"]].min()',
    ),
]


def rows(arm, scores, task="t", status="finished", **more):
    """Rows of the runs table with these test scores; a string in their place is a status."""
    made = []
    for seed, score in enumerate(scores):
        bad = isinstance(score, str)
        made.append(
            {
                "task": task,
                "arm": arm,
                "method": arm,
                "default_network": True,
                "signal": "loss",
                "seed": seed,
                "headline_metric": "accuracy_score",
                "status": score if bad else status,
                "reason": score if bad else "",
                "best_test_score": np.nan if bad else score,
                "best_validation_score": np.nan if bad else score,
                "final_validation_score": np.nan if bad else score - 0.1,
                "final_test_score": np.nan if bad else score - 0.2,
                "flops": 10.0,
                "pretraining_flops": 5.0,
                **more,
            }
        )
    return made


def tables(*arms):
    runs = pd.DataFrame([row for arm in arms for row in arm])
    inference = [f"inference_{name}" for name in ("flops", "spikes", "accumulates")]
    costs = ("epochs", "examples", "seconds", "total_seconds", "spent", "rewards")
    for column in (*costs, "n_weights", "state_bytes", *inference):
        runs[column] = 1.0
    for column in ("epochs", "examples", "seconds"):
        runs[f"pretraining_{column}"] = 0.0
    return Tables("s", pd.DataFrame(), pd.DataFrame(), pd.DataFrame(), runs, {})


def summary(tables):
    return summaries.summary(tables, rankings(tables))


def paired_differences(tables, reference=None):
    return summaries.paired_differences(tables, rankings(tables), reference)


def test_summary_by_hand():
    table = summary(
        tables(rows("a", [0.5, 0.7, 0.6]), rows("b", [0.9, 0.8, "diverged"]))
    ).set_index("arm")
    # b has the better mean, of what finished, and is not ranked
    assert list(table.index) == ["a", "b"]
    assert table.loc["a", ["n_seeds", "finished", "mean", "best", "std"]].tolist() == pytest.approx(
        [3, 3, 0.6, 0.7, 0.1]
    )
    assert table.loc["a", "final_mean"] == pytest.approx(0.4)
    assert table.loc["a", ["flops", "pretraining_flops"]].tolist() == [10, 5]
    counts = ["n_seeds", "finished", "diverged", "failed", "skipped"]
    assert table.loc["b", counts].tolist() == [2, 2, 1, 0, 0]
    assert table.loc["b", "mean"] == pytest.approx(0.85)
    low, high = mean_interval([0.9, 0.8], (0, 1))
    assert table.loc["b", ["low", "high"]].tolist() == [low, high]
    assert table.loc["b", "rank_note"] == "1 of 3 diverged"
    assert table["rank"].to_dict() == pytest.approx({"a": 1, "b": np.nan}, nan_ok=True)


def test_what_selection_gained_is_paired_and_can_be_a_loss():
    made = tables(rows("a", [0.5, 0.7, 0.6]))
    made.runs["final_test_score"] = [0.4, 0.9, 0.6]
    row = summary(made).iloc[0]
    assert row["selected_gain"] == pytest.approx(-0.1 / 3)
    assert row[["selected_low", "selected_high"]].tolist() == pytest.approx(
        [*map(float, mean_interval([0.1, -0.2, 0.0]))]
    )


def test_what_did_not_finish_has_no_part_in_a_mean():
    """Nor in an interval, a rank or a difference, whatever its best checkpoint had reached."""
    lost, unstepped = (
        rows(status, [0.9] * 10, status=status) for status in ("diverged", "untrained")
    )
    made = tables(rows("backprop", [0.5] * 10), lost, unstepped)
    table = summary(made).set_index("arm")
    assert table["mean"].notna().to_dict() == {
        "backprop": True,
        "diverged": False,
        "untrained": False,
    }
    assert (
        table["low"].notna().to_dict()
        == table["rank_first"].notna().to_dict()
        == table["mean"].notna().to_dict()
    )
    assert table["rank_note"].to_dict() == {
        "backprop": "",
        "diverged": "diverged",
        "untrained": "untrained",
    }
    assert paired_differences(made).empty


def test_rank_intervals_and_letters():
    steps = np.linspace(-1, 1, 10) * 1e-3
    made = tables(
        *(
            rows(arm, list(level + steps * side))
            for arm, level, side in (("a", 0.9, 1), ("b", 0.9, -1), ("c", 0.5, 1))
        )
    )
    table = summary(made).set_index("arm")
    assert table["group"].to_dict() == {"a": "a", "b": "a", "c": "b"}
    assert table[["rank_first", "rank_last"]].to_numpy().tolist() == [[1, 2], [1, 2], [3, 3]]
    differences = paired_differences(made, "a").set_index("arm")
    assert differences["p_corrected"].to_dict() == {"b": 1, "c": 2 / 2**10}


def test_an_arm_does_not_move_because_another_was_added():
    scores = np.random.default_rng(1).random((4, 40))  # so many that the test draws its signs
    few, many = (
        tables(*(rows(name, list(values)) for name, values in zip(names, scores, strict=False)))
        for names in (("backprop", "b"), ("backprop", "b", "c", "d"))
    )
    for made in (summary, paired_differences):
        one, other = (
            made(table).set_index("arm").loc["b", ["mean", "low", "high"]] for table in (few, many)
        )
        assert one.tolist() == other.tolist()
    one, other = (
        paired_differences(table).set_index("arm").loc["b", "p_uncorrected"]
        for table in (few, many)
    )
    assert one == other


def test_ranks_are_refused_below_three_seeds_and_for_skipped_arms():
    made = tables(
        rows("a", [0.1] * 3), rows("b", [0.2] * 4), rows("c", [0.3] * 2), rows("d", ["skipped"] * 3)
    )
    table = summary(made).set_index("arm")
    assert table["rank"].fillna(-1).to_dict() == {"b": 1, "a": 2, "c": -1, "d": -1}
    assert table["rank_note"].to_dict() == {
        "a": "",
        "b": "",
        "c": "fewer than 3 seeds",
        "d": "skipped",
    }
    assert np.isnan(table.loc["d", "flops"])  # what was not run cost nothing, rather than 0
    apart = rows("b", [0.2] * 3)
    for row in apart:
        row["seed"] += 2
    assert (
        summary(tables(rows("a", [0.1] * 3), apart))["rank_note"].unique()
        == "fewer than 3 seeds shared by all arms"
    )


def test_an_arm_of_few_seeds_does_not_take_theirs_from_the_others():
    steps = list(np.linspace(-1, 1, 10) * 1e-3)
    ten = [
        rows(arm, [level + step for step in steps])
        for arm, level in (("a", 0.9), ("b", 0.5), ("c", 0.1))
    ]
    alone, beside = (
        summary(tables(*arms)).set_index("arm") for arms in (ten, [*ten, rows("few", [0.7] * 3)])
    )
    assert beside.loc["few", "rank_note"] == "not all of the 10 seeds of the others"
    columns = ["rank", "rank_first", "rank_last", "group"]
    one, other = (table.loc[list("abc"), columns].to_numpy().tolist() for table in (alone, beside))
    assert one == other
    assert alone["group"].to_dict() == {"a": "a", "b": "b", "c": "c"}
    lacking = [row for row in rows("d", [0.7 + step for step in steps]) if row["seed"] != 4]
    # nine seeds of four arms are more than ten of three
    table = summary(tables(*ten, lacking)).set_index("arm")
    assert table["rank_note"].eq("").all()


def test_an_error_goes_down():
    made = tables(
        rows("a", [0.1, 0.2, 0.3], headline_metric="top_error"),
        rows("b", [0.5, 0.6, 0.7], headline_metric="top_error"),
    )
    table = summary(made).set_index("arm")
    assert list(table.index) == ["a", "b"]
    assert table["rank"].tolist() == [1, 2]
    assert table["best"].tolist() == [0.1, 0.5]
    # the end is lower, hence better
    assert table["selected_gain"].tolist() == pytest.approx([-0.2, -0.2])
    assert reference_arm(made, "t") == "a"
    made = tables(
        *(
            rows(arm, [score] * 3, headline_metric="top_error")
            for arm, score in zip("abc", (0.2, 0.3, 0.1), strict=True)
        )
    )
    assert paired_differences(made, "a")["arm"].tolist() == ["c", "b"]  # the best first


def test_paired_differences_by_hand():
    made = tables(
        rows("backprop", [0.5] * 5),
        rows("a", [0.6, 0.7, 0.8, 0.9, 1.0]),
        rows("b", [0.5, 0.4, "failed", 0.6, 0.5]),
    )
    table = paired_differences(made).set_index("arm")
    assert table["reference"].unique() == "backprop"
    columns = ["n", "mean", "p_uncorrected", "p_corrected", "smallest_p"]
    expected = [5, 0.3, 2 / 32, 2 / 32, 2 / 32]
    assert table.loc["a", columns].tolist() == pytest.approx(expected)
    assert table.loc["b", ["n", "mean", "p_uncorrected"]].tolist() == pytest.approx([4, 0, 1])
    assert np.isnan(table.loc["b", "p_corrected"])  # not ranked


def test_differences_are_of_the_same_seeds():
    """An arm ahead by 0.01 at every seed is so for certain, however much the seeds differ."""
    seeds = np.array([0.7, 0.5, 0.9, 0.6, 0.8])
    table = paired_differences(tables(rows("backprop", seeds), rows("a", seeds + 0.01)))
    (found,) = table.to_dict("records")
    assert [found[name] for name in ("mean", "low", "high")] == pytest.approx([0.01] * 3)
    assert found["p_uncorrected"] == pytest.approx(2 / 32)


def test_the_reference_is_chosen_by_validation_if_backprop_did_not_run():
    better = rows("a", [0.1] * 3)
    for row in better:
        row["best_validation_score"] = 0.9
    made = tables(better, rows("b", [0.5] * 3), rows("backprop", ["skipped"] * 3))
    assert reference_arm(made, "t") == "a"
    assert reference_arm(made, "t", "b") == "b"
    alone = tables(rows("a", [0.9] * 3), rows("b [x=1]", [0.5] * 3, method="b"))
    assert reference_arm(alone, "t", "b") == "b [x=1]"
    both = tables(rows("b", [0.1] * 3), rows("b [x=1]", [0.5] * 3, method="b"))
    assert reference_arm(both, "t", "b") == "b"  # a whole label comes before a method's name
    assert reference_arm(tables(rows("a", ["failed"])), "t") is None
    assert paired_differences(tables(rows("a", ["failed"]))).empty
    with pytest.raises(TableError, match=r"^no arm has the name x; known: a, b, backprop$"):
        paired_differences(made, "x")


def test_cost_to_target_by_hand():
    made = tables(rows("a", [0.5] * 4), rows("b", [0.5, "failed", "skipped", "untrained"]))
    made.runs["target_easy"] = 0.4
    for level in ("medium", "hard"):
        made.runs[f"target_{level}"] = np.nan
    for cost in ("epochs", "examples", "flops", "seconds"):
        made.runs[f"{cost}_to_easy"] = [1.0, 3.0, 2.0, np.inf, 7.0, *[np.nan] * 3]
    made.runs["bracket_easy"] = [0.1, 0.3, 0.2, *[np.nan] * 5]
    table = cost_to_target(made).set_index("arm")
    assert table["level"].tolist() == ["easy", "easy"]
    assert table.loc["a", ["n", "reached", "epochs"]].tolist() == [4, 3, 2.5]  # of 1, 2, 3, inf
    # of 7, inf; not those that took no step
    assert table.loc["b", ["n", "reached", "epochs"]].tolist() == [2, 1, np.inf]
    assert table.loc["a", ["how", "bracket"]].tolist() == ["interpolated", 0.2]
    assert table.loc["b", "how"] == "checkpoint"  # no curve of it tells more


def test_failures_with_one_reason_are_told_together(small):
    table = failures(load(small)).to_numpy().tolist()
    assert table[0][:5] == ["image/digits", "reinforce", "diverged", "4", "a loss is not finite"]
    assert table[0][5] == pytest.approx(0.025, rel=0.01)  # of the budget
    assert table[1][2:5] == ["skipped", "0 to 4", "forward_forward needs a classification task"]


def test_seeds_are_written_as_a_run_writes_them():
    for seeds in ([3, 0, 1, 7, 2], [5], [0, 1], []):
        assert spans(pd.Series(seeds, dtype=int)) == of_a_run(seeds)
    assert spans(pd.Series([3, 0, 1, 7, 2])) == "0 to 3, 7"
