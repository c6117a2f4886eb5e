"""A stack of torch's layers as ours, so that rules which need access to layers train it too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from beyond.contracts import TaskSpec
from beyond.errors import InputError
from beyond.network.activation_layers import GELU, Identity, LeakyReLU, ReLU, Sigmoid, SiLU, Tanh
from beyond.network.image_layers import AvgPool2d, Conv2d, MaxPool2d
from beyond.network.initialisations import INITIALISATIONS
from beyond.network.layered import LayeredNetwork
from beyond.network.layers import Layer
from beyond.network.normalisation_layers import RUNNING, BatchNorm, LayerNorm
from beyond.network.vector_layers import Dropout, Flatten, Linear
from beyond.network.wrapped import ModuleNetwork
from beyond.streams import Stream


class TranslatedNetwork(LayeredNetwork):
    """Our layers, with the weights that the module draws, in its order.

    Where a rule draws more of the kind, it does so from the distribution of torch's layers.
    """

    def __init__(self, wrapped: ModuleNetwork, layers: list[Layer], spec: TaskSpec) -> None:
        super().__init__(layers, spec.input_shape, INITIALISATIONS["uniform"])
        self._wrapped = wrapped

    def init(self, rng: Stream, n_copies: int = 1) -> Tensor:
        return self._wrapped.init(rng, n_copies)

    def module(self, weights: Tensor) -> nn.Module:
        return self._theirs.module(weights)

    def state_dict(self, weights: Tensor) -> dict[str, Tensor]:
        return self._theirs.state_dict(weights)

    @property
    def _theirs(self) -> ModuleNetwork:
        """The module, with our statistics by its names."""
        names = [
            f"{place}.{name}"
            for place, part in self._wrapped.template.named_modules()
            if type(part) in BATCH_NORMS
            for name in RUNNING
        ]
        return self._wrapped.holding(dict(zip(names, self.buffers.values(), strict=False)))


def translated(wrapped: ModuleNetwork, spec: TaskSpec) -> TranslatedNetwork | None:
    """Return a module as our layers; None if it is no stack, or one of them has no counterpart.

    A stack is `nn.Sequential`, of layers and stacks, each of them once, with weights of its own
    and nothing hooked to it.
    """
    module = wrapped.template
    parts = list(module.modules())
    n_weights = sum(1 for part in parts for _ in part.parameters(recurse=False))
    shared = n_weights > sum(1 for _ in module.parameters())
    repeated = len(parts) < sum(1 for _ in module.named_modules(remove_duplicate=False))
    hooked = any(part._forward_hooks or part._forward_pre_hooks for part in parts)
    if type(module) is not nn.Sequential or repeated or hooked or shared:
        return None
    try:
        layers = [_layer(part) for part in parts if type(part) is not nn.Sequential]
        made = [layer for layer in layers if layer]
        network = TranslatedNetwork(wrapped, made, spec) if len(made) == len(layers) else None
        return network if network and _of_vectors(network) else None
    except InputError:  # torch's also take what ours refuse, such as further axes of the inputs
        return None


def _of_vectors(network: TranslatedNetwork) -> bool:
    """Whether normalisation is of vectors: of more axes torch takes the last, we the first."""
    placed = zip(network.layers, network.shapes, strict=False)
    return all(len(shape) == 1 for layer, shape in placed if isinstance(layer, LayerNorm))


def _layer(part: Any) -> Layer | None:
    """Return our counterpart of one of torch's layers, if it has the same settings."""
    make, same = COUNTERPARTS.get(type(part), (lambda _: Identity(), lambda _: False))
    return make(part) if same(part) else None


def _dense(part: Any) -> bool:
    """Whether a convolution is square, of all channels, padded by zeros if at all."""
    if part.padding_mode != "zeros" or isinstance(part.padding, str):
        return False
    square = all(len(set(sides)) == 1 for sides in (part.kernel_size, part.stride, part.padding))
    return square and part.groups == 1 and set(part.dilation) == {1}


def _running(part: Any) -> bool:
    """Whether a batch is normalised with gains, and means over batches are kept that can move."""
    kept = part.track_running_stats and part.momentum is not None and 0 < part.momentum <= 1
    return part.affine and kept


def _tiled(part: Any) -> bool:
    """Whether the squares of a pooling lie side by side, and what is left over is left out."""
    side = part.kernel_size
    plain = part.padding == 0 and not part.ceil_mode and getattr(part, "dilation", 1) == 1
    whole = not getattr(part, "return_indices", False) and not getattr(part, "divisor_override", 0)
    return isinstance(side, int) and part.stride == side and plain and whole


BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
COUNTERPARTS: dict[Any, tuple[Callable[[Any], Layer], Callable[[Any], bool]]] = {
    nn.Linear: (lambda part: Linear(part.out_features), lambda part: part.bias is not None),
    nn.Conv2d: (
        lambda part: Conv2d(
            *(part.out_channels, part.kernel_size[0], part.stride[0], part.padding[0]),
            bias=part.bias is not None,
        ),
        _dense,
    ),
    nn.MaxPool2d: (lambda part: MaxPool2d(part.kernel_size), _tiled),
    nn.AvgPool2d: (lambda part: AvgPool2d(part.kernel_size), _tiled),
    nn.LayerNorm: (
        lambda part: LayerNorm(part.eps),
        lambda part: len(part.normalized_shape) == 1 and part.bias is not None,
    ),
    **dict.fromkeys(BATCH_NORMS, (lambda part: BatchNorm(part.momentum, part.eps), _running)),
    nn.Flatten: (lambda _: Flatten(), lambda part: (part.start_dim, part.end_dim) == (1, -1)),
    nn.Dropout: (lambda part: Dropout(part.p), lambda part: part.p < 1),
    nn.ReLU: (lambda _: ReLU(), lambda _: True),
    nn.Tanh: (lambda _: Tanh(), lambda _: True),
    nn.Sigmoid: (lambda _: Sigmoid(), lambda _: True),
    nn.LeakyReLU: (
        lambda part: LeakyReLU(part.negative_slope),
        lambda part: 0 <= part.negative_slope < 1,
    ),
    nn.GELU: (lambda _: GELU(), lambda part: part.approximate == "none"),
    nn.SiLU: (lambda _: SiLU(), lambda _: True),
    nn.Identity: (lambda _: Identity(), lambda _: True),
}
