"""Genetic algorithm on the weights (Montana & Davis, 1989), with DEAP's selection (Fortin et al.,
2012).

A population of networks is evaluated on a batch; the better ones become parents, exchange genes in
pairs and mutate.

    L_i     = loss of candidate w_i on the batch                       i = 1 .. P
    parents = tournament: the best of `tournament_size` drawn, P times
              truncation: drawn from the `n_parents` best (Such et al., 2017) nsga2: drawn from the
              `n_parents` best by front, then by crowding, of L_i and a second objective
    a_j, b_j swap                   uniform: with probability 1/2 at each gene j
                                    two-point: for first <= j < second
    w_j    += s_t N(0, 1)           gaussian: every gene; sparse: with probability `mutation_rate`
    w_j    += s_t N(0, 1) / S_j     safe_sum: S_j = sqrt(sum_k (sum_i d y_ik / d w_j)^2)
                                    safe_abs: S_j = sqrt(sum_k (mean_i |d y_ik / d w_j|)^2)
    s_t     = mutation_std mutation_decay^floor(t / n_decay_generations)

The `n_elites` of lowest loss survive unchanged and are evaluated again with everyone on the next
batch. Safe mutations (Lehman et al., 2018) are small where the outputs y_k at inputs i of the batch
are sensitive to a weight: S_j, at least 0.01, and 1 where it is zero; no weight moves by more than
`safe_limit`, where that is set. They are told nothing of the targets, but their derivatives travel
as an error would.

Departures: a gene is one weight, not all weights into a unit; a new batch each generation instead
of the whole training set; the answer may be the population's mean, which averages the mutations
out; NSGA-II chooses parents from one population, not survivors from parents and children, for their
losses are of different batches; safe mutations look at inputs of the batch, not of a parent's life;
dropout is off.
Needs: global loss.
Cost: P forward passes of the batch; with safe mutations, for each child also a forward pass of
`n_safe_inputs` inputs and one backward pass per output.
Check: tournaments win with probability ((P-i+1)^t - (P-i)^t) / P^t at rank i; the first front is
every candidate that none dominates, by enumeration; sensitivities are torch's Jacobian's
(tests/methods/test_genetic.py).
Source: IJCAI 1989, 762-767; truncation selection: arXiv:1712.06567; safe mutations:
arXiv:1712.06563; NSGA-II: Deb et al., 2002, doi:10.1109/4235.996017; DEAP: JMLR 13, 2171-2175.
"""

from math import inf
from typing import Annotated, Any, ClassVar, Literal, TypedDict

import torch
from annotated_types import Ge, Interval
from deap import base, tools
from torch import Tensor

from beyond.contracts import Batch, Method, Signal
from beyond.errors import require
from beyond.kits.selection import select, select_from_best, take
from beyond.kits.variation import (
    mate,
    mutate_gaussian,
    mutate_safe,
    mutate_sparse,
    two_point_swaps,
    uniform_swaps,
)
from beyond.problem import Problem
from beyond.settings import (
    NonNegative,
    NonNegativeInt,
    Positive,
    PositiveInt,
    UnitInterval,
    UpToOne,
    settings,
)
from beyond.streams import Stream


class State(TypedDict):
    """The population, and the answer made from it."""

    population: Tensor  # (R, P, n), to be evaluated on the next batch
    solution: Tensor  # (R, n)
    generation: int
    # min, mean, max and std of the last generation's losses, each (R,)
    statistics: dict[str, Tensor]


