"""Point-spread functions: what the sky, telescope and detector do to a point of light, as a centred array."""

import math
from collections.abc import Callable
from os import PathLike
from typing import Any, final

import equinox as eqx
import numpy as np
from astropy.io import fits
from astropy.units import Quantity

from scarlet_sed.errors import FileFormatError, PSFError
from scarlet_sed.typing import HostArray

_SAMPLES_PER_FWHM = 4.0
"""A Gaussian sampled this finely holds all but 1e-3 of its amplitude at, and 4e-6 beyond, its Nyquist frequency."""

_SMALLEST_SHIFT = 1e-3
"""Offsets below this many PSF pixels are left alone when a PSF is centred."""


class PSFRecord(eqx.Module):
    """What was done to a PSF array when it was made.

    Args:
        original_sum: () sum of the array as given, before it was divided by it.
        shift: (2,) (x, y) displacement applied to centre it, in PSF pixels, after padding to an odd square.
        shape: (2,) shape of the array as given.
    """

    original_sum: HostArray
    shift: HostArray
    shape: HostArray


@final
class PSF(eqx.Module):
    """A point-spread function.

    The array is normalised to unit sum, padded to an odd square and moved so that its Gaussian-weighted centroid lies
    on the central pixel (by an exact Fourier shift); `record` keeps what was done. Negative pixels are kept.

    Args:
        array: (ny, nx) PSF samples on the axes of the observation's pixels, of any positive sum.
        oversampling: PSF pixels per native pixel of the observation (2 for 15 mas samples of 30 mas pixels).
        includes_pixel: whether the PSF already contains the detector (native) pixel's response, as empirical and
            drizzled PSFs do. If not, it is applied once when kernels are built.
        recenter: move the centroid to the central pixel; False keeps the array's own centre, (n - 1) / 2.

    Raises:
        PSFError: if the array is not a non-empty 2-d image, is not finite, or has no positive sum.
    """

    image: HostArray
    record: PSFRecord
    oversampling: float = eqx.field(static=True)
    includes_pixel: bool = eqx.field(static=True)

    def __init__(
        self, array: Any, oversampling: float = 1.0, includes_pixel: bool = True, *, recenter: bool = True
    ) -> None:
        array = np.asarray(array, dtype=np.float64)
        if array.ndim != 2 or array.size == 0:
            raise PSFError(f"a PSF is an image, but this array has shape {array.shape}", fix="pass one PSF a band, 2-d")
        if not np.all(np.isfinite(array)):
            bad = int(np.sum(~np.isfinite(array)))
            raise PSFError(f"the PSF has {bad} pixels that are not finite", fix="replace NaN and infinite pixels, with 0 in the wings")
        total = float(array.sum())
        if total <= 0:
            raise PSFError(f"the PSF sums to {total:.3g}", fix="pass a PSF of positive sum: check its background and sign")
        if not (math.isfinite(oversampling) and oversampling > 0):
            raise PSFError(f"the PSF's oversampling is {oversampling!r}", fix="give PSF pixels per native pixel, e.g. 2")
        image, shift = _centred(array / total, recenter)
        self.image = image / image.sum()
        self.record = PSFRecord(np.asarray(total), shift, np.asarray(array.shape))
        self.oversampling = float(oversampling)
        self.includes_pixel = bool(includes_pixel)

    @classmethod
    def from_fits(
        cls,
        path: str | PathLike[str],
        *,
        extension: int | str | None = None,
        plane: int | None = None,
        oversampling: float = 1.0,
        includes_pixel: bool = True,
        recenter: bool = True,
    ) -> "PSF":
        """Read a PSF from a FITS file.

        Args:
            path: the file.
            extension: HDU number or name; by default the first that holds an image.
            plane: which image of a 3-d stack.
            oversampling, includes_pixel, recenter: as in `PSF`.

        Raises:
            FileFormatError: if the file cannot be read as FITS or holds no image there.
            PSFError: if the image cannot be used.
        """
        try:
            with fits.open(path, memmap=False) as hdus:
                data = _image_of(hdus, extension, path)
        except (OSError, KeyError, IndexError) as error:
            raise FileFormatError(f"cannot read a PSF from {path}: {error}", fix="check the path and the extension") from error
        data = np.squeeze(data)
        if data.ndim == 3:
            if plane is None or not -len(data) <= plane < len(data):
                raise PSFError(f"{path} holds a stack of {len(data)} PSFs", fix=f"choose one with plane=0 to {len(data) - 1}")
            data = data[plane]
        return cls(data, oversampling, includes_pixel, recenter=recenter)

    @classmethod
    def gaussian(
        cls,
        fwhm: float | Quantity,
        *,
        pixel_scale: float | Quantity | None = None,
        oversampling: int | None = None,
        includes_pixel: bool = True,
    ) -> "PSF":
        """A round Gaussian.

        Args:
            fwhm: full width at half maximum in native pixels; in arcsec (or as a Quantity) if `pixel_scale` is given.
            pixel_scale: native pixel in arcsec.
            oversampling: samples per native pixel; by default enough for the width.
            includes_pixel: as in `PSF`.

        Raises:
            PSFError: if a width or scale is not positive.
        """
        width = _width_in_pixels(fwhm, pixel_scale)
        sigma = width / math.sqrt(8 * math.log(2))
        return cls(*_sampled(lambda r: np.exp(-0.5 * (r / sigma) ** 2), width, 5.3 * sigma, oversampling), includes_pixel)

    @classmethod
    def moffat(
        cls,
        fwhm: float | Quantity,
        beta: float = 2.5,
        *,
        pixel_scale: float | Quantity | None = None,
        oversampling: int | None = None,
        includes_pixel: bool = True,
    ) -> "PSF":
        """A round Moffat profile, (1 + r^2/a^2)^-beta, cut where 1e-3 of its flux (or 15 FWHM) lies outside.

        Args:
            fwhm, pixel_scale, oversampling, includes_pixel: as in `PSF.gaussian`.
            beta: the slope of the wings, above 1 (Moffat 1969, A&A 3, 455).

        Raises:
            PSFError: if a width or scale is not positive, or beta is not above 1.
        """
        if not beta > 1:
            raise PSFError(f"a Moffat PSF with beta = {beta!r} has no finite flux", fix="give beta above 1; 2.5 to 4.8 is usual")
        width = _width_in_pixels(fwhm, pixel_scale)
        core = width / (2 * math.sqrt(2 ** (1 / beta) - 1))
        extent = min(core * math.sqrt(1e3 ** (1 / (beta - 1)) - 1), 15 * width)
        return cls(*_sampled(lambda r: (1 + (r / core) ** 2) ** -beta, width, extent, oversampling), includes_pixel)

    @property
    def fwhm(self) -> float:
        """Full width at half maximum in native pixels: the diameter of the circle as large as the half-maximum area."""
        coarse = np.sum(self.image > 0.5 * self.image.max())
        radius = 2 + math.ceil(math.sqrt(coarse))
        fine = 16
        offsets = np.arange(-radius * fine, radius * fine + 1) / fine
        image = interpolate(self.image, offsets, offsets)
        area = np.sum(image > 0.5 * image.max()) / fine**2
        return 2 * math.sqrt(area / math.pi) / self.oversampling


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


