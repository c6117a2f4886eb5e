"""How often a printed interval holds the mean: `python -m benchmarks.coverage`.

Each cell of the table is a share of simulated groups of repetitions. `used` is the interval of
every page (`analysis.statistics.inference.mean_interval`), beside the plain Student's t and the
percentile bootstrap. A line is marked where `used` lies outside of 93 to 97 %.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
from numpy.random import Generator
from scipy import stats

from analysis.statistics.inference import LEVEL, Array, mean_interval

Draw = Callable[[Generator, tuple[int, int]], Array]

SIZES = (5, 10)
EXAMPLES = 270  # of a test split
DISTRIBUTIONS: dict[str, tuple[Draw, float]] = {  # how to draw scores, and their mean
    "normal": (lambda rng, shape: rng.standard_normal(shape), 0.0),
    "uniform": (lambda rng, shape: rng.random(shape), 0.5),
    "Laplace (heavy tails)": (lambda rng, shape: rng.laplace(size=shape), 0.0),
    "gamma of shape 4 (skewness 1)": (lambda rng, shape: rng.gamma(4, size=shape), 4.0),
    "log-normal, sigma 0.5 (skewness 1.75)": (
        lambda rng, shape: rng.lognormal(0, 0.5, shape),
        float(np.exp(0.125)),
    ),
    "exponential (skewness 2)": (lambda rng, shape: rng.exponential(size=shape), 1.0),
    "accuracy 0.8: counts of 270": (
        lambda rng, shape: rng.binomial(EXAMPLES, 0.8, shape) / EXAMPLES,
        0.8,
    ),
    "accuracy 0.97: counts of 270": (
        lambda rng, shape: rng.binomial(EXAMPLES, 0.97, shape) / EXAMPLES,
        0.97,
    ),
    "accuracy 0.995: counts of 270": (
        lambda rng, shape: rng.binomial(EXAMPLES, 0.995, shape) / EXAMPLES,
        0.995,
    ),
    "accuracy, beta(29, 1) (skewness -1.9)": (lambda rng, shape: rng.beta(29, 1, shape), 29 / 30),
}


def coverage(draw: Draw, mean: float, n: int, groups: int, rng: Generator) -> dict[str, float]:
    """Share of groups of n whose interval holds the mean, by kind; widths relative to plain t."""
    values = draw(rng, (n, groups))
    half = stats.t.ppf((1 + LEVEL) / 2, n - 1) * values.std(axis=0, ddof=1) / np.sqrt(n)
    centre, used = values.mean(axis=0), mean_interval(values)
    bounds = {
        "used": used,
        "plain t": (centre - half, centre + half),
        "bootstrap": _percentile(values, rng),
    }
    held = {
        name: float(((low <= mean) & (mean <= high)).mean()) for name, (low, high) in bounds.items()
    }
    return held | {"width": float(np.mean(used[1] - used[0]) / np.mean(2 * half))}


def _percentile(values: Array, rng: Generator, draws: int = 2000) -> tuple[Array, Array]:
    """Percentile bootstrap, one set of resamples for all groups."""
    n = len(values)
    means = rng.multinomial(n, np.full(n, 1 / n), size=draws) / n @ values  # (draws, groups)
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return low, high


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser("benchmarks.coverage", description=__doc__)
    parser.add_argument(
        "--groups", type=int, default=20_000, help="simulated groups per cell (default: 20000)"
    )
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    rng = np.random.default_rng(chosen.seed)
    print(f"{'scores':<40}{'n':>3}{'used':>8}{'plain t':>9}{'bootstrap':>11}{'width / t':>11}")
    for name, (draw, mean) in DISTRIBUTIONS.items():
        for n in SIZES:
            found = coverage(draw, mean, n, chosen.groups, rng)
            mark = "" if 0.93 <= found["used"] <= 0.97 else "  outside of 93 to 97 %"
            shown = "".join(
                f"{found[key]:{w}.1%}"
                for key, w in (("used", 8), ("plain t", 9), ("bootstrap", 11))
            )
            print(f"{name:<40}{n:>3}{shown}{found['width']:>11.2f}{mark}")
    print(
        f"\n{chosen.groups} groups per cell: a share is known to "
        f"{1.96 * np.sqrt(0.05 * 0.95 / chosen.groups):.2%}."
    )


if __name__ == "__main__":
    main()
