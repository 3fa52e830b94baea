"""Reading one band's images from FITS files, whole or a window of a large mosaic. Host code only."""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, final

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS, FITSFixedWarning

from scarlet_sed.errors import ConfigError, DataError, ScarletSEDError, ShapeError, UnitError, WCSError
from scarlet_sed.instrument.fits_image import FitsImage
from scarlet_sed.instrument.geometry import PixelGrid
from scarlet_sed.instrument.noise_estimate import estimate_noise
from scarlet_sed.instrument.psf import PSF
from scarlet_sed.photometry.units import is_counts, njy_per_unit, pixel_area
from scarlet_sed.typing import HostArray

ImageFile = str | Path
"""A FITS file; `mosaic.fits[SCI]` names the extension, `cube.fits[0,2]` also the plane of a stack."""


@final
@dataclass(frozen=True)
class BandFiles:
    """The files of one band and what their headers do not say.

    Exactly one of sigma, variance, inverse_variance and weight says what the noise is, or `estimate_noise` is set.

    Args:
        data: the image; without extension the first HDU that holds one.
        psf: a file, or a PSF.
        sigma: noise map (standard deviation) in the unit of the data, or one number.
        variance: its square.
        inverse_variance: its inverse square; zero masks.
        weight: relative weights (exposure times): inverse variances up to a factor, which blank sky fixes; zero masks.
        estimate_noise: take one standard deviation for the image, measured from its blank sky.
        mask: image that is non-zero where pixels are excluded.
        mask_nonfinite: exclude pixels whose data or noise are NaN or infinite, instead of refusing them.
        unit: instead of the header's BUNIT.
        zero_point: AB magnitude of one count, for counts.
        pixel_scale: arcsec per pixel, for headers without a WCS.
        psf_oversampling: PSF pixels per native pixel.
        psf_includes_pixel: whether the PSF already contains the detector pixel.
    """

    data: ImageFile
    psf: ImageFile | PSF
    sigma: ImageFile | float | None = None
    variance: ImageFile | float | None = None
    inverse_variance: ImageFile | float | None = None
    weight: ImageFile | None = None
    estimate_noise: bool = False
    mask: ImageFile | None = None
    mask_nonfinite: bool = False
    unit: str | None = None
    zero_point: float | None = None
    pixel_scale: float | None = None
    psf_oversampling: float = 1.0
    psf_includes_pixel: bool = True

    @staticmethod
    def of(spec: "BandFiles | Mapping[str, Any]") -> "BandFiles":
        """From a mapping of the arguments.

        Raises:
            ConfigError: for unknown or missing keys.
        """
        if isinstance(spec, BandFiles):
            return spec
        if not isinstance(spec, Mapping):
            raise ConfigError(
                f"a band is given as a {type(spec).__name__}", fix="give BandFiles(data=..., psf=..., sigma=...)"
            )
        known = [field.name for field in fields(BandFiles)]
        unknown = [key for key in spec if key not in known]
        if unknown:
            raise ConfigError(f"a band has the unknown key {unknown[0]!r}", fix=f"choose among {', '.join(known)}")
        missing = [key for key in ("data", "psf") if key not in spec]
        if missing:
            raise ConfigError(f"a band has no {missing[0]!r}", fix=f"give the file as {missing[0]} = ...")
        return BandFiles(**spec)


