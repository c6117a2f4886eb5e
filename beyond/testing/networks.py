"""What every network promises, whatever it is made of, on every kind of input that it takes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from beyond import catalog, losses
from beyond.contracts import Architecture, TargetKind, TaskSpec
from beyond.errors import STRANGE, InputError, UnsupportedError, said
from beyond.hardware import HOST, Hardware, moved
from beyond.ledger import Ledger
from beyond.network.trainable import Network
from beyond.problem import Problem, seal
from beyond.run.matrix import noise, small
from beyond.streams import Stream, global_generators
from beyond.testing.checks import Check, global_state, of, require_one_line
from beyond.testing.compare import require, require_close
from beyond.testing.differences import slopes
from beyond.testing.pretended import HARDWARE, pretended

SEEDS = [0, 1, 2]
COPIES = 2
HALF = Hardware(precision="bfloat16")
INPUTS: dict[str, tuple[tuple[int, ...], int, TargetKind]] = {  # shape, number of symbols, targets
    "features": ((6,), 0, TargetKind.CLASSES),
    "features, values": ((6,), 0, TargetKind.VALUES),
    "sequences, distributions": ((2, 6), 0, TargetKind.DISTRIBUTIONS),
    "small images": ((2, 9, 9), 0, TargetKind.CLASSES),
    "images": ((1, 28, 28), 0, TargetKind.CLASSES),
    "symbols": ((6,), 7, TargetKind.CLASSES),
}


class Recipe:
    """An architecture, and the network that it makes for each kind of input."""

    def __init__(self, architecture: Architecture) -> None:
        self.architecture = architecture

    @cache  # noqa: B019  a recipe is as short-lived as its checks
    def spec(self, kind: str) -> TaskSpec:
        """A small task of noise."""
        from beyond.network.parts import trial

        return trial(self.architecture, *INPUTS[kind])

    @cache  # noqa: B019
    def build(self, kind: str) -> Network:
        """Make the network; `UnsupportedError`, or an `InputError` as one, if it takes no such."""
        try:
            return self.architecture.build(self.spec(kind))
        except InputError as error:
            raise UnsupportedError(str(error)) from error

    def batch(self, kind: str) -> Any:
        """Examples of noise for each replica."""
        return noise(self.spec(kind), Stream("data", SEEDS))


def takes_something(recipe: Recipe) -> str:
    """It has a name, and takes some kind of input."""
    name = recipe.architecture.name
    require(isinstance(name, str) and bool(name), f"name must be text, got {name!r}")
    refusals = list[str]()
    for kind in INPUTS:
        try:
            recipe.build(kind)
        except UnsupportedError as refusal:
            refusals.append(str(refusal))
    require(len(refusals) < len(INPUTS), f"it takes no kind of input: {refusals[:1]}")
    return name


def takes(recipe: Recipe, kind: str) -> str:
    """It takes such inputs, or refuses them in one line."""
    recipe.build(kind)
    return ""


def lists_its_weights(recipe: Recipe, kind: str) -> str:
    """Its blocks, end to end, are its weights."""
    network = recipe.build(kind)
    place = 0
    for block in network.blocks:
        require(block.start == place, f"{block.name} starts at {block.start}, not at {place}")
        require(block.stop > block.start, f"{block.name} has no weights")
        place = block.stop
    require(place == network.n_weights, f"blocks end at {place}, of {network.n_weights} weights")
    return f"{network.n_weights:,} weights in {len(network.blocks)} blocks"


def draws_from_the_stream(recipe: Recipe, kind: str) -> str:
    """Initial weights come from the stream alone, a replica's from its seed."""
    network, before = recipe.build(kind), global_state()
    params = network.init(Stream("init", SEEDS))
    require(global_state() == before, "it draws from a global generator")
    require(params.shape == (3, network.n_weights), f"weights of shape {tuple(params.shape)}")
    require(bool(params.isfinite().all()), "some initial weights are no finite numbers")
    with global_generators(1):
        again = network.init(Stream("init", SEEDS))
    require_close(again, params, "drawn again, weights")
    alone = network.init(Stream("init", SEEDS[1:2]))
    require_close(alone, params[1:2], "drawn alone, weights")
    drawn = any(block.drawn for block in network.blocks)
    require(not drawn or not torch.equal(params[0], params[1]), "two seeds have the same weights")
    copies = network.init(Stream("init", SEEDS), COPIES)
    require(copies.shape == (3 * COPIES, network.n_weights), f"copies: {tuple(copies.shape)}")
    return f"standard deviation {params.std().item():.3g}"


