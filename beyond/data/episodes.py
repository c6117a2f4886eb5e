"""Tasks that come in episodes, and what methods that adapt to an episode share.

A family of small tasks (a sinusoid each, five letters each) is split as other tasks split examples: the families of
the three splits are disjoint. An episode shows `n_support` labelled examples of one small task and asks `n_query` more.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from beyond.contracts import SPLITS, Batch
from beyond.data.arrays import digest, scores
from beyond.data.splits import pick, split_seeds
from beyond.errors import UnsupportedError, require, require_one_of
from beyond.settings import NonNegativeInt, PositiveInt, settings

if TYPE_CHECKING:
    from beyond.contracts import Episode, Task, TaskSpec
    from beyond.problem import Problem
    from beyond.streams import Stream


@settings(kw_only=True)
class EpisodeTask(ABC):
    """A family of small tasks, each an episode.

    An episode is what sets its small task apart, and numbers in [0, 1) that pick its examples; each seed draws its
    own episodes. They are fixed, but training episodes that are given an `rng` draw fresh examples at every visit.

    Parameters
    ----------
    split_seed : int, optional, >= 0
        Fixes, for every seed, the episodes of every split. None: each seed draws its own.
    train_size : int, optional, >= 1
        Keep this many training episodes; None keeps all. A smaller set is part of every larger one.
    """

    PACKAGES: ClassVar[tuple[str, ...]] = ()
    SIZES: ClassVar[Mapping[str, int]] = {"train": 1000, "validation": 300, "test": 600}
    N_DRAWS: ClassVar[int]  # numbers that pick one example
    ORIGIN: ClassVar[str] = "own"  # of each seed's splits, see `beyond.contracts.Splits`

    split_seed: NonNegativeInt | None = None
    train_size: PositiveInt | None = None

    @property
    @abstractmethod
    def spec(self) -> TaskSpec:
        """What the harness must know."""

    @abstractmethod
    def families(self, split: str, n_episodes: int, rng: np.random.Generator) -> np.ndarray:
        """Draw what sets each episode's small task apart, shape (n_episodes, ...)."""

    @abstractmethod
    def examples(self, families: Tensor, draws: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs (R, E, B, *input_shape) and targets (R, E, B, ...) of E episodes, their support first.

        Parameters
        ----------
        families : Tensor of shape (R, E, ...)
        draws : Tensor of shape (R, E, B, N_DRAWS)
            Uniform in [0, 1); B = n_support + n_query.
        """

    @property
    def source(self) -> Task | None:
        """No related task: an episodic task's training split is one."""
        return None

    def at(self, seeds: Sequence[int]) -> EpisodeSplits:
        """Return the episodes that the repetitions of these seeds see."""
        return self._made(split_seeds(self.split_seed, seeds))

    def score(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Scores of shape (R,), over the queries of all episodes: those of `ArrayTask`."""
        return scores(self.spec.target, outputs, targets)

    def checksum(self) -> str:
        """SHA-256 over what one seed draws: every split's inputs and targets, queries and support."""
        drawn = replace(self, train_size=None)._make((0,))
        batches = [drawn.batch(split, torch.arange(drawn.size(split)).unsqueeze(0)) for split in SPLITS]
        shown = [part for queries in batches for part in (queries, queries.support) if part is not None]
        return digest(*(tensor.numpy() for part in shown for tensor in (part.inputs, part.targets)))

    @cached_property
    def _made(self) -> Callable[[tuple[int, ...]], EpisodeSplits]:
        return lru_cache(maxsize=1)(self._make)  # the runs of a study ask for the same seeds in turn

    def _make(self, drawn: tuple[int, ...]) -> EpisodeSplits:
        """Draw the episodes of each of the seeds `drawn`."""
        most = self.SIZES["train"]
        allowed = f"at most {most}, the training part of {self.spec.name}"
        require("train_size", allowed, self.train_size, self.train_size is None or self.train_size <= most)
        episode = self.spec.episode
        if episode is None:
            raise TypeError(f"the spec of {self.spec.name} names no episode")
        n_examples = episode.n_support + episode.n_query
        parts: dict[str, tuple[Tensor, Tensor]] = {}
        generators = [np.random.default_rng(seed).spawn(len(SPLITS)) for seed in drawn]
        for split, rngs in zip(SPLITS, zip(*generators, strict=True), strict=True):
            size, kept = self.SIZES[split], slice(self.train_size if split == "train" else None)
            families = np.stack([self.families(split, size, rng)[kept] for rng in rngs])
            draws = np.stack([rng.random((size, n_examples, self.N_DRAWS), np.float32)[kept] for rng in rngs])
            parts[split] = torch.from_numpy(families), torch.from_numpy(draws)
        origin = self.ORIGIN if self.split_seed is None else str(self.split_seed)
        return EpisodeSplits(origin, drawn, parts, episode, self.examples)


@dataclass(frozen=True)
class EpisodeSplits:
    """Episodes of S splits, one a replica, or one for all.

    Attributes
    ----------
    origin : str
        See `Splits`.
    drawn : tuple of int
        What each of the splits was drawn from.
    parts : dict of str to (Tensor of shape (S, N, ...), Tensor of shape (S, N, n_support + n_query, N_DRAWS))
        Of each split, the families of its episodes and the numbers that pick their examples.
    episode : Episode
    examples : callable
        See `EpisodeTask.examples`.
    """

    origin: str
    drawn: tuple[int, ...]
    parts: Mapping[str, tuple[Tensor, Tensor]]
    episode: Episode
    examples: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]

    def size(self, split: str) -> int:
        require_one_of("split", SPLITS, split)
        return self.parts[split][0].shape[1]

    def batch(self, split: str, indices: Tensor) -> Batch:
        require_one_of("split", SPLITS, split)
        families, draws = self.parts[split]
        return self._shown(pick(families, indices), pick(draws, indices))

    def training(self, indices: Tensor, rng: Stream) -> Iterator[Batch]:
        families, draws = self.parts["train"]
        for own in indices:
            yield self._shown(pick(families, own), rng.uniform(own.shape[1], *draws.shape[2:]))

    def ids(self, split: str, indices: Tensor) -> Tensor:
        require_one_of("split", SPLITS, split)
        n_query = self.episode.n_query
        count = n_query * self.size(split)
        first = torch.tensor([[count * (seed % (2**31 // count))] for seed in self.drawn])  # (S, 1)
        return first + (n_query * indices.unsqueeze(2) + torch.arange(n_query)).flatten(1)

    def in_units(self, values: Tensor) -> Tensor:
        return values

    def _shown(self, families: Tensor, draws: Tensor) -> Batch:
        """Queries and support of these episodes: see `EpisodeTask.examples`."""
        inputs, targets = self.examples(families, draws)
        n_support = self.episode.n_support
        shown, asked = (
            [part.flatten(1, 2) for part in (inputs[:, :, rows], targets[:, :, rows])]
            for rows in (slice(n_support), slice(n_support, None))
        )
        return Batch(asked[0], asked[1], Batch(shown[0], shown[1]))


def by_episode(values: Tensor, n_examples: int) -> Tensor:
    """Cut (R, E * n_examples, ...) into a row an episode, (R * E, n_examples, ...)."""
    return values.unflatten(1, (-1, n_examples)).flatten(0, 1)


def end_to_end(values: Tensor, n_replicas: int) -> Tensor:
    """Undo `by_episode`: (R * E, n_examples, ...) to (R, E * n_examples, ...)."""
    return values.unflatten(0, (n_replicas, -1)).flatten(1, 2)


def rows_of(batch: Batch, n_examples: int) -> Batch:
    """Return a batch with a row an episode; its support, if any, stays behind."""
    return Batch(by_episode(batch.inputs, n_examples), by_episode(batch.targets, n_examples))


def in_lanes(batch: Batch, problem: Problem) -> tuple[Batch, Batch, Problem, int]:
    """Return queries and support with a row (lane) an episode, the problem of the lanes, and how many a replica has."""
    episode = require_episodes(problem.spec)
    assert batch.support is not None
    queries, support = rows_of(batch, episode.n_query), rows_of(batch.support, episode.n_support)
    n_episodes = len(queries.inputs) // len(batch.inputs)
    return queries, support, problem.lanes(n_episodes), n_episodes


def require_episodes(spec: TaskSpec) -> Episode:
    """Return the task's episode; raise `UnsupportedError` where it has none."""
    if spec.episode is None:
        raise UnsupportedError(f"{spec.name} does not come in episodes, so there is nothing to adapt to")
    return spec.episode


def adaptation_variants(method: Any) -> dict[str, Any]:
    """Return the method as it predicts after each number of steps in `also_after` instead of `n_adaptation_steps`."""
    return {f"after_{n}_steps": replace(method, n_adaptation_steps=n, also_after=()) for n in method.also_after}


@dataclass(frozen=True)
class InnerLoop:
    """Gradient descent on the support of each episode, every row (lane) of the weights with its own, and the way back.

        w_0 = w,    w_{k+1} = w_k - rate * gradient of the support's loss at w_k

    Parameters
    ----------
    n_steps : int, >= 0
    last_layer : bool
        Adapt the last layer with weights alone: the features below it are computed once.
    """

    n_steps: int
    last_layer: bool = False

    def adapt(self, params: Tensor, rate: Tensor | float, support: Batch, problem: Problem) -> Tensor:
        """Adapted weights (L, n) of L lanes; differentiable where gradients are enabled and `params` wants one.

        Parameters
        ----------
        params : Tensor of shape (L, n)
        rate : float, or Tensor of shape (L, n)
        support : Batch
            Rows (L, n_support, ...), see `rows_of`.
        problem : Problem
            Of the lanes, see `Problem.lanes`.
        """
        if not self.n_steps:
            return params
        stages = problem.stages
        n_fixed = len(stages) - 1 if self.last_layer else 0
        features = support.inputs
        for stage in stages[:n_fixed]:
            features, _ = stage.forward(params, features)
        start = stages[n_fixed].start
        for _ in range(self.n_steps):
            x, tapes = features, []
            for stage in stages[n_fixed:]:
                x, tape = stage.forward(params, x)
                tapes.append(tape)
            error, parts = _error(problem, x, support), []
            for stage, tape in zip(reversed(stages[n_fixed:]), reversed(tapes), strict=True):
                parts.insert(0, stage.gradient(tape, error))
                error = stage.carry(tape, error) if stage.start > start else error
            step = rate[:, start:] if isinstance(rate, Tensor) else rate
            moved = params[:, start:] - step * torch.cat(parts, 1)
            params = torch.cat([params[:, :start], moved], 1) if start else moved
        return params

    def pull_back(
        self, gradient: Tensor, adapted: Tensor, origins: Sequence[Tensor], support: Batch, problem: Problem
    ) -> tuple[Tensor, ...]:
        """Derivatives for each of the `origins` (L, n), from the `gradient` (L, n) at the `adapted` weights.

        Differentiating z = W x, dx = W^T dz and dW = dz x^T costs two products each, of as many operations as z, but
        for the first layer, whose inputs want no derivative: two instead of six. In passes, forward F (one product a
        layer) and backward B (two, but one for the first layer), that is 4 B - 2 F for every step. Where only the last
        layer adapts it is four products of that layer a step, and one backward pass through the layers below.
        """
        if not self.n_steps:
            return (gradient, *(torch.zeros_like(origin) for origin in origins[1:]))
        stages = problem.stages
        forward, backward = problem.pass_flops()
        flops = self.n_steps * (4 * backward - 2 * forward)
        if self.last_layer and len(stages) > 1:
            _, head = problem.pass_flops(stages[-1].start)  # one product
            flops = self.n_steps * 4 * head + backward - 2 * head
        problem.charge(support.inputs.shape[1] * flops)
        return torch.autograd.grad(adapted, origins, gradient)

    def outputs(self, params: Tensor, rate: Tensor | float, inputs: Tensor, support: Batch, problem: Problem) -> Tensor:
        """Outputs (R, E * n_query, n_outputs) for weights (R, n) that adapt to each of E episodes."""
        episode, n_replicas = require_episodes(problem.spec), len(params)
        asked, shown = by_episode(inputs, episode.n_query), rows_of(support, episode.n_support)
        n_episodes = len(asked) // n_replicas
        lanes = problem.lanes(n_episodes)
        rates = rate.repeat_interleave(n_episodes, 0) if isinstance(rate, Tensor) else rate
        adapted = self.adapt(params.repeat_interleave(n_episodes, 0), rates, shown, lanes)
        return end_to_end(lanes.outputs(adapted, asked), n_replicas)


def _error(problem: Problem, outputs: Tensor, batch: Batch) -> Tensor:
    """Derivative of each row's mean loss at the outputs; unlike `Problem.error`, itself differentiable."""
    with torch.enable_grad():
        at = outputs if outputs.requires_grad else outputs.detach().requires_grad_()
        total = problem.example_losses(at, batch).mean(1).sum()  # rows do not mix: a sum keeps them apart
        return torch.autograd.grad(total, at, create_graph=outputs.requires_grad)[0]
