"""Checks that turn what a user passes into clean arrays for an Observation, or into a typed error."""

from collections.abc import Sequence
from typing import Any

import astropy.units as u
import numpy as np

from scarlet_sed.errors import DataError, ShapeError, UnitError
from scarlet_sed.instrument.geometry import PixelGrid
from scarlet_sed.photometry.units import njy_per_unit, pixel_area
from scarlet_sed.typing import HostArray

Shape3 = tuple[int, int, int]


def image_cube(data: Any, bands: Sequence[str]) -> tuple[HostArray, np.ndarray]:
    """(band, H, W) float64 images and the mask that a numpy masked array brings along.

    A single (H, W) image is fine for a single band.
    """
    masked = np.ma.getmaskarray(data) if np.ma.isMaskedArray(data) else None
    array = _as_array(np.ma.getdata(data) if masked is not None else data, "the data")
    if array.ndim == 2 and len(bands) == 1:
        array, masked = array[None], None if masked is None else masked[None]
    if array.ndim != 3 or array.shape[0] != len(bands):
        raise ShapeError(
            f"the data have shape {array.shape}, and there are {len(bands)} filters ({', '.join(bands)})",
            fix="give data as (band, height, width) with one filter for each band",
        )
    if array.size == 0:
        raise ShapeError(f"the data have shape {array.shape}", fix="give images of at least one pixel")
    return array, np.zeros(array.shape, bool) if masked is None else masked


def per_pixel(value: Any, shape: Shape3, what: str) -> HostArray:
    """A scalar, (band,), (H, W) or (band, H, W) array as (band, H, W)."""
    array = _as_array(value, what)
    if array.ndim == 1 and array.shape == shape[:1]:
        array = array[:, None, None]
    try:
        if array.ndim == 1:
            raise ValueError
        return np.broadcast_to(array, shape)
    except ValueError:
        raise ShapeError(
            f"{what} has shape {array.shape}, and the data have {shape}",
            fix="give a number, one for each band, or an array of the data's shape",
        ) from None


def mask_cube(mask: Any, shape: Shape3) -> np.ndarray:
    """(band, H, W) booleans, True where excluded, of a mask of booleans or of numbers (non-zero excludes)."""
    if mask is None:
        return np.zeros(shape, bool)
    array = np.asarray(mask)
    if array.ndim not in (2, 3) or array.dtype.kind not in "biuf":
        raise ShapeError(
            f"the mask has shape {array.shape} and type {array.dtype}",
            fix="give booleans of the data's shape, True = excluded",
        )
    if array.dtype.kind == "f" and np.any(np.isnan(array)):
        raise DataError("the mask holds NaN", fix="give booleans, True = excluded")
    try:
        return np.broadcast_to(array != 0, shape)
    except ValueError:
        raise ShapeError(
            f"the mask has shape {array.shape}, and the data have {shape}", fix="give a mask of the data's shape"
        ) from None


def inverse_variance(
    shape: Shape3, mask: np.ndarray, factor: HostArray, *, weights: Any, sigma: Any, variance: Any
) -> HostArray:
    """(band, H, W) weights in 1 / nJy^2 from exactly one of weights, standard deviation and variance.

    Args:
        shape: of the data.
        mask: True where a pixel is excluded; what the noise says there does not matter.
        factor: (band, 1, 1) nJy per unit of the data; the noise is in the same unit.
        weights: inverse variance; zero masks a pixel.
        sigma: standard deviation; infinite masks a pixel.
        variance: its square.
    """
    given = {k: v for k, v in (("weights", weights), ("sigma", sigma), ("variance", variance)) if v is not None}
    if len(given) != 1:
        raise DataError(
            f"the noise is given by {' and '.join(given) or 'nothing'}",
            fix="give exactly one of weights=, sigma= (noise map) or variance=; "
            "estimate_noise(data).sigma measures it from blank sky",
        )
    name, value = next(iter(given.items()))
    array = per_pixel(value, shape, name)
    bad = np.isnan(array) | ((array < 0) | np.isinf(array) if name == "weights" else array <= 0)
    if np.any(bad & ~mask):
        wrong = "negative" if name == "weights" else "not positive"
        raise DataError(
            f"{int(np.sum(bad & ~mask))} pixels have {name} that are NaN, infinite or {wrong}",
            fix="mask them (mask=, True = excluded)" + ("; weight 0 also masks" if name == "weights" else ""),
        )
    clean = np.where(bad, 1.0, array)
    weight = {"weights": lambda: clean, "sigma": lambda: clean**-2.0, "variance": lambda: 1 / clean}[name]()
    return np.where(mask, 0.0, weight / factor**2)


def clean_data(data: HostArray, weights: HostArray, bands: Sequence[str]) -> HostArray:
    """The data with zero in masked pixels.

    Raises:
        DataError: where an unmasked pixel is not finite, or a band has no unmasked pixel.
    """
    used = weights > 0
    for band, image, use in zip(bands, data, used, strict=True):
        broken = int(np.sum(~np.isfinite(image) & use))
        if broken:
            raise DataError(
                f"band {band!r} has {broken} pixels that are NaN or infinite and not masked",
                fix="mask them: mask=~np.isfinite(data), or weight 0",
            )
        if not np.any(use):
            raise DataError(
                f"band {band!r} has no usable pixel: all weights are zero",
                fix="check the weights and the mask, or drop the band",
            )
    return np.where(used, data, 0.0)


def nanojansky_factors(unit: Any, zero_point: Any, bands: Sequence[str], grid: PixelGrid) -> HostArray:
    """(band, 1, 1) nJy per data unit; unit and zero point are one for all bands or one for each."""
    units, points = _for_each(unit, bands, "unit"), _for_each(zero_point, bands, "zero_point")
    area = pixel_area(grid.pixel_scale)
    factors = [njy_per_unit(a, pixel_area=area, zero_point=b) for a, b in zip(units, points, strict=True)]
    return np.array(factors)[:, None, None]


def _for_each(value: Any, bands: Sequence[str], what: str) -> list[Any]:
    if value is None or isinstance(value, (str, u.UnitBase)) or np.ndim(value) == 0:
        return [value] * len(bands)
    if len(value) != len(bands):
        raise UnitError(
            f"{len(value)} values of {what} for {len(bands)} bands", fix="give one for all, or one for each band"
        )
    return list(value)


def _as_array(value: Any, what: str) -> HostArray:
    if isinstance(value, u.Quantity):
        raise UnitError(f"{what} is an astropy Quantity in {value.unit}", fix="pass its .value, and the unit as unit=")
    try:
        if np.ma.isMaskedArray(value):
            return np.asarray(np.ma.filled(value.astype(np.float64), np.nan))
        return np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"{what} is not an array of numbers", fix="give a numpy or JAX array") from error
