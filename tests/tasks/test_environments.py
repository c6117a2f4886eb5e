"""The references of `control/...`: rules of thumb, and actions drawn at random."""

import pytest
import torch

from beyond import catalog


def upright(shown):
    return (shown[:, 2] + shown[:, 3] > 0).long()


def against_the_upper_link(shown):
    return torch.where(shown[:, 4] > 0, 0, 2)


def along_the_velocity(shown):
    return torch.where(shown[:, 1] > 0, 2, 0)


def pumping(shown):
    """Energy of a rod of 1 m and 1 kg where g is 10 m/s^2, 0 J where it stands still upright."""
    cosine, sine, velocity = shown.T
    energy = velocity**2 / 6 + 5 * (cosine - 1)
    pumped = velocity.sign() * torch.where(energy < 0, 1.0, -1.0)
    held = -(8 * torch.atan2(sine, cosine) + 2 * velocity)
    return torch.where(cosine > 0.9, held, pumped).clamp(-1, 1).unsqueeze(1)


def at_random(n_actions):
    drawn = torch.Generator().manual_seed(0)

    def act(shown):
        if n_actions:
            return torch.randint(n_actions, (len(shown),), generator=drawn)
        return 2 * torch.rand(len(shown), 1, generator=drawn) - 1

    return act


FAULTS = [("tasks/cartpole.py", "self._told(ended))", "self._told(ended | cut_off))")]


@pytest.mark.parametrize(
    ("name", "act", "score", "error"),
    [
        ("cartpole", upright, 483, 0.5),
        ("cartpole", at_random(2), 23.5, 2),
        ("acrobot", against_the_upper_link, -84.5, 0.5),
        pytest.param("acrobot", at_random(3), -496, 5, marks=pytest.mark.slow),
        ("mountain_car", along_the_velocity, -134, 0.5),
        pytest.param("mountain_car", at_random(3), -200, 0, marks=pytest.mark.slow),
        ("pendulum", pumping, -141, 1),
        pytest.param("pendulum", at_random(0), -1222, 60, marks=pytest.mark.slow),
    ],
)
def test_the_references_are_those_of_the_datasheets(name, act, score, error):
    task = catalog.load("task", f"control/{name}", split_seed=0)
    splits = task.at([0])
    places = torch.arange(splits.size("test")).unsqueeze(0)
    (starts,) = splits.batch("test", places).targets
    lanes, returns = task.world.begin(starts), torch.zeros(len(starts))
    while lanes.alive.any():
        returns += lanes.step(act(lanes.observations))
    assert returns.mean() == pytest.approx(score, abs=error)


def test_a_pole_that_stands_when_time_is_up_has_not_fallen():
    splits = catalog.load("task", "control/cartpole", split_seed=0).at([0])
    (starts,) = splits.batch("test", torch.arange(splits.size("test")).unsqueeze(0)).targets
    lanes = catalog.load("task", "control/cartpole", split_seed=0).world.begin(starts)
    lived = torch.zeros(len(starts))
    while lanes.alive.any():
        lived += lanes.step(upright(lanes.observations))
    assert 0 < (lived < 500).sum() < len(lived)
    assert torch.equal(lanes.terminated, lived < 500)
