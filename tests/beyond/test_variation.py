"""Oracles: closed forms of the operators, and torch's Jacobian."""

from dataclasses import replace

import pytest
import torch
from torch.func import jacrev
from torch.utils.flop_counter import FlopCounterMode

from beyond.contracts import Batch, Signal
from beyond.kits.variation import (
    Crossover,
    Gaussian,
    Safe,
    Sparse,
    TwoPoint,
    Uniform,
    sensitivities,
    standings,
)
from beyond.ledger import Ledger
from beyond.problem import Problem
from beyond.streams import Stream

FAULTS = [
    # neighbours in float32 are told apart
    (
        "beyond/kits/variation.py",
        "losses * (1 - RESOLUTION), losses / (1 - RESOLUTION)",
        "losses, losses",
    ),
    # a loss that is not a number is the smallest
    (
        "beyond/kits/variation.py",
        "losses.double().nan_to_num(inf, inf)",
        "losses.double().nan_to_num(-inf, inf)",
    ),
    # the first gene never mutates
    ("beyond/kits/variation.py", "gaps.cumsum(1) - 1", "gaps.cumsum(1)"),
    # grows with the inputs looked at
    ("beyond/kits/variation.py", "-1).mean(2).square()", "-1).sum(2).square()"),
    ("beyond/kits/variation.py", "(genes < second)", "(genes <= second)"),
    # does not decay
    (
        "beyond/kits/variation.py",
        "(self.std_in(generation) * (positions",
        "(self.std * (positions",
    ),
    (
        "beyond/kits/variation.py",
        "std, inputs = self.std_in(generation), batch",
        "std, inputs = self.std, batch",
    ),
]


@pytest.mark.parametrize("sign", [1, -1])
def test_losses_that_rounding_tells_apart_are_equal(sign):
    loss = sign * torch.tensor([0.3, 0.5, 0.9, 1.0, 1e-30, 2.0**20])
    after = loss.nextafter(torch.tensor(torch.inf))
    for one, other in zip(loss, after, strict=True):
        assert [count.tolist() for count in standings(torch.stack([one, other])[None])] == [
            [[0, 0]],
            [[2, 2]],
        ]
        apart = torch.stack(
            [one, other.nextafter(torch.tensor(torch.inf)).nextafter(torch.tensor(torch.inf))]
        )
        assert [count.tolist() for count in standings(apart[None])] == [[[0, 1]], [[1, 2]]]


def test_a_chain_of_neighbours_has_a_best_and_a_worst():
    chain = 1 + torch.arange(1000.0)[None] * 2.0**-23
    n_smaller, n_no_larger = standings(chain)
    assert (n_smaller + n_no_larger - 1)[0].diff().min() >= 1
    assert (n_no_larger - n_smaller).max() == 3


def test_no_number_is_the_largest_loss():
    losses = torch.tensor([[torch.inf, 1.0, torch.nan, 0.0, 0.0]])
    assert [count.tolist() for count in standings(losses)] == [[[3, 2, 3, 0, 0]], [[5, 3, 5, 2, 2]]]


def test_neighbours_swap_the_genes_that_are_named():
    candidates = torch.arange(24.0).view(2, 4, 3)
    swap = torch.tensor([[[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]], [[0.0, 0.0, 0.0], [1.0, 1.0, 1.0]]])

    class Named(Crossover):
        def swaps(self, rng, n_pairs, n_weights):
            return swap

    Named().mate(candidates, Stream("step", range(2)))
    expected = [
        [[3, 1, 5], [0, 4, 2], [6, 7, 11], [9, 10, 8]],
        [[12, 13, 14], [15, 16, 17], [21, 22, 23], [18, 19, 20]],
    ]
    assert candidates.tolist() == expected


def test_uniform_crossover_tosses_a_fair_coin_a_gene():
    swap = Uniform().swaps(Stream("step", range(4)), 500, 100)
    assert set(swap.unique().tolist()) == {0.0, 1.0}
    n_genes = swap.numel()
    assert abs(swap.mean() - 0.5) <= 4 * 0.5 / n_genes**0.5
    # at each of 100 loci
    assert (swap.mean((0, 1)) - 0.5).abs().max() <= 5 * 0.5 / (4 * 500) ** 0.5
    signs = 2 * swap - 1
    for lag in (1, 2, 31, 32):
        # neighbours do not agree
        assert abs((signs[..., lag:] * signs[..., :-lag]).mean()) <= 4 / n_genes**0.5 * 1.3


def test_two_point_crossover_swaps_one_segment():
    swap = TwoPoint().swaps(Stream("step", range(4)), 1000, 20)
    edges = (
        swap.diff(dim=2, prepend=torch.zeros(4, 1000, 1), append=torch.zeros(4, 1000, 1)) != 0
    ).sum(2)
    # begins once, ends once; empty where both points are equal
    assert set(edges.unique().tolist()) == {0, 2}
    # Points uniform on 0..20: locus j is inside where one point is <= j and the other above.
    locus = torch.arange(20)
    expected = 2 * (locus + 1) * (20 - locus) / 21**2
    error = (expected * (1 - expected) / 4000).sqrt()
    assert ((swap.mean((0, 1)) - expected).abs() <= 4.5 * error).all()


def test_gaussian_mutation_has_its_mean_and_spread():
    genes = torch.full((2, 50, 1000), 5.0)
    Gaussian(std=0.3).mutate(genes, 0, None, None, Stream("step", range(2)))
    noise = genes - 5
    assert abs(noise.mean()) <= 4 * 0.3 / noise.numel() ** 0.5
    assert abs(noise.std() - 0.3) <= 4 * 0.3 / (2 * noise.numel()) ** 0.5
    assert not torch.equal(noise[0], noise[1])


