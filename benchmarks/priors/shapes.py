"""How alike two images are."""

import numpy as np
from scipy.ndimage import gaussian_filter

from scarlet_sed.infer.sampling.maps import brightest


def distance(one: np.ndarray, other: np.ndarray) -> float:
    """L2 norm of the difference over that of the second."""
    return float(np.linalg.norm(one - other) / np.linalg.norm(other))


def similarity(one: np.ndarray, other: np.ndarray, sigma: float = 1.5) -> float:
    """Mean structural similarity of two images within the square around the second that holds 99 % of its light."""
    span = other.max()
    a, b = (0.01 * span) ** 2, (0.03 * span) ** 2
    mean_one, mean_other = gaussian_filter(one, sigma), gaussian_filter(other, sigma)
    one_one = gaussian_filter(one**2, sigma) - mean_one**2
    other_other = gaussian_filter(other**2, sigma) - mean_other**2
    both = gaussian_filter(one * other, sigma) - mean_one * mean_other
    top = (2 * mean_one * mean_other + a) * (2 * both + b)
    bright = brightest(other, 0.99)
    found = top / ((mean_one**2 + mean_other**2 + a) * (one_one + other_other + b))
    rows, columns = np.flatnonzero(bright.any(axis=1)), np.flatnonzero(bright.any(axis=0))
    return float(found[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].mean())
