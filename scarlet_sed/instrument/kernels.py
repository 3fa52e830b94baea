"""Difference kernels: what turns the model, seen through the model PSF, into what a band's PSF shows.

Everything here is host-side float64 numpy, done once per observation. Frequencies are in cycles per model pixel.
"""

import math
from typing import NamedTuple

import numpy as np
from scipy.fft import next_fast_len
from scipy.ndimage import map_coordinates, spline_filter

from scarlet_sed.errors import PSFError
from scarlet_sed.instrument.psf import PSF
from scarlet_sed.typing import HostArray

_MARGIN = 16
"""Model pixels added around a PSF for the tails that deconvolution and interpolation give its kernel."""

_SHARPEST = 0.97
"""A PSF narrower than this many widths of the model PSF would have to be deconvolved: refused."""

_UPSAMPLING = 4
"""Zero-padding factor before spline interpolation of a rotated PSF: with quintic splines the error is below 1e-6."""


class Spectrum(NamedTuple):
    """A function on the model's pixels by its Fourier transform on an odd square grid.

    Args:
        values: (n, n // 2 + 1) transform, the origin at the function's centre.
        size: n, odd: the period in model pixels.
    """

    values: np.ndarray
    size: int

    @property
    def frequencies(self) -> tuple[HostArray, HostArray]:
        """(n, 1) along y and (n // 2 + 1,) along x, cycles per model pixel."""
        return np.fft.fftfreq(self.size)[:, None], np.fft.rfftfreq(self.size)


def difference_spectrum(psf: PSF, psf_sigma: float, jacobian: HostArray, band: str = "") -> Spectrum:
    """Transform of the kernel from the model PSF to a band's PSF.

    Frequencies that the PSF's own sampling does not hold are zero.

    Args:
        psf: the PSF, on the axes of the observation's pixels.
        psf_sigma: dispersion of the model PSF in model pixels.
        jacobian: (2, 2) d(model x, y) / d(native x, y) in pixels.
        band: its name, for errors.

    Raises:
        PSFError: if the PSF is sharper than the model PSF, so that this would be a deconvolution.
    """
    check_resolved(psf, psf_sigma, jacobian, band)
    step = jacobian / psf.oversampling
    reach = np.max(np.abs(step).sum(axis=1)) * psf.image.shape[0]
    size = _odd_fast_len(math.ceil(reach) + 2 * _MARGIN)
    grid = Spectrum(np.empty(0), size)
    fy, fx = grid.frequencies
    drift = np.max(np.abs(step[[0, 1], [1, 0]])) * psf.image.shape[0] / 2
    values = _aligned(psf.image, step, fy, fx) if drift < 1e-3 else _rotated(psf.image, step, size)
    for column in step.T:
        cycles = np.abs(fx * column[0] + fy * column[1])
        values = values * np.where(cycles < 0.5 - 1e-9, 1.0, np.where(cycles < 0.5 + 1e-9, 0.5, 0.0))
    if not psf.includes_pixel:
        for column in jacobian.T:
            values = values * np.sinc(fx * column[0] + fy * column[1])
    return Spectrum(values / gaussian_transfer(psf_sigma, fy, fx), size)


def gaussian_transfer(sigma: float, fy: HostArray, fx: HostArray) -> HostArray:
    """Fourier transform of a round Gaussian of unit sum and dispersion `sigma` pixels."""
    return np.asarray(np.exp(-2 * (np.pi * sigma) ** 2 * (fy**2 + fx**2)))


def check_resolved(psf: PSF, psf_sigma: float, jacobian: HostArray, band: str = "") -> None:
    """Raise `PSFError` if the PSF is narrower than the model PSF."""
    scale = math.sqrt(abs(np.linalg.det(jacobian)))
    width = psf.fwhm * scale
    if not psf.includes_pixel:  # variances add; a square pixel's is side^2 / 12
        width = math.sqrt(width**2 + 8 * math.log(2) / 12 * scale**2)
    limit = psf_sigma * math.sqrt(8 * math.log(2))
    if width < _SHARPEST * limit:
        raise PSFError(
            f"the PSF{f' of {band}' if band else ''} has a FWHM of {width:.2f} model pixels, "
            f"sharper than the model PSF ({limit:.2f})",
            fix=f"raise the frame's oversampling {math.ceil(limit / width * 1.2)} times: smaller model pixels",
        )


def real_kernel(spectrum: Spectrum) -> HostArray:
    """(n, n) the function itself, its origin on the central pixel."""
    image = np.fft.irfft2(spectrum.values, s=(spectrum.size, spectrum.size))
    return np.fft.fftshift(image)


