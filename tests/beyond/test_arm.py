"""What an arm's id and label are made of: what JSON knows, and equal where settings are equal."""

import math
from dataclasses import make_dataclass
from fractions import Fraction
from pathlib import Path

import pytest
import yaml

from beyond import catalog
from beyond.architectures.module import Module
from beyond.errors import InputError
from beyond.kits.optimizers import SGD
from beyond.ledger import Budget
from beyond.run.arm import Arm, best_known, defaults, differences, labels, plain, same, shown
from beyond.run.choices import named
from methods.backprop import Backprop

FAULTS = [
    ("beyond/run/arm.py", "set.intersection(*told)", "set.union(*told)"),
    ("beyond/run/arm.py", "if len(told) > 1 else", "if told else"),
    # two orders of the same settings are two arms; two classes of one name are one
    ("beyond/run/arm.py", "json.dumps(plain(value), sort_keys=True)", "json.dumps(plain(value))"),
    (
        "beyond/run/arm.py",
        'f"{type(value).__module__}.{type(value).__qualname__}", **settings}',
        'f"{type(value).__qualname__}", **settings}',
    ),
    ("beyond/run/arm.py", "if not isinstance(value, str | int | float | None):", "if False:"),
    ("beyond/run/arm.py", "if type(choice) is cls:", "if choice is not None:"),
    (
        "beyond/run/arm.py",
        "(other is not MISSING and same(one, other))",
        "other is MISSING or same(one, other)",
    ),
    ("beyond/run/arm.py", "usual | dict(known.settings)):", "usual):"),
    ("beyond/run/arm.py", "if not differences(task, usual", "if usual or differences(task, usual"),
]


def test_what_is_known_of_a_task_is_not_of_the_task_with_other_settings():
    def value(name, **settings):
        known = best_known(catalog.load("task", name, **settings))
        return None if known is None else known["value"]

    assert value("image/mnist1d") == 0.94
    assert value("image/mnist1d", shuffle_features=True) == 0.68
    assert value("image/mnist1d", shuffle_features=True, train_size=100) is None
    assert (
        value("image/mnist1d", half="upper")
        is value("image/digits")
        is value("image/cifar10")
        is None
    )
    assert value("image/cifar10", shift=4, flip_rate=0.5) == 0.9125
    assert best_known(catalog.load("task", "image/mnist1d"))["score"] == "accuracy_score"


def test_equal_numbers_and_sequences_are_the_same():
    assert same({"a": (1, 2.0)}, {"a": [1.0, 2]})
    assert not same(0.5, 0.25)
    assert not same(True, "true")
    assert plain((1.0, (None, "x", math.inf))) == [1, [None, "x", math.inf]]
    told = [shown(value) for value in (0.1, None, True, (64, 64), "relu", {"a": [1], "b": "x"})]
    assert told == ["0.1", "null", "true", "[64,64]", "relu", "{a:[1],b:x}"]
    assert [shown(value) for value in (1e30, 5e6, 2**63 - 1)] == [
        "1e+30",
        "5000000",
        f"{2**63 - 1}",
    ]


def test_the_order_of_settings_does_not_count_and_the_module_of_a_class_does():
    assert same({"a": 1, "b": {"c": 2, "d": 3}}, {"b": {"d": 3, "c": 2}, "a": 1})
    made = [make_dataclass("Rule", ["x"]) for _ in range(2)]
    made[0].__module__, made[1].__module__ = "mine", "yours"
    mine, yours = (cls(1) for cls in made)
    assert same(mine, mine)
    assert not same(mine, yours)


@pytest.mark.parametrize("value", [Fraction(1, 3), Path("a"), {1, 2}, 1j, object()])
def test_what_has_no_text_of_its_own_is_refused(value):
    with pytest.raises(
        InputError, match=r"^settings must be of numbers, texts, lists and other settings, got "
    ):
        same([value], [value])


def test_a_setting_without_a_default_is_in_the_label():
    method, task = catalog.load("method", "backprop"), catalog.load("task", "image/digits")
    arm = Arm(
        "backprop", method, task, Module("beyond.files:write_whole"), Budget("epochs", 300), 1
    )
    assert (
        arm.label
        == "image/digits, 300 epochs: backprop (write_whole) [network.factory=beyond.files:write_whole]"
    )


@pytest.mark.parametrize(
    ("part", "choice"), [(part, name) for part in catalog.PARTS for name in catalog.names(part)]
)
def test_the_label_of_a_part_can_be_typed(part, choice):
    """Its choice and settings, as they stand in the label, make the same part."""
    made, _ = named(part)[choice]
    if made is None:  # the method's
        return
    method = make_dataclass("Rule", [(part, object)])(made)
    name, *settings = [one.split("=") for one in differences(method, {})]
    assert name[0] == part
    typed = {key.removeprefix(f"{part}."): yaml.safe_load(value) for key, value in settings}
    assert same(catalog.load(part, name[1], **typed), made)


def test_a_part_that_is_no_choice_goes_by_its_class():
    class Mine(SGD):
        pass

    mine = Mine(learning_rate=0.3)
    assert differences(Backprop(optimizer=mine), defaults(Backprop)) == [
        "optimizer=mine",
        "optimizer.learning_rate=0.3",
    ]


def arm(method, **budget):
    task = catalog.load("task", "image/digits", shots=5)
    return Arm(type(method).__name__, method, task, task.spec.network, Budget.of(budget), 2)


def test_a_short_label_has_what_not_all_arms_share():
    plain_rule, other = Backprop(batch_size=64), Backprop(batch_size=64, n_layers=1)
    arms = [arm(plain_rule, steps=3), arm(other, steps=3), arm(plain_rule, steps=3)]
    assert list(labels(arms).values()) == [
        "Backprop [n_layers=null]",
        "Backprop [n_layers=1]",
    ]
    assert list(labels([*arms, arm(plain_rule, steps=4)]).values()) == [
        "3 steps: Backprop [n_layers=null]",
        "3 steps: Backprop [n_layers=1]",
        "4 steps: Backprop [n_layers=null]",
    ]
    swept = [Backprop(optimizer=SGD(learning_rate=rate)) for rate in (0.3, 0.2)]
    assert list(labels([arm(rule, steps=3) for rule in (*swept, Backprop(SGD()))]).values()) == [
        "Backprop [optimizer.learning_rate=0.3]",
        "Backprop [optimizer.learning_rate=0.2]",
        f"Backprop [optimizer.learning_rate={SGD().learning_rate}]",
    ]
    whole = arms[0].label
    assert whole.startswith("image/digits, shots=5, 3 steps: Backprop [batch_size=64, ")
    assert labels([arms[0], arms[2]]) == {arms[0].id: whole}
