"""Two lines whose inputs differ a thousandfold: no mutation suits the weights of both.

    y = (u, v)        x = (100 u, 0.1 v)        (u, v) on few directions, at amplitude a

    easy       (0, a)                   the strong input is silent
    medium     (a, 0) and (0, a)        one input at a time
    washout    (a, a) and (-a, -a)      derivatives of the outputs cancel over examples

The default network is diagonal, y = (w_1 x_1, w_2 x_2), and solves it with w = (0.01, 10).

Source      Lehman, Chen, Clune & Stanley (2018), Safe mutations for deep and recurrent neural
            networks through output gradients, GECCO, arXiv:1712.06563; sm_simple.py in the authors'
            code. Drawn here, in no time.
Licence     None needed: generated.
Examples    40 x 2, in pairs that share an amplitude a, uniform in [0.5, 1.5]; at `spread=0` a is 1,
            and every pair is the source's one, which is all of the training part at `train_size=2
            split_seed=1`. No units; nothing is scaled.
Splits      20 train, 10 validation, 10 test; pairs stay together.
Chance      R2 = 0, for predicting the mean.
Reference   The solution above has R2 = 1 and no error.
"""

from typing import Annotated

import numpy as np

from beyond.architectures.grouped import Grouped
from beyond.contracts import TargetKind, TaskSpec
from beyond.data.arrays import ArrayTask, Examples
from beyond.settings import BelowOne, OneOf, settings

GAINS = np.array([100.0, 0.1])
CASES = {
    "easy": [[0.0, 1.0], [0.0, 1.0]],
    "medium": [[1.0, 0.0], [0.0, 1.0]],
    "washout": [[1.0, 1.0], [-1.0, -1.0]],
}
N_PAIRS, N_HELD_OUT = 20, 10  # pairs in all; examples of each held-out split


@settings(kw_only=True)
class Gains(ArrayTask):
    """Undo two gains.

    Parameters
    ----------
    case : {"easy", "medium", "washout"}
        The two examples of a pair, see above.
    spread : float in [0, 1)
        Amplitudes are uniform in [1 - spread, 1 + spread].
    """

    case: Annotated[str, OneOf(CASES)] = "medium"
    spread: BelowOne = 0.5

    @property
    def spec(self) -> TaskSpec:
        return TaskSpec(
            name="regression/gains",
            input_shape=(2,),
            n_outputs=2,
            target_kind=TargetKind.VALUES,
            network=Grouped(n_groups=2),
            score="r2_score",
            levels=(0.50, 0.90, 0.99),
        )

    def examples(self) -> Examples:
        amplitudes = 1 + self.spread * np.random.default_rng(0).uniform(-1, 1, N_PAIRS)
        targets = np.concatenate([a * np.array(CASES[self.case]) for a in amplitudes])
        return Examples(
            GAINS * targets, targets, N_HELD_OUT, "none", N_HELD_OUT, target_scaling="none"
        )