@final
@dataclass(frozen=True)
class Window:
    """A box along the pixel axes of an image, the same patch of sky in every band if its centre is a SkyCoord.

    Args:
        center: sky position, or pixel (x, y) of the image.
        size: side, or (height, width), in arcsec.
    """

    center: SkyCoord | tuple[float, float]
    size: float | tuple[float, float] | u.Quantity

    def slices(self, grid: PixelGrid) -> tuple[slice, slice]:
        """The (rows, columns) of the box on a grid, clipped at the edges of the image.

        Raises:
            DataError: if nothing is left, or the size is not positive.
        """
        size = self.size.to_value(u.arcsec) if isinstance(self.size, u.Quantity) else self.size
        sides = np.broadcast_to(np.asarray(size, dtype=float), (2,)) / grid.pixel_scale
        if not np.all(np.isfinite(sides) & (sides > 0)):
            raise DataError(f"a window of size {self.size}", fix="give its side, or (height, width), in arcsec")
        x, y = grid.pixels_of(self.center) if isinstance(self.center, SkyCoord) else self.center
        bounds = []
        for middle, side, limit in ((y, sides[0], grid.shape[0]), (x, sides[1], grid.shape[1])):
            count = max(int(np.rint(side)), 1)
            # the small bias settles ties, which are common, alike in every band whatever the rounding of its header
            start = int(np.floor(middle - (count - 1) / 2 + 0.501)) if np.isfinite(middle) else limit
            bounds.append(slice(max(start, 0), min(start + count, limit)))
        if any(part.stop <= part.start for part in bounds):
            raise DataError(
                f"the window around {self.center} does not touch the image of {grid.shape} pixels",
                fix="check the centre (SkyCoord, or pixel x, y) and the image's WCS",
            )
        return bounds[0], bounds[1]


@final
@dataclass(frozen=True, eq=False)
class BandImage:
    """One band as it was read: (H, W) data in nJy, variance in nJy^2, mask (True = excluded), grid and PSF."""

    name: str
    data: HostArray
    variance: HostArray
    mask: np.ndarray
    grid: PixelGrid
    psf: PSF

    def require_grid(self, grid: PixelGrid, name: str) -> None:
        """Raise `WCSError` if this band does not share the grid of the band `name`."""
        if not self.grid.same_as(grid):
            raise WCSError(
                f"the bands {name!r} ({grid!r}) and {self.name!r} ({self.grid!r}) lie on different grids",
                fix="make one observation for each grid: observations_from_fits(bands) does",
            )


def read_bands(bands: Mapping[str, Any], window: Window | None = None) -> list[BandImage]:
    """Read several bands in order; see `BandFiles`, and `read_band` for the errors."""
    if not bands:
        raise DataError("no band to read", fix="give BandFiles by filter name")
    return [read_band(name, BandFiles.of(spec), window) for name, spec in bands.items()]


def read_band(name: str, files: BandFiles, window: Window | None = None) -> BandImage:
    """Read one band; of the image files only the window is read from disk.

    Raises:
        FileFormatError: a file is missing, is not FITS or holds no image.
        WCSError: no WCS and no pixel scale, or a WCS that cannot be used.
        UnitError: no unit, an unknown one, or counts without a zero point.
        DataError: no noise or several, or a window off the image.
        ShapeError: noise or mask of another shape.
    """
    with _naming(name):
        image = FitsImage.parse(files.data)
        header, shape = image.header()
        grid = _grid(image, header, shape, files)
        rows, columns = (slice(0, shape[0]), slice(0, shape[1])) if window is None else window.slices(grid)
        factor = _njy_factor(header, grid, files)

        def read(file: ImageFile | float) -> HostArray:
            if isinstance(file, (int, float)):
                return np.full((rows.stop - rows.start, columns.stop - columns.start), float(file))
            other = FitsImage.parse(file)
            if other.header()[1] != shape:
                raise ShapeError(
                    f"{other} has shape {other.header()[1]}, and the data have {shape}",
                    fix="give an image of the data's grid",
                )
            return other.read(rows, columns)

        data = image.read(rows, columns)
        mask = np.zeros(data.shape, bool) if files.mask is None else ~(read(files.mask) == 0)
        if files.mask_nonfinite:
            mask = mask | ~np.isfinite(data)
        variance, mask = _variance(files, read, data, mask)
        psf = files.psf if isinstance(files.psf, PSF) else _read_psf(files)
        return BandImage(name, data * factor, variance * factor**2, mask, grid.window(rows, columns), psf)


