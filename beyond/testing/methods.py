"""What every method promises, as `beyond.contracts.Method` states it.

On whole runs of a small task that it serves; and for one or two steps on every kind of network,
with every choice of each of its settings (`beyond.run.matrix`).
"""

from __future__ import annotations

import ast
import dataclasses
import sys
from collections.abc import Callable, Iterator, Mapping
from copy import copy
from functools import cached_property, lru_cache
from math import prod, sqrt
from typing import Any, NamedTuple, get_args, get_type_hints

import pandas as pd
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from beyond import catalog
from beyond.contracts import Batch, Method, SealedTargets, Signal, Task
from beyond.errors import UnsupportedError
from beyond.hardware import HOST, Hardware, moved
from beyond.kits.descent import Descent
from beyond.ledger import Budget
from beyond.problem import SEALED, Problem
from beyond.replicas import stacked
from beyond.run.loop import train
from beyond.run.matrix import SPECS, Combination, combinations
from beyond.run.provenance import written
from beyond.run.setup import Setup
from beyond.run.training import tensors
from beyond.settings import per_replica
from beyond.streams import Stream, global_generators
from beyond.testing.checks import Check, global_state, of, require_one_line
from beyond.testing.compare import (
    copied,
    require,
    require_close,
    require_same,
    require_same_rows,
    saved,
)
from beyond.testing.differences import gradient
from beyond.testing.pretended import HARDWARE, pretended

TABLES = ("curves", "layers", "runs")
# one of each kind of input and target, then those in episodes, the smaller network first
TASKS = (
    "image/digits",
    "text/languages",
    "regression/friedman",
    "regression/sinusoids",
    "image/glyphs",
)
SEEDS = [0, 1]  # of a combination
# Torch, differentiating a convolution's backward pass, multiplies in the first layer for a
# derivative nobody asked for.
WASTEFUL = {(rule, "", kind) for rule in ("maml", "meta_sgd") for kind in ("cnn", "batch norm")}
# Kinds of networks that a rule may meet otherwise than others; that each kind works on another
# device is asked of networks.
ELSEWHERE = ("mlp", "values", "symbols", "cnn", "module with buffers")
DOUBLE, HALF = Hardware(precision="float64"), Hardware(precision="bfloat16")
PATIENCE = 8  # steps: a population may keep its best, and a search what it has
N_DRAWS = 4096  # of a direction, for its mean
PRODUCTS = {
    *("matmul", "mm", "bmm", "mv", "dot", "inner", "outer"),
    *("addmm", "baddbmm", "addbmm", "einsum", "tensordot"),
}
Rows = dict[str, pd.DataFrame]


@lru_cache
def _small(task: str) -> Task:
    return catalog.load("task", task, train_size=300)


class Trial:
    """A method with its name, and the run that several checks look at.

    Raises `AssertionError` if it serves none of `TASKS`.
    """

    def __init__(self, method: Method, name: str) -> None:
        self.method, self.name = method, name

    @cached_property
    def home(self) -> str:
        """The first task that the method can serve."""
        refusals = dict[str, str]()
        for task in TASKS:
            of = self.setup(task)
            try:
                of.method.init(
                    Problem(of.network, of.task.spec, signal=of.method.signal),
                    of.network.init(Stream("init", of.seeds)),
                    Stream("step", of.seeds),
                )
            except UnsupportedError as refusal:
                refusals[task] = str(refusal)
            else:
                return task
        raise AssertionError(f"serves none of {', '.join(TASKS)}: {refusals[TASKS[0]]}")

    def setup(self, task: str = "", seeds: tuple[int, ...] = (0, 1, 2), steps: int = 8) -> Setup:
        """Equal steps, not equal costs: a budget below one generation would show nothing."""
        made = _small(task or self.home)
        network, budget = made.spec.network.build(made.spec), Budget("steps", steps)
        identities = [{"method": self.name, "run_id": self.name}] * len(seeds)
        return Setup(self.method, made, network, list(seeds), budget, identities)

    @cached_property
    def whole(self) -> Rows:
        """All that an uninterrupted run at home records."""
        return run(self.setup())


def run(of: Setup, snapshot: Any = None, before: Mapping[str, list[Any]] | None = None) -> Rows:
    """All that is recorded, without the clock; `before` has rows from before the snapshot."""
    rows = {name: list((before or {}).get(name, [])) for name in TABLES}
    predictions = {}
    for progress in train(of, snapshot):
        for name, table in rows.items():
            table += getattr(progress, name)
        predictions = progress.predictions
    return _tables(rows, predictions)


def _tables(rows: Mapping[str, list[Any]], predictions: Mapping[str, Any]) -> Rows:
    tables = {name: pd.DataFrame(table) for name, table in rows.items()}
    return {
        **{name: _untimed(table) for name, table in tables.items()},
        "predictions": pd.DataFrame(predictions),
    }


def _untimed(table: pd.DataFrame) -> pd.DataFrame:
    return table.drop(columns=[name for name in table.columns if "seconds" in name])


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
    whole = _tables(rows, predictions)
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


