"""The catalogue: units, derived shapes, propagated errors, flags, and both file formats."""

import astropy.units as u
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from astropy.table import QTable
from astropy.wcs import WCS
from numpyro.distributions import constraints

from scarlet_sed.dust.attenuation_curves import Calzetti
from scarlet_sed.dust.extinction_curves import SMC
from scarlet_sed.infer.drawing import render_sources
from scarlet_sed.instrument.frame import Frame
from scarlet_sed.instrument.observation import Observation
from scarlet_sed.instrument.psf import PSF
from scarlet_sed.io.catalog import build_catalog, component_table
from scarlet_sed.io.flags import Flag
from scarlet_sed.io.outputs import write_catalog
from scarlet_sed.io.propagation import Correlations
from scarlet_sed.io.shapes import axis_ratio_angle
from scarlet_sed.light import Blend
from scarlet_sed.morphology.gaussian import Gaussian
from scarlet_sed.morphology.point import Point
from scarlet_sed.parameters import Parameter
from scarlet_sed.scene.scene import Scene
from scarlet_sed.scene.screen import DustScreen
from scarlet_sed.scene.source import Source
from scarlet_sed.spectrum.free import FreeSpectrum

BANDS = ("F150W", "F277W")


def tangential(scale=0.03, size=41):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = (53.16, -27.79)
    wcs.wcs.crpix = ((size + 1) / 2,) * 2
    wcs.wcs.cdelt = (-scale / 3600, scale / 3600)
    return wcs


def observe(wcs=None):
    where = {"pixel_scale": 0.03} if wcs is None else {"wcs": wcs}
    data = np.random.default_rng(1).normal(size=(2, 41, 41))
    return Observation(data, BANDS, PSF.gaussian(3.0), sigma=1.0, **where)


def free_flux(*flux):
    return FreeSpectrum(Parameter(jnp.array(flux), constraints.positive), BANDS)


def make_scene(observation):
    disk = free_flux(100.0, 40.0) * Gaussian(Parameter(0.12, constraints.positive), (0.2, 0.1))
    bulge = free_flux(30.0, 60.0) * Gaussian(0.05)
    galaxy = Source(Parameter((0.1, -0.05), constraints.real), {"bulge": bulge, "disk": disk})
    star = Source((-0.55, 0.0), free_flux(2.0, 1.0) * Point())
    return Scene({"galaxy": galaxy, "star": star}, Frame.covering([observation]))


UNCERTAINTIES = {
    "galaxy.position": np.array([0.002, 0.003]),
    "galaxy.bulge.spectrum.flux": np.array([3.0, 4.0]),
    "galaxy.disk.spectrum.flux": np.array([4.0, 3.0]),
    "galaxy.disk.morphology.radius": np.array(0.01),
    "star.spectrum.flux": np.array([1.0, 1.0]),
}


@pytest.fixture(scope="module")
def catalog():
    observation = observe(tangential())
    return build_catalog(
        make_scene(observation),
        [observation],
        uncertainties=UNCERTAINTIES,
        truncated={"galaxy.bulge": 0.0, "galaxy.disk": 0.1, "star": 0.001},
    )


def test_fluxes_and_magnitudes_have_units_and_errors(catalog):
    assert catalog["flux_F150W"].unit == u.nJy
    np.testing.assert_allclose(catalog["flux_F150W"].value, [130.0, 2.0], rtol=1e-6)
    np.testing.assert_allclose(catalog["flux_error_F150W"].value, [5.0, 1.0], rtol=1e-6)
    np.testing.assert_allclose(catalog["mag_F150W"].value, 31.4 - 2.5 * np.log10([130.0, 2.0]), atol=1e-3)
    np.testing.assert_allclose(catalog["mag_error_F150W"].value[0], 1.0857 * 5 / 130, rtol=1e-3)


