import re
from dataclasses import replace

import pandas as pd
import pytest

from analysis.summaries.ranking import rankings
from analysis.summaries.results import reference_arm, summary
from analysis.tables import load
from analysis.words import sentences

TASK = "image/digits"

FAULTS = [
    ("analysis/words/sentences.py", 'summary["n_seeds"] > 0]', 'summary["n_seeds"] > 1]'),
    ("analysis/words/sentences.py", "to = order.arms[known.order[0]]", "to = order.arms[0]"),
    ("analysis/words/sentences.py", "len(known.rivals) > 1", "len(known.rivals) > 2"),
    ("analysis/words/sentences.py", "others = len(order.arms) - 1", "others = len(rows) - 1"),
    (
        "analysis/words/sentences.py",
        'order.ties.n if order.arms else int(best["n_seeds"])',
        'int(best["n_seeds"])',
    ),
    (
        "analysis/words/sentences.py",
        'finished = runs[runs["status"] == "finished"]',
        "finished = runs",
    ),
    ("analysis/words/sentences.py", "if len(ran) < MIN_SEEDS)", "if len(ran) <= MIN_SEEDS)"),
    (
        "analysis/words/sentences.py",
        'return runs["status"] != "skipped"',
        'return runs["status"] == "finished"',
    ),
    (
        "analysis/words/sentences.py",
        "if not np.isfinite(order.ties.critical)",
        "if not np.isfinite(order.ties.smallest_gap)",
    ),
    ("analysis/words/sentences.py", '["pretraining_epochs"]) > 0', '["pretraining_epochs"]) > 1'),
    (
        "analysis/words/sentences.py",
        'tables.runs.loc[_began(tables.runs), "split"]',
        'tables.runs["split"]',
    ),
    ("analysis/summaries/ranking.py", "max(reversed(enough)", "max(enough"),
    (
        "analysis/summaries/ranking.py",
        "table.shape[1] >= MIN_SEEDS and",
        "table.shape[1] > MIN_SEEDS and",
    ),
]


def said(tables):
    orders = rankings(tables)
    table = summary(tables, orders)
    return sentences.headline(
        tables, table[table["task"] == TASK], orders[TASK], reference_arm(tables, TASK)
    )


def change(study, run_id, **columns):
    path = study.folder / run_id / "runs.parquet"
    pd.read_parquet(path).assign(**columns).to_parquet(path)


def test_a_winner_is_named_where_there_is_one(study):
    for method in ("backprop", "genetic", "constant"):
        study.cell(method, seeds=range(10))
    text = said(load(study.folder))
    assert text.startswith(
        "Over 10 repetitions, each with its own split (270 test examples), backprop comes first: "
        "test accuracy_score 0."
    )
    assert "told apart from each of the two other ranked arms." in text
    assert "Against backprop" not in text  # which has been said
    assert re.search(
        r"A true gap of 0\.0\d\d to backprop would have been detected in 80 % of such studies\.$",
        text,
    )


def test_the_winner_is_the_arm_that_is_told_apart_not_the_one_that_further_seeds_lift(study):
    study.cell("backprop", seeds=range(10))
    run = study.cell("direct_feedback_alignment", seeds=range(30))
    score = pd.read_parquet(study.folder / run / "runs.parquet")["best_test_score"]
    change(study, run, best_test_score=score.where(score.index < 10, 1.0))
    tables = load(study.folder)
    assert summary(tables, rankings(tables))["arm"].iloc[0] == "direct_feedback_alignment"
    text = said(tables)
    assert text.startswith("Over 10 repetitions")
    assert ", backprop comes first: test accuracy_score 0.9" in text


def test_none_is_named_where_there_is_none(study):
    runs = [study.cell(method, seeds=range(10)) for method in ("backprop", "genetic", "constant")]
    score = pd.read_parquet(study.folder / runs[0] / "runs.parquet")["best_test_score"]
    change(study, runs[1], best_test_score=score.iloc[::-1].to_numpy())
    text = said(load(study.folder))
    assert (
        "backprop and genetic are not told apart; the highest mean test accuracy_score is that of "
        "backprop" in text
    )
    assert "comes first" not in text
    assert "Against backprop: 0 better, 1 worse, 1 not told apart." in text


def test_five_repetitions_name_no_winner(study):
    for method in ("backprop", "constant"):  # 0.95 against 0.1
        study.cell(method)
    text = said(load(study.folder))
    assert "the highest mean" in text
    assert "; so few repetitions tell no two arms apart." in text
    assert "comes first" not in text


