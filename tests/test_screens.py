"""Screens of dust in front of light: by hand, against attenuation inside of a population, and through every path."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from jax.flatten_util import ravel_pytree

import scarlet_sed as ss
from scarlet_sed.errors import DomainError, FilterError, ParameterError
from scarlet_sed.infer.fisher import gauss_newton
from scarlet_sed.parameters import resolve
from tests.infer.scenes import every_direction
from tests.infer.test_fisher import dense_gauss_newton
from tests.registry import CURVES, MORPHOLOGIES

BANDS = ("F115W", "F200W", "F356W")
REDSHIFT = 1.5
SHAPE = ss.Sersic(0.1, 1.0, (0.1, 0.2))
WIDE = ss.Gaussian(20.0)  # the same depth everywhere


def observation(bands: tuple[str, ...] = BANDS, side: int = 36) -> ss.Observation:
    psfs = [ss.PSF.gaussian(2.4 + 0.3 * i) for i in range(len(bands))]
    data = np.random.default_rng(2).normal(0, 0.1, (len(bands), side, side))
    return ss.Observation(data, bands, psfs, sigma=0.1, pixel_scale=0.03, name="nircam")


def rendered(light: object, redshift: float = REDSHIFT, seen: ss.Observation | None = None) -> np.ndarray:
    seen = observation() if seen is None else seen
    return np.asarray(ss.render(ss.Scene({"g": ss.Source((0.01, 0.0), light, redshift)}, frame(seen)), seen))


def frame(seen: ss.Observation) -> ss.Frame:
    return ss.Frame.covering(seen)


def free_light(flux: tuple[float, ...] = (20.0, 30.0, 40.0), shape: ss.Morphology = SHAPE) -> ss.Component:
    return ss.FreeSpectrum(flux, BANDS) * shape


@pytest.mark.parametrize("name", CURVES)
def test_a_uniform_screen_dims_each_band_by_its_curve(name):
    curve = resolve(CURVES[name].make())
    clear, dim = rendered(free_light()), rendered(free_light().behind(ss.DustScreen(curve, WIDE, 0.7)))
    rest = ss.Filters.load(BANDS).pivot / (1 + REDSHIFT)
    through = 10 ** (-0.4 * 0.7 * np.asarray(curve(rest)))
    np.testing.assert_allclose(dim, clear * through[:, None, None], rtol=2e-4, atol=2e-5 * clear.max())


@pytest.mark.parametrize("name", MORPHOLOGIES)
def test_a_screen_is_as_deep_as_it_says_where_it_is_thickest(name):
    shape = resolve(MORPHOLOGIES[name].make())
    if isinstance(shape, ss.Starlet):
        with pytest.raises(ParameterError, match="Starlet can be negative"):
            ss.DustScreen(ss.Calzetti(), shape, 1.3)
        return
    screen = ss.DustScreen(ss.Calzetti(), shape, 1.3)
    matrix = jnp.eye(2) / 0.03
    grid = ss.PixelGrid(jnp.arange(-60.0, 61.0), jnp.arange(-60.0, 61.0), matrix, jnp.asarray(0.8))
    # the centre of a map's brightest pixel need not be that of a pixel of the frame
    assert float(jnp.max(screen.depth(grid))) == pytest.approx(1.3, rel=0.02 if name == "pixels" else 1e-5)


def test_the_depth_of_a_map_does_not_depend_on_the_box_through_which_it_is_seen():
    map_ = np.full((9, 9), 0.1)
    map_[4, 8] = 1.0
    screen = ss.DustScreen(ss.Calzetti(), ss.Pixels(map_, 0.06), 1.0)
    light = free_light(shape=ss.Gaussian(0.03))
    model, seen = frame(observation()), observation()
    small, large = (
        np.asarray(ss.render(ss.Scene({"g": ss.Source((0, 0), light.behind(screen), 1.0, box=box)}, model), seen))
        for box in (0.4, 1.0)
    )
    np.testing.assert_allclose(small.sum(), large.sum(), rtol=1e-3)
    away = ss.DustScreen(ss.Calzetti(), ss.Pixels(np.ones((4, 4)), 0.03), 1.0, offset=(5.0, 0.0))
    clear = rendered(light)
    np.testing.assert_allclose(rendered(light.behind(away)), clear, rtol=1e-5, atol=1e-6 * clear.max())


def test_light_is_dimmed_pixel_by_pixel_before_the_psf():
    """Without a PSF beyond the model's own, the image is that of the light times the transmission of each pixel."""
    seen = observation()
    model = frame(seen)
    screen = ss.DustScreen(ss.SMC(), ss.Gaussian(0.08, (0.2, 0.0)), 2.0, offset=(0.05, -0.03))
    grid = ss.PixelGrid(
        jnp.arange(-20.0, 21.0), jnp.arange(-20.0, 21.0), jnp.asarray(model.matrix), jnp.asarray(model.psf_sigma)
    )
    light, depth = np.asarray(SHAPE(grid)), np.asarray(screen.depth(grid))
    middle = np.unravel_index(np.argmax(depth), depth.shape)
    at = np.asarray(model.matrix) @ np.array([0.05, -0.03])
    assert (middle[1] - 20, middle[0] - 20) == (round(float(at[0])), round(float(at[1])))
    k = np.asarray(ss.SMC()(ss.Filters.load(BANDS).pivot / (1 + REDSHIFT)))
    expected = [np.sum(light * 10 ** (-0.4 * depth * own)) / np.sum(light) for own in k]
    clear, dim = rendered(free_light()), rendered(free_light().behind(screen))
    np.testing.assert_allclose(dim.sum((1, 2)) / clear.sum((1, 2)), expected, rtol=5e-3)


