"""What every method promises, as `beyond.contracts.Method` states it.

On whole runs of a small task that it serves; what a step promises is in `beyond.testing.steps`.
"""

from __future__ import annotations

import ast
import dataclasses
import sys
from collections.abc import Iterator
from copy import copy
from typing import Any, get_args, get_type_hints

from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from beyond.contracts import Batch, Method, SealedTargets, Signal
from beyond.kits.descent import Descent
from beyond.problem import SEALED, Problem
from beyond.replicas import stacked
from beyond.run.loop import train
from beyond.run.matrix import SPECS
from beyond.run.provenance import written
from beyond.settings import per_replica
from beyond.streams import Stream, global_generators
from beyond.testing.checks import Check, global_state, of
from beyond.testing.compare import (
    copied,
    require,
    require_same,
    require_same_rows,
    saved,
)
from beyond.testing.pretended import HARDWARE, pretended
from beyond.testing.steps import (
    ELSEWHERE,
    follows_the_gradient,
    steps_elsewhere,
    steps_in_bfloat16,
    steps_in_double,
    trains_what_it_says,
)
from beyond.testing.trial import TABLES, TASKS, Trial, run, tables_of

PRODUCTS = {
    *("matmul", "mm", "bmm", "mv", "dot", "inner", "outer"),
    *("addmm", "baddbmm", "addbmm", "einsum", "tensordot"),
}


def _acting(made: Any, **members: Any) -> Any:
    """Return a copy of a method or a network, some of whose functions are others."""
    twin = copy(made)
    vars(twin).update(members)
    return twin


def is_immutable_with_a_signal(trial: Trial) -> str:
    """It is an immutable method with a signal."""
    method = trial.method
    require(isinstance(method, Method), f"{type(method).__name__} derives from no Method")
    known = ", ".join(Signal)
    require(isinstance(method.signal, Signal), f"signal must be one of {known}")
    for name in ("batch_size", "signal"):
        try:
            setattr(method, name, getattr(method, name))
        except dataclasses.FrozenInstanceError:
            continue
        raise AssertionError(f"{name} can be changed: the class is not under @settings")
    return f"told the {method.signal}" if method.signal != Signal.TARGETS else "told targets"


def trains_on(trial: Trial, task: str) -> str:
    """It trains, or says in one line why not."""
    of = trial.setup(task, steps=2)
    tables = run(of)
    runs = tables["runs"]
    require(set(runs["status"]) == {"finished"}, ", ".join(sorted(set(runs["reason"]))))
    require(bool(tables["curves"]["value"].notna().all()), "some scores are not numbers")
    score = runs["final_validation_score"].mean()
    return f"{of.task.spec.score} {score:.3g} after two steps"


def repeats_itself(trial: Trial) -> str:
    """The same seed gives the same rows, whatever the global generators do, which stay alone."""
    whole = trial.whole  # first, for a first run imports modules, of which some draw
    with global_generators(1):
        before = global_state()
        again = run(trial.setup())
        require(global_state() == before, "it draws from a global generator, not from rng")
    for table, rows in again.items():
        require_same_rows(rows, whole[table], table)
    return ""


def equals_the_seed_alone(trial: Trial) -> str:
    """A replica equals the same seed alone."""
    alone, gaps = run(trial.setup(seeds=(1,))), []
    # the last in half precision
    for table, tolerance in (("curves", 1e-4), ("runs", 1e-4), ("predictions", 2e-3)):
        replica = trial.whole[table].query("seed == 1").reset_index(drop=True)
        gaps.append(require_same_rows(alone[table], replica, table, tolerance, 1e-5))
    return f"differs by at most {max(gaps[:2]):.1g}"


def has_settings_for_each_replica(trial: Trial) -> str:
    """A setting with a value for each replica gives each what it has with that value alone."""
    of, shares = trial.setup(), (1.0, 0.5, 0.8)
    rules = [_scaled(of.method, share) for share in shares]
    whole = run(dataclasses.replace(of, method=stacked(rules, [1] * len(rules))))
    for seed, rule in zip(of.seeds, rules, strict=True):
        alone = run(dataclasses.replace(trial.setup(seeds=(seed,)), method=rule))
        for table in ("curves", "runs"):
            replica = whole[table].query(f"seed == {seed}").reset_index(drop=True)
            require_same_rows(alone[table], replica, table, 1e-4, 1e-5)
    return ""


def _scaled(made: Any, share: float) -> Any:
    """Return settings whose values that may differ by replica are so much of what they are.

    What has no value keeps none.
    """
    free = per_replica(type(made))
    values = {
        field.name: _scaled(value, share) if dataclasses.is_dataclass(value) else share * value
        for field in dataclasses.fields(made)
        if dataclasses.is_dataclass(value := getattr(made, field.name))
        or (field.name in free and value is not None)
    }
    return dataclasses.replace(made, **values)


