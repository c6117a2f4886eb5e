"""What every task promises. The folder is walked: a new task is covered without an edit."""

import ast
import dataclasses
import importlib
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from beyond import catalog
from beyond.contracts import SPLITS, TargetKind
from beyond.data.arrays import ArrayTask
from beyond.data.texts import FIRST, NOTHING, UNKNOWN
from beyond.errors import InputError
from beyond.streams import Stream
from beyond.testing import tasks
from beyond.testing.checks import of
from beyond.testing.tasks import SEEDS, drawn, parts, whole

TASKS = catalog.complete("task")
# of modules whose classes tasks derive from, those that make no data
SHARED = {"builtins", "abc", "typing", "beyond.contracts", "beyond.data.arrays"}
CHECKSUMS = """
from contextlib import suppress
from beyond import catalog
from beyond.errors import InputError
for name in catalog.complete("task"):
    with suppress(InputError):  # its data are not on this machine
        print(name, catalog.load("task", name).checksum())
"""


@pytest.fixture(scope="module", params=TASKS)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def task(name, load_task):
    return load_task(name)


@pytest.fixture
def array_task(task):
    if not isinstance(task, ArrayTask):
        pytest.skip("comes in episodes, not as an array of examples")
    return task


@pytest.fixture
def episode_task(task):
    if task.spec.episode is None:
        pytest.skip("does not come in episodes")
    return task


@pytest.fixture
def answered_task(task):
    if task.spec.world is not None:
        pytest.skip("is to be acted in: nothing is right")
    return task


