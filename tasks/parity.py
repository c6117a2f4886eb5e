"""Sparse parity: whether an odd number of a few bits is set, among many that do not matter.

    y = [x_1 x_2 ... x_k < 0]        bits x_i in {-1, 1}; of n bits the first k are relevant

Fewer than k of the bits say nothing about the class: every feature, and every product of fewer than
k features, is uncorrelated with it. A rule must find the k bits together.

Source      Parity: Minsky & Papert, "Perceptrons", 1969. Sparse, and learnt by gradient descent:
            Barak et al., "Hidden progress in deep learning: SGD learns parities near the
            computational limit", 2022, arXiv:2207.08799. Drawn here, in no time.
Licence     None needed: generated.
Examples    10,000 (or `n_samples`) distinct strings of 20 (or `n_bits`) bits, uniform. Not scaled.
Splits      7,000 train, 1,500 validation, 1,500 test, stratified; no string is in two.
Chance      0.50. Least squares and logistic regression stay there, as no feature is correlated with
            the class; yet the best threshold on the sum of the k relevant bits is right in
            1/2 + C(k - 1, floor((k - 1) / 2)) / 2^k of all strings: 0.75 of three bits.
Ceiling     1.00: the classes follow from the inputs, unless `label_noise` replaces some.
Reference   Measured here at `split_seed=0`, on the test split: logistic regression 0.503, on all
            products of up to 3 bits 1.000.
"""

from typing import Annotated

import numpy as np
from annotated_types import Ge, Interval

from beyond.architectures.mlp import MLP
from beyond.contracts import TargetKind, TaskSpec
from beyond.data.arrays import ArrayTask, Examples
from beyond.data.bits import strings
from beyond.errors import require
from beyond.settings import NonNegativeInt, PositiveInt, settings


@settings(kw_only=True)
class Parity(ArrayTask):
    """Tell whether an odd number of a few relevant bits is negative.

    Parameters
    ----------
    n_bits : int, in [2, 62]
        Features, each -1 or 1.
    n_relevant : int, >= 1
        The first so many decide the class; at most `n_bits`.
    n_samples : int, >= 20
        Of all three splits together; at most 2^(n_bits), all strings.
    data_seed : int, >= 0
        Fixes the draws.
    """

    n_bits: Annotated[int, Interval(ge=2, le=62)] = 20
    n_relevant: PositiveInt = 3
    n_samples: Annotated[int, Ge(20)] = 10_000
    data_seed: NonNegativeInt = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        fits = self.n_relevant <= self.n_bits
        require("n_relevant", f"at most n_bits ({self.n_bits})", self.n_relevant, fits)
        n_strings = 2**self.n_bits
        allowed = f"at most 2^n_bits ({n_strings})"
        require("n_samples", allowed, self.n_samples, self.n_samples <= n_strings)

    @property
    def spec(self) -> TaskSpec:
        return TaskSpec(
            name="synthetic/parity",
            input_shape=(self.n_bits,),
            n_outputs=2,
            target_kind=TargetKind.CLASSES,
            network=MLP(hidden=(64,)),
            score="accuracy_score",
            levels=(0.75, 0.95, 0.99),
        )

    def examples(self) -> Examples:
        rng = np.random.default_rng(self.data_seed)
        drawn = rng.choice(2**self.n_bits, self.n_samples, replace=False)
        bits = strings(drawn, self.n_bits)
        odd = (bits[:, : self.n_relevant] < 0).sum(1) % 2
        return Examples(bits.astype(float), odd, scaling="none")
