"""A chain of states, with a small reward at the near end and a large one at the far end.

An episode begins in the second of N states. One action leads towards the last state, the other
towards the first. Only who is in the last state and goes on towards it earns 1, at each such step;
who is in the first and stays earns 0.001. Actions at random reach the far end in time in hardly
more than 2^-(N - 2) of all episodes.

Source      Osband, Blundell, Pritzel & Van Roy, "Deep exploration via bootstrapped DQN", NeurIPS
            2016, arXiv:1602.04621, section 5. Observations by thermometer, and episodes of N + 8
            steps: Plappert et al., "Parameter space noise for exploration", ICLR 2018,
            arXiv:1706.01905, whose best return is 10 at every length.
Licence     None needed: there is nothing but the rule above.
Examples    A start of an episode; all begin alike. An observation is N = 20 (or `length`) numbers,
            1 for the state and those before it and 0 for the others.
Splits      8 train, 32 validation, 100 test starts, of 2^28 each; training draws fresh ones. All
            are the same.
Chance      0.027 and less, for always going back; 0.006, for actions at random.
Ceiling     10, for always going on: 10 steps of an episode are left when the last state is reached.
Reference   Measured here: going on 10, going back 0.027.
"""

from typing import Annotated, ClassVar

import torch
from annotated_types import Ge
from torch import Tensor

from beyond.architectures.mlp import MLP
from beyond.contracts import TargetKind
from beyond.data.worlds import ControlTask, Space
from beyond.settings import settings

AT_THE_END = 10  # steps that are left to who has hurried there
NEAR, FAR = 0.001, 1.0  # rewards


@settings(kw_only=True)
class Chain(ControlTask):
    """Go on to the end of a chain, past a small reward that is near.

    Parameters
    ----------
    length : int, >= 3
        States.
    """

    NETWORK: ClassVar = MLP(hidden=(16,), activation="tanh")

    length: Annotated[int, Ge(3)] = 20

    @property
    def name(self) -> str:
        return "control/chain"

    @property
    def returns(self) -> tuple[float, float, float]:
        return 1.0, 5.0, 9.0

    @property
    def world(self) -> "ChainWorld":
        return ChainWorld(self.length)

    @property
    def space(self) -> Space:
        return Space((self.length,), 0, TargetKind.CLASSES, 2)


class ChainWorld:
    """See `beyond.contracts.World`."""

    def __init__(self, length: int) -> None:
        self.length, self.horizon = length, length - 2 + AT_THE_END

    def begin(self, starts: Tensor) -> "Walkers":
        return Walkers(self, starts)


class Walkers:
    """See `beyond.contracts.Lanes`; all end at the same time."""

    def __init__(self, world: ChainWorld, starts: Tensor) -> None:
        self._world, self._n_steps = world, 0
        self._states = torch.ones_like(starts)
        self.alive = torch.ones_like(starts, dtype=torch.bool)
        self.terminated = ~self.alive

    @property
    def observations(self) -> Tensor:
        places = torch.arange(self._world.length, device=self._states.device)
        return (places <= self._states.unsqueeze(1)).float()

    def step(self, actions: Tensor) -> Tensor:
        states, last, on = self._states, self._world.length - 1, actions == 1
        far = torch.where(on & (states == last), FAR, 0.0)
        near = torch.where(~on & (states == 0), NEAR, 0.0)
        earned = (far + near) * self.alive
        moved = (states + torch.where(on, 1, -1)).clamp(0, last)
        self._states = torch.where(self.alive, moved, states)
        self._n_steps += 1
        self.alive = self.alive & (self._n_steps < self._world.horizon)
        return earned
