"""What operators are compared with: point sources on a canvas, pixel maps, and a PSF read at any point."""

import numpy as np

from scarlet_sed.instrument.psf import PSF

NIRCAM = {"F115W": 1.154, "F150W": 1.501, "F200W": 1.988, "F277W": 2.776, "F356W": 3.565, "F444W": 4.402}
"""Pivot wavelengths in micron."""


def nircam_psf(shared, band, native=0.03):
    """An empirical CEERS PSF of 15 mas samples, without the noise beyond the telescope's diffraction limit.

    The files carry pixel-to-pixel noise of 8 to 35 % of the peak there, which no telescope could image.
    """
    path = shared / f"data/ceers_psf/Pointings12_{band}_Module_A.fits"
    return PSF.from_fits(path, oversampling=native / 0.015).low_passed(31.5 * native / NIRCAM[band])


def point(shape, position, sigma):
    """A point source at (x, y) on a canvas, seen through the model PSF."""
    y, x = np.indices(shape)
    r2 = (x - position[0]) ** 2 + (y - position[1]) ** 2
    return np.exp(-0.5 * r2 / sigma**2) / (2 * np.pi * sigma**2)


def pixel_map(shape, step, centre, angle=0.0, parity=1):
    """(H, W, 2) model (x, y) of a grid with `step` model pixels per pixel, rotated about its middle (radians)."""
    y, x = np.indices(shape).astype(float)
    x, y = parity * (x - (shape[1] - 1) / 2), y - (shape[0] - 1) / 2
    c, s = np.cos(angle), np.sin(angle)
    return np.stack([centre[0] + step * (c * x - s * y), centre[1] + step * (s * x + c * y)], axis=-1)


def psf_at(psf, points, matrix):
    """(H, W) flux per native pixel of a point source: the PSF, band-limited, at each pixel.

    Args:
        psf: the PSF.
        points: (H, W, 2) model (x, y) of the pixels minus that of the source.
        matrix: (2, 2) d(model x, y) / d(native x, y).
    """
    native = points.reshape(-1, 2) @ np.linalg.inv(matrix).T * psf.oversampling
    index = np.arange(psf.image.shape[0]) - psf.image.shape[0] // 2
    rows, columns = np.sinc(native[:, 1:] - index), np.sinc(native[:, :1] - index)
    return psf.oversampling**2 * np.einsum("pi,ij,pj->p", rows, psf.image, columns, optimize=True).reshape(
        points.shape[:2]
    )
