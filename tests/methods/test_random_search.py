"""Oracles: the argmin by hand over the same draws; on a fixed batch the loss never rises."""

import pytest
import torch

from beyond.contracts import Batch
from beyond.ledger import Ledger
from beyond.problem import Problem
from beyond.streams import Stream
from methods.random_search import RandomSearch

FAULTS = [
    # the worst candidate
    ("methods/random_search.py", ".argmin(1)", ".argmax(1)"),
    # A network without a loss wins.
    ("methods/random_search.py", ".nan_to_num(inf, inf)", ""),
]


def loss_by_hand(given, weights, replica):
    """Loss of one network (n,) on its replica's batch."""
    observer = Problem(given.network, given.task.spec)
    shown = Batch(given.batch.inputs[[replica]], given.batch.targets[[replica]])
    return float(observer.loss(weights.unsqueeze(0), shown))


def test_a_step_keeps_the_argmin_by_hand(make_problem):
    method = RandomSearch(n_candidates=5)
    given = make_problem(method)
    twin = Stream("step", given.seeds)
    state = method.init(given.problem, given.params, given.rng)
    assert torch.equal(method.params(state), given.params)
    kept = []
    for _ in range(6):
        rivals = torch.cat(
            [state["params"].unsqueeze(1), given.problem.fresh_population(twin, 5)], 1
        )
        state = method.step(state, given.sealed, given.problem, given.rng)
        for replica, drawn in enumerate(rivals):
            losses = [loss_by_hand(given, weights, replica) for weights in drawn]
            winner = min(range(6), key=losses.__getitem__)
            kept.append(winner == 0)
            assert torch.equal(method.params(state)[replica], drawn[winner])
    assert 0 < sum(kept) < len(kept)  # both the incumbent and a newcomer have won


def test_rivals_that_are_no_better_change_nothing(make_problem, monkeypatch):
    method = RandomSearch(n_candidates=5)
    given = make_problem(method)
    monkeypatch.setattr(
        given.problem, "population_loss", lambda population, _: torch.ones(population.shape[:2])
    )
    state = method.step({"params": given.params}, given.sealed, given.problem, given.rng)
    assert torch.equal(method.params(state), given.params)


def test_the_loss_never_rises_on_a_fixed_batch_and_falls(make_problem):
    method = RandomSearch(n_candidates=20)
    given = make_problem(method, batch_size=64)
    state = method.init(given.problem, given.params, given.rng)
    losses = [given.problem.loss(method.params(state), given.sealed)]
    for _ in range(30):
        state = method.step(state, given.sealed, given.problem, given.rng)
        losses.append(given.problem.loss(method.params(state), given.sealed))
    steps = torch.stack(losses)
    assert (steps[1:] <= steps[:-1] + 1e-6).all()
    assert (steps[-1] < 0.9 * steps[0]).all()


def test_candidates_come_from_the_distribution_of_the_initial_weights(make_problem):
    method = RandomSearch(n_candidates=1)
    given = make_problem(method, seeds=range(400))
    terrible = torch.full_like(given.params, 50.0)  # so that the newcomer wins
    terrible[:, -1] = 500.0
    drawn = method.params(method.step({"params": terrible}, given.sealed, given.problem, given.rng))
    for layer, initial in zip(
        given.network.unflatten(drawn), given.network.unflatten(given.params), strict=True
    ):
        for name in layer:
            assert layer[name].mean() == pytest.approx(float(initial[name].mean()), abs=0.005)
            assert layer[name].std() == pytest.approx(float(initial[name].std()), rel=0.01)


def test_a_candidate_without_a_loss_never_wins(make_problem):
    method = RandomSearch(n_candidates=3)
    given = make_problem(method)
    state = method.step(
        {"params": given.params * float("nan")}, given.sealed, given.problem, given.rng
    )
    assert method.params(state).isfinite().all()


def test_it_is_charged_for_incumbent_and_candidates(make_problem):
    method = RandomSearch(n_candidates=7)
    given = make_problem(method, batch_size=16)
    given.problem.ledger = Ledger()
    method.step(
        method.init(given.problem, given.params, given.rng), given.sealed, given.problem, given.rng
    )
    assert (given.problem.ledger.forward, given.problem.ledger.backward) == (8 * 16, 0)
