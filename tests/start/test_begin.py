"""Fits of populations may begin at a posterior's draws, named in the configuration."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest

import scarlet_sed as ss
from scarlet_sed.amortized.starts import network_starts
from scarlet_sed.infer.starting_points import FluxModel
from scarlet_sed.pipeline.starting import _begin
from tests.amortized import small


def test_the_configuration_names_a_posterior_that_ships(tmp_path):
    assert _begin(None) is None
    begin = _begin(Path(tmp_path / "jades_delayed"))
    assert begin is not None
    filters = ss.Filters.load(["F115W", "F150W", "F200W", "F277W", "F356W", "F444W"])
    population = ss.deep_field_population()
    truth = population.set({"log_mass": 9.6, "attenuation.av": 0.4})
    flux = np.asarray(truth(filters, 1.8), float)[None]
    found = begin(population, filters, flux, 0.03 * flux, np.array([1.8]))
    assert found.shape[:2] == (1, 6) and np.all(np.isfinite(found))
    # fits from such starts are judged in tests/amortized/test_starts.py
    first = FluxModel.of(population, None).values(found[0, 0])
    assert float(first["log_mass"]) == pytest.approx(9.6, abs=0.2)
    assert float(first["attenuation.av"]) == pytest.approx(0.4, abs=0.3)


def test_a_scene_is_populated_from_a_posterior(rng):
    """Sources with free fluxes get populations that start at the network's draws."""
    posterior = small.posterior()
    blank = ss.Observation(
        np.zeros((len(small.BANDS), 30, 30)), small.FILTERS, ss.PSF.gaussian(2.5), sigma=0.3, pixel_scale=0.03
    )
    flux = np.asarray(small.drawn()[1].flux[3], float)
    light = ss.FreeSpectrum(flux / flux.mean() * 60, small.FILTERS.names) * ss.Gaussian(0.08)
    scene = ss.Scene({"g": ss.Source((0.0, 0.0), light, box=0.8)}, ss.Frame.covering(blank))
    seen = blank.with_data(ss.render(scene, blank) + 0.3 * rng.normal(size=blank.shape))
    made = ss.with_populations(
        scene, seen, small.spectrum(), redshift=small.REDSHIFT, begin=partial(network_starts, posterior)
    )
    assert isinstance(made.scene["g"].light.spectrum, ss.StellarPopulation)
    assert made.starts["g"].fit.modes.shape == (1, 6)
    assert made.starts["g"].fit.chi2[0] < 40
