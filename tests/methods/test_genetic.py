"""Oracles: closed forms of selection, DEAP on lists, fronts by enumeration, losses one by one."""

import random
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from deap import base, creator, tools
from torch.testing import assert_close

from beyond.contracts import Batch, TargetKind, TaskSpec
from beyond.errors import InputError
from beyond.kits.selection import NSGA2, Tournament, Truncation
from beyond.kits.variation import Gaussian, NoCrossover, Safe, Sparse, TwoPoint, Uniform
from beyond.network.initialisations import he
from beyond.network.layered import LayeredNetwork
from beyond.network.layers import Layer
from beyond.problem import Problem
from beyond.streams import Stream, global_generators
from methods.genetic import Genetic

FAULTS = [
    # The higher loss is the better one.
    (
        "beyond/kits/selection.py",
        "tuple(-objective for objective in objectives)",
        "tuple(objective for objective in objectives)",
    ),
    # Safe mutations look at the whole batch.
    ("beyond/kits/variation.py", "batch.inputs[:, : self.n_inputs]", "batch.inputs"),
    ("beyond/kits/selection.py", "tournsize=self.size", "tournsize=3"),
    (
        "beyond/kits/variation.py",
        "generation // self.n_decay_generations",
        "generation / self.n_decay_generations",
    ),
    # The decay never comes.
    ("methods/genetic.py", 'state["generation"] + 1', 'state["generation"]'),
]

# One replica's losses by candidate: the rank of candidate i, from 1, is RANKS[i].
RANKS = torch.tensor([3, 8, 1, 5, 2, 7, 4, 6])
N_REPLICAS = 1000
BEST_TEN = Truncation(n_parents=10)
STILL = {"crossover": NoCrossover(), "mutation": Gaussian(std=0.0)}  # no variation
SILENT = SimpleNamespace(population_loss=lambda *_: None)  # a problem never asked


@pytest.fixture
def start(make_problem):
    """Return a function that starts a method on a small problem."""

    def begin(method, **settings):
        given = make_problem(method, **settings)
        given.method = method
        given.state = method.init(given.problem, given.params, given.rng)
        return given

    return begin


def advance(given, n_steps=1):
    for _ in range(n_steps):
        given.state = given.method.step(given.state, given.sealed, given.problem, given.rng)
    return given.state


def population_loss(given, population):
    return Problem(given.network, given.task.spec).population_loss(population, given.batch)


def select(n_replicas=N_REPLICAS, **settings):
    """Indices that a method selects from eight candidates, one draw of them a replica."""
    method, rng = Genetic(population_size=8, **settings), Stream("step", range(n_replicas))
    objectives = RANKS.float().expand(n_replicas, 8).unsqueeze(2)
    return method.toolbox(0, None, SILENT, rng).select(objectives)


# --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_tournaments_win_with_the_closed_form_probability(size):
    _, parents, _ = select(selection=Tournament(size=size), n_elites=0)
    n_draws = parents.numel()
    for rank in range(1, 9):
        expected = ((9 - rank) ** size - (8 - rank) ** size) / 8**size
        share = float((RANKS[parents] == rank).float().mean())
        assert abs(share - expected) <= 4 * (expected * (1 - expected) / n_draws) ** 0.5, rank


def test_tournaments_are_those_of_deap():
    """The same draws, made by DEAP on lists of genes in its usual manner."""
    creator.create("LeastLoss", base.Fitness, weights=(-1.0,))
    creator.create("Listed", list, fitness=creator.LeastLoss)
    _, parents, _ = select(3, selection=Tournament(size=3), n_elites=2)
    for seed, chosen_by_rule in zip(
        Stream("step", range(3)).integers(2**62).tolist(), parents, strict=True
    ):
        individuals = [creator.Listed([index]) for index in range(8)]
        for individual, rank in zip(individuals, RANKS.tolist(), strict=True):
            individual.fitness.values = (rank,)
        with global_generators(seed):
            chosen = tools.selTournament(individuals, 6, tournsize=3)
        assert [individual[0] for individual in chosen] == chosen_by_rule.tolist()


