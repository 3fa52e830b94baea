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
from scarlet_sed.amortized.photoz import PhotoZ, photoz
from scarlet_sed.errors import DataError, ParameterError, ShapeError
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
        assert "density: probability per unit redshift" in str(file["PHOTOZ"].header["COMMENT"])
    assert cli.main(arguments) == cli.BAD_INPUT
    assert "say with --flux" in capsys.readouterr().err
    assert cli.main(["photoz", "nowhere.fits", *arguments[2:]]) == cli.BAD_INPUT
    assert "relative to the working directory" in capsys.readouterr().err


def test_rows_without_fluxes_are_counted_and_odd_ones_flagged(tmp_path, capsys):
    posterior = small.posterior()
    path = save_amortized(posterior, tmp_path / "small.zip", small.RECIPE, {})
    flux, error, _ = small.objects(5)
    flux[1], error[2, 3] = np.nan, -1.0
    # in another unit than it says: an error of a millionth
    flux[4], error[4] = 1e-5 * np.nan_to_num(flux[4], nan=1.0), 1e-5
    table = {f"flux_{band}": flux[:, k] for k, band in enumerate(posterior.filters.names)}
    table |= {f"flux_error_{band}": error[:, k] for k, band in enumerate(posterior.filters.names)}
    QTable(table).write(tmp_path / "catalog.ecsv")
    arguments = ["photoz", str(tmp_path / "catalog.ecsv"), "--posterior", str(path), "--out", str(tmp_path / "z.fits")]
    assert cli.main(arguments) == 0
    told = capsys.readouterr().out
    assert "3 redshifts" in told and "2 rows without" in told
    with fits.open(tmp_path / "z.fits") as file:
        found = file["PHOTOZ"].data
        assert np.isfinite(found["redshift"]).tolist() == [True, False, False, True, True]
        assert found["bands"][1] == 0 and found["bands"][0] > 0
        assert found["unusual"][1:].tolist() == [True, True, False, True]
    band = posterior.filters.names[0]
    table[f"flux_{band}"] = np.full(5, 22.0) * u.mag
    QTable(table).write(tmp_path / "mag.ecsv")
    assert cli.main(["photoz", str(tmp_path / "mag.ecsv"), *arguments[2:]]) == cli.BAD_INPUT
    assert f"flux_{band}' in mag" in capsys.readouterr().err


def test_densities_of_many_objects_are_those_of_each(monkeypatch):
    posterior = small.posterior()
    flux, error, redshift = small.objects(5)
    whole = photoz(posterior, flux, error)
    monkeypatch.setattr("scarlet_sed.amortized.photoz._AT_ONCE", 2)
    parts = photoz(posterior, flux, error)
    for one, other in zip(whole, parts, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)
    np.testing.assert_allclose(whole.until(redshift), parts.until(redshift), rtol=1e-5)


def test_densities_get_as_wide_as_known_redshifts_ask_for():
    """Redshifts drawn from densities to a power are held by those to this power, and to no other."""
    rng = np.random.default_rng(1)
    count, away = 600, np.linspace(0.0, 2.5, 1001)
    middle, width = rng.uniform(0.4, 2.1, (count, 2, 1)), rng.uniform(0.01, 0.1, (count, 2, 1))
    even = np.exp(-0.5 * ((away - middle) / width) ** 2).sum(axis=1)
    whole = PhotoZ(np.expm1(away), even / np.exp(away), np.zeros(count), np.zeros((3, count)), np.zeros(count))
    found = whole.tempered(1.0)
    for power in (0.3, 1.0, 2.0):
        meant = found.tempered(power)
        np.testing.assert_allclose(np.trapezoid(meant.density, meant.grid), 1.0, atol=1e-3)
        ratio = meant.density * np.exp(away) / np.maximum(even, 1e-3) ** power
        ratio = np.where(even > 1e-3, ratio / ratio[np.arange(count), np.argmax(even, axis=1)][:, None], 1.0)
        np.testing.assert_allclose(ratio, 1.0, rtol=1e-3)
        until = np.cumsum(even**power, axis=1)
        level = rng.uniform(size=(count, 1)) * until[:, -1:]
        true = np.expm1(away[np.argmax(until > level, axis=1)])
        true[7] = np.nan
        assert found.power_of(true) == pytest.approx(power, rel=0.1)
        assert meant.power_of(true) == pytest.approx(1.0, rel=0.1)
        far = np.where(np.arange(count) < 12, 0.01, true)
        assert found.power_of(far) == pytest.approx(power, rel=0.15)


def test_powers_of_densities_that_make_no_sense_are_refused():
    posterior = small.posterior()
    flux, error, redshift = small.objects(30)
    found = photoz(posterior, flux, error)
    with pytest.raises(ParameterError, match="give a positive one"):
        found.tempered(0.0)
    with pytest.raises(ShapeError, match="one for each of 30"):
        found.power_of(redshift[:20])
    with pytest.raises(DataError, match="at least 20"):
        found.power_of(np.where(np.arange(30) < 19, redshift, np.nan))
    with pytest.raises(DataError, match="no power"):
        found.power_of(np.full(30, 99.0))


def test_the_command_widens_densities_by_known_redshifts(tmp_path, capsys):
    posterior = small.posterior()
    path = save_amortized(posterior, tmp_path / "small.zip", small.RECIPE, {})
    flux, error, redshift = small.objects(40)
    table = {f"flux_{band}": flux[:, k] for k, band in enumerate(posterior.filters.names)}
    table |= {f"flux_error_{band}": error[:, k] for k, band in enumerate(posterior.filters.names)}
    redshift = np.where(np.arange(40) < 30, redshift, np.nan)
    QTable({**table, "zspec": redshift}).write(tmp_path / "catalog.fits")
    out = tmp_path / "z.fits"
    arguments = ["photoz", str(tmp_path / "catalog.fits"), "--posterior", str(path), "--out", str(out)]
    assert cli.main([*arguments, "--spectroscopic", "zspec"]) == 0
    assert "as the redshifts of zspec ask for" in capsys.readouterr().out
    found = photoz(posterior, flux, error)
    expected = found.tempered(found.power_of(redshift))
    with fits.open(out) as file:
        np.testing.assert_allclose(file["PHOTOZ"].data["density"], expected.density, rtol=1e-4)
        assert "to the power of" in str(file["PHOTOZ"].header["COMMENT"])
    assert cli.main([*arguments, "--spectroscopic", "z"]) == cli.BAD_INPUT
    assert "no column 'z'" in capsys.readouterr().err
