"""The contracts between harness, methods and tasks: types only.

Shapes are written with R replicas (seeds), B examples of a batch, n weights of one network.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar

from torch import Tensor

if TYPE_CHECKING:
    from beyond.hardware import Hardware
    from beyond.network.trainable import Network
    from beyond.problem import Problem
    from beyond.streams import Stream

State = TypeVar("State", bound=Mapping[str, Any])
SPLITS = ("train", "validation", "test")
TRAIN_SCORED = 10_000  # examples of the training split that are scored, at most


class Signal(StrEnum):
    """What a method is told about its outputs."""

    GRADIENT = "gradient"  # the exact derivative of the loss, carried back by the chain rule
    ERROR = "error"  # the derivative at the outputs; how it travels back is the method's affair
    TARGETS = "targets"  # the targets themselves, and no error behind the outputs
    LOSS = "loss"  # one number for a batch, or for an example; never the targets
    REWARD = "reward"  # one number for each action that it takes; never the targets


class TargetKind(StrEnum):
    """What a task asks for."""

    CLASSES = "classes"  # targets (R, B) int64; outputs are logits
    # targets (R, B, n_outputs) float32, standardised by the training part of the replica
    VALUES = "values"
    # targets as for values, of n_outputs / 2 numbers; outputs are their predicted means, then the
    # logarithms of their predicted variances
    DISTRIBUTIONS = "distributions"


class SealedTargets:
    """Targets that a method may hand back to the problem but never read."""

    __slots__ = ("_targets",)

    def __init__(self, targets: Tensor) -> None:
        self._targets = targets

    def __repr__(self) -> str:
        return "<sealed targets: this method's signal does not include them>"


@dataclass(frozen=True)
class Batch:
    """Examples for every replica.

    Attributes
    ----------
    inputs : Tensor of shape (R, B, *input_shape)
        float32, or int64 symbols where the task's `n_symbols` > 0.
    targets : Tensor of shape (R, B, *target_shape), or sealed
        See `TargetKind` and `TaskSpec.target_shape`; sealed for methods told only the loss or the
        reward.
    support : Batch, optional
        Where the task comes in episodes (`TaskSpec.episode`): the labelled examples to adapt to, of
        all episodes end to end, (R, E * n_support, ...). `inputs` and `targets` are then the
        queries, (R, E * n_query, ...), in the same order of episodes; a method that does not adapt
        learns from them as from any others.
    """

    inputs: Tensor
    targets: Any
    support: Batch | None = None


class Lanes(Protocol):
    """Episodes under way side by side, L of them; each ends when it does.

    Attributes
    ----------
    observations : Tensor of shape (L, *input_shape)
        float32, or int64 symbols: what each shows now. Where one has ended, its last.
    alive : Tensor of shape (L,)
        Whether each is still under way.
    terminated : Tensor of shape (L,)
        Whether each came to its end, and was not cut off at the horizon.
    """

    @property
    def observations(self) -> Tensor: ...

    @property
    def alive(self) -> Tensor: ...

    @property
    def terminated(self) -> Tensor: ...

    def step(self, actions: Tensor) -> Tensor:
        """Take a step in those under way; return rewards (L,) float32, 0 where one has ended.

        Actions are (L,) int64, or (L, n_outputs) real; those of ended episodes do not count.
        """
        ...


class World(Protocol):
    """An environment to be acted in.

    Attributes
    ----------
    horizon : int
        Steps after which an episode is cut off.
    """

    horizon: int

    def begin(self, starts: Tensor) -> Lanes:
        """Begin an episode from each of the starts (L,), numbers that decide all chance in it."""
        ...


class Architecture(Protocol):
    """A recipe for a network; it becomes one when it meets a task."""

    @property
    def name(self) -> str:
        """Short name for tables."""
        ...

    def build(self, spec: TaskSpec) -> Network:
        """Make the network for a task's inputs and outputs."""
        ...


@dataclass(frozen=True)
class Episode:
    """How many examples one episode has: to adapt to, and to answer."""

    n_support: int
    n_query: int


