import numpy as np
import pytest
import torch

from beyond import catalog
from beyond.errors import InputError
from beyond.kits.variation import sensitivities
from beyond.problem import Problem

PAIRS = {"easy": [(0, 1), (0, 1)], "medium": [(1, 0), (0, 1)], "washout": [(1, 1), (-1, -1)]}


@pytest.mark.parametrize("case", PAIRS)
def test_without_spread_every_pair_is_the_sources(case):
    raw = catalog.load("task", "regression/gains", case=case, spread=0.0).examples()
    np.testing.assert_array_equal(raw.targets, PAIRS[case] * 20)
    np.testing.assert_allclose(raw.inputs, raw.targets * (100, 0.1))


@pytest.mark.parametrize("case", PAIRS)
def test_the_training_part_can_be_the_sources(case):
    task = catalog.load(
        "task", "regression/gains", case=case, spread=0.0, train_size=2, split_seed=1
    )
    targets = task.at([0]).batch("train", torch.arange(2).unsqueeze(0)).targets[0]
    assert sorted(map(tuple, targets.tolist())) == sorted(PAIRS[case])


@pytest.mark.parametrize("case", PAIRS)
def test_amplitudes_spread_and_pairs_stay_together(case):
    task = catalog.load("task", "regression/gains", case=case)
    raw = task.examples()
    amplitudes = np.abs(raw.targets).max(1).reshape(-1, 2)
    np.testing.assert_allclose(amplitudes[:, 0], amplitudes[:, 1])
    assert 0.5 < amplitudes.min() < 0.6 < 1.4 < amplitudes.max() < 1.5
    for split in ("train", "validation", "test"):
        batch = task.at([0]).batch(split, torch.arange(task.at([0]).size(split)).unsqueeze(0))
        of_split = batch.targets[0].abs().amax(1).unique(return_counts=True)[1]
        assert set(of_split.tolist()) == {2}


@pytest.mark.parametrize("case", PAIRS)
def test_the_default_network_solves_it(case):
    task = catalog.load("task", "regression/gains", case=case)
    batch = task.at([0]).batch("train", torch.arange(task.at([0]).size("train")).unsqueeze(0))
    network = task.spec.network.build(task.spec)
    scores = task.score(network.outputs(torch.tensor([[0.01, 10.0]]), batch.inputs), batch.targets)
    assert scores["squared_error_loss"].item() == pytest.approx(0, abs=1e-10)


def test_derivatives_cancel_in_washout_alone():
    together = {}
    for case in PAIRS:
        task = catalog.load("task", "regression/gains", case=case)
        batch = task.at([0]).batch("train", torch.arange(task.at([0]).size("train")).unsqueeze(0))
        problem = Problem(task.spec.network.build(task.spec), task.spec)
        candidates = torch.ones(1, 1, 2)
        together[case] = sensitivities(candidates, problem, batch.inputs, apart=False)[
            0, 0
        ] / task.at([0]).size("train")
        apart = sensitivities(candidates, problem, batch.inputs, apart=True)[0, 0]
        np.testing.assert_allclose(apart, batch.inputs[0].abs().mean(0), rtol=1e-5)
    assert together["washout"].abs().max() < 1e-5
    assert together["easy"][0] == 0
    assert (together["medium"] > torch.tensor([10, 0.01])).all()


def test_bad_settings_are_refused():
    for setting, value in (("case", "hard"), ("spread", 1.0)):
        with pytest.raises(InputError, match=f"^{setting} must be"):
            catalog.load("task", "regression/gains", **{setting: value})