@pytest.fixture(scope="module")
def elsewhere():
    """Every task's checksum in another process, where sets have another order."""
    environment = {**os.environ, "PYTHONHASHSEED": "1"}
    command = [sys.executable, "-c", CHECKSUMS]
    done = subprocess.run(
        command,
        cwd=catalog.CONF.parent,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(line.split() for line in done.stdout.splitlines())


def size(task, split):
    return task.at([0]).size(split)


def asked(task, split, indices):
    return task.at(SEEDS).batch(split, indices)


def rows(task, split):
    """Examples of a split as bytes: words as they are, not what a replica knows of them.

    Those of a world are its starts, as two of them may show the same.
    """
    shown = parts(task, whole(task, split))[task.spec.world is not None :: 2]
    if isinstance(task, ArrayTask) and (raw := task.examples()).column is not None:
        splits = task.at([0])
        numbers = splits.ids(split, torch.arange(splits.size(split)).unsqueeze(0))
        shown = [torch.from_numpy(raw.inputs)[numbers]]
    return [
        b"".join(one.numpy().tobytes() for one in row)
        for row in zip(*(part[0] for part in shown), strict=True)
    ]


def read(raw, train):
    """Inputs as one reads them who has read the training rows: words counted one by one."""
    if raw.column is None:
        return raw.inputs
    counts = Counter(word for word in raw.inputs[train].flatten().tolist() if word >= FIRST)
    frequent = sorted(counts, key=lambda word: (-counts[word], word))[: raw.column.most]
    known = [word for word in frequent if counts[word] >= raw.column.rare]
    symbol = {NOTHING: NOTHING} | {word: FIRST + rank for rank, word in enumerate(known)}
    return np.array([[symbol.get(word, UNKNOWN) for word in row] for row in raw.inputs.tolist()])


def visited(task, indices, seeds=SEEDS):
    return next(task.at(seeds).training(indices.unsqueeze(0), Stream("augment", seeds)))


def is_off(default):
    return type(default) in (int, float) and default == 0


def refused(name, message, **settings):
    with pytest.raises(InputError) as caught:
        catalog.load("task", name, **settings).at([0])
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_settings_equal_the_fields_and_their_defaults(name):
    settings = catalog.read("task", name)
    module, _, class_name = settings.pop("_target_").rpartition(".")
    fields = dataclasses.fields(getattr(importlib.import_module(module), class_name))
    # YAML has lists only
    defaults = {field.name: field.default for field in fields}
    assert settings == {
        name: list(value) if isinstance(value, tuple) else value for name, value in defaults.items()
    }


def test_the_file_opens_with_a_datasheet(task):
    text = importlib.import_module(type(task).__module__).__doc__
    for heading in ("Source", "Licence", "Examples", "Splits", "Chance", "Reference"):
        assert f"\n{heading} " in text
    for split in SPLITS:
        assert f"{size(task, split):,}" in text


def test_it_has_its_name(name, task):
    assert task.spec.name == name


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("check", tasks.BY_SPLIT, ids=lambda check: check.__name__)
def test_its_splits_keep_their_promises(task, check, split):
    of(check, task, split)()


@pytest.mark.parametrize("check", tasks.ALL, ids=lambda check: check.__name__)
def test_it_keeps_its_promises(task, check):
    of(check, task)()


def test_the_right_answer_scores_one(answered_task):
    task = answered_task
    told = tasks.scores_the_right_way(task)
    assert task.spec.target_kind is TargetKind.DISTRIBUTIONS or "right 1," in told


def test_classes_are_split_alike(answered_task):
    task = answered_task
    if task.spec.target_kind is not TargetKind.CLASSES:
        pytest.skip("values have no classes")
    if task.at([0]).origin == "source":
        pytest.skip("its source fixes the splits")
    counts = {
        split: whole(task, split).targets.flatten().bincount() for split in ("train", "validation")
    }
    n_free = sum(count.sum() for count in counts.values())
    expected = sum(counts.values()) * counts["validation"].sum() / n_free
    assert (counts["validation"] - expected).abs().max() < 2


def test_no_example_is_in_two_splits(task):
    splits = [rows(task, split) for split in SPLITS]
    assert len(set().union(*splits)) == sum(len(set(split)) for split in splits)
    if isinstance(task, ArrayTask):
        assert sum(map(len, splits)) == len(task.examples().targets)


def tensors(of):
    """All tensors that an object holds, in its fields and in those of what they hold."""
    if isinstance(of, torch.Tensor):
        return [of]
    held = of.values() if isinstance(of, dict) else of if isinstance(of, tuple) else ()
    if dataclasses.is_dataclass(of):
        held = [getattr(of, field.name) for field in dataclasses.fields(of)]
    return [tensor for part in held for tensor in tensors(part)]


def test_seeds_have_other_examples_but_where_the_source_fixes_a_split(array_task):
    raw, splits = array_task.examples(), array_task.at([0, 1])
    held_out = {"test": raw.n_test, "validation": raw.n_validation}
    for split in SPLITS:
        first, second = (
            set(ids)
            for ids in splits.ids(split, torch.arange(splits.size(split)).unsqueeze(0)).tolist()
        )
        fixed = None not in held_out.values() if split == "train" else held_out[split] is not None
        assert (first == second) is fixed


def test_ids_are_rows_of_the_sources_data(array_task):
    """What a batch shows is the source's row, scaled by hand by the replica's training part."""
    task, raw, seeds = array_task, array_task.examples(), [0, 5]
    axis = 0 if raw.scaling == "feature" else None
    splits = task.at(seeds)
    of = {split: torch.arange(splits.size(split)).unsqueeze(0) for split in SPLITS}
    rows_of = {split: splits.ids(split, places).expand(2, -1) for split, places in of.items()}
    for replica in range(2):
        assert len(torch.cat([ids[replica] for ids in rows_of.values()]).unique()) == len(
            raw.targets
        )
        inputs = read(raw, rows_of["train"][replica].numpy())
        train = inputs[rows_of["train"][replica]].astype(float)
        mean, std = (0.0, 1.0) if raw.scaling == "none" else (train.mean(axis), train.std(axis))
        std = np.where(std == 0, 1.0, std)
        for split in ("validation", "test"):
            batch, chosen = splits.batch(split, of[split]), rows_of[split][replica]
            np.testing.assert_allclose(
                batch.inputs[replica], (inputs[chosen] - mean) / std, rtol=1e-4, atol=1e-5
            )
            units = splits.in_units(batch.targets)[replica]
            np.testing.assert_allclose(units, raw.targets[chosen], rtol=1e-5, atol=1e-5)


def test_ten_replicas_hold_one_copy_of_the_data(array_task):
    """And an index table and a scale, or a vocabulary, each."""
    raw = array_task.examples()
    n_examples, n_inputs, n_targets = len(raw.targets), raw.inputs[0].size, raw.targets[0].size
    n_words = 0 if raw.column is None else raw.column.n_places
    for task in (array_task, dataclasses.replace(array_task, split_seed=0)):
        held = sum(tensor.numel() for tensor in tensors(task.at(range(10))))
        assert held <= n_examples * (n_inputs + n_targets) + 10 * (
            n_examples + 2 * n_inputs + 4 * n_targets + n_words
        )


def test_smaller_training_parts_are_nested_within_a_seed(array_task):
    seeds, parts_of = [0, 1], {}
    few, more = size(array_task, "train") // 4, size(array_task, "train") // 2
    for n_kept in (few, more, None):
        thinned = dataclasses.replace(array_task, train_size=n_kept).at(seeds)
        parts_of[n_kept] = thinned.ids(
            "train", torch.arange(thinned.size("train")).unsqueeze(0)
        ).tolist()
    for replica in range(2):
        small, middle, all_ = (set(parts_of[n_kept][replica]) for n_kept in (few, more, None))
        assert len(small) == few
        assert small < middle < all_
    assert set(parts_of[few][0]) != set(parts_of[few][1])


def test_the_packages_that_make_the_data_are_named(task):
    """What it imports beside project, standard library, numpy, torch and annotated types."""
    modules = {cls.__module__ for cls in type(task).__mro__ if cls.__module__ not in SHARED}
    trees = [ast.parse(Path(sys.modules[name].__file__).read_text()) for name in modules]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    names = {name.name for node in nodes if isinstance(node, ast.Import) for name in node.names}
    names |= {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
    common = {"annotated_types", "beyond", "numpy", "torch", *sys.stdlib_module_names}
    needed = {name.partition(".")[0] for name in names} - common
    assert {{"sklearn": "scikit-learn"}.get(name, name) for name in needed} == set(
        type(task).PACKAGES
    )


def test_the_best_known_score_stands_in_the_datasheet(task):
    """In the part on what was published; a score of the task, at settings that it has."""
    for known in type(task).BEST_KNOWN:
        said = sys.modules[type(task).__module__].__doc__.partition("\nPublished ")[2]
        assert known.value in [float(number) for number in re.findall(r"-?\d+\.?\d*", said)]
        assert known.score == task.spec.score
        assert set(known.settings) <= {field.name for field in dataclasses.fields(task)}


def test_nothing_but_the_training_part_decides_the_scale(array_task, name, monkeypatch):
    """Held-out examples a hundred times as large leave the training part as it was."""
    task = array_task
    raw = task.examples()
    if task.spec.n_symbols:
        pytest.skip("symbols are not scaled")
    values = task.spec.target_kind is not TargetKind.CLASSES
    row = task.at([0]).ids("test", torch.arange(size(task, "test")).unsqueeze(0))[0]
    inputs, targets = raw.inputs.copy(), raw.targets.copy()
    inputs[row] *= 100
    targets[row] *= 100 if values else 1
    monkeypatch.setattr(
        type(task), "examples", lambda _: dataclasses.replace(raw, inputs=inputs, targets=targets)
    )
    changed = catalog.load("task", name)
    for split, same in (("train", True), ("validation", True), ("test", False)):
        assert torch.equal(whole(changed, split).inputs, whole(task, split).inputs) is same
        assert torch.equal(whole(changed, split).targets, whole(task, split).targets) is (
            same or not values
        )


def test_the_data_is_the_same_whenever_it_is_built(name, task, elsewhere):
    assert catalog.load("task", name).checksum() == task.checksum() == elsewhere[name]
    assert catalog.load("task", name, split_seed=1, train_size=20).checksum() == task.checksum()


def test_the_source_has_the_same_shapes_and_other_examples(array_task):
    tasks = [array_task]
    if hasattr(array_task, "half"):
        tasks += [dataclasses.replace(array_task, half=half) for half in ("lower", "upper")]
    for task, name in ((one, name) for one in tasks for name in one.sources):
        source = task.source(name)
        ours, theirs = task.spec, source.spec
        for field in ("input_shape", "n_outputs", "n_symbols", "target_kind", "score"):
            assert getattr(ours, field) == getattr(theirs, field)
        assert ours.name != theirs.name
        batch = asked(source, "train", drawn(source, "train"))
        assert batch.inputs.shape == (3, 7, *ours.input_shape)
        first, other = (
            {row for split in SPLITS for row in rows(which, split)} for which in (task, source)
        )
        assert not first & other


def test_the_training_part_can_be_thinned(task, name):
    n_kept = 10 * task.spec.n_outputs
    thin = catalog.load("task", name, train_size=n_kept)
    assert [size(thin, split) for split in SPLITS] == [
        n_kept,
        size(task, "validation"),
        size(task, "test"),
    ]
    if task.spec.episode is not None:
        assert rows(thin, "train") == rows(task, "train")[:n_kept]
    if isinstance(task, ArrayTask) and task.spec.target_kind is TargetKind.CLASSES:
        shares = whole(task, "train").targets.flatten().bincount() / size(task, "train")
        kept = whole(thin, "train").targets.flatten().bincount(minlength=len(shares))
        assert (kept - n_kept * shares).abs().max() < 2
        few = catalog.load("task", name, shots=3)
        assert (
            whole(few, "train").targets.flatten().bincount().tolist() == [3] * task.spec.n_outputs
        )


def test_label_noise_changes_training_targets_alone(array_task, name):
    task = array_task
    noisy = catalog.load("task", name, label_noise=0.5)
    for split in SPLITS:
        assert torch.equal(whole(noisy, split).inputs, whole(task, split).inputs)
        assert torch.equal(whole(noisy, split).targets, whole(task, split).targets) is (
            split != "train"
        )


def test_augmentation_is_of_training_alone(array_task):
    """An augmentation is a setting that the task adds and that is off at 0."""
    task = array_task
    common = {field.name for field in dataclasses.fields(ArrayTask)}
    added = [field for field in dataclasses.fields(task) if field.name not in common]
    augmenting = type(task).augment is not ArrayTask.augment
    settings = {
        field.name: {int: 1, float: 0.5}[type(field.default)]
        for field in added
        if is_off(field.default)
    }
    for setting in settings if augmenting else ():
        varied = dataclasses.replace(task, **{setting: settings[setting]})
        for split in SPLITS:
            indices = drawn(task, split)
            assert torch.equal(
                asked(varied, split, indices).inputs, asked(task, split, indices).inputs
            )
        indices = drawn(task, "train")
        stacked = visited(varied, indices).inputs
        assert not torch.equal(stacked, asked(task, "train", indices).inputs)
        assert torch.equal(stacked[1:2], visited(varied, indices[1:2], SEEDS[1:2]).inputs)


def test_examples_of_an_episode_are_fresh_in_training_alone(episode_task):
    task = episode_task
    for split in SPLITS:
        fixed = [parts(task, asked(task, split, drawn(task, split)))[::2] for _ in range(2)]
        assert all(torch.equal(*pair) for pair in zip(*fixed, strict=True))
    indices = drawn(task, "train")
    stacked, still = parts(task, visited(task, indices)), parts(task, asked(task, "train", indices))
    assert not any(torch.equal(*pair) for pair in list(zip(stacked, still, strict=True))[::2])
    alone = parts(task, visited(task, indices[1:2], SEEDS[1:2]))
    assert all(torch.equal(many[1:2], one) for many, one in zip(stacked, alone, strict=True))
    # nor are two queries the same
    assert not torch.equal(stacked[0][0, :, :1], stacked[0][0, :, 1:2])


def test_bad_settings_are_refused_in_one_line(task, name):
    classes = task.spec.target_kind is TargetKind.CLASSES
    refused(name, "split_seed must be an integer >= 0, or null, got -1", split_seed=-1)
    refused(name, "train_size must be an integer >= 1, or null, got 0", train_size=0)
    refused(name, "train_size must be an integer >= 1, or null, got 2.5", train_size=2.5)
    most = size(task, "train")
    if task.spec.world is None:  # there are starts without end
        refused(
            name,
            f"train_size must be at most {most}, the training part of {name}, got 999999",
            train_size=999999,
        )
    if isinstance(task, ArrayTask):
        refused(name, "shots must be ", shots=9999)
        refused(name, "label_noise must be >= 0, got -0.5", label_noise=-0.5)
        if classes:
            refused(name, "label_noise must be in [0, 1], got 1.5", label_noise=1.5)
    for field in dataclasses.fields(task):
        if type(field.default) in (int, float):
            refused(name, f"{field.name} must be ", **{field.name: -1})
