"""Swing a pendulum up and hold it there, by a continuous torque.

Source      `Pendulum-v1` of Gymnasium 1.4 (Towers et al., 2024, arXiv:2407.17032). The form
            is that of OpenAI Gym (Brockman et al., 2016, arXiv:1606.01540).
Licence     MIT.
Examples    A start of an episode: any angle, an angular velocity of at most 1 rad/s. An observation
            is 3 numbers, cosine and sine of the angle and the angular velocity, not scaled; an
            action is a torque, outputs from -1 to 1 for -2 to 2 N m. A step earns minus the squared
            distance from standing still upright, (angle^2 + 0.1 velocity^2 + 0.001 torque^2); an
            episode is cut off after 200 steps.
Splits      8 train, 32 validation, 100 test starts, of 2^28 each; training draws fresh ones.
Chance      A mean return of -1,222, for random actions; -1,195 for none.
Reference   Measured here at `split_seed=0`, on the test split: pumping energy in until it suffices,
            then holding by angle and velocity, -141; random actions -1,222.
"""

from typing import ClassVar

from beyond.architectures.mlp import POLICY
from beyond.data.worlds import GymTask
from beyond.settings import settings


@settings(kw_only=True)
class Pendulum(GymTask):
    """Stand a pendulum up and keep it there."""

    NETWORK: ClassVar = POLICY
    ID: ClassVar = "Pendulum-v1"
    NAME: ClassVar = "control/pendulum"
    LEVELS: ClassVar = (-900.0, -500.0, -250.0)
