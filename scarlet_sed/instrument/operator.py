"""From the model's canvas to the pixels of an observation: convolution and resampling, one linear operator."""

import math
from collections.abc import Sequence
from typing import Any, final

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from scipy.fft import next_fast_len

from scarlet_sed.errors import PSFError, ShapeError
from scarlet_sed.instrument.kernels import (
    Spectrum,
    difference_spectrum,
    half_width,
    on_canvas,
    outside_flux,
    real_kernel,
)
from scarlet_sed.instrument.psf import PSF
from scarlet_sed.instrument.resample import TAPS, Gather, Strided, gather_tables, strided, window_transfer
from scarlet_sed.parameters import as_float, to_device
from scarlet_sed.typing import Array, HostArray

WING_TOLERANCE = 1e-3
"""Flux fraction of a PSF that its kernel may lose by being cut to a finite width."""


@final
class Operator(eqx.Module):
    """Convolves a canvas with each band's difference kernel and reads it at the observation's pixels.

    Linear in the canvas. Only shapes are static, so that another field with equal shapes reuses compiled programs.

    Args:
        kernel: (C, Hf, Wf // 2 + 1) complex transforms of the kernels on the canvas, with the pixel-area ratio, the
            sub-pixel phase of strided grids or the prefilter of gathered ones folded in.
        gather: tables of a grid that is not strided, or None.
        lost_flux: (C,) largest fraction of a point's flux that the cut of the kernel's wings loses.
        canvas_shape: (Hf, Wf) of the periodic canvas; the frame is its top left corner.
        shape: (H, W) of the observation.
        region: (h, w) top left part of the convolved canvas that is read.
        stride: (y, x) canvas pixels per observed pixel of a strided grid.
        flip: (y, x) whether a strided grid runs against the canvas.
    """

    kernel: Array
    gather: Gather | None
    lost_flux: Array
    canvas_shape: tuple[int, int] = eqx.field(static=True)
    shape: tuple[int, int] = eqx.field(static=True)
    region: tuple[int, int] = eqx.field(static=True)
    stride: tuple[int, int] = eqx.field(static=True)
    flip: tuple[bool, bool] = eqx.field(static=True)

    def __call__(self, canvas: Array, shift: Array | None = None) -> Array:
        """Observed pixels of a canvas.

        Args:
            canvas: (C, h, w) flux per model pixel, as seen through the model PSF. If smaller than `canvas_shape`, it
                is padded with zeros; what lies beyond the frame must be zero.
            shift: (C, 2) optional (x, y) displacement in model pixels of each band's image.

        Returns:
            (C, H, W) flux per observed pixel.
        """
        height, width = self.canvas_shape
        spectrum = jnp.fft.rfft2(canvas, s=self.canvas_shape) * self.kernel
        if shift is not None:
            spectrum = spectrum * _phase(shift[:, 1], jnp.fft.fftfreq(height))[:, :, None]
            spectrum = spectrum * _phase(shift[:, 0], jnp.fft.rfftfreq(width))[:, None, :]
        if self.gather is not None:
            image = jnp.fft.irfft2(spectrum, s=self.canvas_shape)[..., : self.region[0], : self.region[1]]
            values = self.gather(image.reshape(*image.shape[:-2], self.region[0] * self.region[1]))
            return values.reshape(*values.shape[:-1], *self.shape)
        step_y, step_x = self.stride
        if step_y > 1:  # every step-th row needs only the folded spectrum: a smaller transform
            folded = spectrum.reshape(*spectrum.shape[:-2], step_y, height // step_y, spectrum.shape[-1])
            spectrum = folded.sum(axis=-3) / step_y
        image = jnp.fft.irfft2(spectrum, s=(height // step_y, width))
        image = image[..., : self.shape[0], : step_x * (self.shape[1] - 1) + 1 : step_x]
        return image[..., :: -1 if self.flip[0] else 1, :: -1 if self.flip[1] else 1]


def _phase(shift: Array, frequency: Array) -> Array:
    """(C, n) Fourier phases of displacements (C,); at the Nyquist frequency the part that keeps images real."""
    angle = -2 * jnp.pi * shift[:, None] * frequency
    return jnp.cos(angle) + 1j * jnp.where(jnp.abs(frequency) == 0.5, 0.0, jnp.sin(angle))


def build_operator(
    frame_shape: tuple[int, int],
    psf_sigma: float,
    psfs: Sequence[PSF],
    pixel_map: HostArray,
    *,
    bands: Sequence[str] | None = None,
    wing_tolerance: float = WING_TOLERANCE,
    kernel_half_width: int | None = None,
    canvas_shape: tuple[int, int] | None = None,
    taps: int = TAPS,
) -> Operator:
    """The operator of one observation, computed once on the host.

    Args:
        frame_shape: (Hm, Wm) of the model's frame.
        psf_sigma: dispersion of the model PSF in model pixels.
        psfs: one a band, on the axes of the observation's pixels.
        pixel_map: (H, W, 2) model (x, y) of the centre of each observed pixel.
        bands: names, for errors.
        wing_tolerance: flux fraction that the cut of a kernel's wings may lose.
        kernel_half_width: half width in model pixels to cut the kernels at instead (equal shapes for several fields).
        canvas_shape: a canvas to use instead of the smallest fast one.
        taps: pixels along each axis that a resampled value is made of: 6, or 4 (faster; errs by 1.6e-3 of a peak).

    Raises:
        PSFError: if a PSF is sharper than the model PSF.
        ShapeError: if the pixel map is no map of at least 2 x 2 pixels or lies outside the frame, if `bands` does not
            match `psfs`, or if the canvas asked for is too small.
    """
    pixel_map = np.asarray(pixel_map, dtype=np.float64)
    names = [""] * len(psfs) if bands is None else list(bands)
    _check(pixel_map, psfs, names, taps)
    jacobian = local_jacobian(pixel_map)
    spectra = [difference_spectrum(p, psf_sigma, jacobian, n) for p, n in zip(psfs, names, strict=True)]
    plain = [real_kernel(spectrum) for spectrum in spectra]
    half = half_width(plain, wing_tolerance) if kernel_half_width is None else kernel_half_width
    half = -(-half // 8) * 8  # few sizes, so that alike PSFs give equal shapes
    points = pixel_map[..., ::-1].reshape(-1, 2)
    reach = np.array(frame_shape) - 1 + half
    inside = np.all((points > -half) & (points < reach), axis=1)
    regular = strided(pixel_map) if inside.all() else None
    margin = 1 if regular else taps // 2
    if not inside.any():
        raise ShapeError(
            "the observation lies outside the frame", fix="build the frame with Frame.covering(observations)"
        )
    low = np.floor(points[inside].min(axis=0)).astype(int) - margin
    high = np.ceil(points[inside].max(axis=0)).astype(int) + margin
    stride = regular.stride if regular else (1, 1)
    halves, canvas = _layout(frame_shape, half, low, high, stride, canvas_shape)
    extent = np.ptp(points[inside], axis=0)  # the same wherever the grid lies within a pixel
    rows, columns = 8 * np.ceil((extent + 2 * margin + 2) / 8).astype(int)
    region = (min(int(rows), canvas[0]), min(int(columns), canvas[1]))
    first, part = _split(regular, low)
    area = abs(np.linalg.det(jacobian))
    kernels, lost = [], []
    for spectrum, kernel in zip(spectra, plain, strict=True):
        shaped = real_kernel(_shaped(spectrum, regular, part, taps))
        kernels.append(area * on_canvas(shaped, halves, (-first[0], -first[1]), canvas))
        lost.append(outside_flux(kernel)[min(*halves, (kernel.shape[0] - 1) // 2)])
    tables = None if regular else gather_tables((points - low)[:, ::-1], region, inside, taps)
    return Operator(
        kernel=to_device(np.stack(kernels), jnp.result_type(jnp.complex64, jnp.result_type(float))),
        gather=tables,
        lost_flux=as_float(np.array(lost)),
        canvas_shape=canvas,
        shape=(pixel_map.shape[0], pixel_map.shape[1]),
        region=region,
        stride=stride,
        flip=regular.flip if regular else (False, False),
    )


def local_jacobian(pixel_map: HostArray) -> HostArray:
    """(2, 2) d(model x, y) / d(observed x, y) at the middle of a pixel map (H, W, 2)."""
    height, width = pixel_map.shape[:2]
    y, x = max((height - 1) // 2, 1), max((width - 1) // 2, 1)
    low_y, high_y, low_x, high_x = max(y - 8, 0), min(y + 8, height - 1), max(x - 8, 0), min(x + 8, width - 1)
    along_x = (pixel_map[y, high_x] - pixel_map[y, low_x]) / (high_x - low_x)
    along_y = (pixel_map[high_y, x] - pixel_map[low_y, x]) / (high_y - low_y)
    return np.stack([along_x, along_y], axis=1)


def _layout(
    frame_shape: tuple[int, int],
    half: int,
    low: Any,
    high: Any,
    stride: tuple[int, int],
    wanted: tuple[int, int] | None,
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Half widths of the kernel and lengths of the periodic canvas per axis, so that nothing read is wrapped around."""
    halves, lengths = [], []
    for axis in (0, 1):
        n, a, b = frame_shape[axis], int(low[axis]), int(high[axis]) + 1
        h = max(min(half, max(b - 1, n - 1 - a)), 0)
        length = max(n, n + h - a, b + h, b - a)
        halves.append(h)
        lengths.append(_fast_len(length, math.lcm(2, stride[axis])))
        if wanted is not None:
            if wanted[axis] < length or wanted[axis] % stride[axis]:
                raise ShapeError(
                    f"a canvas of {wanted[axis]} pixels is too small for this frame and its PSFs, "
                    f"or no multiple of {stride[axis]}",
                    fix=f"give at least {lengths[axis]}, or leave canvas_shape out",
                )
            lengths[axis] = wanted[axis]
    return (halves[0], halves[1]), (lengths[0], lengths[1])


def _fast_len(n: int, multiple: int) -> int:
    n = -(-n // multiple) * multiple
    while next_fast_len(n, real=True) != n:
        n += multiple
    return n


def _split(regular: Strided | None, low: HostArray) -> tuple[tuple[int, int], tuple[float, float]]:
    """The frame pixel (y, x) that comes first in what is read, and the fraction left to a sub-pixel phase."""
    if regular is None:
        return (int(low[0]), int(low[1])), (0.0, 0.0)
    whole = (round(regular.first[0]), round(regular.first[1]))
    return whole, (regular.first[0] - whole[0], regular.first[1] - whole[1])


def _shaped(spectrum: Spectrum, regular: Strided | None, part: tuple[float, float], taps: int) -> Spectrum:
    """A kernel's spectrum with the sub-pixel phase of a strided grid, or the prefilter of the resampling window."""
    fy, fx = spectrum.frequencies
    if regular is None:
        factor = 1 / (window_transfer(fy, taps) * window_transfer(fx, taps))
    else:
        factor = np.exp(2j * np.pi * (fy * part[0] + fx * part[1]))
    return Spectrum(spectrum.values * factor, spectrum.size)


def _check(pixel_map: HostArray, psfs: Sequence[PSF], names: Sequence[str], taps: int) -> None:
    if len(psfs) == 0:
        raise PSFError("the observation has no PSF", fix="pass one PSF a band")
    if len(names) != len(psfs):
        raise ShapeError(f"there are {len(names)} bands and {len(psfs)} PSFs", fix="pass one PSF a band")
    if taps < 2 or taps % 2:
        raise ShapeError(f"the window has {taps} taps", fix="give an even number: 4 or 6")
    if pixel_map.ndim != 3 or pixel_map.shape[-1] != 2 or min(pixel_map.shape[:2]) < 2:
        raise ShapeError(f"a pixel map has shape {pixel_map.shape}, not (H, W, 2)", fix="pass at least 2 x 2 pixels")
    if not np.all(np.isfinite(pixel_map)):
        raise ShapeError("the pixel map is not finite", fix="check the WCS: some pixels have no sky position")
    if not abs(np.linalg.det(local_jacobian(pixel_map))) > 0:
        raise ShapeError("the pixels of the observation have no area", fix="check the WCS")
