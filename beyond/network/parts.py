"""What architectures share: settings, how layers become a network, and what inputs begin with."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from typing import Annotated, ClassVar, Literal

from beyond.contracts import Architecture, Episode, TargetKind, TaskSpec
from beyond.errors import require
from beyond.network.activation_layers import ACTIVATIONS
from beyond.network.image_layers import Conv2d
from beyond.network.initialisations import INITIALISATIONS, gaussian, identity
from beyond.network.layered import LayeredNetwork
from beyond.network.layers import Layer
from beyond.network.normalisation_layers import BatchNorm, GroupNorm
from beyond.network.sequence_layers import (
    Channels,
    Conv1d,
    LastTime,
    MaxOverTime,
    MeanOverTime,
    Places,
)
from beyond.network.vector_layers import Dropout, Embedding, Flatten, Linear
from beyond.settings import BelowOne, OneOf, OneOrEach, Positive, PositiveInt, settings

SCALED = {"gaussian": gaussian, "identity": identity}  # initialisations that take a scale
Activation = Annotated[str, OneOf(ACTIVATIONS)]
Norm = Literal["none", "group", "batch"]
Readout = Literal["all", "last", "mean", "max"]
InitialisationName = Annotated[str, OneOf([*INITIALISATIONS, *SCALED])]


class Layered(ABC):
    """A recipe for a network of layers, whose weights one initialisation draws.

    The two below have these values where a recipe does not declare them as settings.

    Parameters
    ----------
    initialisation : {"he", "xavier", "lecun", "uniform", "orthogonal", "gaussian", "identity"}
        "uniform" draws biases too; the others start them at zero.
    init_std : float, > 0
        Standard deviation for "gaussian", scale for "identity"; the others do not use it.
    """

    initialisation: str = "he"
    init_std: float = 0.1

    @property
    @abstractmethod
    def name(self) -> str:
        """Short name for tables."""

    @abstractmethod
    def stack(self, spec: TaskSpec) -> list[Layer]:
        """Layers for a task's inputs and outputs."""

    def build(self, spec: TaskSpec) -> LayeredNetwork:
        """Make the network for a task; `InputError` if it does not take its inputs."""
        name = self.initialisation
        drawn = SCALED[name](self.init_std) if name in SCALED else INITIALISATIONS[name]
        layers = self.stack(spec)
        embedded = not spec.n_symbols or isinstance(layers[0], Embedding)
        require(
            f"inputs of {self.name}", "numbers, as its first layer embeds none", "symbols", embedded
        )
        return LayeredNetwork(layers, spec.input_shape, drawn)


@settings
class Recurrent(Layered):
    """Recurrent units, then a linear read-out of their states.

    All of a recurrent layer's weights take its number of units for their fan.

    Parameters
    ----------
    hidden : int, >= 1
        Units in each direction.
    bidirectional : bool
        Whether as many units read the sequence from its end.
    readout : {"all", "last", "mean", "max"}
        What is read of the states: those at every time, the ones that each direction ends with, or
        each unit's mean or largest over time.
    dropout : float in [0, 1)
        Of what is read, in training.
    embedding : int, >= 1
        Features per symbol, where inputs are symbols.
    """

    KIND: ClassVar[str]

    hidden: PositiveInt = 32
    bidirectional: bool = False
    readout: Readout = "last"
    dropout: OneOrEach[BelowOne] = 0.0
    embedding: PositiveInt = 8
    initialisation: InitialisationName = "uniform"
    init_std: Positive = 0.1

    @property
    def name(self) -> str:
        """`gru-6`: the kind of units, and how many."""
        return f"{self.KIND}-{self.hidden}"

    @property
    @abstractmethod
    def units(self) -> Layer:
        """The recurrent layer."""

    def stack(self, spec: TaskSpec) -> list[Layer]:
        return [
            *sequence_entry(spec, self.embedding),
            self.units,
            *read_out(self.readout, spec.n_outputs, self.bidirectional, self.dropout),
        ]


def vector_entry(spec: TaskSpec, embedding: int) -> list[Layer]:
    """Layers that make one vector of an example: of symbols, each one's `embedding` features."""
    if spec.n_symbols:
        return [Embedding(spec.n_symbols, embedding)]
    return [Flatten()] if len(spec.input_shape) > 1 else []


def sequence_entry(spec: TaskSpec, embedding: int) -> list[Layer]:
    """Layers that make channels along time of an example: of symbols, `embedding` features."""
    if spec.n_symbols:
        return [Embedding(spec.n_symbols, embedding), Channels(embedding)]
    return [Channels()] if len(spec.input_shape) == 1 else []


def token_entry(spec: TaskSpec, width: int, patch: int) -> list[Layer]:
    """Layers that make `width` channels along time, or along the squares of an image."""
    if len(spec.input_shape) == 3:
        return [Conv2d(width, patch, stride=patch), Places()]
    entry = sequence_entry(spec, width)
    return entry if spec.n_symbols else [*entry, Conv1d(width, 1)]


def normalised(convolution: Conv2d, norm: Norm, n_groups: int) -> list[Layer]:
    """A convolution, and the normalisation behind it: of a batch it takes off any bias."""
    behind = {"none": [], "group": [GroupNorm(n_groups=n_groups)], "batch": [BatchNorm()]}
    return [replace(convolution, bias=norm != "batch"), *behind[norm]]


def dropping(rate: float | tuple[float, ...]) -> list[Layer]:
    """Dropout, or none."""
    return [Dropout(rate)] if rate else []


def read_out(
    of: Readout,
    n_outputs: int,
    bidirectional: bool = False,
    dropout: float | tuple[float, ...] = 0.0,
) -> list[Layer]:
    """Layers from a sequence to the outputs: a linear map of all times, or of what is left of them.

    The last is what each direction ends with. Dropout is of what is mapped.
    """
    left = {
        "all": Flatten(),
        "last": LastTime(bidirectional),
        "mean": MeanOverTime(),
        "max": MaxOverTime(),
    }
    return [left[of], *dropping(dropout), Linear(n_outputs)]


def trial(
    architecture: Architecture,
    shape: tuple[int, ...],
    n_symbols: int = 0,
    target_kind: TargetKind = TargetKind.CLASSES,
) -> TaskSpec:
    """Return a small task of noise on an architecture, as it stands in a file's `TRIALS`: the
    contract tests try every method on all of them, with every choice of its settings.
    """
    episode = Episode(n_support=4, n_query=3)
    n_outputs = 2 if target_kind is TargetKind.DISTRIBUTIONS else 4
    levels = (0.0, 0.0, 0.0)
    return TaskSpec(
        "noise", shape, n_outputs, target_kind, architecture, "score", levels, n_symbols, episode
    )
