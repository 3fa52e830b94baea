"""The model's pixel grid: fine enough for the sharpest image, wide enough for all of them."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn, final

import astropy.units as u
import equinox as eqx
import numpy as np
from astropy.coordinates import SkyCoord
from astropy.wcs import WCS

from scarlet_sed.errors import DataError, SourceError, WCSError
from scarlet_sed.instrument.geometry import PixelGrid, Reference, from_tangent_plane, to_tangent_plane
from scarlet_sed.typing import HostArray

if TYPE_CHECKING:
    from scarlet_sed.instrument.observation import Observation

MODEL_PSF_SIGMA = 0.8
"""Dispersion of the model PSF in model pixels. At 0.8 a point behind the sharpest NIRCam PSF is right to 8e-4 of its
peak at oversampling 2 (at 0.7 to 1.9e-3, by aliasing); wider, and the difference kernels amplify the noise of empirical
PSFs."""

_FWHM = 2 * math.sqrt(2 * math.log(2))
_SHARPNESS = 0.8  # widest model PSF, over the sharpest PSF: beyond this the difference kernel sharpens instead of blurs
_MAX_OVERSAMPLING = 8
_MAX_PIXELS = 2**28  # 1 GiB a band in float32
_MARGIN_STEP = 8  # margins come in steps, so that fields with slightly different PSFs get frames of equal shape


@final
class Frame(eqx.Module):
    """The grid on which a scene is drawn.

    Positions are offsets (east, north) in arcsec in the tangent plane of the reference point; model pixels (x, y)
    are an affine map of them: `pixel = origin + matrix @ position`. Integer pixels are pixel centres.

    Args:
        shape: (height, width) in model pixels.
        matrix: (2, 2) d(x, y) / d(east, north), model pixels per arcsec.
        origin: (2,) model pixel (x, y) of position (0, 0).
        reference: (ra, dec) in degrees of position (0, 0), or None if nothing is known about the sky.
        psf_sigma: dispersion in model pixels of the model PSF, a round Gaussian that includes the model pixel.
        oversampling: model pixels per native pixel of the finest observation.
    """

    shape: tuple[int, int] = eqx.field(static=True)
    matrix: HostArray
    origin: HostArray
    reference: HostArray | None
    psf_sigma: float
    oversampling: int = eqx.field(static=True)

    def __init__(
        self,
        shape: tuple[int, int],
        matrix: Any,
        origin: Any,
        reference: Reference | HostArray | None = None,
        *,
        psf_sigma: float = MODEL_PSF_SIGMA,
        oversampling: int = 1,
    ) -> None:
        self.shape = (int(shape[0]), int(shape[1]))
        self.matrix = np.asarray(matrix, dtype=float)
        self.origin = np.asarray(origin, dtype=float)
        self.reference = None if reference is None else np.asarray(reference, dtype=float)
        self.psf_sigma = float(psf_sigma)
        self.oversampling = int(oversampling)

    @staticmethod
    def bare(shape: tuple[int, int], pixel_scale: float, *, psf_sigma: float = MODEL_PSF_SIGMA) -> "Frame":
        """A frame of model pixels of `pixel_scale` arcsec, north up, east left, position (0, 0) in the middle."""
        grid = PixelGrid(shape, pixel_scale=pixel_scale)
        return Frame(grid.shape, grid.matrix, grid.middle, psf_sigma=psf_sigma)

    @staticmethod
    def covering(
        observations: "Observation | Sequence[Observation]",
        *,
        oversampling: int | None = None,
        margin_px: int | None = None,
        psf_sigma: float = MODEL_PSF_SIGMA,
    ) -> "Frame":
        """The frame that covers all observations, along the pixel axes of the finest one.

        The centre of native pixel j of the finest observation falls on model pixel `oversampling * j + constant`.
        Position (0, 0) is the middle of that observation.

        Args:
            observations: one or several, all with a WCS or all without (then their middles coincide).
            oversampling: model pixels per native pixel of the finest observation; by default the fewest with which
                the model PSF is clearly narrower than the sharpest PSF.
            margin_px: model pixels kept beyond the outermost observed pixel on every side, for light that the PSF
                carries in; by default twice the widest FWHM.
            psf_sigma: dispersion of the model PSF in model pixels.

        Raises:
            WCSError: if some have a WCS and others have none, or they do not overlap.
            DataError: if the frame would be too large, or the PSF too sharp for any oversampling up to 8.
        """
        several = list(observations) if isinstance(observations, Sequence) else [observations]
        if not several:
            raise DataError("no observation to cover", fix="pass at least one Observation")
        finest = min((o.grid for o in several), key=lambda grid: grid.pixel_scale)
        widths = [o.fwhm for o in several]
        if oversampling is None:
            oversampling = _enough_oversampling(finest.pixel_scale, min(w.min() for w in widths), psf_sigma)
        if int(oversampling) != oversampling or oversampling < 1:
            raise DataError(f"oversampling is {oversampling}", fix="give a whole number of at least 1")
        if margin_px is None:
            margin = 2 * max(w.max() for w in widths) / finest.pixel_scale * oversampling
            margin_px = _MARGIN_STEP * math.ceil(margin / _MARGIN_STEP)
        low, high = _bounds(finest, [o.grid for o in several], oversampling)
        low, high = low - margin_px, high + margin_px
        width, height = (high - low + 1).tolist()
        if width * height > _MAX_PIXELS:
            raise DataError(
                f"the frame would have {height} x {width} pixels", fix="cut the observations to a smaller field first"
            )
        origin = oversampling * np.array(finest.middle) - low
        if finest.origin is not None:
            origin = oversampling * np.array(finest.origin) - low
        return Frame(
            (height, width),
            oversampling * finest.matrix,
            origin,
            finest.reference,
            psf_sigma=psf_sigma,
            oversampling=oversampling,
        )

    @property
    def pixel_scale(self) -> float:
        """Arcsec per model pixel (the root of its area)."""
        return float(abs(np.linalg.det(self.matrix)) ** -0.5)

    @property
    def tangent_point(self) -> Reference | None:
        """The reference as plain numbers (ra, dec) in degrees."""
        return None if self.reference is None else (float(self.reference[0]), float(self.reference[1]))

    @property
    def wcs(self) -> WCS | None:
        """The frame's own WCS (tangential projection at the reference), None without one."""
        if self.reference is None:
            return None
        wcs = WCS(naxis=2)
        wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
        wcs.wcs.crval = self.reference
        wcs.wcs.crpix = self.origin + 1
        wcs.wcs.cd = np.linalg.inv(self.matrix) / 3600
        wcs.array_shape = self.shape
        wcs.wcs.set()
        return wcs

    def pixel(self, position: Any) -> Any:
        """Model pixels (..., 2) as (x, y) of positions (..., 2) in arcsec; numpy or traced."""
        return _affine(self.matrix, position) + self.origin

    def position(self, pixel: Any) -> Any:
        """Positions (..., 2) in arcsec of model pixels (..., 2) as (x, y); numpy or traced."""
        return _affine(np.linalg.inv(self.matrix), _minus(pixel, self.origin))

    def sky(self, position: Any) -> SkyCoord:
        """ICRS coordinates of positions (..., 2) in arcsec.

        Raises:
            WCSError: if the frame has no reference on the sky.
        """
        if self.tangent_point is None:
            _refuse_sky()
        return SkyCoord(*from_tangent_plane(position, self.tangent_point), unit=u.deg)

    def from_sky(self, sky: SkyCoord) -> HostArray:
        """Positions (..., 2) in arcsec of sky coordinates.

        Raises:
            WCSError: if the frame has no reference on the sky.
        """
        if self.tangent_point is None:
            _refuse_sky()
        icrs = sky.icrs
        return to_tangent_plane(icrs.ra.deg, icrs.dec.deg, self.tangent_point)

    def contains(self, position: Any) -> Any:
        """Whether positions (..., 2) lie on the frame's pixels."""
        pixel = self.pixel(position)
        x, y = pixel[..., 0], pixel[..., 1]
        return (x >= -0.5) & (x <= self.shape[1] - 0.5) & (y >= -0.5) & (y <= self.shape[0] - 0.5)

    def pixel_map(self, grid: PixelGrid) -> HostArray:
        """(height, width, 2) model pixel (x, y) of the centre of every pixel of an observation's grid.

        Raises:
            WCSError: if only one of frame and grid has a WCS.
        """
        y, x = np.mgrid[: grid.shape[0], : grid.shape[1]]
        return np.asarray(self.pixel(grid.offsets(x, y, self.tangent_point)))

    def require(self, position: Any, what: str) -> None:
        """Raise `SourceError` if a concrete position lies off the frame."""
        if not np.all(self.contains(np.asarray(position))):
            raise SourceError(
                f"{what} at {np.asarray(position).tolist()} arcsec lies outside the frame of {self.shape} pixels",
                fix="give (east, north) in arcsec from the frame's reference point, or cover a wider field",
            )


