"""Speech as features: mel-frequency cepstral coefficients (Davis & Mermelstein, 1980).

A clip is brought to 8,000 samples a second, as telephones have them, and cut where it is silent.
Each 10 ms the spectrum of 25 ms is summed in 26 bands of the mel scale; the cosine transform of
their logarithms gives 13 coefficients, and linear interpolation a fixed number of frames, so that
slow and fast speech are alike.
"""

from __future__ import annotations

import struct
from fractions import Fraction
from io import BytesIO

import numpy as np
from scipy.fft import dct
from scipy.io import wavfile
from scipy.signal import get_window, resample_poly

RATE = 8000  # samples a second
FRAME, HOP, N_FFT = 200, 80, 256  # samples: 25 ms, 10 ms, and to transform
LOWEST, HIGHEST, N_BANDS = 64.0, 3800.0, 26  # Hz; of the mel scale
EMPHASIS = 0.97  # how much of a sample is taken off the next
SILENT = 8.0  # a frame whose log-energy is so far below the loudest's is silent
N_COEFFICIENTS, N_FRAMES = 13, 32
FLOOR = 1e-6  # of an energy whose logarithm is taken


def features(wave: bytes) -> np.ndarray:
    """Coefficients (13, 32) of the bytes of a .wav file with one channel."""
    rate, samples = _read(wave)
    ratio = Fraction(RATE, rate)
    return mfcc(resample_poly(samples.astype(float), ratio.numerator, ratio.denominator))


def mfcc(samples: np.ndarray) -> np.ndarray:
    """Coefficients (13, 32) of samples (N,), N >= 200, 8,000 a second, of any loudness."""
    samples = samples / np.abs(samples).max()
    samples = np.append(samples[0], samples[1:] - EMPHASIS * samples[:-1])
    frames = np.lib.stride_tricks.sliding_window_view(samples, FRAME)[::HOP]
    power = np.abs(np.fft.rfft(frames * get_window("hamming", FRAME), N_FFT)) ** 2
    loudness = np.log(power.sum(1) + FLOOR)
    (spoken,) = np.nonzero(loudness > loudness.max() - SILENT)
    bands = power[spoken[0] : spoken[-1] + 1] @ mel_bands().T
    cepstrum = np.asarray(dct(np.log(bands + FLOOR), norm="ortho", axis=1))[:, :N_COEFFICIENTS]
    places = np.linspace(0, len(cepstrum) - 1, N_FRAMES)
    at = np.arange(len(cepstrum))
    return np.stack([np.interp(places, at, course) for course in cepstrum.T])


def mel_bands() -> np.ndarray:
    """Triangles (26, 129) over the frequencies of a transform, even on the mel scale.

    mel(f) = 2595 log10(1 + f / 700)
    """
    low, high = (2595 * np.log10(1 + edge / 700) for edge in (LOWEST, HIGHEST))
    edges = 700 * (10 ** (np.linspace(low, high, N_BANDS + 2) / 2595) - 1)
    frequencies = np.arange(N_FFT // 2 + 1) * RATE / N_FFT
    left, peak, right = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising, falling = (frequencies - left) / (peak - left), (right - frequencies) / (right - peak)
    return np.maximum(0, np.minimum(rising, falling))


def _read(wave: bytes) -> tuple[int, np.ndarray]:
    """Samples a second, and samples; a stream's header does not know how many there are."""
    if wave[36:40] == b"data":
        size = len(wave) - 44
        wave = (
            wave[:4]
            + struct.pack("<I", size + 36)
            + wave[8:40]
            + struct.pack("<I", size)
            + wave[44:]
        )
    return wavfile.read(BytesIO(wave))
