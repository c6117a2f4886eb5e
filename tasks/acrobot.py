"""Swing a hanging double pendulum up (Sutton, 1996).

Source      `Acrobot-v1` of Gymnasium 1.4 (Towers et al., 2024, arXiv:2407.17032). Advances in
            Neural Information Processing Systems 8, 1038-1044.
Licence     MIT.
Examples    A start of an episode: both links hang, nearly at rest. An observation is 6 numbers,
            cosine and sine of the two angles and the angular velocities (rad/s), not scaled; an
            action turns the joint between the links by -1, 0 or 1 N m. Each step earns -1 until the
            tip is a link's length above the upper joint, which ends the episode with 0; it is cut
            off after 500 steps.
Splits      8 train, 32 validation, 100 test starts, of 2^28 each; training draws fresh ones.
Chance      A mean return of -496, for random actions.
Reference   Measured here at `split_seed=0`, on the test split: turning against the upper link's
            angular velocity -84.5; random actions -496.
Published   PPO -86.36 +- 1.32 after 500,000 steps (Huang et al., 2022, CleanRL, JMLR 23).
"""

from typing import ClassVar

from beyond.architectures.mlp import POLICY
from beyond.data.worlds import GymTask
from beyond.settings import settings


@settings(kw_only=True)
class Acrobot(GymTask):
    """Swing the tip of two links up by turning the joint between them."""

    NETWORK: ClassVar = POLICY
    ID: ClassVar = "Acrobot-v1"
    NAME: ClassVar = "control/acrobot"
    LEVELS: ClassVar = (-300.0, -150.0, -100.0)
