"""Units: factors against hand-written formulas, and errors."""

import astropy.units as u
import numpy as np
import pytest

from scarlet_sed.errors import UnitError
from scarlet_sed.photometry.units import ab_magnitude, flux_of_ab, njy_per_unit, pixel_area

AREA = pixel_area(0.03)


@pytest.mark.parametrize(
    ("unit", "factor"),
    [
        ("nJy", 1.0),
        ("uJy", 1e3),
        ("mJy", 1e6),
        ("Jy", 1e9),
        ("JY", 1e9),
        ("10.0*nanoJansky", 10.0),
        ("nJy/pix", 1.0),
        ("erg/s/cm2/Hz", 1e32),
        ("erg/s/Hz/cm**2", 1e32),
        ("MJy/sr", 1e15 * (0.03 / 3600 * np.pi / 180) ** 2),
        (u.uJy / u.arcsec**2, 1e3 * 0.03**2),
        (None, 1.0),
    ],
)
def test_factor_of_flux_units(unit, factor):
    assert njy_per_unit(unit, pixel_area=AREA) == pytest.approx(factor, rel=1e-12)


@pytest.mark.parametrize("unit", ["counts", "count/s", "electron/s", "ELECTRONS/S", "DN/s", "adu", "", None])
def test_counts_take_the_zero_point(unit):
    # zero point 31.4 is one nJy per count, by the definition m = 31.4 - 2.5 log10 f/nJy (3630.78 Jy at m = 0)
    assert njy_per_unit(unit, zero_point=31.4) == pytest.approx(1.0, rel=1e-3)
    assert njy_per_unit(unit, zero_point=28.9) == pytest.approx(10.0, rel=1e-3)


@pytest.mark.parametrize(
    ("unit", "options", "message"),
    [
        ("parsecs per fortnight", {}, "unknown unit"),
        ("counts/s", {}, "zero point"),
        ("MJy/sr", {}, "pixel area"),
        ("nJy", {"zero_point": 25.0}, "already a flux"),
        ("counts", {"zero_point": np.nan}, "not finite"),
        ("km/s", {}, "neither"),
        ("mag", {}, "neither"),
        ("erg/s/cm2/AA", {}, "neither"),
    ],
)
def test_bad_units(unit, options, message):
    with pytest.raises(UnitError, match=message):
        njy_per_unit(unit, **options)


def test_magnitudes_round_trip():
    flux = np.array([1.0, 1e3, 3.63e9])
    np.testing.assert_allclose(flux_of_ab(ab_magnitude(flux)), flux)
    assert ab_magnitude(3630.78e9) == pytest.approx(0.0, abs=1e-5)
    assert np.all(np.isnan(ab_magnitude([-1.0, 0.0])))