def test_correlated_components_share_their_flux():
    observation = observe(tangential())
    paths = ["galaxy.bulge.spectrum.flux"] * 2 + ["galaxy.disk.spectrum.flux"] * 2
    covariance = np.eye(4)
    covariance[0, 2] = covariance[2, 0] = -0.9
    found = build_catalog(
        make_scene(observation),
        [observation],
        uncertainties=UNCERTAINTIES,
        correlations=Correlations(paths, 7.0 * covariance),
    )
    expected = np.sqrt(9 + 16 - 2 * 0.9 * 12)
    np.testing.assert_allclose(found["flux_error_F150W"].value[0], expected, rtol=1e-6)
    np.testing.assert_allclose(found["flux_error_F277W"].value[0], 5.0, rtol=1e-6)


def dusty_scene(observation, av=0.8):
    """The galaxy's disk behind a patch of dust, all of the galaxy behind a sheet; the star is clear."""
    plain = make_scene(observation)
    parts = plain["galaxy"].light.parts
    patch = DustScreen(Calzetti(), Gaussian(0.08), Parameter(av, dist.HalfNormal(1.0)), offset=(0.03, 0.0))
    light = Blend({**parts, "disk": parts["disk"].behind(patch, "patch")}).behind(
        DustScreen(SMC(), Gaussian(30.0), 0.3)
    )
    galaxy = Source(plain["galaxy"].position, light, Parameter(1.0, dist.Uniform(0.5, 2.0)), box=1.0)
    return plain.with_sources({**plain.sources, "galaxy": galaxy})


DUSTY = UNCERTAINTIES | {"galaxy.disk.patch.av": np.array(0.1), "galaxy.redshift": np.array(0.05)}


def test_fluxes_are_those_of_the_image_behind_screens_and_outside_of_the_milky_way():
    observation = observe(tangential())
    scene = dusty_scene(observation)
    behind = Observation(
        observation.data, BANDS, PSF.gaussian(3.0), sigma=1.0, wcs=tangential(), foreground=[0.5, 0.2],
        calibration=[1.1, 0.9], name="behind",
    )  # fmt: skip
    found = build_catalog(scene, [behind], uncertainties=DUSTY)
    drawn = render_sources(scene, observation)["galaxy"].sum(axis=(1, 2))
    for index, band in enumerate(BANDS):
        assert found[f"flux_{band}"].value[0] == pytest.approx(drawn[index], rel=2e-3)
        np.testing.assert_allclose(
            found[f"intrinsic_flux_{band}"].value, [(130.0, 2.0), (100.0, 1.0)][index], rtol=1e-6
        )
        np.testing.assert_allclose(found[f"flux_{band}"].value[1], found[f"intrinsic_flux_{band}"].value[1], rtol=1e-6)
    assert found["flux_F150W"].value[0] < 100.0
    magnitude = 31.4 - 2.5 * np.log10(found["flux_F150W"].value)
    np.testing.assert_allclose(found["mag_F150W"].value, magnitude, atol=1e-3)
    assert (
        "Milky Way" in found["flux_F150W"].info.description
        and "without" in found["intrinsic_flux_F150W"].info.description
    )


def test_errors_of_screens_and_shapes_reach_the_flux():
    """Against differences of catalogues; each error alone."""
    observation = observe(tangential())
    scene = dusty_scene(observation)
    steps = {"galaxy.disk.patch.av": 0.02, "galaxy.disk.morphology.radius": 0.002, "galaxy.redshift": 0.01}
    for path, step in steps.items():
        alone = build_catalog(scene, [observation], uncertainties={path: np.array(step)})
        high, low = (
            build_catalog(scene.set({path: scene.values[path] + sign * step}), [observation]) for sign in (0.5, -0.5)
        )
        for band in BANDS:
            change = abs(high[f"flux_{band}"].value[0] - low[f"flux_{band}"].value[0])
            assert alone[f"flux_error_{band}"].value[0] == pytest.approx(change, rel=0.02), path
            intrinsic = alone[f"intrinsic_flux_error_{band}"].value[0]
            assert intrinsic == 0.0 if path == "galaxy.redshift" else np.isnan(intrinsic)


def test_components_have_intrinsic_fluxes_only_where_there_are_screens():
    observation = observe(tangential())
    clear, dusty = (component_table(s(observation), [observation]) for s in (make_scene, dusty_scene))
    assert set(dusty.colnames) - set(clear.colnames) == {
        f"intrinsic_flux_{kind}{band}" for kind in ("", "error_") for band in BANDS
    }
    np.testing.assert_allclose(dusty["intrinsic_flux_F150W"].value, clear["flux_F150W"].value)
    through = dusty["flux_F150W"].value / dusty["intrinsic_flux_F150W"].value
    assert through[1] < through[0] < through[2] == 1.0


