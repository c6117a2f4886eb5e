"""One yardstick for every method: the true gradient on a fixed batch that nothing is trained on."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from beyond.contracts import Batch, Task
from beyond.network import Network
from beyond.problem import Problem
from beyond.streams import Stream

PROBE_SIZE = 256


class Probe:
    """Measures layers on a fixed batch of validation examples, each replica its own.

    Parameters
    ----------
    task : Task
    network : Network
    seeds : list of int
        One a replica.
    """

    def __init__(self, task: Task, network: Network, seeds: list[int]) -> None:
        n_examples = min(PROBE_SIZE, task.size("validation"))
        indices = Stream("probe", seeds).permutation(task.size("validation"))[:, :n_examples]
        self.batch: Batch = task.batch("validation", indices)
        self.problem = Problem(network, task.spec)

    def measure(
        self, params: Tensor, before: Tensor | None, transport: Mapping[int, Tensor] | None = None
    ) -> list[dict[str, str | int | Tensor]]:
        """For each block, its norms (R,) at weights `params`, and the last update's, which began at `before`.

        `update_cosine` is the cosine between the update and the negative true gradient at `before`; it and
        `update_norm` are NaN without an update. `transport_cosine` is that between the block's weights and the tensor
        that carries the error back in their place; NaN without one.
        """
        gradient, dead = self._gradient(params)
        unknown = torch.full((len(params),), float("nan"))
        update = torch.full_like(params, float("nan")) if before is None else params - before
        descent = update if before is None else -self._gradient(before)[0]
        own_carriers = self.problem.network.carriers(params) if transport else {}
        aligned = {
            depth: cosine(own_carriers[depth].flatten(1), b.flatten(1)) for depth, b in (transport or {}).items()
        }
        rows: list[dict[str, str | int | Tensor]] = []
        for block, dead_fraction in zip(self.problem.network.blocks, dead, strict=True):
            own = slice(block.start, block.stop)
            rows.append(
                {
                    "layer": block.name,
                    "depth": block.depth,
                    "n_weights": block.stop - block.start,
                    "gradient_norm": gradient[:, own].norm(dim=1),
                    "weight_norm": params[:, own].norm(dim=1),
                    "update_norm": update[:, own].norm(dim=1),
                    "update_cosine": cosine(update[:, own], descent[:, own]),
                    "transport_cosine": aligned.get(block.depth, unknown),
                    "dead_fraction": unknown if isinstance(dead_fraction, float) else dead_fraction,
                }
            )
        return rows

    def _gradient(self, params: Tensor) -> tuple[Tensor, list[float | Tensor]]:
        outputs, tape = self.problem.forward(params, self.batch.inputs)
        gradient = self.problem.backward(tape, self.problem.error(outputs, self.batch.targets))
        return gradient, self.problem.network.dead_fraction(tape)


def cosine(a: Tensor, b: Tensor) -> Tensor:
    """Cosine (R,) between the rows of two (R, d) tensors; NaN where one is zero. In float64, for tiny updates."""
    a, b = a.double(), b.double()
    return ((a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1))).float()
