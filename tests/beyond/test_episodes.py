"""Oracles: a family whose examples can be told by heart, and adaptation row by row."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch

from beyond.architectures.mlp import MLP
from beyond.contracts import Episode, TargetKind, TaskSpec
from beyond.data.episodes import EpisodeTask
from beyond.errors import InputError
from beyond.kits.optimizers import SGD
from beyond.ledger import Budget
from beyond.run.loop import train
from beyond.run.setup import Setup
from beyond.streams import Stream
from methods.backprop import Backprop

FAULTS = [
    # training episodes show the same examples at every visit; those of other families
    (
        "beyond/data/episodes.py",
        "rng.uniform(rows.shape[1], *draws.shape[2:])",
        "pick(draws, rows)",
    ),
    (
        "beyond/data/episodes.py",
        "self._shown(pick(families, rows), fresh",
        "self._shown(pick(families, indices[0]), fresh",
    ),
    ("beyond/data/episodes.py", "n_query * indices.unsqueeze(2)", "indices.unsqueeze(2)"),
    ("beyond/data/episodes.py", "count * (seed % (2**31 // count))", "seed % (2**31 // count)"),
    (
        "beyond/data/episodes.py",
        "self.families(split, size, rng)[kept] for",
        "self.families(split, len(range(size)[kept]), rng) for",
    ),
    ("beyond/data/episodes.py", "replace(self, train_size=None)._make", "self._make"),
    # an episode counts as one example: in an epoch, in a run's sizes, in a prediction's cost
    (
        "beyond/run/training.py",
        "n_examples = n_train * task.spec.n_passed",
        "n_examples = n_train",
    ),
    (
        "beyond/run/evaluation.py",
        "return self.splits.size(split) * self.task.spec.n_scored",
        "return self.splits.size(split)",
    ),
    (
        "beyond/run/evaluation.py",
        "flops = ledger.flops / n_answers",
        'flops = ledger.flops / self.splits.size("test")',
    ),
    (
        "beyond/run/evaluation.py",
        "meter.activity.get(name, none) / n_answers",
        'meter.activity.get(name, none) / self.splits.size("test")',
    ),
]


@dataclass(frozen=True, kw_only=True)
class Slopes(EpisodeTask):
    """y = slope x: an episode is a slope."""

    SIZES: ClassVar = {"train": 20, "validation": 5, "test": 7}
    N_DRAWS: ClassVar = 2

    @property
    def spec(self):
        return TaskSpec(
            "test/slopes",
            (2,),
            1,
            TargetKind.VALUES,
            MLP((3,)),
            "r2_score",
            (0.1, 0.5, 0.9),
            episode=Episode(2, 3),
        )

    def families(self, split, n_episodes, rng):
        return rng.random((n_episodes, 1), np.float32)

    def examples(self, families, draws):
        return draws, families.unsqueeze(2) * draws.sum(-1, keepdim=True)


def test_an_episode_keeps_its_family_and_its_order():
    splits, indices = Slopes(split_seed=0).at([5, 6]), torch.tensor([[4, 0], [1, 4]])
    batch = splits.batch("train", indices)
    assert batch.inputs.shape == (2, 6, 2)
    assert batch.support.inputs.shape == (2, 4, 2)
    slopes = splits.parts["train"][0][0, indices]  # (R, E, 1)
    for part, size in ((batch, 3), (batch.support, 2)):
        expected = slopes.repeat_interleave(size, 1) * part.inputs.sum(2, keepdim=True)
        torch.testing.assert_close(part.targets, expected)
    assert torch.equal(batch.inputs[0, :3], batch.inputs[1, 3:])
    drawn = splits.parts["train"][1][0, 4]
    assert torch.equal(torch.cat([batch.support.inputs[0, :2], batch.inputs[0, :3]]), drawn)


def test_fresh_examples_are_of_the_same_families():
    splits, indices = Slopes().at([0]), torch.arange(20).view(2, 1, 10)
    for chosen, batch in zip(
        indices, splits.training(indices, Stream("augment", [0])), strict=True
    ):
        assert not torch.isin(batch.inputs, splits.batch("train", chosen).inputs).any()
        slopes = (batch.targets / batch.inputs.sum(2, keepdim=True)).view(10, 3)
        torch.testing.assert_close(slopes, splits.parts["train"][0][0, chosen[0]].expand(10, 3))


def test_splits_have_families_of_their_own_and_small_training_sets_are_nested():
    splits, small = Slopes().at([0, 1]), Slopes(train_size=6).at([0, 1])
    families = [splits.parts[split][0] for split in ("train", "validation", "test")]
    assert len(torch.cat(families, 1).unique()) == 64  # nor do two seeds share any
    assert all(
        torch.equal(*pair)
        for pair in zip(
            small.parts["train"], (p[:, :6] for p in splits.parts["train"]), strict=True
        )
    )
    assert small.size("train") == 6
    with pytest.raises(
        InputError,
        match=r"^train_size must be at most 20, the training part of test/slopes, got 21$",
    ):
        Slopes(train_size=21).at([0])
    with pytest.raises(
        InputError, match=r"^split must be one of train, validation, test; got 'tset'$"
    ):
        Slopes().at([0]).size("tset")


def test_the_checksum_covers_queries_and_support_and_no_seed():
    class Doubled(Slopes):
        def examples(self, families, draws):
            inputs, targets = super().examples(families, draws)
            return inputs, 2 * targets

    whole = Slopes().checksum()
    assert (
        whole
        == Slopes(split_seed=1).checksum()
        == Slopes(train_size=6).checksum()
        != Doubled().checksum()
    )


def test_each_replica_has_the_episodes_of_its_seed():
    splits, indices = Slopes().at([7, 8]), torch.tensor([[4, 0], [1, 4]])
    both = splits.batch("test", indices)
    for replica, seed in enumerate((7, 8)):
        alone = Slopes().at([seed]).batch("test", indices[replica : replica + 1])
        assert torch.equal(alone.inputs[0], both.inputs[replica])
        assert torch.equal(alone.support.targets[0], both.support.targets[replica])
    assert [Slopes().at([7]).origin, Slopes(split_seed=3).at([7]).origin] == ["own", "3"]


def test_a_query_has_one_number_wherever_its_split_is_drawn_and_no_other_query_has_it():
    every = torch.arange(7).unsqueeze(0)
    assert Slopes(split_seed=0).at([7, 8]).ids("test", torch.tensor([[4, 0]])).tolist() == [
        [12, 13, 14, 0, 1, 2]
    ]
    next_to = [Slopes(split_seed=seed).at([0]).ids("test", every) for seed in range(3)]
    assert len(torch.cat(next_to).unique()) == 3 * 7 * 3
    both = Slopes().at([7, 8]).ids("test", every)
    assert len(both.unique()) == 2 * 7 * 3
    assert 0 <= both.min() <= both.max() < 2**31
    assert torch.equal(both[1:], Slopes().at([8]).ids("test", every))


class Counting(Backprop):
    """Says that each of its answers is a spike."""

    def predict(self, state, problem, batch):
        problem.count(spikes=torch.full(batch.inputs.shape[:1], float(batch.inputs.shape[1])))
        return super().predict(state, problem, batch)


def test_the_examples_of_a_run_are_the_queries_of_its_episodes():
    task = Slopes()
    network = task.spec.network.build(task.spec)
    method = Counting(SGD(learning_rate=0.1), batch_size=4)  # episodes
    *_, last = train(Setup(method, task, network, [0, 1], Budget("epochs", 2)))
    for row in last.runs:
        assert [row[f"n_{split}"] for split in task.SIZES] == [20 * 3, 5 * 3, 7 * 3]
        assert row["steps"] == 2 * 20 / 4
        assert row["forward"] == 2 * 20 * 3
        assert row["epochs"] == 2
        assert row["inference_flops"] == network.forward_flops
        assert row["inference_spikes"] == 1
