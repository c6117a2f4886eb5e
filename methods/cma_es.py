"""CMA-ES (Hansen & Ostermeier, 2001), as in Hansen's tutorial (2016).

Candidates are drawn from a normal distribution. Its mean moves to the better ones, its covariance C
stretches along the steps that succeeded, and its step size s grows while successive steps agree and
shrinks while they cancel.

    z_k ~ N(0, I),   y_k = C^(1/2) z_k,   x_k = m + s y_k  k = 1 .. P, then sorted by their loss
    y   = sum_i w_i y_i,   z = sum_i w_i z_i               of the better half; w_i falls with i
    m  <- m + s y
    p  <- (1 - c_p) p + sqrt(c_p (2 - c_p) mu) z           step size's path; mu = 1 / sum_i w_i^2
    s  <- s exp(c_p / d (|p| / E|N(0, I)| - 1))
    q  <- (1 - c_q) q + h sqrt(c_q (2 - c_q) mu) y         covariance's path; h = 0 if |p| is long
    C  <- (1 - c_1 - c_w) C + c_1 (q q^T + (1 - h) c_q (2 - c_q) C) + c_w sum_i w_i y_i y_i^T

The constants are the tutorial's and follow from n and P. C^(1/2) = V diag(r) V^T from an
eigendecomposition, every few generations. Above `max_full` weights C is diagonal, V = I, and c_1
and c_w are (n + 2) / 3 times as large (Ros & Hansen, 2008).

Departures: positive weights w_i alone; candidates of equal loss share the mean of their ranks'
weights; the step size follows the tutorial's rule at any dimension, where the authors' package
takes another one with a diagonal C (twice as fast at 650 weights); C^(1/2) is the symmetric root,
so that z is C^(-1/2) y and no result depends on which eigenvectors of equal eigenvalues are
returned; a new batch each generation; dropout is off.
Needs: global loss.
Cost: P forward passes of the batch, and 6 n P operations for the means and the diagonal; a full C
takes 6 n^2 P, while its eigendecompositions, which are no products, are not counted.
Check: the package cma, generation by generation on the same draws; as many evaluations as it needs
to 1e-8 on sphere, Rosenbrock and an ellipsoid (tests/methods/test_cma_es.py).
Source: arXiv:1604.00772; Evolutionary Computation 9, 159-195, doi:10.1162/106365601750190398; the
diagonal: PPSN X, 296-305, doi:10.1007/978-3-540-87700-4_30.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, lgamma, log, sqrt
from typing import Annotated, Any, ClassVar

import torch
from annotated_types import Ge
from torch import Tensor

from beyond.contracts import Batch, Method, Signal
from beyond.kits.variation import standings
from beyond.problem import Problem
from beyond.replicas import each
from beyond.search import Choice, LogUniform
from beyond.settings import BatchSize, NonNegativeInt, OneOrEach, Positive, settings
from beyond.streams import Stream

State = dict[str, Any]


@settings
class CMAES(Method[State]):
    """Adapt mean, step size and covariance of a normal distribution to its better candidates.

    Parameters
    ----------
    population_size : int, >= 4
        Candidates per generation.
    batch_size : int, >= 1, optional
        Examples per generation, the same for all candidates. None takes the whole training set, as
        does any larger number.
    step_size : float, > 0
        Standard deviation of each weight in the first generation.
    max_full : int, >= 0
        Largest number of weights whose covariance is kept full.
    """

    signal: ClassVar[Signal] = Signal.LOSS

    population_size: Annotated[int, Ge(4), Choice(16, 32, 64, 128, 256)] = 64
    batch_size: BatchSize = 64
    step_size: Annotated[OneOrEach[Positive], LogUniform(0.005, 0.5)] = 0.05
    max_full: NonNegativeInt = 64

    def init(self, problem: Problem, params: Tensor, rng: Stream) -> State:
        n_weights = params.shape[1]
        ones = torch.ones_like(params, dtype=torch.float64)
        state: State = {
            "mean": params.double(),  # (R, n), and all of it float64
            "step_size": each(self.step_size, ones) * ones[:, :1],
            "covariance": ones,  # its diagonal (R, n), or (R, n, n)
            "scales": ones,  # r: roots of the diagonal, or of the eigenvalues
            "step_path": torch.zeros_like(ones),
            "covariance_path": torch.zeros_like(ones),
            "generation": 0,
            "like": params.new_empty(len(params), 0),  # whose type the weights have
        }
        # V: eigenvectors of a covariance of at most a few generations ago
        if n_weights <= self.max_full:
            state["covariance"] = state["basis"] = ones.diag_embed()
        return state

    def step(self, state: State, batch: Batch, problem: Problem, rng: Stream) -> State:
        mean, step_size, covariance, scales = (
            state["mean"],
            state["step_size"],
            state["covariance"],
            state["scales"],
        )
        n_weights, basis = mean.shape[1], state.get("basis")
        c = Constants.of(n_weights, self.population_size, basis is not None)

        normal = rng.normal(self.population_size, n_weights).double()  # (R, P, n)
        if basis is None:
            steps = normal * scales.unsqueeze(1)
        else:
            steps = problem.matmul(problem.matmul(normal, basis) * scales.unsqueeze(1), basis.mT)
        population = mean.unsqueeze(1) + step_size.unsqueeze(2) * steps
        # (R, 1, P)
        weights = rank_weights(
            problem.population_loss(population.to(state["like"].dtype), batch), c.weights
        )
        mean_step, mean_normal = (
            problem.matmul(weights, drawn).squeeze(1) for drawn in (steps, normal)
        )

        generation = state["generation"] + 1
        step_path = (1 - c.step_decay) * state["step_path"] + c.step_gain * mean_normal
        length = step_path.norm(dim=1, keepdim=True) / c.expected_length  # (R, 1)
        # A path that starts at zero is shorter by this factor; one that is long means that the step
        # size lags behind.
        start = sqrt(1 - (1 - c.step_decay) ** (2 * generation))
        steady = (length / start < 1.4 + 2 / (n_weights + 1)).double()
        covariance_path = (1 - c.path_decay) * state[
            "covariance_path"
        ] + steady * c.path_gain * mean_step

        # (R, 1)
        kept = (
            1
            - c.rank_one
            - c.rank_mu
            + c.rank_one * (1 - steady) * c.path_decay * (2 - c.path_decay)
        )
        rows = torch.cat([steps, covariance_path.unsqueeze(1)], 1)  # (R, P + 1, n)
        shares = torch.cat(
            [c.rank_mu * weights, weights.new_full((len(mean), 1, 1), c.rank_one)], 2
        )
        if basis is None:
            covariance = kept * covariance + problem.matmul(shares, rows.square()).squeeze(1)
            scales = covariance.sqrt()
        else:
            covariance = kept.unsqueeze(2) * covariance + problem.matmul(shares * rows.mT, rows)
            if generation % c.eigen_interval == 0:
                # eigh takes nothing else
                finite = covariance.isfinite().all(2, keepdim=True).all(1, keepdim=True)
                eigenvalues, basis = torch.linalg.eigh(covariance.where(finite, 0.0))
                scales = eigenvalues.clamp_min(0).sqrt()
        new = {
            "mean": mean + step_size * mean_step,
            "step_size": step_size * ((length - 1) * c.step_decay / c.damping).exp(),
            "covariance": covariance,
            "scales": scales,
            "step_path": step_path,
            "covariance_path": covariance_path,
            "generation": generation,
            "like": state["like"],
        }
        return new if basis is None else {**new, "basis": basis}

    def params(self, state: State) -> Tensor:
        return state["mean"].to(state["like"].dtype)


def rank_weights(losses: Tensor, by_rank: list[float]) -> Tensor:
    """Weight (R, 1, P) of each candidate by its loss's rank (R, P); equal losses share theirs.

    Ranks beyond those of `by_rank` weigh nothing. What is equal, and that no number ranks last, is
    as in `variation.standings`; as it is asked of pairs, the weights are scaled to the sum that
    they had.
    """
    unranked = [0.0] * (losses.shape[1] - len(by_rank))
    padded = torch.tensor([0.0, *by_rank, *unranked], dtype=torch.float64, device=losses.device)
    total = padded.cumsum(0)  # of the weights up to each rank
    n_smaller, n_no_larger = standings(losses)
    weights = (total[n_no_larger] - total[n_smaller]) / (n_no_larger - n_smaller)
    return (weights * (total[-1] / weights.sum(1, keepdim=True))).unsqueeze(1)


@dataclass(frozen=True)
class Constants:
    """What the tutorial derives from dimension and population size (table 1; symbols as above).

    They are why this file is longer than others: a quarter of it.
    """

    weights: list[float]  # w_i, positive, their sum is 1
    step_decay: float  # c_p
    step_gain: float
    damping: float  # d
    expected_length: float  # E|N(0, I)|
    path_decay: float  # c_q
    path_gain: float
    rank_one: float  # c_1
    rank_mu: float  # c_w
    eigen_interval: int  # generations

    @classmethod
    def of(cls, n: int, population_size: int, is_full: bool) -> Constants:
        """Constants for n weights."""
        raw = [
            log((population_size + 1) / 2) - log(rank)
            for rank in range(1, population_size // 2 + 1)
        ]
        weights = [weight / sum(raw) for weight in raw]
        mu = 1 / sum(weight**2 for weight in weights)
        step_decay = (mu + 2) / (n + mu + 5)
        path_decay = (4 + mu / n) / (n + 4 + 2 * mu / n)
        speed = 1 if is_full else (n + 2) / 3  # a diagonal has fewer entries to learn
        rank_one = min(1, speed * 2 / ((n + 1.3) ** 2 + mu))
        rank_mu = min(1 - rank_one, speed * 2 * (0.25 + mu + 1 / mu - 2) / ((n + 2) ** 2 + mu))
        return cls(
            weights=weights,
            step_decay=step_decay,
            step_gain=sqrt(step_decay * (2 - step_decay) * mu),
            damping=1 + 2 * max(0.0, sqrt((mu - 1) / (n + 1)) - 1) + step_decay,
            expected_length=sqrt(2) * exp(lgamma((n + 1) / 2) - lgamma(n / 2)),
            path_decay=path_decay,
            path_gain=sqrt(path_decay * (2 - path_decay) * mu),
            rank_one=rank_one,
            rank_mu=rank_mu,
            eigen_interval=max(1, int(1 / (10 * n * (rank_one + rank_mu)))),
        )