def _variance(files: BandFiles, read: Any, data: HostArray, mask: np.ndarray) -> tuple[HostArray, np.ndarray]:
    """Variance in data units (negative where the noise is, so that it is refused later) and the mask with its zeros."""
    kinds = ("sigma", "variance", "inverse_variance", "weight")
    given = [kind for kind in kinds if getattr(files, kind) is not None] + ["estimate_noise"] * files.estimate_noise
    if len(given) != 1:
        raise DataError(
            f"the noise is given by {' and '.join(given) or 'nothing'}",
            fix=f"give exactly one of {', '.join(kinds)}, or estimate_noise = true",
        )
    if files.estimate_noise:
        return np.full(data.shape, float(estimate_noise(data, mask | ~np.isfinite(data)).sigma[0]) ** 2), mask
    noise = read(getattr(files, given[0]))
    if files.mask_nonfinite:
        mask = mask | ~np.isfinite(noise)
    if given[0] == "sigma":
        return noise * np.abs(noise), mask
    if given[0] == "variance":
        return noise, mask
    mask = mask | (noise == 0)
    inverse = np.where(mask, 1.0, noise)
    if given[0] == "inverse_variance":
        return 1 / inverse, mask
    usable = mask | ~np.isfinite(data) | ~(inverse > 0)
    scaled = estimate_noise(np.where(usable, 0.0, data) * np.sqrt(np.where(usable, 1.0, inverse)), usable)
    return float(scaled.sigma[0]) ** 2 / inverse, mask


def _read_psf(files: BandFiles) -> PSF:
    image = FitsImage.parse(files.psf)
    return PSF.from_fits(
        image.path,
        extension=image.extension,
        plane=image.plane,
        oversampling=files.psf_oversampling,
        includes_pixel=files.psf_includes_pixel,
    )


def _grid(image: FitsImage, header: fits.Header, shape: tuple[int, int], files: BandFiles) -> PixelGrid:
    with image.open() as hdus, warnings.catch_warnings():
        warnings.simplefilter("ignore", FITSFixedWarning)  # dates and unit spellings, which do not concern the sky
        wcs = WCS(header, fobj=hdus)
    if not wcs.has_celestial:
        if files.pixel_scale is None:
            raise WCSError(
                f"{image} has no celestial WCS", fix="give pixel_scale (arcsec per pixel), or a file with a WCS"
            )
        return PixelGrid(shape, pixel_scale=files.pixel_scale)
    return PixelGrid(shape, wcs, files.pixel_scale)


def _njy_factor(header: fits.Header, grid: PixelGrid, files: BandFiles) -> float:
    """nJy per data unit, from the overrides or else the header."""
    unit, zero_point = files.unit, files.zero_point
    if unit is None and zero_point is None:
        unit = header.get("BUNIT") or None
        zero_point = header_zero_point(header) if unit is None or is_counts(unit) else None
        if unit is None and zero_point is None:
            raise UnitError("the header has no BUNIT", fix="give unit, e.g. unit = 'MJy/sr', or zero_point for counts")
    elif unit is not None and zero_point is None and is_counts(unit):
        zero_point = header_zero_point(header)
    return njy_per_unit(unit, pixel_area=pixel_area(grid.pixel_scale), zero_point=zero_point)


def header_zero_point(header: fits.Header) -> float | None:
    """AB magnitude of one count from the keywords of HST (PHOTFLAM and PHOTPLAM) or HSC (FLUXMAG0), else None.

    HST: Bohlin et al. 2011 and the ACS Data Handbook, section 5.1.1, for images in electrons per second.
    """
    if "PHOTFLAM" in header and "PHOTPLAM" in header and header["PHOTFLAM"] > 0:
        return float(-2.5 * np.log10(header["PHOTFLAM"]) - 5 * np.log10(header["PHOTPLAM"]) - 2.408)
    if header.get("FLUXMAG0", 0) > 0:
        return float(2.5 * np.log10(header["FLUXMAG0"]))
    return None


@contextmanager
def _naming(band: str) -> Iterator[None]:
    """Let errors say which band they are about."""
    try:
        yield
    except ScarletSEDError as error:
        raise type(error)(f"band {band!r}: {error.problem}", fix=error.fix) from error
