"""Moving an image by fractions of a pixel, so that its centre lies on a pixel."""

import math

import numpy as np

from scarlet_sed.typing import HostArray

_SMALLEST_SHIFT = 1e-3
"""Offsets below this many pixels are left alone when an image is centred."""


def interpolate(image: HostArray, y: HostArray, x: HostArray) -> HostArray:
    """Band-limited (sinc) interpolation of an odd square image, zero outside, on a separable set of points.

    Args:
        image: (n, n) samples.
        y, x: (m,), (k,) coordinates relative to the central pixel, in pixels of the image.

    Returns:
        (m, k) interpolated values.
    """
    centre_y, centre_x = ((n - 1) // 2 for n in image.shape)
    rows = np.sinc(np.asarray(y)[:, None] + centre_y - np.arange(image.shape[0]))
    columns = np.sinc(np.asarray(x)[:, None] + centre_x - np.arange(image.shape[1]))
    return np.asarray(rows @ image @ columns.T)


def centred(array: HostArray, recenter: bool) -> tuple[HostArray, HostArray]:
    """Put an image on an odd square with its centre on the central pixel.

    Args:
        array: (ny, nx) image.
        recenter: whether its centre is the Gaussian-weighted centroid; otherwise the middle of the array.

    Returns:
        (n, n) image, and the (2,) (x, y) displacement done after padding, in pixels.
    """
    size = max(array.shape) + 1 - max(array.shape) % 2
    pads = [(size - n) // 2 for n in array.shape]
    image = np.pad(array, [(pad, size - n - pad) for pad, n in zip(pads, array.shape, strict=True)])
    middle = (size - 1) / 2
    if recenter:
        x, y = _centroid(image)
    else:
        y, x = (pad + (n - 1) / 2 for pad, n in zip(pads, array.shape, strict=True))
    shift = np.array([middle - x, middle - y])
    if np.max(np.abs(shift)) < _SMALLEST_SHIFT:
        return image, np.zeros(2)
    # Enlarge by whole pixels where the move would push light over the edge, then shift by sinc interpolation.
    grow = 2 * math.ceil(np.max(np.abs(shift))) if np.max(np.abs(shift)) > 0.5 else 0
    offsets = np.arange(size + grow) - (size + grow - 1) / 2
    whole = np.round(shift)
    if np.max(np.abs(shift - whole)) < _SMALLEST_SHIFT:
        shift = whole
    return interpolate(image, offsets - shift[1], offsets - shift[0]), shift


def _centroid(image: HostArray) -> tuple[float, float]:
    """(x, y) of the Gaussian-weighted centroid: the weight has the core's width and follows the centroid."""
    y, x = np.indices(image.shape)
    peak_y, peak_x = np.unravel_index(np.argmax(image), image.shape)
    area = max(float(np.sum(image > 0.5 * image.max())), 2.0)
    variance = area / math.pi / (2 * math.log(2))
    centre_x, centre_y = float(peak_x), float(peak_y)
    for _ in range(100):
        weight = image * np.exp(-0.5 * ((x - centre_x) ** 2 + (y - centre_y) ** 2) / variance)
        total = weight.sum()
        if not total > 0:
            return float(peak_x), float(peak_y)
        # Weighting a Gaussian by one of its own width halves the displacement: step twice as far.
        step_x = 2 * float(np.sum(weight * (x - centre_x)) / total)
        step_y = 2 * float(np.sum(weight * (y - centre_y)) / total)
        centre_x, centre_y = centre_x + step_x, centre_y + step_y
        if math.hypot(centre_x - peak_x, centre_y - peak_y) > 2 * math.sqrt(area):
            return float(peak_x), float(peak_y)
        if math.hypot(step_x, step_y) < 1e-7:
            break
    return centre_x, centre_y
