"""Balance a pole on a cart (Barto, Sutton & Anderson, 1983).

Source      `CartPole-v1` of Gymnasium 1.4 (Towers et al., 2024, arXiv:2407.17032). IEEE
            Transactions on Systems, Man, and Cybernetics 13, 834-846,
            doi:10.1109/TSMC.1983.6313077.
Licence     MIT.
Examples    A start of an episode: cart and pole within 0.05 of rest. An observation is 4 numbers,
            position and velocity of the cart (m, m/s), angle and angular velocity of the pole (rad,
            rad/s), not scaled; an action pushes to the left or to the right. Each step earns 1. An
            episode ends when the cart is 2.4 m from the middle or the pole leans by 12 degrees; it
            is cut off after 500 steps.
Splits      8 train, 32 validation, 100 test starts, of 2^28 each; training draws fresh ones.
Chance      A mean return of 23.5, for random actions.
Reference   500 is the most. Measured here at `split_seed=0`, on the test split: pushing to the side
            of angle + angular velocity 483; random actions 23.5.
Published   PPO 490.04 +- 6.12 after 500,000 steps (Huang et al., 2022, CleanRL, JMLR 23). Solved at
            475, by Gymnasium.
"""

from functools import cache
from typing import Any, ClassVar

import gymnasium
import numpy as np
import torch
from gymnasium.utils.seeding import np_random
from torch import Tensor

from beyond.architectures.mlp import POLICY
from beyond.contracts import Lanes
from beyond.data.worlds import GymTask, GymWorld
from beyond.settings import settings


@settings(kw_only=True)
class CartPole(GymTask):
    """Keep a pole upright by moving the cart that it stands on."""

    NETWORK: ClassVar = POLICY
    ID: ClassVar = "CartPole-v1"
    NAME: ClassVar = "control/cartpole"
    LEVELS: ClassVar = (100.0, 300.0, 475.0)

    @property
    def world(self) -> GymWorld:
        return vectors()


class Vectors(GymWorld):
    """Gymnasium's vectorised environment, in which all carts are one array."""

    def begin(self, starts: Tensor) -> Lanes:
        return Carts(self, starts)


class Carts:
    """See `beyond.contracts.Lanes`. Carts whose episode has ended are pushed on, unseen."""

    def __init__(self, world: Vectors, starts: Tensor) -> None:
        self._space, self._device = world.space, starts.device
        self._carts: Any = gymnasium.make_vec(
            world.id, len(starts), vectorization_mode="vector_entry_point"
        ).unwrapped
        self._carts.reset()
        # where each would begin by itself
        first = [np_random(start)[0].uniform(-0.05, 0.05, 4) for start in starts.tolist()]
        self._carts.state = np.stack(first, 1)
        self.observations = self._told(self._carts.state.T.astype(np.float32))
        self.alive = torch.ones(len(starts), dtype=torch.bool, device=self._device)
        self.terminated = ~self.alive

    def step(self, actions: Tensor) -> Tensor:
        shown, rewards, ended, cut_off, _ = self._carts.step(self._space.actions(actions))
        alive = self.alive
        self.observations = torch.where(alive.unsqueeze(1), self._told(shown), self.observations)
        self.terminated = self.terminated | (alive & self._told(ended))
        self.alive = alive & ~self._told(ended | cut_off)
        return self._told(rewards.astype(np.float32)) * alive

    def _told(self, values: np.ndarray) -> Tensor:
        return torch.from_numpy(values).to(self._device)


@cache
def vectors() -> Vectors:
    """The environment of this task."""
    return Vectors(CartPole.ID)