def _centred(array: HostArray, recenter: bool) -> tuple[HostArray, HostArray]:
    """The image on an odd square with its centre on the central pixel, and the (x, y) displacement done."""
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


def _sampled(
    profile: Callable[[HostArray], HostArray], fwhm: float, extent: float, oversampling: int | None
) -> tuple[HostArray, int]:
    """A round profile of r (native pixels) on a grid out to `extent`, and its samples per native pixel."""
    if oversampling is None:
        oversampling = max(1, math.ceil(_SAMPLES_PER_FWHM / fwhm))
    if oversampling < 1:
        raise PSFError(f"the PSF's oversampling is {oversampling!r}", fix="give a whole number of samples per native pixel")
    half = math.ceil(extent * oversampling)
    axis = np.arange(-half, half + 1) / oversampling
    return profile(np.hypot(axis[:, None], axis)), oversampling


def _width_in_pixels(fwhm: float | Quantity, pixel_scale: float | Quantity | None) -> float:
    if isinstance(fwhm, Quantity):
        if pixel_scale is None:
            raise PSFError("the PSF's width is an angle, but the pixel scale is not known", fix="pass pixel_scale= in arcsec")
        fwhm = fwhm.to_value("arcsec")
    scale = 1.0 if pixel_scale is None else Quantity(pixel_scale, "arcsec").to_value("arcsec")
    if not (math.isfinite(fwhm) and fwhm > 0 and math.isfinite(scale) and scale > 0):
        raise PSFError(f"the PSF has width {fwhm!r} and pixel scale {scale!r}", fix="give positive numbers")
    return float(fwhm / scale)


def _image_of(hdus: fits.HDUList, extension: int | str | None, path: Any) -> HostArray:
    candidates = hdus if extension is None else [hdus[extension]]
    for hdu in candidates:
        if hdu.is_image and hdu.data is not None and hdu.data.ndim >= 2:
            return np.asarray(hdu.data, dtype=np.float64)
    raise FileFormatError(f"{path} holds no PSF image", fix="name the extension that holds it")
