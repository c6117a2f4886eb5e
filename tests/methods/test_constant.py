"""Oracles: the share of the majority class, and an R2 of zero."""

from dataclasses import replace

import torch

from beyond.contracts import Batch, TargetKind
from methods.constant import Constant

FAULTS = [
    # the rarest class
    ("methods/constant.py", "= counts.to(", "= -counts.to("),
    # certain of itself
    ("methods/constant.py", "add(1).log()", "add(1)"),
    ("methods/constant.py", "batch.targets.mean(1)", "batch.targets.median(1).values"),
    ("methods/constant.py", "clamp(min=SMALLEST).log()", "clamp(min=SMALLEST).sqrt().log()"),
]


def test_answers_with_the_majority_class(make_problem, close):
    method = Constant()
    given = make_problem(method, batch_size=5)
    targets = torch.tensor([[3, 3, 1, 3, 2], [0, 1, 1, 2, 4]])
    batch = Batch(given.batch.inputs, targets)
    state = method.step(
        method.init(given.problem, given.params, given.rng), batch, given.problem, given.rng
    )
    outputs = method.predict(state, given.problem, given.batch)
    assert outputs.shape == (2, 5, 10)
    assert outputs.argmax(-1).tolist() == [[3] * 5, [1] * 5]
    assert given.task.score(outputs, targets)["accuracy_score"].tolist() == [0.6, 0.4]
    counts = torch.tensor([[0, 1, 1, 3, 0, 0, 0, 0, 0, 0], [1, 2, 1, 0, 1, 0, 0, 0, 0, 0]])
    # by the rule of succession
    close(outputs.softmax(-1), ((counts + 1) / 15).unsqueeze(1).expand(-1, 5, -1))
    assert method.done(state)


def test_scores_an_r2_of_zero_on_its_own_data(make_problem, close):
    method = Constant()
    given = make_problem(method, "regression/diabetes", batch_size=50)
    state = method.step(
        method.init(given.problem, given.params, given.rng), given.batch, given.problem, given.rng
    )
    outputs = method.predict(state, given.problem, given.batch)
    close(
        given.task.score(outputs, given.batch.targets)["r2_score"],
        torch.zeros(2, dtype=torch.float64),
        atol=1e-6,
    )


def test_of_distributions_it_answers_with_mean_and_variance(make_problem, close):
    method = Constant()
    given = make_problem(method, "regression/diabetes", batch_size=50)
    given.problem.spec = replace(
        given.problem.spec, n_outputs=2, target_kind=TargetKind.DISTRIBUTIONS
    )
    state = method.init(given.problem, given.params, given.rng)
    state = method.step(state, given.batch, given.problem, given.rng)
    outputs = method.predict(state, given.problem, given.batch)
    targets = given.batch.targets
    close(outputs[:, 0, 0], targets.mean((1, 2)))
    close(outputs[:, 0, 1].exp(), targets.var((1, 2), correction=0))


def test_sees_the_whole_training_set_at_once():
    assert Constant().batch_size is None
