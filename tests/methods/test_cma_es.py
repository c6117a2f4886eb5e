"""Oracles: the package cma, generation by generation on the same draws, and by evaluations."""

import warnings
from functools import partial
from itertools import pairwise, permutations
from math import inf, isnan, nan

import cma
import numpy as np
import pytest
import torch
from scipy.special import gamma
from torch.utils.flop_counter import FlopCounterMode

from beyond.architectures.mlp import MLP
from beyond.errors import InputError
from beyond.ledger import Ledger
from beyond.streams import Stream
from methods.cma_es import CMAES, Constants, rank_weights

FAULTS = [
    # The covariance grows along the paths and steps of the root's inverse: the whitened draws
    # instead of the steps.
    ("methods/cma_es.py", "rows = torch.cat([steps,", "rows = torch.cat([normal,"),
    # The path grows while the step size lags behind.
    ("methods/cma_es.py", "steady * c.path_gain", "c.path_gain"),
]

N_WEIGHTS = 8
GOAL = 1e-8


def sphere(x):
    return (x**2).sum(-1)


def ellipsoid(x):
    """Separable, with axes from 1 to 100."""
    return (10 ** (4 * np.arange(x.shape[-1]) / (x.shape[-1] - 1)) * x**2).sum(-1)


def rosenbrock(x):
    return (100 * (x[..., 1:] - x[..., :-1] ** 2) ** 2 + (1 - x[..., :-1]) ** 2).sum(-1)


class Recorded:
    """A problem whose loss is a function of float64 weights, and that keeps what passed."""

    def __init__(self, function):
        self.function = function

    def population_loss(self, population, _):
        self.losses = self.function(population.double().numpy())
        return torch.from_numpy(self.losses)

    def matmul(self, a, b):
        return a @ b


