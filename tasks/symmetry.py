"""Mirror symmetry: whether a string of bits reads the same from both ends.

    y = [x_i = x_{n + 1 - i} for all i]        bits x_i in {-1, 1}

No bit by itself says anything about the class, and of a symmetric string each half is uniform: a
network must compare the pairs, which takes a hidden layer.

Source      Rumelhart, Hinton & Williams, "Learning representations by back-propagating errors",
            Nature 323, 533-536, 1986: all strings of six bits, and a network of two hidden units.
            Drawn here, in no time, longer, and with as many strings of one class as of the other.
Licence     None needed: generated.
Examples    8,000 (or `n_samples`) distinct strings of 24 (or `n_bits`) bits, the symmetric half of
            them and the others uniform. Not scaled.
Splits      5,600 train, 1,200 validation, 1,200 test, stratified; no string is in two.
Chance      0.50, also for the best linear map.
Ceiling     1.00: the classes follow from the inputs, unless `label_noise` replaces some.
Reference   Measured here at `split_seed=0`, on the test split: logistic regression 0.491, on
            the products of the pairs 1.000.
"""

from typing import Annotated

import numpy as np
from annotated_types import Ge, Interval, MultipleOf

from beyond.architectures.mlp import MLP
from beyond.contracts import TargetKind, TaskSpec
from beyond.data.arrays import ArrayTask, Examples
from beyond.data.bits import strings
from beyond.errors import require
from beyond.settings import NonNegativeInt, settings


@settings(kw_only=True)
class Symmetry(ArrayTask):
    """Tell whether a string of bits is its mirror image.

    Parameters
    ----------
    n_bits : int, in [8, 62]
        Features, each -1 or 1; an even number.
    n_samples : int, >= 20
        Of all three splits together, half of each class; an even number, at most 2^(n_bits / 2 +
        1), which has all symmetric strings.
    data_seed : int, >= 0
        Fixes the draws.
    """

    n_bits: Annotated[int, Interval(ge=8, le=62), MultipleOf(2)] = 24
    n_samples: Annotated[int, Ge(20), MultipleOf(2)] = 8000
    data_seed: NonNegativeInt = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        n_halves = 2 ** (self.n_bits // 2)
        allowed = f"at most {2 * n_halves}, with all symmetric strings of {self.n_bits} bits"
        require("n_samples", allowed, self.n_samples, self.n_samples <= 2 * n_halves)

    @property
    def spec(self) -> TaskSpec:
        return TaskSpec(
            name="synthetic/symmetry",
            input_shape=(self.n_bits,),
            n_outputs=2,
            target_kind=TargetKind.CLASSES,
            network=MLP(hidden=(64,)),
            score="accuracy_score",
            levels=(0.75, 0.95, 0.99),
        )

    def examples(self) -> Examples:
        rng = np.random.default_rng(self.data_seed)
        half, n_each = self.n_bits // 2, self.n_samples // 2
        left = strings(rng.choice(2**half, n_each, replace=False), half)
        # left and right of one of the others are two places apart, never none
        place = rng.choice(2**half * (2**half - 1), n_each, replace=False)
        first, apart = np.divmod(place, 2**half - 1)
        second = (first + 1 + apart) % 2**half
        symmetric = np.concatenate([left, left[:, ::-1]], 1)
        others = np.concatenate([strings(first, half), strings(second, half)[:, ::-1]], 1)
        bits = np.concatenate([others, symmetric])
        return Examples(bits.astype(float), np.repeat([0, 1], n_each), scaling="none")
