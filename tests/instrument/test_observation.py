"""Observation: what goes in comes out in nJy, and bad input is refused with its cure."""

import pickle
import subprocess
import sys

import astropy.units as u
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from astropy.coordinates import SkyCoord
from astropy.wcs import WCS

from scarlet_sed.errors import (
    DataError,
    FilterError,
    ParameterError,
    PSFError,
    ScarletSEDError,
    ShapeError,
    UnitError,
    WCSError,
)
from scarlet_sed.instrument.geometry import PixelGrid
from scarlet_sed.instrument.noise import GaussianNoise, StudentT
from scarlet_sed.instrument.observation import Observation
from scarlet_sed.instrument.psf import PSF
from scarlet_sed.parameters import Parameter
from scarlet_sed.photometry.filters import Filters

BANDS = ["F115W", "F150W"]
RNG = np.random.default_rng(3)
DATA = RNG.normal(size=(2, 20, 30))
PSF_ONE = PSF.gaussian(2.5)


def wcs_of(scale=0.03):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval, wcs.wcs.crpix = ["RA---TAN", "DEC--TAN"], [150, 2], [15.5, 10.5]
    wcs.wcs.cdelt = [-scale / 3600, scale / 3600]
    wcs.wcs.set()
    return wcs


def observation(data=DATA, filters=BANDS, psfs=PSF_ONE, **options):
    options = {"sigma": 0.5, "pixel_scale": 0.03} | options
    return Observation(data, filters, psfs, **options)


def with_value(value, at=(1, 3, 4), array=DATA):
    new = np.array(array, dtype=float)
    new[at] = value
    return new


def test_shapes_defaults_and_names():
    obs = observation()
    assert obs.shape == (2, 20, 30)
    assert obs.bands == ("F115W", "F150W")
    assert obs.name == "F115W_F150W"
    assert obs.data.dtype == jnp.result_type(float)
    assert {path: value.shape for path, value in obs.values.items()} == {
        "sky": (2,),
        "calibration": (2,),
        "shift": (2, 2),
        "foreground": (2,),
    }
    assert not obs.parameters
    np.testing.assert_allclose(obs.sigma, 0.5)
    assert observation(DATA[0], "F115W").shape == (1, 20, 30)


@pytest.mark.parametrize(
    "options",
    [
        {"sigma": 2.0},
        {"sigma": [2.0, 2.0]},
        {"sigma": np.full((20, 30), 2.0)},
        {"sigma": None, "variance": np.full((2, 20, 30), 4.0)},
        {"sigma": None, "weights": jnp.full((2, 20, 30), 0.25)},
    ],
)
def test_all_ways_to_give_the_noise_agree(options):
    np.testing.assert_allclose(observation(**options).weights, 0.25, rtol=1e-6)


def test_units_scale_data_and_noise_alike():
    area = (0.03 / 3600 * np.pi / 180) ** 2
    obs = observation(unit=["MJy/sr", "counts"], zero_point=[None, 28.9])
    factor = np.array([1e15 * area, 10 ** (0.4 * (u.nJy.to(u.ABmag) - 28.9))])
    np.testing.assert_allclose(obs.data, DATA * factor[:, None, None], rtol=1e-5)
    np.testing.assert_allclose(obs.sigma[:, 0, 0], 0.5 * factor, rtol=1e-5)
    from_wcs = observation(unit="MJy/sr", pixel_scale=None, wcs=wcs_of(0.03))
    np.testing.assert_allclose(from_wcs.data, DATA * 1e15 * area, rtol=1e-5)


def test_masks_add_up_and_hide_bad_pixels():
    mask = np.zeros((20, 30), bool)
    mask[3, 4] = True
    sigma = np.full(DATA.shape, 0.5)
    sigma[0, 0, 0] = np.inf
    data = np.ma.masked_array(with_value(np.nan), np.zeros(DATA.shape, bool))
    data.mask[0, 5, 5] = True
    obs = observation(data, mask=mask, sigma=sigma)
    excluded = np.argwhere(np.asarray(obs.mask))
    assert excluded.tolist() == [[0, 0, 0], [0, 3, 4], [0, 5, 5], [1, 3, 4]]
    assert np.all(np.isfinite(obs.data))
    more = obs.with_mask(np.eye(20, 30))
    assert int(more.mask.sum()) == 2 * 20 + 4 - 2  # (0, 0, 0) and (0, 5, 5) were masked already


