"""How raw examples become splits and batches; every input carries its row's number."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from beyond.architectures.mlp import MLP
from beyond.contracts import SPLITS, TargetKind, TaskSpec
from beyond.data import arrays as data
from beyond.data import augment, splits
from beyond.data.arrays import ArrayTask, Examples
from beyond.errors import InputError
from beyond.settings import settings
from beyond.streams import Stream, derive_seed

FAULTS = [
    ("beyond/data/splits.py", "noisy[kept] = labels[kept]", "noisy[kept] = labels[kept[::-1]]"),
    ("beyond/data/splits.py", "round(fraction * len(labels))", "int(fraction * len(labels))"),
    # all replicas see the first one's split
    (
        "beyond/data/splits.py",
        "starts = table.shape[1] * torch.arange(len(table), device=table.device).unsqueeze(1)",
        "starts = torch.zeros(1, 1, dtype=torch.int64)",
    ),
    # the spread of the images' means instead of their pixels
    ("beyond/data/splits.py", "+ (within[part].mean() if within.dim() else 0)", ""),
    # shuffled, but not stratified
    (
        "beyond/data/splits.py",
        "(np.arange(len(members)) + rng.random()) / len(members)",
        "rng.random(len(members))",
    ),
    # a batch with the answers to the one before; with the examples of the first
    (
        "beyond/data/splits.py",
        'self._answers("train", ahead, rows)',
        'self._answers("train", ahead.roll(1, 0), rows.roll(1, 0))',
    ),
    (
        "beyond/data/splits.py",
        "self.augment(self.inputs.at(chosen), rng)",
        "self.augment(self.inputs.at(rows[0]), rng)",
    ),
    (
        "beyond/data/splits.py",
        "constant = std <= NOISE * self._precision * mean.abs()",
        "constant = std == 0",
    ),
    (
        "beyond/data/splits.py",
        'derive_seed("split", seed) for seed in seeds',
        "seed for seed in seeds",
    ),
    # held-out examples set the scale
    ("beyond/data/arrays.py", "inputs.fitted(train,", 'inputs.fitted(rows["test"],'),
    # noise that depends on who else is in the stack
    (
        "beyond/data/arrays.py",
        "spawned[which] for spawned in generators",
        "generators[0][which] for spawned in generators",
    ),
    (
        "beyond/data/arrays.py",
        '{"train": 1, "validation": 2} if self.noisy_validation else {"train": 1}',
        '{"train": 1, "validation": 2}',
    ),
    (
        "beyond/data/arrays.py",
        "[members[: self.shots] for members in by_class]",
        "[train[: self.shots * len(by_class)]]",
    ),
    (
        "beyond/data/arrays.py",
        'return "own" if raw.n_test is None else "source test"',
        'return "own"',
    ),
    (
        "beyond/data/arrays.py",
        "if raw.n_test is not None and raw.n_validation is not None:",
        "if False:",
    ),
    ("beyond/data/splits.py", "values * self.std + self.mean", "values + self.mean * self.std"),
    (
        "beyond/data/arrays.py",
        "screen(known, raw.targets, self.spec)",
        "screen(raw.inputs[:9], raw.targets[:9], self.spec)",
    ),
    ("beyond/data/splits.py", "values[0] + (values - values[0]).mean(0)", "values.mean(0)"),
    # sums in single precision
    (
        "beyond/data/splits.py",
        "self.values.double() if per_feature",
        "self.values if per_feature",
    ),
    # other inputs are scaled as the first replica's; or as whole numbers
    ("beyond/data/splits.py", "if self.scale is None else len(self.scale.mean)", ""),
    ("beyond/data/splits.py", "values=values.to(self.values.dtype))", "values=values)"),
]

CLASS_SIZES = (30, 60, 110)
CLASSES = np.random.default_rng(0).permutation(np.repeat([0, 1, 2], CLASS_SIZES))
ROWS = np.arange(200)[:, None]
RAW = Examples(ROWS, CLASSES, scaling="none")
VALUES = ROWS * np.array([1.0, -3.0]) + 7


@settings(kw_only=True)
class Toy(ArrayTask):
    kind: TargetKind = TargetKind.CLASSES
    raw: Any = RAW

    @property
    def spec(self):
        n_outputs = {TargetKind.CLASSES: 3, TargetKind.VALUES: 2, TargetKind.DISTRIBUTIONS: 4}[
            self.kind
        ]
        return TaskSpec(
            "test/toy",
            self.raw.inputs.shape[1:],
            n_outputs,
            self.kind,
            MLP(),
            "score",
            (0.1, 0.2, 0.3),
        )

    def examples(self):
        return self.raw

    def related(self):
        return {"twins": lambda: replace(self.raw, inputs=self.raw.inputs + 1000)}


def values(**given):
    return Toy(kind=TargetKind.VALUES, raw=Examples(ROWS, VALUES, scaling="none"), **given)


def scaled(scaling, inputs=None, **given):
    # (200, 2, 1, 1)
    inputs = np.stack([ROWS * 1.0, 5 - 0.1 * ROWS], 1)[:, :, None] if inputs is None else inputs
    return Toy(raw=Examples(inputs, CLASSES, scaling=scaling), **given)


def whole(task, split, seed=0):
    splits = task.at([seed])
    return splits.batch(split, torch.arange(splits.size(split)).unsqueeze(0))


def inputs(task, split="train", seed=0):
    return whole(task, split, seed).inputs[0]


def targets(task, split="train", seed=0):
    return whole(task, split, seed).targets[0]


def sizes(task):
    return [task.at([0]).size(split) for split in SPLITS]


def rows(task, split="train", seed=0):
    return inputs(task, split, seed).flatten().tolist()


# --------------------------------------------------------------------------------------------------


def test_every_example_is_in_one_split_with_its_own_target():
    for task, truth in ((Toy(), CLASSES), (Toy(split_seed=3), CLASSES)):
        assert sizes(task) == [140, 30, 30]
        assert sorted(row for split in SPLITS for row in rows(task, split)) == list(range(200))
        for split in SPLITS:
            assert targets(task, split).tolist() == truth[rows(task, split)].tolist()
    assert set(rows(Toy())) != set(rows(Toy(split_seed=3)))


def test_a_test_split_that_the_source_fixes_is_kept():
    task = Toy(raw=Examples(ROWS, CLASSES, n_test=40, scaling="none"))
    assert rows(task, "test") == list(range(160, 200))
    assert sizes(task) == [136, 24, 40]


def test_a_validation_split_that_the_source_fixes_is_kept():
    task = Toy(raw=Examples(ROWS, CLASSES, n_test=40, n_validation=25, scaling="none"))
    assert rows(task, "validation") == list(range(135, 160))
    assert rows(task, "test") == list(range(160, 200))
    assert sorted(rows(task)) == list(range(135))
    drawn_test = Toy(raw=Examples(ROWS, CLASSES, n_validation=25, scaling="none"))
    assert rows(drawn_test, "validation") == list(range(175, 200))
    assert sizes(drawn_test) == [149, 25, 26]
    assert sorted(rows(drawn_test) + rows(drawn_test, "test")) == list(range(175))


@pytest.mark.parametrize("split", SPLITS)
def test_splits_hold_the_classes_in_proportion(split):
    counts = targets(Toy(), split).bincount().numpy()
    expected = np.array(CLASS_SIZES) * counts.sum() / 200
    assert np.abs(counts - expected).max() < 1.5


def test_every_stretch_of_a_stratified_order_is_stratified():
    classes = np.random.default_rng(1).permutation(np.repeat(np.arange(5), (10, 40, 80, 120, 250)))
    order = data.stratified_order(classes, np.random.default_rng(2))
    assert sorted(order) == list(range(500))
    seen = (classes[order][:, None] == np.arange(5)).cumsum(0)
    expected = np.arange(1, 501)[:, None] * np.bincount(classes) / 500
    assert np.abs(seen - expected).max() < 2  # a plain shuffle strays ten


def test_values_are_split_at_random():
    task = values()
    assert sorted(row for split in SPLITS for row in rows(task, split)) == list(range(200))
    assert rows(task) != sorted(rows(task))


def test_each_seed_draws_its_own_split_and_a_split_seed_one_for_all():
    of_seed = [rows(Toy(), "test", seed) for seed in (0, 1, 0)]
    assert of_seed[0] == of_seed[2] != of_seed[1]
    assert rows(Toy(split_seed=4), "test", 0) == rows(Toy(split_seed=4), "test", 9) != of_seed[0]
    together = Toy().at([1, 0]).batch("test", torch.arange(30).unsqueeze(0)).inputs
    assert together.flatten(1).tolist() == [of_seed[1], of_seed[0]]


@pytest.mark.parametrize("split_seed", [None, 3])
@pytest.mark.parametrize("scaling", ["feature", "whole", "none"])
def test_other_inputs_are_prepared_as_those_of_a_batch(scaling, split_seed):
    pixels = np.random.default_rng(0).integers(0, 256, (200, 2, 3, 3), np.uint8)
    made = scaled(scaling, pixels, split_seed=split_seed).at([0, 1])
    places = torch.arange(30).expand(2, -1)
    served, ids = made.batch("test", places).inputs, made.ids("test", places)
    for replica in range(2):
        prepared = made.prepared(torch.from_numpy(pixels[ids[replica]]))
        assert torch.equal(prepared.expand_as(served)[replica], served[replica])


def test_moments_are_those_of_double_precision():
    values = 1000 + np.random.default_rng(0).normal(size=(3000, 2)).astype(np.float32)
    scale = splits.Column(torch.from_numpy(values)).scale(torch.arange(3000).unsqueeze(0), True)
    exact = values.astype(np.float64)
    np.testing.assert_allclose(scale.mean[0, 0], exact.mean(0), rtol=1e-14)
    np.testing.assert_allclose(scale.std[0, 0], exact.std(0), rtol=1e-12)


def test_where_splits_come_from_is_said():
    fixed = Examples(ROWS, CLASSES, n_test=40, n_validation=25, scaling="none")
    for task, origin in (
        (Toy(), "own"),
        (Toy(split_seed=7), "7"),
        (Toy(raw=fixed), "source"),
        (Toy(raw=fixed, split_seed=7), "source"),
        (Toy(raw=replace(fixed, n_validation=None)), "source test"),
        (Toy(raw=replace(fixed, n_validation=None), split_seed=7), "7"),
        (Toy(raw=replace(fixed, n_test=None)), "own"),
    ):
        assert task.at([0, 1]).origin == origin


def test_bad_examples_and_empty_splits_are_refused():
    wrong = ROWS.astype(float)
    wrong[17] = np.nan
    with pytest.raises(
        InputError, match=r"^inputs of test/toy must be finite .*, got nan in row 17, feature 0$"
    ):
        Toy(raw=Examples(wrong, CLASSES)).at([0])
    for n_examples, n_test, split in (
        (3, 1, "validation"),
        (2, None, "validation"),
        (1, 1, "train"),
        (2, 5, "train"),
    ):
        few = Examples(ROWS[:n_examples], CLASSES[:n_examples], n_test, "none")
        with pytest.raises(
            InputError, match=f"^the {split} split of test/toy must be at least 1 example, got 0$"
        ):
            Toy(raw=few).at([0, 1])
    with pytest.raises(
        InputError, match=r"^the validation split of test/toy must be at least 2 examples, got 1$"
    ):
        Toy(kind=TargetKind.VALUES, raw=Examples(ROWS[:8], VALUES[:8])).at([0])


# --------------------------------------------------------------------------------------------------


def test_smaller_training_parts_are_stratified_and_nested():
    sizes = (6, 20, 70)
    parts = [set(rows(Toy(train_size=size))) for size in sizes]
    assert [len(part) for part in parts] == list(sizes)
    assert parts[0] < parts[1] < parts[2] < set(rows(Toy()))
    for size in sizes:
        counts = targets(Toy(train_size=size)).bincount(minlength=3).numpy()
        assert np.abs(counts - np.array(CLASS_SIZES) * size / 200).max() < 1.5


def test_shots_are_so_many_of_each_class_and_nested():
    for n_shots in (1, 5):
        assert targets(Toy(shots=n_shots)).bincount().tolist() == [n_shots] * 3
    assert set(rows(Toy(shots=1))) < set(rows(Toy(shots=5))) < set(rows(Toy()))


@pytest.mark.parametrize("setting", [{"train_size": 20}, {"shots": 2}])
def test_thinning_leaves_the_other_splits_alone(setting):
    for split in ("validation", "test"):
        assert rows(Toy(**setting), split) == rows(Toy(), split)


# --------------------------------------------------------------------------------------------------


def test_each_feature_is_scaled_by_the_training_part():
    features = inputs(scaled("feature"))
    torch.testing.assert_close(features.mean(0), torch.zeros(2, 1, 1), atol=1e-6, rtol=0)
    torch.testing.assert_close(features.std(0, correction=0), torch.ones(2, 1, 1))


def test_values_go_back_into_the_units_they_came_in():
    splits = Toy(kind=TargetKind.VALUES, raw=Examples(ROWS, VALUES * 1.0, scaling="none")).at(
        [3, 8]
    )
    indices = torch.arange(139).unsqueeze(0)
    back = splits.in_units(splits.batch("train", indices).targets)
    raw = torch.from_numpy(VALUES[splits.ids("train", indices)]).float()
    torch.testing.assert_close(back, raw, rtol=1e-5, atol=1e-4)
    classes = torch.tensor([[2, 0]])
    assert torch.equal(Toy().at([0]).in_units(classes), classes)


def test_predicted_distributions_go_back_into_the_units_of_their_values(close):
    spread = VALUES + np.array([0.0, 5.0])
    raw = Examples(ROWS, spread, scaling="none")
    task = Toy(kind=TargetKind.DISTRIBUTIONS, raw=raw)
    splits = task.at([3, 8])
    places = torch.arange(splits.size("train")).unsqueeze(0)
    answers = splits.batch("train", places).targets  # (2, 140, 2): means that are right
    outputs = torch.cat([answers, torch.zeros_like(answers)], -1)
    found = splits.in_units(outputs)
    rows = splits.ids("train", places).numpy()
    np.testing.assert_allclose(found[..., :2], spread[rows], rtol=1e-5, atol=1e-4)
    # a log-variance of 0, in units
    variance = spread[rows].var(1)
    np.testing.assert_allclose(found[..., 2:].exp()[:, 0], variance, rtol=1e-5)
    scores = task.score(outputs, answers)
    loss = torch.full((2,), np.log(2 * np.pi), dtype=torch.float64)  # of two values
    close(scores["nll_loss"], loss)
    close(scores["log_likelihood_score"], -loss)


@pytest.mark.parametrize("constant", [14.62, -0.1, 1e5, 3.3e-7])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_feature_that_varies_in_held_out_examples_alone_is_only_shifted(constant, seed):
    plain = Toy(split_seed=seed)
    odd = int(inputs(plain, "test")[0, 0])
    feature = np.full((200, 1), constant)
    feature[odd] += 0.01
    task = Toy(split_seed=seed, raw=Examples(feature, CLASSES, scaling="feature"))
    assert inputs(task).tolist() == [[0.0]] * len(inputs(task))
    held_out = inputs(task, "test").flatten()
    assert held_out[0].item() == pytest.approx(0.01, rel=1e-4)
    assert held_out[1:].tolist() == [0.0] * (len(held_out) - 1)


def test_images_are_scaled_as_one():
    pixels, raw = inputs(scaled("whole")).flatten(), inputs(scaled("none")).flatten()
    assert pixels.mean().item() == pytest.approx(0, abs=1e-6)
    assert pixels.std(correction=0).item() == pytest.approx(1)
    torch.testing.assert_close(pixels, (raw - raw.mean()) / raw.std(correction=0))


@pytest.mark.parametrize("scaling", ["feature", "whole"])
def test_held_out_examples_do_not_touch_the_scale(scaling):
    raw = scaled(scaling).raw.inputs.copy()
    raw[[row for split in ("validation", "test") for row in rows(Toy(), split)]] *= -50
    assert torch.equal(inputs(scaled(scaling, raw)), inputs(scaled(scaling)))
    assert not torch.equal(inputs(scaled(scaling, raw), "test"), inputs(scaled(scaling), "test"))


def test_what_is_thinned_away_does_not_touch_the_scale():
    features = inputs(scaled("feature", train_size=10))
    torch.testing.assert_close(features.mean(0), torch.zeros(2, 1, 1), atol=1e-6, rtol=0)


@pytest.mark.parametrize("split_seed", [0, None])
@pytest.mark.parametrize("scaling", ["feature", "whole"])
def test_a_constant_feature_becomes_zero_whatever_its_value(scaling, split_seed):
    """A mean is not always equal to the equal numbers it is of: their deviation is no spread."""
    constants = np.arange(1, 1000) / 100
    tables = [np.full((200, 2), c) for c in constants[::37]]
    if scaling == "feature":
        tables = [np.tile(constants, (200, 1))]
    for table in tables:
        held_out = int(
            scaled("none", ROWS * 1.0, split_seed=split_seed)
            .at([0])
            .ids("test", torch.tensor([[0]]))
        )
        table[held_out] += 0.01
        task = scaled(scaling, table, split_seed=split_seed)
        assert inputs(task).eq(0).all()
        np.testing.assert_allclose(inputs(task, "test")[0], 0.01, rtol=2e-4)


def test_a_spread_that_is_rounding_is_no_spread_and_a_small_one_is():
    noisy = np.where(ROWS % 2, 0.1 + 0.2, 0.3)
    assert inputs(scaled("feature", noisy)).abs().max() < 1e-15
    small = 1e6 + 1e-6 * ROWS
    torch.testing.assert_close(inputs(scaled("feature", small)).std(0, correction=0), torch.ones(1))


def test_each_replica_is_scaled_by_its_own_training_part():
    raw = np.random.default_rng(1).normal(5, 2, (200, 3)) ** 3
    for scaling, axis in (("feature", 0), ("whole", None)):
        task, seeds = scaled(scaling, raw), [4, 5]
        splits = task.at(seeds)
        for replica in range(2):
            ids = {
                split: splits.ids(split, torch.arange(splits.size(split)).unsqueeze(0))[replica]
                for split in SPLITS
            }
            train = raw[ids["train"]]
            for split in SPLITS:
                batch = splits.batch(split, torch.arange(splits.size(split)).unsqueeze(0))
                expected = (raw[ids[split]] - train.mean(axis)) / train.std(axis)
                np.testing.assert_allclose(batch.inputs[replica], expected, rtol=2e-5, atol=2e-6)


def test_values_are_standardised_by_the_training_part():
    standardised = targets(values())
    torch.testing.assert_close(standardised.mean(0), torch.zeros(2), atol=1e-6, rtol=0)
    torch.testing.assert_close(standardised.std(0, correction=0), torch.ones(2))
    scale = VALUES[[int(row) for row in rows(values())]]
    expected = (VALUES[[int(row) for row in rows(values(), "test")]] - scale.mean(0)) / scale.std(0)
    np.testing.assert_allclose(targets(values(), "test"), expected, rtol=1e-5)


# --------------------------------------------------------------------------------------------------


def test_labels_are_replaced_uniformly_and_nested():
    labels = np.zeros(30_000, np.int64)
    replaced = []
    for fraction in (0.0, 0.3, 0.6, 1.0):
        noisy = data.replace_labels(labels, fraction, 3, np.random.default_rng(0))
        assert np.bincount(noisy, minlength=3)[1:] / 30_000 == pytest.approx(
            [fraction / 3] * 2, abs=0.01
        )
        replaced.append(set(np.flatnonzero(noisy)))
    assert replaced[0] < replaced[1] < replaced[2] < replaced[3]
    marks = np.arange(-100, 0)  # none of which is drawn
    noisy = data.replace_labels(marks, 0.29, 3, np.random.default_rng(0))
    assert (noisy >= 0).sum() == 29  # 28.999... in binary
    assert (noisy[noisy < 0] == marks[noisy < 0]).all()


def test_label_noise_stays_in_the_training_part():
    noisy = Toy(label_noise=1.0)
    assert rows(noisy) == rows(Toy())
    assert not torch.equal(targets(noisy), targets(Toy()))
    for split in ("validation", "test"):
        assert torch.equal(targets(noisy, split), targets(Toy(), split))


@pytest.mark.parametrize("make", [Toy, values])
def test_validation_targets_may_be_noisy_too(make):
    noisy, clean = make(label_noise=1.0, noisy_validation=True), make()
    assert torch.equal(targets(noisy), targets(make(label_noise=1.0)))
    assert not torch.equal(targets(noisy, "validation"), targets(clean, "validation"))
    assert torch.equal(targets(noisy, "test"), targets(clean, "test"))
    assert torch.equal(
        targets(make(noisy_validation=True), "validation"), targets(clean, "validation")
    )


def test_each_replica_has_other_noise():
    for make in (Toy, values):
        both = (
            make(label_noise=0.7, train_size=100)
            .at([3, 4])
            .batch("train", torch.arange(100).unsqueeze(0))
            .targets
        )
        for replica, seed in enumerate((3, 4)):
            assert torch.equal(
                both[replica], targets(make(label_noise=0.7, train_size=100), seed=seed)
            )


@pytest.mark.parametrize("split_seed", [0, None])
def test_values_come_back_in_their_own_units(split_seed):
    splits, indices = values(split_seed=split_seed).at([0, 1]), torch.arange(30).unsqueeze(0)
    back = splits.in_units(splits.batch("test", indices).targets)
    np.testing.assert_allclose(back, VALUES[splits.ids("test", indices)], rtol=1e-5)
    assert back.dtype is torch.float32
    labels = Toy().at([0]).batch("test", indices).targets
    assert Toy().at([0]).in_units(labels) is labels


def test_noise_of_values_has_the_given_deviation():
    noise = targets(values(label_noise=0.5)) - targets(values())
    assert noise.std().item() == pytest.approx(0.5, rel=0.1)
    assert torch.equal(targets(values(label_noise=0.5), "test"), targets(values(), "test"))


# --------------------------------------------------------------------------------------------------


def test_each_replica_has_its_own_examples():
    indices = torch.tensor([[3, 1, 3], [0, 2, 139]])
    batch = Toy(split_seed=0).at([0, 1]).batch("train", indices)
    assert torch.equal(batch.inputs, inputs(Toy(split_seed=0))[indices])
    assert torch.equal(batch.targets, targets(Toy(split_seed=0))[indices])
    each = Toy().at([3, 8]).batch("train", indices)
    for replica, seed in enumerate((3, 8)):
        assert torch.equal(each.inputs[replica], inputs(Toy(), seed=seed)[indices[replica]])
        assert torch.equal(each.targets[replica], targets(Toy(), seed=seed)[indices[replica]])


@pytest.mark.parametrize(
    "task", [Toy(label_noise=0.7), values(label_noise=0.7)], ids=["classes", "values"]
)
def test_a_replicas_noise_is_its_seeds_alone(task):
    splits = task.at([3, 8])
    together = splits.batch("train", torch.arange(splits.size("train")).unsqueeze(0)).targets
    assert torch.equal(together, torch.stack([targets(task, seed=seed) for seed in (3, 8)]))


def test_a_split_is_drawn_from_the_seeds_own_stream_and_says_so():
    assert (
        inputs(Toy(), seed=5).tolist() == inputs(Toy(split_seed=derive_seed("split", 5))).tolist()
    )
    assert [Toy().at([5]).origin, Toy(split_seed=4).at([5]).origin] == ["own", "4"]
    fixed = {"n_test": 40, "n_validation": 20}
    assert Toy(raw=replace(RAW, n_test=40)).at([5]).origin == "source test"
    assert Toy(raw=replace(RAW, **fixed)).at([5]).origin == "source"


@pytest.mark.parametrize("ahead", [1, 12, 8192])
@pytest.mark.parametrize("given", [{}, {"label_noise": 0.9}, {"split_seed": 3}])
def test_training_batches_are_the_examples_as_augmented_at_each_visit(given, ahead, monkeypatch):
    class Noisy(Toy):
        def augment(self, inputs, rng):
            return inputs + 1 + rng.integers(5, inputs.shape[1]).unsqueeze(-1)

    monkeypatch.setattr(splits, "AHEAD", ahead)
    indices, stream = (
        Stream("data", [0, 1]).integers(140, 15).view(2, 5, 3).transpose(0, 1),
        Stream("augment", [0, 1]),
    )
    visits = Noisy(**given).at([0, 1]).training(indices, Stream("augment", [0, 1]))
    for chosen, visit in zip(indices, visits, strict=True):
        batch = Toy(**given).at([0, 1]).batch("train", chosen)
        assert torch.equal(visit.inputs, batch.inputs + 1 + stream.integers(5, 3).unsqueeze(-1))
        assert torch.equal(visit.targets, batch.targets)


def test_a_checksum_tells_raw_data_apart_and_nothing_else():
    for same in (
        Toy(split_seed=1),
        Toy(label_noise=0.5),
        Toy(train_size=139),
        Toy(raw=replace(RAW, n_test=40)),
    ):
        assert same.checksum() == Toy().checksum()
    others = (
        (ROWS + (ROWS == 199), CLASSES),
        (ROWS, CLASSES % 2),
        (ROWS[:, :, None], CLASSES),
        (ROWS * 1.0, CLASSES),
    )
    checksums = {Toy(raw=Examples(*arrays, scaling="none")).checksum() for arrays in others}
    assert len({Toy().checksum(), *checksums}) == 5


# -------------------------------------------------------------------------------------------------


def test_the_source_is_whole_and_clean():
    task = Toy(label_noise=1.0, shots=1, split_seed=2)
    assert list(task.sources) == ["twins"]
    source = task.source("twins")
    assert source.spec == replace(task.spec, name="test/toy (twins)")
    assert [row - 1000 for row in rows(source)] == rows(Toy(split_seed=2))
    assert torch.equal(targets(source), targets(Toy(split_seed=2)))


def test_selected_classes_are_counted_from_zero_and_keep_the_fixed_test_split():
    raw = Examples(ROWS, CLASSES, n_test=40, n_validation=25, scaling="none")
    kept = data.select_classes(raw, range(1, 3))
    mine = np.flatnonzero(CLASSES > 0)
    assert kept.inputs[:, 0].tolist() == mine.tolist()
    assert (kept.targets + 1).tolist() == CLASSES[mine].tolist()
    assert kept.n_test == (mine >= 160).sum()
    assert kept.n_validation == ((mine >= 135) & (mine < 160)).sum()
    assert data.select_classes(RAW, range(1, 3)).n_test is None
    assert kept.scaling == "none"


# -------------------------------------------------------------------------------------------------


def test_a_move_by_hand():
    signal = torch.tensor([1, 2, 3, 4]).repeat(1, 3, 1)
    steps = torch.tensor([[1, 0, -2]])
    assert augment.move(signal, 2, steps, 0).tolist() == [
        [[0, 1, 2, 3], [1, 2, 3, 4], [3, 4, 0, 0]]
    ]
    assert augment.move(signal, 2, steps, None).tolist() == [
        [[4, 1, 2, 3], [1, 2, 3, 4], [3, 4, 1, 2]]
    ]


def test_each_example_of_each_replica_moves_along_its_own_axis():
    images = torch.arange(2 * 3 * 2 * 2).view(2, 3, 1, 2, 2)
    down = augment.move(images, 3, torch.tensor([[1, 0, 0], [0, 0, -1]]), -1)
    assert down[0, 0, 0].tolist() == [[-1, -1], [0, 1]]
    assert down[1, 2, 0].tolist() == [[22, 23], [-1, -1]]
    assert torch.equal(down[0, 1:], images[0, 1:])
    right = augment.move(images, 4, torch.tensor([[1, 0, 0], [0, 0, 0]]), -1)
    assert right[0, 0, 0].tolist() == [[-1, 0], [-1, 2]]


def test_jitter_draws_every_step_equally_and_noise_of_the_given_deviation():
    impulse = torch.zeros(2, 5000, 9)
    impulse[..., 4] = 1
    moved = augment.jitter(impulse, Stream("augment", [0, 1]), 2, (2,), 0.0, 0.0)
    share = moved.mean(1)
    torch.testing.assert_close(share[:, 2:7], torch.full((2, 5), 0.2), atol=0.02, rtol=0)
    assert share[:, :2].sum() == share[:, 7:].sum() == 0
    noisy = augment.jitter(impulse, Stream("augment", [0, 1]), 0, (2,), 0.0, 0.3)
    assert (noisy - impulse).std().item() == pytest.approx(0.3, rel=0.02)
    assert augment.jitter(impulse, Stream("augment", [0, 1]), 0, (2,), 0.0, 0.0) is impulse


def test_a_replica_is_varied_alone_as_in_the_stack():
    images = Stream("test", [0, 1, 2]).normal(20, 1, 8, 8)
    stacked = augment.jitter(images, Stream("augment", [4, 5, 6]), 2, (3, 4), 0.0, 0.1)
    alone = augment.jitter(images[1:2], Stream("augment", [5]), 2, (3, 4), 0.0, 0.1)
    assert torch.equal(stacked[1:2], alone)


# -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "settings", "message"),
    [
        (Toy, {"split_seed": -1}, "split_seed must be an integer >= 0, or null, got -1"),
        (Toy, {"split_seed": True}, "split_seed must be an integer >= 0, or null, got True"),
        (Toy, {"train_size": 0}, "train_size must be an integer >= 1, or null, got 0"),
        (Toy, {"shots": 1.5}, "shots must be an integer >= 1, or null, got 1.5"),
        (Toy, {"shots": 2, "train_size": 9}, "shots must be null where train_size is set, got 2"),
        (values, {"shots": 2}, "shots must be null for a task without classes, got 2"),
        (Toy, {"label_noise": 1.1}, "label_noise must be in [0, 1], got 1.1"),
        (Toy, {"label_noise": float("nan")}, "label_noise must be >= 0, got nan"),
        (Toy, {"noisy_validation": "no"}, "noisy_validation must be true or false, got 'no'"),
        (values, {"label_noise": float("inf")}, "label_noise must be finite and >= 0, got inf"),
    ],
)
def test_bad_settings_are_refused_at_once(make, settings, message):
    with pytest.raises(InputError) as caught:
        make(**settings)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"shots": 99}, "shots must be at most 21, the smallest class of test/toy, got 99"),
        (
            {"train_size": 141},
            "train_size must be at most 140, the training part of test/toy, got 141",
        ),
    ],
)
def test_what_only_shows_with_the_data_is_refused_before_training(settings, message):
    task = Toy(**settings)
    for split_seed in (None, 3):
        with pytest.raises(InputError) as caught:
            replace(task, split_seed=split_seed).at([0, 1])
        assert str(caught.value) == message


def test_an_unknown_split_is_refused():
    with pytest.raises(
        InputError, match=r"^split must be one of train, validation, test; got 'dev'$"
    ):
        Toy().at([0]).size("dev")