def test_a_tied_flux_counts_once_and_fully():
    observation = observe(tangential())
    scene = make_scene(observation).tie("galaxy.bulge.spectrum.flux", to="galaxy.disk.spectrum.flux")
    found = build_catalog(scene, [observation], uncertainties=UNCERTAINTIES)
    np.testing.assert_allclose(found["flux_error_F150W"].value[0], 8.0, rtol=1e-6)


def test_positions_on_sky_and_pixels_agree(catalog):
    assert catalog["ra"].unit == u.deg and catalog["ra_error"].unit == u.arcsec
    x, y = tangential().world_to_pixel_values(catalog["ra"].value, catalog["dec"].value)
    np.testing.assert_allclose(catalog["x"].value, x, atol=1e-3)
    np.testing.assert_allclose(catalog["y"].value, y, atol=1e-3)
    np.testing.assert_allclose(catalog["x_error"].value[0], 0.002 / 0.03, rtol=1e-4)
    assert np.isnan(catalog["x_error"].value[1])


def test_the_shape_is_that_of_the_brightest_component(catalog):
    row = catalog[0]
    size = np.hypot(0.2, 0.1)
    assert row["model"] == "gaussian+gaussian"
    assert row["axis_ratio"] == pytest.approx((1 - size) / (1 + size))
    assert row["angle"].value == pytest.approx(0.5 * np.degrees(np.arctan2(0.1, 0.2)))
    assert row["semi_major"].value == pytest.approx(0.12 / np.sqrt(row["axis_ratio"]), rel=1e-6)
    assert row["radius_error"].value == pytest.approx(0.01)
    assert np.isnan(catalog["radius"].value[1]) and catalog["model"][1] == "point"


def test_flags(catalog):
    galaxy, star = (Flag(int(flag)) for flag in catalog["flags"])
    assert galaxy == Flag.TRUNCATED and "outside the box" in catalog["status"][0]
    assert star == Flag.EDGE | Flag.FAINT


def test_without_a_wcs_there_are_no_sky_columns_and_without_errors_there_is_a_flag():
    observation = observe()
    found = build_catalog(make_scene(observation), [observation], converged=False)
    assert "ra" not in found.colnames and "x" in found.colnames
    assert Flag.NO_ERRORS | Flag.NOT_CONVERGED in Flag(int(found["flags"][0]))
    assert np.isnan(found["flux_error_F150W"].value).all()


def test_both_files_keep_units(catalog, tmp_path):
    write_catalog(tmp_path, catalog)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["catalog.ecsv", "catalog.fits"]
    for path in tmp_path.iterdir():
        table = QTable.read(path)
        assert table.colnames == catalog.colnames
        assert table["flux_F277W"].unit == u.nJy and table["radius"].unit == u.arcsec
        np.testing.assert_allclose(table["mag_F150W"].value, catalog["mag_F150W"].value)


def test_components_have_their_own_rows():
    observation = observe()
    found = component_table(make_scene(observation), [observation], uncertainties=UNCERTAINTIES)
    assert list(found["component"]) == ["bulge", "disk", ""]
    np.testing.assert_allclose(found["flux_error_F150W"].value, [3.0, 4.0, 1.0])


def test_errors_of_axis_ratio_and_angle_match_a_simulation():
    random = np.random.default_rng(0)
    mean, error = np.array([0.25, -0.15]), np.array([0.004, 0.007])
    draws = mean + error * random.standard_normal((20000, 2))
    size = np.hypot(*draws.T)
    ratio, angle = axis_ratio_angle(mean, error)
    assert ratio[1] == pytest.approx(np.std((1 - size) / (1 + size)), rel=0.05)
    assert angle[1] == pytest.approx(np.degrees(np.std(0.5 * np.arctan2(draws[:, 1], draws[:, 0]))), rel=0.05)
    assert axis_ratio_angle(np.zeros(2), error)[1][1] == pytest.approx(180 / np.sqrt(12))
