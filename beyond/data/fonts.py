"""Letters of a font as images: drawn once, then turned, sized and moved."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

SIDE, LETTER = 16, 12  # pixels, of the image and of the letter's longer side
ANGLE, SIZE, SHIFT = np.pi / 18, 0.1, 1.0  # radians; relative; pixels


def render(face: Any, code: int) -> np.ndarray:
    """Draw one letter in the middle of an image, its longer side `LETTER` pixels."""
    from matplotlib.ft2font import LoadFlags

    face.clear()
    face.set_size(100, 72)
    # in 64ths of a pixel
    left, low, right, high = face.load_char(code, flags=LoadFlags.NO_HINTING).bbox
    face.set_size(100 * 64 * LETTER / max(right - left, high - low), 72)
    face.set_text(chr(code), 0, flags=LoadFlags.NO_HINTING)
    face.draw_glyphs_to_bitmap(antialiased=True)
    ink = np.asarray(face.get_image()) / 255
    rows, columns = (np.flatnonzero(ink.any(axis)) for axis in (1, 0))
    ink = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    image = np.zeros((SIDE, SIDE))
    top, start = ((SIDE - length) // 2 for length in ink.shape)
    image[top : top + ink.shape[0], start : start + ink.shape[1]] = ink
    return image


def placed(images: Tensor, draws: Tensor) -> Tensor:
    """Turn, size and move images (N, SIDE, SIDE) by draws (N, 4) in [0, 1): (N, 1, SIDE, SIDE)."""
    angle, size, right, down = (2 * draws - 1).unsqueeze(1).unbind(2)  # (N, 1) each
    cosine, sine = (
        (1 + SIZE * size) * torch.cos(ANGLE * angle),
        (1 + SIZE * size) * torch.sin(ANGLE * angle),
    )
    # in units of grid_sample: the image's side is 2
    steps = (2 * torch.arange(SIDE, device=draws.device) + 1) / SIDE - 1
    x, y = steps + 2 * SHIFT / SIDE * right, steps + 2 * SHIFT / SIDE * down  # (N, SIDE)
    across = (cosine * x).unsqueeze(1) - (sine * y).unsqueeze(2)  # (N, SIDE, SIDE)
    along = (sine * x).unsqueeze(1) + (cosine * y).unsqueeze(2)
    return F.grid_sample(images.unsqueeze(1), torch.stack([across, along], -1), align_corners=False)
