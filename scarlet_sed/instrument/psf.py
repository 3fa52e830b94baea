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
from scarlet_sed.instrument.centring import centred, interpolate
from scarlet_sed.typing import HostArray

_SAMPLES_PER_FWHM = 4.0
"""A Gaussian sampled this finely holds all but 1e-3 of its amplitude at, and 4e-6 beyond, its Nyquist frequency."""


class PSFRecord(eqx.Module):
    """What was done to a PSF array when it was made.

    Args:
        original_sum: () sum of the array as given, before it was divided by it.
        shift: (2,) (x, y) displacement applied to centre it, in PSF pixels, after padding to an odd square.
        shape: (2,) shape of the array as given.
        cutoff: () frequency in cycles per native pixel beyond which it was set to zero; infinite if it was not.
    """

    original_sum: HostArray
    shift: HostArray
    shape: HostArray
    cutoff: HostArray


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
            raise PSFError(
                f"the PSF has {bad} pixels that are not finite",
                fix="replace NaN and infinite pixels, with 0 in the wings",
            )
        total = float(array.sum())
        if total <= 0:
            raise PSFError(
                f"the PSF sums to {total:.3g}", fix="pass a PSF of positive sum: check its background and sign"
            )
        if not (math.isfinite(oversampling) and oversampling > 0):
            raise PSFError(
                f"the PSF's oversampling is {oversampling!r}", fix="give PSF pixels per native pixel, e.g. 2"
            )
        image, shift = centred(array / total, recenter)
        self.image = image / image.sum()
        self.record = PSFRecord(np.asarray(total), shift, np.asarray(array.shape), np.asarray(np.inf))
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
            raise FileFormatError(
                f"cannot read a PSF from {path}: {error}", fix="check the path and the extension"
            ) from error
        data = np.squeeze(data)
        if data.ndim == 3:
            if plane is None or not -len(data) <= plane < len(data):
                raise PSFError(
                    f"{path} holds a stack of {len(data)} PSFs", fix=f"choose one with plane=0 to {len(data) - 1}"
                )
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
        return cls(
            *_sampled(lambda r: np.exp(-0.5 * (r / sigma) ** 2), width, 5.3 * sigma, oversampling), includes_pixel
        )

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
            raise PSFError(
                f"a Moffat PSF with beta = {beta!r} has no finite flux", fix="give beta above 1; 2.5 to 4.8 is usual"
            )
        width = _width_in_pixels(fwhm, pixel_scale)
        core = width / (2 * math.sqrt(2 ** (1 / beta) - 1))
        extent = min(core * math.sqrt(1e3 ** (1 / (beta - 1)) - 1), 15 * width)
        return cls(*_sampled(lambda r: (1 + (r / core) ** 2) ** -beta, width, extent, oversampling), includes_pixel)

    def low_passed(self, cutoff: float, *, recenter: bool = True) -> "PSF":
        """The same PSF without frequencies beyond `cutoff`, where a telescope passes none and only noise is left.

        Empirical oversampled PSFs can carry pixel-to-pixel noise of tens of percent of the peak there (CEERS F277W).
        The cutoff of a round aperture is its diameter over the wavelength: for NIRCam, with pixels of s arcsec and
        a wavelength of w micron, 31.5 s / w cycles per pixel (6.5 m).

        Args:
            cutoff: cycles per native pixel.
            recenter: centre again, now that noise no longer pulls at the centroid.

        Raises:
            PSFError: if the cutoff is not positive.
        """
        if not cutoff > 0:
            raise PSFError(
                f"the cutoff frequency is {cutoff!r}", fix="give cycles per native pixel, about diameter / wavelength"
            )
        n = self.image.shape[0]
        size = 2 * n - 1  # twice as large and odd: what leaves one edge does not come in at the other
        spectrum = np.fft.rfft2(self.image, s=(size, size))
        frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size))
        spectrum = np.where(frequency * self.oversampling <= cutoff, spectrum, 0)
        image = np.fft.irfft2(spectrum, s=(size, size))[:n, :n]
        new = PSF(image, self.oversampling, self.includes_pixel, recenter=recenter)
        old = self.record
        record = PSFRecord(old.original_sum, old.shift + new.record.shift, old.shape, np.asarray(float(cutoff)))
        replaced: PSF = eqx.tree_at(lambda psf: psf.record, new, record)
        return replaced

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


def _sampled(
    profile: Callable[[HostArray], HostArray], fwhm: float, extent: float, oversampling: int | None
) -> tuple[HostArray, int]:
    """A round profile of r (native pixels) on a grid out to `extent`, and its samples per native pixel."""
    if oversampling is None:
        oversampling = max(1, math.ceil(_SAMPLES_PER_FWHM / fwhm))
    if oversampling < 1:
        raise PSFError(
            f"the PSF's oversampling is {oversampling!r}", fix="give a whole number of samples per native pixel"
        )
    half = math.ceil(extent * oversampling)
    axis = np.arange(-half, half + 1) / oversampling
    return profile(np.hypot(axis[:, None], axis)), oversampling


def _width_in_pixels(fwhm: float | Quantity, pixel_scale: float | Quantity | None) -> float:
    if isinstance(fwhm, Quantity):
        if pixel_scale is None:
            raise PSFError(
                "the PSF's width is an angle, but the pixel scale is not known", fix="pass pixel_scale= in arcsec"
            )
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
