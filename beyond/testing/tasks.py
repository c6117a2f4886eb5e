"""What every task promises, as `beyond.contracts.Task` states it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from beyond.contracts import SPLITS, Batch, TargetKind, Task
from beyond.errors import InputError
from beyond.hardware import HOST, Hardware, moved, placed
from beyond.streams import Stream
from beyond.testing.checks import Check, global_state, of
from beyond.testing.compare import require, require_close
from beyond.testing.pretended import HARDWARE, pretended

SEEDS = [0, 1, 2]
BATCH_SIZE = 7
SUFFIXES = ("_score", "_error", "_loss")


def whole(task: Task, split: str, seeds: Sequence[int] = (0,)) -> Batch:
    """Return all of a split."""
    splits = task.at(seeds)
    return splits.batch(split, torch.arange(splits.size(split)).unsqueeze(0))


def parts(task: Task, batch: Batch) -> list[Tensor]:
    """Tensors (R, B, ...) of a batch, an example or episode an index: inputs, targets, support."""
    episode = task.spec.episode
    if episode is None:
        return [batch.inputs, batch.targets]
    assert batch.support is not None
    of = ((batch, episode.n_query), (batch.support, episode.n_support))
    return [
        values.unflatten(1, (-1, size))
        for part, size in of
        for values in (part.inputs, part.targets)
    ]


def drawn(task: Task, split: str) -> Tensor:
    """Places (R, B) in a split."""
    return Stream("test", SEEDS).integers(task.at(SEEDS).size(split), BATCH_SIZE)


def _other(task: Any, **settings: Any) -> Any:
    """Return the task with other settings, made anew."""
    return dataclasses.replace(task, **settings)


def is_coherent(task: Task) -> str:
    """Its specification is coherent: levels rise, scores have names that tell their direction."""
    spec = task.spec
    require(list(spec.levels) == sorted(set(spec.levels)), f"levels must rise, got {spec.levels}")
    batch = whole(task, "test")
    network = spec.network.build(spec)
    outputs = network.outputs(network.init(Stream("init", [0])), batch.inputs)
    scores = task.score(outputs if spec.world is None else _played(task, "test"), batch.targets)
    require(spec.score in scores, f"the score must be one of {', '.join(scores)}; got {spec.score}")
    require(spec.score.endswith("_score"), f"the score that ranks must be up, got {spec.score}")
    for name, value in scores.items():
        require(name.endswith(SUFFIXES), f"{name} must end in {', '.join(SUFFIXES)}")
        require(value.shape == (1,), f"{name} has the shape {tuple(value.shape)}, not (1,)")
        require(value.dtype == torch.float64, f"{name} is {value.dtype}, not torch.float64")
    return f"untrained, {spec.score} is {scores[spec.score].item():.3g}"


def has_the_sizes(task: Task, split: str) -> str:
    """A batch has the shapes and types of the specification."""
    spec = task.spec
    batch = task.at(SEEDS).batch(split, drawn(task, split))
    # a class, or the start of an episode
    numbered = spec.target_kind is TargetKind.CLASSES or spec.world is not None
    sizes = [(batch, BATCH_SIZE)]
    if spec.episode is not None:
        assert batch.support is not None
        sizes = [
            (batch, BATCH_SIZE * spec.episode.n_query),
            (batch.support, BATCH_SIZE * spec.episode.n_support),
        ]
    for part, size in sizes:
        wanted = {
            "inputs": (
                (3, size, *spec.input_shape),
                torch.int64 if spec.n_symbols else torch.float32,
            ),
            "targets": (
                (3, size, *spec.target_shape),
                torch.int64 if numbered else torch.float32,
            ),
        }
        for name, (shape, dtype) in wanted.items():
            found = getattr(part, name)
            require(
                found.shape == shape, f"{name} have the shape {tuple(found.shape)}, not {shape}"
            )
            require(found.dtype == dtype, f"{name} are {found.dtype}, not {dtype}")
    return f"{task.at([0]).size(split):,} {'examples' if spec.episode is None else 'episodes'}"


def is_in_range(task: Task, split: str) -> str:
    """Inputs are finite or symbols, targets are finite or every class."""
    spec, batch = task.spec, whole(task, split)
    for part in (batch, batch.support) if batch.support else (batch,):
        require(bool(part.inputs.isfinite().all()), "some inputs are not finite")
        if spec.n_symbols:
            low, high = part.inputs.min().item(), part.inputs.max().item()
            ok = 0 <= low <= high < spec.n_symbols
            require(ok, f"symbols lie in [{low}, {high}], not in [0, {spec.n_symbols})")
        if spec.target_kind is TargetKind.CLASSES and spec.world is None:
            found = part.targets.unique().tolist()
            missing = sorted(set(range(spec.n_outputs)) - set(found))
            require(not missing, f"no example is of class {', '.join(map(str, missing))}")
            require(len(found) == spec.n_outputs, f"classes are {found}, not 0 to {spec.n_outputs}")
        else:
            require(bool(part.targets.isfinite().all()), "some targets are not finite")
    return ""


def serves_what_is_asked(task: Task) -> str:
    """Each replica gets the examples it asks for: alone as in the stack, by its split or one."""
    indices = drawn(task, "train")
    for one in (task, _other(task, split_seed=3)):
        stacked = parts(one, one.at(SEEDS).batch("train", indices))
        for replica, asked_for in enumerate(indices):
            everything = parts(one, whole(one, "train", [SEEDS[replica]]))
            for part, all_ in zip(stacked, everything, strict=True):
                require_close(part[replica], all_[0, asked_for], f"replica {replica}")
    return ""


def keeps_splits_apart(task: Task) -> str:
    """No example is in two splits."""
    splits = task.at(SEEDS)
    ids = {
        split: splits.ids(split, torch.arange(splits.size(split)).unsqueeze(0)) for split in SPLITS
    }
    for replica in range(len(SEEDS)):
        seen = set[int]()
        for split, numbers in ids.items():
            found = set(numbers[replica if len(numbers) > 1 else 0].tolist())
            require(
                not seen & found, f"{len(seen & found)} examples of {split} are in another split"
            )
            seen |= found
    trained, tested = set(_contents(task, "train")), _contents(task, "test")
    twins, n_test = sum(row in trained for row in tested), len(tested)
    return f"{twins:,} of {n_test:,} test inputs occur in training too" if twins else ""


def _contents(task: Task, split: str) -> list[bytes]:
    inputs = parts(task, whole(task, split))[::2]
    return [
        b"".join(part.numpy().tobytes() for part in row)
        for row in zip(*(part[0] for part in inputs), strict=True)
    ]


def draws_by_seed(task: Task) -> str:
    """A seed has one split, a split_seed the same for all, and no global generator is asked."""
    before = global_state()
    shared = _other(task, split_seed=3)
    for split in SPLITS:
        first, other, again = (parts(task, whole(task, split, [seed]))[0] for seed in (0, 1, 0))
        require_close(again, first, f"seed 0 again, {split}")
        one, all_ = (parts(shared, whole(shared, split, seeds))[0] for seeds in ([0], [1, 2]))
        require_close(all_[:1], one, f"with split_seed=3, {split}")
        if task.spec.episode is not None:
            require(not torch.equal(first, other), f"two seeds have the same {split} episodes")
    require(global_state() == before, "it draws from a global generator")
    return f"splits: {task.at([0]).origin}"


def has_one_checksum(task: Task) -> str:
    """The data are the same whenever they are built, whatever the split."""
    first = task.checksum()
    for settings in ({}, {"split_seed": 1}):
        again = _other(task, **settings).checksum()
        require(again == first, f"with {settings or 'the same settings'}: another checksum")
    return first[:12]


def scores_the_right_way(task: Task) -> str:
    """The right answer scores better than a random one, and the easiest level is above chance."""
    spec, targets = task.spec, whole(task, "test").targets
    if spec.world is not None:
        return _scores_returns(task)
    classes = spec.target_kind is TargetKind.CLASSES
    right = {
        TargetKind.CLASSES: lambda: 20 * one_hot(targets, spec.n_outputs).float(),
        TargetKind.VALUES: lambda: targets,
        TargetKind.DISTRIBUTIONS: lambda: torch.cat([targets, torch.full_like(targets, -20)], -1),
    }[spec.target_kind]()
    best = task.score(right, targets)
    poor = task.score(Stream("test", [0]).normal(*right.shape[1:]), targets)
    for name in best:
        up = name.endswith("_score")
        better = (best[name] > poor[name]) if up else (best[name] < poor[name])
        told = f"{best[name].item():.3g} for the right answer, {poor[name].item():.3g} for another"
        require(bool(better), f"{name} is {told}")
    held = whole(task, "validation").targets
    if classes:
        guess = torch.bincount(held.flatten(), minlength=spec.n_outputs).float()
    else:
        guess = held.flatten(0, 1).mean(0)
    if spec.target_kind is TargetKind.DISTRIBUTIONS:
        guess = torch.cat([guess, held.flatten(0, 1).var(0, correction=0).log()])
    chance = task.score(guess.expand(1, held.shape[1], -1), held)[spec.score].item()
    easy = spec.levels[0]
    require(easy > chance, f"a constant answer has {chance:.3g}, the easiest level is {easy:g}")
    return f"{spec.score}: right {best[spec.score].item():.3g}, constant {chance:.3g}"


def _scores_returns(task: Task) -> str:
    """What earns more scores better, and the easiest level is above that of one action alone."""
    spec, earned = task.spec, _played(task, "validation")
    targets = whole(task, "validation").targets
    more, less = (task.score(earned + change, targets)[spec.score].item() for change in (1, -1))
    require(more > less, f"{spec.score} is {more:.3g} for more, {less:.3g} for less")
    same, easy = task.score(earned, targets)[spec.score].item(), spec.levels[0]
    require(easy > same, f"one action alone earns {same:.3g}, the easiest level is {easy:g}")
    return f"{spec.score}: one action alone {same:.3g}"


def _played(task: Task, split: str) -> Tensor:
    """Returns (1, B, 1) of a split's episodes in which every output is 0."""
    spec, (starts,) = task.spec, whole(task, split).targets
    assert spec.world is not None
    lanes, earned = spec.world.begin(starts), torch.zeros(len(starts))
    n_outputs = () if spec.target_kind is TargetKind.CLASSES else (spec.n_outputs,)
    kind = torch.int64 if spec.target_kind is TargetKind.CLASSES else torch.float32
    while lanes.alive.any():
        earned += lanes.step(torch.zeros(len(starts), *n_outputs, dtype=kind))
    return earned.view(1, -1, 1)


