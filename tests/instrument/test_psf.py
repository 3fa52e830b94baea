"""Point-spread functions: normalisation, centring, widths, files, and what is refused."""

import math

import astropy.units as u
import jax
import numpy as np
import pytest
from astropy.io import fits

from scarlet_sed.errors import FileFormatError, PSFError
from scarlet_sed.instrument.centring import interpolate
from scarlet_sed.instrument.psf import PSF


def gaussian(shape, x, y, sigma=2.0):
    rows, columns = np.indices(shape)
    return np.exp(-0.5 * ((columns - x) ** 2 + (rows - y) ** 2) / sigma**2)


@pytest.mark.parametrize("shape", [(41, 41), (40, 40), (41, 40), (36, 45)])
@pytest.mark.parametrize("offset", [(0.0, 0.0), (0.3, -0.4), (2.0, -3.0), (-1.7, 2.6)])
def test_any_array_becomes_odd_square_centred_and_unit_sum(shape, offset):
    x, y = (shape[1] - 1) / 2 + offset[0], (shape[0] - 1) / 2 + offset[1]
    psf = PSF(7.3 * gaussian(shape, x, y))
    n = psf.image.shape[0]
    assert psf.image.shape == (n, n)
    assert n % 2 == 1
    assert psf.image.sum() == pytest.approx(1, abs=1e-12)
    middle = (n - 1) / 2
    expected = gaussian((n, n), middle, middle)
    assert np.max(np.abs(psf.image - expected / expected.sum())) < 1e-4 * psf.image.max()


def test_record_says_what_was_done():
    psf = PSF(3 * gaussian((41, 41), 20.25, 19.5), oversampling=2)
    assert psf.record.original_sum == pytest.approx(3 * 2 * math.pi * 4, rel=1e-6)
    np.testing.assert_allclose(psf.record.shift, [-0.25, 0.5], atol=1e-5)
    assert tuple(psf.record.shape) == (41, 41)
    assert np.isinf(psf.record.cutoff)


def test_recenter_false_keeps_the_array_middle():
    array = gaussian((41, 41), 20.25, 19.5)
    psf = PSF(array, recenter=False)
    np.testing.assert_array_equal(psf.image, array / array.sum())


def test_real_psfs_that_are_off_centre_are_centred(shared):
    psf = PSF.from_fits(shared / "data/ceers_psf/Pointings12_F277W_Module_A.fits", oversampling=2)
    assert np.hypot(*psf.record.shift) > 0.05
    again = PSF(psf.image, 2)
    assert np.max(np.abs(again.record.shift)) < 0.02


def test_negative_pixels_are_kept():
    array = gaussian((41, 41), 20, 20) - 1e-4
    assert PSF(array).image.min() < 0


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.full((5, 5), np.nan), "not finite"),
        (np.where(np.eye(5) > 0, np.inf, 1.0), "not finite"),
        (np.zeros((5, 5)), "sums to 0"),
        (-np.ones((5, 5)), "sums to -25"),
        (np.ones(5), "shape"),
        (np.ones((2, 5, 5)), "shape"),
        (np.ones((0, 5)), "shape"),
    ],
)
def test_bad_arrays_are_refused(array, message):
    with pytest.raises(PSFError, match=message):
        PSF(array)


@pytest.mark.parametrize("oversampling", [0, -1.0, np.nan])
def test_bad_oversampling_is_refused(oversampling):
    with pytest.raises(PSFError, match="oversampling"):
        PSF(np.ones((5, 5)), oversampling)


@pytest.mark.parametrize("fwhm", [0.8, 1.5, 3.0, 7.2])
@pytest.mark.parametrize("profile", [PSF.gaussian, PSF.moffat])
def test_fwhm_is_that_of_the_profile(fwhm, profile):
    assert profile(fwhm).fwhm == pytest.approx(fwhm, rel=6e-3)


def test_width_in_arcsec():
    assert PSF.gaussian(0.7 * u.arcsec, pixel_scale=0.168).fwhm == pytest.approx(0.7 / 0.168, rel=6e-3)
    assert PSF.moffat(700 * u.mas, pixel_scale=0.168 * u.arcsec).fwhm == pytest.approx(0.7 / 0.168, rel=6e-3)


@pytest.mark.parametrize(
    "make",
    [
        lambda: PSF.gaussian(0.0),
        lambda: PSF.gaussian(np.nan),
        lambda: PSF.gaussian(0.7 * u.arcsec),
        lambda: PSF.gaussian(3.0, oversampling=0),
        lambda: PSF.gaussian(3.0, pixel_scale=-1.0),
        lambda: PSF.moffat(3.0, beta=1.0),
        lambda: PSF.gaussian(3.0).low_passed(0.0),
    ],
)
def test_bad_profiles_are_refused(make):
    with pytest.raises(PSFError):
        make()


def test_interpolation_is_exact_for_a_band_limited_image():
    image = gaussian((41, 41), 20, 20)
    y, x = np.array([-2.3, 0.1]), np.array([0.5, 1.7, 3.0])
    np.testing.assert_allclose(interpolate(image, y, x), np.exp(-(y[:, None] ** 2 + x**2) / 8), atol=1e-8)


def test_low_passed_removes_noise_and_keeps_the_signal(rng):
    clean = PSF.gaussian(2.5, oversampling=4)
    noisy = PSF(clean.image + 0.02 * clean.image.max() * rng.normal(size=clean.image.shape), 4, recenter=False)
    error = np.abs(noisy.low_passed(0.8, recenter=False).image - clean.image).max()
    assert error < 0.5 * np.abs(noisy.image - clean.image).max()
    assert np.abs(clean.low_passed(1.4).image - clean.image).max() < 1e-5 * clean.image.max()
    assert noisy.low_passed(0.8).record.cutoff == 0.8


def test_reading_files(tmp_path):
    image = gaussian((31, 31), 15, 15)
    path = tmp_path / "psf.fits"
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(np.stack([image, 2 * image]), name="PSF")]).writeto(path)
    psf = PSF.from_fits(path, plane=1, oversampling=2, includes_pixel=False)
    assert (psf.oversampling, psf.includes_pixel) == (2.0, False)
    assert psf.record.original_sum == pytest.approx(2 * image.sum())
    with pytest.raises(PSFError, match="stack"):
        PSF.from_fits(path)
    with pytest.raises(PSFError, match="stack"):
        PSF.from_fits(path, plane=2)
    for bad in ({"extension": 0}, {"extension": "NOPE"}, {"extension": 7}):
        with pytest.raises(FileFormatError):
            PSF.from_fits(path, **bad)
    with pytest.raises(FileFormatError):
        PSF.from_fits(tmp_path / "missing.fits")
    (tmp_path / "text.fits").write_text("no fits")
    with pytest.raises(FileFormatError):
        PSF.from_fits(tmp_path / "text.fits")


def test_a_psf_is_a_pytree_of_arrays():
    leaves = jax.tree.leaves(PSF.gaussian(2.0))
    assert len(leaves) == 5
    assert all(isinstance(leaf, np.ndarray) for leaf in leaves)
