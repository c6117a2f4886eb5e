"""Fashion-MNIST: clothes in 28x28 pixels (Xiao, Rasul & Vollgraf, 2017).

Source      The authors' four files: Debian's package `dataset-fashion-mnist`, or
            `beyond-data fetch fashion_mnist`. arXiv:1708.07747,
            github.com/zalandoresearch/fashion-mnist.
Licence     MIT.
Examples    70,000 images of 1x28x28; ten classes of 7,000. Grey values 0 to 255, scaled as one to
            mean 0 and standard deviation 1 over the training part.
Splits      The published 10,000 are the test split. Of the published 60,000 training images 55,000
            train and 5,000 validate, stratified. `train_size=10000` is enough for most comparisons.
Chance      0.10.
Published   Test accuracy of untrained people 0.835, of convolutional networks 0.88 to 0.94, of
            these without augmentation GoogLeNet's 0.937 (the package's README).
Reference   Measured here at `split_seed=0`, on the test split: nearest centroid 0.68; trained on
            10,000 images, three nearest neighbours 0.813 and logistic regression 0.837. The default
            network trained by backpropagation for 20 epochs reaches 0.869 (mean of 3 seeds).

Source task None for all ten classes. With `half=upper` the task is the last five and its source
            `other_half` the first five; with `half=lower` the other way round.
"""

from collections.abc import Sequence
from typing import ClassVar

from beyond.architectures.mlp import MLP
from beyond.contracts import BestKnown, TargetKind, TaskSpec
from beyond.data.idx import IDXTask, files
from beyond.data.sources import Source
from beyond.settings import settings

PUBLISHED = Source(
    name="fashion_mnist",
    licence="MIT",
    files=files(
        (
            "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        ),
        (26_421_880, 29_515, 4_422_102, 5_148),
        (
            "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion",
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
        ),
    ),
    package="dataset-fashion-mnist",
    folder="datasets/fashion-mnist",
)
NAMES = (  # in the order of the labels, as the data's README has them
    *("T-shirt/top", "trouser", "pullover", "dress", "coat"),
    *("sandal", "shirt", "sneaker", "bag", "ankle boot"),
)


@settings(kw_only=True)
class FashionMNIST(IDXTask):
    """Name the kind of clothing in an image of 28x28 pixels."""

    DATA: ClassVar = (PUBLISHED,)
    BEST_KNOWN: ClassVar = (
        BestKnown(0.937, "accuracy_score", "GoogLeNet, in the table of Fashion-MNIST's README"),
    )

    @property
    def spec(self) -> TaskSpec:
        return TaskSpec(
            name="image/fashion_mnist",
            input_shape=(1, 28, 28),
            n_outputs=len(self.labels),
            target_kind=TargetKind.CLASSES,
            network=MLP(hidden=(128,)),
            score="accuracy_score",
            levels=(0.75, 0.80, 0.85),
        )

    @property
    def classes(self) -> Sequence[str]:
        return [NAMES[label] for label in self.labels]
