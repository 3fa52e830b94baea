"""What follows from draws, against the public functions of a scene at each of them."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import scarlet_sed as ss
from scarlet_sed.errors import ParameterError, SourceError
from scarlet_sed.infer.sampling.derived import _of_draws
from scarlet_sed.io.catalog import component_table
from scarlet_sed.parameters import resolve
from tests.infer.sampling.draws import made_up
from tests.sps import small_grid

BANDS = ("F115W", "F200W", "F356W")
SCALE = 0.04


def observation(name: str = "nircam", bands: tuple[str, ...] = BANDS, *, clean: bool = False) -> ss.Observation:
    """Through the Milky Way and a wrong calibration, or without both."""
    way = {} if clean else {"calibration": np.full(len(bands), 1.1), "foreground": np.full(len(bands), 0.2)}
    blank = np.zeros((len(bands), 40, 40))
    return ss.Observation(blank, bands, ss.PSF.gaussian(2.5), sigma=1.0, pixel_scale=SCALE, name=name, **way)


def population(log_mass: float, age: float, av: float | None = None) -> ss.StellarPopulation:
    dust = None if av is None else ss.Attenuation(ss.Calzetti(), ss.Parameter(av, dist.LogNormal(-1.0, 0.7)), 1.5)
    return ss.StellarPopulation(
        ss.Parameter(log_mass, dist.Uniform(6.0, 12.0)),
        -0.3,
        history=ss.DelayedTau(ss.Parameter(age, dist.LogNormal(-1.0, 0.8)), 0.7),
        attenuation=dust,
        engine=small_grid.exact(),
    )


def scene(mass: float = 10.2) -> ss.Scene:
    """A galaxy of two populations, one of them behind a patch and both behind a sheet; a population alone; a star."""
    patch = ss.DustScreen(ss.SMC(), ss.Gaussian(0.1), ss.Parameter(0.8, dist.HalfNormal(1.0)), offset=(0.04, 0.0))
    sheet = ss.DustScreen(ss.Calzetti(), ss.Gaussian(30.0), 0.3)
    bulge = population(mass, 3.0) * ss.Gaussian(0.08)
    disk = (population(9.7, 1.0, 0.4) * ss.Exponential(ss.Parameter(0.12, dist.LogNormal(-2.0, 0.5)))).behind(patch)
    light = ss.Blend({"bulge": bulge, "disk": disk}).behind(sheet)
    flux = ss.Parameter(np.array([20.0, 30.0, 40.0]), dist.Normal(np.zeros(3), 100.0))
    star = ss.FreeSpectrum(flux, BANDS) * ss.Gaussian(0.03)
    sources = {
        "galaxy": ss.Source((0.02, 0.01), light, ss.Parameter(0.9, dist.Uniform(0.1, 5.0)), box=1.3),
        "lone": ss.Source((-0.2, 0.1), population(9.0, 0.5, 0.3) * ss.Exponential(0.1), 1.5),
        "star": ss.Source((0.3, -0.2), star),
    }
    return ss.Scene(sources, ss.Frame.covering(observation()))


@pytest.fixture(scope="module")
def posterior() -> ss.Posterior:
    return made_up(scene(), observation(), chains=2, count=5, spread=0.03)


def at(posterior: ss.Posterior, chain: int, draw: int) -> ss.Scene:
    """The scene at a draw, with plain values."""
    return resolve(posterior.posterior.scene.set({path: own[chain, draw] for path, own in posterior.draws.items()}))


@eqx.filter_jit
def stars(own: ss.Source) -> dict[str, dict[str, object]]:
    """By component, what the public methods of its population say."""
    found = {}
    for name, light in own.components():
        each, z = light.spectrum, own.redshift
        found[name] = {
            "log_mass": each.log_mass,
            "log_surviving_mass": each.surviving_mass(z),
            "log_sfr10": jnp.log10(each.sfr(z, 0.01)),
            "log_sfr100": jnp.log10(each.sfr(z)),
            "mean_age": each.mean_age(z),
            "t50": each.t50(z),
            "intrinsic_flux": each.fluxes(ss.Filters.load(BANDS), z),
        }
    return found


def test_populations_are_those_of_the_scene_at_each_draw(posterior):
    found = ss.derived(posterior)
    for chain, draw in ((0, 0), (1, 3)):
        own = at(posterior, chain, draw)
        galaxy, lone = (stars(own[name]) for name in ("galaxy", "lone"))
        each = {"galaxy.bulge": galaxy["bulge"], "galaxy.disk": galaxy["disk"], "lone": lone[""]}
        for path, quantities in each.items():
            for name in set(quantities) - {"log_mass", "intrinsic_flux"}:
                got = found[f"{path}.{name}"].values[chain, draw]
                assert got == pytest.approx(float(quantities[name]), rel=2e-5, abs=1e-5), (path, name)
        for name in ("log_mass", "log_surviving_mass", "log_sfr10", "log_sfr100"):
            total = np.log10(sum(10.0 ** float(part[name]) for part in galaxy.values()))
            assert found[f"galaxy.{name}"].values[chain, draw] == pytest.approx(total, rel=1e-5, abs=1e-5), name
        formed = [10.0 ** float(part["log_mass"]) for part in galaxy.values()]
        mean = np.average([float(part["mean_age"]) for part in galaxy.values()], weights=formed)
        assert found["galaxy.mean_age"].values[chain, draw] == pytest.approx(mean, rel=1e-5)
    assert np.std(found["galaxy.log_surviving_mass"].values) > 0.01
    assert "galaxy.t50" not in found and "lone.log_mass" not in found and "star.mean_age" not in found
    assert found["lone.t50"].unit == "Gyr" and "half of the mass" in found["lone.t50"].description


def test_fluxes_are_those_of_spectra_and_images(posterior):
    found = ss.derived(posterior)
    own = at(posterior, 1, 4)
    each = {f"galaxy.{name}": part for name, part in stars(own["galaxy"]).items()} | {"lone": stars(own["lone"])[""]}
    for path, part in each.items():
        # without screens the light is what is seen
        got = found.get(f"{path}.intrinsic_flux", found[f"{path}.flux"])
        np.testing.assert_allclose(got.values[1, 4], part["intrinsic_flux"], rtol=2e-5)
    for name, image in ss.render_sources(own, observation(clean=True)).items():
        np.testing.assert_allclose(found[f"{name}.flux"].values[1, 4], image.sum(axis=(1, 2)), rtol=0.02)
    for kind in ("flux", "intrinsic_flux"):
        parts = [found[f"galaxy.{name}.{kind}"].values for name in ("bulge", "disk")]
        np.testing.assert_allclose(found[f"galaxy.{kind}"].values, sum(parts), rtol=1e-6)
    through = found["galaxy.flux"].values / found["galaxy.intrinsic_flux"].values
    assert np.all(through[..., 0] < 0.8) and np.all(through[..., :-1] < through[..., 1:])
    assert found["galaxy.flux"].bands == BANDS and found["galaxy.flux"].unit == "nJy"
    np.testing.assert_array_equal(found["star.flux"].values, posterior.draws["star.spectrum.flux"].astype(np.float32))
    assert "star.intrinsic_flux" not in found and "lone.intrinsic_flux" not in found


def test_fluxes_behind_screens_are_those_of_catalogues():
    screen = ss.DustScreen(ss.SMC(), ss.Gaussian(0.1), ss.Parameter(0.8, dist.HalfNormal(1.0)), offset=(0.04, 0.0))
    plain = scene()
    star, wide = plain["star"], plain["star"].light.spectrum * ss.Gaussian(0.12)
    # the box leaves out half a per cent, which is dimmed as the rest is
    galaxy = ss.Source((0.1, 0.0), ss.Blend({"x": wide, "y": wide.behind(screen)}), 1.0, box=0.5)
    sources = {"a": galaxy, "b": star, "c": star.placed((-0.3, 0.2))}
    draws = made_up(plain.with_sources(sources), observation(), chains=2, count=2, spread=0.03)
    assert 0.003 < ss.truncated(draws.posterior.scene, observation())["a.y"] < 0.1
    found = ss.derived(draws)
    for row in component_table(at(draws, 1, 1), [observation()]):
        path = ".".join(filter(None, (row["source"], row["component"])))
        for kind in ("flux", "intrinsic_flux"):
            got = found.get(f"{path}.{kind}", found[f"{path}.flux"])
            np.testing.assert_allclose(got.values[1, 1], [row[f"{kind}_{band}"].value for band in BANDS], rtol=1e-5)
    assert {path for path in found if "intrinsic" in path} == {"a.intrinsic_flux", "a.y.intrinsic_flux"}
    assert np.all(found["a.y.flux"].values < 0.97 * found["a.y.intrinsic_flux"].values)
    clear = found["a.x.flux"].values + found["a.y.intrinsic_flux"].values
    np.testing.assert_allclose(found["a.intrinsic_flux"].values, clear, rtol=1e-6)
    # one of two that are alike
    np.testing.assert_array_equal(ss.derived(draws, sources=["c"])["c.flux"].values, found["c.flux"].values)
    assert np.all(found["b.flux"].values != found["c.flux"].values)


def test_some_draws_and_some_sources(posterior):
    every, some = ss.derived(posterior), ss.derived(posterior, 4, 7, sources=["lone"])
    assert {path.split(".")[0] for path in some} == {"lone"}
    assert some["lone.flux"].values.shape == (4, 3) and every["lone.flux"].values.shape == (2, 5, 3)
    whole = every["lone.t50"].values.ravel()
    picked = np.random.default_rng(7).permutation(10)[:4]
    np.testing.assert_allclose(some["lone.t50"].values, whole[picked], rtol=1e-6)
    assert ss.derived(posterior, 25, sources=["lone"])["lone.t50"].values.shape == (25,)


def test_a_scene_of_equal_shape_needs_no_new_program(posterior):
    ss.derived(posterior)
    before = _of_draws._cache_size()
    other = ss.derived(made_up(scene(10.9), observation(), chains=3, count=4, spread=0.02))
    assert _of_draws._cache_size() == before
    assert np.mean(other["galaxy.bulge.log_surviving_mass"].values) > 10.4


def test_bands_that_come_twice_have_their_observation_in_front(posterior):
    twice = made_up(scene(), [observation(), observation("again", ("F115W",))], chains=2, count=2, spread=0.01)
    flux = ss.derived(twice, sources=["lone"])["lone.flux"]
    assert flux.bands == ("nircam_F115W", "F200W", "F356W", "again_F115W")
    np.testing.assert_allclose(flux.values[..., 0], flux.values[..., 3], rtol=1e-6)


def test_what_cannot_be_derived_is_a_typed_error(posterior):
    for make in (ss.derived, lambda p, *more: ss.property_maps(p, "galaxy", *more)):
        with pytest.raises(ParameterError, match="no draws"):
            make(posterior._replace(log_density=posterior.log_density[:, :0]))
        with pytest.raises(ParameterError, match="count is 0"):
            make(posterior, 0)
    for unknown in (lambda: ss.derived(posterior, sources=["z"]), lambda: ss.property_maps(posterior, "z")):
        with pytest.raises(SourceError, match=r"no source 'z'.*choose among: galaxy, lone, star"):
            unknown()
    with pytest.raises(ParameterError, match="'star' has neither a stellar population nor a screen"):
        ss.property_maps(posterior, "star")
