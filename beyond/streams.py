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
from torch import Generator, Tensor

from beyond.hardware import HOST, Hardware


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
    hardware : Hardware
        Where the draws are wanted, and made.

    Attributes
    ----------
    device, dtype
        Where the draws are, and the type of those that are no whole numbers; they are drawn in
        single precision.
    """

    def __init__(self, name: str, seeds: Sequence[int], hardware: Hardware = HOST) -> None:
        self.device, self.dtype = hardware.place, hardware.dtype
        self._made_on = (hardware if hardware.draws == "device" else HOST).place
        self.generators = [
            Generator(self._made_on).manual_seed(derive_seed(name, seed)) for seed in seeds
        ]

    def normal(self, *shape: int) -> Tensor:
        """Draw standard normal numbers of shape (R, *shape)."""
        draws = self._empty(shape)
        for row, generator in zip(draws, self.generators, strict=True):
            row.normal_(generator=generator)
        return draws.to(self.device, self.dtype)

    def uniform(self, *shape: int) -> Tensor:
        """Draw numbers uniform in [0, 1), of shape (R, *shape)."""
        draws = self._empty(shape)
        for row, generator in zip(draws, self.generators, strict=True):
            row.uniform_(generator=generator)
        return draws.to(self.device, self.dtype)

    def integers(self, high: int, *shape: int) -> Tensor:
        """Draw integers uniform in [0, high), int64 of shape (R, *shape)."""
        draws = self._empty(shape, torch.int64)
        for row, generator in zip(draws, self.generators, strict=True):
            row.random_(0, high, generator=generator)
        return draws.to(self.device)

    def permutation(self, n: int) -> Tensor:
        """Draw an order of n items, int64 of shape (R, n)."""
        orders = [
            torch.randperm(n, generator=generator, device=self._made_on)
            for generator in self.generators
        ]
        return torch.stack(orders).to(self.device)

    def _empty(self, shape: Sequence[int], dtype: torch.dtype = torch.float32) -> Tensor:
        return torch.empty(len(self.generators), *shape, dtype=dtype, device=self._made_on)

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
    devices = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002
    # torch.manual_seed also looks for accelerators, at every call
    torch.default_generator.manual_seed(seed)
    if devices:
        torch.cuda.manual_seed_all(seed)
    try:
        yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)  # noqa: NPY002
        torch.set_rng_state(torch_state)
        if devices:
            torch.cuda.set_rng_state_all(devices)
