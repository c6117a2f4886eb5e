"""Genetic algorithm on the weights (Montana & Davis, 1989), with DEAP's selection (Fortin et al., 2012).

A population of networks is evaluated on a batch; the better ones become parents, exchange genes in pairs and mutate.

    L_i     = loss of candidate w_i on the batch                       i = 1 .. P
    parents = tournament: the best of `tournament_size` drawn, P times
              truncation: drawn from the `n_parents` best (Such et al., 2017)
    a_j, b_j swap                   uniform: with probability 1/2 at each gene j
                                    two-point: for first <= j < second
    w_j    += s_t N(0, 1)           gaussian: every gene; sparse: with probability `mutation_rate`
    s_t     = mutation_std mutation_decay^floor(t / n_decay_generations)

The `n_elites` best survive unchanged and are evaluated again with everyone on the next batch.

Departures: a gene is one weight, not all weights into a unit; a new batch each generation instead of the whole training
set; the answer may be the population's mean, which averages the mutations out.
Needs: global loss.
Cost: P forward passes of the batch.
Check: tournaments win with probability ((P-i+1)^t - (P-i)^t) / P^t at rank i (tests/methods/test_genetic.py).
Source: IJCAI 1989, 762-767; truncation selection: arXiv:1712.06567; DEAP: JMLR 13, 2171-2175.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, inf, log1p, sqrt
from operator import attrgetter
from typing import Any, ClassVar, TypedDict

import numpy as np
import torch
from deap import base, tools
from torch import Tensor

from beyond.contracts import Batch, Method, Signal
from beyond.errors import require, require_one_of
from beyond.problem import Problem
from beyond.streams import Stream, global_generators


class State(TypedDict):
    """The population, and the answer made from it."""

    population: Tensor  # (R, P, n), to be evaluated on the next batch
    solution: Tensor  # (R, n)
    generation: int
    statistics: dict[str, Tensor]  # min, mean, max and std of the last generation's losses, each (R,)


@dataclass(frozen=True)
class Genetic(Method[State]):
    """Breed the candidates with the lowest loss.

    Parameters
    ----------
    population_size : int, >= 2
    batch_size : int, >= 1
        Examples a generation; a training set that is smaller is taken whole.
    selection : {"tournament", "truncation"}
        How parents are drawn, always with replacement.
    tournament_size : int, >= 1
        Candidates in a tournament.
    n_parents : int, >= 1
        Candidates that truncation leaves; at most `population_size`.
    crossover : {"uniform", "two_point", "none"}
    crossover_rate : float in [0, 1]
        Probability that a pair of parents exchanges genes at all.
    mutation : {"gaussian", "sparse"}
    mutation_std : float, >= 0
        Standard deviation of a mutation in the first generation.
    mutation_rate : float in (0, 1)
        Probability that a gene mutates, where mutation is sparse.
    mutation_decay : float in (0, 1]
        Factor on the standard deviation every `n_decay_generations`.
    n_decay_generations : int, >= 1
    init_std : float, >= 0
        Spread of the first population around the shared initial weights, which are its first candidate.
    n_elites : int, >= 0, < population_size
        Best candidates that survive unchanged.
    solution : {"best", "mean"}
        The answer: the best on this generation's batch, or the mean of the population bred from it.
    """

    signal: ClassVar[Signal] = Signal.LOSS

    population_size: int = 64
    batch_size: int = 64
    selection: str = "tournament"
    tournament_size: int = 3
    n_parents: int = 16
    crossover: str = "uniform"
    crossover_rate: float = 1.0
    mutation: str = "gaussian"
    mutation_std: float = 0.01
    mutation_rate: float = 0.05
    mutation_decay: float = 0.5
    n_decay_generations: int = 2000
    init_std: float = 0.1
    n_elites: int = 1
    solution: str = "mean"

    def __post_init__(self) -> None:
        size = self.population_size
        require("population_size", ">= 2", size, size >= 2)
        require("batch_size", ">= 1", self.batch_size, self.batch_size >= 1)
        require_one_of("selection", ("tournament", "truncation"), self.selection)
        require("tournament_size", ">= 1", self.tournament_size, self.tournament_size >= 1)
        require("n_parents", ">= 1", self.n_parents, self.n_parents >= 1)
        if self.selection == "truncation":
            require("n_parents", f"<= population_size ({size})", self.n_parents, self.n_parents <= size)
        require_one_of("crossover", ("uniform", "two_point", "none"), self.crossover)
        require("crossover_rate", "in [0, 1]", self.crossover_rate, 0 <= self.crossover_rate <= 1)
        require_one_of("mutation", ("gaussian", "sparse"), self.mutation)
        require("mutation_std", ">= 0", self.mutation_std, self.mutation_std >= 0)
        require("mutation_rate", "in (0, 1)", self.mutation_rate, 0 < self.mutation_rate < 1)
        require("mutation_decay", "in (0, 1]", self.mutation_decay, 0 < self.mutation_decay <= 1)
        require("n_decay_generations", ">= 1", self.n_decay_generations, self.n_decay_generations >= 1)
        require("init_std", ">= 0", self.init_std, self.init_std >= 0)
        require("n_elites", f">= 0 and < population_size ({size})", self.n_elites, 0 <= self.n_elites < size)
        require_one_of("solution", ("best", "mean"), self.solution)

    def init(self, problem: Problem, params: Tensor, rng: Stream) -> State:
        spread = rng.normal(self.population_size, params.shape[1]) * self.init_std
        spread[:, 0] = 0
        return {"population": spread.add_(params.unsqueeze(1)), "solution": params, "generation": 0, "statistics": {}}

    def step(self, state: State, batch: Batch, problem: Problem, rng: Stream) -> State:
        toolbox = self.toolbox(state["generation"], batch, problem, rng)
        population = state["population"]
        best, parents, statistics = self.select(toolbox.evaluate(population), toolbox, rng)
        offspring = take(population, torch.cat([best[:, : self.n_elites], parents], 1))
        children = offspring[:, self.n_elites :]  # a view
        if self.crossover != "none":
            toolbox.mate(children)
        toolbox.mutate(children)
        return {
            "population": offspring,
            "solution": take(population, best[:, :1]).squeeze(1) if self.solution == "best" else offspring.mean(1),
            "generation": state["generation"] + 1,
            "statistics": statistics,
        }

    def params(self, state: State) -> Tensor:
        return state["solution"]

    def toolbox(self, generation: int, batch: Batch, problem: Problem, rng: Stream) -> Any:
        """Fill DEAP's toolbox: `evaluate`, `mate` and `mutate` act on whole populations, `select` on individuals."""
        toolbox = base.Toolbox()
        toolbox.register("evaluate", problem.population_loss, batch=batch)
        if self.selection == "tournament":
            toolbox.register("select", tools.selTournament, tournsize=self.tournament_size)
        else:
            toolbox.register("select", select_truncation, n_parents=self.n_parents)
        swaps = two_point_swaps if self.crossover == "two_point" else uniform_swaps
        toolbox.register("mate", mate, swaps=swaps, rate=self.crossover_rate, rng=rng)
        std = self.mutation_std * self.mutation_decay ** (generation // self.n_decay_generations)
        if self.mutation == "gaussian":
            toolbox.register("mutate", mutate_gaussian, std=std, rng=rng)
        else:
            toolbox.register("mutate", mutate_sparse, std=std, rate=self.mutation_rate, rng=rng)
        return toolbox

    def select(self, losses: Tensor, toolbox: Any, rng: Stream) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Indices of the best candidates (R, E) and of the parents (R, P - n_elites), and statistics of the losses."""
        best, parents, records = [], [], []
        for values, seed in zip(losses.nan_to_num(inf, inf).tolist(), rng.integers(2**62).tolist(), strict=True):
            individuals = [Individual(index, loss) for index, loss in enumerate(values)]
            hall = tools.HallOfFame(max(1, self.n_elites))
            hall.update(individuals)
            best.append(list(hall))
            with global_generators(seed):  # DEAP draws from Python's
                parents.append(toolbox.select(individuals, len(values) - self.n_elites))
            with np.errstate(invalid="ignore"):  # an infinite loss has no spread
                records.append(STATISTICS.compile(individuals))
        statistics = {name: torch.tensor([record[name] for record in records]) for name in STATISTICS.fields}
        return torch.tensor(best), torch.tensor(parents), statistics


class Fitness(base.Fitness):
    """One loss; less is better."""

    weights = (-1.0,)

    def __init__(self, loss: float = inf) -> None:
        self.wvalues = (-loss,)  # DEAP's own initialiser spends 6 microseconds on checks


class Individual(int):
    """A candidate's index in its population, with the fitness that DEAP's operators look at."""

    fitness: Fitness

    def __new__(cls, index: int, loss: float = inf) -> "Individual":
        individual = super().__new__(cls, index)
        individual.fitness = Fitness(loss)
        return individual


STATISTICS = tools.Statistics(attrgetter("fitness.values"))
for function in (np.min, np.mean, np.max, np.std):
    STATISTICS.register(function.__name__, function)


def select_truncation(individuals: list[Individual], k: int, n_parents: int) -> list[Individual]:
    """Draw k parents, with replacement, from the `n_parents` best."""
    return tools.selRandom(tools.selBest(individuals, n_parents), k)


def take(population: Tensor, indices: Tensor) -> Tensor:
    """Copy candidates (R, K, n) by their indices (R, K) in a population (R, P, n)."""
    n_replicas, size, _ = population.shape
    rows = indices + size * torch.arange(n_replicas).unsqueeze(1)
    return population.flatten(0, 1).index_select(0, rows.flatten()).unflatten(0, rows.shape)


def mate(candidates: Tensor, swaps: Callable[[Stream, int, int], Tensor], rate: float, rng: Stream) -> None:
    """Let neighbours (0, 1), (2, 3), ... of candidates (R, K, n) swap genes in place, pairs with probability `rate`."""
    _, n_candidates, n_weights = candidates.shape
    n_pairs = n_candidates // 2
    first, second = candidates[:, : 2 * n_pairs : 2], candidates[:, 1 : 2 * n_pairs : 2]
    swap = swaps(rng, n_pairs, n_weights) * (rng.uniform(n_pairs, 1) < rate)
    mixed = first.lerp(second, swap)  # exact at 0 and 1, and several times faster than torch.where
    second.lerp_(first, swap)
    first.copy_(mixed)


def uniform_swaps(rng: Stream, n_pairs: int, n_weights: int) -> Tensor:
    """One fair coin a gene: 1.0 or 0.0, shape (R, n_pairs, n). A draw has 31 coins in it, for speed."""
    draws = rng.integers(2**31, n_pairs, ceil(n_weights / 31)).int()
    coins = (draws.unsqueeze(-1) >> torch.arange(31, dtype=torch.int32)) & 1
    return coins.flatten(2)[..., :n_weights].float()


def two_point_swaps(rng: Stream, n_pairs: int, n_weights: int) -> Tensor:
    """1.0 between two points drawn along the genes, 0.0 outside, shape (R, n_pairs, n)."""
    first, second = rng.integers(n_weights + 1, n_pairs, 2).sort(-1).values.split(1, -1)
    genes = torch.arange(n_weights)
    return ((first <= genes) & (genes < second)).float()


def mutate_gaussian(candidates: Tensor, std: float, rng: Stream) -> None:
    """Add normal noise to every gene of candidates (R, K, n), in place."""
    candidates.add_(rng.normal(*candidates.shape[1:]), alpha=std)


def mutate_sparse(candidates: Tensor, std: float, rate: float, rng: Stream) -> None:
    """Add normal noise to each gene with probability `rate`, in place.

    The gaps between mutating genes are geometric, so only those genes are drawn: 8 standard deviations more than their
    expected number, of which the ones beyond the last gene are dropped.
    """
    genes = candidates.view(len(candidates), -1)
    expected = genes.shape[1] * rate
    n_draws = ceil(expected + 8 * sqrt(expected) + 8)
    gaps = (-rng.uniform(n_draws)).log1p_().div_(log1p(-rate)).long() + 1
    positions = gaps.cumsum(1) - 1
    noise = rng.normal(n_draws) * (std * (positions < genes.shape[1]))
    genes.scatter_add_(1, positions.clamp_(max=genes.shape[1] - 1), noise)
