"""The drawn field: seeded, with the units, coordinates and fluxes that its truth table claims."""

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import QTable
from astropy.wcs import WCS

from scarlet_sed import demo_scene
from scarlet_sed.io.config import read_config

galsim = pytest.importorskip("galsim")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("demo")
    demo_scene.write_demo(path, seed=5)
    return path


def test_the_configuration_reads(folder):
    config = read_config(folder / "config.toml")
    assert [band.name for band in config.bands] == [band.name for band in demo_scene.BANDS]
    assert config.output.truth == folder / "truth.ecsv"


def test_the_truth_lists_ten_galaxies_and_a_star(folder):
    truth = QTable.read(folder / "truth.ecsv")
    assert len(truth) == 11 and list(truth["kind"]).count("star") == 1
    assert truth["flux_F200W"].unit == u.nJy and (truth["flux_F200W"] > 0).all()


@pytest.mark.parametrize("band", [demo_scene.BANDS[5], demo_scene.BANDS[10]], ids=lambda b: b.name)
def test_the_star_is_where_and_as_bright_as_the_truth_says(folder, band):
    truth = QTable.read(folder / "truth.ecsv")
    star = truth[list(truth["kind"]).index("star")]
    with fits.open(folder / f"{band.name}_image.fits") as hdus:
        assert hdus[0].header["BUNIT"] == "MJy/sr"
        pixel = ((band.pixel_scale * u.arcsec) ** 2).to(u.sr)
        image = (hdus[0].data * u.MJy / u.sr * pixel).to_value(u.nJy)
        x, y = WCS(hdus[0].header).world_to_pixel(SkyCoord(star["ra"], star["dec"]))
    yy, xx = np.mgrid[: image.shape[0], : image.shape[1]]
    near = np.hypot(xx - x, yy - y) * band.pixel_scale < 0.45
    flux = image[near].sum()
    assert 0.8 < flux / star[f"flux_{band.name}"].value < 1.1
    assert abs((image * xx)[near].sum() / flux - x) < 1.0
    assert abs((image * yy)[near].sum() / flux - y) < 1.0


def test_the_truth_lists_the_physics_of_galaxies_and_none_for_the_star(folder):
    truth = QTable.read(folder / "truth.ecsv")
    galaxy = np.asarray(truth["kind"]) != "star"
    assert np.all(truth["redshift"][galaxy] > 0) and np.all(np.isnan(truth["redshift"][~galaxy]))
    assert np.all((truth["log_mass"][galaxy] > 7) & (truth["log_mass"][galaxy] < 12))
    assert truth["av"].unit == u.mag
    # the dropout: nothing blueward of Lyman alpha at z = 7.15
    row = truth[list(truth["name"]).index("dropout")]
    assert row["flux_F814W"].value < 0.01 * row["flux_F115W"].value


def test_position_angle_runs_from_north_through_east():
    part = demo_scene.Part(demo_scene.Stars((1.0,) * len(demo_scene.BANDS)), 0.3, 1.0, 0.3, angle=60.0)
    thing = demo_scene.Thing("a", "sersic", (0.0, 0.0), (part,))
    band = demo_scene.BANDS[7]
    image = demo_scene.draw(galsim, [thing], 7, band, demo_scene.psf_image(galsim, band))
    half = (image.shape[0] - 1) / 2
    y, x = np.mgrid[: image.shape[0], : image.shape[1]]
    east, north = -(x - half), y - half
    moments = [np.sum(image * a * b) for a, b in ((east, east), (north, north), (east, north))]
    angle = 0.5 * np.degrees(np.arctan2(2 * moments[2], moments[1] - moments[0]))
    assert angle == pytest.approx(60.0, abs=0.5)


def test_the_same_seed_draws_the_same_field():
    assert demo_scene.make_things(3) == demo_scene.make_things(3)
    assert demo_scene.make_things(3) != demo_scene.make_things(4)
