"""LeNet-5, as it is used today."""

from __future__ import annotations

from typing import Literal

from beyond.contracts import TaskSpec
from beyond.network.activation_layers import ACTIVATIONS
from beyond.network.image_layers import AvgPool2d, Conv2d, MaxPool2d
from beyond.network.layers import Layer
from beyond.network.parts import Activation, InitialisationName, Layered, dropping
from beyond.network.vector_layers import Flatten, Linear
from beyond.settings import BelowOne, OneOrEach, Positive, settings


@settings
class LeNet(Layered):
    """Convolutions of 5x5 to 6, 16 and 120 channels, 84 units, a read-out (LeCun et al., 1998).

    For images of 28x28, which are padded to 32x32 with zeros, or larger.

    Parameters
    ----------
    activation : {"relu", "tanh", "sigmoid", "leaky_relu", "gelu", "silu", "step", "identity"}
    pool : {"max", "average"}
        After the first two convolutions.
    dropout : float in [0, 1)
        Before the 84 units, and before the read-out, in training.
    """

    activation: Activation = "relu"
    pool: Literal["max", "average"] = "max"
    dropout: OneOrEach[BelowOne] = 0.0
    initialisation: InitialisationName = "he"
    init_std: Positive = 0.1

    @property
    def name(self) -> str:
        """`lenet`."""
        return "lenet"

    def stack(self, spec: TaskSpec) -> list[Layer]:
        pool = MaxPool2d if self.pool == "max" else AvgPool2d
        activation = ACTIVATIONS[self.activation]
        return [
            *(Conv2d(6, 5, padding=2), pool(2), activation()),
            *(Conv2d(16, 5), pool(2), activation()),
            *(Conv2d(120, 5), activation(), Flatten(), *dropping(self.dropout)),
            *(Linear(84), activation(), *dropping(self.dropout), Linear(spec.n_outputs)),
        ]


# its layers are those of `cnn`, and it has one size, which is no small one
TRIALS: dict[str, TaskSpec] = {}
