"""Skeleton: what is to be learnt, in one line.

Source      Where the data come from. Drawn here, in no time.
Licence     None needed: generated.
Examples    1,000 x 2; each coordinate is scaled to mean 0 and standard deviation 1 over the
            training part.
Splits      700 train, 150 validation, 150 test, stratified.
Chance      0.50.
Reference   A published score, with its source.
"""

import numpy as np

from beyond.architectures.mlp import MLP
from beyond.contracts import TargetKind, TaskSpec
from beyond.data.arrays import ArrayTask, Examples
from beyond.settings import PositiveInt, settings


@settings(kw_only=True)
class Skeleton(ArrayTask):
    """Tell the inside of a circle from the outside.

    Parameters
    ----------
    n_samples : int, >= 1
        Of all three splits together.
    """

    n_samples: PositiveInt = 1000

    @property
    def spec(self) -> TaskSpec:
        return TaskSpec(
            name="skeleton",
            input_shape=(2,),
            n_outputs=2,
            target_kind=TargetKind.CLASSES,
            network=MLP(hidden=(32,)),
            score="accuracy_score",
            levels=(0.80, 0.90, 0.98),
        )

    def examples(self) -> Examples:
        # the same examples in the same order, whenever they are asked for
        points = np.random.default_rng(0).normal(size=(self.n_samples, 2))
        far = np.square(points).sum(1)
        return Examples(points, (far > np.median(far)).astype(np.int64))