def _refuse_sky() -> NoReturn:
    raise WCSError("the frame has no place on the sky", fix="give the observations a WCS, or use positions in arcsec")


def _affine(matrix: Any, vectors: Any) -> Any:
    vectors = np.asarray(vectors, dtype=float) if isinstance(vectors, (tuple, list)) else vectors
    return vectors[..., :1] * matrix[:, 0] + vectors[..., 1:] * matrix[:, 1]


def _minus(vectors: Any, origin: Any) -> Any:
    return (np.asarray(vectors, dtype=float) if isinstance(vectors, (tuple, list)) else vectors) - origin


def _enough_oversampling(pixel_scale: float, sharpest: float, psf_sigma: float) -> int:
    """The fewest model pixels per native pixel with which the model PSF is narrower than the sharpest PSF."""
    needed = math.ceil(psf_sigma * _FWHM * pixel_scale / (_SHARPNESS * sharpest) - 1e-9)
    if needed > _MAX_OVERSAMPLING:
        raise DataError(
            f"the sharpest PSF has a FWHM of {sharpest / pixel_scale:.2f} native pixels, which no grid resolves",
            fix="check the PSF image and its oversampling, or give oversampling= explicitly",
        )
    return max(needed, 1)


def _bounds(finest: PixelGrid, grids: list[PixelGrid], oversampling: int) -> tuple[HostArray, HostArray]:
    """Lowest and highest model pixel (x, y) that any grid touches, counted from the finest grid's pixel (0, 0)."""
    half = oversampling // 2
    low = np.array([-half, -half])
    high = oversampling * (np.array(finest.shape[::-1]) - 1) + half
    start = np.array(finest.middle if finest.origin is None else finest.origin)
    for grid in grids:
        if grid is finest:
            continue
        x, y = grid.outline().T
        edge = grid.offsets(x, y, finest.reference)
        pixels = oversampling * (edge @ finest.matrix.T + start)
        first, last = np.floor(pixels.min(axis=0) + 1e-6), np.ceil(pixels.max(axis=0) - 1e-6)
        if np.any(last < low) or np.any(first > high):
            raise WCSError(
                f"{grid!r} does not overlap the finest observation {finest!r}",
                fix="check the WCS of both, or fit the fields separately",
            )
        low, high = np.minimum(low, first.astype(int)), np.maximum(high, last.astype(int))
    return low, high