@pytest.mark.parametrize(
    ("split", "words", "meaning"),
    [
        ("own", ", each with its own split (", "They say nothing about other data."),
        (
            "source test",
            ", all on the test split that the source fixes (",
            "differ in which of the other examples",
        ),
        (
            "source pools",
            ", each with its own episodes of the test part that the source fixes (",
            "do not cover episodes of anything else",
        ),
        (
            "source",
            " on the one split that the source fixes (",
            "do not cover another choice of test examples",
        ),
        ("3", " on one split, number 3 (", "(split_seed 3) the intervals hold for that split"),
        ("", " repetitions (", "do not say how the data were split"),
    ],
)
def test_what_repetitions_share_is_said(study, split, words, meaning):
    for method in ("backprop", "constant"):
        change(study, study.cell(method, seeds=range(10)), split=split)
    tables = load(study.folder)
    assert words in said(tables)
    assert meaning in sentences.covered(tables)


def test_pre_training_is_said(study):
    run = study.cell("backprop", seeds=range(10))
    change(study, run, pretraining_epochs=123.8)
    study.cell("constant", seeds=range(10))
    assert "backprop (after 123.8 epochs of pre-training, not in the budget) comes first" in said(
        load(study.folder)
    )


def test_pre_training_of_less_than_an_epoch_is_said(study):
    change(study, study.cell("backprop", seeds=range(10)), pretraining_epochs=0.5)
    study.cell("constant", seeds=range(10))
    assert "backprop (after 0.5000 epochs of pre-training, not in the budget) comes first" in said(
        load(study.folder)
    )


def test_one_seed_has_a_score_and_no_rank(study):
    study.cell("backprop", seeds=[0])
    assert said(load(study.folder)).startswith(
        "Over 1 repetition, each with its own split (270 test examples), the highest"
    )


def test_only_ranked_arms_are_counted_beside_the_first(study):
    for method in ("backprop", "genetic", "constant"):
        study.cell(method, seeds=range(10))
    study.cell("reinforce", seeds=range(10), status="diverged")
    text = said(load(study.folder))
    assert "told apart from each of the two other ranked arms." in text
    assert "Not ranked: reinforce (1 of 10 diverged)." in text


def test_arms_that_never_differ_are_not_told_apart(study):
    runs = [study.cell(method, seeds=range(10)) for method in ("backprop", "genetic")]
    change(
        study,
        runs[1],
        best_test_score=pd.read_parquet(study.folder / runs[0] / "runs.parquet")["best_test_score"],
    )
    text = said(load(study.folder))
    assert "backprop and genetic are not told apart; the highest mean" in text
    assert "A true gap" not in text


@pytest.mark.parametrize("tied", [1, 2])
def test_the_gap_is_to_the_leader(study, tied):
    scores = pd.read_parquet(
        study.folder / study.cell("backprop", seeds=range(10)) / "runs.parquet"
    )["best_test_score"]
    study.cell("constant", seeds=range(10))
    best = ["genetic", "reinforce", "last_layer"][: 1 + tied]
    for shift, method in enumerate(best):
        moved = scores.iloc[[*range(shift, 10), *range(shift)]].to_numpy() + 0.5
        change(
            study,
            study.cell(method, seeds=range(10)),
            best_test_score=moved + 0.001 * (method == "genetic"),
        )
    text = said(load(study.folder))
    assert " to genetic would have been detected in 80 % of such studies" in text
    assert ("(the median over those not told apart from it)" in text) is (tied > 1)


def test_an_arm_joins_where_that_leaves_no_fewer_scores(study):
    for method, seeds in (("backprop", range(6)), ("genetic", range(6)), ("constant", range(4))):
        study.cell(method, seeds=seeds)
    # three arms of four seeds are as many scores as two of six
    order = rankings(load(study.folder))[TASK]
    assert order.arms == ["backprop", "constant", "genetic"]
    assert order.ties.n == 4


def test_three_shared_seeds_make_a_ranking(study):
    for method in ("backprop", "constant"):
        study.cell(method, seeds=range(3))
    tables = load(study.folder)
    assert rankings(tables)[TASK].arms == ["backprop", "constant"]
    assert sentences.warnings(tables) == []


def test_what_was_cut_short_or_skipped_weakens_nothing(study):
    study.cell("backprop", seeds=range(10))
    lost = study.cell("reinforce", seeds=range(10), status="diverged")
    spent = pd.read_parquet(study.folder / lost / "runs.parquet")["epochs"] / 300
    assert spent.iloc[-1] < 0.9  # of the replica that diverged
    change(study, study.cell("genetic", seeds=range(4), status="skipped"), split="")
    tables = load(study.folder)
    assert sentences.warnings(tables) == []
    assert "do not say how the data were split" not in sentences.covered(tables)


def test_arms_that_are_not_ranked_are_said(study):
    study.cell("backprop", seeds=range(10))
    study.cell("reinforce", seeds=range(10), status="diverged")
    change(
        study,
        study.cell("genetic", seeds=range(10)),
        status="untrained",
        reason="one step costs more",
    )
    text = said(load(study.folder))
    assert "that of backprop" in text
    assert "; nothing else is ranked." in text
    assert "Not ranked: genetic (untrained), reinforce (1 of 10 diverged)." in text