@pytest.mark.parametrize(("nodes", "limit"), [(1, 20.0), (3, 2.0)])
def test_a_uniform_screen_is_attenuation_inside_of_a_population(nodes, limit):
    """Old stars, young stars and lines dimmed apart: mmag off what full spectra behind the same dust give."""
    bands = ("F115W", "F150W", "F200W", "F277W", "F356W", "F444W")
    seen = observation(bands)
    given = {"history": ss.DelayedTau(age=1.0, tau=0.5), "log_metallicity": -0.3, "log_ionization": -2.5}
    dusty = ss.StellarPopulation(9.0, attenuation=ss.Attenuation(ss.Calzetti(), av=1.0), **given)
    bare = ss.StellarPopulation(9.0, **given)
    inside = rendered(dusty * SHAPE, 2.0, seen).sum((1, 2))
    screen = ss.DustScreen(ss.Calzetti(), WIDE, 1.0, nodes=nodes)
    before = rendered((bare * SHAPE).behind(screen), 2.0, seen).sum((1, 2))
    assert np.max(np.abs(2500 * np.log10(before / inside))) < limit


def test_screens_add_up_and_are_named_by_their_nesting():
    thin, thick = (ss.DustScreen(ss.SMC(), ss.Gaussian(0.1), av) for av in (0.4, 0.8))
    both = ss.DustScreen(ss.SMC(), ss.Gaussian(0.1), 1.2)
    nested = free_light().behind(thin, "inner").behind(thick, "outer")
    np.testing.assert_allclose(rendered(nested), rendered(free_light().behind(both)), rtol=1e-5, atol=1e-6)
    source = ss.Source((0, 0), nested, 1.0)
    assert [path for path, _ in source.screens()[0]] == ["inner", "outer"]
    assert {"inner.av", "outer.av", "outer.morphology.radius"} <= set(source.values)


def test_a_screen_before_a_blend_dims_its_parts_and_one_before_a_part_only_that():
    screen = ss.DustScreen(ss.Calzetti(), ss.Gaussian(0.15), 1.0)
    disk, bulge = free_light(), free_light((5.0, 10.0, 20.0), ss.Gaussian(0.05))
    whole = rendered(ss.Blend({"bulge": bulge, "disk": disk}).behind(screen))
    each = rendered(bulge.behind(screen)) + rendered(disk.behind(screen))
    np.testing.assert_allclose(whole, each, rtol=1e-4, atol=1e-4)
    part = {"bulge": bulge, "disk": disk.behind(screen)}
    np.testing.assert_allclose(rendered(part), rendered(bulge) + rendered(disk.behind(screen)), rtol=1e-4, atol=1e-4)
    assert "disk.screen.av" in ss.Source((0, 0), part).values


def test_no_dust_is_no_screen():
    dust_free = free_light().behind(ss.DustScreen(ss.Calzetti(), ss.Gaussian(0.1), 0.0))
    clear = rendered(free_light())
    np.testing.assert_allclose(rendered(dust_free), clear, rtol=1e-6, atol=1e-6 * clear.max())


def scene(seen: ss.Observation) -> ss.Scene:
    """Two galaxies with free screens of different kinds, and one without."""
    flux = ss.Parameter(np.array([20.0, 30.0, 40.0]), dist.Normal(np.zeros(3), 100.0))
    free = ss.FreeSpectrum(flux, BANDS) * ss.Sersic(dist.LogNormal(-2.3, 0.4), dist.Uniform(0.5, 4.0))
    patch = ss.Pixels.from_image(np.random.default_rng(3).uniform(0.5, 1.5, (4, 4)), 0.06)
    lane = ss.DustScreen(
        ss.Salim(dist.Uniform(-1.0, 0.4), 1.0), ss.Gaussian(dist.LogNormal(-2.5, 0.3)), dist.HalfNormal(1.0)
    )
    cloud = ss.DustScreen(ss.SMC(), patch, dist.HalfNormal(1.0), nodes=3)
    place = dist.Normal(np.zeros(2), 0.3)
    sources = {
        "a": ss.Source(ss.Parameter((0.1, 0.05), place), free.behind(lane), dist.Uniform(0.5, 3.0)),
        "b": ss.Source(ss.Parameter((-0.1, 0.0), place), free.behind(cloud), 1.0),
        "c": ss.Source(ss.Parameter((0.0, -0.15), place), free, 0.5),
    }
    return ss.Scene(sources, frame(seen))


