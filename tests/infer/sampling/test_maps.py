"""Maps of stars and dust over draws: totals, known depths, and what is averaged."""

import equinox as eqx
import numpy as np
import numpyro.distributions as dist
import pytest
from astropy.cosmology import FlatLambdaCDM
from astropy.wcs import WCS

import scarlet_sed as ss
from scarlet_sed.scene.dimming import dimmed
from tests.infer.sampling.draws import made_up
from tests.infer.sampling.test_derived import BANDS, SCALE, at, observation, population, scene


@pytest.fixture(scope="module")
def posterior() -> ss.Posterior:
    return made_up(scene(), observation(), chains=2, count=5, spread=0.03)


def alone(light: ss.Component, redshift: float, spread: float = 0.03, count: int = 5) -> ss.Posterior:
    seen = observation()
    return made_up(
        ss.Scene({"g": ss.Source((0.01, 0.0), light, redshift)}, ss.Frame.covering(seen)), seen, 2, count, spread=spread
    )


def test_the_map_of_a_population_holds_its_mass():
    draws = alone(population(10.0, 1.0) * ss.Gaussian(0.1), 0.7)
    maps = ss.property_maps(draws, "g", 10)
    masses = 10.0 ** draws.draws["g.spectrum.log_mass"]
    kpc = 1 / FlatLambdaCDM(70.0, 0.3).arcsec_per_kpc_proper(0.7).value
    pixel = (kpc * draws.posterior.scene.frame.pixel_scale) ** 2
    assert maps.pixel_area == pytest.approx(pixel, rel=1e-4)
    # the box leaves out a thousandth
    assert maps.mass.sum() * pixel == pytest.approx(masses.mean(), rel=1.5e-3)
    np.testing.assert_allclose(maps.mass_sd.sum() * pixel, masses.std(ddof=1), rtol=1.5e-3)
    light = ss.derived(draws)["g.flux"].values[..., BANDS.index("F115W")]
    assert maps.band == "F115W"  # 0.94 micron
    assert maps.light.sum() * draws.posterior.scene.frame.pixel_scale**2 == pytest.approx(light.mean(), rel=1.5e-3)
    np.testing.assert_allclose(maps.av[maps.light > 0], 0.0)


def test_sources_of_several_components_hold_the_mass_of_all(posterior):
    maps = ss.property_maps(posterior, "galaxy", 10)
    total = 10.0 ** ss.derived(posterior)["galaxy.log_mass"].values
    # where the redshift is free, so is the area of a pixel
    areas = [_pixel(posterior, float(z)) for z in posterior.draws["galaxy.redshift"].ravel()]
    held = maps.mass.sum() / np.mean(total.ravel() / areas)
    assert 0.97 < held < 1.0
    assert maps.pixel_area == pytest.approx(np.mean(areas), rel=1e-4)


def _pixel(posterior: ss.Posterior, redshift: float) -> float:
    kpc = 1 / FlatLambdaCDM(70.0, 0.3).arcsec_per_kpc_proper(redshift).value
    return (kpc * posterior.posterior.scene.frame.pixel_scale) ** 2


def test_a_sheet_of_dust_is_as_deep_everywhere_as_it_says():
    sheet = ss.DustScreen(ss.SMC(), ss.Gaussian(50.0), ss.Parameter(1.2, dist.HalfNormal(1.0)))
    flux = ss.FreeSpectrum((20.0, 30.0, 40.0), BANDS) * ss.Gaussian(0.1)
    draws = alone(flux.behind(sheet), 0.7)
    maps = ss.property_maps(draws, "g", 10)
    av = draws.draws["g.screen.av"]
    shining = maps.light > 0
    np.testing.assert_allclose(maps.av[shining], av.mean(), rtol=1e-3)
    np.testing.assert_allclose(maps.av_sd[shining], av.std(ddof=1), rtol=1e-3)
    assert maps.mass is None and maps.mass_sd is None


