"""The loss as a function of the weights: on lines and planes between solutions, and its curvature.

    excess    loss(A + t (B - A)) - ((1 - t) loss(A) + t loss(B)); its largest value is the barrier
              between A and B (Frankle, Dziugaite, Roy & Carbin, 2020, arXiv:1912.05671)
    rise      loss(t) - min_{s <= t} loss(s); the largest is 0 where the loss falls all the way
              (Goodfellow, Vinyals & Saxe, 2015, arXiv:1412.6544; Lucas et al., 2021,
              arXiv:2104.11044)
    filters   a random direction in which each unit's incoming weights are as long as the network's,
              and biases and gains stay (Li, Xu, Taylor, Studer & Goldstein, 2018, arXiv:1712.09913)
    matching  hidden units of B in the order in which its weights are most like A's (Ainsworth,
              Hayase & Srinivasa, 2023, arXiv:2209.04836, section 3.2)
    sharpness largest eigenvalue of the Hessian, by power iteration

All in double precision, dropout off.
Departures: layers are matched from the inputs on, not in a random order; the eigenvalue is the
largest, not the largest in size, so that where a negative one is larger the iteration is shifted.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from beyond import losses
from beyond.contracts import Batch, TaskSpec
from beyond.network.layered import LayeredNetwork
from beyond.network.layers import Role
from beyond.problem import Problem

GROUP = 1 << 23  # weights of points that are held at once: 64 MB of them
TOLERANCE = 1e-5  # relative change of an eigenvalue in an iteration, below which it has converged
MOST_ITERATIONS = 1000
# between two maps units may be told apart, and put into another order
UNMIXED = frozenset({Role.DENSE, Role.ACTIVATION, Role.NOISE, Role.RESHAPING})

Product = Callable[[Tensor], Tensor]  # of matrices, one a row, and vectors (L, n)


class Surface:
    """The loss of a network on a fixed batch at any weights.

    Parameters
    ----------
    network : LayeredNetwork
        In double precision.
    spec : TaskSpec
    batch : Batch
        Inputs and targets of one replica, (1, B, ...), for all weights.
    """

    def __init__(self, network: LayeredNetwork, spec: TaskSpec, batch: Batch) -> None:
        self.network, self.spec, self.batch = network, spec, batch
        self._problem = Problem(network, spec)

    def over(self, origins: Tensor, axes: Tensor, places: Tensor) -> Tensor:
        """Losses (L, P) at P places (P, K) of L planes, or lines: origins (L, n), axes (L, K, n).

        Place (x, y) is origin + x axis_1 + y axis_2.
        """
        n_at_once = max(1, GROUP // (len(places) * origins.shape[1]))
        found = []
        for some in zip(origins.split(n_at_once), axes.split(n_at_once), strict=True):
            points = some[0].unsqueeze(1) + places @ some[1]  # (L, P, n)
            loss = self._problem.population_loss(points.flatten(0, 1).unsqueeze(0), self.batch)
            found.append(loss.view(len(points), -1))
        return torch.cat(found)

    def hessian(self, points: Tensor) -> Product:
        """Return what multiplies vectors (L, n) by the Hessian of the loss at points (L, n)."""
        with torch.enable_grad():
            weights = points.detach().requires_grad_()
            outputs = self.network.outputs(weights, self.batch.inputs)
            # points do not mix in a sum
            loss = losses.loss(self.spec.target_kind, outputs, self.batch.targets).sum()
            (gradient,) = torch.autograd.grad(loss, weights, create_graph=True)
        return lambda vectors: torch.autograd.grad(gradient, weights, vectors, retain_graph=True)[0]

    def sharpness(self, points: Tensor, draws: Tensor) -> Tensor:
        """Largest eigenvalue (L,) of the Hessian at each point, from random vectors (L, n)."""
        return largest_eigenvalue(self.hessian(points), draws)


def largest_eigenvalue(product: Product, draws: Tensor) -> Tensor:
    """Largest eigenvalue (L,) of symmetric matrices, from random vectors (L, n)."""
    found, vectors = _power(product, draws, draws.new_zeros(len(draws)))
    # negative: it is the one of largest size, and by that much all are moved up
    shift = (-found).clamp(min=0)
    return _power(product, torch.where((shift > 0).unsqueeze(1), draws, vectors), shift)[0]


def _power(product: Product, vectors: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalue (L,) of largest size once matrices are moved by a shift (L,), and its vector."""
    found = vectors.new_full((len(vectors),), float("inf"))
    for _ in range(MOST_ITERATIONS):
        units = vectors / vectors.norm(dim=1, keepdim=True).clamp(min=1e-300)
        vectors = product(units) + shift.unsqueeze(1) * units
        before, found = found, (units * vectors).sum(1)
        if ((found - before).abs() <= TOLERANCE * found.abs()).all():
            break
    return found - shift, vectors


