"""CIFAR-10: things and animals in colour, 32x32 pixels (Krizhevsky, 2009).

Source      The author's binary version, cifar-10-binary.tar.gz: `beyond-data fetch cifar10`.
            "Learning multiple layers of features from tiny images", University of Toronto.
Licence     None was given with it; it is taken to be free for research.
Examples    60,000 images of 3x32x32; ten classes of 6,000: airplane, automobile, bird, cat, deer,
            dog, frog, horse, ship, truck. Values 0 to 255, scaled as one to mean 0 and standard
            deviation 1 over the training part.
Splits      The published 10,000 are the test split. Of the published 50,000 training images 45,000
            train and 5,000 validate, stratified. `train_size=10000` is enough for most comparisons.
Chance      0.10.
Published   Test accuracy of a convolutional network of 2012 0.82 without augmentation (Krizhevsky,
            Sutskever & Hinton's cuda-convnet), of a residual network of 20 layers with shifts of 4
            pixels and flips 0.9125 (He et al., 2016, arXiv:1512.03385, table 6).
Reference   Not measured here.
"""

import io
import tarfile
from collections.abc import Sequence
from functools import cache
from typing import Annotated, ClassVar

import numpy as np
import torch
from annotated_types import Interval
from torch import Tensor

from beyond.architectures.cnn import CNN
from beyond.contracts import BestKnown, TargetKind, TaskSpec
from beyond.data.arrays import ArrayTask, Examples
from beyond.data.augment import jitter
from beyond.data.sources import File, Source
from beyond.errors import InputError
from beyond.settings import settings
from beyond.streams import Stream

ARCHIVE = "cifar-10-binary.tar.gz"
PUBLISHED = Source(
    name="cifar10",
    licence="none given",
    files=(
        File(
            ARCHIVE,
            "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
            170_052_171,
            (f"https://www.cs.toronto.edu/~kriz/{ARCHIVE}",),
        ),
    ),
)
BATCHES = (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch")
NAMES = (  # in the order of the labels
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)
RECORD = 1 + 3 * 32 * 32  # bytes: the class, then red, green and blue, each row by row


@settings(kw_only=True)
class CIFAR10(ArrayTask):
    """Name the thing or animal in a colour image of 32x32 pixels.

    Parameters
    ----------
    shift : int, in [0, 31]
        Training images are moved by up to this many pixels along each axis; the mean enters.
    flip_rate : float, in [0, 1]
        Share of the training images that are shown mirrored, left for right.
    """

    DATA: ClassVar = (PUBLISHED,)
    VALIDATION_FRACTION: ClassVar = 0.1
    BEST_KNOWN: ClassVar = (
        BestKnown(
            0.9125,
            "accuracy_score",
            "the residual network of 20 layers of He et al. (2016), arXiv:1512.03385",
            {"shift": 4, "flip_rate": 0.5},
        ),
    )

    shift: Annotated[int, Interval(ge=0, le=31)] = 0
    flip_rate: Annotated[float, Interval(ge=0, le=1)] = 0.0

    @property
    def spec(self) -> TaskSpec:
        return TaskSpec(
            name="image/cifar10",
            input_shape=(3, 32, 32),
            n_outputs=10,
            target_kind=TargetKind.CLASSES,
            network=CNN((16, 32)),
            score="accuracy_score",
            levels=(0.45, 0.55, 0.65),
        )

    @property
    def classes(self) -> Sequence[str]:
        return NAMES

    def examples(self) -> Examples:
        batches = _published()
        images, classes = (np.concatenate(parts) for parts in zip(*batches, strict=True))
        return Examples(images, classes, n_test=len(batches[-1][1]), scaling="whole")

    def augment(self, inputs: Tensor, rng: Stream) -> Tensor:
        inputs = jitter(inputs, rng, self.shift, (3, 4), 0.0, 0.0)
        if not self.flip_rate:
            return inputs
        mirrored = rng.uniform(inputs.shape[1]) < self.flip_rate  # (R, B)
        return torch.where(mirrored[..., None, None, None], inputs.flip(-1), inputs)


@cache
def _published() -> list[tuple[np.ndarray, np.ndarray]]:
    """Pixels (N, 3, 32, 32), uint8, and classes (N,) of each batch, the test batch last."""
    with tarfile.open(fileobj=io.BytesIO(PUBLISHED.read(ARCHIVE))) as archive:
        files = [archive.extractfile(f"cifar-10-batches-bin/{name}.bin") for name in BATCHES]
        return [records(file.read() if file else b"") for file in files]


def records(contents: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (N, 3, 32, 32), uint8, and classes (N,) of one file."""
    if len(contents) % RECORD:
        raise InputError(
            f"not a file of CIFAR-10: {len(contents):,} bytes, not a multiple of 3,073"
        )
    rows = np.frombuffer(contents, np.uint8).reshape(-1, RECORD)
    return rows[:, 1:].reshape(-1, 3, 32, 32), rows[:, 0].astype(np.int64)
