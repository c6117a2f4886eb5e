"""A network made by a function of the user's."""

from __future__ import annotations

from torch import Tensor, nn

from beyond.catalog import find
from beyond.contracts import TaskSpec
from beyond.network.parts import trial
from beyond.network.trainable import Network
from beyond.network.translated import TranslatedNetwork, translated
from beyond.network.wrapped import ModuleNetwork
from beyond.settings import Text, settings


@settings
class Module:
    """A network made by a function of yours.

    Parameters
    ----------
    factory : str
        Where to import it from, `package.module:function`. It is called with `input_shape` and
        `n_outputs` and returns a `torch.nn.Module` that maps (B, *input_shape) to (B, n_outputs),
        trains all its weights and has no buffers (so no batch norm). Its package must be declared,
        see `beyond.catalog`.
    """

    factory: Text

    def __post_init__(self) -> None:
        find("factory", self.factory)

    @property
    def name(self) -> str:
        """The function's name."""
        return self.factory.rpartition(":")[2].rpartition(".")[2]

    def build(self, spec: TaskSpec) -> Network:
        """Make the network for a task: of our layers, where it is a stack of torch's."""
        wrapped = ModuleNetwork(
            lambda: find("factory", self.factory)(spec.input_shape, spec.n_outputs), spec
        )
        layers = translated(wrapped.template)
        return wrapped if layers is None else TranslatedNetwork(wrapped, layers, spec)


class Perceptron(nn.Module):
    """A module that is no stack, and is wrapped as it is."""

    def __init__(self, input_shape: tuple[int, ...], n_outputs: int) -> None:
        super().__init__()
        self.stack = nn.Sequential(nn.Linear(input_shape[0], 5), nn.Tanh(), nn.Linear(5, n_outputs))

    def forward(self, x: Tensor) -> Tensor:
        return self.stack(x)


TRIALS = {"module": trial(Module("beyond.architectures.module:Perceptron"), (6,))}