def steps_elsewhere(trial: Trial, kind: str) -> str:
    """A step on another device mixes no tensors with the CPU's, and ends as there."""
    reads = 0

    def tried(combination: Combination) -> Ends:
        nonlocal reads
        with pretended() as device:
            there = _ends(combination, HARDWARE)
            reads = max(reads, device.reads.total())
            return moved(there, "cpu")

    _as_usual(trial, kind, tried, 1e-5, 1e-6)
    return f"two steps and a prediction wait {reads} times for the device" if reads else ""


def steps_in_double(trial: Trial, kind: str) -> str:
    """In double precision a step ends as in single, and rounds nothing to that."""

    def tried(combination: Combination) -> Ends:
        ends = _ends(combination, DOUBLE)
        for tensor in (*tensors(ends.state), ends.weights, ends.outputs):
            shape = tuple(tensor.shape)
            require(tensor.dtype != torch.float32, f"a tensor of shape {shape} is torch.float32")
        return Ends({}, ends.weights.float(), ends.outputs.float())

    # an optimizer that divides by the size of a gradient makes steps of its rounding
    _as_usual(trial, kind, tried, 1e-3, 0.1)
    return ""


def steps_in_bfloat16(trial: Trial, kind: str) -> str:
    """In bfloat16 a step keeps nothing in that, and ends alike on another device."""

    def tried(combination: Combination) -> Ends:
        with pretended():
            ends = moved(
                _ends(combination, dataclasses.replace(HARDWARE, precision=HALF.precision)), "cpu"
            )
        for tensor in (*tensors(ends.state), ends.weights, ends.outputs):
            shape = tuple(tensor.shape)
            require(tensor.dtype != torch.bfloat16, f"a tensor of shape {shape} is torch.bfloat16")
        return ends

    _as_usual(trial, kind, tried, 1e-5, 1e-6, HALF)
    return ""


class Ends(NamedTuple):
    """State and weights after two steps, and outputs."""

    state: Any
    weights: Tensor
    outputs: Tensor


def _as_usual(
    trial: Trial,
    kind: str,
    tried: Callable[[Combination], Ends],
    rtol: float,
    atol: float,
    usual: Hardware = HOST,
) -> None:
    """Compare what combinations end with, and what they do on the usual hardware.

    All choices of settings are tried on the first kind of network alone; see `ELSEWHERE`.
    """
    every = [one for one in combinations(trial.method, trial.name) if one.kind == kind]
    refusals = list[UnsupportedError]()
    every = every if kind == ELSEWHERE[0] else every[:1]
    for combination in every:
        chosen = f"with {combination.choice}, " if combination.choice else ""
        try:
            here = _ends(combination, usual)
        except UnsupportedError as refusal:
            refusals.append(refusal)
            continue
        there = tried(combination)
        require_close(there.weights, here.weights, f"{chosen}weights", rtol, atol)
        require_close(there.outputs, here.outputs, f"{chosen}outputs", rtol, atol)
    if len(refusals) == len(every):
        raise refusals[0]


def _ends(combination: Combination, hardware: Hardware) -> Ends:
    start = combination.start(SEEDS, hardware)
    rule, problem, state = start.rule, start.problem, start.state
    for batch in start.batches:
        state = rule.step(state, batch, problem, start.rng)
    batch = start.batches[0]
    asked = Batch(batch.inputs, None, batch.support)
    return Ends(state, rule.params(state), rule.predict(state, problem, asked))


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


def trains_what_it_says(trial: Trial, kind: str) -> str:
    """Every layer with weights changes or is named as left alone, or the rule refuses."""
    every = combinations(trial.method, trial.name)
    done, alone, refusals = 0, dict[str, None](), list[UnsupportedError]()
    for combination in (one for one in every if one.kind == kind):
        try:
            combination.start(SEEDS[:1])
        except UnsupportedError as refusal:
            require_one_line(refusal)
            refusals.append(refusal)
            continue
        try:
            alone |= dict.fromkeys(_stepped(combination))
        except AssertionError as error:
            chosen = f"with {combination.choice}, " if combination.choice else ""
            raise AssertionError(f"{chosen}{error}") from error
        done += 1
    if refusals and not done:
        raise refusals[0]
    told = f"{done} choices of settings" if done > 1 else "its settings as they are"
    told += f", {len(refusals)} refused ({refusals[0]})" if refusals else ""
    return f"{told}; leaves {', '.join(sorted(alone))} alone" if alone else told


