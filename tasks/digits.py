"""Handwritten digits of 8x8 pixels (Alpaydin & Kaynak, 1998).

Source      The UCI "Optical Recognition of Handwritten Digits" test part, as shipped with
            scikit-learn (`load_digits`).
Licence     CC BY 4.0 (UCI), doi:10.24432/C50P49.
Examples    1,797 images of 1x8x8; ten balanced classes of 174 to 183. A pixel counts the ink in a
            4x4 block of a 32x32 bitmap, 0 to 16; here scaled as one to mean 0 and standard
            deviation 1 over the training part.
Splits      1,257 train, 270 validation, 270 test, stratified. The 13 writers are in all three.
Chance      0.10.
Reference   Measured here at `split_seed=0`, on the test split: logistic regression 0.967, three
            nearest neighbours 0.993. The default network trained by backpropagation for 20 epochs
            reaches 0.970 on the validation and 0.977 on the test split (means of 3 seeds).

Source task `glyphs`: the same ten digits printed, 2,520 images from the outlines of 21 faces in
            matplotlib, each digit of each face twelve times with another slant, rotation, width,
            height and place, made into pixels as UCI made theirs. The faces' licences ship beside
            them. Measured here: three nearest neighbours among the printed digits name 0.67 of the
            handwritten ones. With `half=upper` the task is the digits 5 to 9 (896 images), its
            source `other_half` those from 0 to 4 (901); with `half=lower` the other way round.
"""

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
from annotated_types import Interval
from torch import Tensor

from beyond.architectures.mlp import MLP
from beyond.contracts import TargetKind, TaskSpec
from beyond.data.arrays import Examples
from beyond.data.augment import jitter
from beyond.data.halves import HalvedTask
from beyond.settings import NonNegative, settings
from beyond.streams import Stream

GLYPH_NAMES = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
GLYPH_VARIANTS = 12  # of each digit of each face
GLYPH_SEED = 0


@settings(kw_only=True)
class Digits(HalvedTask):
    """Name the digit in an image of 8x8 pixels.

    Parameters
    ----------
    shift : int, in [0, 7]
        Training images are moved by up to this many pixels along each axis; background enters.
    noise_std : float, >= 0
        Normal noise added to training images, in units of their standard deviation.
    """

    PACKAGES: ClassVar = ("scikit-learn", "matplotlib")

    shift: Annotated[int, Interval(ge=0, le=7)] = 0
    noise_std: NonNegative = 0.0

    @property
    def spec(self) -> TaskSpec:
        return TaskSpec(
            name="image/digits",
            input_shape=(1, 8, 8),
            n_outputs=len(self.labels),
            target_kind=TargetKind.CLASSES,
            network=MLP(hidden=(32,)),
            score="accuracy_score",
            levels=(0.80, 0.90, 0.95),
        )

    def everything(self) -> Examples:
        return _digits()

    def others(self) -> Mapping[str, Callable[[], Examples]]:
        return {"glyphs": glyphs}

    def augment(self, inputs: Tensor, rng: Stream) -> Tensor:
        # every image has an empty pixel: the first
        background = inputs.flatten(2).amin(2) if self.shift else None
        return jitter(inputs, rng, self.shift, (3, 4), background, self.noise_std)


@cache
def _digits() -> Examples:
    from sklearn.datasets import load_digits

    pixels, digits = (np.asarray(values) for values in load_digits(return_X_y=True))
    return Examples(pixels.reshape(-1, 1, 8, 8), digits, scaling="whole")


@cache
def glyphs() -> Examples:
    """Printed digits, made as UCI made the handwritten ones: ink in 4x4 blocks of 32x32 bits."""
    from matplotlib.path import Path as Outline

    side = (np.arange(32) + 0.5) / 32
    points = np.stack(np.meshgrid(side, side[::-1]), -1).reshape(-1, 2)  # row by row from the top
    rng = np.random.default_rng(GLYPH_SEED)
    images, labels = [], []
    for label, polygons in _outlines():
        for _ in range(GLYPH_VARIANTS):
            transform, offset = _placement(rng)
            ink = np.zeros(len(points), bool)
            # a hole is a polygon inside another: ink where an odd number overlap
            for polygon in polygons:
                ink ^= Outline(polygon @ transform.T + offset).contains_points(points)
            images.append(ink.reshape(1, 8, 4, 8, 4).sum((2, 4)))
            labels.append(label)
    return Examples(np.stack(images).astype(float), np.array(labels), scaling="whole")


def _outlines() -> list[tuple[int, list[np.ndarray]]]:
    """Each face's digits as polygons, centred on the origin and 1 high.

    A face is used if its glyphs for 0 to 9 carry the digits' names: symbol fonts and placeholders
    do not.
    """
    from matplotlib import get_data_path
    from matplotlib.ft2font import FT2Font, LoadFlags
    from matplotlib.path import Path as Outline

    found = []
    for file in sorted(Path(get_data_path(), "fonts", "ttf").glob("*.ttf")):
        face = FT2Font(str(file))
        if [
            face.get_glyph_name(face.get_char_index(ord(digit))) for digit in "0123456789"
        ] != GLYPH_NAMES:
            continue
        for label in range(10):
            face.load_char(ord(str(label)), flags=LoadFlags.NO_SCALE)
            polygons = [np.asarray(polygon) for polygon in Outline(*face.get_path()).to_polygons()]
            corners = np.concatenate(polygons)
            low, high = corners.min(0), corners.max(0)
            found.append(
                (label, [(polygon - (low + high) / 2) / (high - low)[1] for polygon in polygons])
            )
    return found


def _placement(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw how one glyph is written into the unit square: a matrix (2, 2) and an offset (2,)."""
    angle, slant = rng.normal(0, 0.1), rng.normal(0, 0.12)  # radians; width a height
    # height of the square, width of the face
    height, width = rng.uniform(0.85, 1.05), rng.uniform(0.8, 1.15)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return height * rotation @ np.array([[width, slant], [0, 1]]), 0.5 + rng.uniform(-0.04, 0.04, 2)
