"""Energy balance of dust: what it takes it gives back, with the right shape, in the right units, or not at all."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import scarlet_sed as ss
from scarlet_sed.errors import DomainError, FileFormatError, ParameterError
from scarlet_sed.photometry.quadrature import LOG_STEP
from scarlet_sed.photometry.rebin import LIGHT_SPEED
from scarlet_sed.sps.emulator.shipped import shipped_emulator
from scarlet_sed.sps.grid import Grid, write_grid
from scarlet_sed.sps.nodes import smooth_weights
from tests.sps import small_grid

LSUN = 3.828e33
MPC = 3.0856775814913673e24
BANDS = ("F115W", "F200W", "F444W")
ENGINES = {"exact": small_grid.exact, "basis": small_grid.basis, "neural": shipped_emulator}


def emission(qpah: object = 2.5, umin: object = 1.0, gamma: object = 0.0, **arrays: np.ndarray) -> ss.DustEmission:
    grid = small_grid.small_grid()
    if arrays:
        renamed = {f"dust/{name}": array for name, array in arrays.items()}
        grid = Grid.from_arrays(small_grid.content() | renamed, small_grid.FIRST, "{}")
    return ss.DustEmission(grid, qpah, umin, gamma)


def population(**changes: object) -> ss.StellarPopulation:
    arguments = {
        "log_mass": 9.5,
        "history": ss.DelayedTau(0.8, 0.3),
        "attenuation": ss.Attenuation(ss.Calzetti(), 0.7, 1.7),
        "emission": emission(),
        "engine": small_grid.exact(),
        "intergalactic": False,
    }
    return ss.StellarPopulation(**(arguments | changes))


def luminosity(pop: ss.StellarPopulation, redshift: float = 0.7) -> float:
    """Lsun between the ends of the engine, from the spectrum that an observer sees."""
    wavelength, flux = (np.asarray(a, float) for a in pop.spectrum(redshift))
    z = np.linspace(0.0, redshift, 20_001)
    distance = 299792.458 / 70 * (1 + redshift) * np.trapezoid(1 / np.sqrt(0.3 * (1 + z) ** 3 + 0.7), z) * MPC
    received = np.sum(np.asarray(flux, float) * LIGHT_SPEED / wavelength) * LOG_STEP * 1e-32
    return 4 * np.pi * distance**2 * received / LSUN


def share_inside(pop: ss.StellarPopulation, row: tuple[int, int]) -> float:
    """Of a template's luminosity, summed on its own cells, what lies within the engine."""
    wavelength = np.exp(np.arange(np.rint(np.log(912.0) / LOG_STEP), np.log(1e8) / LOG_STEP) * LOG_STEP)
    each = small_grid.dust(wavelength)[row] * LIGHT_SPEED / wavelength * LOG_STEP
    assert each.sum() == pytest.approx(1.0, abs=1e-4)
    return float(each[wavelength < pop.engine.wavelength[-1] * np.exp(LOG_STEP / 2)].sum())


@pytest.mark.parametrize("engine", ENGINES)
def test_what_is_taken_is_emitted(engine: str) -> None:
    pop = population(engine=ENGINES[engine]())
    dark = pop.replace(emission=None)
    taken = luminosity(pop.replace(attenuation=None, emission=None)) - luminosity(dark)
    emitted = (luminosity(pop) - luminosity(dark)) / share_inside(pop, (2, 2))
    assert emitted == pytest.approx(taken, rel=1e-3)
    for each in (pop, dark):
        assert 10.0 ** float(each.dust_luminosity()) == pytest.approx(taken, rel=1e-3)


def test_all_that_is_taken_is_seen_where_all_of_a_template_lies_inside() -> None:
    wavelength = small_grid.small_grid().wavelength
    bump = np.exp(-0.5 * (np.log(wavelength / 3e4) / 0.1) ** 2)
    bump /= np.sum(bump * LIGHT_SPEED / wavelength) * LOG_STEP
    inside = np.broadcast_to(bump, (4, 5, bump.size))
    pop = population(emission=emission(1.1, 0.7, 0.02, minimum=inside, range=inside))
    assert luminosity(pop) == pytest.approx(luminosity(pop.replace(attenuation=None)), rel=1e-3)


def test_without_dust_nothing_is_emitted() -> None:
    filters = ss.Filters.load(BANDS)
    for attenuation in (None, ss.Attenuation(ss.Calzetti(), 0.0)):
        pop = population(attenuation=attenuation)
        assert np.all(np.asarray(pop.light(filters, jnp.asarray(0.3)).flux[3]) == 0)
        np.testing.assert_allclose(pop(filters, 0.3), pop.replace(emission=None)(filters, 0.3), rtol=1e-6)
        assert float(pop.dust_luminosity()) == -np.inf