def keeps_replicas_apart(recipe: Recipe, kind: str) -> str:
    """The outputs of a replica, and of a candidate, are those of its weights alone."""
    network, spec, batch = recipe.build(kind), recipe.spec(kind), recipe.batch(kind)
    params = network.init(Stream("init", SEEDS))
    outputs = network.outputs(params, batch.inputs)
    shape = (3, batch.inputs.shape[1], spec.n_outputs)
    require(outputs.shape == shape, f"outputs of shape {tuple(outputs.shape)}, not {shape}")
    require(bool(outputs.isfinite().all()), "some outputs are no finite numbers")
    alone = network.outputs(params[1:2], batch.inputs[1:2])
    gap = require_close(outputs[1:2], alone, "a replica, beside itself alone,", 1e-4, 1e-5)
    candidates = network.init(Stream("init", SEEDS), COPIES)
    of_all = network.outputs(candidates, batch.inputs)
    one = network.outputs(candidates[3:4], batch.inputs[1:2])
    require_close(of_all[3:4], one, "a candidate, beside itself alone,", 1e-4, 1e-5)
    first = network.outputs(params, batch.inputs[:, :1])
    require_close(outputs[:, :1], first, "an example, beside itself alone,", 1e-4, 1e-5)
    return f"differs by at most {gap:.1g}"


def carries_errors_back(recipe: Recipe, kind: str) -> str:
    """Its backward pass is the gradient by finite differences, in every block."""
    network, spec, batch = recipe.build(kind), recipe.spec(kind), recipe.batch(kind)
    rng = Stream("test", SEEDS)
    params = network.init(Stream("init", SEEDS))
    params = params + 0.1 * rng.normal(network.n_weights)  # biases, too, that are not zero
    outputs, tape = network.forward(params, batch.inputs)
    error = losses.error(spec.target_kind, outputs, batch.targets)
    gradient = network.backward(tape, error)[:1].double()
    worst = 0.0
    for block in network.blocks:
        along = torch.zeros(4, network.n_weights)
        along[:, block.start : block.stop] = rng.normal(4, block.stop - block.start)[0]
        expected = slopes(network, spec, params[:1], along, batch)
        found = along.double() @ gradient[0]
        gap = ((found - expected).norm() / expected.norm().clamp(min=1e-6)).item()
        require(gap < 1e-2, f"the gradient of {block.name} is off by {gap:.2g} of itself")
        worst = max(worst, gap)
        part = network.backward(tape, error, start=block.start)
        whole = network.backward(tape, error)[:, block.start :]
        require_close(part, whole, f"the gradient from {block.name} on", 1e-4, 1e-6)
    return f"off by at most {worst:.1g} of itself"


def counts_its_operations(recipe: Recipe, kind: str) -> str:
    """Its operations are those that torch counts."""
    network, batch = recipe.build(kind), recipe.batch(kind)
    params = network.init(Stream("init", SEEDS))
    n_examples = 3 * batch.inputs.shape[1]
    with FlopCounterMode(display=False) as counter:
        network.outputs(params, batch.inputs)
    counted, said = counter.get_total_flops() / n_examples, network.forward_flops
    require(said == counted, f"forward_flops is {said:,}, torch counts {counted:,.0f} an example")
    back = network.backward_flops()
    require(said > 0 and back > 0, f"{said:,} operations forward, {back:,} back: must be > 0")
    return f"{said:,} forward, {back:,} back"


