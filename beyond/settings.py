"""Settings are declared once: a class gives each field's type, its range or choices, its default.

    @settings
    class Hebbian(Method[State]):
        batch_size: Annotated[int, Ge(2)] = 32
        rule: Literal["competitive", "oja"] = "competitive"
        hebbian_rate: BelowOne = 0.02

Such a class is a frozen dataclass whose fields pydantic checks, strictly: 32.5, true and "32" are
not integers, "no" is not a truth value, NaN and infinity are not numbers. An integer where a number
is expected becomes a float, and a list a tuple, so that equal settings are equal objects.
Conditions between fields are checked in `__post_init__`, see `beyond.errors.require`. Whatever is
refused raises `InputError`, in one line.

Metadata that pydantic does not know is left alone: `Annotated[float, Gt(0), ...]` has room for more
than a range: what `beyond.search` says of tuning stands there.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache, wraps
from math import isinf
from numbers import Real
from os import cpu_count
from pathlib import Path
from types import NoneType, UnionType
from typing import (
    Annotated,
    Any,
    Literal,
    TypeVar,
    Union,
    dataclass_transform,
    get_args,
    get_origin,
    get_type_hints,
    overload,
)

from annotated_types import Ge, GroupedMetadata, Gt, Interval, Le, Lt, MinLen, MultipleOf
from pydantic import AllowInfNan, ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass
from pydantic_core import CoreSchema, core_schema

from beyond.errors import InputError, require, shown
from beyond.search import Choice

PositiveInt = Annotated[int, Ge(1)]
# None is the whole training set
BatchSize = Annotated[PositiveInt | None, Choice(8, 16, 32, 64, 128, 256)]
NonNegativeInt = Annotated[int, Ge(0)]
Positive = Annotated[float, Gt(0)]
NonNegative = Annotated[float, Ge(0)]
PositiveOrInf = Annotated[float, Gt(0), AllowInfNan(True)]
UnitInterval = Annotated[float, Interval(ge=0, le=1)]  # [0, 1]
BelowOne = Annotated[float, Interval(ge=0, lt=1)]  # [0, 1)
UpToOne = Annotated[float, Interval(gt=0, le=1)]  # (0, 1]

STRICT = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False, validate_default=True)
KINDS = {int: "an integer", float: "", bool: "true or false", str: "text", NoneType: "null"}
Class = TypeVar("Class", bound=type)
Value = TypeVar("Value")
OneOrEach = Union[Value, Annotated[tuple[Value, ...], MinLen(1)]]  # noqa: UP007


class OneOf:
    """Metadata of a text: names that stand elsewhere, such as the keys of a table of functions."""

    def __init__(self, names: Iterable[str]) -> None:
        self.names = tuple(names)

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def _check(self, name: str) -> str:
        if name not in self.names:
            raise ValueError(name)
        return name


class Says(str):
    """Metadata: what the annotation allows, where that is better said than put together."""

    __slots__ = ()


@overload
@dataclass_transform(frozen_default=True, field_specifiers=(dataclasses.field,))
def settings(cls: Class, /) -> Class: ...


@overload
@dataclass_transform(frozen_default=True, field_specifiers=(dataclasses.field,))
def settings(*, kw_only: bool) -> Callable[[Class], Class]: ...


def settings(cls: Any = None, /, *, kw_only: bool = False) -> Any:
    """Make a class a frozen dataclass with fields checked against their annotations, as above."""
    return _made(cls, kw_only) if cls is not None else lambda decorated: _made(decorated, kw_only)


def _made(cls: type, kw_only: bool) -> type:
    made: Any = dataclass(cls, frozen=True, kw_only=kw_only, config=STRICT)
    check = made.__init__

    @wraps(check)
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        try:
            check(
                self,
                *map(_as_tuple, args),
                **{key: _as_tuple(value) for key, value in kwargs.items()},
            )
        except ValidationError as error:
            raise _refusal(made, error, args, kwargs) from None

    made.__init__ = init
    made.__getstate__ = _fields_alone
    made.__settings__ = made
    return made


def _fields_alone(made: Any) -> dict[str, Any]:
    """What a pickle, or a copy, holds: what was set, not what was worked out of it and cached."""
    return {field.name: getattr(made, field.name) for field in dataclasses.fields(made)}


def is_settings(value: object) -> bool:
    """Say whether a class was made by `settings`, itself and not only one it inherits from."""
    return vars(value).get("__settings__") is value if isinstance(value, type) else False


@cache
def per_replica(cls: type) -> frozenset[str]:
    """Names of the fields that may have a value for each replica, see `OneOrEach`."""
    hints = get_type_hints(cls, include_extras=True)
    return frozenset(
        field.name for field in dataclasses.fields(cls) if _one_or_each(hints[field.name])
    )


def _one_or_each(declared: Any) -> bool:
    """Say whether a type is of one value or several of its kind."""
    if get_origin(declared) is Annotated:
        return _one_or_each(get_args(declared)[0])
    kinds = get_args(declared)
    return any(_element(kind) in kinds for kind in kinds)


def checked(name: str, declared: Any, value: Any) -> Any:
    """Return one value as an annotation has it; raise `InputError` if it is not."""
    try:
        return TypeAdapter(declared, config=STRICT).validate_python(_as_tuple(value))
    except ValidationError:
        raise InputError(_must_be(name, declared, value)) from None


def _as_tuple(value: Any) -> Any:
    """YAML has lists only."""
    return tuple(map(_as_tuple, value)) if isinstance(value, list) else value


def _refusal(
    cls: type, error: ValidationError, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Exception:
    """What to raise for the first field that is not as declared."""
    known = [field.name for field in dataclasses.fields(cls) if field.init]
    names = ", ".join(known) or "none"
    errors = error.errors(include_url=False)
    first = next((one for one in errors if one["type"].startswith("unexpected")), errors[0])
    if not first["loc"]:  # raised by `__post_init__`
        return first.get("ctx", {})["error"]
    place, kind = first["loc"][0], first["type"]
    if kind == "unexpected_positional_argument":
        return InputError(f"settings of {cls.__name__} must be given by name; known: {names}")
    if kind == "unexpected_keyword_argument":
        return InputError(f"unknown setting {place!r} of {cls.__name__}; known: {names}")
    by_place = [field.name for field in dataclasses.fields(cls) if field.init and not field.kw_only]
    name = by_place[place] if isinstance(place, int) else place
    declared = get_type_hints(cls, include_extras=True)[name]
    if kind == "missing" and len(first["loc"]) == 1:  # not an element of a list
        return InputError(f"{name} must be {describe(declared)}, got nothing")
    given = dict(zip(by_place, args, strict=False)) | dict(kwargs)
    return InputError(_must_be(name, declared, given.get(name, first["input"])))


def _must_be(name: str, declared: Any, value: object) -> str:
    text = describe(declared)
    return (
        f"{name} must be {_kind(declared, value)}{text}{';' if text.startswith('one of') else ','} "
        f"got {shown(value)}"
    )


def _kind(declared: Any, value: object) -> str:
    """What a bare range leaves unsaid, where that is wrong: `> 0` is of numbers, finite ones."""
    if not describe(declared).startswith((">", "<", "in ")):
        return ""
    inner = get_args(declared)[0] if get_origin(declared) is Annotated else declared
    listed = isinstance(value, tuple | list) and any(map(_element, get_args(inner)))
    if isinstance(value, bool) or not (listed or isinstance(value, Real)):
        return "a number "
    return "finite and " if isinstance(value, float) and isinf(value) else ""


def describe(declared: Any) -> str:
    """What an annotation allows, in words: `an integer >= 1`, `in [0, 1)`, `one of oja, ...`."""
    origin, arguments = get_origin(declared), get_args(declared)
    if origin is Annotated:
        for item in arguments[1:]:
            if isinstance(item, Says):
                return str(item)
            if isinstance(item, OneOf):
                return f"one of {', '.join(item.names)}" if item.names else ""
            if isinstance(item, MultipleOf):
                return ", ".join(
                    filter(None, [f"a multiple of {item.multiple_of}", _range(arguments[1:])])
                )
        return " ".join(filter(None, [describe(arguments[0]), _range(arguments[1:])]))
    if origin is Literal:
        return f"one of {', '.join(map(str, arguments))}"
    if origin in (Union, UnionType):  # one number or several of the kind are described by the one
        several = [argument for argument in arguments if _element(argument) in arguments]
        return ", or ".join(
            filter(None, [describe(argument) for argument in arguments if argument not in several])
        )
    if origin is tuple:
        return f"a list, each {describe(arguments[0]) or 'a number'}"
    if declared in KINDS:
        return KINDS[declared]
    name = declared.__name__
    return f"{'an' if name[0] in 'AEIOU' else 'a'} {name}"


def _element(declared: Any) -> Any:
    """What a list is of; None for what is no list."""
    inner = get_args(declared)[0] if get_origin(declared) is Annotated else declared
    return get_args(inner)[0] if get_origin(inner) is tuple else None


def _range(metadata: Iterable[object]) -> str:
    """`>= 1`, `in [0, 1)`; empty if there is none."""
    limits = [
        part
        for item in metadata
        for part in (item if isinstance(item, GroupedMetadata) else [item])
    ]
    lower = next((limit for limit in limits if isinstance(limit, Ge | Gt)), None)
    upper = next((limit for limit in limits if isinstance(limit, Le | Lt)), None)
    if lower and upper:
        opening = f"[{_bound(lower.ge)}" if isinstance(lower, Ge) else f"({_bound(lower.gt)}"
        closing = f"{_bound(upper.le)}]" if isinstance(upper, Le) else f"{_bound(upper.lt)})"
        return f"in {opening}, {closing}"
    if lower:
        return f">= {_bound(lower.ge)}" if isinstance(lower, Ge) else f"> {_bound(lower.gt)}"
    if upper:
        return f"<= {_bound(upper.le)}" if isinstance(upper, Le) else f"< {_bound(upper.lt)}"
    return ""


def _bound(value: Any) -> str:
    """A limit in print, `2^63` rather than its digits."""
    if isinstance(value, int) and value >= 1 << 16 and value.bit_count() == 1:
        return f"2^{value.bit_length() - 1}"
    return str(value)


Text = Annotated[str, MinLen(1), Says("text that is not empty")]
Seed = Annotated[int, Interval(ge=0, lt=1 << 63)]
ALSO = Says("settings, each with a list of values, or null")
CRITERION = r"(GL|PQ)_(?=.*[1-9])\d+(\.\d+)?|UP_[1-9]\d*"
STOPPING = Says("GL_a, PQ_a or UP_s, numbers > 0 and s whole, or null")
SEEDS = Says("a count in [1, 2^20] or a list of distinct seeds in [0, 2^63)")


@settings(kw_only=True)
class RunSettings:
    """What a run is told besides task, method and its parts, network and budget.

    Parameters
    ----------
    seeds : int in [1, 2^20], or tuple of distinct int in [0, 2^63)
        10 means seeds 0 to 9.
    threads : int, >= 1
        Of one process, at most four for each core.
    device : {"cpu", "cuda", "auto"}
        Where everything is computed: "auto" is CUDA's device where one is there.
    draws : {"host", "device"}, optional
        Where a method's random numbers are made: by default on the device, which is faster. On the
        host they are those of a run on the CPU.
    precision : {"float32", "float64", "bfloat16"}
        Of weights, data and draws; in bfloat16 are passes and products of matrices alone.
    max_memory : float, > 0, optional
        GB that the activations of what is evaluated at once may take.
    time_limit : float, > 0, optional
        Seconds for a whole run, on the clock; one that takes longer counts as failed.
    early_stopping : str, optional
        Prechelt's criterion by which a replica stops before its budget is spent (see
        `beyond.run.stopping`): GL_5 for a validation loss 5 % above its lowest, PQ_0.5 for one that
        rises faster than the training loss falls, UP_3 for one that rose three times.
    save_every : float, >= 0
        Seconds between saved states of an unfinished run.
    keep_weights : bool
        Whether the selected weights are kept, in `weights.pt`.
    runs : str
        Where results go.
    study_name : str
        Folder below `runs`: a name, or several joined by slashes.
    test_also : dict of str to list, optional
        Other values of settings that only a prediction uses (`Method.PREDICTION`): at the end the
        test split is scored with each too.
    follow : str, optional
        What follows runs while they are trained: tensorboard, mlflow, wandb, or a class,
        `package.module.Name` (see `beyond.run.live`).
    stacked : bool
        Whether cells of a sweep that differ only in seeds, or in settings that may have a value for
        each replica, are trained together.
    rerun : {"none", "stale", "failed", "all"}
        Finished cells to train again: those made by other code or data, those that failed.
    """

    seeds: Annotated[
        Annotated[int, Interval(ge=1, le=1 << 20)] | Annotated[tuple[Seed, ...], MinLen(1)], SEEDS
    ] = 10
    threads: Annotated[int, Interval(ge=1, le=4 * (cpu_count() or 1))] = 1
    device: Literal["cpu", "cuda", "auto"] = "cpu"
    draws: Literal["host", "device"] | None = None
    precision: Literal["float32", "float64", "bfloat16"] = "float32"
    max_memory: Positive | None = None
    time_limit: Positive | None = None
    early_stopping: Annotated[str | None, STOPPING] = None
    save_every: NonNegative = 5.0
    keep_weights: bool = False
    runs: Text = "runs"
    study_name: Text = "adhoc"
    test_also: Annotated[dict[str, Annotated[list[Any], MinLen(1)]] | None, ALSO] = None
    follow: Text | None = None
    stacked: bool = True
    rerun: Literal["none", "stale", "failed", "all"] = "none"

    def __post_init__(self) -> None:
        require(
            "seeds", SEEDS, list(self.seed_list), len(set(self.seed_list)) == len(self.seed_list)
        )
        if self.early_stopping is not None:
            known = re.fullmatch(CRITERION, self.early_stopping) is not None
            require("early_stopping", STOPPING, self.early_stopping, known)
        below = {"", ".", ".."}.isdisjoint(
            self.study_name.split("/")
        ) and self.study_name.isprintable()
        require("study_name", "a folder below runs", self.study_name, below)

    @property
    def study(self) -> Path:
        """The folder of the study."""
        return Path(self.runs) / self.study_name

    @property
    def seed_list(self) -> tuple[int, ...]:
        """The seeds themselves."""
        return tuple(range(self.seeds)) if isinstance(self.seeds, int) else self.seeds
