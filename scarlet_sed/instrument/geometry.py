"""Where the pixels of an image lie on the sky. Host code: numpy and astropy only, never traced."""

from functools import cached_property
from typing import Any, final

import numpy as np
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS
from astropy.wcs.utils import pixel_to_skycoord, skycoord_to_pixel
from astropy.wcs.wcs import NoConvergence

from scarlet_sed.errors import ShapeError, WCSError
from scarlet_sed.typing import HostArray

Reference = tuple[float, float]
"""(right ascension, declination) in degrees, ICRS, of a tangent point."""

_ROUND_TRIP_TOLERANCE = 1e-5  # arcsec: far below what an image can show, far above the rounding of header cards


@final
class PixelGrid:
    """An image grid on the sky: a shape with a celestial WCS (SIP included), or with a bare pixel scale.

    Pixel coordinates are (x, y), zero-based, integers at pixel centres. Without a WCS north is up and east left.
    Grids are immutable and equal by value, so they can be static fields of a pytree, and they pickle.

    Args:
        shape: (height, width).
        wcs: a WCS whose first two pixel axes are celestial; further axes are dropped.
        pixel_scale: arcsec per pixel; needed without a WCS, otherwise only checked against it.
        origin: (x, y) of the point that has offset (0, 0) in a bare grid; the middle of the image by default.

    Raises:
        WCSError: no WCS and no pixel scale, a WCS without celestial axes, one that contradicts the pixel scale, or
            one with a distortion that header cards do not hold (lookup tables).
    """

    def __init__(
        self,
        shape: tuple[int, int],
        wcs: WCS | None = None,
        pixel_scale: float | None = None,
        origin: tuple[float, float] | None = None,
    ) -> None:
        self.shape = _checked_shape(shape)
        middle = ((self.shape[1] - 1) / 2, (self.shape[0] - 1) / 2)
        if pixel_scale is not None and not (np.isfinite(pixel_scale) and pixel_scale > 0):
            raise WCSError(f"the pixel scale is {pixel_scale}", fix="give arcsec per pixel, a positive number")
        if wcs is None and pixel_scale is None:
            raise WCSError("the image has neither a WCS nor a pixel scale", fix="give wcs= or pixel_scale= (arcsec)")
        self._header = None if wcs is None else _header_of(wcs, self.shape)
        self._scale = None if pixel_scale is None or wcs is not None else float(pixel_scale)
        self.origin = None if wcs is not None else (middle if origin is None else (float(origin[0]), float(origin[1])))
        if wcs is not None and pixel_scale is not None and abs(self.pixel_scale / pixel_scale - 1) > 0.01:
            raise WCSError(
                f"the WCS has {self.pixel_scale:.4f} arcsec per pixel, but pixel_scale is {pixel_scale:.4f}",
                fix="drop pixel_scale, or pass wcs=None to ignore the WCS",
            )

    def _key(self) -> tuple[Any, ...]:
        return self.shape, self._header, self._scale, self.origin

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PixelGrid) and other._key() == self._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        kind = "bare" if self.wcs is None else "wcs"
        return f"PixelGrid({self.shape[0]}x{self.shape[1]}, {self.pixel_scale:.4g} arcsec/pixel, {kind})"

    def __getstate__(self) -> dict[str, Any]:
        return {name: self.__dict__[name] for name in ("shape", "_header", "_scale", "origin")}

    @cached_property
    def wcs(self) -> WCS | None:
        """The celestial WCS of two axes, or None for a bare grid."""
        return None if self._header is None else _wcs_of(self._header)

    @property
    def middle(self) -> tuple[float, float]:
        """(x, y) of the middle of the image."""
        return (self.shape[1] - 1) / 2, (self.shape[0] - 1) / 2

    @cached_property
    def matrix(self) -> HostArray:
        """(2, 2) d(x, y) / d(east, north) in pixels per arcsec, at the middle of the image."""
        if self._scale is not None:
            return np.diag([-1.0, 1.0]) / self._scale
        x, y = self.middle
        sides = self.offsets(x + np.array([0.5, -0.5, 0, 0]), y + np.array([0, 0, 0.5, -0.5]), self.reference)
        inverse = np.stack([sides[0] - sides[1], sides[2] - sides[3]], axis=1)
        if not np.all(np.isfinite(inverse)) or np.linalg.det(inverse) == 0:
            raise WCSError(
                "the WCS has no sky position at the middle of the image", fix="check CRPIX, CRVAL and the CD matrix"
            )
        return np.linalg.inv(inverse)

    @cached_property
    def pixel_scale(self) -> float:
        """Arcsec per pixel: the root of the pixel's area at the middle of the image."""
        return self._scale if self._scale is not None else float(abs(np.linalg.det(self.matrix)) ** -0.5)

    @cached_property
    def reference(self) -> Reference | None:
        """(ra, dec) in degrees of the middle of the image; None for a bare grid."""
        if self._header is None:
            return None
        middle = self.sky(*self.middle)
        return float(middle.ra.deg), float(middle.dec.deg)

    def sky(self, x: Any, y: Any) -> SkyCoord:
        """ICRS sky position of pixel coordinates.

        Raises:
            WCSError: for a bare grid.
        """
        if self.wcs is None:
            raise WCSError("a grid without a WCS has no sky positions", fix="give the image a WCS")
        return pixel_to_skycoord(x, y, self.wcs, origin=0, mode="all").icrs

    def offsets(self, x: Any, y: Any, reference: Reference | None) -> HostArray:
        """(..., 2) offsets (east, north) in arcsec of pixel coordinates, in the tangent plane of `reference`.

        Exact: the whole WCS with its distortion is evaluated for every point. A bare grid takes reference None.
        """
        x, y = np.broadcast_arrays(np.asarray(x, dtype=float), np.asarray(y, dtype=float))
        self._check_reference(reference)
        if self._scale is not None and self.origin is not None:
            return np.stack([self.origin[0] - x, y - self.origin[1]], axis=-1) * self._scale
        assert reference is not None
        sky = self.sky(x, y)
        return to_tangent_plane(sky.ra.deg, sky.dec.deg, reference)

    def pixels(self, offsets: Any, reference: Reference | None) -> HostArray:
        """(..., 2) pixel coordinates (x, y) of offsets (east, north) in arcsec: the inverse of `offsets`."""
        offsets = np.asarray(offsets, dtype=float)
        self._check_reference(reference)
        if self._scale is not None and self.origin is not None:
            return np.array([-1.0, 1.0]) * offsets / self._scale + np.array(self.origin)
        assert reference is not None
        return self.pixels_of(SkyCoord(*from_tangent_plane(offsets, reference), unit="deg"))

    def pixels_of(self, sky: SkyCoord) -> HostArray:
        """(..., 2) pixel coordinates (x, y) of sky positions.

        Raises:
            WCSError: for a bare grid, or where the distortion cannot be inverted.
        """
        if self.wcs is None:
            raise WCSError("a grid without a WCS has no sky positions", fix="give the image a WCS, or use pixels")
        try:
            return np.stack(skycoord_to_pixel(sky, self.wcs, origin=0, mode="all"), axis=-1)
        except NoConvergence as error:
            raise WCSError(
                "the distortion of the WCS cannot be inverted there",
                fix="stay inside the image, or check the SIP terms",
            ) from error

    def window(self, rows: slice, columns: slice) -> "PixelGrid":
        """The grid of a sub-image; slices need non-negative integer bounds and step 1."""
        shape = (rows.stop - rows.start, columns.stop - columns.start)
        if self.wcs is not None:
            return PixelGrid(shape, wcs=self.wcs.slice((rows, columns)))
        assert self.origin is not None
        origin = (self.origin[0] - columns.start, self.origin[1] - rows.start)
        return PixelGrid(shape, pixel_scale=self._scale, origin=origin)

    def outline(self) -> HostArray:
        """(n, 2) pixel coordinates along the outer edge of the image, corners included."""
        height, width = self.shape
        x, y = np.arange(width + 1) - 0.5, np.arange(height + 1) - 0.5
        low, high = np.full_like(x, -0.5), np.full_like(x, height - 0.5)
        left, right = np.full_like(y, -0.5), np.full_like(y, width - 0.5)
        sides = [(x, low), (x, high), (left, y), (right, y)]
        return np.concatenate([np.stack(side, axis=-1) for side in sides])

    def same_as(self, other: "PixelGrid", tolerance: float = 1e-3) -> bool:
        """Whether two grids have equal shapes and their outlines agree to `tolerance` pixels."""
        if self == other:
            return True
        if self.shape != other.shape or (self.wcs is None) != (other.wcs is None):
            return False
        x, y = self.outline().T
        there = self.offsets(x, y, self.reference)
        here = other.offsets(x, y, self.reference)
        return bool(np.max(np.abs(there - here)) < tolerance * self.pixel_scale)

    def _check_reference(self, reference: Reference | None) -> None:
        if (self._header is None) != (reference is None):
            raise WCSError(
                "an image with a WCS and one without cannot be placed on each other",
                fix="give all observations a WCS, or none (then their middles coincide)",
            )