def test_the_dust_of_a_population_and_of_screens_adds_up():
    sheet = ss.DustScreen(ss.SMC(), ss.Gaussian(50.0), 0.5)
    lane = ss.DustScreen(ss.Calzetti(), ss.Gaussian(0.05), 1.0, offset=(0.06, -0.03))
    draws = alone((population(10.0, 1.0, 0.4) * ss.Gaussian(0.1)).behind(sheet).behind(lane, "lane"), 0.7, 1e-6)
    maps = ss.property_maps(draws, "g", 3)
    (box,) = draws.posterior.scene.boxes()
    assert maps.box == box
    grid = box.grid(draws.posterior.scene.frame, (0.01, 0.0))
    expected = 0.9 + np.asarray(lane.depth(grid))
    shining = maps.light > 0
    np.testing.assert_allclose(maps.av[shining], expected[shining], rtol=2e-3)
    assert expected.max() > 1.8 > 0.95 > expected.min()


def test_light_weighs_dust(posterior):
    """By hand: what each component of a galaxy shows in each pixel, and how deep it lies."""
    maps = ss.property_maps(posterior, "galaxy", 10)
    assert maps.band == "F115W"
    filters, each = ss.Filters.load(["F115W"]), []
    for index in range(10):
        own = at(posterior, *divmod(index, 5))["galaxy"]
        grid = maps.box.grid(posterior.posterior.scene.frame, own.position)
        shown = [
            _shown(part, front, own.redshift, grid, filters)
            for part, front in zip(own.components(), own.screens(), strict=True)
        ]
        light = [np.asarray(seen, float) for seen, _ in shown]
        each.append(sum(seen * np.asarray(depth) for seen, (_, depth) in zip(light, shown, strict=True)) / sum(light))
    bright = maps.bright(0.95)
    np.testing.assert_allclose(maps.av[bright], np.mean(each, axis=0)[bright], rtol=1e-4)
    np.testing.assert_allclose(maps.av_sd[bright], np.std(each, axis=0, ddof=1)[bright], rtol=5e-3)
    assert np.ptp(maps.av[bright]) > 0.1


@eqx.filter_jit
def _shown(part, front, redshift, grid, filters):
    """Light of a component in nJy a pixel, and its A_V."""
    screens, component = [screen for _, screen in front], part[1]
    depths = [screen.depth(grid) for screen in screens]
    seen = dimmed(component, screens, redshift, component.morphology.evaluate(grid), depths, filters)[0]
    dust = component.spectrum.attenuation
    return seen, sum(depths) + (0.0 if dust is None else dust.av)


def test_bright_pixels_hold_the_share_that_they_are_said_to(posterior):
    maps = ss.property_maps(posterior, "lone", 4)
    inside = maps.bright(0.8)
    held = maps.light[inside].sum() / maps.light.sum()
    assert 0.8 <= held < 0.83 and maps.light[inside].min() >= maps.light[~inside].max()


def test_pixels_of_maps_are_on_the_sky():
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval, wcs.wcs.crpix = ["RA---TAN", "DEC--TAN"], (53.16, -27.79), (20.5, 20.5)
    wcs.wcs.cdelt = (-SCALE / 3600, SCALE / 3600)
    seen = ss.Observation(np.zeros((3, 40, 40)), BANDS, ss.PSF.gaussian(2.5), sigma=1.0, wcs=wcs)
    frame = ss.Frame.covering(seen)
    screen = ss.DustScreen(ss.SMC(), ss.Gaussian(50.0), ss.Parameter(0.5, dist.HalfNormal(1.0)))
    light = (ss.FreeSpectrum((20.0, 30.0, 40.0), BANDS) * ss.Gaussian(0.08)).behind(screen)
    source = ss.Source((0.3, -0.2), light, 0.7)
    maps = ss.property_maps(made_up(ss.Scene({"g": source}, frame), seen, 2, 4), "g", 2)
    row, column = np.unravel_index(np.argmax(maps.light), maps.light.shape)
    there = maps.wcs.pixel_to_world(column, row)
    assert there.separation(frame.sky(np.array([0.3, -0.2]))).arcsec < frame.pixel_scale
    bare = ss.property_maps(alone(light, 0.7, count=2), "g", 2)
    assert bare.wcs is None
