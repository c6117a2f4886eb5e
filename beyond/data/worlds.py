"""Environments of Gymnasium as tasks: episodes side by side, and starts in place of examples.

A start is a number that Gymnasium's `reset` takes for a seed, so that it decides where an episode
begins and whatever chance there is in it. Those of the three splits are different numbers.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from beyond.contracts import (
    SPLITS,
    Architecture,
    Batch,
    BestKnown,
    Lanes,
    TargetKind,
    TaskSpec,
    World,
)
from beyond.data.drawn import digest
from beyond.data.splits import pick, split_seeds
from beyond.errors import InputError, require_one_of, said
from beyond.hardware import Hardware
from beyond.settings import NonNegativeInt, PositiveInt, settings
from beyond.streams import Stream

if TYPE_CHECKING:
    import gymnasium

    from beyond.contracts import Splits, Task

N_STARTS = 1 << 28  # of each kind; a start is below 2^30
KINDS = (*SPLITS, "visits")  # fresh starts to train from are a fourth kind
LONGEST = 10_000  # steps of an episode that is never cut off otherwise


@dataclass(frozen=True)
class Space:
    """What an environment shows, and takes.

    Attributes
    ----------
    input_shape : tuple of int
    n_symbols : int
        Where observations are whole numbers from 0; otherwise 0.
    kind : TargetKind
        CLASSES for one of n actions, VALUES for numbers.
    n_outputs : int
    low, high : array of shape (n_outputs,)
        Bounds of numbers.
    """

    input_shape: tuple[int, ...]
    n_symbols: int
    kind: TargetKind
    n_outputs: int
    low: np.ndarray = field(default_factory=lambda: np.empty(0))
    high: np.ndarray = field(default_factory=lambda: np.empty(0))

    @classmethod
    def of(cls, name: str, env: gymnasium.Env[Any, Any]) -> Space:
        """Read an environment's spaces; `InputError` for those that no network here can serve."""
        from gymnasium import spaces

        seen, taken = env.observation_space, env.action_space
        if isinstance(seen, spaces.Box):
            shape, n_symbols = seen.shape or (1,), 0
        elif isinstance(seen, spaces.Discrete) and seen.start == 0:
            shape, n_symbols = (1,), int(seen.n)
        else:
            raise InputError(f"observations of {name} must be Box, or Discrete from 0; got {seen}")
        if isinstance(taken, spaces.Discrete) and taken.start == 0:
            return cls(shape, n_symbols, TargetKind.CLASSES, int(taken.n))
        if isinstance(taken, spaces.Box) and len(taken.shape) == 1 and taken.is_bounded():
            low, high = taken.low.astype(float), taken.high.astype(float)
            return cls(shape, n_symbols, TargetKind.VALUES, taken.shape[0], low, high)
        raise InputError(
            f"actions of {name} must be Discrete from 0, or a bounded Box of one axis; got {taken}"
        )

    def actions(self, outputs: Tensor) -> np.ndarray:
        """Actions (L,), or (L, n_outputs): where numbers, 0 is the middle and 1 the upper bound."""
        given = outputs.cpu().numpy()
        if self.kind is TargetKind.CLASSES:
            return given
        middle, half = (self.low + self.high) / 2, (self.high - self.low) / 2
        return (middle + half * np.clip(given, -1, 1)).astype(np.float32)

    def shown(self, observations: Sequence[Any]) -> np.ndarray:
        """Observations (L, *input_shape) as a network takes them."""
        kind = np.int64 if self.n_symbols else np.float32
        return np.array(observations, kind).reshape(len(observations), *self.input_shape)


class GymWorld:
    """An environment of Gymnasium, as many copies of it side by side as are asked for.

    Parameters
    ----------
    id : str
        As registered with Gymnasium.
    """

    def __init__(self, id: str) -> None:
        self.id = id
        self._envs = [_made(id)]
        self.space = Space.of(id, self._envs[0])
        spec = self._envs[0].spec
        self.horizon = (spec and spec.max_episode_steps) or LONGEST

    def begin(self, starts: Tensor) -> Lanes:
        while len(self._envs) < len(starts):
            self._envs.append(_made(self.id))
        return GymLanes(self, self._envs[: len(starts)], starts)


