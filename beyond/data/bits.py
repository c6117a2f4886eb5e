"""Strings of bits, of which several tasks are made."""

import numpy as np


def strings(numbers: np.ndarray, n_bits: int) -> np.ndarray:
    """Numbers (N,) in [0, 2^n_bits) as strings (N, n_bits) of -1 and 1, the lowest bit first."""
    return 2 * (numbers[:, None] >> np.arange(n_bits) & 1) - 1
