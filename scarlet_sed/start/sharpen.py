"""Take the PSF off an image, to start free images from: Richardson-Lucy, stopped early."""

import numpy as np
from scipy import ndimage

from scarlet_sed.typing import HostArray


def sharpened(image: HostArray, sigma: float, rounds: int = 15) -> HostArray:
    """A non-negative image of the same flux whose convolution with a round Gaussian is closer to the given one.

    Richardson (1972) and Lucy (1974). A few rounds bring back most of what the PSF took and little of the noise;
    the fit does the rest.

    Args:
        image: (h, w); negative pixels count as zero.
        sigma: dispersion of the Gaussian in pixels.
        rounds: iterations.
    """
    data = np.maximum(image, 0.0)
    total = data.sum()
    if total <= 0 or sigma < 0.3:
        return data
    data = data + 1e-4 * data.max()
    estimate = np.full_like(data, data.mean())
    for _ in range(rounds):
        blurred = ndimage.gaussian_filter(estimate, sigma, mode="constant")
        estimate *= ndimage.gaussian_filter(data / np.maximum(blurred, 1e-12 * data.max()), sigma, mode="constant")
    return estimate * (total / estimate.sum())