def test_parameters_are_freed_like_any_other():
    obs = observation(sky=dist.Normal(0.0, 1.0)).free("shift", dist.Normal(0.0, 0.01))
    assert {path: p.value.shape for path, p in obs.parameters.items()} == {"sky": (2,), "shift": (2, 2)}
    obs = observation(calibration=Parameter(1.0, dist.LogNormal(0, 0.1)), sky=[0.1, 0.2], shift=0.01 * u.arcsec)
    assert obs.parameters["calibration"].value.shape == (2,)
    np.testing.assert_allclose(obs.sky, [0.1, 0.2])
    robust = observation(noise=StudentT(dist.LogNormal(1.0, 0.5)))
    assert list(robust.parameters) == ["noise.dof"]


def test_is_a_pytree_with_the_grid_outside():
    obs = observation(pixel_scale=None, wcs=wcs_of())
    total = jax.jit(lambda o: jnp.sum(o.data) + o.grid.shape[0])
    np.testing.assert_allclose(total(obs), DATA.sum() + 20, rtol=1e-4)
    doubled = jax.tree.map(lambda leaf: leaf * 2, obs)
    np.testing.assert_allclose(doubled.data, 2 * obs.data)
    other = eqx.tree_at(lambda o: o.data, obs, obs.data + 1)
    total(other)
    assert total._cache_size() == 1
    assert total.lower(observation(pixel_scale=None, wcs=wcs_of())) is not None
    total(observation(pixel_scale=None, wcs=wcs_of()))
    assert total._cache_size() == 1  # equal grids made twice do not compile twice


def test_pickles_to_a_fresh_process():
    obs = observation(pixel_scale=None, wcs=wcs_of(), sky=dist.Normal(0.0, 1.0))
    code = (
        "import sys, pickle, numpy as np; o = pickle.load(sys.stdin.buffer);"
        "print(float(np.sum(o.data)), o.grid.sky(3, 4).ra.deg, sorted(o.parameters), o.psfs[0].fwhm)"
    )
    out = subprocess.run([sys.executable, "-c", code], input=pickle.dumps(obs), capture_output=True, check=True)
    total, ra, *_ = out.stdout.decode().split()
    assert float(total) == pytest.approx(DATA.sum(), rel=1e-4)
    assert float(ra) == pytest.approx(obs.grid.sky(3, 4).ra.deg, abs=1e-10)
    assert b"['sky']" in out.stdout


def test_cutout_by_sky_and_by_pixel():
    obs = observation(pixel_scale=None, wcs=wcs_of())
    where = obs.grid.sky(20.0, 8.0)
    for center in (where, (20.0, 8.0)):
        part = obs.cutout(center, 0.15)
        np.testing.assert_array_equal(part.data, obs.data[:, 6:11, 18:23])
        np.testing.assert_allclose(part.grid.pixels_of(where), [2, 2], atol=1e-6)
    assert obs.cutout(where, (0.09, 0.3 * 1)).shape == (2, 3, 10)
    assert obs.cutout((0.0, 0.0), 0.15).shape == (2, 3, 3)  # clipped at the edge
    assert hash(obs.cutout(where, 0.15).grid) == hash(obs.cutout(where, 0.15).grid)
    with pytest.raises(DataError, match="does not touch"):
        obs.cutout(SkyCoord(10, 10, unit="deg"), 1.0)


def test_with_noise_keeps_the_mask():
    obs = observation(mask=np.eye(20, 30)).with_noise(StudentT(5.0), sigma=[1.0, 2.0])
    assert isinstance(obs.noise, StudentT)
    np.testing.assert_allclose(obs.weights[:, 0, 1], [1, 0.25])
    assert np.all(np.asarray(obs.weights)[:, np.eye(20, 30, dtype=bool)] == 0)


