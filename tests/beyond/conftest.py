"""Small networks that stand for all: every layer, activation and kind of input occurs."""

from dataclasses import dataclass
from types import SimpleNamespace

import pytest
import torch

from beyond import catalog
from beyond.architectures.bag import Bag
from beyond.architectures.cnn import CNN
from beyond.architectures.cnn1d import CNN1d
from beyond.architectures.gru import Recurrent
from beyond.architectures.lstm import LongShortTerm
from beyond.architectures.mixer import Mixer
from beyond.architectures.mlp import MLP
from beyond.architectures.resnet import ResNet
from beyond.architectures.rnn import Elman
from beyond.architectures.text_cnn import TextCNN
from beyond.architectures.transformer import Transformer
from beyond.contracts import TargetKind, TaskSpec
from beyond.network.activation_layers import ReLU, Tanh
from beyond.network.composite_layers import Chain, residual
from beyond.network.image_layers import Conv2d
from beyond.network.initialisations import he, uniform
from beyond.network.layered import LayeredNetwork
from beyond.network.recurrent_layers import GRU
from beyond.network.sequence_layers import Conv1d
from beyond.network.vector_layers import Flatten, Linear
from beyond.streams import Stream


@dataclass(frozen=True)
class Strided:
    """Convolutions whose outputs are smaller than their inputs."""

    def build(self, spec):
        layers = [
            Conv2d(3, 3, stride=2, padding=1),
            ReLU(),
            Conv2d(2, 2),
            Tanh(),
            Flatten(),
            Linear(spec.n_outputs),
        ]
        return LayeredNetwork(layers, spec.input_shape, he)


@dataclass(frozen=True)
class Stacked:
    """A recurrence that must carry the error on."""

    def build(self, spec):
        layers = [
            Conv1d(3),
            GRU(2, bidirectional=True),
            Tanh(),
            GRU(3),
            Flatten(),
            Linear(spec.n_outputs),
        ]
        return LayeredNetwork(layers, spec.input_shape, uniform)


@dataclass(frozen=True)
class Nested:
    """Layers within layers: at the entry, in the middle, and at the end."""

    def build(self, spec):
        layers = [
            Chain((Tanh(), Linear(5), Tanh(), Linear(4))),
            residual(residual(Linear(3), Tanh(), Linear(4)), Tanh()),
            residual(Linear(3), Tanh(), shortcut=Linear(3)),
        ]
        return LayeredNetwork(layers, spec.input_shape, uniform)


# Architecture, shape of one input, number of symbols (0: real-valued).
NETWORKS = {
    "linear": (MLP(()), (6,), 0),
    "mlp": (MLP((5, 4)), (6,), 0),
    "mlp on images": (MLP((5,), activation="tanh"), (2, 3, 4), 0),
    "mlp with layer norm": (MLP((5, 4), layer_norm=True), (6,), 0),
    "mlp on symbols": (MLP((5,), embedding=3, activation="tanh"), (4,), 7),
    "deep": (MLP((5, 5, 5, 5, 5), activation="sigmoid", initialisation="xavier"), (6,), 0),
    "cnn": (CNN((3, 2)), (2, 9, 6), 0),
    "strided convolutions": (Strided(), (2, 9, 6), 0),
    "mlp with residual connections": (
        MLP((5, 5, 4, 4), residual=True, dropout=0.1, initialisation="uniform"),
        (6,),
        0,
    ),
    "cnn1d": (CNN1d((3, 2), (3, 2), initialisation="uniform"), (9,), 0),
    "cnn1d on symbols": (CNN1d((2,), (3,), stride=1, activation="tanh", embedding=3), (5,), 7),
    "bag": (Bag((5, 4), activation="tanh", embedding=3), (4,), 7),
    "bag of channels": (Bag((), initialisation="uniform"), (3, 5), 0),
    "gru": (Recurrent(3), (4,), 0),
    "gru in one direction on symbols": (Recurrent(2, bidirectional=False, embedding=3), (4,), 7),
    "rnn": (Elman(3, activation="relu", readout="mean"), (2, 4), 0),
    "lstm": (LongShortTerm(3, bidirectional=True), (2, 4), 0),
    "lstm on symbols": (LongShortTerm(2, readout="max", embedding=3), (4,), 7),
    "nested": (Nested(), (6,), 0),
    "text_cnn": (TextCNN((2, 3), 2, activation="tanh", embedding=3), (4,), 7),
    "text_cnn of channels": (TextCNN((1,), 3, initialisation="uniform"), (2, 4), 0),
    "cnn with groups": (CNN((3, 2), norm="group", n_groups=1), (1, 5, 6), 0),
    "resnet": (ResNet((2, 4), n_groups=2), (1, 4, 6), 0),
    "transformer": (Transformer(4, 2, 1, 2), (2, 3), 0),
    "causal transformer": (Transformer(4, 2, 2, causal=True, readout="last"), (3,), 7),
    "mixer": (Mixer(4, 1, 3, 5, patch=2), (1, 4, 5), 0),
    "gru behind a convolution": (Stacked(), (2, 6), 0),
    "cnn with average pooling": (CNN((2,), pool="average", activation="tanh"), (1, 5, 4), 0),
}


@pytest.fixture
def composed(tmp_path):
    """Return what makes settings of a cell, as a command composes them, with some of one's own."""

    def settings(method="backprop", **others):
        return {
            "task": catalog.read("task", "image/digits"),
            "method": catalog.read("method", method),
            "network": {},
            **{part: {} for part in catalog.PARTS},
            "start": catalog.read("start", "cold"),
            "budget": {"steps": 2},
            "seeds": 1,
            "runs": str(tmp_path),
            **others,
        }

    return settings


@pytest.fixture
def make_spec():
    """Return a function that makes the spec of a task."""

    def make(input_shape=(6,), n_outputs=3, target_kind=TargetKind.CLASSES, n_symbols=0):
        return TaskSpec(
            "test/toy",
            input_shape,
            n_outputs,
            target_kind,
            MLP(),
            "accuracy_score",
            (0.5, 0.7, 0.9),
            n_symbols,
        )

    return make


@pytest.fixture
def make_case(make_spec):
    """Return a function that makes a network, weights of R replicas without zeros, and a batch."""

    def make(name="mlp", seeds=(0, 1, 2), batch_size=4, target_kind=TargetKind.CLASSES):
        architecture, input_shape, n_symbols = NETWORKS[name]
        n_outputs = 4 if target_kind is TargetKind.DISTRIBUTIONS else 3
        spec = make_spec(input_shape, n_outputs, target_kind, n_symbols)
        network, rng = architecture.build(spec), Stream("test", seeds)
        params = network.init(rng)
        params = params + 0.1 * rng.normal(network.n_weights)
        shape, classes = (batch_size, *input_shape), target_kind is TargetKind.CLASSES
        inputs = rng.integers(n_symbols, *shape) if n_symbols else rng.normal(*shape)
        targets = (
            rng.integers(3, batch_size) if classes else rng.normal(batch_size, *spec.target_shape)
        )
        return SimpleNamespace(
            spec=spec, network=network, params=params, inputs=inputs, targets=targets
        )

    return make


@pytest.fixture(params=NETWORKS)
def case(request, make_case):
    """Each network in turn, three replicas of it."""
    return make_case(request.param)


@pytest.fixture
def close():
    """Return a check that two tensors agree to a relative error, by default a float32 chain's."""

    def check(actual, expected, rtol=1e-5, atol=1e-6):
        torch.testing.assert_close(actual, expected, rtol=rtol, atol=atol)

    return check
