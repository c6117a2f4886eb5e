import pytest
import torch

from beyond import catalog
from beyond.errors import InputError

FAULTS = [
    # paid on arrival, one step early
    ("tasks/chain.py", "(states == last), FAR", "(states >= last - 1), FAR"),
    # both ends pay whoever is there
    ("tasks/chain.py", "~on & (states == 0)", "states == 0"),
    ("tasks/chain.py", "self._world.horizon)", "self._world.horizon - 1)"),
]


def played(length, act):
    """Return of one episode, and what was shown at each step."""
    lanes = catalog.load("task", "control/chain", length=length).world.begin(torch.zeros(1).long())
    earned, shown = 0.0, []
    while lanes.alive.any():
        shown.append(lanes.observations[0])
        earned += lanes.step(torch.tensor([int(act(len(shown)))])).item()
    return earned, torch.stack(shown)


@pytest.mark.parametrize("length", [3, 5, 20])
def test_it_pays_what_the_datasheet_says(length):
    n_steps = length + 8
    on, shown = played(length, lambda time: time > 0)
    assert on == 10
    assert shown.sum(1).tolist() == [min(2 + time, length) for time in range(n_steps)]
    back, shown = played(length, lambda time: time < 1)
    assert back == pytest.approx(0.001 * (n_steps - 1))
    assert shown.sum(1).tolist() == [2, *[1] * (n_steps - 1)]
    turned, _ = played(length, lambda time: time > 1)  # one step back costs two of the ten
    assert turned == 8
    late, _ = played(length, lambda time: time < n_steps)
    assert late == 9


def test_a_chain_without_a_middle_is_refused():
    with pytest.raises(InputError, match=r"^length must be .*>= 3, got 2"):
        catalog.load("task", "control/chain", length=2)
