"""How well each source's own pixels are described, and what a better description is worth."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scarlet_sed.instrument.observation import Observation
from scarlet_sed.scene.source import Source
from scarlet_sed.start.detections import Detections
from scarlet_sed.start.sky import BlankSky, expected_variance
from scarlet_sed.typing import HostArray


@dataclass(frozen=True, eq=False)
class Footprints:
    """The pixels of each source in each observation, and the noise expected there.

    Args:
        labels: (h, w) by observation's name: 0, or 1 + index of the source whose territory a pixel is.
        skies: blank sky of each band by observation's name.
        given: the observations as they are weighed by the user.
    """

    labels: dict[str, NDArray[np.int32]]
    skies: dict[str, list[BlankSky]]
    given: Sequence[Observation]


@dataclass(frozen=True, eq=False)
class Goodness:
    """Chi-square of each source's footprint, in units that independent pixels would have.

    Args:
        chi2: (n,) sum over bands and pixels, each band divided by the correlation of its noise.
        pixels: (n,) the number of independent pixels, likewise.
    """

    chi2: HostArray
    pixels: HostArray

    @property
    def excess(self) -> HostArray:
        """(n,) (chi2 - pixels) in standard deviations of chi2."""
        return (self.chi2 - self.pixels) / np.sqrt(2 * np.maximum(self.pixels, 1.0))

    @property
    def reduced(self) -> HostArray:
        """(n,) chi2 per independent pixel."""
        return self.chi2 / np.maximum(self.pixels, 1.0)


def footprints(
    detections: Detections, observations: Sequence[Observation], skies: dict[str, list[BlankSky]]
) -> Footprints:
    """Territories of detections on the pixels of each observation."""
    assert detections.labels is not None and detections.combined is not None
    combined, frame = detections.combined, detections.frame
    found = {}
    for observation in observations:
        y, x = np.mgrid[: observation.grid.shape[0], : observation.grid.shape[1]]
        offsets = observation.grid.offsets(x, y, frame.tangent_point)
        there = np.rint(combined.grid.pixels(offsets, frame.tangent_point) - np.array(combined.corner)).astype(int)
        height, width = detections.labels.shape
        inside = (there[..., 0] >= 0) & (there[..., 0] < width) & (there[..., 1] >= 0) & (there[..., 1] < height)
        column, row = (np.clip(there[..., k], 0, size - 1) for k, size in ((0, width), (1, height)))
        found[observation.name] = np.where(inside, detections.labels[row, column], 0)
    return Footprints(found, skies, observations)


def goodness(prints: Footprints, models: Mapping[str, HostArray], count: int) -> Goodness:
    """Chi-square of every footprint under rendered models (sky included), by observation's name."""
    chi2, pixels = np.zeros(count + 1), np.zeros(count + 1)
    for observation in prints.given:
        name = observation.name
        skies = prints.skies[name]
        level = np.array([sky.level for sky in skies])[:, None, None]
        variance = expected_variance(observation, models[name] - level, skies)
        squares = (np.asarray(observation.data, dtype=np.float64) - models[name]) ** 2 / variance
        labels = prints.labels[name].ravel()
        for band, sky in enumerate(skies):
            valid = np.isfinite(variance[band]).ravel()
            mine = labels[valid]
            chi2 += np.bincount(mine, squares[band].ravel()[valid], count + 1) / sky.correlation
            pixels += np.bincount(mine, minlength=count + 1) / sky.correlation
    return Goodness(chi2[1:], pixels[1:])


def parameter_count(source: Source, resolution: float) -> float:
    """Number of numbers that the data can tell apart in a source.

    A free image counts one for each area of the PSF over the pixels that hold 98 % of its flux: finer detail does not
    reach the data, and positivity holds the empty pixels at zero.

    Args:
        source: with its free parameters.
        resolution: effective area of the PSF in square arcsec (4 pi sigma^2 for a Gaussian).
    """
    values, count = source.values, 0.0
    for path, leaf in source.parameters.items():
        if path.endswith("morphology.image"):
            area = float(values[path.removesuffix("image") + "pixel_scale"]) ** 2
            share = np.cumsum(np.sort(np.ravel(leaf.value))[::-1])
            count += (1 + np.count_nonzero(share < 0.98 * share[-1])) * area / resolution
        else:
            count += np.size(leaf.value)
    return float(count)


def better(before: Goodness, after: Goodness, index: int, more: float) -> bool:
    """Whether `more` parameters (fewer if negative) are worth their gain by the Bayesian information criterion."""
    gain = before.chi2[index] - after.chi2[index]
    return bool(gain > more * np.log(max(before.pixels[index], np.e)))