BAD = {
    "NaN data": ({"data": with_value(np.nan)}, DataError, "not masked"),
    "infinite data": ({"data": with_value(np.inf)}, DataError, "'F150W' has 1 pixels"),
    "text data": ({"data": "image.fits"}, DataError, "not an array of numbers"),
    "Quantity data": ({"data": DATA * u.nJy}, UnitError, "pass its .value"),
    "data without band axis": ({"data": DATA[0]}, ShapeError, "2 filters"),
    "bands do not match": ({"filters": ["F115W"]}, ShapeError, "1 filters"),
    "empty data": ({"data": np.zeros((2, 0, 5))}, ShapeError, "at least one pixel"),
    "unknown filter": ({"filters": ["F115W", "F115X"]}, FilterError, "F115X"),
    "no noise": ({"sigma": None}, DataError, "given by nothing"),
    "two noises": ({"weights": 1.0}, DataError, "weights and sigma"),
    "negative weights": ({"sigma": None, "weights": -1.0}, DataError, "negative"),
    "NaN weights": ({"sigma": None, "weights": np.nan}, DataError, "NaN"),
    "infinite weights": ({"sigma": None, "weights": np.inf}, DataError, "infinite"),
    "all-zero weights": ({"sigma": None, "weights": [1.0, 0.0]}, DataError, "'F150W' has no usable pixel"),
    "everything masked": ({"mask": np.ones((20, 30))}, DataError, "no usable pixel"),
    "zero sigma": ({"sigma": 0.0}, DataError, "not positive"),
    "negative sigma": ({"sigma": [1.0, -1.0]}, DataError, "not positive"),
    "masked-array sigma": ({"sigma": np.ma.masked_less(np.eye(20, 30), 0.5)}, DataError, "NaN"),
    "sigma of another shape": ({"sigma": np.ones((20, 31))}, ShapeError, "sigma has shape"),
    "sigma with too many bands": ({"sigma": np.ones(3)}, ShapeError, "sigma has shape"),
    "mask of another shape": ({"mask": np.zeros((3, 20, 30), bool)}, ShapeError, "mask has shape"),
    "text mask": ({"mask": np.array([["a"]])}, ShapeError, "booleans"),
    "NaN mask": ({"mask": np.full((20, 30), np.nan)}, DataError, "mask holds NaN"),
    "no WCS": ({"pixel_scale": None}, WCSError, "neither a WCS nor a pixel scale"),
    "contradicting scale": ({"wcs": wcs_of(0.06)}, WCSError, "pixel_scale is 0.03"),
    "grid of another shape": ({"pixel_scale": None, "grid": PixelGrid((3, 4), pixel_scale=1.0)}, ShapeError, "grid"),
    "grid and scale": ({"grid": PixelGrid((20, 30), pixel_scale=1.0)}, ShapeError, "only one"),
    "unknown unit": ({"unit": "furlongs"}, UnitError, "furlongs"),
    "counts without zero point": ({"unit": "counts"}, UnitError, "zero point"),
    "flux with zero point": ({"unit": "nJy", "zero_point": 28.0}, UnitError, "already a flux"),
    "too many units": ({"unit": ["nJy"] * 3}, UnitError, "3 values of unit"),
    "too many PSFs": ({"psfs": [PSF_ONE] * 3}, PSFError, "3 PSFs for 2 bands"),
    "missing PSF": ({"psfs": [PSF_ONE, None]}, PSFError, "no PSF"),
    "NaN PSF": ({"psfs": np.full((5, 5), np.nan)}, PSFError, "not finite"),
    "noise model is a number": ({"noise": 1.0}, DataError, "noise map goes to sigma="),
    "sky of wrong length": ({"sky": [1.0, 2.0, 3.0]}, ParameterError, "sky has shape"),
    "NaN sky": ({"sky": np.nan}, ParameterError, "not finite"),
    "name with a dot": ({"name": "a.b"}, ParameterError, "without dots"),
    "flux beyond float32": ({"data": DATA * 1e35, "unit": "Jy"}, DataError, "do not fit"),
    "weights below float32": ({"sigma": 1e25}, DataError, "do not fit"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_names_its_cure(case):
    options, error, message = BAD[case]
    with pytest.raises(error, match=message) as caught:
        observation(**options)
    assert isinstance(caught.value, ScarletSEDError)
    assert caught.value.fix


def test_generic_bands_are_accepted():
    obs = observation(filters=Filters.generic(["g", "r"]), noise=GaussianNoise())
    assert obs.bands == ("g", "r")


def test_with_data_takes_images_of_the_same_shape_only():
    observation = Observation(np.zeros((1, 8, 9)), ("F115W",), PSF.gaussian(2.0), sigma=1.0, pixel_scale=0.03)
    other = observation.with_data(np.full((1, 8, 9), 2.0))
    np.testing.assert_array_equal(other.data, 2.0)
    np.testing.assert_array_equal(other.weights, observation.weights)
    with pytest.raises(ShapeError, match="data of shape"):
        observation.with_data(np.zeros((8, 9)))
    with pytest.raises(DataError):
        observation.with_data(np.full((1, 8, 9), np.nan))
