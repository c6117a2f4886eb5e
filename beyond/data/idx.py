"""Images of ten classes in four files of the IDX format: MNIST, and what was made in its image.

two zeros, 8 for bytes, number of axes | their lengths, 4 bytes each, big-endian | values
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, partial
from math import prod
from typing import ClassVar

import numpy as np

from beyond.data.arrays import Examples
from beyond.data.halves import HalvedTask
from beyond.data.sources import File, Source
from beyond.errors import InputError
from beyond.settings import settings

FILES = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
N_TEST = 10_000


@settings(kw_only=True)
class IDXTask(HalvedTask):
    """Name what is in an image of 28x28 pixels.

    Its files are those of the first of `DATA`; the others are of tasks to learn from first.
    """

    VALIDATION_FRACTION: ClassVar = 1 / 12  # 5,000

    def everything(self) -> Examples:
        return _examples(self.DATA[0])

    def others(self) -> Mapping[str, Callable[[], Examples]]:
        return {source.name: partial(_examples, source) for source in self.DATA[1:]}


def _examples(source: Source) -> Examples:
    images, classes = published(source)
    return Examples(images.astype(np.float32), classes, N_TEST, scaling="whole")


def files(
    sums: tuple[str, ...], sizes: tuple[int, ...], folders: tuple[str, ...]
) -> tuple[File, ...]:
    """Return the four files by their SHA-256, the sizes of the downloads, and addresses."""
    return tuple(
        File(f"{name}-ubyte", sha256, size, tuple(f"{url}/{name}-ubyte.gz" for url in folders))
        for name, sha256, size in zip(FILES, sums, sizes, strict=True)
    )


@cache
def published(source: Source) -> tuple[np.ndarray, np.ndarray]:
    """Grey values (70000, 1, 28, 28) and classes (70000,): training part, then test split."""
    arrays = [idx(source.read(file.name)) for file in source.files]
    images, classes = np.concatenate(arrays[::2]), np.concatenate(arrays[1::2])
    return images[:, None], classes.astype(np.int64)


def idx(contents: bytes) -> np.ndarray:
    """Array of bytes from IDX; `InputError` for what is not that."""
    start = 4 + 4 * sum(contents[3:4])
    shape = [int.from_bytes(contents[at : at + 4], "big") for at in range(4, start, 4)]
    if contents[:3] != b"\0\0\x08" or prod(shape) != len(contents) - start:
        raise InputError(f"not an IDX file of bytes: its header is {contents[:start].hex(' ', 4)}")
    return np.frombuffer(contents, np.uint8, offset=start).reshape(shape)