def half_width(kernels: list[HostArray], tolerance: float) -> int:
    """Smallest half width in pixels of the square outside which no kernel holds more than `tolerance` of its flux.

    Args:
        kernels: odd square kernels of unit flux, centred.
        tolerance: fraction of the flux.
    """
    return max(int(np.argmax(outside_flux(kernel) <= tolerance)) for kernel in kernels)


def outside_flux(kernel: HostArray) -> HostArray:
    """(m,) largest |flux| outside any centred square of half width >= 0, 1, 2, ... m - 1 pixels."""
    middle = (kernel.shape[0] - 1) // 2
    distance = np.abs(np.arange(kernel.shape[0]) - middle)
    ring = np.maximum(distance[:, None], distance)
    inside = np.cumsum(np.bincount(ring.ravel(), kernel.ravel(), middle + 1))
    lost = np.abs(inside[-1] - inside)
    return np.maximum.accumulate(lost[::-1])[::-1]


def on_canvas(
    kernel: HostArray, half: tuple[int, int], offset: tuple[int, int], canvas_shape: tuple[int, int]
) -> np.ndarray:
    """Transform of a kernel on a periodic canvas, after cutting it to a half width and moving it.

    Args:
        kernel: (n, n) centred.
        half: (y, x) half widths in pixels to which it is cut.
        offset: (y, x) whole pixels by which its centre is moved from the canvas's origin.
        canvas_shape: (Hf, Wf).

    Returns:
        (Hf, Wf // 2 + 1) complex.
    """
    middle = (kernel.shape[0] - 1) // 2
    half_y, half_x = min(half[0], middle), min(half[1], middle)
    cut = kernel[middle - half_y : middle + half_y + 1, middle - half_x : middle + half_x + 1]
    canvas = np.zeros(canvas_shape)
    rows = np.arange(-half_y, half_y + 1) + offset[0]
    columns = np.arange(-half_x, half_x + 1) + offset[1]
    np.add.at(canvas, np.ix_(rows % canvas_shape[0], columns % canvas_shape[1]), cut)
    return np.fft.rfft2(canvas)


def _aligned(image: HostArray, step: HostArray, fy: HostArray, fx: HostArray) -> np.ndarray:
    """Exact transform at the given frequencies of samples whose axes lie along the model's."""
    index = np.arange(image.shape[0]) - (image.shape[0] - 1) // 2
    rows = np.exp(-2j * np.pi * fy * (step[1, 1] * index))
    columns = np.exp(-2j * np.pi * fx[:, None] * (step[0, 0] * index))
    return np.asarray(rows @ image @ columns.T)


def _rotated(image: HostArray, step: HostArray, size: int) -> np.ndarray:
    """Transform of samples on any affine grid: interpolated onto a fine grid along the model's axes first."""
    n = image.shape[0]
    padded = n + 2 * _MARGIN + 1 - n % 2
    fine = np.fft.fftshift(_zero_padded(image, padded, _UPSAMPLING))
    coefficients = spline_filter(fine, order=5, mode="grid-wrap")
    subdivision = math.ceil(1.25 / np.linalg.svd(step, compute_uv=False)[-1])
    total = size * subdivision + 1 - (size * subdivision) % 2  # odd: the centre is a sample
    axis = (np.arange(total) - (total - 1) // 2) * (size / total)
    points = np.einsum("ij,jyx->iyx", np.linalg.inv(step), np.stack(np.broadcast_arrays(axis, axis[:, None])))
    centre = fine.shape[0] // 2
    x, y = points * _UPSAMPLING
    inside = (np.abs(points) <= (n - 1) / 2 + _MARGIN / 2).all(axis=0)
    density = np.zeros((total, total))
    density[inside] = map_coordinates(
        coefficients, [y[inside] + centre, x[inside] + centre], order=5, mode="grid-wrap", prefilter=False
    )
    density *= (size / total) ** 2 / abs(np.linalg.det(step))
    full = np.fft.rfft2(np.fft.ifftshift(density))
    keep = np.fft.fftfreq(size, 1 / size).astype(int)
    return np.asarray(full[keep][:, : size // 2 + 1])


def _zero_padded(image: HostArray, padded: int, factor: int) -> HostArray:
    """(padded * factor)^2 band-limited interpolation of an odd image, its central pixel at the origin."""
    n = image.shape[0]
    frame = np.zeros((padded, padded))
    frame[:n, :n] = image
    frame = np.roll(frame, (-(n // 2), -(n // 2)), axis=(0, 1))
    spectrum = np.fft.fft2(frame)
    keep = np.fft.fftfreq(padded, 1 / padded).astype(int)
    large = np.zeros((padded * factor, padded * factor), complex)
    large[np.ix_(keep, keep)] = spectrum
    return np.fft.ifft2(large).real * factor**2


def _odd_fast_len(n: int) -> int:
    while n % 2 == 0 or next_fast_len(n) != n:
        n += 1
    return n
