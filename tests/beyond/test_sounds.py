"""Oracles: the definition of the mel scale, a pure tone, and the transform written as a sum."""

from io import BytesIO

import numpy as np
import pytest
from scipy.io import wavfile

from beyond.data.sounds import features, mel_bands, mfcc

FAULTS = [
    (
        "beyond/data/sounds.py",
        "(right - frequencies) / (right - peak)",
        "(right - frequencies) / right",
    ),
    ("beyond/data/sounds.py", "loudness.max() - SILENT", "loudness.min() - SILENT"),
    (
        "beyond/data/sounds.py",
        "ratio.numerator, ratio.denominator)",
        "ratio.denominator, ratio.numerator)",
    ),
    ("beyond/data/sounds.py", "samples / np.abs(samples).max()", "samples / 1.0"),
]


def tone(frequency, rate=8000, seconds=0.4):
    return np.sin(2 * np.pi * frequency * np.arange(int(seconds * rate)) / rate)


def wave(samples, rate):
    file = BytesIO()
    wavfile.write(file, rate, (20_000 * samples).astype(np.int16))
    return file.getvalue()


def test_bands_are_triangles_that_add_up_to_one_between_the_outer_peaks():
    bands = mel_bands()
    assert bands.shape == (26, 129)
    frequencies = np.arange(129) * 8000 / 256
    mels = 2595 * np.log10(1 + frequencies / 700)
    step = (2595 * np.log10(1 + 3800 / 700) - 2595 * np.log10(1 + 64 / 700)) / 27
    first, last = 2595 * np.log10(1 + 64 / 700) + step, 2595 * np.log10(1 + 3800 / 700) - step
    between = (mels > first) & (mels < last)
    np.testing.assert_allclose(bands.sum(0)[between], 1)
    assert (bands.max(1) > 0).all()


def test_a_tone_is_the_transform_of_its_band_and_alike_at_all_times():
    found = mfcc(tone(1000.0))
    assert found.shape == (13, 32)
    later = found[:, 1:]  # the first sample has none before it
    np.testing.assert_allclose(later, later[:, :1].repeat(31, 1), atol=1e-6)
    samples = tone(1000.0)
    samples = np.append(samples[0], samples[1:] - 0.97 * samples[:-1])[80:280]
    spectrum = np.abs(np.fft.rfft(samples * np.hamming(201)[:200], 256)) ** 2
    bands = np.log(mel_bands() @ spectrum + 1e-6)
    places = np.arange(26)
    for order in range(13):
        scale = np.sqrt((1 if order == 0 else 2) / 26)
        expected = scale * (bands * np.cos(np.pi * order * (2 * places + 1) / 52)).sum()
        assert found[order, 5] == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize("change", ["louder", "silence", "rate"])
def test_loudness_silence_and_rate_of_a_clip_do_not_count(change):
    rate = 16_000 if change == "rate" else 8000
    word = tone(500.0, rate) * np.hanning(int(0.4 * rate)) + tone(900.0, rate)
    expected = features(wave(0.4 * tone(500.0) * np.hanning(3200) + 0.4 * tone(900.0), 8000))
    if change == "silence":
        word = np.concatenate([np.zeros(800), word, np.zeros(1600)])
    found = features(wave((0.2 if change == "louder" else 0.4) * word, rate))
    middle = slice(6, 26)  # at its ends a clip is cut within a frame
    np.testing.assert_allclose(found[:3, middle], expected[:3, middle], atol=1.0)


def test_the_header_of_a_stream_need_not_know_its_length():
    known = wave(0.5 * tone(700.0), 8000)
    unknown = known[:4] + b"\xff\xff\xff\x7f" + known[8:40] + b"\xff\xff\xff\x7f" + known[44:]
    np.testing.assert_array_equal(features(unknown), features(known))