def test_it_is_proportional_to_mass_and_is_not_attenuated_again() -> None:
    filters = ss.Filters.load(BANDS)

    def dust(pop: ss.StellarPopulation) -> np.ndarray:
        return np.asarray(pop.light(filters, jnp.asarray(0.3)).flux[3, 1:, 0])

    np.testing.assert_allclose(dust(population(log_mass=10.5)) / dust(population()), 10.0, rtol=1e-5)
    thick = population(attenuation=ss.Attenuation(ss.Calzetti(), 3.0, 1.7))
    more = 10.0 ** float(thick.dust_luminosity() - population().dust_luminosity())
    np.testing.assert_allclose(dust(thick) / dust(population()), more, rtol=1e-4)


def test_light_has_a_fourth_piece_that_is_in_fluxes_and_spectrum() -> None:
    filters, z = ss.Filters.load(BANDS), jnp.asarray(0.3)
    pop = population()
    light, dark = pop.light(filters, z), pop.replace(emission=None).light(filters, z)
    assert light.flux.shape == (4, 3, 1) and dark.flux.shape == (3, 3, 1)
    np.testing.assert_allclose(light.flux[:3], dark.flux, rtol=1e-6)
    np.testing.assert_allclose(jnp.sum(light.flux, axis=(0, 2)), pop.fluxes(filters, z), rtol=1e-5)
    assert light.flux[3, 2, 0] > 100 * light.flux[3, 0, 0]
    # 3.3 micron at redshift 0.3
    assert float(light.wavelength[3, 2, 0]) == pytest.approx(43000.0, rel=0.02)
    wavelength, flux = (np.asarray(a) for a in pop.spectrum(0.3))
    extra = flux - np.asarray(pop.replace(emission=None).spectrum(0.3)[1])
    assert wavelength[np.argmax(np.where(wavelength < 5e4, extra, 0.0))] == pytest.approx(33000.0 * 1.3, rel=0.01)


def test_shapes_between_templates() -> None:
    """At nodes the template; between them linear in what is linear; radiation fields mixed by luminosity."""
    engine = small_grid.exact()
    wavelength = engine.wavelength

    def shape(*parameters: float) -> np.ndarray:
        return np.asarray(emission(*parameters).spectrum(engine)) / 1e15

    cold, warm = small_grid.dust(wavelength), small_grid.dust(wavelength, hot=0.3)
    scale = 1e-5 * cold.max()
    np.testing.assert_allclose(shape(1.5, 5.0, 0.0), cold[1, 3], atol=scale)
    np.testing.assert_allclose(shape(4.5, 0.1, 1.0), warm[3, 0], atol=scale)
    np.testing.assert_allclose(shape(1.9, 5.0, 0.0), 0.6 * cold[1, 3] + 0.4 * cold[2, 3], atol=scale)
    field = np.geomspace(5.0, 1e6, 200_001)
    mean = np.trapezoid(1 / field, field) / np.trapezoid(field**-2, field)
    hot = 0.1 * mean / (0.9 * 5.0 + 0.1 * mean)
    np.testing.assert_allclose(shape(1.5, 5.0, 0.1), (1 - hot) * cold[1, 3] + hot * warm[1, 3], atol=scale)


def test_smooth_weights_have_a_continuous_slope_and_keep_straight_lines(x64: None) -> None:
    nodes = jnp.asarray([0.1, 0.47, 0.75, 1.12, 2.37, 2.5])
    x = jnp.linspace(0.0, 2.6, 5201)
    weights = jax.vmap(smooth_weights, (0, None))(x, nodes)
    np.testing.assert_allclose(weights.sum(axis=1), 1.0, atol=1e-12)
    np.testing.assert_allclose(weights @ nodes, jnp.clip(x, 0.1, 2.5), atol=1e-12)
    np.testing.assert_allclose(jax.vmap(smooth_weights, (0, None))(nodes, nodes), np.eye(6), atol=1e-12)
    slopes = np.asarray(jax.vmap(jax.jacfwd(smooth_weights), (0, None))(x, nodes))
    inside = (x > 0.1) & (x < 2.5)
    # without kinks slopes of neighbouring points differ by the step, half as much at half the step
    at_nodes = np.asarray(jax.vmap(jax.jacfwd(smooth_weights), (0, None))(nodes[1:-1], nodes))
    beside = np.asarray(jax.vmap(jax.jacfwd(smooth_weights), (0, None))(nodes[1:-1] - 1e-7, nodes))
    np.testing.assert_allclose(at_nodes, beside, atol=1e-4)
    steps = [np.max(np.abs(np.diff(slopes[inside][::stride], axis=0))) for stride in (2, 1)]
    assert steps[1] < 0.6 * steps[0] < 0.05 * np.max(np.abs(slopes))
    pair = jnp.asarray([0.5, 2.5])
    np.testing.assert_allclose(smooth_weights(jnp.asarray(1.0), pair), [0.75, 0.25], atol=1e-12)


