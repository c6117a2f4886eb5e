"""Sinusoids to be learnt from a few points each (Finn, Abbeel & Levine, 2017).

    y = A sin(x - p)        A uniform in [0.1, 5], p uniform in [0, pi], x uniform in [-5, 5]

Source      Finn, Abbeel & Levine, "Model-Agnostic Meta-Learning for Fast Adaptation of Deep
            Networks", section 5.1, arXiv:1703.03400. Drawn here, in milliseconds.
Licence     None needed: generated.
Examples    An episode is one sinusoid: 10 points (or `shots`) to adapt to and 10 (or `n_query`) to
            answer, noiseless, inputs and targets in the paper's units. A training episode draws
            fresh points at every visit.
Splits      1,000 train, 300 validation, 600 test episodes; no sinusoid is in two of them.
Chance      R2 = 0, for predicting the mean; a mean squared error of 4.40 on the test split.
Reference   Measured here at `split_seed=0`, on the test split: the best single sinusoid, A = 1.68
            and p = 1.69, leaves a mean squared error of 3.17 (R2 = 0.28), about as far as a
            function comes that does not adapt. Fitting A and p to the points of an episode is
            exact.

The paper reports the mean squared error: `mean_squared_error`. The loss is half of it.
"""

from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from beyond.architectures.mlp import MLP
from beyond.contracts import Episode, TargetKind, TaskSpec
from beyond.data.episodes import EpisodeTask
from beyond.settings import PositiveInt, settings

AMPLITUDE, PHASE, X = (0.1, 5.0), (0.0, np.pi), (-5.0, 5.0)


@settings(kw_only=True)
class Sinusoids(EpisodeTask):
    """Predict a sinusoid from a few of its points.

    Parameters
    ----------
    shots : int, >= 1
        Points to adapt to.
    n_query : int, >= 1
        Points to answer.
    """

    N_DRAWS: ClassVar = 1

    shots: PositiveInt = 10
    n_query: PositiveInt = 10

    @property
    def spec(self) -> TaskSpec:
        return TaskSpec(
            name="regression/sinusoids",
            input_shape=(1,),
            n_outputs=1,
            target_kind=TargetKind.VALUES,
            network=MLP(hidden=(40, 40)),
            score="r2_score",
            levels=(0.4, 0.6, 0.8),
            episode=Episode(self.shots, self.n_query),
        )

    def families(self, split: str, n_episodes: int, rng: np.random.Generator) -> np.ndarray:
        draws = [rng.uniform(low, high, n_episodes) for low, high in (AMPLITUDE, PHASE)]
        return np.stack(draws, 1).astype(np.float32)

    def examples(self, families: Tensor, draws: Tensor) -> tuple[Tensor, Tensor]:
        low, high = X
        x = low + (high - low) * draws  # (R, E, B, 1)
        amplitude, phase = families[..., None, None].unbind(2)
        return x, amplitude * torch.sin(x - phase)

    def score(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """R2 and half the squared error, and the paper's mean squared error."""
        scores = super().score(outputs, targets)
        return scores | {"mean_squared_error": 2 * scores["squared_error_loss"]}
