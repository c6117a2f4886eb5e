"""What the settings of a page may have: for each of their parts its keys, and what each must be."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Any, Literal

from annotated_types import Len, MinLen
from pydantic import ConfigDict, StringConstraints, TypeAdapter, ValidationError

from analysis.summaries.claims import HOW
from analysis.summaries.crossings import SCALES
from analysis.tables import TableError

REDUCTIONS = ("min", "max", "mean", "median", "sum", "first", "last")


@dataclass(frozen=True)
class Kind:
    """What a value must be, as a type and in words."""

    type: Any
    says: str

    @cached_property
    def _adapter(self) -> TypeAdapter[Any]:
        return TypeAdapter(self.type, config=ConfigDict(strict=True))

    def require(self, what: str, value: object) -> None:
        """Raise `TableError` for what is not of this kind."""
        try:
            self._adapter.validate_python(value)
        except ValidationError:
            raise TableError(f"{what} must be {self.says}; got {value!r}") from None


@dataclass(frozen=True)
class Part:
    """A mapping whose keys are known.

    Attributes
    ----------
    required, optional : mapping of str to Kind
    others : Kind, optional
        What all other keys must be, where there may be others.
    """

    required: Mapping[str, Kind]
    optional: Mapping[str, Kind] = field(default_factory=dict)
    others: Kind | None = None

    def require(self, what: str, entry: Any) -> None:
        """Raise `TableError` for an entry that is no such mapping."""
        MAPPING.require(what, entry)
        if missing := [key for key in self.required if key not in entry]:
            raise TableError(f"{what} must have {', '.join(missing)}")
        known = {**self.required, **self.optional}
        for key, value in entry.items():
            kind = known.get(key, self.others)
            if kind is None:
                raise TableError(f"{what}: unknown key {str(key)!r}; known: {', '.join(known)}")
            kind.require(f"{what}: {key}", value)


def one_of(names: Collection[str]) -> Kind:
    """Return the kind of a text that is one of these."""
    return Kind(Literal[tuple(names)], f"one of {', '.join(names)}")


_Label = str | int | float
_Number = int | float
_Several = Annotated[list[Any], MinLen(1)] | Annotated[dict[_Label, Any], MinLen(1)]

ANYTHING = Kind(Any, "anything")
MAPPING = Kind(dict[Any, Any], "a mapping")
TEXT = Kind(Annotated[str, MinLen(1)], "text that is not empty")
CELL = Kind(
    Annotated[str, StringConstraints(pattern=r"^[^|\n]+$")], "text in one line, without |"
)  # of a table
FOLDER = Kind(Annotated[str, StringConstraints(pattern=r"^\w[\w.-]*$")], "letters, digits, - and _")
NAME = Kind(str, "text")
NUMBER = Kind(_Number, "a number")
TRUTH = Kind(bool, "true or false")
LINES = Kind(list[str], "a list of texts")
SOME_PARTS = Kind(Annotated[list[dict[str, Any]], MinLen(1)], "a list of mappings, at least one")
PARTS = Kind(list[dict[str, Any]], "a list of mappings")
PAIR = Kind(Annotated[list[_Number], Len(2, 2)], "a list of two numbers")
SEVERAL = Kind(
    Annotated[list[_Label], MinLen(1)] | Annotated[dict[_Label, Any], MinLen(1)],
    "a list, or values by label, to run through, at least one",
)
RANGES = Kind(dict[str, _Several], "what each name in it runs through, as in rule: [a, b]")
WHERE = Kind(dict[str, Any], "a mapping of settings to what they must be")
TAKE = Kind(str | dict[str, Any], "a column, or a mapping")
REDUCED = Kind(
    Literal[tuple(REDUCTIONS)] | dict[str, Any], f"one of {', '.join(REDUCTIONS)}, or a mapping"
)
HOLDS = Kind(
    str | dict[str, Any] | list[str | dict[str, Any]], "an expression, a mapping, or a list of them"
)
POINTS = Kind(str | dict[_Label, str], "a pattern with {along}, or a quantity for each place")
REFERENCE = Kind(dict[_Label, _Number], "a number for each place")
AXIS = one_of(("linear", "log"))

PAPER = Part(
    {
        "name": FOLDER,
        "scale": FOLDER,
        "title": CELL,
        "measure": Kind(
            Annotated[dict[str, dict[Any, Any]], MinLen(1)],
            "a mapping of names to quantities, at least one",
        ),
        "claims": SOME_PARTS,
    },
    {
        "citation": TEXT,
        "question": TEXT,
        "departures": LINES,
        "findings": LINES,
        "answers": LINES,
        "figures": PARTS,
        "tables": PARTS,
        "as_tuned": TRUTH,
        "values": MAPPING,  # for other places, which interpolations name
    },
)
# before names take the places of `{name}`, and with these
PATTERN = Part(
    {"where": ANYTHING, "take": ANYTHING}, {"times": ANYTHING, "plus": ANYTHING, "for": RANGES}
)
MEASURED = Part({"where": WHERE, "take": TAKE}, {"times": NUMBER, "plus": NUMBER})
FOLLOWS = Part({"equals": TEXT}, {"for": RANGES, "over": RANGES})
TAKEN = Part({}, {"table": TEXT, "column": TEXT, "reduce": REDUCED}, ANYTHING)
CROSSING = Part({"level": NUMBER}, {"at": TEXT, "scale": one_of(SCALES)})
CLAIM = Part(
    {"id": CELL, "says": CELL, "holds": HOLDS, "how": one_of(HOW), "source": CELL},
    {"why": TEXT, "published": CELL, "reimplemented": CELL},
)
FAMILY = Part({"each": TEXT}, {"for": RANGES, "over": RANGES})
TABLE = Part({"title": TEXT, "rows": SEVERAL, "columns": SEVERAL, "cell": TEXT}, {"about": TEXT})
_AXES = {"title": TEXT, "x": NAME, "y": NAME}
FIGURES = {
    "map": Part(
        {**_AXES, "value": TEXT, "rows": SEVERAL, "columns": SEVERAL, "map": TEXT},
        {"limits": PAIR, "scale": AXIS},
    ),
    "curves": Part(
        {**_AXES, "series": SOME_PARTS},
        {"along": SEVERAL, "x_scale": AXIS, "y_scale": AXIS, "reference": TEXT},
    ),
    "densities": Part({**_AXES, "series": SOME_PARTS, "reference": TEXT}),
}
SERIES = {  # of figures that have some
    "curves": Part(
        {"name": TEXT, "points": POINTS}, {"reference": REFERENCE, "method": TEXT, "for": RANGES}
    ),
    "densities": Part(
        {"name": TEXT, "values": TEXT, "normal": PAIR}, {"method": TEXT, "for": RANGES}
    ),
}
