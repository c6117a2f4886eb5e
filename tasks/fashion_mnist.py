"""Fashion-MNIST: clothes in 28x28 pixels (Xiao, Rasul & Vollgraf, 2017).

Source      Debian's package `dataset-fashion-mnist` (`apt install dataset-fashion-mnist`), or the
            authors' four files in `datasets/fashion-mnist` below any folder of XDG_DATA_DIRS.
            SHA-256 of their contents is verified. arXiv:1708.07747,
            github.com/zalandoresearch/fashion-mnist.
Licence     MIT.
Examples    70,000 images of 1x28x28; ten classes of 7,000. Grey values 0 to 255, scaled as one to
            mean 0 and standard deviation 1 over the training part.
Splits      The published 10,000 are the test split. Of the published 60,000 training images 55,000
            train and 5,000 validate, stratified. `train_size=10000` is enough for most comparisons.
Chance      0.10.
Published   Test accuracy of untrained people 0.835, of convolutional networks 0.88 to 0.94 (the
            package's README).
Reference   Measured here at `split_seed=0`, on the test split: nearest centroid 0.68; trained on
            10,000 images, three nearest neighbours 0.813 and logistic regression 0.837. The default
            network trained by backpropagation for 20 epochs reaches 0.87.
"""

from functools import cache
from math import prod
from typing import ClassVar

import numpy as np

from beyond.architectures.mlp import MLP
from beyond.contracts import TargetKind, TaskSpec
from beyond.data.arrays import ArrayTask, Examples
from beyond.errors import InputError
from beyond.files import unpacked
from beyond.settings import settings

PACKAGE = "dataset-fashion-mnist"
FILES = {  # SHA-256 of the contents
    "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}
N_TEST = 10_000


@settings(kw_only=True)
class FashionMNIST(ArrayTask):
    """Name the kind of clothing in an image of 28x28 pixels."""

    VALIDATION_FRACTION: ClassVar = 1 / 12  # 5,000

    @property
    def spec(self) -> TaskSpec:
        return TaskSpec(
            name="image/fashion_mnist",
            input_shape=(1, 28, 28),
            n_outputs=10,
            target_kind=TargetKind.CLASSES,
            network=MLP(hidden=(128,)),
            score="accuracy_score",
            levels=(0.75, 0.80, 0.85),
        )

    def examples(self) -> Examples:
        images, classes = _published()
        return Examples(images.astype(np.float32), classes, N_TEST, scaling="whole")


@cache
def _published() -> tuple[np.ndarray, np.ndarray]:
    """Grey values (70000, 1, 28, 28) and classes (70000,): training part, then test split."""
    arrays = [
        idx(unpacked(f"datasets/fashion-mnist/{name}.gz", sha256, PACKAGE))
        for name, sha256 in FILES.items()
    ]
    images, classes = np.concatenate(arrays[::2]), np.concatenate(arrays[1::2])
    return images[:, None], classes.astype(np.int64)


def idx(contents: bytes) -> np.ndarray:
    """Array of bytes from IDX: two zeros, 8 for bytes, number of axes, their lengths, values."""
    start = 4 + 4 * contents[3]
    shape = [int.from_bytes(contents[at : at + 4], "big") for at in range(4, start, 4)]
    if contents[:3] != b"\0\0\x08" or prod(shape) != len(contents) - start:
        raise InputError(f"not an IDX file of bytes: its header is {contents[:start].hex(' ', 4)}")
    return np.frombuffer(contents, np.uint8, offset=start).reshape(shape)