def to_tangent_plane(ra: Any, dec: Any, reference: Reference) -> HostArray:
    """(..., 2) gnomonic offsets (east, north) in arcsec of sky positions in degrees.

    Calabretta & Greisen 2002, A&A 395, 1077, section 5.1.3.
    """
    turn, dec = np.radians(np.asarray(ra) - reference[0]), np.radians(np.asarray(dec))
    sin0, cos0 = np.sin(np.radians(reference[1])), np.cos(np.radians(reference[1]))
    # 1 - cos(turn) is written with the half angle, or its digits cancel near the reference point
    versine = 2 * np.sin(turn / 2) ** 2
    depth = np.cos(dec - np.radians(reference[1])) - cos0 * np.cos(dec) * versine
    east = np.cos(dec) * np.sin(turn)
    north = np.sin(dec - np.radians(reference[1])) + sin0 * np.cos(dec) * versine
    if np.any(depth <= 0):
        raise WCSError("two images lie more than 90 degrees apart", fix="check their WCS")
    return np.degrees(np.stack([east / depth, north / depth], axis=-1)) * 3600


def from_tangent_plane(offsets: Any, reference: Reference) -> tuple[HostArray, HostArray]:
    """(ra, dec) in degrees of gnomonic offsets (..., 2) in arcsec: the inverse of `to_tangent_plane`."""
    east, north = np.moveaxis(np.radians(np.asarray(offsets, dtype=float) / 3600), -1, 0)
    sin0, cos0 = np.sin(np.radians(reference[1])), np.cos(np.radians(reference[1]))
    ra = reference[0] + np.degrees(np.arctan2(east, cos0 - north * sin0))
    dec = np.degrees(np.arctan2(sin0 + north * cos0, np.hypot(east, cos0 - north * sin0)))
    return ra % 360, dec


