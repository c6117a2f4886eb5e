"""What a step of every method promises, as `beyond.contracts.Method` states it.

One or two are made on every kind of network, with every choice of each of the method's settings
(`beyond.run.matrix`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from math import prod, sqrt
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from beyond.contracts import Batch, Method, SealedTargets
from beyond.errors import UnsupportedError
from beyond.hardware import HOST, Hardware, moved
from beyond.kits.descent import Descent
from beyond.problem import Problem
from beyond.run.matrix import SPECS, Combination, combinations
from beyond.run.training import tensors
from beyond.testing.checks import require_one_line
from beyond.testing.compare import (
    copied,
    require,
    require_close,
    require_same,
    saved,
)
from beyond.testing.differences import gradient
from beyond.testing.pretended import HARDWARE, pretended
from beyond.testing.trial import Trial

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