def excess(values: Tensor, places: Tensor) -> Tensor:
    """Losses (L, P) along lines, at places (P,) from 0 to 1, less the chord between their ends."""
    return values - torch.lerp(values[:, :1], values[:, -1:], places)  # 0 at both ends, exactly


def rise(values: Tensor) -> Tensor:
    """Losses (L, P) along lines less the smallest before, or there."""
    return values - values.cummin(1).values


def filter_normalised(network: LayeredNetwork, weights: Tensor, draws: Tensor) -> Tensor:
    """Directions (L, n) from draws (L, n): each row of a weight as long as the same of (L, n)."""
    directions = torch.zeros_like(weights)
    for block in network.blocks:
        start = block.start
        for shape in block.shapes.values():
            stop = start + prod(shape)
            if len(shape) > 1:
                rows = weights[:, start:stop].unflatten(1, (shape[0], -1))
                drawn = draws[:, start:stop].unflatten(1, (shape[0], -1))
                length = rows.norm(dim=2, keepdim=True) / drawn.norm(dim=2, keepdim=True)
                directions[:, start:stop] = (drawn * length).flatten(1)
            start = stop
    return directions


def has_like_units(network: LayeredNetwork) -> bool:
    """Say whether hidden units may change places: dense layers in a row, with activations alone."""
    roles = frozenset[Role]().union(*(layer.roles for layer in network.layers))
    first = network.blocks[0].layer
    plain = all(len(shape) == 1 for shape in network.shapes[first + 1 :])
    return roles <= UNMIXED and plain and len(network.blocks) > 1


def matched(network: LayeredNetwork, reference: Tensor, weights: Tensor) -> Tensor:
    """Weights (n,) with hidden units in the order that is most like a reference's (n,).

    The function that they compute is the same. Each hidden layer's order is the best for those of
    the layers beside it, again and again until none changes.
    """
    ours, theirs = _maps(network, reference), _maps(network, weights)
    orders = [torch.arange(len(one)) for one in theirs]
    inputs = torch.arange(theirs[0].shape[1] - 1)
    changes = True
    while changes:
        changes = False
        for layer in range(len(theirs) - 1):
            below = orders[layer - 1] if layer else inputs
            alike = ours[layer] @ _reordered(theirs[layer], columns=below).T
            above = theirs[layer + 1][orders[layer + 1], :-1]
            alike += ours[layer + 1][:, :-1].T @ above
            best = torch.as_tensor(linear_sum_assignment(alike.numpy(), maximize=True)[1])
            gain = _agreement(alike, best) - _agreement(alike, orders[layer])
            if gain > 1e-9 * alike.abs().sum():  # ties are left as they are: it ends
                orders[layer], changes = best, True
    columns = [inputs, *orders[:-1]]
    parts = [
        _reordered(one, rows, among)
        for one, rows, among in zip(theirs, orders, columns, strict=True)
    ]
    return torch.cat([part for one in parts for part in (one[:, :-1].flatten(), one[:, -1])])


def _maps(network: LayeredNetwork, weights: Tensor) -> list[Tensor]:
    """Weights of each dense layer with the bias as last column, (n_out, n_in + 1)."""
    views = [one for one in network.unflatten(weights.unsqueeze(0)) if one]
    return [torch.cat([one["weight"][0], one["bias"][0].unsqueeze(1)], 1) for one in views]


def _reordered(one: Tensor, rows: Tensor | None = None, columns: Tensor | None = None) -> Tensor:
    """Rows and columns of a map in another order; the last column, the bias, stays."""
    one = one if rows is None else one[rows]
    return one if columns is None else torch.cat([one[:, :-1][:, columns], one[:, -1:]], 1)


def _agreement(alike: Tensor, order: Tensor) -> Tensor:
    return alike[torch.arange(len(order)), order].sum()
