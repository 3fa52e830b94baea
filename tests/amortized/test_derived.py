"""Quantities of draws are those of the populations, lines are those of the spectrum."""

import numpy as np
import pytest

import scarlet_sed as ss
from scarlet_sed.amortized.derived import QUANTITIES, derived_of
from scarlet_sed.errors import ParameterError, ShapeError
from scarlet_sed.infer.starting_points import FluxModel
from scarlet_sed.parameters import resolve
from scarlet_sed.paths import replace_slots
from tests.amortized import small


def test_quantities_of_a_draw_are_those_of_its_population():
    posterior = small.posterior()
    flux, error, redshift = small.objects(3)
    found = posterior.sample(flux, error, redshift, draws=4)
    quantities = derived_of(posterior, found, redshift)
    assert list(quantities) == list(QUANTITIES)
    for i, j in ((0, 0), (2, 3)):
        own = {path: v[i, j] for path, v in found.values.items()}
        population = resolve(replace_slots(small.spectrum(), own))
        z = redshift[i]
        assert quantities["log_surviving_mass"][i, j] == pytest.approx(float(population.surviving_mass(z)), abs=1e-4)
        assert quantities["log_sfr10"][i, j] == pytest.approx(np.log10(population.sfr(z, 0.01)), abs=1e-4)
        assert quantities["mean_age"][i, j] == pytest.approx(float(population.mean_age(z)), rel=1e-4)
        lines = population.line_luminosities(z)
        pair = float(lines["O 2 3726.03"]) + float(lines["O 2 3728.81"])
        assert quantities["log_luminosity_oii"][i, j] == pytest.approx(np.log10(pair * 3.828e33), abs=1e-4)


def test_the_flux_of_a_line_is_what_it_adds_to_a_spectrum():
    """The integral over H alpha of the spectrum that is observed, less the continuum beside it."""
    posterior = small.posterior()
    values = {
        "log_mass": np.full((1, 1), 10.0),
        "log_metallicity": np.zeros((1, 1)),
        "history.age_fraction": np.full((1, 1), 0.5),
        "attenuation.av": np.full((1, 1), 0.8),
    }
    z = 1.3
    found = derived_of(posterior, values, z, names=["log_flux_halpha", "log_luminosity_halpha"])
    own = {path: v[0, 0] for path, v in values.items()}
    model = FluxModel.of(small.spectrum(), None)
    population = resolve(replace_slots(model.spectrum, own))
    wave, flux = (np.asarray(a, float) for a in population.spectrum(z))
    bright = np.argmax(np.where(np.abs(wave / (1 + z) - 6562.8) < 15, flux, 0))
    inside = slice(bright - 2, bright + 3)
    # nJy over frequency, in erg/s/cm2
    beside = np.interp(wave[inside], [wave[bright - 3], wave[bright + 3]], [flux[bright - 3], flux[bright + 3]])
    width = -np.gradient(2.99792458e18 / wave)[inside]
    line = np.sum((flux[inside] - beside) * width) * 1e-32
    assert 10.0 ** float(found["log_flux_halpha"][0, 0]) == pytest.approx(line, rel=0.1)
    dust = 10.0 ** float(found["log_luminosity_halpha"][0, 0] - found["log_flux_halpha"][0, 0])
    distance = ss.Cosmology().luminosity_distance(z) * 3.0857e24
    assert dust > 1.2 * 4 * np.pi * float(distance) ** 2


def test_what_cannot_be_derived_is_refused():
    posterior = small.posterior()
    flux, error, redshift = small.objects(2)
    found = posterior.sample(flux, error, redshift, draws=2)
    with pytest.raises(ParameterError, match="no redshifts"):
        derived_of(posterior, found)
    with pytest.raises(ParameterError, match="no quantity 'colour'"):
        derived_of(posterior, found, redshift, names=["colour"])
    with pytest.raises(ShapeError):
        derived_of(posterior, found, redshift[:1].repeat(3))