def plays_alike(task: Task) -> str:
    """Where it is to be acted in: a start and actions decide an episode, beside any others."""
    spec = task.spec
    if spec.world is None:
        return ""
    starts, rng = whole(task, "test").targets[0][:3], Stream("test", [0])
    together = spec.world.begin(starts)
    shown, earned, alive = [together.observations], [], [together.alive]
    taken = []
    while together.alive.any() and len(taken) < 50:
        if spec.target_kind is TargetKind.CLASSES:
            (actions,) = rng.integers(spec.n_outputs, len(starts))
        else:
            (actions,) = rng.uniform(len(starts), spec.n_outputs)
        taken.append(actions)
        earned.append(together.step(actions))
        shown.append(together.observations)
        alive.append(together.alive)
        silent = earned[-1][~alive[-2]]
        require(bool((silent == 0).all()), "an episode that has ended still earns")
        require(bool((alive[-2] | ~alive[-1]).all()), "an episode that has ended goes on")
    for lane, start in enumerate(starts):
        alone = spec.world.begin(start.view(1))
        for time, actions in enumerate(taken):
            where = f"episode {lane}, step {time}"
            require_close(alone.observations[0], shown[time][lane], where, 1e-5, 1e-5)
            rewards = alone.step(actions[lane : lane + 1])
            require_close(rewards[0], earned[time][lane], where, 1e-5, 1e-5)
            require(bool(alone.alive[0] == alive[time + 1][lane]), f"{where}: ends otherwise")
    return f"{len(taken)} steps of {len(starts)} episodes"


