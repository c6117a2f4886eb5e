"""Eleven traps, one difficulty each, on networks that could answer all of it.

A trap that is not armed is its control: the same examples, or the same network, without the
difficulty. What a rule fails armed and passes as the control, it fails for that reason.

    trap       armed                                         control
    plateau    tanh units start where their slope is         inputs around 0
               below 2e-4, for inputs around 2
    saddle     three linear layers start at 0, but for       they start orthogonal
               a standard deviation of 0.001
    valley     standard deviations of inputs from 0.05       all are 1
               to 10: a condition number of 40,000
    rotation   the same valley, along no axis                all are 1
    rarity     the i-th of 16 features is there 1 / i^2      equally often
               as often as the first
    outliers   Cauchy noise on training targets              no noise
    steps      units of 0 or 1, whose derivative is 0        tanh units
    depth      eight layers of sigmoids                      one
    explosion  eight ReLU layers of weights 1.4 times        He's
               He's: their product is 16 times as large
    optimum    exclusive or with two ReLU units, where       with 16
               most starts lead to a local optimum
    memory     the first of 30 inputs is asked for           the last

A trap is passed at the hardest level: an R2, or an accuracy, of 0.9. The twelfth, a reward that is
late, is `control/chain`.

Source      After Schaul, Antonoglou & Silver, "Unit tests for stochastic optimization", ICLR 2014,
            arXiv:1312.6055: one well-understood difficulty at a time. Theirs are functions of one
            or two variables, these are tasks for a network. Saddle: Saxe et al., 2014,
            arXiv:1312.6120. Rare features: Duchi, Hazan & Singer, JMLR 12, 2011. Depth and memory:
            Bengio, Simard & Frasconi, IEEE Transactions on Neural Networks 5, 1994. Explosion:
            Pascanu, Mikolov & Bengio, ICML 2013, arXiv:1211.5063. Drawn here, in no time.
Licence     None needed: generated.
Examples    1,200, of 1 to 30 numbers, no units. Nothing is scaled.
Splits      800 train, 200 validation, 200 test, the same for every seed. Outliers are in the
            training part alone; of rare features the other two have each equally often.
Chance      R2 = 0, for predicting the mean; an accuracy of 0.50, of rare features 0.0625.
Ceiling     1.00 of each, armed or not: nothing held out is noisy, and the network can represent it.
Reference   Measured here on the validation split: the best of nine learning rates from 0.0001 to 3,
            median of three starts, 1,000 steps of 32 examples. Gradient descent reaches, armed and
            as the control, plateau 0.00 and 1.00, saddle 0.00 and 1.00, valley 0.81 and 1.00,
            rotation 0.78 and 1.00, rarity 0.77 and 1.00, outliers 0.70 and 1.00,
            steps 0.79 and 1.00, depth 0.55 and 1.00, explosion 0.46 and 0.99, optimum
            0.79 and 1.00, memory 0.60 and 1.00.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated

import numpy as np

from beyond.architectures.mlp import MLP
from beyond.architectures.rnn import Elman
from beyond.contracts import Architecture, TargetKind, TaskSpec
from beyond.data.arrays import ArrayTask, Examples
from beyond.settings import NonNegativeInt, OneOf, settings

N_TRAIN, N_HELD_OUT = 800, 200  # of each held-out split
N = N_TRAIN + 2 * N_HELD_OUT
N_FEATURES, N_SYMBOLS, LENGTH = 8, 16, 30
Drawn = tuple[np.ndarray, np.ndarray]  # inputs (N, *input_shape); values (N, n), or classes (N,)


@dataclass(frozen=True)
class Case:
    """What is learnt, by which network.

    Attributes
    ----------
    draw : callable
        Draws inputs and targets from a generator.
    network : Architecture
    """

    draw: Callable[[np.random.Generator], Drawn]
    network: Architecture


@dataclass(frozen=True)
class Trap:
    """One difficulty.

    Attributes
    ----------
    armed, control : Case
        With it, and without.
    shape : tuple of int
        Of one input.
    n_outputs : int
    kind : TargetKind
    """

    armed: Case
    control: Case
    shape: tuple[int, ...] = (N_FEATURES,)
    n_outputs: int = 1
    kind: TargetKind = TargetKind.VALUES


def shifted(rng: np.random.Generator, mean: float) -> Drawn:
    """Inputs around a mean, and their distances from it."""
    u = rng.uniform(-0.5, 0.5, (N, 4))
    return u + mean, np.sqrt(12) * u


def scaled(rng: np.random.Generator, smallest: float = 1.0, largest: float = 1.0) -> Drawn:
    """Inputs of some standard deviations; in the target, of variance 1, all weigh the same."""
    u = rng.standard_normal((N, N_FEATURES))
    targets = u.sum(1, keepdims=True) / np.sqrt(N_FEATURES)
    return u * np.geomspace(largest, smallest, N_FEATURES), targets


def rotated(rng: np.random.Generator, smallest: float = 1.0, largest: float = 1.0) -> Drawn:
    """The same, along no axis."""
    inputs, targets = scaled(rng, smallest, largest)
    return inputs @ _rotation(rng), targets


def modes(rng: np.random.Generator) -> Drawn:
    """A rotation of the inputs."""
    u = rng.standard_normal((N, N_FEATURES))
    return u, u @ _rotation(rng)


def symbols(rng: np.random.Generator, exponent: float) -> Drawn:
    """Which feature is there, the i-th 1 / i^exponent as often as the first; a little noise."""
    shares = np.arange(1, N_SYMBOLS + 1) ** -exponent
    counts = np.round(N_TRAIN * shares / shares.sum()).astype(int)
    counts[0] += N_TRAIN - counts.sum()
    train = np.repeat(np.arange(N_SYMBOLS), counts)
    drawn = np.concatenate([train, np.arange(2 * N_HELD_OUT) % N_SYMBOLS])
    # the noise tells one example from another
    return 0.3 * np.eye(N_SYMBOLS)[drawn] + 0.01 * rng.standard_normal((N, N_SYMBOLS)), drawn


def noisy(rng: np.random.Generator, scale: float) -> Drawn:
    """Training targets with Cauchy noise, which has no variance, and no mean."""
    u, targets = scaled(rng)
    noise = scale * rng.standard_cauchy((N_TRAIN, 1))
    return u, np.concatenate([targets[:N_TRAIN] + noise, targets[N_TRAIN:]])


def corners(rng: np.random.Generator) -> Drawn:
    """Whether two inputs, about -1 or 1, have the same sign."""
    u = rng.choice([-1.0, 1.0], (N, 2))
    return u + 0.2 * rng.standard_normal(u.shape), (u.prod(1) > 0).astype(np.int64)


def halves(rng: np.random.Generator) -> Drawn:
    """On which side of a plane an input lies."""
    u = rng.standard_normal((N, N_FEATURES))
    return u, (u.sum(1) > 0).astype(np.int64)


def remembered(rng: np.random.Generator, place: int) -> Drawn:
    """The sign of one of a sequence of inputs, about -1 or 1."""
    u = rng.choice([-1.0, 1.0], (N, 1, LENGTH))
    noise = 0.1 * rng.standard_normal(u.shape)
    return u + noise, (u[:, 0, place] > 0).astype(np.int64)


def _rotation(rng: np.random.Generator) -> np.ndarray:
    return np.linalg.qr(rng.standard_normal((N_FEATURES, N_FEATURES)))[0]


STDS = {"smallest": 0.05, "largest": 10.0}
CLASSES = TargetKind.CLASSES
LINEAR = MLP((16,), "identity")
SATURATED = MLP((4,), "tanh", initialisation="identity", init_std=4.0)
NEAR_ZERO = MLP((8, 8), "identity", initialisation="gaussian", init_std=0.001)
SIGMOIDS = MLP((16,) * 8, "sigmoid", initialisation="xavier")
LARGE = MLP((16,) * 8, initialisation="gaussian", init_std=0.5)
TRAPS = {
    "plateau": Trap(
        Case(partial(shifted, mean=2.0), SATURATED),
        Case(partial(shifted, mean=0.0), SATURATED),
        shape=(4,),
        n_outputs=4,
    ),
    "saddle": Trap(
        Case(modes, NEAR_ZERO),
        Case(modes, replace(NEAR_ZERO, initialisation="orthogonal")),
        n_outputs=N_FEATURES,
    ),
    "valley": Trap(Case(partial(scaled, **STDS), LINEAR), Case(scaled, LINEAR)),
    "rotation": Trap(Case(partial(rotated, **STDS), LINEAR), Case(rotated, LINEAR)),
    "rarity": Trap(
        Case(partial(symbols, exponent=2.0), MLP(())),
        Case(partial(symbols, exponent=0.0), MLP(())),
        (N_SYMBOLS,),
        N_SYMBOLS,
        CLASSES,
    ),
    "outliers": Trap(Case(partial(noisy, scale=0.7), LINEAR), Case(scaled, LINEAR)),
    "steps": Trap(
        Case(corners, MLP((8,), "step")), Case(corners, MLP((8,), "tanh")), (2,), 2, CLASSES
    ),
    "depth": Trap(
        Case(halves, SIGMOIDS),
        Case(halves, replace(SIGMOIDS, hidden=(16,))),
        n_outputs=2,
        kind=CLASSES,
    ),
    "explosion": Trap(Case(scaled, LARGE), Case(scaled, replace(LARGE, initialisation="he"))),
    "optimum": Trap(Case(corners, MLP((2,))), Case(corners, MLP((16,))), (2,), 2, CLASSES),
    "memory": Trap(
        Case(partial(remembered, place=0), Elman(16)),
        Case(partial(remembered, place=-1), Elman(16)),
        (1, LENGTH),
        2,
        CLASSES,
    ),
}


@settings(kw_only=True)
class Traps(ArrayTask):
    """Learn in spite of one difficulty, or the same without it.

    Parameters
    ----------
    trap : str
        Which of those above.
    armed : bool
        Whether the difficulty is there; without it, it is the trap's control.
    data_seed : int, >= 0
        Fixes the draws.
    """

    trap: Annotated[str, OneOf(TRAPS)] = "valley"
    armed: bool = True
    data_seed: NonNegativeInt = 0

    @property
    def spec(self) -> TaskSpec:
        trap = TRAPS[self.trap]
        values = trap.kind is TargetKind.VALUES
        return TaskSpec(
            name="synthetic/traps",
            input_shape=trap.shape,
            n_outputs=trap.n_outputs,
            target_kind=trap.kind,
            network=self._case.network,
            score="r2_score" if values else "accuracy_score",
            levels=(0.50, 0.75, 0.90),
        )

    def examples(self) -> Examples:
        rng = np.random.default_rng(self.data_seed)
        inputs, targets = self._case.draw(rng)
        return Examples(inputs, targets, N_HELD_OUT, "none", N_HELD_OUT, target_scaling="none")

    @property
    def _case(self) -> Case:
        trap = TRAPS[self.trap]
        return trap.armed if self.armed else trap.control
