"""Spoken digits of a synthesiser: the word from its sound, in voices that were not heard before.

Synthetic speech: the formant synthesiser eSpeak NG says the English words zero to nine. People
speak less evenly; ten clips of one are an outside check.

Source      Debian's package `espeak-ng` speaks here, in about half a minute, once: the clips'
            features are kept in the cache (BEYOND_DATA). Features: Davis & Mermelstein, IEEE
            Transactions on Acoustics, Speech and Signal Processing 28(4), 357-366,
            doi:10.1109/TASSP.1980.1163420; see `beyond/data/sounds.py`.
Licence     eSpeak NG is GPL 3, which does not cover what it says. The human clips, of Debian's
            `asterisk-core-sounds-en-wav`, are Allison Smith's, CC BY-SA 3.0.
Examples    1,920 clips of 1x13x32: 13 mel-frequency cepstral coefficients in 32 frames, of 64
            voices that say each of ten words three times, with another accent, speed and pitch.
            Each feature is scaled to mean 0 and standard deviation 1 over the training part.
Splits      1,320 train, 300 validation, 300 test: of 44, 10 and 10 voices. No voice is in two; the
            splits are the same for every seed.
Chance      0.10.
Reference   Measured here: logistic regression 0.950 on the test split, and 8 of the ten human
            clips. The default network trained by backpropagation for 20 epochs reaches 1.00 on the
            validation and 0.97 on the test split (mean of 3 seeds), and 7 to 8 of the human clips;
            in `layout=sequence` 24 gated recurrent units reach 0.95 on the test split (one seed).
"""

import hashlib
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar, Literal, NamedTuple

import numpy as np

from beyond.architectures.cnn import CNN
from beyond.contracts import TargetKind, TaskSpec
from beyond.data.arrays import ArrayTask, Examples
from beyond.data.made import made_once
from beyond.data.sounds import N_COEFFICIENTS, N_FRAMES, features
from beyond.data.sources import File, Source, program
from beyond.errors import InputError
from beyond.settings import settings

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
# One of each family of variants: `klatt2` is much like `klatt`.
VOICES = (
    *("f1", "f2", "f3", "f4", "f5", "m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8", "klatt"),
    *("Alex", "Alicia", "Andrea", "Andy", "Annie", "Denis", "Diogo", "Gene", "Henrique", "Hugo"),
    *("Jacky", "Lee", "Marco", "Mario", "Michael", "Mike", "Nguyen", "adam", "anika", "antonio"),
    *("aunty", "belinda", "benjamin", "boris", "david", "ed", "edward", "grandma", "grandpa"),
    *("gustave", "iven", "john", "kaukovalta", "linda", "marcelo", "max", "michel", "miguel"),
    *("norbert", "pablo", "paul", "pedro", "quincy", "rob", "robert", "sandro", "shelby", "steph"),
    *("travis", "victor"),
)
ACCENTS = ("en-us", "en-gb", "en-gb-scotland")  # a take each
SPEEDS, PITCHES = (130, 221), (20, 81)  # words a minute; of 0 to 99: lowest, and above the highest
N_HELD = 10  # voices that validate, and that test
FEATURES = 1  # to be raised when what is made of a clip changes
N_SPEAKERS = 4  # processes that speak at once

HUMAN = Source(
    name="asterisk_digits",
    licence="CC BY-SA 3.0",
    files=tuple(
        File(f"{digit}.wav", sha256, size)
        for digit, (sha256, size) in enumerate(
            (
                ("62debe1daf11756460c0de78d0e1ac7fe28b12fb51a30df3364ce74b90f05d31", 14_040),
                ("fb38aca5558d50f7bd4d7986adeea19b97eba894c574fc92acc3b33b480eb701", 14_624),
                ("6ef0a6b67a1741e950c491ef664bbfb424b63fab314d616d6f0e467cc0838dee", 12_000),
                ("4ec0371d15f721c61be36fe6ca54d0de29d9b9a48062634969556c50ff81faed", 13_456),
                ("f1c007fbd2eefa235ea10260b79527b89b88f6d2182008e86221572ad92f204f", 12_874),
                ("412b4b7729a8bae7b2b13ad8af9f6989abba8a4b9d5fc1c499b13a3b986653a5", 13_166),
                ("89c80e3c120f90112159d911568d2ca4a13f369a864ee26e882802385fab2474", 14_138),
                ("125c9acb8b5b6549079233c922782bfdf585d8c438906467921329669c6939fe", 13_166),
                ("854114f9f3bb94d36490b2951957a662e75212648a5e2330f1f3c56184d30488", 11_124),
                ("535d4117923ad8bac20185eb0746b421479ddec4f4acd2329285096a573d6e34", 13_784),
            )
        )
    ),
    package="asterisk-core-sounds-en-wav",
    folder="asterisk/sounds/en_US_f_Allison/digits",
)


