"""Drive a weak car out of a valley (Moore, 1990): nothing is earned on the way.

Source      `MountainCar-v0` of Gymnasium 1.4 (Towers et al., 2024, arXiv:2407.17032). Efficient
            memory-based learning for robot control, thesis, University of Cambridge.
Licence     MIT.
Examples    A start of an episode: at rest near the bottom, from -0.6 to -0.4. An observation is 2
            numbers, position and velocity, not scaled; an action accelerates to the left, not, or
            to the right. Each step earns -1 until the flag at 0.5 is reached; an episode is cut off
            after 200 steps. Who never reaches it earns -200 whatever he does.
Splits      8 train, 32 validation, 100 test starts, of 2^28 each; training draws fresh ones.
Chance      A mean return of -200, for random actions.
Reference   Measured here at `split_seed=0`, on the test split: accelerating along the velocity
            -134; random actions -200.
Published   PPO -200.00 +- 0.00 after 500,000 steps, as good as never (Huang et al., 2022, CleanRL,
            JMLR 23).
"""

from typing import ClassVar

from beyond.architectures.mlp import POLICY
from beyond.data.worlds import GymTask
from beyond.settings import settings


@settings(kw_only=True)
class MountainCar(GymTask):
    """Reach a flag on a hill by swinging back and forth."""

    NETWORK: ClassVar = POLICY
    ID: ClassVar = "MountainCar-v0"
    NAME: ClassVar = "control/mountain_car"
    LEVELS: ClassVar = (-180.0, -150.0, -120.0)
