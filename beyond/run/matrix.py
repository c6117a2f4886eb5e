"""Every method on every kind of layer, with every choice of settings: what runs whole, or why not.

Problems are as small as they can be: a few examples of noise, in episodes, so that every method has
what it asks for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from types import ModuleType, NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from torch import Tensor

from beyond.catalog import PARTS, load, modules
from beyond.contracts import Batch, Method, TargetKind, TaskSpec
from beyond.errors import InputError, UnsupportedError
from beyond.hardware import HOST, Hardware, moved
from beyond.ledger import Ledger
from beyond.network.parts import trial
from beyond.problem import Problem, seal
from beyond.run.buffered import buffered
from beyond.run.choices import named
from beyond.settings import is_settings
from beyond.streams import Stream

N_EPISODES = 2
INPUTS = ((12,), (1, 28, 28))  # for architectures that name no small one
# Sizes at which a step is cheap and every choice of the other settings is allowed; no others are
# tried.
SMALL: Mapping[str, Any] = {
    "batch_size": 6,
    "population_size": 4,
    "n_parents": 2,
    "n_candidates": 4,
    "n_pairs": 2,
    "n_directions": 2,
    "n_tangents": 2,
    "n_draws": 2,
    "n_actions": 2,
    "n_trials": 2,
    "n_free": 3,
    "n_nudged": 3,
    "n_inference": 5,  # for an error to reach the first layer of five
    "n_inner_steps": 2,
    "n_steps": 3,
}
# Parts whose choices are tried: an optimizer takes any direction, whatever layers it is for.
TRIED = [part for part in PARTS if part != "optimizer"]

SPECS: dict[str, TaskSpec] = {
    kind: spec for module in modules("network").values() for kind, spec in module.TRIALS.items()
}


@dataclass(frozen=True)
class Combination:
    """A method with one choice of one of its settings, on one kind of network.

    Attributes
    ----------
    method : str
        In the catalogue.
    choice : str
        "" for the defaults, or `setting=value`; of a part `part=name, part.setting=value`.
    kind : str
        A key of `SPECS`.
    rule : Method
    spec : TaskSpec, optional
        In place of that kind's.
    """

    method: str
    choice: str
    kind: str
    rule: Method
    spec: TaskSpec | None = None

    def start(self, seeds: list[int], hardware: Hardware = HOST) -> Start:
        """Make a problem for these seeds, and the method's state, or its `UnsupportedError`."""
        spec = self.spec or SPECS[self.kind]
        network, signal = spec.network.build(spec).on(hardware), self.rule.signal
        rule = buffered(self.rule, network)
        data = Stream("data", seeds)
        batches = [
            seal(moved(noise(spec, data), hardware.place, hardware.dtype), signal) for _ in range(2)
        ]
        problem = Problem(network, spec, Ledger(), signal)
        params = network.init(Stream("init", seeds)).to(hardware.place, hardware.dtype)
        rng = Stream("step", seeds, hardware)
        return Start(rule, problem, batches, params, rng, rule.init(problem, params, rng))


@dataclass(frozen=True)
class Start:
    """A method before its first step: problem, two batches, initial weights, stream and state."""

    rule: Method
    problem: Problem
    batches: list[Batch]
    params: Tensor
    rng: Stream
    state: Any


@dataclass(frozen=True)
class Verdict:
    """What becomes of a combination: the names of the blocks left alone, or why it is refused."""

    combination: Combination
    left_alone: tuple[str, ...] = ()
    refusal: str = ""


def combinations(rule: Method, name: str) -> list[Combination]:
    """Every choice of a method's settings, one at a time, on every kind of network."""
    usual = small(rule)
    rules = {"": usual, **dict(_others(usual))}
    return [
        Combination(name, choice, kind, rule) for kind in SPECS for choice, rule in rules.items()
    ]


def verdict(combination: Combination) -> Verdict:
    """Ask a method whether it serves, and what it leaves alone."""
    try:
        start = combination.start([0])
    except UnsupportedError as refusal:
        return Verdict(combination, refusal=str(refusal))
    return Verdict(combination, tuple(combination.rule.left_alone(start.problem)))


def networks() -> dict[str, TaskSpec]:
    """Return a small task on each architecture: a trial of its file, or noise that it takes."""
    return {name: _small_task(module) for name, module in modules("network").items()}


def _small_task(module: ModuleType) -> TaskSpec:
    if module.TRIALS:
        return next(iter(module.TRIALS.values()))
    made = named("network")[module.__name__.rpartition(".")[2]][0]
    for shape in INPUTS:
        with suppress(InputError):
            made.build(spec := trial(made, shape))
            return spec
    raise InputError(f"{module.__name__} takes none of {INPUTS}: name a small one in TRIALS")