def _checked_shape(shape: tuple[int, int]) -> tuple[int, int]:
    if len(shape) != 2 or min(shape) < 1:
        raise ShapeError(f"an image of shape {tuple(shape)}", fix="give (height, width), both at least 1")
    return int(shape[0]), int(shape[1])


def _header_of(wcs: WCS, shape: tuple[int, int]) -> str:
    """The WCS as header cards, after a check that the cards hold all of it."""
    if wcs.naxis > 2:
        wcs = wcs.sub([1, 2])
    if not wcs.has_celestial or wcs.naxis != 2:
        raise WCSError(
            f"the WCS has axes {list(wcs.wcs.ctype)}, not two celestial ones",
            fix="give a WCS with RA/Dec axes, or pixel_scale=",
        )
    if any(table is not None for table in (wcs.cpdis1, wcs.cpdis2, wcs.det2im1, wcs.det2im2)):
        raise WCSError(
            "the WCS has a lookup-table distortion, which is not supported",
            fix="drizzle the image onto an undistorted grid, or fit SIP terms to the distortion",
        )
    header = wcs.to_header(relax=True).tostring()
    x, y = np.array([0, shape[1] - 1, 0, shape[1] - 1]), np.array([0, 0, shape[0] - 1, shape[0] - 1])
    before, after = (pixel_to_skycoord(x, y, w, origin=0, mode="all") for w in (wcs, _wcs_of(header)))
    if not np.all(before.separation(after).arcsec < _ROUND_TRIP_TOLERANCE):
        raise WCSError(
            "the WCS has a distortion that header cards cannot hold, or no sky position at a corner of the image",
            fix="resample the image onto an undistorted (or SIP) grid",
        )
    return str(header)


def _wcs_of(header: str) -> WCS:
    return WCS(fits.Header.fromstring(header), fix=False)