@dataclass(frozen=True)
class TaskSpec:
    """What the harness must know about a task.

    Attributes
    ----------
    name : str
        As on the command line, `image/digits`.
    input_shape : tuple of int
        Of one example: `(channels, height, width)`, `(features,)`, or `(length,)` for symbols.
    n_outputs : int
        Classes, or values to predict; of predicted distributions a mean and a log-variance each.
    target_kind : TargetKind
        What targets and outputs are; it decides the loss.
    network : Architecture
        The default network, the same for every method.
    score : str
        The metric that selects and ranks; up is better. A key of `Task.score`'s answer.
    levels : tuple of three float
        Validation scores called easy, medium and hard: cost to target is counted for each.
    n_symbols : int
        0 for real-valued inputs; otherwise inputs are integers in [0, n_symbols).
    episode : Episode, optional
        Set where the task is a family of small tasks: an index of a split is then an episode, not
        an example.
    world : World, optional
        Set where the task is to act in an environment: an index of a split is then the start of an
        episode, whose inputs are what it shows first and whose target, (R, B) int64, is its number;
        `target_kind` says what an action is. There is no right answer, but a reward for each step.
    """

    name: str
    input_shape: tuple[int, ...]
    n_outputs: int
    target_kind: TargetKind
    network: Architecture
    score: str
    levels: tuple[float, float, float]
    n_symbols: int = 0
    episode: Episode | None = None
    world: World | None = None

    @property
    def target_shape(self) -> tuple[int, ...]:
        """Of one example's target: none for a class, or the number of a start."""
        if self.target_kind is TargetKind.CLASSES or self.world is not None:
            return ()
        moments = 2 if self.target_kind is TargetKind.DISTRIBUTIONS else 1
        return (self.n_outputs // moments,)

    @property
    def n_scored(self) -> int:
        """Examples that one index of a split stands for: one, or an episode's queries."""
        return 1 if self.episode is None else self.episode.n_query

    @property
    def n_passed(self) -> int:
        """Examples passed through the network for one index: of an episode to be acted, at most."""
        return self.n_scored if self.world is None else self.world.horizon

    @property
    def scored_kind(self) -> TargetKind:
        """What the scored outputs are: those asked for, or an episode's return, a value."""
        return self.target_kind if self.world is None else TargetKind.VALUES


class Splits(Protocol):
    """A task's data as the repetitions of some seeds see them: R replicas, R splits or one.

    There is one copy of the data; a replica has rows of it, and how it scales them. A split has the
    same size in all.
    """

    @property
    def origin(self) -> str:
        """Where the splits come from.

        "own": each seed draws its own test split. "source test": the source fixes that one, and
        each seed draws the validation split from the other examples. "source pools": the source
        fixes what the episodes of each split are made of, and each seed draws its own. "source":
        the source fixes the splits. Digits: the `split_seed` of the one split that all replicas
        share.
        """
        ...

    def size(self, split: str) -> int:
        """Count the examples of a split, or its episodes: of one replica."""
        ...

    def batch(self, split: str, indices: Tensor) -> Batch:
        """Examples (or episodes) of a split, by their places in it, not augmented.

        Parameters
        ----------
        indices : Tensor of shape (R, B), or (1, B) for the same places in every replica
            The answer then has R replicas too, or one that stands for all (where they share a
            split).
        """
        ...

    def training(self, indices: Tensor, rng: Stream) -> Iterator[Batch]:
        """Batches to train on, one after the other, augmented where the task does that.

        Parameters
        ----------
        indices : Tensor of shape (T, R, B)
            Places in the training split of the examples (or episodes) of T batches.
        rng : Stream
            Drawn from for each batch when it is asked for.
        """
        ...

    def ids(self, split: str, indices: Tensor) -> Tensor:
        """Numbers, int64 (R or 1, B), that identify the examples: rows of the source's data.

        Episodes are drawn: their queries, (R or 1, E * n_query), are numbered from an offset of
        their split.
        """
        ...

    def on(self, hardware: Hardware) -> Splits:
        """Return the same splits with their data on a device, as all that they return then is.

        Indices must be there too. A run on the CPU does not ask.
        """
        ...

    def prepared(self, inputs: Tensor) -> Tensor:
        """Inputs (B, *input_shape) of other examples as a batch has them, (R or 1, B, ...).

        They are scaled by what was learnt from each training part.
        """
        ...

    def in_units(self, values: Tensor) -> Tensor:
        """Targets (R, B, n) or outputs in the task's units, unscaled.

        Outputs (R, B, 2 n) are means, then log-variances: see `TargetKind.DISTRIBUTIONS`.
        """
        ...


@dataclass(frozen=True)
class BestKnown:
    """The best test score of something learnt of which a task's datasheet has a source.

    Attributes
    ----------
    value : float
    score : str
        A key of `Task.score`'s answer, in its units.
    source : str
        What reached it, and who states so.
    settings : mapping of str to object
        Of the task where the source measured it; the others are the defaults.
    """

    value: float
    score: str
    source: str
    settings: Mapping[str, Any] = field(default_factory=dict)


class Task(Protocol):
    """Data, a loss (by its target kind) and scores with a stated direction.

    Attributes
    ----------
    PACKAGES : tuple of str
        Distributions that make or ship its data: another version may give other examples.
    BEST_KNOWN : tuple of BestKnown
        One for each of the settings for which a source states a score; by default none.
    """

    PACKAGES: ClassVar[tuple[str, ...]]
    BEST_KNOWN: ClassVar[tuple[BestKnown, ...]]

    @property
    def spec(self) -> TaskSpec:
        """What the harness must know."""
        ...

    @property
    def sources(self) -> Sequence[str]:
        """Names of the related tasks to learn from first, the most usual one first."""
        ...

    def source(self, name: str) -> Task:
        """Return a related task, of the same input and output shapes."""
        ...

    def at(self, seeds: Sequence[int]) -> Splits:
        """Return the data as the repetitions of these seeds see them, or raise `InputError`."""
        ...

    @property
    def classes(self) -> Sequence[str]:
        """Names of the classes in the order of their codes; by default none: the codes say all."""
        ...

    def encode(self, inputs: Any) -> Any:
        """Return inputs as the source has them as an array (N, *input_shape), unscaled.

        By default they are such an array. Raises `InputError` for what cannot be.
        """
        ...

    def score(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Scores (R,) of outputs (R, B, n_outputs): `_score` up, `_error` and `_loss` down."""
        ...

    def told(self) -> Sequence[str]:
        """What was understood of data that nobody described, in lines; by default nothing."""
        ...

    def checksum(self) -> str:
        """Hex digest of the raw data, whatever the split."""
        ...


class Method(ABC, Generic[State]):
    """One rule for changing weights. A frozen dataclass: its fields are its hyperparameters.

    A state is a dict of tensors and numbers (nested dicts and lists allowed), so that `torch.save`
    round-trips it; its tensors have the replicas first, (R, ...). `step` returns a new state and
    never changes the one it was given: the harness keeps old states to select and to resume.

    Attributes
    ----------
    PREDICTION : tuple of str
        Fields that `predict` alone uses: with another value training is the same. So a run may test
        other values than the one it has.
    """

    signal: ClassVar[Signal]
    PREDICTION: ClassVar[tuple[str, ...]] = ()
    batch_size: int | None  # of the training set, for a step; None is the whole of it

    @abstractmethod
    def init(self, problem: Problem, params: Tensor, rng: Stream) -> State:
        """Start from the initial weights `params` (R, n); `UnsupportedError` if it cannot serve."""

    @abstractmethod
    def step(self, state: State, batch: Batch, problem: Problem, rng: Stream) -> State:
        """Change the weights once."""

    @abstractmethod
    def params(self, state: State) -> Tensor:
        """Return the current solution, weights of shape (R, n)."""

    def predict(self, state: State, problem: Problem, batch: Batch) -> Tensor:
        """Outputs (R, B, n_outputs) of the current solution; by default a forward pass.

        The batch's targets are not there (None); where the task comes in episodes, those of its
        support are.
        """
        return problem.outputs(self.params(state), batch.inputs)

    def carriers(self, state: State, problem: Problem) -> Mapping[int, Tensor] | None:
        """Tensors that carry the error back in place of each block's weights, by depth, if any.

        The harness logs how far they are aligned with the weights.
        """
        return None

    def left_alone(self, problem: Problem) -> Sequence[str]:
        """Names of the blocks (`Problem.blocks`) that no step changes, by the rule; often none."""
        return ()

    def done(self, state: State) -> bool:
        """Say whether further steps would change nothing; by default never."""
        return False
