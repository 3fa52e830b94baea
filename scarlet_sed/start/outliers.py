"""Pixels that no source can make: brighter against their neighbours than the PSF allows (hot pixels, cosmic rays)."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from scarlet_sed.instrument.psf import PSF, interpolate
from scarlet_sed.typing import HostArray

_RING = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]], dtype=bool)

_LEEWAY = 0.4
"""Share of the PSF's own contrast that is still believed: PSFs vary, and noise is correlated."""


def outlier_pixels(image: HostArray, rms: HostArray, psf: PSF, significance: float = 6.0) -> NDArray[np.bool_]:
    """(h, w) true where a pixel, or one beside it, stands out from the median of its eight neighbours too sharply.

    A point source lights its neighbours: with q the median of the neighbours over the peak for a centred PSF, a pixel
    of value v is impossible where v q exceeds the neighbours' median by many sigma, some leeway granted.

    Args:
        image: (h, w), sky subtracted.
        rms: (h, w) scatter of single pixels, infinite where there are no data.
        psf: of the band.
        significance: how many sigma of one pixel.
    """
    step = np.array([-1.0, 0.0, 1.0])
    core = interpolate(psf.image, step * psf.oversampling, step * psf.oversampling)
    share = max(0.0, float(np.median(core[_RING]) / core[1, 1]))
    valid = np.isfinite(rms)
    near = ndimage.median_filter(np.where(valid, image, 0.0), footprint=_RING, mode="reflect")
    sharp = valid & (_LEEWAY * share * image - near > significance * 0.5 * rms)
    return np.asarray(ndimage.binary_dilation(sharp, structure=np.ones((3, 3), dtype=bool)) if sharp.any() else sharp)