@pytest.mark.parametrize("rate", [0.001, 0.05, 0.5, 0.99])
def test_sparse_mutation_has_its_rate_mean_and_spread(rate):
    genes = torch.zeros(3, 101, 2000)
    children = genes[:, 1:]  # as in a step, where elites come first
    Sparse(std=0.3, rate=rate).mutate(children, 0, None, None, Stream("step", range(3)))
    assert (genes[:, 0] == 0).all()
    hit = children != 0
    n_genes, noise = hit.numel(), children[hit]
    assert abs(hit.float().mean() - rate) <= 4 * (rate * (1 - rate) / n_genes) ** 0.5
    assert abs(noise.mean()) <= 4 * 0.3 / len(noise) ** 0.5
    assert abs(noise.std() - 0.3) <= 4 * 0.3 / (2 * len(noise)) ** 0.5
    both = (hit[..., 1:] & hit[..., :-1]).float().mean()  # neighbours mutate independently
    assert abs(both - rate**2) <= 5 * (rate**2 / n_genes) ** 0.5
    last = hit.flatten(1)[:, -n_genes // 30 :].float()  # the draws reach the last gene
    assert abs(last.mean() - rate) <= 4 * (rate * (1 - rate) / last.numel()) ** 0.5


def test_sparse_mutation_reaches_the_first_gene_as_often():
    children = torch.zeros(2000, 1, 3)
    Sparse(std=0.3, rate=0.4).mutate(children, 0, None, None, Stream("step", range(2000)))
    assert ((children != 0).float().mean((0, 1)) - 0.4).abs().max() < 5 * (0.24 / 2000) ** 0.5


# ---------------------------------------------------------------------------------------------- saf


@pytest.fixture
def population(make_case):
    """Return what makes three replicas' candidates of a network, and the problem they solve."""

    def make(name="mlp", n_candidates=2):
        case = make_case(name)
        case.problem = Problem(case.network, case.spec, Ledger(), Signal.LOSS)
        noise = 0.1 * Stream("noise", range(3)).normal(n_candidates, case.network.n_weights)
        case.candidates = case.params.unsqueeze(1) + noise
        return case

    return make


@pytest.mark.parametrize("made", [Gaussian, Sparse, Safe])
def test_a_later_generation_mutates_likewise_by_a_smaller_deviation(made, population, close):
    given = population()
    mutation, batch = made(std=0.3, decay=0.5, n_decay_generations=10), Batch(given.inputs, None)
    changes = []
    for generation in (9, 25):
        mutated = given.candidates.clone()
        mutation.mutate(mutated, generation, batch, given.problem, Stream("step", range(3)))
        changes.append(mutated - given.candidates)
    assert (changes[0] != 0).any()
    close(changes[1], changes[0] * 0.5**2, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize(
    "name", ["mlp", "mlp on images", "mlp with layer norm", "mlp on symbols", "cnn"]
)
def test_sensitivities_are_those_of_torchs_jacobian(name, apart, population, close):
    given = population(name)
    found = sensitivities(given.candidates, given.problem, given.inputs, apart)
    for replica, inputs in enumerate(given.inputs):
        for candidate, weights in enumerate(given.candidates[replica]):
            # (S, k, n)
            jacobian = jacrev(
                lambda params, x=inputs: given.network.outputs(params[None], x[None])[0]
            )(weights)
            over_inputs = jacobian.abs().mean(0) if apart else jacobian.sum(0)
            close(
                found[replica, candidate], over_inputs.square().sum(0).sqrt(), rtol=1e-4, atol=1e-5
            )


@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize("name", ["mlp", "mlp on symbols"])
def test_sensitivities_cost_a_forward_pass_and_a_backward_pass_an_output(name, apart, population):
    given = population(name, n_candidates=5)
    with FlopCounterMode(display=False) as counter:
        sensitivities(given.candidates, given.problem, given.inputs, apart)
    ledger = given.problem.ledger
    # 5 candidates, 4 inputs, 3 outputs
    assert (ledger.forward, ledger.backward) == (5 * 4, 3 * 5 * 4)
    assert ledger.flops == counter.get_total_flops() / 3


def test_safe_noise_is_divided_by_the_sensitivity_and_its_floor_up_to_a_limit(population, close):
    given = population()
    dead = given.network.blocks[1]
    # its units are off for every input, so these do nothing
    given.candidates[0, 0, dead.start : dead.stop] = -1.0
    scale = sensitivities(given.candidates, given.problem, given.inputs, apart=True)
    assert (scale == 0).any()
    assert ((scale > 0) & (scale < 0.01)).any()
    expected = torch.where(scale == 0, 1.0, scale.clamp_min(0.01))
    noise = Stream("step", range(3)).normal(*given.candidates.shape[1:])
    mutated = given.candidates.clone()
    safe, batch = Safe(std=0.3, derivatives="abs"), Batch(given.inputs, None)
    safe.mutate(mutated, 0, batch, given.problem, Stream("step", range(3)))
    close(mutated - given.candidates, 0.3 * noise / expected, rtol=1e-4, atol=1e-5)
    limited = given.candidates.clone()
    safe = replace(safe, limit=0.2)
    safe.mutate(limited, 0, batch, given.problem, Stream("step", range(3)))
    assert ((0.3 * noise / expected).abs() > 0.2).any()
    close(
        limited - given.candidates, (0.3 * noise / expected).clamp(-0.2, 0.2), rtol=1e-4, atol=1e-5
    )
