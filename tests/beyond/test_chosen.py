"""What a name, settings and objects stand for: the same objects as on the command line."""

import numpy as np
import pytest

from beyond import catalog
from beyond.architectures.mlp import MLP
from beyond.errors import InputError
from beyond.kits.optimizers import SGD, Adam
from beyond.run.chosen import chosen, name_of
from methods.backprop import Backprop
from methods.constant import Constant
from methods.genetic import Genetic

FAULTS = [
    ("beyond/run/chosen.py", "return read(name, value) or usual", "return usual"),
    (
        "beyond/run/chosen.py",
        'read(group, changes["name"]) if "name" in changes else usual)',
        'usual or read(group, changes["name"]))',
    ),
    ("beyond/run/chosen.py", "min(alike, key=distance", "max(alike, key=distance"),
    ("beyond/run/chosen.py", "isinstance(value, type) or not", "not"),
    (
        "beyond/run/chosen.py",
        "for name in names(group) if not brought(group, name)}",
        "for name in reversed(names(group))}",
    ),
]


@pytest.mark.parametrize(
    ("value", "made"),
    [
        ("backprop", Backprop()),
        ({"name": "backprop"}, Backprop()),
        ({"name": "backprop", "batch_size": 64}, Backprop(batch_size=64)),
        ({"name": "backprop", "batch_size": np.int64(64)}, Backprop(batch_size=64)),
        ({"name": "backprop", "batch_size": None}, Backprop(batch_size=None)),
        (
            {"name": "backprop", "optimizer": {"name": "sgd", "learning_rate": 0.5}},
            Backprop(optimizer=SGD(learning_rate=0.5)),
        ),
        (
            {"name": "backprop", "optimizer": {"beta1": 0.5}},
            Backprop(optimizer=Adam(learning_rate=0.003, beta1=0.5)),
        ),
        (
            {"name": "backprop", "optimizer": "sgd"},
            Backprop(optimizer=catalog.load("optimizer", "sgd")),
        ),
        ({"name": "backprop", "optimizer": "default"}, Backprop()),
        (
            {"name": "backprop", "optimizer": SGD(learning_rate=0.25)},
            Backprop(optimizer=SGD(learning_rate=0.25)),
        ),
        (Backprop(n_layers=2), Backprop(n_layers=2)),
    ],
)
def test_a_method_by_its_name_settings_or_itself(value, made):
    assert chosen("method", value) == made


def test_a_part_without_a_name_changes_that_of_the_method():
    usual, changed = Genetic(), chosen("method", {"name": "genetic", "selection": {"size": 5}})
    assert changed.selection.size == 5 != usual.selection.size
    assert type(changed.selection) is type(usual.selection)
    assert changed.crossover == usual.crossover


def test_other_groups():
    assert chosen("network", {"name": "mlp", "hidden": [8, 8]}) == MLP(hidden=(8, 8))
    assert chosen("network", "default") is None
    assert chosen("task", {"name": "image/digits", "shots": 5}).shots == 5
    assert chosen("start", "related").source == "default"


@pytest.mark.parametrize(
    ("group", "value", "said"),
    [
        ("method", "bakprop", r"^method must be one of .*backprop, .*; got 'bakprop'$"),
        ("method", {"name": "x"}, r"^method must be one of .*; got 'x'$"),
        (
            "method",
            {"batch_size": 3},
            r"^method must have a name, one of actor_critic, .*; got {'batch_size': 3}$",
        ),
        (
            "optimizer",
            {"learning_rate": 3},
            r"^optimizer must have a name, one of adam, .*; got {'learning_rate': 3}$",
        ),
        (
            "method",
            {"name": "backprop", "batchsize": 3},
            r"^unknown setting 'batchsize' of Backprop; known: .*batch_size",
        ),
        (
            "method",
            {"name": "backprop", "optimizer": {"name": "x"}},
            r"^optimizer must be one of .*sgd.*; got 'x'$",
        ),
        (
            "method",
            {"name": "backprop", "optimizer": {"rate": 1}},
            r"^unknown setting 'rate' of Adam; known",
        ),
        (
            "method",
            {"name": "backprop", "optimizer": Constant()},
            r"^optimizer must be a name, a mapping with a name, or an optimizer; got Constant",
        ),
        (
            "method",
            {"name": "constant", "optimizer": "sgd"},
            r"^unknown setting 'optimizer' of Constant",
        ),
        (
            "method",
            {"name": "backprop", "batch_size": 0},
            r"^batch_size must be an integer >= 1, or null, got 0$",
        ),
        (
            "method",
            Backprop,
            r"^method must be a name, a mapping with a name, or a method; got <class",
        ),
        ("method", MLP(), r"^method must be a name, a mapping with a name, or a method; got MLP"),
        ("method", None, r"^method must be a name, a mapping with a name, or a method; got None$"),
        ("task", {"name": "table", "target": "y"}, r"^task.path must be given$"),
    ],
)
def test_what_stands_for_nothing_is_one_line_with_what_is_known(group, value, said):
    with pytest.raises(InputError, match=said):
        chosen(group, value)


class Mine(Backprop):
    """Of no choice."""


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("genetic", "genetic"),
        ({"name": "genetic", "selection": {"size": 5}}, "genetic"),
        (Backprop(), "backprop"),
        (Backprop(batch_size=64), "backprop"),
        (Backprop(n_layers=1, batch_size=64), "last_layer"),
        (Mine(), f"{__name__}.Mine"),
    ],
)
def test_an_object_goes_by_the_name_of_the_choice_that_it_is_nearest_to(value, name):
    assert name_of("method", value) == name