def test_what_stopped_early_is_named_and_not_taken_for_a_step_too_many(study):
    study.cell("backprop", seeds=range(4))
    study.cell("genetic", seeds=range(4))
    tables = load(study.folder)
    tables.runs.loc[tables.runs["arm"] == "genetic", "spent"] = [0.7, 0.5, 1.0, 1.0]
    tables.runs.loc[tables.runs["spent"] < 0.9, "reason"] = "UP_2 stopped it after 7 steps"
    found = sentences.warnings(tables)
    assert found == [
        "image/digits: stopped early, by `early_stopping`, replicas of genetic 2 of 4."
    ]


def test_what_was_damaged_is_told_apart_from_what_has_not_finished(study):
    study.cell("backprop")
    found = load(study.folder)
    told = sentences.warnings(replace(found, unfinished=("b",), damaged=("c", "d")))
    assert told[-2:] == [
        "1 cell was begun but not finished, and is not in this report: b.",
        "2 cells cannot be read, and are not in this report: c, d. The manifest, or a table, is "
        "not what the run wrote; the same command trains them again.",
    ]


def test_warnings_name_what_weakens_the_comparison(study):
    study.cell("backprop", seeds=range(5))
    study.cell("genetic", seeds=range(2))
    tables = load(study.folder)
    assert sentences.warnings(tables) == [
        "image/digits: not all arms ran the same seeds; ranks and differences use the shared ones "
        "only.",
        "image/digits: fewer than 3 seeds, not ranked: genetic.",
    ]
    tables.runs.loc[tables.runs["arm"] == "genetic", "spent"] = 0.7
    one, other = tables.manifests
    tables.manifests[one] |= {"commit": "f00", "dirty": True, "processor": "another", "threads": 2}
    for cell, data, code in ((one, "aaaaaaaaaaaa", "c1"), (other, "bbbbbbbbbbbb", "c2")):
        sources = {"loop.py": code, "same.py": "s", f"{data}.py": code}
        tables.manifests[cell] |= {"sources": sources}
    found = " ".join(sentences.warnings(tables))
    for part in (
        "2 commits",
        "not committed",
        "2 kinds of machine (1 run on a processor; 1 run on another)",
        "2 numbers of threads (1 run on 1 threads; 1 run on 2 threads): seconds are not comparable",
        "the code that decides the result differs between runs. ",
        "loop.py: one version for backprop, another for genetic.",
        "genetic 30 %",
    ):
        assert part in found, part


def test_arms_of_older_code_are_named_and_never_compared_without_a_word(study):
    runs = {
        method: study.cell(method, seeds=range(10))
        for method in ("backprop", "constant", "genetic")
    }
    assert not any("stale" in line for line in sentences.warnings(load(study.folder)))
    old = {runs["constant"]: ["loop.py", "its data"], runs["genetic"]: ["loop.py", "its data"]}
    tables = replace(load(study.folder), stale=old)
    assert sentences.warnings(tables) == [
        "image/digits: stale, made by code or data that have changed since: constant, genetic "
        "(loop.py, its data). rerun=stale trains them again."
    ]
    assert "Some arms were made by older code or data than others (see Caveats)." in said(tables)
    tables = replace(tables, stale=old | {runs["backprop"]: ["loop.py"]})
    assert (
        "stale, made by code or data that have changed since: backprop (loop.py); constant, "
        "genetic (loop.py, its data)" in (sentences.warnings(tables)[0])
    )
    assert "older code" not in said(tables)  # all of them are


def test_names_are_joined_as_in_a_sentence():
    assert sentences.listed(["a"]) == "a"
    assert sentences.listed(["a", "b"]) == "a and b"
    assert sentences.listed(["a", "b", "c", "d"]) == "a, b, c and d"
    assert sentences.listed(["a", "b", "c", "d", "e"]) == "a, b and three others"
    assert sentences.listed([]) == ""


def test_networks_stand_with_their_weights_and_counts_are_whole(study):
    linear = study.cell("backprop", network="linear", default_network=False)
    study.cell("backprop")
    change(study, linear, n_weights=11.0)
    row = sentences.compared(load(study.folder)).iloc[0]
    assert row["networks"] == "mlp (2,036 weights); linear (11 weights)"
    assert row["budget per replica"] == "300 epochs"


def test_what_cannot_be_compared_is_said(study):
    runs = [study.cell(method, seeds=range(10)) for method in ("genetic", "backprop")]
    assert sentences.warnings(load(study.folder)) == []
    change(study, runs[0], n_train=50.0)  # by a table that says nothing of the setting
    assert sentences.warnings(load(study.folder)) == [
        f"{TASK}: arms were trained on different numbers of examples: 50-1,000."
    ]
    change(study, runs[0], n_train=1000.0, budget=20.0)
    tables = load(study.folder)
    assert sentences.warnings(tables) == [
        f"{TASK}: runs that differ in the task's settings, budget, split or data are ranked and "
        f"tested apart: {TASK}, 20 epochs; {TASK}, 300 epochs."
    ]
    assert sentences.compared(tables)["budget per replica"].tolist() == ["20 epochs", "300 epochs"]