@settings
class Genetic(Method[State]):
    """Breed the candidates with the lowest loss.

    Parameters
    ----------
    population_size : int, >= 2
    batch_size : int, >= 1
        Examples per generation; a smaller training set is used in full.
    selection : {"tournament", "truncation", "nsga2"}
        How parents are drawn, always with replacement.
    tournament_size : int, >= 1
        Candidates in a tournament.
    n_parents : int, >= 1
        Candidates that truncation and NSGA-II leave; at most `population_size`.
    second_objective : {"weight_norm", "active_connections"}
        What NSGA-II keeps small as well as the loss: the norm of the weights, or the number of
        those that are not tiny.
    active_threshold : float, >= 0
        A connection is active where its weight is larger than this.
    crossover : {"uniform", "two_point", "none"}
    crossover_rate : float in [0, 1]
        Probability that a pair of parents exchanges genes at all.
    mutation : {"gaussian", "sparse", "safe_sum", "safe_abs"}
    mutation_std : float, >= 0
        Standard deviation of a mutation in the first generation.
    mutation_rate : float in (0, 1)
        Probability that a gene mutates, where mutation is sparse.
    mutation_decay : float in (0, 1]
        Factor on the standard deviation every `n_decay_generations`.
    n_decay_generations : int, >= 1
    n_safe_inputs : int, >= 1
        Inputs of the batch at which safe mutations look at the outputs; at most all of them.
    safe_limit : float, > 0, optional
        Largest change of a gene by one safe mutation (in the authors' code 0.2 in deep networks, 10
        on toys).
    init_std : float, >= 0
        Spread of the first population around the shared initial weights, which are its first
        candidate.
    n_elites : int, >= 0, < population_size
        Best candidates that survive unchanged; of equal ones those that had survived before.
    solution : {"best", "mean"}
        The answer: the best on this generation's batch, or the mean of the population bred from it.
    """

    signal: ClassVar[Signal] = Signal.LOSS

    population_size: Annotated[int, Ge(2)] = 64
    batch_size: PositiveInt = 64
    selection: Literal["tournament", "truncation", "nsga2"] = "tournament"
    tournament_size: PositiveInt = 3
    n_parents: PositiveInt = 16
    second_objective: Literal["weight_norm", "active_connections"] = "weight_norm"
    active_threshold: NonNegative = 0.01
    crossover: Literal["uniform", "two_point", "none"] = "uniform"
    crossover_rate: UnitInterval = 1.0
    mutation: Literal["gaussian", "sparse", "safe_sum", "safe_abs"] = "gaussian"
    mutation_std: NonNegative = 0.01
    mutation_rate: Annotated[float, Interval(gt=0, lt=1)] = 0.05
    mutation_decay: UpToOne = 0.5
    n_decay_generations: PositiveInt = 2000
    n_safe_inputs: PositiveInt = 4
    safe_limit: Positive | None = None
    init_std: NonNegative = 0.1
    n_elites: NonNegativeInt = 1
    solution: Literal["best", "mean"] = "mean"

    def __post_init__(self) -> None:
        size = self.population_size
        if self.selection != "tournament":
            require(
                "n_parents", f"<= population_size ({size})", self.n_parents, self.n_parents <= size
            )
        require("n_elites", f"< population_size ({size})", self.n_elites, self.n_elites < size)

    def init(self, problem: Problem, params: Tensor, rng: Stream) -> State:
        spread = rng.normal(self.population_size, params.shape[1]) * self.init_std
        spread[:, 0] = 0
        return {
            "population": spread.add_(params.unsqueeze(1)),
            "solution": params,
            "generation": 0,
            "statistics": {},
        }

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
            "solution": take(population, best[:, :1]).squeeze(1)
            if self.solution == "best"
            else offspring.mean(1),
            "generation": state["generation"] + 1,
            "statistics": statistics,
        }

    def params(self, state: State) -> Tensor:
        return state["solution"]

    def toolbox(self, generation: int, batch: Batch, problem: Problem, rng: Stream) -> Any:
        """Fill DEAP's toolbox: `evaluate`, `mate` and `mutate` act on whole populations, `select`
        on individuals.
        """
        toolbox = base.Toolbox()
        toolbox.register("evaluate", self.evaluate, problem=problem, batch=batch)
        if self.selection == "tournament":
            toolbox.register("select", tools.selTournament, tournsize=self.tournament_size)
        else:
            best = tools.selNSGA2 if self.selection == "nsga2" else tools.selBest
            toolbox.register("select", select_from_best, best=best, n_parents=self.n_parents)
        swaps = two_point_swaps if self.crossover == "two_point" else uniform_swaps
        toolbox.register("mate", mate, swaps=swaps, rate=self.crossover_rate, rng=rng)
        std = self.mutation_std * self.mutation_decay ** (generation // self.n_decay_generations)
        if self.mutation == "gaussian":
            toolbox.register("mutate", mutate_gaussian, std=std, rng=rng)
        elif self.mutation == "sparse":
            toolbox.register("mutate", mutate_sparse, std=std, rate=self.mutation_rate, rng=rng)
        else:
            inputs, apart = batch.inputs[:, : self.n_safe_inputs], self.mutation == "safe_abs"
            own = {"inputs": inputs, "apart": apart, "limit": self.safe_limit}
            toolbox.register("mutate", mutate_safe, std=std, problem=problem, rng=rng, **own)
        return toolbox

    def evaluate(self, population: Tensor, problem: Problem, batch: Batch) -> Tensor:
        """Objectives (R, P, 1 or 2): the loss, and with NSGA-II the second one; no loss is an
        infinite one.
        """
        losses = problem.population_loss(population, batch).nan_to_num(inf, inf)
        if self.selection != "nsga2":
            return losses.unsqueeze(2)
        if self.second_objective == "weight_norm":
            second = population.norm(dim=2)
        else:
            second = (population.abs() > self.active_threshold).sum(2).float()
        return torch.stack([losses, torch.where(losses < inf, second, inf)], 2)

    def select(
        self, objectives: Tensor, toolbox: Any, rng: Stream
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Indices of the best candidates (R, E) and of the parents (R, P - n_elites), and
        statistics of the losses.
        """
        n_parents = objectives.shape[1] - self.n_elites
        return select(objectives, toolbox.select, max(1, self.n_elites), n_parents, rng)
