"""Colour pictures from any number of bands, after Lupton et al. (2004, PASP 116, 133).

The brightness is stretched by asinh and the colour kept, so that a galaxy looks the same core to wing.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from scarlet_sed.errors import ShapeError
from scarlet_sed.typing import HostArray


@dataclass(frozen=True)
class Stretch:
    """How flux becomes brightness; share one between pictures that are to be compared.

    Args:
        black: (channel,) flux of red, green, blue that is drawn black.
        scale: (channel,) flux that counts as one in red, green, blue: the colour balance.
        softening: brightness, in units of scale, where the stretch turns from linear to logarithmic.
        white: brightness that is drawn white.
    """

    black: tuple[float, float, float]
    scale: tuple[float, float, float]
    softening: float
    white: float

    @staticmethod
    def of(images: HostArray, wavelengths: Sequence[float] | None = None) -> "Stretch":
        """Choose a stretch from images (band, H, W) in one flux unit: dark grey noise, peaks just white."""
        channels = channel_weights(len(images), wavelengths) @ np.nan_to_num(images).reshape(len(images), -1)
        black = np.median(channels, axis=1)
        bright = channels - black[:, None]
        noise = np.maximum(1.4826 * np.median(np.abs(bright), axis=1), 1e-12 * np.abs(bright).max() + 1e-30)
        chosen = np.mean(bright / noise[:, None], axis=0) > 5
        if np.count_nonzero(chosen) < 9:
            scale = noise
        else:
            # halfway between balancing the noise and balancing the light: true colours, yet no coloured noise
            light = np.mean(bright[:, chosen], axis=1)
            scale = np.maximum(light, 1e-3 * light.max()) ** 0.5 * noise**0.5
        scale = scale / np.mean(scale) * np.mean(noise)
        total = np.mean(bright / scale[:, None], axis=0)
        white = max(float(np.percentile(total, 99.95)), 10.0)
        return Stretch(tuple(black), tuple(scale), softening=2.0, white=white)


def channel_weights(bands: int, wavelengths: Sequence[float] | None = None) -> HostArray:
    """(3, band) how much each band adds to red, green and blue; each row sums to one.

    Bands are put in order of wavelength (or kept in the order given, blue first) and spread evenly from blue to red;
    a band between two channels feeds both.
    """
    order = np.arange(bands) if wavelengths is None else np.argsort(np.asarray(wavelengths, dtype=float), kind="stable")
    if len(order) != bands:
        raise ShapeError(f"{len(order)} wavelengths for {bands} bands", fix="give one wavelength per band")
    if bands == 1:
        return np.ones((3, 1))
    rank = np.empty(bands)
    rank[order] = np.linspace(0.0, 2.0, bands)
    centers = np.array([2.0, 1.0, 0.0])
    weights = np.maximum(1.0 - np.abs(rank[None, :] - centers[:, None]), 0.0)
    if bands == 2:
        weights[1] = 0.5
    return weights / weights.sum(axis=1, keepdims=True)


def rgb(images: HostArray, wavelengths: Sequence[float] | None = None, stretch: Stretch | None = None) -> HostArray:
    """(H, W, 3) colour picture with values from 0 to 1.

    Args:
        images: (band, H, W) fluxes in one unit; NaN is drawn black.
        wavelengths: (band,) to order the bands; in the order given, blue first, by default.
        stretch: how flux becomes brightness; chosen from the images by default.
    """
    images = _checked(images)
    stretch = stretch or Stretch.of(images, wavelengths)
    weights = channel_weights(len(images), wavelengths)
    channels = np.einsum("cb,bhw->chw", weights, np.nan_to_num(images))
    black, scale = (np.asarray(each)[:, None, None] for each in (stretch.black, stretch.scale))
    channels = (channels - black) / scale
    brightness = np.mean(channels, axis=0)
    floor = 0.06  # sky is drawn dark grey, so that noise and negative pixels can be seen
    stretched = np.arcsinh(brightness / stretch.softening) / np.arcsinh(stretch.white / stretch.softening)
    safe = np.where(np.abs(brightness) > 1e-6, brightness, 1.0)
    # colours of faint pixels fade to grey within the noise: a ratio of two noises is no colour
    trust = np.clip(np.abs(brightness) / (3 * stretch.softening), 0.0, 1.0)
    color = 1.0 + trust * (channels / safe - 1.0)
    picture = floor + (1 - floor) * stretched * np.clip(color, -3.0, 3.0)
    peak = np.max(picture, axis=0)
    picture = np.where(peak > 1, picture / np.maximum(peak, 1e-6), picture)
    return np.clip(np.moveaxis(picture, 0, -1), 0.0, 1.0)


def residual_rgb(
    residuals: HostArray,
    wavelengths: Sequence[float] | None = None,
    sigma: HostArray | None = None,
    limit: float = 5.0,
) -> HostArray:
    """(H, W, 3) picture of residuals: grey is none, brighter is light that the model lacks, darker is too much.

    Args:
        residuals: (band, H, W) data minus model.
        wavelengths: (band,) to order the bands.
        sigma: (band, H, W) noise; the scatter of each band by default. Infinite where a pixel is masked.
        limit: the residual, in sigma of a channel, that is drawn white or black.
    """
    residuals = _checked(residuals)
    if sigma is None:
        sigma = 1.4826 * np.median(np.abs(residuals), axis=(1, 2), keepdims=True) + 1e-30
    ratio = np.nan_to_num(residuals / sigma)
    weights = channel_weights(len(residuals), wavelengths)
    channels = np.einsum("cb,bhw->hwc", weights, ratio) / np.sqrt(np.sum(weights**2, axis=1))
    return np.clip(0.5 + 0.5 * channels / limit, 0.0, 1.0)


def _checked(images: HostArray) -> HostArray:
    images = np.asarray(images, dtype=float)
    if images.ndim != 3 or not len(images):
        raise ShapeError(
            f"images of shape {images.shape} make no picture",
            fix="give images of shape (band, height, width)",
        )
    return images
