"""An arm: what is trained, told from what was typed.

Commands that build equal objects are one arm: its name is a hash of all that these objects are made
of, and its label says where they differ from the defaults.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass, replace
from functools import cached_property, reduce
from types import FunctionType
from typing import Any, cast

from beyond import catalog
from beyond.contracts import Architecture, Method, Signal, Task
from beyond.errors import InputError, require, require_one_of
from beyond.hardware import HOST, Hardware
from beyond.ledger import Budget
from beyond.run.choices import named
from beyond.run.provenance import short_hash
from beyond.run.start import Start
from beyond.settings import RunSettings

LONG = 10**15  # larger whole numbers are written as 1e+30 is


@dataclass(frozen=True)
class Arm:
    """A method on a task, with everything but its seeds that can change a result.

    Attributes
    ----------
    name : str
        The method's, in the catalogue.
    method, task, architecture, budget
    threads : int
        Sums of other parts are rounded otherwise.
    start : Start, optional
        What is learnt first; None for the weights as they are drawn.
    test_also : mapping of str to list, optional
        Other values of settings that only the method's prediction uses.
    hardware : Hardware
        Sums are rounded otherwise there, and draws may be others.
    early_stopping : str, optional
        By what a replica ends before the budget is spent, see `beyond.run.stopping`.
    """

    name: str
    method: Method
    task: Task
    architecture: Architecture
    budget: Budget
    threads: int
    start: Start | None = None
    test_also: Mapping[str, list[Any]] | None = None
    hardware: Hardware = HOST
    early_stopping: str | None = None

    def __post_init__(self) -> None:
        require_one_of(f"the signal of {self.name}", list(Signal), self.method.signal)

    @cached_property
    def id(self) -> str:
        """Hash of what it is made of, 12 hex digits."""
        decisive = [self.method, self.task, self.architecture, self.budget, self.threads]
        further = [part for part in (self.start, self.test_also) if part]
        further += [] if self.hardware == HOST else [self.hardware]
        further += [{"early_stopping": self.early_stopping}] if self.early_stopping else []
        return short_hash(_text([*decisive, *further]))

    @cached_property
    def also(self) -> dict[str, Method]:
        """The method with each value in `test_also`, by the name before its metrics, `..._10`.

        Raises `InputError` for a setting that its steps use too, or a value out of range.
        """
        known, method = self.method.PREDICTION, cast(Any, self.method)
        wanted = self.test_also or {}
        for name, values in wanted.items():
            allowed = f"of settings that only a prediction of {self.name} uses"
            require("test_also", f"{allowed} ({', '.join(known) or 'none'})", name, name in known)
            distinct = len({_text(value) for value in values}) == len(values)
            require(f"test_also.{name}", "a list of distinct values", values, distinct)
        return {
            f"{name}_{shown(value)}": replace(method, **{name: value})
            for name, values in wanted.items()
            for value in values
        }

    @property
    def default_network(self) -> bool:
        """Whether the network is the task's default."""
        return same(self.architecture, self.task.spec.network)

    @property
    def variant(self) -> str:
        """Settings that differ from the defaults, as text: "batch_size=64, threads=2"."""
        return ", ".join(self._differing)

    @property
    def method_variant(self) -> str:
        """Of these, the method's alone."""
        return ", ".join(self.method_differing)

    @property
    def method_differing(self) -> list[str]:
        """The same, each by itself: "batch_size=64"."""
        return differences(self.method, self._usual[0])

    @cached_property
    def _differing(self) -> list[str]:
        default = self.task.spec.network
        made = type(self.architecture)
        network = default if type(default) is made else defaults(made)
        usual, start = self._usual
        found = differences(self.method, usual)
        if self.start is not None:
            found += differences(self.start, start, "start.")
        elif start.source is not None:
            found.append("start=cold")
        found += differences(self.architecture, network, "network.")
        found += differences(self.task, defaults(type(self.task)), "task.")
        if not same(self.budget, Budget.of(catalog.read("budget", catalog.choices()["budget"]))):
            found.append(f"budget.{self.budget.currency}={shown(self.budget.amount)}")
        if self.threads != RunSettings().threads:
            found.append(f"threads={self.threads}")
        found += self.hardware.differing
        if self.early_stopping:
            found.append(f"early_stopping={self.early_stopping}")
        if self.test_also:
            found.append(f"test_also={shown(self.test_also)}")
        return found

    @property
    def _usual(self) -> tuple[Any, Start]:
        """What the choice of this name has: its settings, and its start on this task."""
        known = self.name in catalog.names("method")
        chosen = catalog.choices() | (catalog.brought("method", self.name) if known else {})
        start = catalog.load("start", chosen["start"])
        method = catalog.load("method", self.name) if known else None
        same_class = type(method) is type(self.method)
        return method if same_class else defaults(type(self.method)), start.on(self.task) or start

    @property
    def label(self) -> str:
        """For people, in reports: "image/digits, shots=5, 20 epochs: backprop (cnn) [rate=0.1]".

        A report leaves out what all its arms share.
        """
        return _joined(*self._named(frozenset()))

    @cached_property
    def _told(self) -> tuple[list[str], list[str], list[str]]:
        """What it is compared on, its network unless that is the default, and further settings."""
        task = [part.removeprefix("task.") for part in self._differing if part.startswith("task.")]
        budget = any(part.startswith("budget.") for part in self._differing)
        amount = [f"{shown(self.budget.amount)} {self.budget.currency}"] if budget else []
        inside = [part for part in self._differing if not part.startswith(("task.", "budget."))]
        network = [] if self.default_network else [self.architecture.name]
        return [self.task.spec.name, *task, *amount], network, inside

    def _named(self, shared: frozenset[str], varied: Iterable[str] = ()) -> tuple[str, str]:
        """What it is compared on, and its name there.

        Without what is shared, and with the values of settings that others vary.
        """
        stated = {part.partition("=")[0] for part in self._told[2]}
        usual = [(name, self._value(name)) for name in varied if name not in stated]
        added = [f"{name}={value}" for name, value in usual if value is not None]
        place, network, inside = (
            ", ".join(part for part in parts if part not in shared)
            for parts in (*self._told[:2], [*self._told[2], *added])
        )
        arm = self.name + (f" ({network})" if network else "") + (f" [{inside}]" if inside else "")
        return place, arm

    def _value(self, name: str) -> str | None:
        """Value of a setting of its method, by the name that labels have; None if it has none."""
        try:
            value = reduce(getattr, name.split("."), self.method)
        except AttributeError:
            return None
        return _choice(name, type(value))[0] if is_dataclass(value) else shown(value)