def test_truncation_draws_evenly_from_exactly_the_best():
    _, parents, _ = select(selection=Truncation(n_parents=3), n_elites=0)
    n_draws = parents.numel()
    counts = torch.bincount(RANKS[parents].flatten(), minlength=9)
    assert counts[4:].sum() == 0
    for count in counts[1:4].tolist():
        assert abs(count / n_draws - 1 / 3) <= 4 * (2 / 9 / n_draws) ** 0.5


def first_front(points):
    """Indices of the points that no other dominates: it is nowhere larger and somewhere smaller."""
    no_larger, smaller = (
        compare(points, points[:, None]).numpy() for compare in (torch.le, torch.lt)
    )
    return set(np.flatnonzero(~(no_larger.all(2) & smaller.any(2)).any(1)).tolist())


@pytest.mark.parametrize("seed", range(8))
def test_nsga2_draws_parents_evenly_from_exactly_the_first_front(seed):
    # small integers: with ties and doubles
    points = Stream("test", [seed]).integers(9, 12, 2)[0].float()
    front = first_front(points)
    method = Genetic(population_size=12, selection=NSGA2(n_parents=len(front)), n_elites=0)
    rng = Stream("step", range(300))
    _, parents, _ = method.toolbox(0, None, SILENT, rng).select(points.expand(300, -1, -1))
    share = 1 / len(front)
    assert set(parents.flatten().tolist()) == front
    for index in front:
        assert (
            abs((parents == index).float().mean() - share)
            <= 4.5 * (share * (1 - share) / parents.numel()) ** 0.5
        )


def test_nsga2_breaks_a_front_at_its_crowded_places():
    points = torch.tensor([[0.0, 9.0], [4.0, 5.0], [4.5, 4.5], [5.0, 4.0], [9.0, 0.0], [9.0, 9.0]])
    method = Genetic(population_size=6, selection=NSGA2(n_parents=4), n_elites=1)
    rng = Stream("step", range(100))
    toolbox = method.toolbox(0, None, SILENT, rng)
    best, parents, statistics = toolbox.select(points.expand(100, -1, -1))
    # the one in the middle is the least apart
    assert set(parents.flatten().tolist()) == {0, 1, 3, 4}
    assert (best == 0).all()  # the lowest loss
    assert (statistics["max"] == 9).all()
    assert statistics["mean"].tolist() == pytest.approx([31.5 / 6] * 100)


def test_objectives_are_the_loss_and_a_size(start):
    for second in ("weight_norm", "active_connections"):
        selection = NSGA2(n_parents=3, second_objective=second, active_threshold=0.2)
        method = Genetic(population_size=5, selection=selection)
        given = start(method)
        population = given.state["population"].clone()
        population[:, 4, 0] = float("nan")
        losses, sizes = method.evaluate(population, given.sealed, given.problem).unbind(2)
        assert_close(losses[:, :4], population_loss(given, population)[:, :4])
        for replica, candidate in np.ndindex(2, 4):
            weights = population[replica, candidate].tolist()
            expected = sum(weight**2 for weight in weights) ** 0.5
            if second == "active_connections":
                expected = sum(abs(weight) > 0.2 for weight in weights)
            assert float(sizes[replica, candidate]) == pytest.approx(expected, rel=1e-5)
        assert (losses[:, 4] == np.inf).all()
        assert (sizes[:, 4] == np.inf).all()  # dominated by everyone


@pytest.mark.parametrize("second", ["weight_norm", "active_connections"])
def test_the_second_objective_falls_beyond_what_the_loss_alone_makes_of_it(second, start):
    sizes = []
    both = NSGA2(n_parents=10, second_objective=second, active_threshold=0.05)
    for selection in (both, Truncation(n_parents=10)):
        settings = {"selection": selection, "mutation": Gaussian(std=0.02), "n_elites": 0}
        given = start(Genetic(population_size=30, **settings))
        population = advance(given, 30)["population"]
        size = population.norm(dim=2)
        if second == "active_connections":
            size = (population.abs() > 0.05).float().sum(2)
        sizes.append(size.mean(1))
    assert (sizes[0] < 0.98 * sizes[1]).all()


def test_the_hall_of_fame_and_the_statistics_are_the_generations():
    best, parents, statistics = select(2, n_elites=3)
    assert RANKS[best].tolist() == [[1, 2, 3]] * 2
    assert parents.shape == (2, 5)
    for name, value in (("min", 1.0), ("mean", 4.5), ("max", 8.0), ("std", np.std(range(1, 9)))):
        assert statistics[name].tolist() == pytest.approx([value] * 2)


