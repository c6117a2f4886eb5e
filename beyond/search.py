"""Where a setting is searched when a method is tuned: metadata beside its range of validity.

    noise_std: Annotated[Positive, LogUniform(0.005, 0.5)] = 0.05
    n_pairs: Annotated[PositiveInt, Choice(8, 16, 32, 64, 128)] = 32
    tangent: Annotated[Literal["normal", "rademacher"], Choice()] = "normal"

The ranges are absolute, hold the default, and are the same for every task and network: whoever
tunes all methods so has chosen nothing for one of them.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass
from types import UnionType
from typing import Annotated, Any, Literal, TypeAlias, Union, get_args, get_origin, get_type_hints


@dataclass(frozen=True)
class Uniform:
    """Every number from `low` to `high` alike; integers where both ends are."""

    low: float
    high: float

    def __contains__(self, value: object) -> bool:
        return isinstance(value, int | float) and self.low <= value <= self.high

    def __str__(self) -> str:
        return f"[{self.low:g}, {self.high:g}]"


@dataclass(frozen=True)
class LogUniform(Uniform):
    """The same of the number's logarithm: every order of magnitude alike."""

    def __str__(self) -> str:
        return f"{super().__str__()} log"


@dataclass(frozen=True, init=False)
class Choice:
    """Each of some values alike: numbers in their order, alternatives in any.

    Without values, those that the annotation names: of a `Literal`, or true and false.
    """

    values: tuple[Any, ...]

    def __init__(self, *values: Any) -> None:
        object.__setattr__(self, "values", values)

    def __contains__(self, value: object) -> bool:
        return value in self.values

    def __str__(self) -> str:
        return f"{{{', '.join(str(value) for value in self.values)}}}"


Range: TypeAlias = Uniform | Choice


def space(made: Any) -> dict[str, Range]:
    """Return what is searched of an object's settings, and of its parts', by dotted names.

    The learning rate comes first: `{"optimizer.learning_rate": ..., "batch_size": ...}`.
    """
    found: dict[str, Range] = {}
    declared = get_type_hints(type(made), include_extras=True)
    for field in fields(made):
        value = getattr(made, field.name)
        if is_dataclass(value):
            found |= {f"{field.name}.{name}": within for name, within in space(value).items()}
        elif (within := _range(declared[field.name])) is not None:
            found[field.name] = within
    return found


def _range(declared: Any) -> Range | None:
    """Read the range for search from an annotation: the outermost, which refines what is inside."""
    if get_origin(declared) is not Annotated:
        return None
    inner, *metadata = get_args(declared)
    ranges = [item for item in metadata if isinstance(item, Uniform | Choice)]
    if not ranges:
        return None
    within = ranges[-1]
    return Choice(*_alternatives(inner)) if within == Choice() else within


def _alternatives(declared: Any) -> tuple[Any, ...]:
    """Return the values that an annotation names; none where it names none."""
    if get_origin(declared) is Literal:
        return get_args(declared)
    if get_origin(declared) in (Union, UnionType):
        return tuple(value for part in get_args(declared) for value in _alternatives(part))
    return (True, False) if declared is bool else ()
