"""Random search in weight space (Brooks, 1958): keep the best network drawn so far (control arm).

Any method that is told the loss must beat it: it never learns from one draw where to look next.

    v_k ~ the distribution of the initial weights              k = 1 .. n_candidates
    w  <- argmin of the loss on the batch over {w, v_1, ..., v_K}

Departures: a new batch each step, on which the incumbent is evaluated again with the candidates;
dropout is off.
Needs: global loss.
Cost: P forward passes of the batch.
Check: equals the argmin by hand, and never worsens on a fixed batch
(tests/methods/test_random_search.py).
Source: Operations Research 6, 244-251, doi:10.1287/opre.6.2.244; as a control for neural networks:
Schmidhuber, Hochreiter & Bengio, 2001, "Evaluating benchmark problems by random guessing".
"""

from collections.abc import Sequence
from math import inf
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from beyond.contracts import Batch, Method, Signal
from beyond.problem import Problem
from beyond.search import Choice
from beyond.settings import BatchSize, PositiveInt, settings
from beyond.streams import Stream


@settings
class RandomSearch(Method[dict[str, Tensor]]):
    """Draw fresh networks; keep the best of them and the incumbent, which equals do not replace.

    Parameters
    ----------
    n_candidates : int, >= 1
        Fresh networks per step.
    batch_size : int, >= 1, optional
        Examples per step; None takes the whole training set. So does any larger number.
    """

    signal: ClassVar[Signal] = Signal.LOSS

    n_candidates: Annotated[PositiveInt, Choice(16, 32, 64, 128, 256)] = 64
    batch_size: BatchSize = 256

    def init(self, problem: Problem, params: Tensor, rng: Stream) -> dict[str, Tensor]:
        return {"params": params}  # the incumbent, (R, n)

    def step(
        self, state: dict[str, Tensor], batch: Batch, problem: Problem, rng: Stream
    ) -> dict[str, Tensor]:
        fresh = problem.fresh_population(rng, self.n_candidates)
        candidates = torch.cat([state["params"].unsqueeze(1), fresh], 1)  # (R, 1 + K, n)
        best = problem.population_loss(candidates, batch).nan_to_num(inf, inf).argmin(1)
        return {"params": candidates[torch.arange(len(best), device=best.device), best]}

    def params(self, state: dict[str, Tensor]) -> Tensor:
        return state["params"]

    def left_alone(self, problem: Problem) -> Sequence[str]:
        # alike in all networks that it draws
        return [block.name for block in problem.blocks if not block.drawn]
