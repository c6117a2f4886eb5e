"""MNIST: handwritten digits in 28x28 pixels (LeCun, Bottou, Bengio & Haffner, 1998).

Source      The authors' four files: `beyond-data fetch mnist`. Proceedings of the IEEE 86(11),
            2278-2324.
Licence     None was given with them; they are taken to be free for research.
Examples    70,000 images of 1x28x28; ten classes of 6,313 to 7,877. Grey values 0 to 255, scaled as
            one to mean 0 and standard deviation 1 over the training part.
Splits      The published 10,000 are the test split. Of the published 60,000 training images 55,000
            train and 5,000 validate, stratified. `train_size=10000` is enough for most comparisons.
Chance      0.11.
Published   Test accuracy of a linear classifier 0.880, of three nearest neighbours 0.950, of a
            network with 300 hidden units 0.953, of LeNet-5 0.991 (the paper's figure 9); of a
            convolutional network without augmentation 0.994 (Fashion-MNIST's README).
Reference   Not measured here.

Source task `fashion_mnist` for all ten digits. With `half=upper` the task is the digits 5 to 9 and
            its source `other_half` those from 0 to 4; with `half=lower` the other way round.
"""

from typing import ClassVar

from beyond.architectures.mlp import MLP
from beyond.contracts import BestKnown, TargetKind, TaskSpec
from beyond.data.idx import IDXTask, files
from beyond.data.sources import Source
from beyond.settings import settings
from tasks.fashion_mnist import PUBLISHED as FASHION

PUBLISHED = Source(
    name="mnist",
    licence="none given",
    files=files(
        (
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        ),
        (9_912_422, 28_881, 1_648_877, 4_542),
        (
            "https://ossci-datasets.s3.amazonaws.com/mnist",
            "https://storage.googleapis.com/cvdf-datasets/mnist",
        ),
    ),
)


@settings(kw_only=True)
class MNIST(IDXTask):
    """Name the handwritten digit in an image of 28x28 pixels."""

    DATA: ClassVar = (PUBLISHED, FASHION)
    BEST_KNOWN: ClassVar = (
        BestKnown(
            0.994,
            "accuracy_score",
            "a convolutional network, in the table of Fashion-MNIST's README",
        ),
    )

    @property
    def spec(self) -> TaskSpec:
        return TaskSpec(
            name="image/mnist",
            input_shape=(1, 28, 28),
            n_outputs=len(self.labels),
            target_kind=TargetKind.CLASSES,
            network=MLP(hidden=(128,)),
            score="accuracy_score",
            levels=(0.90, 0.95, 0.97),
        )
