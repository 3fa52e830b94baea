"""An observation: images of one instrument grid in several bands, with all that a comparison with a model needs."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, final

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from astropy.coordinates import SkyCoord
from astropy.units import UnitBase
from astropy.wcs import WCS
from numpyro.distributions import Distribution

from scarlet_sed.errors import DataError, ParameterError, PSFError, ShapeError
from scarlet_sed.instrument.correlated import CorrelatedNoise
from scarlet_sed.instrument.geometry import PixelGrid
from scarlet_sed.instrument.images import BandFiles, Window, read_bands
from scarlet_sed.instrument.noise import GaussianNoise, Noise
from scarlet_sed.instrument.noise_estimate import estimate_noise
from scarlet_sed.instrument.psf import PSF
from scarlet_sed.instrument.validate import (
    clean_data,
    image_cube,
    inverse_variance,
    mask_cube,
    nanojansky_factors,
)
from scarlet_sed.parameters import Parameter, Parameterized, Tied, as_float, parameter, prior_median
from scarlet_sed.photometry.filters import FilterLike, Filters
from scarlet_sed.typing import Array, HostArray

PSFLike = PSF | np.ndarray

_PIXEL_FWHM = 2 * math.sqrt(2 * math.log(2) / 12)
"""In pixels, of a Gaussian with the variance of a pixel."""


@final
class Observation(Parameterized):
    """Images of one pixel grid in several bands, in nJy per pixel, with noise, PSFs and a place on the sky.

    Its parameters `sky`, `calibration`, `shift` and `foreground` are fixed by default and freed like any other:
    `obs.free("sky", dist.Normal(0, 1))`. The model of band b is
    `calibration[b] * 10^(-0.4 foreground[b]) * (scene moved by shift[b]) + sky[b]`.

    Args:
        data: (band, H, W), or (H, W) for one band; a numpy masked array brings its mask.
        filters: a Filters, or names of filters.
        psfs: one PSF for each band, or one for all; arrays are taken as PSFs at the native scale, pixel included.
        weights: inverse variances, zero where masked. Give exactly one of weights, sigma and variance; each is a
            number, (band,), (H, W) or (band, H, W), in the unit of the data.
        sigma: standard deviations (a noise map).
        variance: variances.
        mask: True (or non-zero) where a pixel is excluded.
        grid: the pixel grid; or give
        wcs: an astropy WCS (SIP included), or
        pixel_scale: arcsec per pixel of an image without WCS (north up, east left).
        unit: of data and noise: nJy (default), uJy, Jy, MJy/sr, or counts with a zero point; one, or one for each band.
        zero_point: AB magnitude of one count; one, or one for each band.
        noise: the noise model.
        sky: nJy per pixel added to the model; one, or one for each band; a prior frees it.
        calibration: factor on the model's flux, likewise.
        shift: (east, north) in arcsec by which the model is moved on this observation, likewise.
        foreground: extinction by the Milky Way in mag, likewise: `ss.milky_way(filters, ebv)`.
        name: how parameters and reports call it; the instrument's or the bands' by default.

    Raises:
        DataError: NaN or infinite pixels that are not masked, bad noise, a band without usable pixels.
        ShapeError: arrays that do not belong together.
        WCSError, UnitError, FilterError, PSFError: see there.
    """

    name: str = eqx.field(static=True)
    filters: Filters
    data: Array
    weights: Array
    psfs: tuple[PSF, ...]
    grid: PixelGrid = eqx.field(static=True)
    noise: Noise
    sky: Array = parameter(unit="nJy", doc="sky level per pixel")
    calibration: Array = parameter(doc="factor on the model's flux")
    shift: Array = parameter(unit="arcsec", doc="shift (east, north) of the model")
    foreground: Array = parameter(unit="mag", doc="extinction by the Milky Way")

    def __init__(
        self,
        data: Any,
        filters: Filters | str | Sequence[FilterLike],
        psfs: PSFLike | Sequence[PSFLike],
        *,
        weights: Any = None,
        sigma: Any = None,
        variance: Any = None,
        mask: Any = None,
        grid: PixelGrid | None = None,
        wcs: WCS | None = None,
        pixel_scale: float | None = None,
        unit: str | UnitBase | Sequence[str | UnitBase | None] | None = None,
        zero_point: float | Sequence[float | None] | None = None,
        noise: Noise | None = None,
        sky: Any = 0.0,
        calibration: Any = 1.0,
        shift: Any = 0.0,
        foreground: Any = 0.0,
        name: str | None = None,
    ) -> None:
        self.filters = Filters.load(filters)
        bands = self.filters.names
        images, masked = image_cube(data, bands)
        shape = images.shape
        if grid is not None and (wcs is not None or pixel_scale is not None):
            raise ShapeError("grid= was given together with wcs= or pixel_scale=", fix="give only one of them")
        self.grid = PixelGrid(shape[1:], wcs, pixel_scale) if grid is None else grid
        if self.grid.shape != shape[1:]:
            raise ShapeError(
                f"the data have shape {shape}, and the grid has {self.grid.shape}", fix="give the grid of these images"
            )
        excluded = masked | mask_cube(mask, shape)
        factor = nanojansky_factors(unit, zero_point, bands, self.grid)
        inverse = inverse_variance(shape, excluded, factor, weights=weights, sigma=sigma, variance=variance)
        self.data = _finite(clean_data(images * factor, inverse, bands), "data")
        self.weights = _finite(inverse, "weights")
        self.psfs = _checked_psfs(psfs, bands)
        self.noise = _checked_noise(GaussianNoise() if noise is None else noise, shape)
        self.sky = _per_band(sky, (len(bands),), "sky")
        self.calibration = _per_band(calibration, (len(bands),), "calibration")
        self.shift = _per_band(shift, (len(bands), 2), "shift")
        self.foreground = _per_band(foreground, (len(bands),), "foreground")
        self.name = _checked_name("_".join(bands) if name is None else name)

    @staticmethod
    def from_fits(
        bands: Mapping[str, "BandFiles | str | Mapping[str, Any]"],
        *,
        window: Window | None = None,
        filters: Filters | None = None,
        **options: Any,
    ) -> "Observation":
        """Read bands that share one pixel grid from FITS files.

        Args:
            bands: `BandFiles` (or a mapping of its arguments) by filter name, in the order wanted.
            window: a part of the sky or of the pixel grid to cut out; only that part of the files is read.
            filters: what the bands are, if their names are not those of filters.
            **options: `name`, `noise`, `sky`, `calibration`, `shift`, `foreground` of the Observation.

        Raises:
            FileFormatError: a file is missing or holds no image.
            WCSError: the bands lie on different grids (`observations_from_fits` makes several observations of them).
            DataError, UnitError, ...: as for an Observation.
        """
        images = read_bands(bands, window)
        names = [image.name for image in images]
        grid = images[0].grid
        for image in images[1:]:
            image.require_grid(grid, names[0])
        return Observation(
            np.stack([image.data for image in images]),
            Filters.load(names) if filters is None else filters,
            [image.psf for image in images],
            variance=np.stack([image.variance for image in images]),
            mask=np.stack([image.mask for image in images]),
            grid=grid,
            **options,
        )

    @property
    def bands(self) -> tuple[str, ...]:
        """Names of the filters."""
        return self.filters.names

    @property
    def shape(self) -> tuple[int, int, int]:
        """(band, height, width)."""
        bands, height, width = self.data.shape
        return bands, height, width

    @property
    def fwhm(self) -> HostArray:
        """(band,) full width at half maximum of the PSFs in arcsec, the detector pixel included."""
        widths = [math.hypot(psf.fwhm, 0.0 if psf.includes_pixel else _PIXEL_FWHM) for psf in self.psfs]
        return np.array(widths) * self.grid.pixel_scale

    @property
    def mask(self) -> Array:
        """(band, H, W) True where a pixel is excluded."""
        return self.weights <= 0

    @property
    def sigma(self) -> Array:
        """(band, H, W) standard deviation in nJy per pixel; infinite where masked."""
        return jnp.where(self.mask, jnp.inf, 1 / jnp.sqrt(jnp.where(self.mask, 1.0, self.weights)))

    def cutout(self, center: SkyCoord | tuple[float, float], size: float | tuple[float, float]) -> "Observation":
        """The part of this observation in a box along its pixel axes, clipped at its edges.

        Args:
            center: sky position, or pixel (x, y).
            size: (height, width) or both, in arcsec.

        Raises:
            DataError: if the box lies outside, or a band has no usable pixel in it.
        """
        rows, columns = Window(center, size).slices(self.grid)
        data, weights = self.data[:, rows, columns], self.weights[:, rows, columns]
        clean_data(np.asarray(data), np.asarray(weights), self.bands)
        noise = self.noise.for_shape((self.shape[0], data.shape[1], data.shape[2]))
        return self._replaced(data=data, weights=weights, noise=noise, grid=self.grid.window(rows, columns))

    def with_data(self, data: Any) -> "Observation":
        """The same observation of other light: (band, height, width) in nJy per pixel, such as a drawn scene.

        Raises:
            ShapeError, DataError: if the shape differs, or a pixel that is not masked is not finite.
        """
        images = np.asarray(data, dtype=float)
        if images.shape != self.shape:
            raise ShapeError(f"data of shape {images.shape} for an observation of {self.shape}", fix="give its shape")
        return self._replaced(data=_finite(clean_data(images, np.asarray(self.weights), self.bands), "data"))

    def with_mask(self, mask: Any) -> "Observation":
        """The same observation with further pixels excluded (True or non-zero)."""
        weights = np.where(mask_cube(mask, self.shape), 0.0, self.weights)
        data = clean_data(np.asarray(self.data), weights, self.bands)
        return self._replaced(data=as_float(data), weights=as_float(weights))

    def with_noise(self, noise: Noise | None = None, *, weights: Any = None, sigma: Any = None) -> "Observation":
        """The same observation with another noise model, and other weights or noise map (in nJy) if given.

        Masked pixels stay masked.
        """
        new = self if noise is None else self._replaced(noise=_checked_noise(noise, self.shape))
        if weights is None and sigma is None:
            return new
        one = np.ones((self.shape[0], 1, 1))
        inverse = inverse_variance(self.shape, np.asarray(self.mask), one, weights=weights, sigma=sigma, variance=None)
        clean_data(np.asarray(self.data), inverse, self.bands)
        return new._replaced(weights=_finite(inverse, "weights"))

    def with_correlated_noise(self, *, lags: int = 6, fill_steps: int | None = None) -> "Observation":
        """The same observation with the correlation and level of the noise measured in its own blank sky.

        Args:
            lags: largest separation in pixels.
            fill_steps: see `CorrelatedNoise`.

        Raises:
            DataError: if there is too little blank sky.
        """
        blank = estimate_noise(self.data, self.mask).blank
        steps = {} if fill_steps is None else {"fill_steps": fill_steps}
        return self.with_noise(CorrelatedNoise.estimate(self.data, blank, weights=self.weights, lags=lags, **steps))

    def _replaced(self, **fields: Any) -> "Observation":
        names = list(fields)
        if "grid" in fields:
            # a static field is not a leaf, so tree_at cannot reach it; every invariant has been checked already
            new = object.__new__(Observation)
            for field in self.__dataclass_fields__:
                object.__setattr__(new, field, fields.get(field, getattr(self, field)))
            return new
        return eqx.tree_at(lambda o: [getattr(o, n) for n in names], self, list(fields.values()))


def _finite(array: np.ndarray, what: str) -> Array:
    """As an array of the default floating type, which must hold its values."""
    with np.errstate(over="ignore", under="ignore"):
        result = as_float(array)
    lost = (array > 0) & (np.asarray(result) == 0) if what == "weights" else False
    if not np.all(np.isfinite(result)) or np.any(lost):
        raise DataError(
            f"the {what} in nJy do not fit into {result.dtype}",
            fix="check unit= and zero_point=, or enable 64-bit floats",
        )
    return result


def _checked_noise(noise: Any, shape: tuple[int, int, int]) -> Noise:
    if not isinstance(noise, Noise):
        raise DataError(f"the noise model is a {type(noise).__name__}", fix="pass a Noise; a noise map goes to sigma=")
    return noise.for_shape(shape)


def _checked_psfs(psfs: Any, bands: Sequence[str]) -> tuple[PSF, ...]:
    several = isinstance(psfs, (tuple, list)) or (not isinstance(psfs, PSF) and np.ndim(psfs) == 3)
    listed = list(psfs) if several else [psfs] * len(bands)
    if len(listed) != len(bands):
        raise PSFError(f"{len(listed)} PSFs for {len(bands)} bands", fix="give one PSF for each band, or one for all")
    if any(psf is None for psf in listed):
        raise PSFError(
            "a band has no PSF", fix="give a PSF for each band; PSF.gaussian or PSF.moffat make one from a FWHM"
        )
    return tuple(psf if isinstance(psf, PSF) else PSF(psf) for psf in listed)


def _per_band(value: Any, shape: tuple[int, ...], what: str) -> Any:
    """A number, Quantity, prior or Parameter with one element for each band (and axis); its slot converts it."""
    if isinstance(value, Tied):
        return value
    if isinstance(value, Distribution):
        value = Parameter(prior_median(value), value)
    plain = value.value if isinstance(value, Parameter) else value
    try:
        if isinstance(value, Parameter):
            return Parameter(jnp.broadcast_to(plain, shape), value.prior)
        return np.broadcast_to(plain, shape, subok=True)
    except ValueError as error:
        raise ParameterError(
            f"{what} has shape {np.shape(plain)}", fix=f"give a number or an array of shape {shape}"
        ) from error


def _checked_name(name: str) -> str:
    if not isinstance(name, str) or not name or "." in name:
        raise ParameterError(f"{name!r} cannot name an observation", fix="use a string without dots")
    return name