class GymLanes:
    """See `beyond.contracts.Lanes`; those that have ended are not stepped."""

    def __init__(
        self, world: GymWorld, envs: Sequence[gymnasium.Env[Any, Any]], starts: Tensor
    ) -> None:
        self._space, self._horizon, self._envs = world.space, world.horizon, envs
        first = [env.reset(seed=seed)[0] for env, seed in zip(envs, starts.tolist(), strict=True)]
        self._shown = self._space.shown(first)
        self._device = starts.device
        self._n_steps = 0
        self.alive = torch.ones(len(envs), dtype=torch.bool, device=self._device)
        self.terminated = ~self.alive

    @property
    def observations(self) -> Tensor:
        return torch.from_numpy(self._shown).to(self._device)

    def step(self, actions: Tensor) -> Tensor:
        taken, shown = self._space.actions(actions), self._shown.copy()
        rewards = np.zeros(len(self._envs), np.float32)
        alive, terminated = self.alive.cpu().numpy().copy(), self.terminated.cpu().numpy().copy()
        for lane in np.flatnonzero(alive).tolist():
            observation, reward, ended, cut_off, _ = self._envs[lane].step(taken[lane])
            shown[lane] = self._space.shown([observation])[0]
            rewards[lane], terminated[lane] = reward, ended
            alive[lane] = not (ended or cut_off)
        self._n_steps += 1
        self._shown = shown
        self.alive = torch.from_numpy(alive & (self._n_steps < self._horizon)).to(self._device)
        self.terminated = torch.from_numpy(terminated).to(self._device)
        return torch.from_numpy(rewards).to(self._device)


def _made(id: str) -> gymnasium.Env[Any, Any]:
    """Make an environment; `InputError` for one that is not known, or cannot be made."""
    import gymnasium

    try:
        return gymnasium.make(id, disable_env_checker=True)
    except (gymnasium.error.Error, ImportError, TypeError) as error:
        raise InputError(
            f"id must be an environment of Gymnasium, got {id!r}: {said(error)}"
        ) from None


@lru_cache(maxsize=8)
def world_of(id: str) -> GymWorld:
    """Return the environment of an id: the same at each call, for its copies are slow to make."""
    return GymWorld(id)


@dataclass(frozen=True)
class Starts:
    """Starts of S splits, one per replica, or one for all.

    Attributes
    ----------
    origin : str
        See `beyond.contracts.Splits`.
    parts : dict of str to Tensor of shape (S, N)
        The starts of each split.
    world : World
    dtype
        Of observations that are no whole numbers.
    """

    origin: str
    parts: Mapping[str, Tensor]
    world: World
    dtype: torch.dtype = torch.float32

    def size(self, split: str) -> int:
        require_one_of("split", SPLITS, split)
        return self.parts[split].shape[1]

    def batch(self, split: str, indices: Tensor) -> Batch:
        return self._begun(self.ids(split, indices))

    def training(self, indices: Tensor, rng: Stream) -> Iterator[Batch]:
        """Begin from fresh starts at every visit, as many as there are indices."""
        for rows in indices:
            drawn = rng.integers(N_STARTS, rows.shape[1])
            yield self._begun(len(KINDS) * drawn + KINDS.index("visits"))

    def ids(self, split: str, indices: Tensor) -> Tensor:
        require_one_of("split", SPLITS, split)
        return pick(self.parts[split], indices)

    def on(self, hardware: Hardware) -> Starts:
        parts = {split: starts.to(hardware.place) for split, starts in self.parts.items()}
        return replace(self, parts=parts, dtype=hardware.dtype)

    def prepared(self, inputs: Tensor) -> Tensor:
        return inputs.unsqueeze(0)

    def in_units(self, values: Tensor) -> Tensor:
        return values

    def _begun(self, starts: Tensor) -> Batch:
        """What is shown first of episodes that begin at these starts (R, B), and the starts."""
        first = self.world.begin(starts.flatten()).observations.unflatten(0, starts.shape)
        return Batch(first.to(self.dtype) if first.is_floating_point() else first, starts)


