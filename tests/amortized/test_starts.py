"""Fits begin at draws of a network that the exact likelihood likes."""

from functools import partial

import numpy as np
import numpyro.distributions as dist
import pytest

import scarlet_sed as ss
from scarlet_sed.amortized.posterior import ends_of
from scarlet_sed.amortized.starts import network_starts
from scarlet_sed.distributions import LogUniformRedshift
from scarlet_sed.errors import FilterError, ParameterError
from scarlet_sed.infer.starting_points import FluxModel
from tests.amortized import small


def test_starts_are_the_most_probable_draws_of_several_redshifts():
    posterior = small.posterior()
    flux, error, _ = small.objects(4)
    found = network_starts(posterior, small.spectrum(), small.FILTERS, flux, error, small.REDSHIFT, starts=6, seed=2)
    model = FluxModel.of(small.spectrum(), small.REDSHIFT)
    assert found.shape == (4, 6, sum(model.sizes.values()))
    drawn = posterior.sample(flux, error, draws=256, seed=2)
    height = posterior.log_target(drawn.values, flux, error)
    for row in range(4):
        best = int(np.argmax(height[row]))
        values = model.values(found[row, 0])
        for path in ("log_mass", "attenuation.av", "redshift"):
            assert float(values[path]) == pytest.approx(float(drawn.values[path][row, best]), rel=1e-3, abs=1e-3)
        apart = np.log1p([float(model.values(u)["redshift"]) for u in found[row, :3]])
        assert np.min(np.abs(np.diff(np.sort(apart)))) > 0.02


def test_starts_lie_inside_of_priors_that_are_narrower_than_those_of_the_training():
    posterior = small.posterior()
    flux, error, _ = small.objects(4)
    for narrow in (LogUniformRedshift(1.0, 1.2), dist.Uniform(3.0, 3.1)):
        found = network_starts(posterior, small.spectrum(), small.FILTERS, flux, error, narrow, starts=6)
        model = FluxModel.of(small.spectrum(), narrow)
        low, high = ends_of(narrow)
        z = np.array([[float(model.values(u)["redshift"]) for u in row] for row in found])
        assert np.all((z > low) & (z < high))
    light = small.spectrum().replace(log_mass=dist.Uniform(13.0, 14.0))
    with pytest.raises(ParameterError, match="galaxy 0 lies inside"):
        network_starts(posterior, light, small.FILTERS, flux, error, small.REDSHIFT)


def test_bands_are_known_whatever_they_are_called():
    posterior = small.posterior()
    flux, error, redshift = small.objects(2)
    called = ss.Filters.load([name.upper() for name in small.BANDS[::-1]])
    one = network_starts(posterior, small.spectrum(), small.FILTERS, flux, error, redshift, seed=1)
    other = network_starts(posterior, small.spectrum(), called, flux[:, ::-1], error[:, ::-1], redshift, seed=1)
    np.testing.assert_array_equal(one, other)


def test_a_fit_from_few_drawn_starts_is_as_good_as_one_from_the_library():
    posterior = small.posterior()
    flux, error, redshift = small.objects(3)
    begin = partial(network_starts, posterior, small.spectrum(), small.FILTERS, redshift=redshift)
    options = {"filters": small.FILTERS, "spectrum": small.spectrum(), "redshift": redshift}
    few = ss.fit_photometry(flux, error, begin=begin, **options)
    many = ss.fit_photometry(flux, error, library=2000, **options)
    np.testing.assert_allclose(few.log_posterior, many.log_posterior, atol=0.3)
    assert few.modes.shape == (3, 6)

    def lost(flux: np.ndarray, error: np.ndarray) -> np.ndarray:
        """Starts that lead nowhere for the second galaxy."""
        return np.where(np.arange(3)[:, None, None] == 1, np.nan, begin(flux, error))

    said: list[str] = []
    found = ss.fit_photometry(flux, error, begin=lost, library=2000, progress=said.append, **options)
    assert any("no start fits 1 of 3" in line for line in said)
    assert np.all(found.modes[1, :6] == -np.inf)
    assert np.all(found.modes[[0, 2], 6:] == -np.inf)
    np.testing.assert_allclose(found.log_posterior, many.log_posterior, atol=0.3)


def test_a_posterior_for_something_else_is_refused():
    posterior = small.posterior()
    flux, error, redshift = small.objects(2)
    other = ss.deep_field_population()
    with pytest.raises(ParameterError, match="differ in"):
        network_starts(posterior, other, small.FILTERS, flux, error, redshift)
    two = ss.Filters.load(["f090w", "f115w"])
    with pytest.raises(FilterError, match="2 of the bands"):
        network_starts(posterior, small.spectrum(), two, flux[:, :2], error[:, :2], redshift)
