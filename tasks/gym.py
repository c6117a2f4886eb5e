"""Act in any environment of Gymnasium: `task=control/gym task.id=LunarLander-v3`.

Source      The environment of that id, with its defaults, if Gymnasium knows it and what it needs
            is installed.
Licence     That of the environment.
Examples    A start of an episode. Observations are numbers (a Box, not scaled, of any shape) or one
            of n symbols; actions one of n, or numbers (a bounded Box of one axis): outputs from -1
            to 1 span its range. An episode that the environment does not cut off is, after 10,000
            steps.
Splits      8 train, 32 validation, 100 test starts, of 2^28 each; training draws fresh ones.
Chance      Not known; `levels` must be given to count what it costs to reach them.
Reference   None.
"""

from typing import ClassVar

from beyond.architectures.mlp import POLICY
from beyond.data.worlds import ControlTask, GymWorld, Space, world_of
from beyond.errors import require
from beyond.settings import Text, settings


@settings(kw_only=True)
class Gym(ControlTask):
    """Act in an environment that nobody described.

    Parameters
    ----------
    id : str
        As Gymnasium knows it; `package:Name-v0` imports the package first.
    levels : tuple of three float
        Mean returns called easy, medium and hard, rising.
    """

    NETWORK: ClassVar = POLICY
    CHOICE: ClassVar = "control/gym"

    id: Text
    levels: tuple[float, float, float] = (0.0, 100.0, 200.0)

    def __post_init__(self) -> None:
        _ = self.space  # refused now if it cannot be acted in
        rising = self.levels[0] < self.levels[1] < self.levels[2]
        require("levels", "three rising numbers", self.levels, rising)

    @property
    def name(self) -> str:
        return f"control/{self.id}"

    @property
    def returns(self) -> tuple[float, float, float]:
        return self.levels

    @property
    def world(self) -> GymWorld:
        return world_of(self.id)

    @property
    def space(self) -> Space:
        return self.world.space