def works_elsewhere(recipe: Recipe, kind: str) -> str:
    """On another device it mixes no tensors with the CPU's, and answers as there."""
    here = _passes(recipe, kind, HOST)
    with pretended():
        there = moved(_passes(recipe, kind, HARDWARE), "cpu")
    for found, expected in zip(there, here, strict=True):
        require_close(found, expected, "on another device, what it answers", 1e-5, 1e-6)
    return ""


def works_in_bfloat16(recipe: Recipe, kind: str) -> str:
    """In bfloat16 it answers about as in single precision."""
    worst = 0.0
    for narrow, exact in zip(_passes(recipe, kind, HALF), _passes(recipe, kind, HOST), strict=True):
        if not exact.is_floating_point():
            require(bool((narrow == exact).all()), "it counts otherwise")
            continue
        gap = ((narrow - exact).norm() / exact.norm().clamp(min=1.0)).item()
        require(narrow.dtype == exact.dtype, f"what it answers is {narrow.dtype}")
        require(gap < 0.2, f"what it answers is off by {gap:.2g} of itself")
        worst = max(worst, gap)
    return f"off by at most {worst:.1g} of itself"


def _passes(recipe: Recipe, kind: str, hardware: Hardware) -> list[Tensor]:
    """What passes forward and back leave, in training and not, of candidates and a replica each."""
    network = recipe.build(kind).on(hardware)
    rng, batch = Stream("step", SEEDS, hardware), moved(recipe.batch(kind), hardware.place)
    drawn = network.init(rng)
    params = network.init(Stream("init", SEEDS)).to(hardware.place)
    found = [drawn, network.outputs(network.init(rng, COPIES), batch.inputs)]
    for training in (None, rng):
        outputs, tape = network.holding(network.fresh_buffers(3)).forward(
            params, batch.inputs, training
        )
        error = losses.error(recipe.spec(kind).target_kind, outputs, batch.targets)
        found += [outputs, network.backward(tape, error), *tape.buffers.values()]
        dead = network.dead_fraction(tape)
        found += [fraction for fraction in dead if isinstance(fraction, Tensor)]
    return found


def meets_every_rule(recipe: Recipe, kind: str) -> str:
    """Every rule takes a step on it, or refuses it in one line."""
    network, spec = recipe.build(kind), recipe.spec(kind)
    refusals = dict[str, str]()
    rules = [name for name in catalog.complete("method") if name not in catalog.added()["method"]]
    for name in rules:
        rule = small(catalog.load("method", name))
        problem, rng = Problem(network, spec, Ledger(), rule.signal), Stream("step", SEEDS)
        batch = seal(recipe.batch(kind), rule.signal)
        try:
            state = rule.init(problem, network.init(Stream("init", SEEDS)), rng)
            state = rule.step(state, batch, problem, rng)
        except UnsupportedError as refusal:
            require_one_line(refusal)
            refusals[name] = str(refusal)
            continue
        except STRANGE as error:
            told = catalog.blame(error) or said(error)
            raise AssertionError(f"{name}: {told}") from error
        require(bool(rule.params(state).isfinite().all()), f"{name} makes weights infinite")
    told = f"{len(rules) - len(refusals)} of {len(rules)} train it"
    return f"{told}, not {', '.join(refusals)}" if refusals else told


EACH = (
    lists_its_weights,
    draws_from_the_stream,
    keeps_replicas_apart,
    carries_errors_back,
    counts_its_operations,
    works_elsewhere,
    works_in_bfloat16,
    meets_every_rule,
)


def network_checks(architecture: Architecture) -> Iterator[Check]:
    """Everything that an architecture promises."""
    recipe = Recipe(architecture)
    yield of(takes_something, recipe)
    for kind in INPUTS:
        taken = of(takes, recipe, kind, where=kind)
        yield taken
        with suppress(UnsupportedError):
            taken()
            yield from (of(check, recipe, kind, where=kind) for check in EACH)
