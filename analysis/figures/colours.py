"""Colours as eyes have them: how bright they are, what can be read in and on them, and in the dark.

Values of sRGB are encoded; light adds up where they are linear (IEC 61966-2-1).
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from matplotlib.colors import to_hex, to_rgb
from numpy.typing import ArrayLike, NDArray

from analysis.figures.looks import INK
from analysis.statistics.inference import Array

DARK_PAGE, DARK_INK = "#17181a", "#e8e8e6"  # as in report.css
PALE = 0.65  # luminance from which a colour tints an area of the page
_TURNED = 1.05, 0.75, 0.52  # offset, slope and least of a lightness on a dark page
_TO_LMS = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_TO_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)


def linear(rgb: ArrayLike) -> Array:
    """Undo the encoding of sRGB, values in [0, 1]."""
    rgb = np.asarray(rgb, float)
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def encoded(light: ArrayLike) -> Array:
    """Encode linear light, values in [0, 1], as sRGB."""
    light = np.asarray(light, float)
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def luminance(rgb: ArrayLike) -> Any:
    """Relative luminance of colours (..., 3), as WCAG 2 defines it."""
    return linear(rgb) @ (0.2126, 0.7152, 0.0722)


def ink(colours: Array) -> NDArray[np.str_]:
    """Choose for each colour, (..., 3 or more), dark or white text, by WCAG 2's contrast."""
    bright = luminance(np.asarray(colours, float)[..., :3])
    dark = luminance(to_rgb(INK))
    return np.where(1.05 / (bright + 0.05) > (bright + 0.05) / (dark + 0.05), "white", INK)


@cache
def readable(colour: str) -> str:
    """Darken a colour until text in it stands out from white as WCAG 2 asks, 4.5 to 1."""
    most = 1.05 / 4.5 - 0.05
    light = linear(to_rgb(colour))
    red, green, blue = encoded(light * (most / max(most, luminance(to_rgb(colour))))).tolist()
    return to_hex((red, green, blue))


def on_dark(colour: str) -> str:
    """Return a colour's counterpart on a dark page.

    Greys are mixtures of ink and paper and stay such, and pale colours tint the page. Of others the
    lightness in OKLab (Ottosson, 2020) is turned round, dark ones above all: hue and the distances
    between shades stay, and each stands out.
    """
    rgb, page = np.array(to_rgb(colour)), np.array(to_rgb(DARK_PAGE))
    if np.ptp(rgb) < 0.03:
        share = min(1.0, (1 - rgb.mean()) / (1 - to_rgb(INK)[0]))
        return to_hex(tuple(page + share * (np.array(to_rgb(DARK_INK)) - page)))
    if luminance(rgb) > PALE:
        return to_hex(tuple((page + 0.1 * (rgb - page) + 1.5 * (rgb - rgb.mean())).clip(0, 1)))
    lab = np.cbrt(linear(rgb) @ _TO_LMS.T) @ _TO_LAB.T
    lab[0] = max(_TURNED[0] - _TURNED[1] * lab[0], _TURNED[2])
    turned = (np.linalg.solve(_TO_LAB, lab) ** 3) @ np.linalg.inv(_TO_LMS).T
    return to_hex(tuple(encoded(turned.clip(0, 1)).clip(0, 1)))
