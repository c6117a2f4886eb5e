"""Tasks that come in episodes.

A family of small tasks (a sinusoid each, five letters each) is split as other tasks split examples:
the families of the three splits are disjoint. An episode shows `n_support` labelled examples of one
small task and asks `n_query` more.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from torch import Tensor

from beyond.contracts import SPLITS, Batch
from beyond.data.drawn import DrawnTask, digest
from beyond.data.splits import pick
from beyond.errors import require, require_one_of
from beyond.hardware import Hardware, moved
from beyond.settings import settings

if TYPE_CHECKING:
    from beyond.contracts import Episode, Task
    from beyond.streams import Stream


@settings(kw_only=True)
class EpisodeTask(DrawnTask):
    """A family of small tasks, each an episode.

    An episode is what sets its small task apart, and numbers in [0, 1) that pick its examples; each
    seed draws its own episodes. They are fixed, but training episodes that are given an `rng` draw
    fresh examples at every visit.
    """

    SIZES: ClassVar[Mapping[str, int]] = {"train": 1000, "validation": 300, "test": 600}
    N_DRAWS: ClassVar[int]  # numbers that pick one example
    ORIGIN: ClassVar[str] = "own"  # of each seed's splits, see `beyond.contracts.Splits`

    @abstractmethod
    def families(self, split: str, n_episodes: int, rng: np.random.Generator) -> np.ndarray:
        """Draw what sets each episode's small task apart, shape (n_episodes, ...)."""

    @abstractmethod
    def examples(self, families: Tensor, draws: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs (R, E, B, *input_shape) and targets (R, E, B, ...) of E episodes, support first.

        Parameters
        ----------
        families : Tensor of shape (R, E, ...)
        draws : Tensor of shape (R, E, B, N_DRAWS)
            Uniform in [0, 1); B = n_support + n_query.
        """

    @property
    def sources(self) -> Sequence[str]:
        """No related task: an episodic task's training split is one."""
        return ()

    def source(self, name: str) -> Task:
        raise KeyError(name)

    def checksum(self) -> str:
        """SHA-256 over what one seed draws: every split's inputs and targets, with support."""
        drawn = replace(self, train_size=None)._make((0,))
        batches = [
            drawn.batch(split, torch.arange(drawn.size(split)).unsqueeze(0)) for split in SPLITS
        ]
        shown = [
            part for queries in batches for part in (queries, queries.support) if part is not None
        ]
        return digest(*(tensor.numpy() for part in shown for tensor in (part.inputs, part.targets)))

    def _make(self, drawn: tuple[int, ...]) -> EpisodeSplits:
        """Draw the episodes of each of the seeds `drawn`."""
        most = self.SIZES["train"]
        allowed = f"at most {most}, the training part of {self.spec.name}"
        require(
            "train_size",
            allowed,
            self.train_size,
            self.train_size is None or self.train_size <= most,
        )
        episode = self.spec.episode
        if episode is None:
            raise TypeError(f"the spec of {self.spec.name} names no episode")
        n_examples = episode.n_support + episode.n_query
        parts: dict[str, tuple[Tensor, Tensor]] = {}
        generators = [np.random.default_rng(seed).spawn(len(SPLITS)) for seed in drawn]
        for split, rngs in zip(SPLITS, zip(*generators, strict=True), strict=True):
            size, kept = self.SIZES[split], slice(self.train_size if split == "train" else None)
            families = np.stack([self.families(split, size, rng)[kept] for rng in rngs])
            draws = np.stack(
                [rng.random((size, n_examples, self.N_DRAWS), np.float32)[kept] for rng in rngs]
            )
            parts[split] = torch.from_numpy(families), torch.from_numpy(draws)
        origin = self.ORIGIN if self.split_seed is None else str(self.split_seed)
        return EpisodeSplits(origin, drawn, parts, episode, self.examples)


@dataclass(frozen=True)
class EpisodeSplits:
    """Episodes of S splits, one per replica, or one for all.

    Attributes
    ----------
    origin : str
        See `Splits`.
    drawn : tuple of int
        What each of the splits was drawn from.
    parts : dict of str to (Tensor of shape (S, N, ...), Tensor of shape (S, N, n_support + n_query,
    N_DRAWS))
        Of each split, the families of its episodes and the numbers that pick their examples.
    episode : Episode
    examples : callable
        See `EpisodeTask.examples`.
    dtype
        Of what is served and no whole number.
    """

    origin: str
    drawn: tuple[int, ...]
    parts: Mapping[str, tuple[Tensor, Tensor]]
    episode: Episode
    examples: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
    dtype: torch.dtype = torch.float32

    def size(self, split: str) -> int:
        require_one_of("split", SPLITS, split)
        return self.parts[split][0].shape[1]

    def batch(self, split: str, indices: Tensor) -> Batch:
        require_one_of("split", SPLITS, split)
        families, draws = self.parts[split]
        return self._shown(pick(families, indices), pick(draws, indices))

    def training(self, indices: Tensor, rng: Stream) -> Iterator[Batch]:
        families, draws = self.parts["train"]
        for rows in indices:
            fresh = rng.uniform(rows.shape[1], *draws.shape[2:]).to(draws.dtype)
            yield self._shown(pick(families, rows), fresh)

    def ids(self, split: str, indices: Tensor) -> Tensor:
        require_one_of("split", SPLITS, split)
        n_query = self.episode.n_query
        count = n_query * self.size(split)
        first = indices.new_tensor([[count * (seed % (2**31 // count))] for seed in self.drawn])
        query = torch.arange(n_query, device=indices.device)
        return first + (n_query * indices.unsqueeze(2) + query).flatten(1)  # first is (S, 1)

    def on(self, hardware: Hardware) -> EpisodeSplits:
        return replace(moved(self, hardware.place), dtype=hardware.dtype)

    def prepared(self, inputs: Tensor) -> Tensor:
        return inputs.unsqueeze(0)

    def in_units(self, values: Tensor) -> Tensor:
        return values

    def _shown(self, families: Tensor, draws: Tensor) -> Batch:
        """Queries and support of these episodes: see `EpisodeTask.examples`."""
        inputs, targets = (
            moved(part, part.device, self.dtype) for part in self.examples(families, draws)
        )
        n_support = self.episode.n_support
        shown, asked = (
            [part.flatten(1, 2) for part in (inputs[:, :, rows], targets[:, :, rows])]
            for rows in (slice(n_support), slice(n_support, None))
        )
        return Batch(asked[0], asked[1], Batch(shown[0], shown[1]))
