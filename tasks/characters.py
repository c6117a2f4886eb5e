"""The next character of a text: the smallest language model (Bierce, 1911).

Source      "The Devil's Dictionary", satirical definitions from A to Z, as typed in for the
            Internet Wiretap in 1993: Debian's package `dict-devil`, or
            `beyond-data fetch characters`.
Licence     Public domain.
Examples    87,239 windows of 16 characters (or `length`), every fourth of the text, each with the
            one that follows. 29 characters: small letters, the blank, comma and full stop; a run of
            anything else is one blank.
Splits      69,890 train, 8,678 validation, 8,671 test: the first eight tenths of the text, the
            ninth and the last, the same at every seed; no window reaches into two of them. A
            held-out window that one before it equals is left out. The test begins in the letter S:
            other words are explained, in the same language.
Chance      0.170, the blank.
Reference   Measured here on the test split: counts of the characters before, each order smoothed by
            the one below it (weights chosen on the validation split), 3.41 bits a character and
            accuracy 0.286 with one character before, 2.86 and 0.379 with two, a trigram, 2.44 and
            0.481 with three, 2.27 and 0.532 with four. The default network trained by
            backpropagation for 10 epochs reaches 2.99 and 0.390, `network=transformer_causal
            method.batch_size=128` 2.64 and 0.449 (one seed).
"""

import re
from functools import cache
from string import ascii_lowercase
from typing import ClassVar

import numpy as np

from beyond.architectures.mlp import MLP
from beyond.contracts import TargetKind, TaskSpec
from beyond.data.arrays import ArrayTask, Examples
from beyond.data.drawn import Metrics
from beyond.data.sources import File, Source
from beyond.settings import PositiveInt, settings

POOL = "pool/main/d/dict-devil/dict-devil_1.0-13.1_all.deb"
PUBLISHED = Source(
    name="characters",
    licence="public domain",
    files=(
        File(
            "devil.dict",
            "703d1225d2fb927653bfd8b00e4e96938e0b630c6023edd26702ac6ed50383f8",
            179_760,
            (
                f"https://deb.debian.org/debian/{POOL}",
                f"https://snapshot.debian.org/archive/debian/20230611T000000Z/{POOL}",
            ),
            ("usr/share/dictd/devil.dict.dz",),
        ),
    ),
    package="dict-devil",
    folder="dictd",
)
ALPHABET = " ,." + ascii_lowercase
HELD_OUT = 0.1  # of the text, for validation and for the test each
STEP = 4  # characters between two windows


@settings(kw_only=True)
class Characters(ArrayTask):
    """Say which character comes next.

    Parameters
    ----------
    length : int, >= 1
        Characters that are read before it.
    """

    DATA: ClassVar = (PUBLISHED,)

    metrics: Metrics = ("bits_loss",)
    length: PositiveInt = 16

    @property
    def spec(self) -> TaskSpec:
        return TaskSpec(
            name="text/characters",
            input_shape=(self.length,),
            n_outputs=len(ALPHABET),
            target_kind=TargetKind.CLASSES,
            network=MLP(hidden=(128,), embedding=8),
            score="accuracy_score",
            levels=(0.30, 0.35, 0.40),
            n_symbols=len(ALPHABET),
        )

    def examples(self) -> Examples:
        return _windows(self.length)


@cache
def _windows(length: int) -> Examples:
    """Return stretches of the text as windows and what follows: training, validation, test."""
    symbols = np.array([ALPHABET.index(character) for character in text()], np.uint8)
    n_held = round(HELD_OUT * len(symbols))
    stretches = np.split(symbols, [len(symbols) - 2 * n_held, len(symbols) - n_held])
    read, kept = set[bytes](), list[np.ndarray]()
    for stretch in stretches:
        windows = np.lib.stride_tricks.sliding_window_view(stretch, length + 1)[::STEP]
        contexts = [window[:-1].tobytes() for window in windows]
        kept.append(windows[[context not in read for context in contexts]])
        read.update(contexts)
    whole = np.concatenate(kept).astype(np.int64)
    inputs, targets = np.ascontiguousarray(whole[:, :-1]), np.ascontiguousarray(whole[:, -1])
    return Examples(inputs, targets, len(kept[2]), "none", len(kept[1]))


@cache
def text() -> str:
    """The dictionary, from its preface on, in characters of the alphabet."""
    whole = PUBLISHED.read("devil.dict").decode("latin-1")
    begin, end = whole.index("PREFACE"), whole.rindex(f" {ascii_lowercase}")
    return re.sub(r"[^a-z,.]+", " ", whole[begin:end].lower()).strip()
