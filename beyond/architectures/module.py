"""A network made by a function of the user's."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from inspect import Signature, signature
from typing import Annotated, Any

from torch import Tensor, nn

from beyond.catalog import find, place
from beyond.contracts import TaskSpec
from beyond.errors import InputError, require
from beyond.network.parts import trial
from beyond.network.trainable import Network
from beyond.network.translated import translated
from beyond.network.wrapped import ModuleNetwork
from beyond.settings import Says, Text, checked, settings

PLAIN = (int, float, bool, str)  # annotations that a value is checked against


@settings
class Module:
    """A network made by a function of yours.

    Parameters
    ----------
    factory : str or callable
        Where to import it from, `package.module:function`, or a class of modules; from Python, the
        function or class itself, which must have a name in its module. It is called with
        `input_shape`, `n_outputs`, the settings, and `n_symbols` if it has an argument of that
        name, and returns a `torch.nn.Module` that maps (B, *input_shape) to (B, n_outputs) and
        trains all its weights. Its package must be declared, see `beyond.catalog`.
    settings : dict of str to value, optional
        The factory's further arguments, by name: `network.settings.width=64`.
    """

    factory: Annotated[Text | Callable[..., Any], Says("package.module:function, or a class")]
    settings: Annotated[
        dict[str, Any] | None, Says("further arguments of the factory by name, or null")
    ] = None

    def __post_init__(self) -> None:
        factory, given = self._factory, self.settings or {}
        require("factory", "a function, or a class of modules", self.factory, callable(factory))
        try:
            self._signature.bind(None, None, **{**given, **self._asked(0)})
        except TypeError as error:
            raise InputError(
                f"factory must take input_shape, n_outputs and network.settings {given}, got "
                f"{self._place}{self._signature}: {error}"
            ) from None
        for name, argument in self._signature.parameters.items():
            if name in given and argument.annotation in PLAIN:
                checked(f"network.settings.{name}", argument.annotation, given[name])

    @property
    def _factory(self) -> Any:
        return self.factory if callable(self.factory) else find("factory", self.factory)

    @property
    def _place(self) -> str:
        return place(self.factory) if callable(self.factory) else self.factory

    @property
    def _signature(self) -> Signature:
        """The factory's; with annotations as they are written where they cannot be evaluated."""
        try:
            return signature(self._factory, eval_str=True)
        except Exception:
            try:
                return signature(self._factory)
            except ValueError as error:
                raise InputError(
                    f"factory must be a function with known arguments, got {self._place}: {error}"
                ) from error

    def _asked(self, n_symbols: int) -> dict[str, int]:
        return {"n_symbols": n_symbols} if "n_symbols" in self._signature.parameters else {}

    @property
    def name(self) -> str:
        """The function's name."""
        return self._place.rpartition(":")[2].rpartition(".")[2]

    def build(self, spec: TaskSpec) -> Network:
        """Make the network for a task: of our layers, where it is a stack of torch's."""
        further = {**self._asked(spec.n_symbols), **(self.settings or {})}
        make = partial(self._factory, spec.input_shape, spec.n_outputs, **further)
        wrapped = ModuleNetwork(make, spec, str(self._signature))
        return translated(wrapped, spec) or wrapped


class Perceptron(nn.Module):
    """A module that is no stack, and is wrapped as it is."""

    def __init__(self, input_shape: tuple[int, ...], n_outputs: int) -> None:
        super().__init__()
        self.stack = nn.Sequential(nn.Linear(input_shape[0], 5), nn.Tanh(), nn.Linear(5, n_outputs))

    def forward(self, x: Tensor) -> Tensor:
        return self.stack(x)


class Normalised(nn.Module):
    """Batch normalisation, whose running statistics are buffers."""

    def __init__(self, input_shape: tuple[int, ...], n_outputs: int) -> None:
        super().__init__()
        width = 5
        self.stack = nn.Sequential(
            nn.Linear(input_shape[0], width, bias=False),
            nn.BatchNorm1d(width),
            nn.Tanh(),
            nn.Linear(width, n_outputs),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.stack(x)


class Gated(nn.Module):
    """A recurrence over symbols, which torch evaluates for one replica at a time."""

    def __init__(self, input_shape: tuple[int, ...], n_outputs: int, n_symbols: int) -> None:
        super().__init__()
        n_features, width = 2, 3
        self.embedding = nn.Embedding(n_symbols, n_features)
        self.gru = nn.GRU(n_features, width, batch_first=True)
        self.out = nn.Linear(input_shape[0] * width, n_outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.gru(self.embedding(x))[0].flatten(1))


TRIALS = {
    "module": trial(Module("beyond.architectures.module:Perceptron"), (6,)),
    "module with buffers": trial(Module("beyond.architectures.module:Normalised"), (6,)),
    "recurrent module": trial(Module("beyond.architectures.module:Gated"), (4,), n_symbols=5),
}