def _stepped(combination: Combination) -> set[str]:
    """Step a combination; return the names of what it leaves alone.

    The ledger is what torch counts, the state it was given is left alone, a replica is the same
    seed alone, and a step from a saved state is the step from the state itself.
    """
    start = combination.start(SEEDS)
    rule, problem, (batch, other) = start.rule, start.problem, start.batches
    ledger = problem.ledger
    assert ledger is not None
    given, charged = copied(start.state), ledger.flops
    with FlopCounterMode(display=False, custom_mapping=COUNTED) as counter:
        first = rule.step(start.state, batch, problem, start.rng)
    spent, counted = ledger.flops - charged, counter.get_total_flops() / len(SEEDS)
    if (combination.method, combination.choice, combination.kind) in WASTEFUL:
        require(0 < counted - spent < spent / 5, "torch counts more than its waste")
    else:
        require(spent == counted, f"a step is charged {spent:,} FLOPs, torch counts {counted:,.0f}")
    require(spent > 0 or rule.done(first), "a step costs nothing, so that it would never end")
    require_same(start.state, given, "the state that a step was given")
    found, wanted = rule.params(first), start.params
    require(
        found.shape == wanted.shape and found.dtype == wanted.dtype,
        f"params is {tuple(found.shape)}, {found.dtype}, not {tuple(wanted.shape)}, {wanted.dtype}",
    )

    draws = start.rng.state()
    second = rule.step(first, other, problem, start.rng)
    after = start.rng.state()
    start.rng.restore(draws)
    require_same(
        rule.step(saved(first), other, problem, start.rng), second, "a step from a saved state"
    )
    start.rng.restore(after)

    alone = combination.start(SEEDS[1:])
    single = rule.params(rule.step(alone.state, alone.batches[0], alone.problem, alone.rng))
    require_close(rule.params(first)[1:], single, "a replica, beside the seed alone,", 1e-4, 1e-5)

    named = set(rule.left_alone(problem))
    states = [start.state, first, second]
    while len(states) <= PATIENCE and _still(problem, rule, states) - named:
        states.append(rule.step(states[-1], batch, problem, start.rng))
    still = _still(problem, rule, states)
    lost, moved = (", ".join(sorted(names)) for names in (still - named, named - still))
    require(not lost, f"never changed, and not named by left_alone: {lost}")
    require(not moved, f"changed, and named by left_alone: {moved}")
    return named


def _still(problem: Problem, rule: Method, states: list[Any]) -> set[str]:
    """Names of the blocks that are the same in all states, for some replica."""
    first, *others = map(rule.params, states)
    changed = torch.stack([(other != first) for other in others]).any(0)
    return {
        block.name
        for block in problem.blocks
        if not changed[:, block.start : block.stop].any(1).all()
    }


def convolution_backward(dy: Any, x: Any, weight: Any, *others: Any, **_: Any) -> int:  # noqa: ARG001
    """Operations of a convolution's backward pass; torch's formula ignores groups."""
    mask = others[-1]  # which of the derivatives by inputs and weights are wanted
    return 2 * prod(dy) * prod(weight[1:]) * (mask[0] + mask[1])


COUNTED = {torch.ops.aten.convolution_backward: convolution_backward}


def follows_the_gradient(trial: Trial, kind: str) -> str:
    """Its direction is the gradient by finite differences, on average over its draws.

    Where the direction is drawn, its mean over many draws may differ from the gradient by as much
    as their scatter explains.
    """
    rule = trial.method
    assert isinstance(rule, Descent)
    combination = next(one for one in combinations(rule, trial.name) if one.kind == kind)
    once = combination.start([0])
    problem, batch = once.problem, once.batches[0]
    first, last = rule.trained(problem)
    exact = gradient(SPECS[kind], problem, once.params, batch)[first:last]
    found = _directions(rule, combination, 2)
    drawn = not torch.equal(found[0], found[1])
    if drawn:
        found = _directions(rule, combination, N_DRAWS)
    mean = found.double().mean(0)
    along = (mean @ exact / exact.norm() ** 2).item()
    cosine = (mean @ exact / (mean.norm() * exact.norm())).item()
    scatter = sqrt(found.double().var(0).sum().item() / len(found)) if drawn else 0.0
    off = (mean - along * exact).norm().item()
    told = f"cosine {cosine:.4f}" + (f" of the mean of {N_DRAWS:,} draws" if drawn else "")
    if not rule.UNBIASED:
        return f"{told} (not claimed)"
    allowed = 1.5 * scatter + 0.02 * abs(along) * exact.norm().item()
    require(
        along > 0 and off <= allowed, f"{told}; off by {off:.3g}, its draws explain {allowed:.3g}"
    )
    return told


def _directions(rule: Descent, combination: Combination, n_draws: int) -> Tensor:
    """Directions (n_draws, m) from one state, on one batch."""
    once = combination.start([0])
    start = combination.start(list(range(n_draws)))
    params, batch = once.params.expand(n_draws, -1), once.batches[0]
    state = rule.init(start.problem, params.contiguous(), start.rng)
    found = rule.direction(state, _expanded(batch, n_draws), start.problem, start.rng)
    direction = found if isinstance(found, Tensor) else found[0]
    first, last = rule.trained(start.problem)
    return direction[:, : last - first]


def _expanded(batch: Batch, n_replicas: int) -> Batch:
    sealed = isinstance(batch.targets, SealedTargets)
    targets = batch.targets._targets if sealed else batch.targets
    targets = targets.expand(n_replicas, *targets.shape[1:])
    support = None if batch.support is None else _expanded(batch.support, n_replicas)
    inputs = batch.inputs.expand(n_replicas, *batch.inputs.shape[1:])
    return Batch(inputs, SealedTargets(targets) if sealed else targets, support)


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