def _joined(place: str, arm: str) -> str:
    return f"{place}: {arm}" if place else arm


def labels(arms: Iterable[Arm]) -> dict[str, str]:
    """Return short labels of arms by their ids: without what all of them share.

    An arm alone has its whole label.
    """
    return {name: _joined(*told) for name, told in placed(arms).items()}


def placed(arms: Iterable[Arm]) -> dict[str, tuple[str, str]]:
    """Return what arms are compared on, and their short labels there, by their ids.

    What some arms of a method vary its others name too, with the value that they have of it.
    """
    known = {arm.id: arm for arm in arms}
    told = [{part for parts in arm._told for part in parts} for arm in known.values()]
    shared = frozenset(set.intersection(*told)) if len(told) > 1 else frozenset[str]()
    varied: dict[str, dict[str, None]] = {}
    for arm in known.values() if len(known) > 1 else ():
        names = (part.partition("=")[0] for part in arm._told[2] if part not in shared)
        varied.setdefault(arm.name, {}).update(dict.fromkeys(names))
    return {name: arm._named(shared, varied.get(arm.name, ())) for name, arm in known.items()}


def plain(value: Any) -> Any:
    """Return what an object is made of, as JSON knows it; numbers that are equal become the same.

    Raises `InputError` for an object that JSON does not know: a text of it may tell two apart that
    are equal.
    """
    if is_dataclass(value) and not isinstance(value, type):
        settings = {
            field.name: plain(getattr(value, field.name)) for field in fields(value) if field.init
        }
        return {"_target_": f"{type(value).__module__}.{type(value).__qualname__}", **settings}
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, type | FunctionType):
        return catalog.place(value)
    if not isinstance(value, str | int | float | None):
        raise InputError(
            f"settings must be of numbers, texts, lists and other settings, got {value!r}"
        )
    return int(value) if isinstance(value, float) and value.is_integer() else value


def same(a: object, b: object) -> bool:
    """Say whether two objects are made of the same."""
    return _text(a) == _text(b)


def best_known(task: Task) -> dict[str, Any] | None:
    """Value, score and source of the best that is known of a task with these very settings."""
    usual = defaults(type(task))
    for known in task.BEST_KNOWN:
        if not differences(task, usual | dict(known.settings)):
            return {"value": known.value, "score": known.score, "source": known.source}
    return None


def defaults(cls: type) -> dict[str, Any]:
    """Return the defaults of a dataclass's fields; a field without one is missing."""
    found: dict[str, Any] = {}
    for field in fields(cls):
        if field.default is not MISSING:
            found[field.name] = field.default
        elif field.default_factory is not MISSING:
            found[field.name] = field.default_factory()
    return found


def differences(value: Any, usual: Any, prefix: str = "") -> list[str]:
    """Settings that differ from another's, or from `defaults`, as `name=value`; parts' last."""
    flat: list[str] = []
    nested: list[str] = []
    others = usual if isinstance(usual, Mapping) else vars(usual)
    for field in fields(value):
        one, other = getattr(value, field.name), others.get(field.name, MISSING)
        # a field may have no default
        if not field.init or (other is not MISSING and same(one, other)):
            continue
        name = prefix + field.name
        if isinstance(one, Mapping):
            usually = other if isinstance(other, Mapping) else {}
            flat += [
                f"{name}.{key}={shown(value)}"
                for key, value in one.items()
                if key not in usually or not same(value, usually[key])
            ]
        elif not is_dataclass(one):
            flat.append(f"{name}={shown(one)}")
        elif type(one) is type(other):
            nested += differences(one, other, f"{name}.")
        else:
            choice, settings = _choice(field.name, type(one))
            nested += [f"{name}={choice}", *differences(one, settings, f"{name}.")]
    return flat + nested


def _choice(part: str, cls: type) -> tuple[str, Any]:
    """Name and settings of the first choice of a class; a class that is none has its defaults."""
    for name, (choice, _) in named(part).items():
        if type(choice) is cls:
            return name, choice
    return cls.__name__.lower(), defaults(cls)


def shown(value: Any) -> str:
    """Write a value as it may be typed: `0.1`, `null`, `true`, `[64,64]`, `{width:[1,2]}`."""
    value = plain(value)
    if isinstance(value, dict):
        return f"{{{','.join(f'{name}:{shown(inner)}' for name, inner in value.items())}}}"
    if isinstance(value, int) and abs(value) > LONG and float(value) == value:
        return repr(float(value))
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def _text(value: object) -> str:
    return json.dumps(plain(value), sort_keys=True)
