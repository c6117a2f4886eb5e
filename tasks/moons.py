"""Two moons: which of two interleaved half circles a noisy point in the plane lies on.

    class 0    (cos t, sin t)                t in [0, pi], evenly spaced
    class 1    (1 - cos t, 1/2 - sin t)

Source      scikit-learn's `make_moons` (Pedregosa et al., 2011, JMLR 12, 2825-2830). Drawn here, in
            no time.
Licence     None needed: generated.
Examples    1,000 (or `n_samples`) x 2, half of each class. The unit is a circle's radius; each
            coordinate is scaled to mean 0 and standard deviation 1 over the training part.
Splits      700 train, 150 validation, 150 test, stratified; the noise is in all three.
Chance      0.50.
Reference   Measured here at `split_seed=0`, on the test split: logistic regression 0.860, five
            nearest neighbours 1.000. The default network trained by backpropagation for 100
            epochs reaches 1.00 on the validation split (mean of 3 seeds).
"""

from typing import Annotated, ClassVar

import numpy as np
from annotated_types import Ge, Interval

from beyond.architectures.mlp import MLP
from beyond.contracts import TargetKind, TaskSpec
from beyond.data.arrays import ArrayTask, Examples
from beyond.settings import NonNegative, settings


@settings(kw_only=True)
class Moons(ArrayTask):
    """Tell two interleaved half circles apart.

    Parameters
    ----------
    n_samples : int, >= 20
        Of all three splits together.
    noise_std : float, >= 0
        Standard deviation of the normal noise on each coordinate, in radii.
    data_seed : int, in [0, 2^32)
        Fixes the draws.
    """

    PACKAGES: ClassVar = ("scikit-learn",)

    n_samples: Annotated[int, Ge(20)] = 1000
    noise_std: NonNegative = 0.1
    # scikit-learn's generator takes 32 bits
    data_seed: Annotated[int, Interval(ge=0, lt=1 << 32)] = 0

    @property
    def spec(self) -> TaskSpec:
        return TaskSpec(
            name="tabular/moons",
            input_shape=(2,),
            n_outputs=2,
            target_kind=TargetKind.CLASSES,
            network=MLP(hidden=(32,)),
            score="accuracy_score",
            levels=(0.90, 0.95, 0.99),
        )

    def examples(self) -> Examples:
        from sklearn.datasets import make_moons

        points, moons = make_moons(
            self.n_samples, noise=self.noise_std, random_state=self.data_seed
        )
        return Examples(np.asarray(points), np.asarray(moons))
