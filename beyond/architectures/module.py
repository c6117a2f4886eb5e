"""A network made by a function of the user's."""

from __future__ import annotations

from torch import nn

from beyond.catalog import find
from beyond.contracts import TaskSpec
from beyond.network.parts import trial
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

    def build(self, spec: TaskSpec) -> ModuleNetwork:
        """Make the network for a task."""
        return ModuleNetwork(
            lambda: find("factory", self.factory)(spec.input_shape, spec.n_outputs), spec
        )


def perceptron(input_shape: tuple[int, ...], n_outputs: int) -> nn.Module:
    """Return a torch module to be wrapped."""
    return nn.Sequential(nn.Linear(input_shape[0], 5), nn.Tanh(), nn.Linear(5, n_outputs))


TRIALS = {"module": trial(Module("beyond.architectures.module:perceptron"), (6,))}
