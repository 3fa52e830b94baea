"""Three nodes a band: attenuation across a wide band against integration in the band, for every spectrum."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import scarlet_sed as ss
from scarlet_sed.errors import FilterError, ParameterError
from scarlet_sed.parameters import resolve
from scarlet_sed.photometry.filters import Filter
from scarlet_sed.photometry.parts import in_parts
from scarlet_sed.photometry.shift import band_averages, line_averages
from tests.registry import SPECTRA, Case, filters
from tests.sps import small_grid

WIDE = ("acs_wfc_f606w", "acs_wfc_f814w", "jwst_f150w2", "jwst_f322w2")
Z = 2.0


def through(wavelength: jax.Array, av: float = 1.0) -> jax.Array:
    """A steep curve: the SMC's, at rest."""
    return 10.0 ** (-0.4 * av * ss.SMC()(wavelength))


def behind(light: ss.BandLight, z: float = Z) -> np.ndarray:
    return np.asarray(jnp.sum(light.flux * through(light.wavelength / (1 + z)), axis=(0, 2)))


def errors(spectrum: ss.Spectrum, bands: ss.Filters, truth: np.ndarray) -> list[np.ndarray]:
    own = resolve(spectrum)
    return [np.abs(behind(own.light(bands, jnp.asarray(Z), nodes)) / truth - 1) for nodes in (1, 3)]


@pytest.mark.parametrize("emission", [False, True])
def test_populations_behind_a_screen_against_integration_in_the_band(emission: bool) -> None:
    bands = ss.Filters.load(WIDE)
    pop = ss.StellarPopulation(
        9.0,
        history=ss.DelayedTau(0.8, 0.3),
        attenuation=ss.Attenuation(ss.Calzetti(), 0.3),
        emission=ss.DustEmission(small_grid.small_grid()) if emission else None,
        engine=small_grid.exact(),
    )
    rest, engine = pop._rest(jnp.asarray(Z)), pop.engine
    at = np.log(np.asarray(engine.line_wavelength))
    dimmed = rest.continuum * through(jnp.asarray(engine.wavelength))
    lines = rest.lines * through(jnp.asarray(engine.line_wavelength))
    exact = band_averages(dimmed, engine.log_start, bands, jnp.asarray(Z)) + line_averages(lines, at, bands, Z)
    one, three = errors(pop, bands, np.asarray(pop._scale(jnp.asarray(Z)) * exact))
    assert np.all(three < 0.007) and np.all(three < 0.25 * one) and np.max(one) > 0.02


def test_smooth_spectra_behind_a_screen_against_integration_in_the_band() -> None:
    bands = ss.Filters.load(WIDE)
    for spectrum, f_nu in (
        (ss.PowerLaw(1.0, 0.5), lambda w: (w / 20000.0) ** 2.5),
        (ss.PowerLaw(1.0, -2.0), np.ones_like),
        (ss.FreeSpectrum(np.ones(4), WIDE), np.ones_like),
        (ss.Templates(np.geomspace(1e3, 5e4, 3000), np.geomspace(1e3, 5e4, 3000) ** -1.0, 1.0), lambda w: w / 16500.0),
    ):
        truth = []
        for name in WIDE:
            curve = Filter.load(name).measure
            w = np.exp(curve.log_wavelength)
            truth.append(np.sum(curve.mass * f_nu(w) * np.asarray(through(jnp.asarray(w / (1 + Z))))))
        one, three = errors(spectrum, bands, np.asarray(truth))
        assert np.max(three) < min(0.007, 0.25 * np.max(one))


@pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in SPECTRA.items()])
def test_nodes_add_up_to_the_fluxes(case: Case) -> None:
    spectrum = resolve(case.make())
    light = spectrum.light(filters(), jnp.asarray(1.3), nodes=3)
    fluxes = np.asarray(spectrum.fluxes(filters(), jnp.asarray(1.3)))
    assert light.flux.shape == light.wavelength.shape == (light.flux.shape[0], 5, 3)
    np.testing.assert_allclose(jnp.sum(light.flux, axis=(0, 2)), fluxes, rtol=2e-5)
    jitted = jax.jit(lambda s, f, z: s.light(f, z, nodes=3))(spectrum, filters(), jnp.asarray(1.3))
    np.testing.assert_allclose(jitted.flux, light.flux, rtol=1e-4, atol=1e-5 * np.max(np.abs(fluxes)))


def test_parts_reproduce_parabolas_and_lines_between_nodes(x64: None) -> None:
    bands = ss.Filters.load(WIDE)
    parts, at = in_parts(bands, 3)
    x = jnp.log(bands.wavelength) - jnp.log(bands.pivot)[:, None]
    node = jnp.log(at) - jnp.log(bands.pivot)[:, None]
    share = jnp.sum(parts.weight, axis=-1).reshape(at.shape)
    for power in range(3):
        np.testing.assert_allclose(jnp.sum(share * node**power, -1), jnp.sum(bands.weight * x**power, -1), atol=1e-12)
    assert np.all(np.asarray(share) > 0)
    line = np.log(np.array([6200.0]))
    one = line_averages(jnp.ones(1), line, bands, jnp.asarray(0.0))[0]
    three = line_averages(jnp.ones(1), line, parts, jnp.asarray(0.0)).reshape(at.shape)[0]
    assert float(jnp.sum(three)) == pytest.approx(float(one), rel=1e-10)
    assert float(jnp.sum(three * jnp.log(at[0])) / one) == pytest.approx(float(line[0]), abs=1e-6)


def test_other_numbers_of_nodes_and_bands_without_curves_are_refused() -> None:
    with pytest.raises(ParameterError, match="2 nodes"):
        ss.PowerLaw(1.0, 0.0).light(filters(), jnp.asarray(0.0), nodes=2)
    generic = ss.Filters.generic(["g"])
    with pytest.raises(FilterError, match="3 nodes"):
        ss.FreeSpectrum(1.0, ["g"]).light(generic, jnp.asarray(0.0), nodes=3)
    assert ss.FreeSpectrum(1.0, ["g"]).light(generic, jnp.asarray(0.0)).flux.shape == (1, 1, 1)