def test_gradients_agree_with_finite_differences():
    with jax.enable_x64(True):
        seen = observation(side=24)
        posterior = ss.LogPosterior(scene(seen), seen)
        start, back = ravel_pytree(posterior.unconstrain(posterior.start))

        def density(u: jax.Array) -> jax.Array:
            return posterior.log_density(back(u))

        gradient = jax.grad(density)(start)
        for direction in np.random.default_rng(1).normal(size=(4, start.size)):
            t = 1e-5
            found = (density(start + t * direction) - density(start - t * direction)) / (2 * t)
            np.testing.assert_allclose(gradient @ direction, found, rtol=1e-5)


def test_the_gauss_newton_matrix_is_the_dense_one():
    seen = observation(side=24)
    posterior = ss.LogPosterior(scene(seen), seen)
    at = posterior.unconstrain(posterior.start)
    expected = dense_gauss_newton(posterior, at)
    found = gauss_newton(posterior, at, every_direction(posterior, at))
    scale = np.sqrt(np.diag(expected))
    np.testing.assert_allclose(found / np.outer(scale, scale), expected / np.outer(scale, scale), atol=2e-3)


def test_a_scene_with_screens_comes_back_from_its_file(tmp_path):
    seen = observation()
    kept = scene(seen)
    back = ss.load_scene(ss.save_scene(kept, tmp_path / "scene"))
    np.testing.assert_array_equal(ss.render(back, seen), ss.render(kept, seen))
    assert list(back.parameters) == list(kept.parameters)


def test_initialize_solves_for_the_light_behind_the_screen():
    seen = observation()
    true = ss.Scene({"g": ss.Source((0, 0), free_light().behind(ss.DustScreen(ss.SMC(), WIDE, 0.5)), 1.0)}, frame(seen))
    clean = ss.Observation(ss.render(true, seen), BANDS, list(seen.psfs), sigma=0.1, pixel_scale=0.03, name="nircam")
    begun = ss.initialize(true.free("g.spectrum.flux", dist.Normal(np.zeros(3), 100.0)), clean)
    np.testing.assert_allclose(begun.values["g.spectrum.flux"], (20.0, 30.0, 40.0), rtol=1e-3)


def test_a_known_screen_is_fitted():
    """A dust lane of known shape: its depth and the flux behind it come back."""
    seen = observation()
    galaxy = ss.Source((0, 0), free_light().behind(ss.DustScreen(ss.SMC(), ss.Gaussian(0.08), 1.5)), 1.0)
    true = ss.Scene({"g": galaxy}, frame(seen))
    noise = np.asarray(seen.data)
    data = ss.Observation(
        ss.render(true, seen) + noise, BANDS, list(seen.psfs), sigma=0.1, pixel_scale=0.03, name="nircam"
    )
    begun = true.free("g.spectrum.flux", dist.Normal(np.zeros(3), 100.0)).free("g.screen.av", dist.HalfNormal(3.0))
    fitted = ss.fit(begun.set({"g.screen.av": 0.5}), data, progress=False)
    assert fitted.uncertainties is not None
    off = (np.asarray(fitted.scene.values["g.screen.av"]) - 1.5) / fitted.uncertainties["g.screen.av"]
    assert abs(float(off)) < 4 and fitted.uncertainties["g.screen.av"] < 0.5


def test_what_cannot_be_a_screen_is_a_typed_error():
    with pytest.raises(ParameterError, match="Gaussian where a Curve belongs"):
        ss.DustScreen(ss.Gaussian(0.1), ss.Gaussian(0.1), 1.0)
    with pytest.raises(DomainError, match="av"):
        ss.DustScreen(ss.SMC(), ss.Gaussian(0.1), -0.1)
    with pytest.raises(DomainError, match="av"):
        ss.DustScreen(ss.SMC(), ss.Gaussian(0.1), dist.Normal(0.0, 1.0))
    with pytest.raises(ParameterError, match="2 nodes"):
        ss.DustScreen(ss.SMC(), ss.Gaussian(0.1), 1.0, nodes=2)
    with pytest.raises(ParameterError, match="cannot be behind a Gaussian"):
        free_light().behind(ss.Gaussian(0.1))
    screen = ss.DustScreen(ss.SMC(), ss.Gaussian(0.1), 1.0)
    with pytest.raises(ParameterError, match=r"two parameters are named"):
        rendered(free_light().behind(screen).behind(screen))
    generic = ss.Observation(
        np.zeros((1, 24, 24)), ss.Filters.generic("g"), [ss.PSF.gaussian(2.4)], sigma=1.0, pixel_scale=0.03, name="deep"
    )
    with pytest.raises(FilterError, match=r"DustScreen g\.screen needs transmission curves"):
        rendered((ss.FreeSpectrum((1.0,), "g") * SHAPE).behind(screen), 1.0, generic)