def package(start, sigma, population_size, seed=1, **settings):
    """The package's strategy without negative weights, as in the tutorial's simplest form."""
    chosen = {
        "popsize": population_size,
        "seed": seed,
        "CMA_active": False,
        "verbose": -9,
        **settings,
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return cma.CMAEvolutionStrategy(
            start, sigma, {**chosen, "tolfun": 0, "tolx": 0, "tolfunhist": 0}
        )


def evaluations(method, function, start, n_replicas, n_generations):
    """How many evaluations each replica makes until a candidate is at the goal; else infinite."""
    problem, rng = Recorded(function), Stream("step", range(n_replicas))
    state = method.init(problem, torch.tensor(start).expand(n_replicas, -1), rng)
    needed = np.full(n_replicas, np.inf)
    for generation in range(1, n_generations + 1):
        state = method.step(state, None, problem, rng)
        reached = (problem.losses.min(1) <= GOAL) & np.isinf(needed)
        needed[reached] = generation * method.population_size
        if np.isfinite(needed).all():
            break
    return needed


def package_evaluations(function, start, sigma, population_size, seed, **settings):
    strategy = package(start, sigma, population_size, seed, ftarget=GOAL, maxiter=1500, **settings)
    while not strategy.stop():
        candidates = np.array(strategy.ask())
        strategy.tell(candidates, function(candidates).tolist())
    return strategy.countevals if "ftarget" in strategy.stop() else np.inf


@pytest.mark.parametrize(
    ("function", "max_full", "start", "sigma"),
    [
        (sphere, 8, 1.0, 0.5),
        (rosenbrock, 8, 0.0, 0.5),
        (ellipsoid, 0, 1.0, 0.5),
    ],
)
def test_it_needs_as_many_evaluations_as_the_package(function, max_full, start, sigma):
    population_size, point = 10, [start] * N_WEIGHTS
    method = CMAES(population_size=population_size, step_size=sigma, max_full=max_full)
    ours = evaluations(method, function, point, 9, 1500)
    settings = {} if max_full else {"CMA_diagonal": True}
    needed = partial(package_evaluations, function, point, sigma, population_size, **settings)
    theirs = [needed(seed) for seed in range(1, 6)]
    assert np.median(ours) == pytest.approx(np.median(theirs), rel=0.3)


@pytest.mark.parametrize("population_size", [6, 10, 40])
@pytest.mark.parametrize("n_weights", [3, 8, 200])
def test_the_constants_are_the_packages(n_weights, population_size):
    theirs = package([0.0] * n_weights, 1.0, population_size)
    ours = Constants.of(n_weights, population_size, is_full=True)
    np.testing.assert_allclose(ours.weights, [weight for weight in theirs.sp.weights if weight > 0])
    for name, value in (
        ("rank_one", theirs.sp.c1),
        ("rank_mu", theirs.sp.cmu),
        ("path_decay", theirs.sp.cc),
    ):
        assert getattr(ours, name) == pytest.approx(value), name


class Replayed:
    """A stream whose normal draws are the package's candidates, as the method has them."""

    def __init__(self):
        self.draws = torch.empty(0)

    def normal(self, *_):
        return self.draws


def as_in_the_tutorial(strategy, constants, n_weights):
    """Undo the package's later changes: two constants, and at what length a path counts as long."""
    adaptation = strategy.adapt_sigma
    adaptation.cs, adaptation.damps = constants.step_decay, constants.damping
    update_path = adaptation.hsig
    stalls = []

    def steady(adapting):
        update_path(adapting)
        start = (1 - (1 - adaptation.cs) ** (2 * adapting.countiter)) ** 0.5
        stalls.append(
            np.linalg.norm(adaptation.ps) / start
            >= (1.4 + 2 / (n_weights + 1)) * constants.expected_length
        )
        return not stalls[-1]

    adaptation.hsig = steady
    return stalls


@pytest.mark.parametrize("population_size", [10, 30])
@pytest.mark.parametrize("function", [sphere, rosenbrock, ellipsoid])
def test_generation_by_generation_it_is_the_package(function, population_size):
    method = CMAES(population_size=population_size, step_size=0.1)
    theirs = package([0.3] * N_WEIGHTS, 0.1, population_size, updatecovwait=0)
    problem, rng = Recorded(function), Replayed()
    state = method.init(problem, torch.tensor([[0.3] * N_WEIGHTS]), rng)
    state["mean"] = torch.tensor([[0.3] * N_WEIGHTS], dtype=torch.float64)
    # 1e-4 from the identity
    state["covariance"] = torch.from_numpy(theirs.sm.C.copy()).unsqueeze(0)
    state["scales"] = state["covariance"].diagonal(dim1=1, dim2=2).sqrt()
    for generation in range(120):
        candidates = torch.from_numpy(np.array(theirs.ask()))
        steps = (candidates - state["mean"]) / state["step_size"]
        basis = state["basis"][0]
        rng.draws = (steps @ basis / state["scales"] @ basis.mT).unsqueeze(0)
        state = method.step(state, None, problem, rng)
        if generation == 0:
            constants = Constants.of(N_WEIGHTS, population_size, is_full=True)
            stalls = as_in_the_tutorial(theirs, constants, N_WEIGHTS)
        theirs.tell(candidates.numpy(), problem.losses[0].tolist(), check_points=False)
        same = partial(np.testing.assert_allclose, rtol=1e-6, atol=1e-9)
        same(state["mean"][0], theirs.mean)
        same(state["step_size"].item(), theirs.sigma)
        same(state["covariance"][0], theirs.C)
        same(state["covariance_path"][0], theirs.pc)
        same(state["step_path"][0], theirs.adapt_sigma.ps)
    assert function is not sphere or any(stalls)


def quadratic(x):
    return (np.arange(1, x.shape[-1] + 1) * x**2).sum(-1)


def test_the_diagonal_is_the_tutorials_update_by_hand():
    """Each entry by itself, in plain loops over weights and candidates."""
    population_size, n_weights, n_generations = 8, 5, 6
    method = CMAES(population_size=population_size, step_size=0.7, max_full=0)
    problem, rng, twin = Recorded(quadratic), Stream("step", [0, 1]), Stream("step", [0, 1])
    state = method.init(problem, torch.ones(2, n_weights), rng)
    draws = []
    for _ in range(n_generations):
        state = method.step(state, None, problem, rng)
        draws.append(twin.normal(population_size, n_weights).double().numpy())

    raw = [np.log(4.5) - np.log(rank) for rank in (1, 2, 3, 4)]
    weights = [weight / sum(raw) for weight in raw]
    mu = 1 / sum(weight**2 for weight in weights)
    faster = (n_weights + 2) / 3
    rank_one = faster * 2 / ((n_weights + 1.3) ** 2 + mu)
    rank_mu = min(1 - rank_one, faster * 2 * (mu - 1.75 + 1 / mu) / ((n_weights + 2) ** 2 + mu))
    for replica in range(2):
        diagonal, path, mean = np.ones(n_weights), np.zeros(n_weights), np.ones(n_weights)
        step_path, sigma = np.zeros(n_weights), 0.7
        decay, fade = (
            (mu + 2) / (n_weights + mu + 5),
            (4 + mu / n_weights) / (n_weights + 4 + 2 * mu / n_weights),
        )
        for generation in range(n_generations):
            normal = draws[generation][replica]
            steps = normal * diagonal**0.5
            losses = [
                float(quadratic(np.float32(mean + sigma * step).astype(float))) for step in steps
            ]
            order = np.argsort(losses)[:4]
            step = sum(weight * steps[index] for weight, index in zip(weights, order, strict=True))
            step_path = (1 - decay) * step_path + (
                decay * (2 - decay) * mu
            ) ** 0.5 * step / diagonal**0.5
            expected = np.sqrt(2) * gamma((n_weights + 1) / 2) / gamma(n_weights / 2)
            length = np.linalg.norm(step_path)
            start = (1 - (1 - decay) ** (2 * (generation + 1))) ** 0.5
            steady = length / start < (1.4 + 2 / (n_weights + 1)) * expected
            path = (1 - fade) * path + steady * (fade * (2 - fade) * mu) ** 0.5 * step
            diagonal = (
                (1 - rank_one - rank_mu) * diagonal
                + rank_one * (path**2 + (1 - steady) * fade * (2 - fade) * diagonal)
                + rank_mu
                * sum(w * steps[index] ** 2 for w, index in zip(weights, order, strict=True))
            )
            mean = mean + sigma * step
            sigma *= np.exp(decay / (1 + decay) * (length / expected - 1))
        np.testing.assert_allclose(state["covariance"][replica], diagonal, rtol=1e-9)
        np.testing.assert_allclose(state["mean"][replica], mean, rtol=1e-9)
        assert state["step_size"][replica].item() == pytest.approx(sigma)


@pytest.mark.parametrize(
    "losses", [[3.0, 1.0, 2.0, 2.0, 1.0, 2.0], [0.5] * 6, [1.0, inf, 0.0, nan, inf, 2.0]]
)
def test_weights_of_equals_are_the_mean_over_every_order_of_them(losses):
    by_rank = [0.5, 0.3, 0.2]
    found = []
    for order in permutations(range(6)):
        known = [inf if isnan(loss) else loss for loss in losses]
        if all(known[a] <= known[b] for a, b in pairwise(order)):
            rank = {candidate: place for place, candidate in enumerate(order)}
            found.append([[*by_rank, 0.0, 0.0, 0.0][rank[candidate]] for candidate in range(6)])
    expected = torch.tensor(found, dtype=torch.float64).mean(0)
    weights = rank_weights(torch.tensor([losses, losses[::-1]]), by_rank)[:, 0]
    torch.testing.assert_close(weights, torch.stack([expected, expected.flip(0)]))


def test_losses_that_rounding_tells_apart_share_their_weight():
    # neighbours are equal, the ends are not
    chain = torch.tensor([1 + place * 2.0**-23 for place in range(4)])
    weights = rank_weights(torch.stack([chain[[0, 1, 0, 1]], chain]), [0.6, 0.4])[:, 0]
    assert weights[0].tolist() == [0.25] * 4
    assert weights[1].sum() == pytest.approx(1)
    assert (weights[1].diff() < 0).all()


@pytest.mark.parametrize("max_full", [0, 1000])
def test_every_operation_is_charged(max_full, make_problem):
    method = CMAES(population_size=6, max_full=max_full)
    given = make_problem(method, "regression/diabetes", network=MLP(hidden=(4,)))
    given.problem.ledger = Ledger()
    state = method.init(given.problem, given.params, given.rng)
    assert state["covariance"].ndim == (3 if max_full else 2)
    with FlopCounterMode(display=False) as counter:
        for _ in range(8):
            state = method.step(state, given.sealed, given.problem, given.rng)
    assert given.problem.ledger.flops == counter.get_total_flops() / 2  # replicas
    assert (given.problem.ledger.forward, given.problem.ledger.backward) == (8 * 6 * 16, 0)


def test_eigenvectors_are_renewed_only_every_few_generations(make_problem):
    method = CMAES(population_size=4, max_full=1000)
    given = make_problem(method, "regression/diabetes")
    interval = Constants.of(given.params.shape[1], 4, is_full=True).eigen_interval
    assert interval > 1
    states = [method.init(given.problem, given.params, given.rng)]
    for _ in range(2 * interval):
        states.append(method.step(states[-1], given.sealed, given.problem, given.rng))
    renewed = [not torch.equal(old["basis"], new["basis"]) for old, new in pairwise(states)]
    assert renewed == ([False] * (interval - 1) + [True]) * 2
    basis, scales = states[-1]["basis"], states[-1]["scales"]
    torch.testing.assert_close(
        basis * scales.square().unsqueeze(1) @ basis.mT, states[-1]["covariance"]
    )


@pytest.mark.parametrize("max_full", [0, 1000])
def test_a_replica_equals_the_same_seed_alone(max_full, make_problem):
    """Until the covariance is no longer the identity, whose eigenvectors are anybody's choice."""
    method = CMAES(population_size=8, max_full=max_full)
    stacked, alone = (
        make_problem(method, "regression/diabetes", seeds=seeds) for seeds in ((3, 5, 7), (5,))
    )
    ends = []
    for given in (stacked, alone):
        state = method.init(given.problem, given.params, given.rng)
        for _ in range(30):
            state = method.step(state, given.sealed, given.problem, given.rng)
        ends.append(state)
    for name in ("mean", "step_size", "covariance"):
        torch.testing.assert_close(ends[0][name][1:2], ends[1][name], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(("task", "max_full"), [("image/digits", 0), ("regression/diabetes", 1000)])
def test_the_loss_falls(task, max_full, make_problem):
    method = CMAES(max_full=max_full, population_size=32)
    given = make_problem(method, task, network=MLP(hidden=(4,)))
    state = method.init(given.problem, given.params, given.rng)
    before = given.problem.loss(given.params, given.sealed)
    for _ in range(60):
        state = method.step(state, given.sealed, given.problem, given.rng)
    assert (given.problem.loss(method.params(state), given.sealed) < 0.6 * before).all()


@pytest.mark.parametrize(
    "setting", [{"population_size": 3}, {"step_size": 0.0}, {"max_full": -1}, {"batch_size": 0}]
)
def test_bad_settings_are_refused(setting):
    with pytest.raises(InputError, match=f"^{next(iter(setting))} must be"):
        CMAES(**setting)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_replica_whose_covariance_is_no_number_leaves_the_others_alone(bad):
    method, ends = CMAES(population_size=8, max_full=N_WEIGHTS), []
    for spoilt in (False, True):
        problem, rng = Recorded(rosenbrock), Stream("step", range(3))
        state = method.init(problem, torch.zeros(3, N_WEIGHTS), rng)
        if spoilt:
            state["covariance"][1] = bad
        for _ in range(20):
            state = method.step(state, None, problem, rng)
        ends.append(method.params(state)[[0, 2]])
    torch.testing.assert_close(*ends, rtol=1e-6, atol=0)
