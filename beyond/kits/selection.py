"""Selection by DEAP (Fortin et al., 2012): of each candidate it sees the fitness alone.

Shapes: R replicas, P candidates, n weights.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from math import inf
from typing import Annotated, Literal

import numpy as np
import torch
from deap import base, tools
from torch import Tensor

from beyond.search import Choice
from beyond.settings import NonNegative, PositiveInt, settings
from beyond.streams import Stream, global_generators


class Fitness(base.Fitness):
    """One objective or two; less is better. Compared by `<`, the second one only breaks ties."""

    weights = (-1.0, -1.0)

    def __init__(self, objectives: Sequence[float] = ()) -> None:
        # DEAP's initialiser is slowed by its checks
        self.wvalues = tuple(-objective for objective in objectives)


class Individual(int):
    """A candidate's index in its population, with the fitness that DEAP's operators look at."""

    fitness: Fitness

    def __new__(cls, index: int, objectives: Sequence[float] = ()) -> Individual:
        individual = super().__new__(cls, index)
        individual.fitness = Fitness(objectives)
        return individual


@settings(kw_only=True)
class Selection(ABC):
    """How parents are drawn, always with replacement."""

    @abstractmethod
    def choose(self, individuals: list[Individual], k: int) -> list[Individual]:
        """Draw k parents."""

    def objectives(self, losses: Tensor, population: Tensor) -> Tensor:
        """What is kept small, (R, P, 1 or 2): the losses (R, P) of a population (R, P, n) first."""
        return losses.unsqueeze(2)

    @property
    def n_needed(self) -> int:
        """How many candidates a population must have at least."""
        return 1


@settings(kw_only=True)
class Tournament(Selection):
    """The best of a few that are drawn.

    Parameters
    ----------
    size : int, >= 1
        Candidates in a tournament.
    """

    size: Annotated[PositiveInt, Choice(2, 3, 5, 8)] = 3

    def choose(self, individuals: list[Individual], k: int) -> list[Individual]:
        return tools.selTournament(individuals, k, tournsize=self.size)


@settings(kw_only=True)
class Truncation(Selection):
    """Any of the best (Such et al., 2017).

    Parameters
    ----------
    n_parents : int, >= 1
        Candidates that may become parents; at most the population.
    """

    n_parents: Annotated[PositiveInt, Choice(2, 4, 8, 16)] = 16

    def best(self, individuals: list[Individual]) -> list[Individual]:
        """Return those that may become parents."""
        return tools.selBest(individuals, self.n_parents)

    def choose(self, individuals: list[Individual], k: int) -> list[Individual]:
        return tools.selRandom(self.best(individuals), k)

    @property
    def n_needed(self) -> int:
        return self.n_parents


@settings(kw_only=True)
class NSGA2(Truncation):
    """Any of the best by two objectives: by front, then by crowding (NSGA-II, Deb et al., 2002).

    Parameters
    ----------
    second_objective : {"weight_norm", "active_connections"}
        What is kept small as well as the loss: the norm of the weights, or the number of those that
        are not tiny.
    active_threshold : float, >= 0
        A connection is active where its weight is larger than this.
    """

    second_objective: Literal["weight_norm", "active_connections"] = "weight_norm"
    active_threshold: NonNegative = 0.01

    def best(self, individuals: list[Individual]) -> list[Individual]:
        return tools.selNSGA2(individuals, self.n_parents)

    def objectives(self, losses: Tensor, population: Tensor) -> Tensor:
        if self.second_objective == "weight_norm":
            second = population.norm(dim=2)
        else:
            second = (population.abs() > self.active_threshold).sum(2).float()
        return torch.stack([losses, torch.where(losses < inf, second, inf)], 2)


CHOICES = {
    "tournament": (Tournament(), ""),
    "truncation": (Truncation(), ""),
    "nsga2": (NSGA2(), ""),
}
STATISTICS = tools.Statistics(lambda individual: individual.fitness.values[0])
for function in (np.min, np.mean, np.max, np.std):
    STATISTICS.register(function.__name__, function)


def select(
    objectives: Tensor,
    choose: Callable[..., list[Individual]],
    n_best: int,
    n_parents: int,
    rng: Stream,
) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Let DEAP find the best candidates and choose parents, replica by replica.

    Parameters
    ----------
    objectives : Tensor of shape (R, P, 1 or 2)
        Less is better.
    choose : callable
        From individuals and a number to as many of them: `Selection.choose`.

    Returns
    -------
    best : Tensor of shape (R, n_best)
        Indices, the lowest first objective first; of equal ones the earlier candidate.
    parents : Tensor of shape (R, n_parents)
        Indices.
    statistics : dict of str to Tensor of shape (R,)
        Of the first objective: `min`, `mean`, `max` and `std`.
    """
    best, parents, records, device = [], [], [], objectives.device
    for values, seed in zip(objectives.tolist(), rng.integers(2**62).tolist(), strict=True):
        individuals = [Individual(index, losses) for index, losses in enumerate(values)]
        hall = tools.HallOfFame(n_best)
        hall.update(individuals)
        best.append(list(hall))
        with global_generators(seed):  # DEAP draws from Python's
            parents.append(choose(individuals, n_parents))
        with np.errstate(invalid="ignore"):  # an infinite loss has no spread
            records.append(STATISTICS.compile(individuals))
    statistics = {
        name: torch.tensor([record[name] for record in records], device=device)
        for name in STATISTICS.fields
    }
    return torch.tensor(best, device=device), torch.tensor(parents, device=device), statistics


def take(population: Tensor, indices: Tensor) -> Tensor:
    """Copy candidates (R, K, n) by their indices (R, K) in a population (R, P, n)."""
    n_replicas, size, _ = population.shape
    rows = indices + size * torch.arange(n_replicas, device=indices.device).unsqueeze(1)
    return population.flatten(0, 1).index_select(0, rows.flatten()).unflatten(0, rows.shape)
