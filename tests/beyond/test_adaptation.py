"""Oracle: gradient descent row by row."""

import pytest
import torch

from beyond.architectures.mlp import MLP
from beyond.contracts import Batch, Episode, TargetKind, TaskSpec
from beyond.errors import UnsupportedError
from beyond.kits.adaptation import InnerLoop, by_episode, by_replica, require_episodes, rows_of
from beyond.ledger import Ledger
from beyond.problem import Problem
from beyond.streams import Stream

FAULTS = [
    ("beyond/kits/adaptation.py", "step = rate[:, start:] if", "step = rate[:, :1] if"),
]


def spec(episode):
    return TaskSpec(
        "test/toy",
        (2,),
        1,
        TargetKind.VALUES,
        MLP((3,)),
        "r2_score",
        (0.1, 0.5, 0.9),
        episode=episode,
    )


def test_rows_are_cut_and_joined_in_the_order_of_replicas_then_episodes():
    values = torch.arange(2 * 6 * 4).view(2, 6, 4)
    rows = by_episode(values, 3)
    assert torch.equal(
        rows, torch.stack([values[0, :3], values[0, 3:], values[1, :3], values[1, 3:]])
    )
    assert torch.equal(by_replica(rows, 2), values)
    assert rows_of(Batch(values, values[..., 0], None), 3).targets.tolist() == rows[..., 0].tolist()


def test_a_task_without_episodes_is_refused():
    with pytest.raises(UnsupportedError, match=r"^test/toy does not come in episodes, so [a-z ]+$"):
        require_episodes(spec(None))
    assert require_episodes(spec(Episode(2, 3))) == Episode(2, 3)


@pytest.mark.parametrize("rate", [0.1, torch.linspace(0, 0.2, 39).view(3, 13)])
@pytest.mark.parametrize("last_layer", [False, True])
def test_adaptation_is_gradient_descent_row_by_row(last_layer, rate):
    task, rng = spec(Episode(2, 3)), Stream("test", [0, 1, 2])
    network = task.network.build(task)
    problem, params = Problem(network, task, Ledger()), network.init(rng)
    batch = Batch(rng.uniform(2, 2), rng.uniform(2, 1))
    adapted = InnerLoop(4, last_layer).adapt(params, rate, batch, problem)
    expected = params
    for _ in range(4):
        gradient = Problem(network, task).gradient(expected, batch)
        gradient[:, : network.suffix(1) if last_layer else 0] = 0
        expected = expected - rate * gradient
    torch.testing.assert_close(adapted, expected)
    head, body = 2 * 3, 2 * 2 * 3  # operations of a product, an example
    steps = 4 * 2 * head + body if last_layer else 4 * (3 * head + 2 * body)
    assert problem.ledger.flops == 2 * steps
