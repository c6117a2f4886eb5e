"""The encoder: name which of n inputs is on, through a layer of log2 n units.

    x = e_i,  y = i        i = 1, ..., n

The hidden layer must find a code of its units for each of the inputs, and nothing says which: what
is asked is whether a rule finds one, not whether it generalises.

Source      Ackley, Hinton & Sejnowski, "A learning algorithm for Boltzmann machines", Cognitive
            Science 9, 147-169, 1985, section 5; with backpropagation, Rumelhart, Hinton & Williams,
            "Learning internal representations by error propagation", 1986.
Licence     None needed: generated.
Examples    800: each of the 8 (or `n_inputs`) unit vectors 100 (or `n_each`) times, with normal
            noise on each entry, which no code need tell. Not scaled.
Splits      560 train, 120 validation, 120 test, stratified; the noise is in all three.
Chance      1 / n_inputs: 0.125.
Ceiling     1.00, to the noise.
Reference   Measured here: one linear layer, which has no code to find, 1.000 at `split_seed=0`, on
            the test split; the default network after 100 epochs of backpropagation, ten seeds,
            1.000 on both splits.
"""

from typing import Annotated

import numpy as np
from annotated_types import Ge

from beyond.architectures.mlp import MLP
from beyond.contracts import TargetKind, TaskSpec
from beyond.data.arrays import ArrayTask, Examples
from beyond.settings import NonNegative, NonNegativeInt, settings


@settings(kw_only=True)
class Encoder(ArrayTask):
    """Pass one of n symbols through a layer of log2 n units.

    Parameters
    ----------
    n_inputs : int, >= 2
        Symbols, and classes.
    n_each : int, >= 10
        Examples of each symbol, in all three splits together.
    noise_std : float, >= 0
        Standard deviation of the noise. Without it the splits hold the same patterns.
    data_seed : int, >= 0
        Fixes the noise.
    """

    n_inputs: Annotated[int, Ge(2)] = 8
    n_each: Annotated[int, Ge(10)] = 100
    noise_std: NonNegative = 0.05
    data_seed: NonNegativeInt = 0

    @property
    def spec(self) -> TaskSpec:
        return TaskSpec(
            name="synthetic/encoder",
            input_shape=(self.n_inputs,),
            n_outputs=self.n_inputs,
            target_kind=TargetKind.CLASSES,
            network=MLP(hidden=((self.n_inputs - 1).bit_length(),), activation="tanh"),
            score="accuracy_score",
            levels=(0.50, 0.90, 0.99),
        )

    def examples(self) -> Examples:
        symbols = np.repeat(np.arange(self.n_inputs), self.n_each)
        noise = np.random.default_rng(self.data_seed).standard_normal((len(symbols), self.n_inputs))
        inputs = np.eye(self.n_inputs)[symbols] + self.noise_std * noise
        return Examples(inputs, symbols, scaling="none")
