"""Oracles: the law of the cosine for a linear loss, automatic differentiation, and scipy's ranks.

Replicas stand for repeated draws: one step of all of them is a sample of the estimate.
"""

from math import sqrt
from types import SimpleNamespace

import pytest
import torch
from scipy.stats import kstest, rankdata
from torch.nn.functional import cosine_similarity
from torch.utils.flop_counter import FlopCounterMode

from beyond.architectures.cnn import CNN
from beyond.architectures.mlp import MLP
from beyond.contracts import Batch
from beyond.errors import InputError
from beyond.kits.optimizers import SGD
from beyond.ledger import Ledger
from beyond.network.layered import Block
from beyond.problem import Problem, seal
from beyond.streams import Stream
from methods.evolution_strategy import EvolutionStrategy, centred_ranks

# The mirrored candidate counts with the wrong sign: the method climbs.
FAULTS = [
    ("methods/evolution_strategy.py", "slopes = (above - below)", "slopes = (below - above)"),
    # A candidate is ranked in its half: those above the weights, or those below.
    (
        "methods/evolution_strategy.py",
        "losses = centred_ranks(losses)",
        "losses = torch.cat([centred_ranks(half) for half in losses.chunk(2, 1)], 1)",
    ),
    (
        "methods/evolution_strategy.py",
        "(2 * self.n_pairs * each(self.noise_std, above))",
        "(self.n_pairs * each(self.noise_std, above))",
    ),
    ("methods/evolution_strategy.py", "/ sqrt(self.rank)", "/ self.rank"),
]

SIDE = 24  # of the one weight matrix of a linear problem


