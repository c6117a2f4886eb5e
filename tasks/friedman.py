"""Friedman #1: a known function of five inputs among ten, with noise (Friedman, 1991).

    y = 10 sin(pi x1 x2) + 20 (x3 - 1/2)^2 + 10 x4 + 5 x5 + noise        x uniform in [0, 1]^10

Source      Friedman, "Multivariate Adaptive Regression Splines", Annals of Statistics 19, 1-67,
            section 4.3, doi:10.1214/aos/1176347963; the form of scikit-learn's `make_friedman1`.
            Drawn here, in seconds.
Licence     None needed: generated.
Examples    2,000 (or `n_samples`) x 10, no units. Inputs and target are scaled to mean 0 and
            standard deviation 1 over the training part.
Splits      1,400 train, 300 validation, 300 test, at random; the noise is in all three.
Chance      R2 = 0, for predicting the mean.
Ceiling     The noise's share of the variance, 1 / 24.83, leaves R2 = 0.960.
Reference   Measured here at `split_seed=0`, on the test split: linear regression 0.720,
            gradient-boosted trees 0.908. The default network trained by backpropagation for
            100 epochs reaches 0.93 on the validation split (mean of 3 seeds).

Source task `other_coefficients`: the same form with coefficients 20, 10, 5 and 10, and other draws.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Annotated

import numpy as np
from annotated_types import Ge

from beyond.architectures.mlp import MLP
from beyond.contracts import TargetKind, TaskSpec
from beyond.data.arrays import ArrayTask, Examples
from beyond.settings import NonNegative, NonNegativeInt, settings

COEFFICIENTS = (10.0, 20.0, 10.0, 5.0)
OTHER_COEFFICIENTS = (20.0, 10.0, 5.0, 10.0)  # each doubled or halved
N_FEATURES = 10


@settings(kw_only=True)
class Friedman(ArrayTask):
    """Predict a known function from noisy examples.

    Parameters
    ----------
    n_samples : int, >= 10
        Of all three splits together.
    noise_std : float, >= 0
        Standard deviation of the normal noise, in units of y.
    data_seed : int, >= 0
        Fixes the draws.
    """

    n_samples: Annotated[int, Ge(10)] = 2000
    noise_std: NonNegative = 1.0
    data_seed: NonNegativeInt = 0

    @property
    def spec(self) -> TaskSpec:
        return TaskSpec(
            name="regression/friedman",
            input_shape=(N_FEATURES,),
            n_outputs=1,
            target_kind=TargetKind.VALUES,
            network=MLP(hidden=(32,)),
            score="r2_score",
            levels=(0.70, 0.80, 0.90),
        )

    def examples(self) -> Examples:
        return _draw(self.n_samples, self.noise_std, [self.data_seed, 0], COEFFICIENTS)

    def related(self) -> Mapping[str, Callable[[], Examples]]:
        seeds = [self.data_seed, 1]
        draw = partial(_draw, self.n_samples, self.noise_std, seeds, OTHER_COEFFICIENTS)
        return {"other_coefficients": draw}


def friedman(
    x: np.ndarray, coefficients: tuple[float, float, float, float] = COEFFICIENTS
) -> np.ndarray:
    """Friedman's function without noise, shape (N,), of inputs (N, >= 5)."""
    product, square, fourth, fifth = coefficients
    return (
        product * np.sin(np.pi * x[:, 0] * x[:, 1])
        + square * (x[:, 2] - 0.5) ** 2
        + fourth * x[:, 3]
        + fifth * x[:, 4]
    )


def _draw(
    n_samples: int,
    noise_std: float,
    seed: list[int],
    coefficients: tuple[float, float, float, float],
) -> Examples:
    rng = np.random.default_rng(seed)
    x = rng.random((n_samples, N_FEATURES))
    y = friedman(x, coefficients) + noise_std * rng.standard_normal(n_samples)
    return Examples(x, y[:, None])
