"""What a rule that descends leaves to its base: the step, what is trained, what else is learnt."""

from typing import ClassVar

import pytest
import torch

from beyond.architectures.mlp import MLP
from beyond.contracts import Batch, Signal, TargetKind
from beyond.kits.descent import Descent
from beyond.kits.optimizers import SGD, Adam, Muon
from beyond.ledger import Ledger
from beyond.network.parts import trial
from beyond.problem import Problem
from beyond.settings import settings
from beyond.streams import Stream

FAULTS = [
    ("beyond/kits/descent.py", "learnt, params[:, last:]], 1)", "learnt], 1)"),
    ("beyond/kits/descent.py", "[params[:, :first], learnt", "[before[:, :first], learnt"),
    # the rule's memory is never replaced; the optimizer's neither; extras stay as they were
    ("beyond/kits/descent.py", "{**state, **changed}", "{**changed, **state}"),
    ("beyond/kits/descent.py", 'state = {**state, "optimizer": optimizer}', "state = {**state}"),
    (
        "beyond/kits/descent.py",
        "learnt.tensor_split([last - first], 1)",
        '(learnt[:, : last - first], state["extras"])',
    ),
    (
        "beyond/kits/descent.py",
        "if not first <= block.start < last]",
        "if not first < block.start < last]",
    ),
    ("beyond/kits/descent.py", "(start - first, n_rows, n_columns)", "(start, n_rows, n_columns)"),
    ("beyond/kits/descent.py", "problem.charge(optimizer.work(memory))", "pass"),
]
SEEDS = [0, 1]


@settings
class Along(Descent):
    """Descend ones on the middle layer and twos on what is learnt besides, and count the steps."""

    signal: ClassVar[Signal] = Signal.TARGETS

    def remembered(self, problem, params, rng):
        return {"extras": torch.zeros(len(params), 3), "count": 0}

    def trained(self, problem):
        return problem.blocks[1].start, problem.blocks[1].stop

    def direction(self, state, batch, problem, rng):
        first, last = self.trained(problem)
        ones, twos = torch.ones(len(SEEDS), last - first), torch.full((len(SEEDS), 3), 2.0)
        return torch.cat([ones, twos], 1), {"count": state["count"] + 1}


@settings
class Everywhere(Along):
    """The same on all weights, with nothing besides."""

    def remembered(self, problem, params, rng):
        return {}

    def trained(self, problem):
        return Descent.trained(self, problem)

    def direction(self, state, batch, problem, rng):
        return torch.ones_like(state["params"])


def start(method):
    spec = trial(MLP((5, 4)), (6,), target_kind=TargetKind.VALUES)
    network = spec.network.build(spec)
    problem, rng = Problem(network, spec), Stream("step", SEEDS)
    params = network.init(Stream("init", SEEDS))
    batch = Batch(torch.zeros(2, 3, 6), torch.zeros(2, 3, 4))
    return problem, batch, params, rng, method.init(problem, params, rng)


@pytest.mark.parametrize(
    "method", [Along(SGD(learning_rate=0.5)), Everywhere(SGD(learning_rate=0.5))]
)
def test_a_step_follows_the_direction_where_the_rule_trains(method):
    problem, batch, params, rng, state = start(method)
    after = method.step(state, batch, problem, rng)
    first, last = method.trained(problem)
    expected = params.clone()
    expected[:, first:last] -= 0.5
    assert torch.equal(method.params(after), expected)
    assert torch.equal(method.params(state), params)


def test_what_is_learnt_besides_takes_its_own_part_of_the_step():
    method = Along(SGD(learning_rate=0.5))
    problem, batch, _, rng, state = start(method)
    after = method.step(state, batch, problem, rng)
    assert torch.equal(after["extras"], torch.full((2, 3), -1.0))
    assert torch.equal(state["extras"], torch.zeros(2, 3))
    assert (state["count"], after["count"]) == (0, 1)


def test_the_optimizer_remembers():
    method = Along(Adam(learning_rate=0.5))
    problem, batch, _, rng, state = start(method)
    first, last = method.trained(problem)
    width = last - first + 3
    assert all(
        value.shape == (2, width)
        for value in state["optimizer"].values()
        if isinstance(value, torch.Tensor)
    )
    after = method.step(state, batch, problem, rng)
    _, expected = method.optimizer.update(
        method.direction(state, batch, problem, rng)[0], state["optimizer"], torch.zeros(2, width)
    )
    assert set(after["optimizer"]) == set(expected)
    for name, value in expected.items():
        assert torch.equal(torch.as_tensor(after["optimizer"][name]), torch.as_tensor(value))


def test_the_optimizer_is_told_the_matrices_that_are_trained_and_what_it_does_is_charged():
    method = Along(Muon())
    problem, batch, _, rng, state = start(method)
    problem.ledger = Ledger()
    assert state["optimizer"]["matrices"] == [[0, 4, 5]]
    method.step(state, batch, problem, rng)
    # each of five times X X^T, its square, and what both make of X
    assert problem.ledger.flops == 5 * 2 * (4 * 4 * 5 + 4 * 4 * 4 + 4 * 4 * 5)


def test_layers_outside_the_trained_part_are_named():
    problem, *_ = start(Along())
    assert Along().left_alone(problem) == [problem.blocks[0].name, problem.blocks[2].name]
    assert Everywhere().left_alone(problem) == []