def linear(slope, transform=lambda loss: loss):
    """A problem whose loss is the inner product of the weights, one matrix, with `slope` (n,)."""
    block = Block("linear_1", 1, 0, 0, len(slope), {"weight": (SIDE, len(slope) // SIDE)})
    return SimpleNamespace(
        n_weights=len(slope),
        blocks=(block,),
        matrices=(),
        population_loss=lambda population, _: transform((population * slope).sum(-1)),
        matmul=torch.matmul,
    )


def estimate(method, problem, params, batch=None, rng=None):
    """Gradient (R, n) that each replica hands to its optimizer."""
    rng = rng or Stream("step", range(len(params)))
    return method.direction(method.init(problem, params, rng), batch, problem, rng)


def linear_cosines(n_replicas=200, **settings):
    slope = Stream("slope", [0]).normal(SIDE * SIDE)[0]
    method = EvolutionStrategy(**{"ranks": False, **settings})
    return cosine_similarity(
        estimate(method, linear(slope), torch.zeros(n_replicas, len(slope))), slope, dim=1
    )


def repeated(given, method, n_replicas):
    """One replica's weights and batch, n times."""
    batch = Batch(
        *(
            part[:1].expand(n_replicas, *part.shape[1:])
            for part in (given.batch.inputs, given.batch.targets)
        )
    )
    return given.params[:1].expand(n_replicas, -1), seal(batch, method.signal)


def true_gradient(given):
    """Gradient (n,) of the first replica by automatic differentiation."""
    first = Batch(given.batch.inputs[:1], given.batch.targets[:1])
    return Problem(given.network, given.task.spec).gradient(given.params[:1], first)[0]


@pytest.mark.parametrize("n_pairs", [8, 64, 256])
@pytest.mark.parametrize("rank", [None, 4])
def test_on_a_linear_loss_the_cosine_obeys_its_law(n_pairs, rank):
    cosines = linear_cosines(n_pairs=n_pairs, rank=rank)
    expected = sqrt(n_pairs / (n_pairs + SIDE**2 + 1))
    assert float(cosines.mean()) == pytest.approx(expected, rel=0.1)
    assert float(cosines.square().mean().sqrt()) == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize("n_pairs", [8, 64])
def test_rank_one_is_nearly_as_good_as_full_rank(n_pairs):
    full, low = (float(linear_cosines(n_pairs=n_pairs, rank=rank).mean()) for rank in (None, 1))
    assert low >= 0.9 * full


def test_ranks_cost_less_than_a_quarter_of_the_cosine():
    losses, ranks = (
        float(linear_cosines(n_pairs=64, ranks=ranks).mean()) for ranks in (False, True)
    )
    assert 0.75 * losses < ranks < 1.02 * losses


@pytest.mark.parametrize("rank", [None, 1, 2])
@pytest.mark.parametrize("task", ["image/digits", "regression/diabetes"])
def test_the_estimate_is_the_true_gradient_on_average(task, rank, make_problem):
    method = EvolutionStrategy(n_pairs=16, noise_std=0.003, ranks=False, rank=rank)
    given = make_problem(method, task, network=MLP(hidden=(6,), activation="tanh"), batch_size=4)
    params, batch = repeated(given, method, 1500)
    estimates = estimate(method, given.problem, params, batch).double()
    expected = true_gradient(given).double()
    errors = (estimates.mean(0) - expected) / (estimates.std(0) / sqrt(len(estimates)))
    assert kstest(errors.numpy(), "norm").pvalue > 1e-3
    assert float(errors.abs().max()) < 5
    along = estimates @ expected / (expected @ expected)  # 1 on average
    assert abs(float(along.mean()) - 1) < 4 * float(along.std()) / sqrt(len(along))


def test_on_a_network_the_cosine_obeys_the_law_too(make_problem):
    method = EvolutionStrategy(n_pairs=128, noise_std=0.001, ranks=False)
    given = make_problem(method)
    params, batch = repeated(given, method, 40)
    cosines = cosine_similarity(
        estimate(method, given.problem, params, batch), true_gradient(given), dim=1
    )
    assert float(cosines.mean()) == pytest.approx(sqrt(128 / (128 + params.shape[1] + 1)), rel=0.1)


def test_ranks_are_scipys():
    losses = Stream("losses", range(5)).normal(12)
    expected = torch.from_numpy(rankdata(losses.numpy(), axis=1) - 1) / 11 - 0.5
    torch.testing.assert_close(centred_ranks(losses), expected.float())
    assert centred_ranks(torch.tensor([[2.0, float("nan"), 1.0]])).tolist() == [[0.0, 0.5, -0.5]]
    tied = Stream("losses", range(5)).integers(4, 12).float()
    # ties share the mean of their ranks
    expected = torch.from_numpy(rankdata(tied.numpy(), axis=1) - 1) / 11 - 0.5
    torch.testing.assert_close(centred_ranks(tied), expected.float())


def test_losses_that_are_all_equal_say_nothing():
    assert centred_ranks(torch.full((1, 8), 0.3)).tolist() == [[0.0] * 8]
    rounded = torch.full((1, 8), 0.3)
    rounded[0, ::3] = rounded[0, 0].nextafter(torch.tensor(1.0))
    assert centred_ranks(rounded).tolist() == [[0.0] * 8]
    problem = linear(torch.zeros(SIDE * SIDE))
    change = estimate(EvolutionStrategy(noise_std=1e-12), problem, torch.zeros(3, SIDE * SIDE))
    assert change.abs().max() == 0


def test_a_candidate_is_ranked_among_all_of_both_halves(close):
    slope, params = Stream("slope", [0]).normal(SIDE * SIDE)[0], torch.zeros(3, SIDE * SIDE)
    method = EvolutionStrategy(n_pairs=6, noise_std=0.1)
    found = estimate(method, linear(slope), params)
    directions = method.directions(linear(slope), Stream("step", range(3)))
    along = directions @ slope
    ranks = torch.from_numpy(rankdata(torch.cat([along, -along], 1).numpy(), axis=1)).float() / 11
    above, below = ranks.chunk(2, 1)
    close(
        found,
        torch.einsum("rk,rkn->rn", above - below, directions) / (2 * 6 * 0.1),
        rtol=1e-4,
        atol=1e-5,
    )


def test_a_monotone_change_of_the_loss_changes_nothing_with_ranks():
    slope = Stream("slope", [0]).normal(SIDE * SIDE)[0]
    params = torch.zeros(3, len(slope))
    for ranks in (True, False):
        method = EvolutionStrategy(ranks=ranks)
        plain, bent = (
            estimate(method, linear(slope, of), params) for of in (lambda loss: loss, torch.arctan)
        )
        assert torch.equal(plain, bent) is ranks


@pytest.mark.parametrize("rank", [None, 1, 3])
def test_directions_have_mean_zero_and_identity_covariance(rank, make_problem):
    method = EvolutionStrategy(n_pairs=40_000, rank=rank)
    given = make_problem(method, "text/languages", seeds=[0], network=MLP(hidden=(3,), embedding=2))
    chosen = slice(40, 100)  # parts of the embedding, of the hidden layer and its biases
    directions = method.directions(given.problem, given.rng)[0, :, chosen].double()
    assert float(directions.mean(0).abs().max()) < 5 / sqrt(len(directions))
    covariance = directions.mT @ directions / len(directions)
    # The square of a product of two normals has variance 8, that of a normal 2.
    assert float((covariance - torch.eye(60)).abs().max()) < 5 * sqrt(8 / len(directions))
    assert float(covariance.diagonal().mean()) == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("rank", [1, 2])
@pytest.mark.parametrize(
    ("task", "network"),
    [("image/digits", CNN((5, 6))), ("text/languages", MLP(hidden=(7,), layer_norm=True))],
)
def test_each_weight_matrix_has_the_rank_asked_for(task, network, rank, make_problem):
    method = EvolutionStrategy(n_pairs=3, rank=rank)
    given = make_problem(method, task, network=network)
    directions = method.directions(given.problem, given.rng)
    assert directions.shape == (2, 3, given.network.n_weights)
    n_matrices = 0
    for layer in given.network.unflatten(directions.flatten(0, 1)):
        for part in layer.values():
            if part.ndim > 2:
                n_matrices += 1
                assert torch.linalg.matrix_rank(part.flatten(2), rtol=1e-4).tolist() == [rank] * 6
            else:
                assert part.unique().numel() == part.numel()  # every bias has another draw
    assert n_matrices == 3


@pytest.mark.parametrize("rank", [None, 3])
def test_every_operation_is_charged(rank, make_problem):
    method = EvolutionStrategy(n_pairs=5, rank=rank)
    given = make_problem(method)
    given.problem.ledger = Ledger()
    state = method.init(given.problem, given.params, given.rng)
    with FlopCounterMode(display=False) as counter:
        method.step(state, given.sealed, given.problem, given.rng)
    assert given.problem.ledger.flops == counter.get_total_flops() / 2  # replicas
    assert (given.problem.ledger.forward, given.problem.ledger.backward) == (10 * 16, 0)


@pytest.mark.parametrize("settings", [{}, {"ranks": False, "rank": 1}])
def test_the_loss_falls(settings, make_problem):
    method = EvolutionStrategy(SGD(learning_rate=0.05), **settings)
    given = make_problem(method)
    state = method.init(given.problem, given.params, given.rng)
    before = given.problem.loss(given.params, given.sealed)
    for _ in range(40):
        state = method.step(state, given.sealed, given.problem, given.rng)
    assert (given.problem.loss(method.params(state), given.sealed) < 0.6 * before).all()


@pytest.mark.parametrize(
    "setting", [{"n_pairs": 0}, {"noise_std": 0.0}, {"rank": 0}, {"batch_size": 0}]
)
def test_bad_settings_are_refused(setting):
    with pytest.raises(InputError, match=f"^{next(iter(setting))} must be"):
        EvolutionStrategy(**setting)
