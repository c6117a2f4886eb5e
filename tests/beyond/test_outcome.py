"""What becomes of a replica: the selected checkpoint, the cost of a target, a loss that is none."""

import math

import pytest
import torch

from beyond.ledger import COST_NAMES
from beyond.metrics import accuracy
from beyond.run.outcome import DIVERGENCE, Outcome

FAULTS = [
    # the last of equals; the training score; a target that must be exceeded
    (
        "beyond/run/outcome.py",
        'reached > self.best["validation"]',
        'reached >= self.best["validation"]',
    ),
    (
        "beyond/run/outcome.py",
        'reached = scores["validation"][score]',
        'reached = scores["train"][score]',
    ),
    ("beyond/run/outcome.py", "costs if reached >= level", "costs if reached > level"),
    ("beyond/run/outcome.py", "hit or (costs if", "(costs if"),
    # a loss that was nothing at the start; what is not finite may be a score
    ("beyond/run/outcome.py", "DIVERGENCE * max(1.0, start)", "DIVERGENCE * start"),
    (
        "beyond/run/outcome.py",
        "if not isfinite(value):",
        'if not isfinite(value) and metric.endswith("_loss"):',
    ),
    (
        "beyond/run/outcome.py",
        "        if self.going:\n            self.status,",
        "        if True:\n            self.status,",
    ),
    # a loss is held against that of the checkpoint before
    (
        "beyond/run/outcome.py",
        "self.start = self.start or dict(scores)",
        "self.start = dict(scores)",
    ),
]

TARGETS = (0.5, 0.9, 0.99)


def costs(steps):
    return {name: float(steps) for name in COST_NAMES} | {"steps": steps}


def scores(validation, train=0.5, loss=1.0):
    return {
        split: {"accuracy_score": value, "cross_entropy_loss": loss}
        for split, value in (("train", train), ("validation", validation))
    }


def outcome(*updates):
    made = Outcome(TARGETS)
    for step, update in enumerate(updates):
        made.update(step, costs(step), update, "accuracy_score")
    return made


@pytest.mark.parametrize(
    ("validation", "best"),
    [
        ([0.1, 0.2, 0.3], 2),
        ([0.3, 0.2, 0.1], 0),
        ([0.1, 0.3, 0.2, 0.3], 1),
        ([0.9, 243 / 270], 0),
        ([-5.0, -6.0], 0),
    ],
)
def test_the_first_of_the_highest_validation_scores_is_selected(validation, best):
    made = outcome(*map(scores, validation))
    assert made.best_checkpoint == best
    assert made.best["validation"]["accuracy_score"] == max(validation)
    assert made.best_costs == costs(best)
    assert made.last_checkpoint == len(validation) - 1
    assert made.final["validation"]["accuracy_score"] == validation[-1]


def test_neither_training_score_nor_loss_selects():
    made = outcome(scores(0.4, train=0.1, loss=9.0), scores(0.3, train=0.9, loss=0.1))
    assert made.best_checkpoint == 0
    assert made.row("accuracy_score")["best_train_score"] == 0.1
    assert made.row("accuracy_score")["best_validation_loss"] == 9.0
    assert made.row("accuracy_score")["final_train_score"] == 0.9


def test_a_target_is_reached_at_the_first_score_that_equals_it():
    made = outcome(scores(242 / 270), scores(243 / 270), scores(0.1), scores(0.95))
    row = made.row("accuracy_score")
    assert [row[f"steps_to_{level}"] for level in ("easy", "medium", "hard")] == [0, 1, math.inf]
    assert [row[f"target_{level}"] for level in ("easy", "medium", "hard")] == list(TARGETS)


def test_243_of_270_reach_090():
    outputs, targets = (
        torch.tensor([1.0, 0.0]).expand(1, 270, 2),
        torch.tensor([[0] * 243 + [1] * 27]),
    )
    reached = accuracy(outputs, targets).item()
    assert outcome(scores(reached), scores(0.95)).row("accuracy_score")["steps_to_medium"] == 0


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("split", ["train", "validation"])
@pytest.mark.parametrize("metric", ["accuracy_score", "cross_entropy_loss"])
def test_what_is_not_finite_has_diverged_and_the_best_before_is_kept(bad, split, metric):
    spoiled = scores(0.9)
    spoiled[split][metric] = bad
    made = outcome(scores(0.2), scores(0.3), spoiled, scores(0.8))
    assert (made.status, made.reason) == ("diverged", "a loss is not finite after 2 steps")
    assert (made.best_checkpoint, made.last_checkpoint) == (1, 1)
    assert made.row("accuracy_score")["best_validation_score"] == 0.3
    assert math.isnan(made.row("accuracy_score")["final_validation_score"])
    assert made.row("accuracy_score")["steps_to_medium"] == math.inf


@pytest.mark.parametrize(
    ("start", "loss", "lost"),
    [
        (2.0, 2.7e33, True),
        (2.0, 2.1e6, True),
        (2.0, 1.9e6, False),
        (0.0, 2.0, False),
        (1e-9, 9e5, False),
    ],
)
def test_a_loss_a_million_times_that_at_the_start_has_diverged(start, loss, lost):
    assert DIVERGENCE == 1e6
    made = outcome(scores(0.2, loss=start), scores(0.9, loss=loss))
    assert made.alive is not lost
    assert made.best_checkpoint == (0 if lost else 1)
    assert made.reason == (
        f"a loss of {loss:.3g} after 1 steps, from 2 at the start" if lost else ""
    )


def test_a_loss_that_grows_little_by_little_is_held_against_the_start():
    made = outcome(*(scores(0.2, loss=loss) for loss in (2.0, 1e4, 1.9e6, 2.1e6)))
    assert made.reason == "a loss of 2.1e+06 after 3 steps, from 2 at the start"


def test_a_task_whose_losses_are_large_from_the_start_has_not_diverged():
    assert outcome(scores(0.2, loss=1e9), scores(0.3, loss=1e9), scores(0.3, loss=1e12)).alive


def test_who_has_ended_stays_as_it_ended():
    made = Outcome(TARGETS)
    made.end("diverged", "first")
    made.end("failed", "second")
    assert (made.status, made.reason) == ("diverged", "first")
