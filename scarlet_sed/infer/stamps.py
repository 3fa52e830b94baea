"""Stamps: images of single galaxies as they were seen, through PSFs and with noise, many at once."""

from collections.abc import Sequence
from typing import Any, final

import equinox as eqx
import numpy as np

from scarlet_sed.errors import DataError, PSFError, ShapeError
from scarlet_sed.instrument.frame import Frame
from scarlet_sed.instrument.observation import Observation
from scarlet_sed.instrument.operator import Operator, build_operator
from scarlet_sed.instrument.psf import PSF
from scarlet_sed.morphology.base import PixelGrid
from scarlet_sed.morphology.lattice import blob_matrices
from scarlet_sed.parameters import as_float
from scarlet_sed.typing import Array, HostArray

FAINTEST = 3.0
"""Signal-to-noise of a stamp below which it shows no galaxy."""
_BAND = ("hsc_g",)
"""Stands for any: a stamp has no colour."""


@final
class Stamps(eqx.Module):
    """Galaxies, one in the middle of each stamp, with what a comparison with an image of `Pixels` needs.

    Galaxies lie on the stamps' own pixels, as a `Pixels` of that pixel scale does in a scene: blobs of 0.7 pixels,
    convolved with the kernel that leads from these to the stamp's PSF.

    Args:
        data: (stamp, side, side) light in any unit; zero where masked.
        weights: (stamp, side, side) inverse variances; zero where masked.
        level: (stamp,) deviation of a sky level that was left in; zero where there is none.
        brightness: (stamp,) first guess of the flux.
        operator: from the frame to the stamps, with one kernel for each, or one for all.
        rows, columns: (frame, side) what lines of an image give to lines of the frame.
    """

    data: Array
    weights: Array
    level: Array
    brightness: Array
    operator: Operator
    rows: Array
    columns: Array

    @staticmethod
    def of(data: Any, weights: Any, psfs: Any, level: Any = 0.0) -> "Stamps":
        """Stamps as they come from a file.

        Args:
            data: (stamp, side, side), in any unit.
            weights: inverse variances of that shape, zero where a pixel is masked.
            psfs: (ny, nx) array or a `PSF` for all stamps; or (stamp, ny, nx) or a sequence, one for each. Arrays are
                sampled at the stamps' pixels, which they include.
            level: deviation of the sky level that is left in the data; one, or one for each stamp.

        Raises:
            DataError: for weights or levels that are none, or a stamp with pixels that are not finite, without usable
                pixels, or without a galaxy.
            ShapeError: for arrays that do not belong together, or are not square.
            PSFError: for a PSF that cannot be used.
        """
        images, inverse = _checked(data, weights)
        count, side = images.shape[:2]
        levels = np.asarray(level, np.float64)
        if levels.shape not in ((), (count,)):
            raise ShapeError(f"levels of shape {levels.shape} for {count} stamps", fix="give one, or one for each")
        if not np.all(np.isfinite(levels) & (levels >= 0)):
            raise DataError("a sky level's deviation is negative or not finite", fix="give 0 where the sky is known")
        shapes = _psfs(psfs, count)
        frame = _frame(shapes, side)
        middle = np.asarray(frame.origin)
        x, y = (as_float(np.arange(n) - at) for n, at in zip(frame.shape[::-1], middle, strict=True))
        grid = PixelGrid(x, y, as_float(frame.matrix), as_float(frame.psf_sigma))
        rows, columns = blob_matrices(grid, (side, side), as_float(1.0))
        return Stamps(
            data=as_float(images),
            weights=as_float(inverse),
            level=as_float(np.broadcast_to(levels, count)),
            brightness=as_float(_brightness(images, inverse)),
            operator=build_operator(
                frame.shape, frame.psf_sigma, shapes, frame.pixel_map(_blank(shapes[0], side).grid)
            ),
            rows=rows,
            columns=columns,
        )

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) of each."""
        return self.data.shape[1], self.data.shape[2]

    def __len__(self) -> int:
        return self.data.shape[0]

    def part(self, places: Any) -> "Stamps":
        """Some of them, by their places."""
        names = ["data", "weights", "level", "brightness"]
        found = eqx.tree_at(lambda s: [getattr(s, n) for n in names], self, [getattr(self, n)[places] for n in names])
        if len(self.operator.kernel) == 1:
            return found
        return eqx.tree_at(lambda s: s.operator.kernel, found, self.operator.kernel[places])

    def seen(self, images: Array) -> Array:
        """(stamp, side, side) unit-flux images through the PSF of each, without noise."""
        return self.operator(self.rows @ images @ self.columns.T)


def _checked(data: Any, weights: Any) -> tuple[HostArray, HostArray]:
    """Data, zero where masked, and weights."""
    images, inverse = np.asarray(data, np.float64), np.asarray(weights, np.float64)
    if images.ndim != 3 or images.size == 0 or images.shape[1] != images.shape[2]:
        raise ShapeError(f"stamps of shape {images.shape}", fix="give square ones, an array (stamp, side, side)")
    if inverse.shape != images.shape:
        raise ShapeError(
            f"weights of shape {inverse.shape} for stamps of {images.shape}", fix="give one for each pixel"
        )
    if not np.all(np.isfinite(inverse) & (inverse >= 0)):
        raise DataError("weights are negative or not finite", fix="give inverse variances, 0 where a pixel is masked")
    used = inverse > 0
    _refuse(~np.isfinite(np.where(used, images, 0.0)), "pixels that are not finite", "give these weight 0")
    _refuse(~used.any(axis=(1, 2)), "no usable pixel", "leave them out, or check the weights")
    return np.where(used, images, 0.0), inverse


def _refuse(bad: Any, what: str, fix: str) -> None:
    """Raise `DataError` if there is a stamp for which (stamp, ...) booleans say so."""
    places = np.flatnonzero(np.any(np.reshape(bad, (len(bad), -1)), axis=1))
    if places.size:
        raise DataError(f"{places.size} stamps, of which number {places[0]} is the first, have {what}", fix=fix)


def _psfs(given: Any, count: int) -> list[PSF]:
    """One PSF for all stamps, or one for each."""
    if isinstance(given, PSF):
        return [given]
    several: Sequence[Any] = given if isinstance(given, (list, tuple)) or np.ndim(given) == 3 else [given]
    if len(several) not in (1, count):
        raise PSFError(f"{len(several)} PSFs for {count} stamps", fix="give one for all stamps, or one for each")
    return [psf if isinstance(psf, PSF) else PSF(psf) for psf in several]


def _blank(psf: PSF, side: int) -> Observation:
    return Observation(np.zeros((1, side, side)), _BAND, psf, sigma=1.0, pixel_scale=1.0)


def _frame(psfs: Sequence[PSF], side: int) -> Frame:
    """One that has room for the widest PSF and resolves the sharpest."""
    by_width = sorted(psfs, key=lambda psf: psf.fwhm)
    return Frame.covering([_blank(psf, side) for psf in (by_width[0], by_width[-1])])


def _brightness(images: HostArray, weights: HostArray) -> HostArray:
    """(stamp,) fluxes of stamps that are as bright as the mean of all, pixel by pixel."""
    precision = weights.sum(axis=0)
    mean = np.maximum((weights * images).sum(axis=0) / np.where(precision > 0, precision, 1.0), 0.0)
    information = (weights * mean**2).sum(axis=(1, 2))
    fitted = (weights * images * mean).sum(axis=(1, 2)) / np.where(information > 0, information, 1.0)
    _refuse(
        ~(fitted * np.sqrt(information) > FAINTEST),
        f"no galaxy in the middle: the signal is below {FAINTEST:g} times the noise",
        "leave them out",
    )
    return fitted * mean.sum()
