"""Printed letters to be learnt from a few images each, in scripts never seen before.

Source      The DejaVu fonts shipped with matplotlib, nine faces: Sans, Sans Mono and Serif, each
            upright, oblique and bold. Rendered here, in about a second. The form of the task is
            that of Lake, Salakhutdinov & Tenenbaum (2015, Science 350, 1332-1338) and Vinyals et
            al. (2016, arXiv:1606.04080).
Licence     Bitstream Vera and DejaVu: free to use, copy and embed; the licence ships beside the
            fonts.
Examples    An episode is five letters (or `ways`), relabelled 0 to 4, with one image each (or
            `shots`) to learn from and five each (or `queries`) to name. An image is 1x16x16, grey
            and anti-aliased: the letter in one of the faces, fitted into a square of 12 pixels,
            then turned by up to 10 degrees, shrunk or stretched by up to a tenth and moved by up to
            a pixel along each axis. Pixels are scaled as one to mean 0 and standard deviation 1
            over the training letters as rendered. A training episode draws fresh images at every
            visit.
Splits      500 train, 200 validation, 400 test episodes, of 166 Latin and Cyrillic, 44 Greek and
            Georgian, and 51 Armenian letters. Some letters have one shape in several scripts (A) or
            cases (c): in this order, a letter that looks like one before it is left out, so that no
            held-out letter looks like a training letter. Look-alikes have images, averaged over the
            faces, at a cosine above 0.93.
Chance      0.20.
Reference   Measured here at `split_seed=0`, on the test split: the nearest image of the support
            names 0.62 of the queries.
"""

from functools import cache
from pathlib import Path
from typing import Annotated, ClassVar
from unicodedata import category, decomposition

import numpy as np
import torch
from annotated_types import Interval
from torch import Tensor

from beyond.architectures.mlp import MLP
from beyond.contracts import Episode, TargetKind, TaskSpec
from beyond.data.episodes import EpisodeTask
from beyond.data.fonts import SIDE, placed, render
from beyond.settings import settings

FACES = [f"DejaVu{family}" for family in ("Sans", "SansMono", "Serif")]
STYLES = ["", "-Bold", "-Oblique"]
SCRIPTS = {  # ranges of code points
    "train": [range(0x41, 0x5B), range(0x61, 0x7B), range(0xC0, 0x250), range(0x400, 0x530)],
    "validation": [range(0x386, 0x3CF), range(0x10D0, 0x10F1)],
    "test": [range(0x531, 0x588)],
}
LOOK_ALIKE = 0.93  # cosine


@settings(kw_only=True)
class Glyphs(EpisodeTask):
    """Name letters after seeing a few of each.

    Parameters
    ----------
    ways : int, in [2, 16]
        Letters of an episode.
    shots : int, in [1, 50]
        Images of each letter to learn from.
    queries : int, in [1, 50]
        Images of each letter to name.
    """

    SIZES: ClassVar = {"train": 500, "validation": 200, "test": 400}
    PACKAGES: ClassVar = ("matplotlib",)
    N_DRAWS: ClassVar = 5  # face, angle, size, right, down
    ORIGIN: ClassVar = "source pools"  # the letters of a split are the same at every seed

    ways: Annotated[int, Interval(ge=2, le=16)] = 5
    shots: Annotated[int, Interval(ge=1, le=50)] = 1
    queries: Annotated[int, Interval(ge=1, le=50)] = 5

    @property
    def spec(self) -> TaskSpec:
        return TaskSpec(
            name="image/glyphs",
            input_shape=(1, SIDE, SIDE),
            n_outputs=self.ways,
            target_kind=TargetKind.CLASSES,
            network=MLP(hidden=(32,)),
            score="accuracy_score",
            levels=(0.55, 0.65, 0.75),
            episode=Episode(self.ways * self.shots, self.ways * self.queries),
        )

    def families(self, split: str, n_episodes: int, rng: np.random.Generator) -> np.ndarray:
        members = letters()[split]
        return np.stack([rng.permutation(members)[: self.ways] for _ in range(n_episodes)])

    def examples(self, families: Tensor, draws: Tensor) -> tuple[Tensor, Tensor]:
        # every letter in turn
        targets = torch.arange(draws.shape[2], device=draws.device) % self.ways
        targets = targets.expand(draws.shape[:3])
        face = (draws[..., 0] * len(faces())).long()
        # (R, E, B, SIDE, SIDE)
        images = glyphs(str(draws.device))[families.gather(2, targets), face]
        shown = placed(images.flatten(0, 2), draws[..., 1:].flatten(0, 2))
        mean, std = _scale()
        return shown.sub_(mean).div_(std).unflatten(0, draws.shape[:3]), targets


@cache
def faces() -> list[Path]:
    """Font files."""
    from matplotlib import get_data_path

    folder = Path(get_data_path(), "fonts", "ttf")
    names = [family + style for family in FACES for style in STYLES]
    return [folder / f"{name.replace('Serif-Oblique', 'Serif-Italic')}.ttf" for name in names]


@cache
def letters() -> dict[str, np.ndarray]:
    """Rows of `glyphs` that each split has, in their order: letters that look like none before."""
    found = _candidates()
    mean = _rendered().mean(1).reshape(len(_rendered()), -1)
    mean /= np.linalg.norm(mean, axis=1, keepdims=True)
    alike = mean @ mean.T > LOOK_ALIKE
    kept = np.zeros(len(mean), bool)
    for row in range(len(mean)):
        kept[row] = not (alike[row] & kept).any()
    splits = np.concatenate([np.full(len(codes), split) for split, codes in found.items()])
    return {split: np.flatnonzero(kept & (splits == split)) for split in found}


@cache
def glyphs(device: str = "cpu") -> Tensor:
    """Ink in [0, 1] of every candidate in every face, (n_letters, n_faces, SIDE, SIDE)."""
    return torch.from_numpy(_rendered()).float().to(device)


@cache
def _scale() -> tuple[float, float]:
    """Mean and standard deviation of the training letters' pixels."""
    pixels = _rendered()[letters()["train"]]
    return float(pixels.mean()), float(pixels.std())


@cache
def _candidates() -> dict[str, list[int]]:
    """Code points of the letters that every face has, accented ones left out, by split."""
    from matplotlib.ft2font import FT2Font

    shared = set.intersection(*(set(FT2Font(str(path)).get_charmap()) for path in faces()))

    def is_letter(code: int) -> bool:
        return (
            code in shared
            and category(chr(code)) in ("Lu", "Ll", "Lo")
            and not decomposition(chr(code))
        )

    return {
        split: [code for codes in ranges for code in codes if is_letter(code)]
        for split, ranges in SCRIPTS.items()
    }


@cache
def _rendered() -> np.ndarray:
    """Ink in [0, 1] of every candidate in every face, (n_letters, n_faces, SIDE, SIDE)."""
    from matplotlib.ft2font import FT2Font

    codes = [code for candidates in _candidates().values() for code in candidates]
    return np.stack(
        [[render(face, code) for code in codes] for face in map(FT2Font, map(str, faces()))], 1
    )
