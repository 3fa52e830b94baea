"""Units of images and fluxes. Everything inside the package is in nJy (AB, f_nu) and nJy per pixel."""

import math
import warnings

import astropy.units as u
import numpy as np

from scarlet_sed.errors import UnitError
from scarlet_sed.typing import ArrayLike, HostArray

NJY_AT_AB_ZERO = float(u.AB.to(u.nJy))
"""Flux density in nJy of a source of AB magnitude zero (Oke & Gunn 1983)."""

_KNOWN = "'nJy', 'uJy', 'Jy', 'MJy/sr', or 'counts' with an AB zero point"
_SPELLINGS = {"jy": "Jy", "njy": "nJy", "ujy": "uJy", "mjy/sr": "MJy/sr", "dn": "DN", "dn/s": "DN/s"}
_COUNT_LIKE = (u.ct, u.electron, u.adu, u.DN, u.photon)


def parse_unit(unit: str | u.UnitBase) -> u.UnitBase:
    """The astropy unit of a string as people and FITS headers write it (`MJy/sr`, `counts/s`, `ELECTRONS/S`).

    Raises:
        UnitError: if the string names no unit.
    """
    if isinstance(unit, u.UnitBase):
        return unit
    text = unit.strip()
    lower = text.lower().replace("counts", "count").replace("electrons", "electron")
    for candidate in (text, _SPELLINGS.get(lower, lower)):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", u.UnitsWarning)  # about a/b/c, which astropy reads as all others do
                return u.Unit(candidate)
        except ValueError:
            continue
    raise UnitError(f"unknown unit {unit!r}", fix=f"use {_KNOWN}")


def njy_per_unit(
    unit: str | u.UnitBase | None, *, pixel_area: float | None = None, zero_point: float | None = None
) -> float:
    """The factor that turns pixel values into nJy per pixel.

    Args:
        unit: a flux density (`nJy`, `uJy`, `Jy`, `erg/s/cm2/Hz`, per pixel), a surface brightness (`MJy/sr`), or
            counts (`counts`, `electron/s`, `DN/s`, dimensionless) together with a zero point. None means nJy, or
            counts if there is a zero point.
        pixel_area: area of a pixel in steradian, for surface brightness.
        zero_point: AB magnitude of one count per pixel.

    Raises:
        UnitError: unknown unit, counts without a zero point, a flux unit with one, or no pixel area.
    """
    if zero_point is not None and not math.isfinite(zero_point):
        raise UnitError(f"the zero point {zero_point} is not finite", fix="give the AB magnitude of one count")
    if unit is None:
        unit = u.nJy if zero_point is None else u.ct
    parsed = parse_unit(unit)
    per_pixel = parsed * u.pix if u.pix in parsed.bases and parsed.powers[parsed.bases.index(u.pix)] == -1 else parsed
    if is_counts(per_pixel):
        if zero_point is None:
            raise UnitError(
                f"{unit} needs a zero point to become nJy", fix="give zero_point= (AB magnitude of one count)"
            )
        return NJY_AT_AB_ZERO * 10 ** (-0.4 * zero_point)
    if zero_point is not None:
        raise UnitError(f"{unit} is already a flux unit, and a zero point was given too", fix="give only one of them")
    if per_pixel.is_equivalent(u.nJy):
        return float(per_pixel.to(u.nJy))
    if per_pixel.is_equivalent(u.nJy / u.sr):
        if pixel_area is None:
            raise UnitError(f"{unit} needs the pixel area to become nJy", fix="give a WCS or pixel_scale=")
        return float(per_pixel.to(u.nJy / u.sr)) * pixel_area
    raise UnitError(f"{unit} is neither a flux density, a surface brightness nor counts", fix=f"use {_KNOWN}")


def is_counts(unit: str | u.UnitBase) -> bool:
    """Whether a unit is counts of some kind, per second or not, and therefore needs a zero point."""
    parsed = parse_unit(unit)
    return any((parsed / count).is_equivalent(rate) for count in (*_COUNT_LIKE, u.one) for rate in (u.one, 1 / u.s))


def pixel_area(pixel_scale: float) -> float:
    """Area in steradian of a square pixel of `pixel_scale` arcsec."""
    return float((pixel_scale * u.arcsec).to_value(u.rad) ** 2)


def ab_magnitude(flux: ArrayLike) -> HostArray:
    """AB magnitude of a flux density in nJy; NaN where the flux is not positive."""
    flux = np.asarray(flux, dtype=float)
    positive = flux > 0
    return np.where(positive, -2.5 * np.log10(np.where(positive, flux, 1.0) / NJY_AT_AB_ZERO), np.nan)


def flux_of_ab(magnitude: ArrayLike) -> HostArray:
    """Flux density in nJy of an AB magnitude."""
    return NJY_AT_AB_ZERO * 10 ** (-0.4 * np.asarray(magnitude, dtype=float))
