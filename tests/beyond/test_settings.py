"""What a declared field takes, what it makes of it, and how it refuses the rest."""

from dataclasses import FrozenInstanceError, field, fields, replace
from functools import cached_property
from math import inf, nan
from typing import Annotated, ClassVar, Literal

import pytest
from annotated_types import Ge, Interval, MinLen, MultipleOf

from beyond.errors import InputError, require
from beyond.settings import (
    NonNegative,
    OneOf,
    Positive,
    PositiveInt,
    PositiveOrInf,
    RunSettings,
    Says,
    checked,
    describe,
    is_settings,
    settings,
)

TABLE = {"relu": max, "tanh": min}
FAULTS = [
    ("beyond/settings.py", "strict=True, ", ""),
    ("beyond/settings.py", "allow_inf_nan=False, ", ""),
    ("beyond/settings.py", ", validate_default=True", ""),
    ("beyond/settings.py", "AllowInfNan(True)", "AllowInfNan(False)"),
    ("beyond/settings.py", "        if name not in self.names:", "        if not name:"),
    (
        "beyond/settings.py",
        "return tuple(map(_as_tuple, value)) if isinstance(value, list) else value",
        "return value",
    ),
    # the item that is wrong, without the list that was given
    ("beyond/settings.py", 'given.get(name, first["input"])', 'first["input"]'),
    ("beyond/settings.py", "if field.init and not field.kw_only", "if field.init"),
    ("beyond/settings.py", "if isinstance(value, bool) or not", "if not"),
    ("beyond/settings.py", "Annotated[int, Interval(ge=0, lt=1 << 63)]", "Annotated[int, Ge(0)]"),
    ("beyond/settings.py", "len(set(self.seed_list)) == len(self.seed_list)", "True"),
    (
        "beyond/settings.py",
        'vars(value).get("__settings__") is value',
        'hasattr(value, "__settings__")',
    ),
]


@settings(kw_only=True)
class Wheel:
    radius: Positive


@settings
class Spoked(Wheel):
    n_spokes: PositiveInt = 32


@settings
class Cart:
    KIND: ClassVar[str] = "cart"

    n_wheels: PositiveInt = 4
    load: NonNegative = 0
    limit: PositiveOrInf = inf
    slack: Annotated[float, Interval(ge=0, lt=1)] = 0.5
    colour: Literal["red", "blue"] = "red"
    shape: Annotated[str, OneOf(TABLE)] = "relu"
    covered: bool = False
    sizes: tuple[PositiveInt, ...] = (1, 2)
    rates: Positive | Annotated[tuple[Positive, ...], MinLen(1)] = 0.1
    depth: PositiveInt | None = None
    wheel: Wheel = Spoked(radius=1)
    words: Annotated[str, Says("two words")] = "a b"
    serial: int = field(default=7, init=False)

    def __post_init__(self) -> None:
        require("load", "0 where the cart is not covered", self.load, self.covered or not self.load)

    @cached_property
    def twice(self) -> int:
        return 2 * self.n_wheels


KNOWN = [field.name for field in fields(Cart) if field.init]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"n_wheels": 0}, "n_wheels must be an integer >= 1, got 0"),
        ({"n_wheels": 4.0}, "n_wheels must be an integer >= 1, got 4.0"),
        ({"n_wheels": True}, "n_wheels must be an integer >= 1, got True"),
        ({"n_wheels": None}, "n_wheels must be an integer >= 1, got None"),
        ({"n_wheels": [4]}, "n_wheels must be an integer >= 1, got [4]"),
        ({"n_wheels": "4"}, "n_wheels must be an integer >= 1, got '4'"),
        ({"load": -1}, "load must be >= 0, got -1"),
        ({"load": nan}, "load must be >= 0, got nan"),
        ({"load": inf}, "load must be finite and >= 0, got inf"),
        ({"load": "much"}, "load must be a number >= 0, got 'much'"),
        ({"load": False}, "load must be a number >= 0, got False"),
        ({"load": [1.0]}, "load must be a number >= 0, got [1.0]"),
        ({"limit": nan}, "limit must be > 0, got nan"),
        ({"slack": 1}, "slack must be in [0, 1), got 1"),
        ({"slack": inf}, "slack must be finite and in [0, 1), got inf"),
        ({"colour": "green"}, "colour must be one of red, blue; got 'green'"),
        ({"colour": None}, "colour must be one of red, blue; got None"),
        ({"shape": "sine"}, "shape must be one of relu, tanh; got 'sine'"),
        ({"shape": 1}, "shape must be one of relu, tanh; got 1"),
        ({"covered": "no"}, "covered must be true or false, got 'no'"),
        ({"covered": 0}, "covered must be true or false, got 0"),
        ({"sizes": 3}, "sizes must be a list, each an integer >= 1, got 3"),
        ({"sizes": [16.5]}, "sizes must be a list, each an integer >= 1, got [16.5]"),
        ({"rates": 0}, "rates must be > 0, got 0"),
        ({"rates": ()}, "rates must be > 0, got ()"),
        ({"rates": [1, "x"]}, "rates must be > 0, got [1, 'x']"),
        ({"rates": "x"}, "rates must be a number > 0, got 'x'"),
        ({"depth": 0}, "depth must be an integer >= 1, or null, got 0"),
        ({"wheel": None}, "wheel must be a Wheel, got None"),
        ({"wheel": {"radius": 1}}, "wheel must be a Wheel, got {'radius': 1}"),
        ({"words": 3}, "words must be two words, got 3"),
        ({"load": 3}, "load must be 0 where the cart is not covered, got 3.0"),
        ({"serial": 8}, f"unknown setting 'serial' of Cart; known: {', '.join(KNOWN)}"),
        ({"load": -1, "speed": 8}, f"unknown setting 'speed' of Cart; known: {', '.join(KNOWN)}"),
    ],
)
def test_what_is_not_as_declared_is_refused_in_one_line(given, message):
    with pytest.raises(InputError) as caught:
        Cart(**given)
    assert str(caught.value) == message


