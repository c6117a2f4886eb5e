"""A linear map to learn, of known singular values, from inputs that are exactly white.

    y = W x        W = sum_k s_k u_k v_k^T

A deep linear network learns such a map mode by mode, in a time that is known in closed form (Saxe
et al., 2014). Scores say how much of each mode a network has learnt: `mode_1_score` is u_1^T A v_1
/ s_1, where A is its best linear map of the inputs; 0 is nothing and 1 is all of it.

Source      Saxe, McClelland & Ganguli, "Exact solutions to the nonlinear dynamics of learning in
            deep linear neural networks", 2014, arXiv:1312.6120, section 1.1; the random map,
            Lillicrap et al., "Random synaptic feedback weights support error backpropagation for
            deep learning", Nature Communications 7, 13276, figure 1.
Licence     None needed: generated.
Examples    200 (or `n_samples`) x 10, no units, to learn from. Their mean is 0 and their covariance
            the identity, to rounding; `train_size` takes a part of them, for which both hold only
            about. Neither inputs nor targets are scaled.
Splits      200 train, 100 validation, 100 test (or `n_held_out`); those of the latter two are
            standard normal draws.
Chance      R2 = 0, for predicting the mean.
Ceiling     R2 = 1: there is no noise, unless `label_noise` adds some.
Reference   Least squares finds the map: R2 = 1. Measured here: the default network, whose hidden
            units are rectified, reaches 0.95 on the validation split when trained by
            backpropagation for 100 epochs (mean of 3 seeds).
"""

from functools import cached_property
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from beyond.architectures.mlp import MLP
from beyond.contracts import TargetKind, TaskSpec
from beyond.data.arrays import ArrayTask, Examples
from beyond.errors import require
from beyond.settings import NonNegativeInt, Positive, PositiveInt, settings


@settings(kw_only=True)
class LinearTeacher(ArrayTask):
    """Predict a linear map of white inputs.

    Parameters
    ----------
    n_inputs, n_outputs : int, >= 1
        Numbers of features and of values to predict.
    singular_values : tuple of float, all > 0, optional
        Of the map; as many as it has modes, the others are 0. None draws every entry from N(0, 1 /
        n_inputs) instead.
    basis : {"axes", "random"}
        Where the modes point, if `singular_values` are given: mode k leads from input k to output
        k; or from and to random orthonormal directions.
    n_samples : int, > n_inputs
        Training examples.
    n_held_out : int, >= 1
        Examples of the validation split, and of the test split.
    data_seed : int, >= 0
        Fixes inputs and map.
    """

    n_inputs: PositiveInt = 10
    n_outputs: PositiveInt = 10
    singular_values: tuple[Positive, ...] | None = None
    basis: Literal["axes", "random"] = "random"
    n_samples: PositiveInt = 200
    n_held_out: PositiveInt = 100
    data_seed: NonNegativeInt = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        allowed = f"> n_inputs ({self.n_inputs})"
        require("n_samples", allowed, self.n_samples, self.n_samples > self.n_inputs)
        if self.singular_values is not None:
            most = min(self.n_inputs, self.n_outputs)
            ok = 1 <= len(self.singular_values) <= most
            require("singular_values", f"a list of 1 to {most}, or null", self.singular_values, ok)

    @property
    def spec(self) -> TaskSpec:
        return TaskSpec(
            name="regression/linear_teacher",
            input_shape=(self.n_inputs,),
            n_outputs=self.n_outputs,
            target_kind=TargetKind.VALUES,
            network=MLP(hidden=(32,)),
            score="r2_score",
            levels=(0.50, 0.90, 0.99),
        )

    @cached_property
    def modes(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Singular vectors and values of the map: u (n_outputs, K), s (K,), v (n_inputs, K)."""
        rng = np.random.default_rng([self.data_seed, 0])
        if self.singular_values is None:
            entries = rng.standard_normal((self.n_outputs, self.n_inputs)) / np.sqrt(self.n_inputs)
            u, s, vt = np.linalg.svd(entries, full_matrices=False)
            return u, s, vt.T
        n_modes = len(self.singular_values)
        sides = [np.eye(size) for size in (self.n_outputs, self.n_inputs)]
        if self.basis == "random":
            sides = [np.linalg.qr(rng.standard_normal(side.shape))[0] for side in sides]
        return sides[0][:, :n_modes], np.array(self.singular_values, float), sides[1][:, :n_modes]

    def examples(self) -> Examples:
        rng = np.random.default_rng([self.data_seed, 1])
        drawn = rng.standard_normal((self.n_samples, self.n_inputs))
        white = np.sqrt(self.n_samples) * np.linalg.qr(drawn - drawn.mean(0))[0]
        inputs = np.concatenate([white, rng.standard_normal((2 * self.n_held_out, self.n_inputs))])
        u, s, v = self.modes
        return Examples(
            inputs,
            inputs @ v * s @ u.T,
            n_test=self.n_held_out,
            scaling="none",
            n_validation=self.n_held_out,
            target_scaling="none",
        )

    def score(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """R2, half the squared error, and how much of each mode is learnt; beyond 1 counts down."""
        u = torch.from_numpy(self.modes[0]).to(outputs.device)
        along, wanted = outputs.double() @ u, targets.double() @ u  # (R, B, K)
        learnt = (along * wanted).sum(1) / wanted.square().sum(1)  # (R, K)
        of_modes = 1 - (1 - learnt).abs()
        modes = {f"mode_{index}_score": score for index, score in enumerate(of_modes.unbind(-1), 1)}
        return {**super().score(outputs, targets), **modes}
