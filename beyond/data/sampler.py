"""The order in which training examples are seen."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from beyond.streams import Stream


class Sampler:
    """An endless line of shuffled passes over the training set, cut into batches.

    The line depends on the seed alone, so methods with different batch sizes see the same examples
    in the same order.

    Parameters
    ----------
    n_examples, batch_size : int
    stream : Stream
        One generator per replica: each has its own order.
    """

    def __init__(self, n_examples: int, batch_size: int, stream: Stream) -> None:
        self.n_examples = n_examples
        self.batch_size = batch_size
        self.stream = stream
        self.line = stream.permutation(n_examples)
        self.position = 0

    def ahead(self) -> Tensor:
        """Indices of the next batches, int64 (T, R, batch_size): those in this pass, at least one.

        It does not move along the line: `advance` does, by one batch.
        """
        while self.position + self.batch_size > self.line.shape[1]:
            rest = self.line[:, self.position :]
            self.line = torch.cat([rest, self.stream.permutation(self.n_examples)], 1)
            self.position = 0
        n_batches = (self.line.shape[1] - self.position) // self.batch_size
        indices = self.line[:, self.position : self.position + n_batches * self.batch_size]
        return indices.unflatten(1, (n_batches, self.batch_size)).transpose(0, 1)

    def advance(self) -> None:
        """Move behind the next batch."""
        self.position += self.batch_size

    def next(self) -> Tensor:
        """Indices of the next batch, int64 of shape (R, batch_size), and move behind it."""
        batch = self.ahead()[0]
        self.advance()
        return batch

    def state(self) -> dict[str, Any]:
        """Return where the line stands, for `restore`."""
        return {"line": self.line, "position": self.position, "stream": self.stream.state()}

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to where `state` was taken."""
        self.line, self.position = state["line"], state["position"]
        self.stream.restore(state["stream"])
