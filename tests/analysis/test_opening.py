"""What the first sentences say in each case: one arm, ties, chance, failures, several tasks."""

import re

import numpy as np
import pandas as pd
import pytest

from analysis.study import Study
from analysis.words.opening import operations, spoken

FAULTS = [
    (
        "analysis/words/opening.py",
        "if not better[known.order[0], place]]",
        "if better[known.order[0], place]]",
    ),
    ("analysis/words/opening.py", 'row["low"] > chance if up', 'row["mean"] > chance if up'),
    ("analysis/words/opening.py", "if arm not in constant]", "]"),
    ("analysis/words/opening.py", 'rivals["flops"].min() < leader["flops"]', "True"),
    ("analysis/words/opening.py", 'leader["before"] > 0', 'leader["before"] > 1e12'),
    ("analysis/words/opening.py", "count == tried[arm] > 1", "count == tried[arm]"),
    ("analysis/words/opening.py", "len(self.at_chance) == len(self.learners)", "True"),
]
TASK = "image/digits"


def scores(study, run_id, mean, spread=0.004, **columns):
    """Give a cell other test scores, around a mean."""
    path = study.folder / run_id.replace("/", "-") / "runs.parquet"
    runs = pd.read_parquet(path)
    places = np.random.default_rng(len(run_id)).permutation(np.linspace(-1, 1, len(runs)))
    runs.assign(best_test_score=mean + spread * places, **columns).to_parquet(path)


def said(study):
    return Study(study.folder).opening()


def test_one_arm(study):
    study.cell("backprop")
    text = said(study)
    assert re.match(r"On image/digits backprop reaches a test accuracy of 0\.\d+ \[", text)
    assert "; no other arm has a score. It took backprop " in text
    assert text.endswith(
        "Five repetitions of each arm, each with its own split (270 test examples)."
    )


def test_a_leader_is_ahead_of_those_that_it_is_told_apart_from(study):
    for place, method in enumerate(("backprop", "genetic", "reinforce")):
        scores(study, study.cell(method, seeds=range(8)), 0.9 - 0.2 * place)
    text = said(study)
    assert (
        "backprop leads with a test accuracy of 0.900 [0.898, 0.902], ahead of both others." in text
    )
    assert re.search(
        r"Eight repetitions of each arm.*would have shown in four such studies of five\.", text
    )
    assert "chance" not in text  # the tables do not know it


def test_ties_are_named_and_the_cheapest_of_them_with_its_cost(study):
    scores(study, study.cell("backprop", seeds=range(8)), 0.9, flops_to_best=2e9)
    scores(study, study.cell("genetic", seeds=range(8)), 0.8999, flops_to_best=5e6)
    scores(study, study.cell("reinforce", seeds=range(8)), 0.5, flops_to_best=1e3)
    text = said(study)
    assert "backprop has the highest mean test accuracy, 0.900" in text
    assert "; genetic is not told apart from it." in text
    assert "It took backprop 2.0 billion FLOPs to get there, and genetic 5.0 million FLOPs." in text
    scores(study, "genetic-image-digits-mlp--0", 0.8999, flops_to_best=5e9)
    assert "2.0 billion FLOPs to get there. Eight" in said(study)


def test_nobody_is_told_apart(study):
    for method in ("backprop", "genetic", "reinforce"):
        scores(study, study.cell(method, seeds=range(8)), 0.9, spread=0.02 + 0.001 * len(method))
    assert "but none of the two others is told apart from it." in said(study)


def test_few_repetitions_tell_nothing(study):
    for method in ("backprop", "genetic"):
        study.cell(method)
    text = said(study)
    assert "but so few repetitions cannot tell arms apart." in text
    assert "leads" not in text


def test_where_the_others_did_not_finish_more_repetitions_would_not_help(study):
    study.cell("backprop")
    study.cell("genetic", status="diverged")
    text = said(study)
    assert ", and no other arm is ranked." in text
    assert "few repetitions" not in text
    for method in ("backprop", "genetic"):
        study.cell(
            method, task="text/languages", status="diverged" if method == "genetic" else "finished"
        )
    text = said(study)
    assert (
        "On none of the two tasks are arms told apart: fewer than two are ranked on each." in text
    )


