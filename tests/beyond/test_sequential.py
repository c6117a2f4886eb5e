"""Oracles: the same network from its own architecture, and torch's layers with the same weights."""

import pytest
import torch
from torch import nn

from beyond import catalog
from beyond.architectures.cnn import CNN
from beyond.architectures.mlp import MLP
from beyond.architectures.rnn import Elman
from beyond.architectures.sequential import WORDS, Sequential
from beyond.contracts import TargetKind, TaskSpec
from beyond.errors import InputError
from beyond.streams import Stream

FAULTS = [
    # a last layer of one output
    ("beyond/architectures/sequential.py", '"n_out", spec.n_outputs', '"n_out", 1'),
    # a number goes to the next field
    (
        "beyond/architectures/sequential.py",
        "zip(known, values, strict=False)}",
        "zip(known[::-1], values, strict=False)}",
    ),
    # the layers in another order
    ("beyond/architectures/sequential.py", "stack.append(_made(", "stack.insert(0, _made("),
]
IMAGE = TaskSpec("t", (1, 8, 8), 3, TargetKind.CLASSES, MLP(), "score", (0, 0, 0))
WORD = TaskSpec("t", (6,), 3, TargetKind.CLASSES, MLP(), "score", (0, 0, 0), n_symbols=7)


def network(*layers, spec=IMAGE):
    return Sequential(layers).build(spec)


@pytest.mark.parametrize(
    ("written", "architecture", "spec"),
    [
        (("flatten", "linear 32", "relu", "linear"), MLP((32,)), IMAGE),
        (("embedding 8", "linear 5", "tanh", "linear"), MLP((5,), activation="tanh"), WORD),
        (
            ("embedding 8", "channels 8", "rnn 5 true relu", "last true", "linear"),
            Elman(5, bidirectional=True, activation="relu", initialisation="he"),
            WORD,
        ),
        (("flatten", "linear 4", "layernorm", "relu", "linear"), MLP((4,), layer_norm=True), IMAGE),
        (
            ("conv 4 3 1 1 false", "batchnorm", "pool 2", "relu", "flatten", "linear"),
            CNN((4,), norm="batch"),
            IMAGE,
        ),
    ],
)
def test_written_out_it_is_the_network_of_the_architecture(written, architecture, spec):
    ours, theirs = network(*written, spec=spec), architecture.build(spec)
    assert ours.layers == theirs.layers
    weights = ours.init(Stream("init", [0, 1]))
    assert torch.equal(weights, theirs.init(Stream("init", [0, 1])))
    assert ours.forward_flops == theirs.forward_flops


def test_it_is_the_same_function_as_torchs_layers():
    built = network(
        "conv 4 3 2 1",
        "relu",
        "pool 2",
        "conv 2 1",
        "tanh",
        "avgpool 2",
        "flatten",
        "linear 5",
        "leaky_relu 0.2",
        "sigmoid",
        "linear",
    )
    module = nn.Sequential(
        nn.Conv2d(1, 4, 3, 2, 1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 2, 1),
        nn.Tanh(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(2, 5),
        nn.LeakyReLU(0.2),
        nn.Sigmoid(),
        nn.Linear(5, 3),
    )
    weights = built.init(Stream("init", [0]))
    nn.utils.vector_to_parameters(weights[0], module.parameters())
    images = Stream("data", [0]).normal(6, 1, 8, 8)
    torch.testing.assert_close(built.outputs(weights, images)[0], module(images[0]))


def test_every_layer_that_an_architecture_has_can_be_written():
    known = set(WORDS.values())
    for name, spec in (("cnn", IMAGE), ("cnn1d", WORD), ("gru", WORD), ("deep", IMAGE)):
        built = catalog.load("network", name).build(spec)
        assert {type(layer) for layer in built.layers} <= known


def test_along_time():
    written = "embedding 4", "channels 4", "conv1d 5 3", "relu", "gru 6 true", "flatten", "linear"
    built = network(*written, spec=WORD)
    assert built.shapes == [(6,), (24,), (4, 6), (5, 4), (5, 4), (12, 4), (48,), (3,)]


BAD = {
    "no such word": (
        ("flaten", "linear"),
        "the first word of network.layers[0] must be one of flatten, linear, conv, ",
    ),
    "an empty one": (
        (" ", "linear"),
        "the first word of network.layers[0] must be one of linear, conv, ",
    ),
    "no number": (
        ("conv", "linear"),
        "network.layers[0] must be as `conv n_out [kernel] [stride] [padding] [bias]`, got 'conv'",
    ),
    "no whole number": (
        ("conv 2.5",),
        "network.layers[0] must be as `conv n_out [kernel] [stride] [padding] [bias]`, got",
    ),
    "a number too many": (("relu 3",), "network.layers[0] must be as `relu`, got 'relu 3'"),
    "neither true nor false": (
        ("gru 4 yes",),
        "network.layers[0] must be as `gru n_hidden [bidirectional]`, got",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_layer_is_refused_before_it_meets_a_task(name):
    layers, message = BAD[name]
    with pytest.raises(InputError) as refused:
        Sequential(layers)
    assert str(refused.value).startswith(message)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (
            ("linear",),
            "network.layers[0], 'linear': Linear input must be one axis (flatten images ",
        ),
        (("conv 2 9", "flatten", "linear"), "network.layers[0], 'conv 2 9': kernel must be small "),
        (
            ("pool 9", "flatten", "linear"),
            "network.layers[0], 'pool 9': size must be at most 8, the",
        ),
        (
            ("embedding 3", "linear"),
            "network.layers[0], 'embedding 3': n_symbols must be >= 1, got",
        ),
        (
            ("flatten", "dropout 2", "linear"),
            "network.layers[1], 'dropout 2': rate must be in [0, 1",
        ),
        (("flatten", "linear 4"), "network.layers must be layers that end in 3 outputs, got (4,)"),
        ((), "network.layers must be layers that end in 3 outputs, got (1, 8, 8)"),
    ],
)
def test_what_does_not_fit_the_task_is_refused_with_its_place(layers, message):
    with pytest.raises(InputError) as refused:
        network(*layers)
    assert str(refused.value).startswith(message)


def test_it_is_typed_on_the_command_line(beyond):
    layers = "network.layers=[conv 2 3, relu, flatten, linear]"
    status, told, _ = beyond(
        "network=sequential", layers, "method=feedback_alignment", "seeds=2", "budget.epochs=1"
    )
    assert status == 0
    assert (
        'feedback_alignment (sequential) [network.layers=["conv 2 3","relu","flatten","linear"]]'
        in told
    )
    assert catalog.load("network", "sequential").layers == (
        "flatten",
        "linear 64",
        "relu",
        "linear",
    )
