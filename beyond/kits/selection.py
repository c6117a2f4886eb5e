"""Selection by DEAP (Fortin et al., 2012): each candidate is an individual, of which it sees the
fitness alone.

Shapes: R replicas, P candidates.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from deap import base, tools
from torch import Tensor

from beyond.streams import Stream, global_generators


class Fitness(base.Fitness):
    """One objective or two; less is better. Compared by `<`, the second one only breaks ties."""

    weights = (-1.0, -1.0)

    def __init__(self, objectives: Sequence[float] = ()) -> None:
        # DEAP's own initialiser is slowed by its checks
        self.wvalues = tuple(-objective for objective in objectives)


class Individual(int):
    """A candidate's index in its population, with the fitness that DEAP's operators look at."""

    fitness: Fitness

    def __new__(cls, index: int, objectives: Sequence[float] = ()) -> Individual:
        individual = super().__new__(cls, index)
        individual.fitness = Fitness(objectives)
        return individual


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
        From individuals and a number to as many of them: one of DEAP's selections.

    Returns
    -------
    best : Tensor of shape (R, n_best)
        Indices, the lowest first objective first; of equal ones the earlier candidate.
    parents : Tensor of shape (R, n_parents)
        Indices.
    statistics : dict of str to Tensor of shape (R,)
        Of the first objective: `min`, `mean`, `max` and `std`.
    """
    best, parents, records = [], [], []
    for values, seed in zip(objectives.tolist(), rng.integers(2**62).tolist(), strict=True):
        individuals = [Individual(index, own) for index, own in enumerate(values)]
        hall = tools.HallOfFame(n_best)
        hall.update(individuals)
        best.append(list(hall))
        with global_generators(seed):  # DEAP draws from Python's
            parents.append(choose(individuals, n_parents))
        with np.errstate(invalid="ignore"):  # an infinite loss has no spread
            records.append(STATISTICS.compile(individuals))
    statistics = {
        name: torch.tensor([record[name] for record in records]) for name in STATISTICS.fields
    }
    return torch.tensor(best), torch.tensor(parents), statistics


def select_from_best(
    individuals: list[Individual], k: int, best: Any, n_parents: int
) -> list[Individual]:
    """Draw k parents, with replacement, from the `n_parents` that the selection `best` puts first."""
    return tools.selRandom(best(individuals, n_parents), k)


def take(population: Tensor, indices: Tensor) -> Tensor:
    """Copy candidates (R, K, n) by their indices (R, K) in a population (R, P, n)."""
    n_replicas, size, _ = population.shape
    rows = indices + size * torch.arange(n_replicas).unsqueeze(1)
    return population.flatten(0, 1).index_select(0, rows.flatten()).unflatten(0, rows.shape)
