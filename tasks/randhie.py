"""Visits to the doctor in the RAND health insurance experiment (Manning et al., 1987).

Families were assigned to insurance plans at random: how often do people see a doctor, given their
plan and their health?

Source      Manning, Newhouse, Duan, Keeler & Leibowitz, "Health insurance and the demand for
            medical care: evidence from a randomized experiment", American Economic Review 77(3),
            251-277; the sample of Cameron & Trivedi, "Microeconometrics", 2005, as shipped with the
            package `statsmodels` (`datasets.randhie`).
Licence     Public domain, as the package says.
Examples    20,190 years of persons x 9: the logarithm of the coinsurance rate (%), whether the
            deductible is individual, logarithms of the yearly payment for participation and of the
            largest expense (dollars), whether there is a physical limitation, an index of chronic
            diseases, and three indicators of self-rated health (good, fair, poor; none: excellent).
            The target is log(1 + visits), for the count, 0 to 77 with 31 % zeros, is skewed: the
            60 largest have 29 % of its variance. Inputs and target are scaled to
            mean 0 and standard deviation 1 over the training part.
Splits      14,134 train, 3,028 validation, 3,028 test, at random. No one names the persons, who
            have several years each; rows that differ in nothing but self-rated health and visits
            are kept together, in 2,300 groups, so that no person's years are in two splits.
Chance      R2 = 0, for predicting the mean.
Reference   Measured here at `split_seed=0`, on the test split: linear regression 0.095 (between
            0.05 and 0.13 for `split_seed` 0 to 2), gradient-boosted trees 0.082. The default
            network trained by backpropagation for 20 epochs reaches 0.13 on the validation split
            (mean of 3 seeds). Most of the
            variance is between persons, whom the inputs do not tell apart.
"""

from functools import cache
from typing import ClassVar

import numpy as np

from beyond.architectures.mlp import MLP
from beyond.contracts import TargetKind, TaskSpec
from beyond.data.arrays import ArrayTask, Examples
from beyond.data.splits import whole_groups
from beyond.settings import settings

INPUTS = ("lncoins", "idp", "lpi", "fmde", "physlm", "disea", "hlthg", "hlthf", "hlthp")
N_GROUPED = 6  # the first inputs, which a person has in every year


@settings(kw_only=True)
class Randhie(ArrayTask):
    """Predict the logarithm of the number of visits to the doctor in a year."""

    PACKAGES: ClassVar = ("statsmodels",)

    @property
    def spec(self) -> TaskSpec:
        return TaskSpec(
            name="regression/randhie",
            input_shape=(len(INPUTS),),
            n_outputs=1,
            target_kind=TargetKind.VALUES,
            network=MLP(hidden=(32,)),
            score="r2_score",
            levels=(0.06, 0.09, 0.12),
        )

    def examples(self) -> Examples:
        return _rows()

    def _divide(self, raw: Examples, rng: np.random.Generator) -> dict[str, np.ndarray]:
        n_rows = len(raw.targets)
        sizes = [
            round(self.TEST_FRACTION * n_rows),
            round(self.VALIDATION_FRACTION * n_rows),
        ]
        test, validation, train = whole_groups(_persons(), sizes, rng)
        train = self._thin(rng.permutation(train), raw.targets)
        return {"train": train, "validation": validation, "test": test}


@cache
def _persons() -> np.ndarray:
    """Numbers (N,) that are the same where plan, limitation and chronic diseases are."""
    return np.unique(_rows().inputs[:, :N_GROUPED], axis=0, return_inverse=True)[1]


@cache
def _rows() -> Examples:
    from statsmodels.datasets import randhie

    table = randhie.load_pandas()["data"]
    visits = table["mdvis"].to_numpy(float)
    return Examples(table[list(INPUTS)].to_numpy(float), np.log1p(visits)[:, None])