def works_elsewhere(task: Task) -> str:
    """On another device it serves, varies and scores the same examples."""
    here = _served(task, HOST)
    with pretended():
        there = moved(_served(task, HARDWARE), "cpu")
    for found, expected in zip(there, here, strict=True):
        require_close(found, expected, "on another device, what it serves", 1e-5, 1e-6)
    return ""


def _served(task: Task, hardware: Hardware) -> list[Tensor]:
    """Batches of each split and to train on, their numbers, and the score of an answer."""
    splits, spec = placed(task.at(SEEDS), hardware), task.spec
    served = list[Tensor]()
    for split in SPLITS:
        places = drawn(task, split).to(hardware.place)
        batch = splits.batch(split, places)
        served += [*parts(task, batch), splits.ids(split, places)]
    places = drawn(task, "train").to(hardware.place).unsqueeze(0)
    for batch in splits.training(places, Stream("augment", SEEDS, hardware)):
        served += parts(task, batch)
        answer = Stream("test", SEEDS, hardware).normal(batch.inputs.shape[1], spec.n_outputs)
        served += task.score(answer, batch.targets).values()
        served.append(splits.in_units(answer))
    return served


def can_be_thinned(task: Task) -> str:
    """A smaller training part leaves the other parts as they are."""
    n_kept = max(2, task.at([0]).size("train") // 4)
    thin = _other(task, train_size=n_kept)
    require(thin.at([0]).size("train") == n_kept, f"train_size={n_kept} keeps other numbers")
    for split in SPLITS[1:]:
        same = thin.at([0]).size(split) == task.at([0]).size(split)
        require(same, f"train_size={n_kept} changes the {split} split")
    return ""


ALL = (
    is_coherent,
    serves_what_is_asked,
    keeps_splits_apart,
    draws_by_seed,
    has_one_checksum,
    scores_the_right_way,
    plays_alike,
    works_elsewhere,
    can_be_thinned,
)
BY_SPLIT = (has_the_sizes, is_in_range)


def task_checks(task: Task) -> Iterator[Check]:
    """Everything that a task promises."""
    try:
        task.at([0])
    except InputError as error:
        raise AssertionError(str(error)) from error
    for split in SPLITS:
        yield from (of(check, task, split, where=split) for check in BY_SPLIT)
    yield from (of(check, task) for check in ALL)