def is_lost_alone(trial: Trial) -> str:
    """A replica that diverges is a row, and the others end as they would without it."""
    of = trial.setup(steps=4)
    draw, whole = of.network.init, run(of)

    def init(rng: Stream, *arguments: Any) -> Tensor:
        params = draw(rng, *arguments)
        if not arguments:  # not a method's candidates
            params[1] = float("nan")
        return params

    spoiled = run(dataclasses.replace(of, network=_acting(of.network, init=init)))
    for table in ("curves", "runs"):
        kept, expected = (
            rows[table].query("seed != 1").reset_index(drop=True) for rows in (spoiled, whole)
        )
        require_same_rows(kept, expected, table, 1e-4, 1e-5)
    lost = spoiled["runs"].query("seed == 1").iloc[0]
    require(lost["status"] != "failed", f"the run failed: {lost['reason']}")
    return f"it {'is' if lost['status'] == 'finished' else 'has'} {lost['status']}"


def goes_on_from_anywhere(trial: Trial) -> str:
    """Resumed from a saved state it ends where the uninterrupted run ends."""
    rows: dict[str, list[Any]] = {table: [] for table in TABLES}
    snapshots = []
    predictions = {}
    for progress in train(trial.setup()):
        for table, listed in rows.items():
            listed += getattr(progress, table)
        if progress.snapshot:
            before = {table: list(listed) for table, listed in rows.items()}
            snapshots.append((saved(progress.snapshot), before))
        predictions = progress.predictions
    whole = tables_of(rows, predictions)
    for snapshot, before in snapshots[:: max(1, len(snapshots) // 3)]:
        resumed = run(trial.setup(), snapshot, before)
        for table, listed in whole.items():
            require_same_rows(resumed[table], listed, table)
    return ""


def pays_for_its_products(trial: Trial) -> str:
    """Every product of matrices in a step is charged, network's and method's; evaluation is not."""
    of = trial.setup(seeds=(0, 1))
    step, counts = of.method.step, list[int]()

    def counted(*arguments: Any) -> Any:
        with FlopCounterMode(display=False) as counter:
            state = step(*arguments)
        counts.append(counter.get_total_flops())
        return state

    row = run(dataclasses.replace(of, method=_acting(of.method, step=counted)))["runs"].iloc[0]
    taken = counts[1 : 1 + row["steps"]]  # the first warms up, uncharged
    done = sum(taken) / 2
    require(
        abs(row["flops"] - done) <= 1e-9 * done,
        f"{row['flops']:,.0f} FLOPs are charged, torch counts {done:,.0f}",
    )
    return f"{done / max(1, row['steps']):,.0f} FLOPs a step"


def pays_for_whole_passes(trial: Trial) -> str:
    """Passes through the whole network are counted."""
    of = trial.setup(seeds=(0, 1))
    network_forward, network_backward, step = (
        of.network.forward,
        of.network.backward,
        of.method.step,
    )
    passes, steps, stepping = {"forward": 0, "backward": 0}, list[dict[str, int]](), list[bool]()

    def forward(params: Tensor, inputs: Tensor, rng: Stream | None = None) -> Any:
        if stepping:
            passes["forward"] += len(params) * inputs.shape[1]
        return network_forward(params, inputs, rng)

    def backward(tape: Any, error: Tensor, *arguments: Any, **named: Any) -> Any:
        if stepping:
            passes["backward"] += len(error) * error.shape[1]
        return network_backward(tape, error, *arguments, **named)

    def watched(*arguments: Any) -> Any:
        stepping.append(True)
        before = dict(passes)
        state = step(*arguments)
        stepping.clear()
        steps.append({key: passes[key] - before[key] for key in passes})
        return state

    network = _acting(of.network, forward=forward, backward=backward)
    method = _acting(of.method, step=watched)
    row = run(dataclasses.replace(of, network=network, method=method))["runs"].iloc[0]
    for key in passes:  # passes through parts of it, and through the tangent, come on top
        made = sum(one[key] for one in steps[1 : 1 + row["steps"]]) / 2
        require(row[key] >= made, f"{row[key]:g} examples {key} are charged, {made:g} pass")
        require(
            row[key] > 0 or not row["flops"] or key == "backward", "no example forward is charged"
        )
    return f"{row['forward'] / max(1, row['steps']):g} examples forward a step"


def tests_other_predictions(trial: Trial, setting: str) -> str:
    """A setting of the prediction changes predictions, and no step."""
    of, whole = trial.setup(), trial.whole
    method: Any = of.method
    values = _others(of.method, setting)
    require(bool(values), f"{setting} has no other value")
    for value in values:
        other = dataclasses.replace(method, **{setting: value})
        changed = run(dataclasses.replace(of, method=other))
        require_same_rows(changed["layers"], whole["layers"], f"{setting}={value}: layers")
        used = not changed["curves"].equals(whole["curves"])
        require(used, f"a prediction does not use {setting}")
        also = run(dataclasses.replace(of, also={"other": other}))["curves"]
        scores = also[also["metric"].str.startswith("other_")]
        expected = changed["curves"].query("split == 'test'")
        at_the_end = [
            part[part["checkpoint"] == part["checkpoint"].max()]["value"].tolist()
            for part in (scores, expected)
        ]
        require(at_the_end[0] == at_the_end[1], f"{setting}={value}: other scores as one of more")
    return ""


def _others(method: Method, setting: str) -> list[Any]:
    """Values that a setting does not have: a larger number, or all other choices."""
    usual = getattr(method, setting)
    if isinstance(usual, int):
        return [usual + 2]
    return [value for value in get_args(get_type_hints(type(method))[setting]) if value != usual]


def leaves_states_alone(trial: Trial) -> str:
    """A step leaves the state that it was given alone."""
    of = trial.setup()
    step, seen = of.method.step, list[tuple[Any, Any]]()

    def watched(state: Any, *arguments: Any) -> Any:
        seen.append((state, copied(state)))
        return step(state, *arguments)

    run(dataclasses.replace(of, method=_acting(of.method, step=watched)))
    for given, before in seen:
        require_same(given, before, "the state")
    return ""


def runs_elsewhere(trial: Trial) -> str:
    """A run on another device mixes no tensors with the CPU's, and has its tables."""
    of = trial.setup(seeds=(0, 1), steps=2)
    here = run(of)
    with pretended():
        there = run(dataclasses.replace(of, hardware=HARDWARE))
    require("failed" not in set(there["runs"]["status"]), there["runs"]["reason"].iloc[0])
    for table, rows in there.items():
        require_same_rows(rows, here[table], table, 1e-5, 1e-6)
    return ""


class _Guarded(SealedTargets):
    """Targets that the problem alone may unseal."""

    __slots__ = ("_hidden",)

    def __init__(self, sealed: SealedTargets) -> None:
        object.__setattr__(self, "_hidden", sealed)

    @property
    def _targets(self) -> Tensor:  # pyright: ignore[reportIncompatibleVariableOverride]
        asking = sys._getframe(1).f_globals.get("__name__")
        require(asking == Problem.__module__, f"{asking} reads the targets, which are sealed")
        return self._hidden._targets


def respects_sealed_targets(trial: Trial) -> str:
    """Targets that its signal does not include are never read."""
    if trial.method.signal not in SEALED:
        return f"{trial.method.signal}: they are told"
    of = trial.setup()
    step = of.method.step

    def guarded(state: Any, batch: Batch, *arguments: Any) -> Any:
        return step(state, _guard(batch), *arguments)

    runs = run(dataclasses.replace(of, method=_acting(of.method, step=guarded)))["runs"]
    require("failed" not in set(runs["status"]), ", ".join(sorted(set(runs["reason"]))))
    return ""


def _guard(batch: Batch) -> Batch:
    support = None if batch.support is None else _guard(batch.support)
    return Batch(batch.inputs, _Guarded(batch.targets), support)


def goes_through_the_door(text: str, file: str, above: int = 0) -> str:
    """It multiplies through `problem.matmul`, charges nothing by hand and opens no private part.

    Parameters
    ----------
    text : str
        Of the class, or of a file.
    file : str
        Where it is, below so many lines.
    """
    for node in ast.walk(ast.parse(text)):
        place = f"{file}, line {getattr(node, 'lineno', 1) + above}"
        require(
            not isinstance(getattr(node, "op", None), ast.MatMult), f"{place}: multiplies with @"
        )
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            owner, _, name = called.rpartition(".")
            allowed = name not in PRODUCTS or owner in ("problem", "lanes")
            require(allowed, f"{place}: calls {called}")
            require(name != "charge", f"{place}: charges by hand")
        if isinstance(node, ast.Attribute) and node.attr.startswith("_"):
            owner = ast.unparse(node.value)
            require(owner not in ("problem", "lanes"), f"{place}: {owner}.{node.attr} is private")
    return ""


WHOLE_RUNS = (
    is_immutable_with_a_signal,
    repeats_itself,
    equals_the_seed_alone,
    has_settings_for_each_replica,
    is_lost_alone,
    goes_on_from_anywhere,
    leaves_states_alone,
    runs_elsewhere,
    respects_sealed_targets,
    pays_for_its_products,
    pays_for_whole_passes,
)


def method_checks(method: Method, name: str = "") -> Iterator[Check]:
    """Everything that a method promises, cheap checks first.

    Parameters
    ----------
    method : Method
    name : str, optional
        What it is called; its class by default.
    """
    trial = Trial(method, name or type(method).__name__)
    yield of(is_immutable_with_a_signal, trial)
    yield of(goes_through_the_door, *written(type(method)))
    if isinstance(method, Descent):
        for kind in ("mlp", "values"):
            yield of(follows_the_gradient, trial, kind, where=kind)
    for kind in SPECS:
        yield of(trains_what_it_says, trial, kind, where=kind)
    for kind in ELSEWHERE:
        yield of(steps_elsewhere, trial, kind, where=kind)
        yield of(steps_in_double, trial, kind, where=kind)
        yield of(steps_in_bfloat16, trial, kind, where=kind)
    for task in TASKS:
        yield of(trains_on, trial, task, where=task)
    yield from (of(check, trial) for check in WHOLE_RUNS[1:])
    yield from (of(tests_other_predictions, trial, setting) for setting in method.PREDICTION)
