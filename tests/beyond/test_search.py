"""Ranges for search, beside the settings: of every method, and of every choice of a part."""

from dataclasses import fields, is_dataclass, replace
from itertools import product
from typing import Annotated, Literal

import numpy as np
import pytest

from beyond import catalog
from beyond.search import Choice, LogUniform, Uniform, space
from beyond.settings import Positive, PositiveInt, describe, settings

FAULTS = [
    ("beyond/search.py", "within = ranges[-1]", "within = ranges[0]"),
    ("beyond/search.py", "self.low <= value <= self.high", "self.low < value < self.high"),
    ("beyond/search.py", 'f"{field.name}.{name}": within', "name: within"),
    (
        "methods/evolution_strategy.py",
        "LogUniform(0.005, 0.5)] = 0.05",
        "LogUniform(0.005, 0.5)] = 0.6",
    ),
    ("methods/genetic.py", "Annotated[int, Ge(2), Choice(16,", "Annotated[int, Ge(2), Choice(1,"),
]
GROUPS = ("method", *catalog.PARTS)
CHOSEN = [(group, name) for group in GROUPS for name in catalog.names(group) if name != "default"]
WITHOUT = {"constant"}  # controls that nothing could be searched of
POPULATIONS = {"population_size", "n_pairs", "n_candidates", "n_directions", "n_tangents"}


@settings(kw_only=True)
class Part:
    rate: Annotated[Positive, LogUniform(0.1, 1.0)] = 0.5
    fixed: Positive = 1.0


@settings(kw_only=True)
class Whole:
    part: Part = Part()
    size: Annotated[PositiveInt, LogUniform(1, 64)] = 8
    kind: Annotated[Literal["a", "b"], Choice()] = "a"
    flag: Annotated[bool, Choice()] = True
    refined: Annotated[Annotated[Positive, Uniform(0.0, 9.0)], Uniform(1.0, 2.0)] = 1.5


def with_setting(made, name, value):
    first, _, rest = name.partition(".")
    return replace(
        made, **{first: with_setting(getattr(made, first), rest, value) if rest else value}
    )


def ends(within):
    return within.values if isinstance(within, Choice) else (within.low, within.high)


def test_a_space_has_the_settings_of_parts_too_and_the_outermost_range():
    assert space(Whole()) == {
        "part.rate": LogUniform(0.1, 1.0),
        "size": LogUniform(1, 64),
        "kind": Choice("a", "b"),
        "flag": Choice(True, False),
        "refined": Uniform(1.0, 2.0),
    }


def test_ranges_hold_their_ends_and_say_what_they_are():
    assert 0.1 in LogUniform(0.1, 1.0)
    assert 1.0 in LogUniform(0.1, 1.0)
    assert 1.1 not in LogUniform(0.1, 1.0)
    assert "a" not in LogUniform(0.1, 1.0)
    assert 3 not in Choice(2, 4)
    assert [str(one) for one in space(Whole()).values()][:3] == [
        "[0.1, 1] log",
        "[1, 64] log",
        "{a, b}",
    ]


def test_a_range_for_search_changes_nothing_of_what_is_allowed():
    assert describe(Annotated[Positive, LogUniform(0.1, 1.0)]) == "> 0"
    assert Part(rate=50.0).rate == 50.0


@pytest.mark.parametrize(("group", "name"), CHOSEN)
def test_the_default_lies_inside_and_all_that_is_inside_is_valid(group, name):
    made = catalog.load(group, name)
    searched = space(made)
    for setting, within in searched.items():
        value = made
        for part in setting.split("."):
            value = getattr(value, part)
        assert value in within, f"{setting} = {value} outside {within}"
        for end in ends(within):
            kind = type(end) if isinstance(within, Choice) else type(value)
            assert type(end) is kind, f"{setting}: {within} for {value}"
            with_setting(made, setting, end)
    draws = np.random.default_rng(0)
    corners = list(product(*(ends(within) for within in searched.values())))
    for place in draws.permutation(len(corners))[:50]:  # ends of all settings together
        one = made
        for setting, value in zip(searched, corners[place], strict=True):
            one = with_setting(one, setting, value)


@pytest.mark.parametrize("name", catalog.names("method"))
def test_every_method_searches_its_step_its_batch_and_its_population(name):
    made = catalog.load("method", name)
    searched = space(made)
    if name in WITHOUT:
        assert not searched
        return
    assert 2 <= len(searched) <= 6
    assert "batch_size" in searched
    if hasattr(made, "optimizer"):
        assert next(iter(searched)) == "optimizer.learning_rate"
    assert POPULATIONS.intersection(field.name for field in fields(made)) <= set(searched)


@pytest.mark.parametrize("name", [n for n in catalog.names("optimizer") if n != "default"])
def test_every_optimizer_searches_its_learning_rate(name):
    searched = space(catalog.load("optimizer", name))
    assert searched["learning_rate"].high / searched["learning_rate"].low >= 100


def test_parts_are_built_of_settings():
    assert all(is_dataclass(catalog.load(group, name)) for group, name in CHOSEN)
