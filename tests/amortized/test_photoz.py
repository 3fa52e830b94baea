"""Photometric redshifts of catalogues."""

import equinox as eqx
import jax
import numpy as np
import numpyro.distributions as dist
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.table import QTable

from scarlet_sed import cli
from scarlet_sed.amortized.file import save_amortized
from scarlet_sed.amortized.photoz import photoz
from scarlet_sed.errors import ParameterError
from tests.amortized import small


def test_densities_and_the_numbers_that_stand_for_them():
    posterior = small.posterior()
    flux, error, _ = small.objects(5)
    found = photoz(posterior, flux, error)
    fine = np.linspace(found.grid[0], found.grid[-1], 40_001)
    keys = jax.random.split(jax.random.key(0), 20_000)
    measured = posterior.measured(flux, error)
    drawn = np.asarray(jax.vmap(lambda m: posterior.networks.redshift(m).sample(keys))(measured))
    for row in range(5):
        density = np.interp(np.log1p(fine), np.log1p(found.grid), found.density[row] * (1 + found.grid)) / (1 + fine)
        until = np.concatenate([[0], np.cumsum(0.5 * (density[1:] + density[:-1]) * np.diff(fine))])
        np.testing.assert_allclose(until[-1], 1.0, atol=1e-4)
        np.testing.assert_allclose(np.interp(found.quantiles[:, row], fine, until), (0.16, 0.5, 0.84), atol=1e-3)
        near = np.abs(fine - found.mode[row]) <= 0.06 * (1 + found.mode[row])
        np.testing.assert_allclose(np.trapezoid(density[near], fine[near]), found.odds[row], atol=2e-3)
        np.testing.assert_allclose(np.quantile(drawn[row], (0.16, 0.5, 0.84)), found.quantiles[:, row], rtol=0.05)
    np.testing.assert_allclose(found.until(found.quantiles[1]), 0.5, atol=1e-6)


def test_another_prior_takes_the_place_of_that_of_the_training():
    posterior = small.posterior()
    flux, error, _ = small.objects(3)
    same = photoz(posterior, flux, error, posterior.redshift)
    np.testing.assert_allclose(same.density, photoz(posterior, flux, error).density, rtol=1e-4)
    low = photoz(posterior, flux, error, dist.Uniform(0.2, 1.0))
    assert low.quantiles.max() <= 1.0 + 1e-6 and low.quantiles.min() >= 0.15
    with pytest.raises(ParameterError, match="has no redshift"):
        photoz(posterior, flux, error, dist.Uniform(20.0, 30.0))
    with pytest.raises(ParameterError, match="knows no redshifts"):
        photoz(eqx.tree_at(lambda p: p.networks.redshift, posterior, None), flux, error)


def test_the_command_reads_a_catalogue_in_any_unit(tmp_path, capsys):
    posterior = small.posterior()
    path = save_amortized(posterior, tmp_path / "small.zip", small.RECIPE, {})
    flux, error, _ = small.objects(6)
    columns = {f"f_{band}": flux[:, k] * 1e-3 * u.uJy for k, band in enumerate(posterior.filters.names)}
    columns |= {f"e_{band}": error[:, k] for k, band in enumerate(posterior.filters.names)}
    QTable({"name": np.arange(10, 16), **columns}).write(tmp_path / "catalog.fits")
    arguments = ["photoz", str(tmp_path / "catalog.fits"), "--posterior", str(path), "--out", str(tmp_path / "z.fits")]
    assert cli.main([*arguments, "--flux", "f_{band}", "--error", "e_{band}", "--id", "name"]) == 0
    assert "6 redshifts" in capsys.readouterr().out
    expected = photoz(posterior, flux, error)
    with fits.open(tmp_path / "z.fits") as file:
        np.testing.assert_array_equal(file["PHOTOZ"].data["id"], np.arange(10, 16))
        np.testing.assert_allclose(file["PHOTOZ"].data["redshift"], expected.quantiles[1], rtol=1e-4)
        assert file["PHOTOZ"].data["density"].shape == expected.density.shape
        np.testing.assert_allclose(file["GRID"].data["redshift"], expected.grid)
    assert cli.main(arguments) == cli.BAD_INPUT
    assert "has no column" in capsys.readouterr().err
