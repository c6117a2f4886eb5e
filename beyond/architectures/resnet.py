"""Residual convolutional networks, for images."""

from __future__ import annotations

from beyond.contracts import TaskSpec
from beyond.errors import require
from beyond.network.activation_layers import ACTIVATIONS
from beyond.network.composite_layers import Chain, residual
from beyond.network.image_layers import Conv2d, MeanOverImage
from beyond.network.layers import Layer
from beyond.network.parts import (
    Activation,
    InitialisationName,
    Layered,
    Norm,
    dropping,
    normalised,
)
from beyond.network.vector_layers import Linear
from beyond.settings import BelowOne, OneOrEach, Positive, PositiveInt, settings


@settings
class ResNet(Layered):
    """A convolution, stages of residual blocks, the mean over the image, a linear read-out.

    As He et al., 2016 (arXiv 1512.03385, section 4.2) have it for small images: a block is two
    convolutions of 3x3, and every stage but the first begins with a stride of 2. Where the number
    of channels changes, the shortcut is a convolution of 1x1. By default groups of channels are
    normalised, and convolutions have biases; `norm=batch` is the source's, without.

    Parameters
    ----------
    widths : tuple of int
        Channels of each stage.
    blocks : int, >= 1
        Of each stage: `widths=(16,32,64) blocks=3` is the source's of 20 layers.
    activation : {"relu", "tanh", "sigmoid", "leaky_relu", "gelu", "silu", "step", "identity"}
    norm : {"none", "group", "batch"}
        Behind each convolution.
    n_groups : int, >= 1
        Of channels that are normalised together, a divisor of each width.
    dropout : float in [0, 1)
        Before the read-out, in training.
    """

    widths: tuple[PositiveInt, ...] = (16, 32, 64)
    blocks: PositiveInt = 1
    activation: Activation = "relu"
    norm: Norm = "group"
    n_groups: PositiveInt = 8
    dropout: OneOrEach[BelowOne] = 0.0
    initialisation: InitialisationName = "he"
    init_std: Positive = 0.1

    def __post_init__(self) -> None:
        require("widths", "one at least", self.widths, bool(self.widths))

    @property
    def name(self) -> str:
        """`resnet-8`: the layers with weights along the longest way."""
        return f"resnet-{2 * self.blocks * len(self.widths) + 2}"

    def stack(self, spec: TaskSpec) -> list[Layer]:
        activation = ACTIVATIONS[self.activation]
        below = self.widths[0]
        layers: list[Layer] = [*self._convolution(below), activation()]
        for stage, width in enumerate(self.widths):
            for block in range(self.blocks):
                stride = 2 if stage and not block else 1
                branch = [
                    *(*self._convolution(width, stride), activation()),
                    *self._convolution(width),
                ]
                projected = stride > 1 or width != below
                shortcut = Chain((*self._convolution(width, stride, 1),)) if projected else None
                layers += [residual(*branch, shortcut=shortcut), activation()]
                below = width
        return [*layers, MeanOverImage(), *dropping(self.dropout), Linear(spec.n_outputs)]

    def _convolution(self, width: int, stride: int = 1, kernel: int = 3) -> list[Layer]:
        """A convolution that keeps an image's size, but for its stride, and its normalisation."""
        return normalised(Conv2d(width, kernel, stride, kernel // 2), self.norm, self.n_groups)


# to a rule it is what `cnn`, `text cnn` and `layer norm` are
TRIALS: dict[str, TaskSpec] = {}