def test_pre_training_is_counted_in(study):
    scores(study, study.cell("last_layer", seeds=range(8)), 0.9, flops_to_best=2e8)
    scores(study, study.cell("genetic", seeds=range(8)), 0.5)
    assert (
        "It took last_layer 300 million FLOPs to get there, pre-training included (100 million FLOPs)."
        in said(study)
    )


def test_all_at_chance_have_no_leader(study):
    for method in ("backprop", "genetic", "constant"):
        scores(study, study.cell(method, seeds=range(8)), 0.1, spread=0.03)
    text = said(study)
    assert text.startswith("On image/digits no arm is shown to do better than chance (0.100)")
    assert "leads" not in text
    assert "FLOPs" not in text


def test_those_at_chance_are_named(study):
    levels = {"backprop": 0.9, "genetic": 0.1, "reinforce": 0.6, "constant": 0.1}
    for method, level in levels.items():
        scores(study, study.cell(method, seeds=range(8)), level)
    assert "genetic is not shown to do better than chance (0.100)." in said(study)
    scores(study, "genetic-image-digits-mlp--0", 0.3)
    assert "Every arm is shown to do better than chance (0.100)." in said(study)
    scores(study, "reinforce-image-digits-mlp--0", 0.1)
    scores(study, "genetic-image-digits-mlp--0", 0.1)
    assert "Only backprop is shown to do better than chance (0.100)." in said(study)


def test_chance_is_held_against_intervals_where_no_arm_answers_by_it(study):
    scores(study, study.cell("backprop", "regression/friedman", seeds=range(8)), 0.5)
    scores(study, study.cell("genetic", "regression/friedman", seeds=range(8)), 0.01, spread=0.1)
    text = said(study)
    assert "genetic is not shown to do better than chance (0.000)." in text
    assert "test R² of 0.500" in text


def test_failures_are_named_and_the_skipped_counted(study):
    for method in ("backprop", "genetic"):
        scores(study, study.cell(method, seeds=range(8)), 0.5 + 0.01 * len(method))
    study.cell("reinforce", seeds=range(8), status="diverged")
    study.cell("forward_forward", seeds=range(8), status="skipped")
    text = said(study)
    assert text.endswith("Not ranked: reinforce (1 of 8 diverged). One arm cannot serve the task.")


def test_nothing_has_a_score(study):
    study.cell("forward_forward", status="skipped")
    assert said(study) == "No arm has a test score."


def test_several_tasks_are_told_together(study):
    tasks = ("image/digits", "text/languages", "regression/friedman")
    for task in tasks:
        for method, level in (("backprop", 0.9), ("reinforce", 0.6), ("constant", 0.1)):
            scores(study, study.cell(method, task, seeds=range(8)), level)
        scores(study, study.cell("genetic", task, seeds=range(8)), 0.1)
    scores(study, study.cell("evolution_strategies", seeds=range(8)), 0.1)  # on one task alone
    text = said(study)
    assert text.startswith(
        "Of 5 arms, backprop leads, or is not told apart from the leader, on all three tasks. The "
        "best mean test scores: backprop on image/digits (accuracy 0.900 [0.898, 0.902], "
    )
    assert " genetic is not shown to do better than chance on any." in text
    assert text.endswith("Eight repetitions of each arm, tested on 270 examples.")
    for method in ("backprop", "reinforce", "genetic"):
        scores(study, f"{method}-text-languages-mlp--0".replace("/", "-"), 0.1, spread=0.02)
    text = said(study)
    assert "on two of three tasks" in text
    assert "No arm is shown to do better than chance on text/languages." in text
    assert "backprop on text/languages" not in text


@pytest.mark.parametrize(
    ("value", "text"),
    [(950, "950 FLOPs"), (2.34e6, "2.3 million FLOPs"), (9.87e10, "99 billion FLOPs")],
)
def test_operations_in_words(value, text):
    assert operations(value) == text


def test_scores_in_words():
    names = ("accuracy_score", "r2_score", "squared_error", "bits_loss")
    assert [spoken(name) for name in names] == ["accuracy", "R²", "squared error", "bits loss"]