def test_a_candidate_without_a_loss_never_wins(start):
    given = start(
        Genetic(population_size=8, selection=Tournament(size=8), mutation=Gaussian(std=0.0))
    )
    broken = given.state["population"].clone()
    broken[:, 3, 7] = float("nan")
    given.state = {**given.state, "population": broken}
    assert advance(given)["population"][:, 0].isfinite().all()


def test_pythons_random_numbers_are_left_alone(start):
    given = start(Genetic(population_size=8))
    before = random.getstate()
    advance(given)
    assert random.getstate() == before


# --------------------------------------------------------------------------------------------------


def marked(n_candidates, n_weights=50, n_replicas=3):
    """Candidates whose every gene says where it comes from: 1000 * candidate + locus."""
    genes = 1000.0 * torch.arange(n_candidates).unsqueeze(1) + torch.arange(n_weights)
    return genes.expand(n_replicas, -1, -1).clone()


def mate(candidates, **settings):
    n_replicas = len(candidates)
    rng = Stream("step", range(n_replicas))
    Genetic(**settings).toolbox(0, None, SILENT, rng).mate(candidates)
    return candidates


@pytest.mark.parametrize("crossover", [Uniform(), TwoPoint()])
@pytest.mark.parametrize("n_candidates", [6, 7])
def test_pairs_exchange_genes_of_the_same_locus(crossover, n_candidates):
    before = marked(n_candidates)
    after = mate(before.clone(), crossover=crossover)
    assert torch.equal(after % 1000, before % 1000)
    pairs = n_candidates - n_candidates % 2
    assert torch.equal(after[:, pairs:], before[:, pairs:])  # an odd one out keeps its genes
    parents = (after[:, :pairs] // 1000).long().unflatten(1, (-1, 2))
    expected = torch.arange(pairs).view(-1, 2, 1).expand_as(parents)
    # both children together hold both parents' genes
    assert torch.equal(parents.sort(2).values, expected)
    crossings = (parents.diff(dim=3) != 0).sum(3)
    assert (crossings.max() > 2) == (crossover == Uniform())
    assert crossings.max() > 0


def test_the_crossover_rate_is_the_share_of_pairs_that_mate():
    after = mate(marked(2000, 50, 2), crossover=Uniform(rate=0.3))
    mated = (after != marked(2000, 50, 2)).any(2)[:, ::2].float()
    assert abs(mated.mean() - 0.3) <= 4 * (0.3 * 0.7 / mated.numel()) ** 0.5


@pytest.mark.parametrize(
    ("mutation", "share"), [(Gaussian(), 1.0), (Sparse(rate=0.2), 0.2), (Safe(), 1.0)]
)
def test_children_mutate_as_the_settings_say(start, mutation, share):
    given = start(
        Genetic(population_size=8, n_elites=1, crossover=NoCrossover(), mutation=mutation)
    )
    before = given.state["population"]
    children = advance(given)["population"][:, 1:]
    # from the nearest parent
    changed = (children.unsqueeze(2) != before.unsqueeze(1)).float().mean(3).amin(2)
    assert ((changed - share).abs() < 0.04).all()


def test_mutation_decays_in_steps():
    method = Genetic(mutation=Gaussian(std=0.08, decay=0.5, n_decay_generations=10))
    for generation, std in ((0, 0.08), (9, 0.08), (10, 0.04), (19, 0.04), (20, 0.02)):
        toolbox = method.toolbox(generation, None, SILENT, Stream("step", [0]))
        genes = torch.zeros(1, 100, 400)
        toolbox.mutate(genes)
        assert float(genes.std()) == pytest.approx(std, rel=0.02)


def test_generations_count_towards_the_decay(start):
    mutation = Gaussian(decay=1e-6, n_decay_generations=2)
    given = start(Genetic(population_size=8, crossover=NoCrossover(), mutation=mutation))
    nearest = []
    for _ in range(3):
        before = given.state["population"]
        nearest.append(torch.cdist(advance(given)["population"][:, 1:], before).amin(2).amax())
    assert nearest[0] > 0.01
    assert nearest[1] > 0.01
    assert nearest[2] < 1e-4  # copies of their parents


# ---------------------------------------------------------------------------------------------- saf


class Unequal(Layer):
    """The toy of Lehman et al. (2018): y = (100 w_0 x_0, 0.1 w_1 x_1)."""

    scale = torch.tensor([100.0, 0.1])

    def parameters(self, shape):
        return {"weight": shape}

    def forward(self, weights, x, rng=None):
        scaled = self.scale.unsqueeze(1) * x
        return weights["weight"].unflatten(0, (len(x), -1)).unsqueeze(-1).mul(
            scaled.unsqueeze(1)
        ).flatten(0, 1), scaled

    def carry(self, weights, cache, dy, carrier=None):
        raise AssertionError("nothing is below")

    def gradients(self, cache, dy):
        return {"weight": (dy * cache).sum(-1)}


@pytest.mark.parametrize("n_inputs", [1, 3])
def test_safe_mutations_look_at_as_many_inputs_as_asked_for(n_inputs, start):
    given = start(Genetic(mutation=Safe(n_inputs=n_inputs)))
    inputs = given.sealed.inputs.clone()
    children = []
    for beyond in (0, 1):  # what the other inputs are makes no difference
        inputs[:, n_inputs:] = beyond
        toolbox = given.method.toolbox(
            0, Batch(inputs, None), given.problem, Stream("step", given.seeds)
        )
        children.append(given.state["population"][:, :2].clone())
        toolbox.mutate(children[-1])
    assert torch.equal(*children)
    inputs[:, n_inputs - 1] = 0
    toolbox = given.method.toolbox(
        0, Batch(inputs, None), given.problem, Stream("step", given.seeds)
    )
    other = given.state["population"][:, :2].clone()
    toolbox.mutate(other)
    assert not torch.equal(other, children[0])


TOYS = {  # inputs, which are the targets too
    "easy": [(0.0, 1.0), (0.0, 1.0)],
    "medium": [(1.0, 0.0), (0.0, 1.0)],
    "washout": [(1.0, 1.0), (-1.0, -1.0)],
}


MUTATIONS = {
    "gaussian": Gaussian(),
    "safe_sum": Safe(derivatives="sum"),
    "safe_abs": Safe(derivatives="abs"),
}


def climb(mutation, std, n_steps, n_seeds, init_range=1.0):
    """Median over seeds of the squared error that a (1+1) hill climber comes to, on each toy."""
    spec = TaskSpec("test/toy", (2,), 2, TargetKind.VALUES, None, "r2_score", (0.1, 0.2, 0.3))
    method = Genetic(
        population_size=2,
        selection=Truncation(n_parents=1),
        crossover=NoCrossover(),
        mutation=replace(MUTATIONS[mutation], std=std, decay=1.0),
        init_std=0.0,
        n_elites=1,
        solution="best",
    )
    problem = Problem(LayeredNetwork([Unequal()], (2,), he), spec, signal=method.signal)
    examples = torch.tensor(list(TOYS.values())).repeat_interleave(n_seeds, 0)
    batch, rng = Batch(examples, examples), Stream("step", range(len(examples)))
    state = method.init(problem, init_range * (2 * rng.uniform(2) - 1), rng)
    for _ in range(n_steps):
        state = method.step(state, batch, problem, rng)
    # the loss is half the square, averaged over two examples
    errors = 4 * problem.loss(method.params(state), batch)
    return dict(
        zip(TOYS, errors.unflatten(0, (-1, n_seeds)).median(1).values.tolist(), strict=True)
    )


SOLVED = {
    "gaussian": {"easy": True, "medium": False, "washout": False},
    "safe_sum": {"easy": True, "medium": True, "washout": False},
    "safe_abs": {"easy": True, "medium": True, "washout": True},
}


@pytest.mark.parametrize(
    ("mutation", "std"), [("gaussian", 3.0), ("safe_sum", 0.3), ("safe_abs", 0.3)]
)
def test_safe_mutations_solve_the_toys_they_are_published_to_solve(mutation, std):
    """From closer by than in the source, to take no thousands of steps; see the slow test below."""
    for toy, error in climb(mutation, std, 150, n_seeds=3, init_range=0.05).items():
        assert error < 0.01 if SOLVED[mutation][toy] else error > 0.3, (toy, error)


@pytest.mark.slow
@pytest.mark.parametrize("mutation", SOLVED)
def test_whatever_the_size_of_mutations_no_other_toys_are_solved(mutation):
    runs = [climb(mutation, std, 1500, n_seeds=3) for std in (0.01, 0.1, 1.0)]
    for toy, solved in SOLVED[mutation].items():
        error = min(run[toy] for run in runs)
        assert error < 0.01 if solved else error > 0.3, (toy, error)


# -------------------------------------------------------------------------------------------------


def test_the_first_population_surrounds_the_shared_initial_weights(start):
    given = start(Genetic(population_size=40, init_std=0.2))
    population = given.state["population"]
    assert torch.equal(population[:, 0], given.params)
    assert torch.equal(given.method.params(given.state), given.params)
    spread = population[:, 1:] - given.params.unsqueeze(1)
    assert float(spread.std()) == pytest.approx(0.2, rel=0.01)
    assert abs(float(spread.mean())) < 0.005


def test_a_population_is_evaluated_as_one_network_after_another(start):
    given = start(Genetic(population_size=9))
    together = population_loss(given, given.state["population"])
    for replica in range(2):
        shown = Batch(given.batch.inputs[[replica]], given.batch.targets[[replica]])
        observer = Problem(given.network, given.task.spec)
        alone = [
            float(observer.loss(weights.unsqueeze(0), shown))
            for weights in given.state["population"][replica]
        ]
        assert_close(together[replica], torch.tensor(alone), rtol=1e-5, atol=1e-6)


def test_without_variation_a_generation_is_elites_and_the_parents_deap_chooses(start):
    given = start(Genetic(population_size=12, n_elites=3, **STILL))
    before = given.state["population"]
    losses = population_loss(given, before)
    seeds = Stream("step", given.seeds)
    seeds.normal(12, before.shape[2])  # the first population
    draws = seeds.integers(2**62).tolist()
    after = advance(given)["population"]
    for replica, seed in enumerate(draws):
        order = losses[replica].argsort().tolist()
        rng = random.Random(seed)
        rank = order.index
        parents = [min((rng.choice(range(12)) for _ in range(3)), key=rank) for _ in range(9)]
        assert torch.equal(after[replica], before[replica, order[:3] + parents])


@pytest.mark.parametrize("selection", [Tournament(), Truncation(n_parents=6)])
@pytest.mark.parametrize("n_elites", [1, 4])
def test_elites_never_lose_the_best_on_a_fixed_batch(start, selection, n_elites):
    given = start(
        Genetic(
            population_size=12,
            n_elites=n_elites,
            selection=selection,
            mutation=Gaussian(std=0.3),
        )
    )
    lowest = [population_loss(given, given.state["population"]).amin(1)]
    for _ in range(15):
        before = given.state["population"]
        order = population_loss(given, before).argsort(1)[:, :n_elites]
        after = advance(given)["population"]
        for replica in range(2):
            assert torch.equal(after[replica, :n_elites], before[replica, order[replica]])
        lowest.append(population_loss(given, after).amin(1))
    assert (torch.stack(lowest).diff(dim=0) <= 1e-6).all()


def test_without_mutation_and_all_but_one_elite_everyone_only_gets_better(start):
    given = start(Genetic(population_size=10, n_elites=9, **STILL))
    history = [population_loss(given, given.state["population"]).sort(1).values]
    for _ in range(12):
        history.append(population_loss(given, advance(given)["population"]).sort(1).values)
    ranked = torch.stack(history)
    assert (ranked.diff(dim=0) <= 1e-6).all()
    assert (ranked[-1].mean(1) < ranked[0].mean(1)).all()


@pytest.mark.parametrize(
    "settings",
    [
        {"selection": Tournament(), "crossover": Uniform(), "solution": "mean"},
        {"selection": BEST_TEN, "crossover": TwoPoint()},
        {"selection": BEST_TEN, "crossover": NoCrossover(), "mutation": Sparse(std=0.05, rate=0.2)},
        {"selection": NSGA2(n_parents=10, second_objective="active_connections")},
        {"mutation": Safe(std=0.01)},
        {"mutation": Safe(std=1.0, limit=0.1)},
        {"mutation": Safe(std=0.01, derivatives="abs", n_inputs=4)},
    ],
)
def test_the_loss_falls(start, settings):
    settings = {"mutation": Gaussian(std=0.05), "solution": "best", **settings}
    given = start(Genetic(population_size=40, **settings), batch_size=32)
    first = population_loss(given, given.params.unsqueeze(1))
    advance(given, 40)
    assert (
        population_loss(given, given.method.params(given.state).unsqueeze(1)) < 0.6 * first
    ).all()


def test_the_answer_is_the_best_on_the_batch_or_the_mean_of_the_children(start):
    for n_elites in (0, 2):
        best = start(Genetic(population_size=10, n_elites=n_elites, solution="best"))
        for _ in range(3):
            before = best.state["population"]
            winner = population_loss(best, before).argmin(1)
            assert torch.equal(best.method.params(advance(best)), before[torch.arange(2), winner])
    mean = start(Genetic(population_size=10, solution="mean"))
    state = advance(mean, 3)
    assert_close(mean.method.params(state), state["population"].sum(1) / 10)


def test_everyone_is_evaluated_again_on_the_next_batch(start):
    """An elite that a new batch finds bad is no elite any more."""
    given = start(Genetic(population_size=12, n_elites=2, **STILL))
    advance(given)
    permuted = (given.batch.targets + 1) % 10
    given.batch = given.sealed = Batch(given.batch.inputs, permuted)
    given.problem = Problem(given.network, given.task.spec, signal=given.method.signal)
    before = given.state["population"]
    order = population_loss(given, before).argsort(1)
    after = advance(given)["population"]
    for replica in range(2):
        assert torch.equal(after[replica, 0], before[replica, order[replica, 0]])
        assert not torch.equal(after[replica, 0], before[replica, 0])


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {
            "selection": Truncation(n_parents=4),
            "crossover": TwoPoint(),
            "mutation": Sparse(),
            "solution": "best",
            "n_elites": 0,
        },
        {"selection": NSGA2(n_parents=4), "mutation": Safe(derivatives="abs", n_inputs=2)},
    ],
)
def test_a_replica_equals_the_same_seed_alone_for_a_hundred_generations(start, settings):
    method = Genetic(population_size=10, **settings)
    stacked = start(method, seeds=(3, 5, 7))
    alone = start(method, seeds=(5,))
    alone.batch = alone.sealed = Batch(stacked.batch.inputs[1:2], stacked.batch.targets[1:2])
    stacked.sealed = stacked.batch
    advance(stacked, 100)
    advance(alone, 100)
    assert_close(stacked.state["population"][1:2], alone.state["population"], rtol=1e-5, atol=1e-6)