def test_a_field_without_a_default_must_be_given_and_kw_only_means_by_name():
    with pytest.raises(InputError, match=r"^radius must be > 0, got nothing$"):
        Spoked()
    with pytest.raises(
        InputError, match=r"^settings of Wheel must be given by name; known: radius$"
    ):
        Wheel(1.0)
    with pytest.raises(InputError, match=r"^radius must be > 0, got -1$"):
        Spoked(3, radius=-1)
    with pytest.raises(InputError, match=r"^n_spokes must be an integer >= 1, got 0$"):
        Spoked(0, radius=1)


def test_equal_settings_are_equal_objects():
    """However they are written: 3 for 3.0, a list for a tuple."""
    plain = Cart(load=3, covered=True, sizes=[1, 2], rates=[1, 2], slack=0)
    exact = Cart(4, 3.0, covered=True, sizes=(1, 2), rates=(1.0, 2.0), slack=0.0)
    assert plain == exact
    assert hash(plain) == hash(exact)
    assert repr(plain) == repr(exact)


def test_it_stays_a_frozen_dataclass():
    cart = Cart(n_wheels=2)
    assert [field.name for field in fields(cart)][:2] == ["n_wheels", "load"]
    assert cart.serial == 7
    assert cart.twice == 4
    assert replace(cart, n_wheels=3) == Cart(3)
    assert type(cart.load) is float  # defaults are checked too
    with pytest.raises(FrozenInstanceError):
        cart.n_wheels = 3
    with pytest.raises(InputError, match="n_wheels must be"):
        replace(cart, n_wheels=0)


def test_only_the_class_itself_counts_as_declared():
    class Plain(Cart):
        pass

    assert is_settings(Cart)
    assert not any(map(is_settings, (Plain, Cart(), int, len, None)))


def test_ranges_are_told_in_words():
    told = {
        Annotated[int, Interval(ge=0, lt=1 << 63)]: "an integer in [0, 2^63)",
        Annotated[float, Interval(gt=0, le=1)]: "in (0, 1]",
        Annotated[float, Interval(le=1)]: "<= 1",
        tuple[Positive, ...] | None: "a list, each > 0, or null",
        Positive | tuple[Positive, ...] | None: "> 0, or null",
        Annotated[int, Ge(100), MultipleOf(10)]: "a multiple of 10, >= 100",
        Annotated[str, OneOf(())] | None: "null",
        tuple[float, ...]: "a list, each a number",
        int | str: "an integer, or text",
    }
    assert {declared: describe(declared) for declared in told} == told


def test_a_single_value_can_be_checked():
    assert type(checked("budget.epochs", Positive, 3)) is float
    assert checked("sizes", tuple[int, ...], [3]) == (3,)
    with pytest.raises(InputError, match=r"^budget.epochs must be a number > 0, got True$"):
        checked("budget.epochs", Positive, True)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("seeds", bad)
        for bad in (0, 2.0, None, True, [], [1, 1], [-1], [1 << 63], [1.0], "3", nan, 1 << 64)
    ]
    + [("threads", bad) for bad in (0, 1.5, None, True, 100_000, [1])]
    + [("time_limit", bad) for bad in (0, -1, "abc", inf, nan, True)]
    + [("save_every", bad) for bad in (-1, None, inf, "often")]
    + [(name, bad) for name in ("runs", "study_name") for bad in ("", None, 3)],
)
def test_bad_settings_of_a_run_are_refused(name, value):
    with pytest.raises(InputError, match=rf"^{name} must be [^\n]*, got [^\n]*$"):
        RunSettings(**{name: value})


def test_a_count_of_seeds_is_the_first_so_many():
    assert RunSettings(seeds=3).seed_list == (0, 1, 2)
    assert RunSettings(seeds=[7, (1 << 63) - 1]).seed_list == (7, (1 << 63) - 1)
