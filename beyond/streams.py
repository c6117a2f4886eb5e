"""Named random streams, one generator per replica.

A stream is derived from a seed by its name, so the draws of one purpose never shift those of
another, and replica r of a stacked run draws exactly what the same seed draws alone. No global
generator is read or changed.
"""

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import blake2b

import numpy as np
import torch
from torch import Tensor


def derive_seed(name: str, seed: int) -> int:
    """Return the 63-bit seed of stream `name` at `seed`."""
    return int.from_bytes(blake2b(f"{name}:{seed}".encode(), digest_size=8).digest(), "big") >> 1


class Stream:
    """Draws for R replicas, one generator for each.

    Parameters
    ----------
    name : str
        The purpose: "init", "data", "augment", "step", "probe", ...
    seeds : sequence of int
        One per replica.
    """

    def __init__(self, name: str, seeds: Sequence[int]) -> None:
        self.generators = [torch.Generator().manual_seed(derive_seed(name, seed)) for seed in seeds]

    def normal(self, *shape: int) -> Tensor:
        """Draw standard normal numbers of shape (R, *shape)."""
        draws = torch.empty(len(self.generators), *shape)
        for row, generator in zip(draws, self.generators, strict=True):
            row.normal_(generator=generator)
        return draws

    def uniform(self, *shape: int) -> Tensor:
        """Draw numbers uniform in [0, 1), of shape (R, *shape)."""
        draws = torch.empty(len(self.generators), *shape)
        for row, generator in zip(draws, self.generators, strict=True):
            row.uniform_(generator=generator)
        return draws

    def integers(self, high: int, *shape: int) -> Tensor:
        """Draw integers uniform in [0, high), int64 of shape (R, *shape)."""
        draws = torch.empty(len(self.generators), *shape, dtype=torch.int64)
        for row, generator in zip(draws, self.generators, strict=True):
            row.random_(0, high, generator=generator)
        return draws

    def permutation(self, n: int) -> Tensor:
        """Draw an order of n items, int64 of shape (R, n)."""
        return torch.stack(
            [torch.randperm(n, generator=generator) for generator in self.generators]
        )

    def state(self) -> list[Tensor]:
        """Return where each generator stands, for `restore`."""
        return [generator.get_state() for generator in self.generators]

    def restore(self, state: Sequence[Tensor]) -> None:
        """Go back to where `state` was taken."""
        for generator, saved in zip(self.generators, state, strict=True):
            generator.set_state(saved)


@contextmanager
def global_generators(seed: int) -> Iterator[None]:
    """Seed Python's, numpy's and torch's global generators for a library; restore them after."""
    python_state, numpy_state, torch_state = (
        random.getstate(),
        np.random.get_state(),  # noqa: NPY002
        torch.get_rng_state(),
    )
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002
    # torch.manual_seed also looks for accelerators, at every call
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)  # noqa: NPY002
        torch.set_rng_state(torch_state)