def which() -> str:
    """A row a method, a column an architecture: whether every layer learns; then why some do not.

    Reasons are told once for all methods that give them on the same architectures.
    """
    specs = networks()
    lines = [f"| method | {' | '.join(specs)} |", f"|---|{'---|' * len(specs)}"]
    reasons: dict[tuple[str, str], list[str]] = {}  # architectures, by reason and method
    for method in modules("method"):
        rule, cells = small(load("method", method)), list[str]()
        for network, spec in specs.items():
            told = verdict(Combination(method, "", network, rule, spec))
            cells.append("no" if told.refusal else "in part" if told.left_alone else "yes")
            if told.refusal:
                reasons.setdefault((told.refusal.rpartition(": ")[2], method), []).append(network)
        lines.append(f"| {method} | {' | '.join(cells)} |")
    alike: dict[tuple[str, str], list[str]] = {}
    for (reason, method), where in reasons.items():
        alike.setdefault((reason, ", ".join(where)), []).append(method)
    told = [f"- {', '.join(by)} on {where}: {reason}." for (reason, where), by in alike.items()]
    return "\n".join([*lines, "", "Why not:", "", *told])


def markdown() -> str:
    """A row a method: how many combinations train every layer, leave some alone, are refused."""
    lines = [
        "| method | combinations | every layer learns | some are left alone | refused |",
        "|---|---|---|---|---|",
    ]
    sums = [0, 0, 0, 0]
    for method in modules("method"):
        verdicts = [
            verdict(combination) for combination in combinations(load("method", method), method)
        ]
        refused = [one for one in verdicts if one.refusal]
        partly = [one for one in verdicts if one.left_alone]
        counts = [
            len(verdicts),
            len(verdicts) - len(refused) - len(partly),
            len(partly),
            len(refused),
        ]
        sums = [total + count for total, count in zip(sums, counts, strict=True)]
        cells = [
            str(counts[0]),
            str(counts[1]),
            _told(counts[2], partly),
            _told(counts[3], refused),
        ]
        lines.append(f"| {method} | {' | '.join(cells)} |")
    return "\n".join([*lines, f"| all | {' | '.join(map(str, sums))} |"])


def _told(count: int, verdicts: list[Verdict]) -> str:
    """Return the count, and on which kinds of network."""
    kinds = dict.fromkeys(one.combination.kind for one in verdicts)
    where = "everywhere" if len(kinds) == len(SPECS) else ", ".join(kinds)
    return f"{count}: {where}" if count else "0"


def small(made: Any) -> Any:
    """Return a method, or a part of one, in the sizes of `SMALL`."""
    settings = _settings(made)
    sizes = {name: size for name, size in SMALL.items() if name in settings}
    parts = {name: small(part) for name, part in settings.items() if is_settings(type(part))}
    return replace(made, **sizes, **parts)


def _others(made: Any) -> Iterator[tuple[str, Any]]:
    """Name and make a method, or a part of one, with another choice of one of its settings."""
    declared = get_type_hints(type(made), include_extras=True)
    for name, usual in _settings(made).items():
        for value in () if name in SMALL else _choices(declared[name]):
            if value != usual:
                yield (
                    f"{name}={'null' if value is None else value}",
                    replace(made, **{name: value}),
                )
        if is_settings(type(usual)) and name not in PARTS:
            for inner, other in _others(usual):
                yield f"{name}.{inner}", replace(made, **{name: other})
        for choice, (part, _) in named(name).items() if name in TRIED else ():
            if part is None:  # the method's
                continue
            part = small(part)
            if part != usual:
                yield f"{name}={choice}", replace(made, **{name: part})
            for inner, other in _others(part):
                yield f"{name}={choice}, {name}.{inner}", replace(made, **{name: other})


def _settings(made: Any) -> dict[str, Any]:
    return {field.name: getattr(made, field.name) for field in fields(made) if field.init}


def _choices(declared: Any) -> list[Any]:
    """Values of a setting that can be listed: truths, names, and none or some if nullable."""
    if get_origin(declared) is Annotated:
        return _choices(get_args(declared)[0])
    if declared is bool:
        return [False, True]
    if get_origin(declared) is Literal:
        return list(get_args(declared))
    if get_origin(declared) in (Union, UnionType) and NoneType in get_args(declared):
        return [None, 1]
    return []


def noise(spec: TaskSpec, rng: Stream) -> Batch:
    """Episodes of noise: queries, and their support."""
    assert spec.episode is not None
    queries, support = (N_EPISODES * n for n in (spec.episode.n_query, spec.episode.n_support))
    return Batch(*_examples(spec, queries, rng), Batch(*_examples(spec, support, rng)))


def _examples(spec: TaskSpec, n_examples: int, rng: Stream) -> tuple[Tensor, Tensor]:
    shape = (n_examples, *spec.input_shape)
    inputs = rng.integers(spec.n_symbols, *shape) if spec.n_symbols else rng.normal(*shape)
    if spec.target_kind is TargetKind.CLASSES:
        return inputs, rng.integers(spec.n_outputs, n_examples)
    return inputs, rng.normal(n_examples, *spec.target_shape)
