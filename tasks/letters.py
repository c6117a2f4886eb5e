"""Printed letters, small or capital, in typefaces never seen before.

Source      Fonts shipped with matplotlib, 22 faces of five families, each with all letters A to Z
            and a to z. Rendered here, in about a second.
Licence     DejaVu: Bitstream Vera's, free to use, copy and embed; STIX: SIL Open Font Licence;
            Computer Modern (BaKoMa): free to use and distribute. The licences ship beside the
            fonts.
Examples    11,440 images of 1x16x16, grey and anti-aliased: a letter in one of the faces, fitted
            into a square of 12 pixels, then turned by up to 10 degrees, shrunk or stretched by up
            to a tenth and moved by up to a pixel along each axis, ten times. 26 classes of 440: a
            letter is of one class in both cases. Pixels are scaled as one to mean 0 and standard
            deviation 1 over the training part.
Splits      6,240 train: DejaVu Sans, Sans Mono and Serif, each upright, oblique, bold and both.
            2,080 validation: STIX in these four. 3,120 test: six faces of Computer Modern, one of
            them a typewriter's, two italic, one without serifs. The same at every seed.
Chance      0.038.
Reference   Measured here on the test split: nearest centroid 0.50, logistic regression 0.70, three
            nearest neighbours 0.78. The default network trained by backpropagation for 10 epochs
            reaches 0.809 (mean of 3 seeds).
"""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from string import ascii_lowercase, ascii_uppercase
from typing import ClassVar

import numpy as np
import torch

from beyond.architectures.mlp import MLP
from beyond.contracts import TargetKind, TaskSpec
from beyond.data.arrays import ArrayTask, Examples
from beyond.data.fonts import SIDE, placed, render
from beyond.settings import settings

FACES = {
    "train": [
        f"DejaVu{family}{style}"
        for family, slanted in (("Sans", "Oblique"), ("SansMono", "Oblique"), ("Serif", "Italic"))
        for style in ("", f"-{slanted}", "-Bold", f"-Bold{slanted}")
    ],
    "validation": [f"STIXGeneral{style}" for style in ("", "Italic", "Bol", "BolIta")],
    "test": [f"cm{style}10" for style in ("r", "b", "ss", "tt", "ti", "mi")],
}
N_VARIANTS = 10  # of each letter of each face
SEED = 0


@settings(kw_only=True)
class Letters(ArrayTask):
    """Name a letter in a typeface that is new."""

    PACKAGES: ClassVar = ("matplotlib",)

    @property
    def spec(self) -> TaskSpec:
        return TaskSpec(
            name="image/letters",
            input_shape=(1, SIDE, SIDE),
            n_outputs=len(ascii_lowercase),
            target_kind=TargetKind.CLASSES,
            network=MLP(hidden=(64,)),
            score="accuracy_score",
            levels=(0.65, 0.75, 0.80),
        )

    @property
    def classes(self) -> Sequence[str]:
        return ascii_lowercase

    def examples(self) -> Examples:
        return _printed()


@cache
def _printed() -> Examples:
    """Return the letters of every face, varied: those of the training faces come first."""
    from matplotlib import get_data_path
    from matplotlib.ft2font import FT2Font

    folder, letters = Path(get_data_path(), "fonts", "ttf"), ascii_lowercase + ascii_uppercase
    faces = [FT2Font(str(folder / f"{name}.ttf")) for names in FACES.values() for name in names]
    drawn = np.stack([render(face, ord(letter)) for face in faces for letter in letters])
    images = torch.from_numpy(drawn).float().repeat_interleave(N_VARIANTS, 0)
    draws = np.random.default_rng(SEED).random((len(images), 4), np.float32)
    classes = np.arange(len(letters)) % len(ascii_lowercase)
    n_each = len(letters) * N_VARIANTS
    return Examples(
        placed(images, torch.from_numpy(draws)).numpy(),
        np.tile(classes.repeat(N_VARIANTS), len(faces)),
        n_test=len(FACES["test"]) * n_each,
        scaling="whole",
        n_validation=len(FACES["validation"]) * n_each,
    )