@settings(kw_only=True)
class ControlTask:
    """Act in an environment of Gymnasium, and be judged by what an episode earns.

    A split has starts of episodes; each seed draws its own. Training draws fresh ones at every
    visit, `train_size` at a time where a rule asks for no fewer. An episode cut off at the horizon
    counts what it earned until then.

    Parameters
    ----------
    split_seed : int, optional, >= 0
        Fixes, for every seed, the starts of each split. None: each seed draws its own.
    train_size : int, optional, >= 1
        Starts of the training split: those on which its score is measured, and the most that a step
        plays from. None is 8.
    """

    PACKAGES: ClassVar[tuple[str, ...]] = ("gymnasium",)
    BEST_KNOWN: ClassVar[tuple[BestKnown, ...]] = ()
    NETWORK: ClassVar[Architecture]
    SIZES: ClassVar[Mapping[str, int]] = {"train": 8, "validation": 32, "test": 100}
    split_seed: NonNegativeInt | None = None
    train_size: PositiveInt | None = None

    @property
    @abstractmethod
    def name(self) -> str:
        """As on the command line."""

    @property
    @abstractmethod
    def returns(self) -> tuple[float, float, float]:
        """Mean returns called easy, medium and hard."""

    @property
    @abstractmethod
    def world(self) -> World:
        """What is acted in."""

    @property
    @abstractmethod
    def space(self) -> Space:
        """What it shows and takes."""

    @property
    def spec(self) -> TaskSpec:
        return TaskSpec(
            name=self.name,
            input_shape=self.space.input_shape,
            n_outputs=self.space.n_outputs,
            target_kind=self.space.kind,
            network=self.NETWORK,
            score="return_score",
            levels=self.returns,
            n_symbols=self.space.n_symbols,
            world=self.world,
        )

    @property
    def sources(self) -> Sequence[str]:
        return ()

    def source(self, name: str) -> Task:
        raise KeyError(name)

    @property
    def classes(self) -> Sequence[str]:
        return ()

    def at(self, seeds: Sequence[int]) -> Splits:
        sizes = {**self.SIZES, **({"train": self.train_size} if self.train_size else {})}
        rngs = [np.random.default_rng(seed) for seed in split_seeds(self.split_seed, seeds)]
        drawn = {
            split: np.stack([rng.choice(N_STARTS, size, replace=False) for rng in rngs])
            for split, size in reversed(sizes.items())
        }
        parts = {
            split: torch.from_numpy(len(KINDS) * drawn[split] + KINDS.index(split))
            for split in SPLITS
        }
        origin = "own" if self.split_seed is None else str(self.split_seed)
        return Starts(origin, parts, self.world)

    def encode(self, inputs: Any) -> np.ndarray:
        return np.asarray(inputs)

    def told(self) -> Sequence[str]:
        return ()

    def score(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Mean of the returns (R, B, 1) of episodes, (R,)."""
        return {"return_score": outputs.double().mean((1, 2))}

    def checksum(self) -> str:
        """SHA-256 over what a few episodes show and earn under actions drawn once."""
        lanes, rng = self.world.begin(torch.arange(3)), np.random.default_rng(0)
        shown = [lanes.observations.numpy()]
        for _ in range(50):
            if self.space.kind is TargetKind.CLASSES:
                actions = rng.integers(self.space.n_outputs, size=3)
            else:
                actions = rng.uniform(-1, 1, (3, self.space.n_outputs)).astype(np.float32)
            shown += [lanes.step(torch.from_numpy(actions)).numpy(), lanes.observations.numpy()]
        return digest(*shown)


@settings(kw_only=True)
class GymTask(ControlTask):
    """Act in one environment of Gymnasium that has a datasheet here."""

    ID: ClassVar[str]
    NAME: ClassVar[str]
    LEVELS: ClassVar[tuple[float, float, float]]

    @property
    def name(self) -> str:
        return self.NAME

    @property
    def returns(self) -> tuple[float, float, float]:
        return self.LEVELS

    @property
    def world(self) -> GymWorld:
        return world_of(self.ID)

    @property
    def space(self) -> Space:
        return self.world.space
