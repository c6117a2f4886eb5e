"""Genetic algorithm on weights (Montana & Davis, 1989), selection by DEAP (Fortin et al., 2012).

A population of networks is evaluated on a batch; the better ones become parents, exchange genes in
pairs and mutate.

    L_i     = loss of candidate w_i on the batch           i = 1 .. P
    parents : drawn P times, the lower L_i the likelier    tournament, truncation, nsga2
    a_j, b_j swap, at some genes j of a pair               uniform, two_point, none
    w_j    += s_t N(0, 1)                                  gaussian: every gene j; sparse: a few
    w_j    += s_t N(0, 1) / S_j                            safe: S_j is what w_j does to the outputs
    s_t     = std decay^floor(t / n_decay_generations)

The `n_elites` of lowest loss survive unchanged and are evaluated again with everyone on the next
batch. Selections, crossovers and mutations are defined in beyond/kits/selection.py and
beyond/kits/variation.py. Safe mutations (Lehman et al., 2018) are told nothing of the targets, but
their derivatives travel as an error would.

Departures: a gene is one weight, not all weights into a unit; a new batch each generation instead
of the whole training set; the answer may be the population's mean, which averages the mutations
out; NSGA-II chooses parents from one population, not survivors from parents and children, for their
losses are of different batches; safe mutations look at inputs of the batch, not of a parent's life;
dropout is off.
Needs: global loss.
Cost: P forward passes of the batch; with safe mutations, for each child also a forward pass of
`n_inputs` inputs and one backward pass per output.
Check: tournaments win with probability ((P-i+1)^t - (P-i)^t) / P^t at rank i; the first front is
every candidate that none dominates, by enumeration; sensitivities are torch's Jacobian's
(tests/methods/test_genetic.py).
Source: IJCAI 1989, 762-767; truncation selection: arXiv:1712.06567; safe mutations:
arXiv:1712.06563; NSGA-II: Deb et al., 2002, doi:10.1109/4235.996017; DEAP: JMLR 13, 2171-2175.
"""

from math import inf
from typing import Annotated, Any, ClassVar, Literal

import torch
from annotated_types import Ge
from deap import base
from torch import Tensor

from beyond.contracts import Batch, Method, Signal
from beyond.errors import require
from beyond.kits.selection import Selection, Tournament, select, take
from beyond.kits.variation import Crossover, Gaussian, Mutation, NoCrossover, Uniform
from beyond.problem import Problem
from beyond.search import Choice, LogUniform
from beyond.settings import BatchSize, NonNegative, NonNegativeInt, settings
from beyond.streams import Stream

State = dict[str, Any]


@settings
class Genetic(Method[State]):
    """Breed the candidates with the lowest loss.

    The state holds `population`, (R, P, n), to be evaluated on the next batch; `solution`, the
    answer made from it, (R, n); `generation`; and `statistics`, min, mean, max and std of the last
    generation's losses, each (R,).

    Parameters
    ----------
    population_size : int, >= 2
    batch_size : int, >= 1, optional
        Examples per generation; None takes the whole training set. So does any larger number.
    selection : Selection
        How parents are drawn.
    crossover : Crossover or NoCrossover
        What a pair of parents exchanges.
    mutation : Mutation
        How children change.
    init_std : float, >= 0
        Spread of the first population around the shared initial weights, which are its first
        candidate.
    n_elites : int, >= 0, < population_size
        Best candidates that survive unchanged; of equal ones those that had survived before.
    solution : {"best", "mean"}
        The answer: the best on this generation's batch, or the mean of the population bred from it.
    """

    signal: ClassVar[Signal] = Signal.LOSS

    population_size: Annotated[int, Ge(2), Choice(16, 32, 64, 128, 256)] = 64
    batch_size: BatchSize = 64
    selection: Selection = Tournament()
    crossover: Crossover | NoCrossover = Uniform()
    mutation: Mutation = Gaussian()
    init_std: Annotated[NonNegative, LogUniform(0.01, 1.0)] = 0.1
    n_elites: NonNegativeInt = 1
    solution: Literal["best", "mean"] = "mean"

    def __post_init__(self) -> None:
        size, needed = self.population_size, self.selection.n_needed
        require("n_parents", f"<= population_size ({size})", needed, needed <= size)
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
        best, parents, statistics = toolbox.select(toolbox.evaluate(population))
        offspring = take(population, torch.cat([best[:, : self.n_elites], parents], 1))
        children = offspring[:, self.n_elites :]  # a view
        toolbox.mate(children)
        toolbox.mutate(children)
        fittest = take(population, best[:, :1]).squeeze(1)
        return {
            "population": offspring,
            "solution": fittest if self.solution == "best" else offspring.mean(1),
            "generation": state["generation"] + 1,
            "statistics": statistics,
        }

    def params(self, state: State) -> Tensor:
        return state["solution"]

    def toolbox(self, generation: int, batch: Batch, problem: Problem, rng: Stream) -> Any:
        """Fill DEAP's toolbox; its operators act on whole populations."""
        sizes = {"n_best": max(1, self.n_elites), "n_parents": self.population_size - self.n_elites}
        given = {"batch": batch, "problem": problem}
        toolbox = base.Toolbox()
        toolbox.register("evaluate", self.evaluate, **given)
        toolbox.register("select", select, choose=self.selection.choose, **sizes, rng=rng)
        toolbox.register("mate", self.crossover.mate, rng=rng)
        toolbox.register("mutate", self.mutation.mutate, generation=generation, **given, rng=rng)
        return toolbox

    def evaluate(self, population: Tensor, batch: Batch, problem: Problem) -> Tensor:
        """Objectives (R, P, 1 or 2), the loss first; no loss is an infinite one."""
        losses = problem.population_loss(population, batch).nan_to_num(inf, inf)
        return self.selection.objectives(losses, population)