def without_dust() -> Grid:
    content = {name: array for name, array in small_grid.content().items() if not name.startswith("dust/")}
    return Grid.from_arrays(content, small_grid.FIRST, "{}")


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (lambda: ss.DustEmission(without_dust()), ParameterError, "dust templates"),
        (lambda: ss.DustEmission(3), ParameterError, "dust templates"),
        (lambda: emission(qpah=5.0), DomainError, "qpah = 5"),
        (lambda: emission(umin=0.05), DomainError, "umin"),
        (lambda: emission(gamma=1.5), DomainError, "gamma"),
        (lambda: emission(umin=dist.LogNormal(0.0, 1.0)), DomainError, "prior of umin"),
        (lambda: emission(qpah=dist.Uniform(0.5, 5.0)), DomainError, "prior of qpah"),
        (lambda: emission(u_min=np.array([0.1, 0.4, 1.0, 5.0, 10.0, 25.0])), FileFormatError, "other axes"),
        (lambda: emission(q_pah=np.array([0.5, 2.5, 1.5, 4.5])), FileFormatError, "rise"),
        (lambda: emission(minimum=2 * small_grid.content()["stars"][:, :5] * 1e5), FileFormatError, "one Lsun"),
        (lambda: emission(range=-small_grid.content()["dust/range"]), FileFormatError, "no spectra"),
        (lambda: population(emission=small_grid.small_grid()), ParameterError, "DustEmission"),
        (lambda: population(emission=shorter()), ParameterError, "end at"),
    ],
)
def test_bad_emission_is_refused(make, error, says) -> None:
    with pytest.raises(error, match=says):
        make()


def shorter() -> ss.DustEmission:
    content = small_grid.content()
    for name in ("stars", "nebular/continuum", "dust/minimum", "dust/range"):
        content[name] = content[name][..., :-100]
    return ss.DustEmission(Grid.from_arrays(content, small_grid.FIRST, "{}"))


def test_templates_begin_where_they_shine_and_are_checked_when_written(tmp_path) -> None:
    content = small_grid.content()
    for name in ("dust/minimum", "dust/range"):
        content[name] = np.where(small_grid.small_grid().wavelength < 1e4, 0.0, content[name])
    grid = Grid.from_arrays(content, small_grid.FIRST, "{}")
    assert np.exp(grid.dust.log_start * LOG_STEP) == pytest.approx(1e4, rel=1e-3)
    whole, cut = (ss.DustEmission(g).spectrum(small_grid.exact()) for g in (small_grid.small_grid(), grid))
    np.testing.assert_allclose(cut, np.where(np.arange(cut.size) < cut.size - grid.dust.minimum.shape[-1], 0.0, whole))
    with pytest.raises(FileFormatError, match="other axes"):
        write_grid(tmp_path / "grid.h5", content | {"dust/u_min": np.arange(1.0, 7.0)}, small_grid.FIRST, {})


def test_a_scene_holds_templates_once_and_gives_them_back(tmp_path) -> None:
    first = population(emission=emission(dist.Uniform(0.5, 4.5), dist.LogUniform(0.1, 25.0), 0.03))
    second = population(log_mass=10.0, emission=emission())
    sources = {
        name: ss.Source((where, 0.0), pop * ss.Point(), 0.5)
        for name, where, pop in (("a", -0.2, first), ("b", 0.3, second))
    }
    data = ss.Observation(np.zeros((3, 30, 30)), BANDS, ss.PSF.gaussian(fwhm=2.5), sigma=1.0, pixel_scale=0.04)
    scene = ss.Scene(sources, ss.Frame.covering(data))
    assert {"a.spectrum.emission.qpah", "a.spectrum.emission.umin"} == set(scene.parameters)
    ss.save_scene(scene, tmp_path / "scene")
    again = ss.load_scene(tmp_path / "scene")
    held = [source.light.spectrum.emission.templates for source in again.sources.values()]
    assert held[0] is held[1]
    np.testing.assert_allclose(ss.render(again, data), ss.render(scene, data), rtol=1e-6, atol=1e-6)