def test_a_run_resumed_from_a_file_ends_bit_for_bit_where_it_would(start, tmp_path):
    given = start(Genetic(population_size=10, mutation=Gaussian(n_decay_generations=3)))
    advance(given, 4)
    torch.save({"state": given.state, "rng": given.rng.state()}, tmp_path / "state.pt")
    whole = advance(given, 4)
    saved = torch.load(tmp_path / "state.pt", weights_only=True)
    given.state = saved["state"]
    given.rng.restore(saved["rng"])
    assert_close(advance(given, 4), whole, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("made", "settings", "message"),
    [
        (Genetic, {"population_size": 1}, r"^population_size must be an integer >= 2, got 1$"),
        (
            Genetic,
            {"selection": Truncation(n_parents=65)},
            r"^n_parents must be <= population_size \(64\), got 65$",
        ),
        (
            Genetic,
            {"selection": NSGA2(n_parents=65)},
            r"^n_parents must be <= population_size \(64\), got 65$",
        ),
        (Genetic, {"n_elites": 64}, r"^n_elites must be < population_size \(64\), got 64$"),
        (Sparse, {"rate": 1.0}, r"^rate must be in \(0, 1\), got 1.0$"),
        (Safe, {"limit": 0.0}, r"^limit must be > 0, or null, got 0.0$"),
        (Gaussian, {"decay": 0.0}, r"^decay must be in \(0, 1\], got 0.0$"),
        (
            Genetic,
            {"crossover": "three_point"},
            r"^crossover must be a Crossover, or a NoCrossover, got 'three_point'$",
        ),
    ],
)
def test_bad_settings_are_refused(made, settings, message):
    with pytest.raises(InputError, match=message):
        made(**settings)