@settings(kw_only=True)
class SpokenDigits(ArrayTask):
    """Name the digit that a synthetic voice says.

    Parameters
    ----------
    layout : {"image", "sequence"}
        Whether coefficients are the rows of an image of one channel, or the channels of a sequence.
    """

    DATA: ClassVar = (HUMAN,)

    layout: Literal["image", "sequence"] = "image"

    @property
    def spec(self) -> TaskSpec:
        shape = (N_COEFFICIENTS, N_FRAMES)
        return TaskSpec(
            name="speech/spoken_digits",
            input_shape=(1, *shape) if self.layout == "image" else shape,
            n_outputs=len(WORDS),
            target_kind=TargetKind.CLASSES,
            network=CNN((8, 16)),
            score="accuracy_score",
            levels=(0.80, 0.90, 0.95),
        )

    @property
    def classes(self) -> Sequence[str]:
        return WORDS

    def told(self) -> Sequence[str]:
        n_trained = len(VOICES) - 2 * N_HELD
        held = f"{N_HELD} others validate, {N_HELD} test"
        return [f"{self.spec.name}: synthetic speech, {n_trained} voices train, {held}"]

    def examples(self) -> Examples:
        inputs, targets = _synthetic()
        n_held = N_HELD * len(WORDS) * len(ACCENTS)
        return Examples(self._laid_out(inputs), targets, n_held, n_validation=n_held)

    def human(self) -> np.ndarray:
        """Return the ten human clips, zero to nine, as this task has its inputs, unscaled.

        `MissingDataError` where they are not on this machine.
        """
        clips = [features(HUMAN.read(f"{digit}.wav")) for digit in range(len(WORDS))]
        return self._laid_out(np.stack(clips).astype(np.float32))

    def _laid_out(self, inputs: np.ndarray) -> np.ndarray:
        return inputs[:, None] if self.layout == "image" else inputs


class Utterance(NamedTuple):
    """What is said, and how."""

    word: str
    voice: str
    speed: int
    pitch: int


def utterances() -> list[Utterance]:
    """All of them, voice after voice: those that train, then validate, then test."""
    rng = np.random.default_rng(0)
    said = []
    for voice in rng.permutation(VOICES):
        for accent in ACCENTS:
            speed, pitch = (int(rng.integers(*limits)) for limits in (SPEEDS, PITCHES))
            said += [Utterance(word, f"{accent}+{voice}", speed, pitch) for word in WORDS]
    return said


def _synthetic() -> tuple[np.ndarray, np.ndarray]:
    """Features (1920, 13, 32) and digits (1920,)."""
    speaker = str(program("espeak-ng", "espeak-ng"))
    said = utterances()
    version = subprocess.run([speaker, "--version"], capture_output=True, text=True).stdout
    decides = f"{version.partition('Data at')[0]} {said} {FEATURES}"
    key = hashlib.sha256(decides.encode()).hexdigest()[:12]

    def make() -> dict[str, np.ndarray]:
        with ThreadPoolExecutor(N_SPEAKERS) as speakers:
            clips = speakers.map(lambda one: features(_spoken(speaker, one)), said)
            return {"features": np.stack(list(clips)).astype(np.float32)}

    digits = np.array([WORDS.index(one.word) for one in said], np.int64)
    return made_once("spoken_digits", key, make)["features"], digits


def _spoken(speaker: str, said: Utterance) -> bytes:
    """Bytes of a .wav file."""
    how = ["-v", said.voice, "-s", str(said.speed), "-p", str(said.pitch)]
    done = subprocess.run([speaker, *how, "--stdout", said.word], capture_output=True)
    if done.returncode or not done.stdout:
        raise InputError(f"espeak-ng cannot speak with the voice {said.voice}")
    return done.stdout
