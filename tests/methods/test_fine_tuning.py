"""Oracles: backpropagation where nothing is pre-trained, and by hand where something is."""

import pandas as pd
import pytest
import torch

from beyond import catalog
from beyond.errors import InputError, UnsupportedError
from beyond.kits.optimizers import SGD, Adam
from beyond.ledger import Budget
from beyond.problem import SourceProblem
from beyond.run.loop import train
from beyond.run.setup import Setup
from methods.backprop import Backprop
from methods.fine_tuning import FineTuning
from methods.last_layer import LastLayer

FAULTS = [
    # the optimizer state of the source is carried over
    (
        "methods/fine_tuning.py",
        "super().init(problem, start, rng)",
        'super().init(problem, start, rng) | ({"optimizer": state["optimizer"]} if self.n_layers is None else {})',
    ),
    # what stays frozen later is frozen on the source too
    ("methods/fine_tuning.py", "every = replace(self, n_layers=None)", "every = self"),
    ("methods/fine_tuning.py", "self.source_epochs, self.batch_size", "self.source_epochs, 32"),
    # the wrong part is kept
    (
        "methods/fine_tuning.py",
        "[learnt[:, :head], params[:, head:]]",
        "[params[:, :head], learnt[:, head:]]",
    ),
]


def curves(method, task):
    setup = Setup(method, task, task.spec.network.build(task.spec), [0, 1], Budget("epochs", 5))
    rows = [row for progress in train(setup) for row in progress.curves]
    return pd.DataFrame(rows).drop(columns="seconds")


@pytest.mark.parametrize("shots", [1, 5])
def test_without_source_epochs_it_equals_backpropagation_on_the_same_shots(shots):
    task = catalog.load("task", "image/digits", shots=shots)
    optimizer = Adam(learning_rate=0.01)
    fine_tuned = curves(FineTuning(optimizer, batch_size=8, source_epochs=0), task)
    pd.testing.assert_frame_equal(
        fine_tuned, curves(Backprop(optimizer, batch_size=8), task), check_exact=True
    )


def test_without_source_epochs_the_head_only_equals_the_last_layer():
    task = catalog.load("task", "image/digits", shots=5)
    optimizer = Adam(learning_rate=0.01)
    fine_tuned = curves(FineTuning(optimizer, batch_size=8, source_epochs=0, n_layers=1), task)
    pd.testing.assert_frame_equal(
        fine_tuned, curves(LastLayer(optimizer, batch_size=8), task), check_exact=True
    )


def given_source(make_problem, method):
    given = make_problem(method)
    given.problem.source = SourceProblem(
        given.task.source, given.network, given.seeds, method.signal
    )
    return given


@pytest.mark.parametrize("n_layers", [None, 1])
@pytest.mark.parametrize("keep_head", [True, False])
def test_it_starts_from_backpropagation_on_the_source(keep_head, n_layers, make_problem, close):
    method = FineTuning(
        SGD(learning_rate=0.1),
        batch_size=16,
        source_epochs=1,
        n_layers=n_layers,
        keep_head=keep_head,
    )
    given = given_source(make_problem, method)
    start = method.params(method.init(given.problem, given.params, given.rng))

    source = SourceProblem(given.task.source, given.network, given.seeds, method.signal)
    by_hand = Backprop(SGD(learning_rate=0.1))
    state = by_hand.init(source, given.params, given.rng)
    for batch in source.batches(1, 16):
        state = by_hand.step(state, batch, source, given.rng)
    expected, head = by_hand.params(state), given.network.suffix(1)
    assert not torch.equal(expected, given.params)
    close(start[:, :head], expected[:, :head], rtol=0, atol=0)
    close(start[:, head:], (expected if keep_head else given.params)[:, head:], rtol=0, atol=0)


def test_adapting_the_optimizer_remembers_nothing_of_the_source(make_problem, close):
    method, by_hand = (
        FineTuning(Adam(learning_rate=0.01), source_epochs=1),
        Backprop(Adam(learning_rate=0.01)),
    )
    given = given_source(make_problem, method)
    state = method.init(given.problem, given.params, given.rng)
    afresh = by_hand.init(given.problem, method.params(state), given.rng)
    for _ in range(3):
        state = method.step(state, given.sealed, given.problem, given.rng)
        afresh = by_hand.step(afresh, given.sealed, given.problem, given.rng)
    close(method.params(state), by_hand.params(afresh), rtol=0, atol=0)


def test_frozen_layers_stay(make_problem, close):
    method = FineTuning(SGD(learning_rate=0.1), source_epochs=1, n_layers=1)
    given = given_source(make_problem, method)
    before = method.init(given.problem, given.params, given.rng)
    after = method.step(before, given.sealed, given.problem, given.rng)
    head = given.network.suffix(1)
    close(method.params(after)[:, :head], method.params(before)[:, :head], rtol=0, atol=0)
    assert not torch.equal(method.params(after)[:, head:], method.params(before)[:, head:])


def test_pre_training_is_charged_to_its_own_column():
    task = catalog.load("task", "image/digits", shots=5)
    network = task.spec.network.build(task.spec)
    method = FineTuning(Adam(learning_rate=0.01), source_epochs=2)
    *_, last = train(Setup(method, task, network, [0], Budget("epochs", 5)))
    row = last.runs[0]
    n_source = 2 * task.source.at([0]).size("train") // 32 * 32
    assert row["pretraining_forward"] == row["pretraining_backward"] == n_source
    assert row["pretraining_flops"] == n_source * (network.forward_flops + network.backward_flops())
    assert row["epochs"] <= 5


def test_transfer_helps_with_few_shots():
    task = catalog.load("task", "image/digits", shots=3)
    scores = {}
    for epochs in (0, 20):
        method = FineTuning(Adam(learning_rate=0.003), source_epochs=epochs, keep_head=True)
        *_, last = train(
            Setup(method, task, task.spec.network.build(task.spec), [0, 1, 2], Budget("epochs", 30))
        )
        scores[epochs] = sum(row["best_test_score"] for row in last.runs) / 3
    assert scores[20] > scores[0]


def test_a_task_without_a_source_is_unsupported(make_problem):
    method = FineTuning(Adam(learning_rate=0.01))
    given = make_problem(method, "regression/diabetes")
    with pytest.raises(
        UnsupportedError, match=r"^regression/diabetes has no source task to learn from first$"
    ):
        method.init(given.problem, given.params, given.rng)


def test_more_layers_than_there_are_is_refused(make_problem):
    method = FineTuning(Adam(learning_rate=0.01), n_layers=3)
    given = given_source(make_problem, method)
    with pytest.raises(InputError, match=r"^n_layers must be at most 2 for this network, got 3$"):
        method.init(given.problem, given.params, given.rng)
