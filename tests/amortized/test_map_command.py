"""Maps from the command line: a galaxy of a fit, its neighbour taken off."""

import json

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS

import scarlet_sed as ss
from scarlet_sed import cli
from scarlet_sed.amortized.file import save_amortized
from scarlet_sed.io.fit_folder import save_fit
from tests.amortized import small


def sky() -> WCS:
    """Of 0.03 arcsec pixels, north up."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval, wcs.wcs.crpix = [53.1, -27.8], [18.5, 18.5]
    wcs.wcs.cdelt = [-0.03 / 3600, 0.03 / 3600]
    return wcs


def test_a_galaxy_of_a_fit_is_mapped_without_its_neighbour(tmp_path, capsys, rng):
    psfs = [ss.PSF.gaussian(w) for w in np.linspace(1.8, 3.0, len(small.BANDS))]
    blank = ss.Observation(np.zeros((len(small.BANDS), 36, 36)), small.FILTERS, psfs, sigma=0.5, wcs=sky(), name="o")
    _, spectra, _ = small.drawn()
    colours = np.asarray(spectra.flux[3], float)
    frame = ss.Frame.covering(blank)
    places = {"a": (13.0, 17.0), "b": (24.0, 18.0)}
    sources = {
        name: ss.Source(
            tuple(frame.from_sky(sky().pixel_to_world(*at))),
            ss.FreeSpectrum(colours / colours.mean() * 300, small.FILTERS.names) * ss.Exponential(0.1),
            box=0.9,
        )
        for name, at in places.items()
    }
    scene = ss.Scene(sources, frame)
    observation = blank.with_data(ss.render(scene, blank) + 0.5 * rng.normal(size=blank.shape))
    save_fit(tmp_path / "fit", scene, [observation])
    posterior = save_amortized(small.posterior(), tmp_path / "small.zip", small.RECIPE, {})
    common = ["map", str(tmp_path / "fit"), "--posterior", str(posterior), "--out", str(tmp_path / "maps")]
    assert cli.main([*common, "--source", "a", "--redshift", "1.2", "--draws", "10", "--least", "8"]) == 0
    assert "surviving mass" in capsys.readouterr().out
    with fits.open(tmp_path / "maps" / "maps.fits") as file:
        mass = file["LOG_SURVIVING_MASS"]
        assert mass.data.shape == (3, 36, 36) and "per kpc2" in mass.header["MEANING"]
        np.testing.assert_allclose(WCS(mass.header).celestial.wcs.crval, [53.1, -27.8])
        assert mass.header["BUNIT"] == "log(solMass kpc-2)" and file["ATTENUATION_AV"].header["BUNIT"] == "mag"
        np.testing.assert_allclose(file["BANDS"].data["lacking"], 0.0, atol=1e-6)
        bins = file["BINS"].data
        assert np.all(np.isfinite(mass.data[1]) == (bins >= 0))
        share = ss.isolate(scene, observation, "a").share.mean(axis=0)
        assert np.all(share[bins >= 0] > 0.5) and (bins >= 0).sum() > 30
        assert file[0].header["PSFBAND"] == small.BANDS[-1]
        assert list(file["TOTALS"].data["quantity"])[1] == "log_surviving_mass"
    numbers = json.loads((tmp_path / "maps" / "maps.json").read_text())
    assert numbers["bins"] == bins.max() + 1 and (tmp_path / "maps" / "maps.png").stat().st_size > 10_000
    assert cli.main(common) == cli.BAD_INPUT
    assert "2 sources" in capsys.readouterr().err
    assert cli.main([*common, "--source", "c"]) == cli.BAD_INPUT
    assert "no source 'c'" in capsys.readouterr().err
