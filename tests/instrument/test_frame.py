"""Grids on the sky and the model's frame: astropy is the truth for every coordinate."""

import pickle
import subprocess
import sys
from types import SimpleNamespace

import astropy.units as u
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.wcs import WCS, DistortionLookupTable, Sip

from scarlet_sed.errors import DataError, ShapeError, SourceError, WCSError
from scarlet_sed.instrument.frame import Frame
from scarlet_sed.instrument.geometry import PixelGrid, from_tangent_plane, to_tangent_plane


def tan_wcs(scale=0.03, angle=0.0, crpix=(51.0, 41.0), crval=(150.1, 2.3), parity=-1, sip=None):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN-SIP", "DEC--TAN-SIP"] if sip is not None else ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crpix, wcs.wcs.crval = crpix, crval
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    wcs.wcs.cd = np.array([[c, -s], [s, c]]) @ np.diag([parity * scale, scale]) / 3600
    wcs.sip = sip
    wcs.wcs.set()
    return wcs


def some_sip(crpix=(51.0, 41.0), size=1e-4):
    a, b = np.zeros((3, 3)), np.zeros((3, 3))
    a[2, 0], a[1, 1], b[0, 2], b[2, 0] = size, -0.5 * size, 0.7 * size, 0.3 * size
    return Sip(a, b, None, None, crpix)


def observed(grid, *fwhm):
    return SimpleNamespace(grid=grid, fwhm=np.array(fwhm or (3.0,)) * grid.pixel_scale)


@pytest.mark.parametrize("reference", [(150.0, 2.0), (0.001, -60.0), (359.999, 89.9), (12.0, -90.0)])
def test_tangent_plane_is_the_tan_projection(reference):
    offsets = np.random.default_rng(1).uniform(-300, 300, (50, 2))
    ra, dec = from_tangent_plane(offsets, reference)
    np.testing.assert_allclose(to_tangent_plane(ra, dec, reference), offsets, atol=1e-8)
    wcs = tan_wcs(scale=1.0, crpix=(1.0, 1.0), crval=reference, parity=1)
    x, y = wcs.world_to_pixel(SkyCoord(ra, dec, unit="deg"))
    np.testing.assert_allclose(np.stack([x, y], -1), offsets, atol=1e-6)


def test_bare_grid_has_north_up_and_east_left():
    grid = PixelGrid((20, 30), pixel_scale=0.1)
    np.testing.assert_allclose(grid.offsets(14.5, 9.5, None), [0, 0])
    np.testing.assert_allclose(grid.offsets(13.5, 11.5, None), [0.1, 0.2])
    np.testing.assert_allclose(grid.pixels([0.1, 0.2], None), [13.5, 11.5])
    np.testing.assert_allclose(grid.matrix, np.diag([-10, 10]))
    part = grid.window(slice(5, 12), slice(3, 20))
    assert part.shape == (7, 17)
    np.testing.assert_allclose(part.offsets(0, 0, None), grid.offsets(3, 5, None))


@pytest.mark.parametrize("parity", [-1, 1])
@pytest.mark.parametrize("sip", [None, some_sip()])
def test_offsets_follow_the_whole_wcs(sip, parity):
    wcs = tan_wcs(angle=33.0, parity=parity, sip=sip)
    grid = PixelGrid((80, 100), wcs)
    x, y = np.array([0.0, 99, 12.3, 50]), np.array([0.0, 3, 70.1, 40])
    truth = wcs.pixel_to_world(x, y)
    reference = (150.1003, 2.2998)
    expected = to_tangent_plane(truth.ra.deg, truth.dec.deg, reference)
    offsets = grid.offsets(x, y, reference)
    np.testing.assert_allclose(offsets, expected, atol=1e-7)
    np.testing.assert_allclose(grid.pixels(offsets, reference), np.stack([x, y], -1), atol=1e-4)
    step = grid.offsets(50.5, 39.5, grid.reference) - grid.offsets(49.5, 39.5, grid.reference)
    np.testing.assert_allclose(grid.matrix @ step, [1, 0], atol=2e-3)
    assert np.sign(np.linalg.det(grid.matrix)) == np.sign(parity)


def test_galactic_wcs_ends_in_icrs():
    wcs = tan_wcs()
    wcs.wcs.ctype = ["GLON-TAN", "GLAT-TAN"]
    wcs.wcs.set()
    sky = PixelGrid((80, 100), wcs).sky(3.0, 7.0)
    assert sky.separation(wcs.pixel_to_world(3.0, 7.0)).arcsec < 1e-6


@pytest.mark.parametrize("sip", [None, some_sip()])
def test_window_keeps_the_sky(sip):
    grid = PixelGrid((80, 100), tan_wcs(angle=10, sip=sip))
    part = grid.window(slice(20, 60), slice(30, 90))
    assert part.sky(5, 7).separation(grid.sky(35, 27)).arcsec < 1e-6
    assert part.shape == (40, 60)


def test_grids_are_equal_by_value_and_survive_pickling():
    one, two = (PixelGrid((80, 100), tan_wcs(sip=some_sip())) for _ in range(2))
    assert one == two
    assert hash(one) == hash(two)
    assert one != PixelGrid((80, 100), tan_wcs())
    assert PixelGrid((3, 4), pixel_scale=1.0) != PixelGrid((3, 4), pixel_scale=2.0)
    assert one.wcs is not None
    code = "import sys, pickle; g = pickle.load(sys.stdin.buffer); sys.stdout.write(repr(g.sky(3, 4).ra.deg))"
    out = subprocess.run([sys.executable, "-c", code], input=pickle.dumps(one), capture_output=True, check=True)
    assert float(out.stdout.split(b"(")[-1].rstrip(b")")) == pytest.approx(one.sky(3, 4).ra.deg, abs=1e-12)


def test_axes_beyond_two_are_dropped():
    wcs = WCS(naxis=3)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN", "WAVE"]
    wcs.wcs.cdelt = [-1e-5, 1e-5, 1e-7]
    wcs.wcs.crval = [10, 20, 1e-6]
    wcs.wcs.set()
    assert PixelGrid((8, 9), wcs).pixel_scale == pytest.approx(0.036)


def linear_wcs():
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["LINEAR", "LINEAR"]
    return wcs


def lookup_wcs():
    wcs = tan_wcs()
    wcs.cpdis1 = DistortionLookupTable(np.ones((4, 4), np.float32), (1, 1), (1, 1), (30, 30))
    return wcs


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: PixelGrid((8, 9)), WCSError, "neither a WCS nor a pixel scale"),
        (lambda: PixelGrid((8, 9), linear_wcs()), WCSError, "not two celestial"),
        (lambda: PixelGrid((8, 9), lookup_wcs()), WCSError, "lookup-table"),
        (lambda: PixelGrid((8, 9), tan_wcs(), 0.06), WCSError, "pixel_scale is 0.06"),
        (lambda: PixelGrid((8, 9), pixel_scale=-1.0), WCSError, "positive number"),
        (lambda: PixelGrid((8, 9), pixel_scale=np.nan), WCSError, "positive number"),
        (lambda: PixelGrid((8, 0), pixel_scale=1.0), ShapeError, "shape"),
        (lambda: PixelGrid((8, 9), pixel_scale=1.0).sky(1, 1), WCSError, "no sky positions"),
        (lambda: PixelGrid((8, 9), pixel_scale=1.0).offsets(1, 1, (0.0, 0.0)), WCSError, "all observations a WCS"),
        (lambda: PixelGrid((8, 9), tan_wcs()).offsets(1, 1, None), WCSError, "all observations a WCS"),
    ],
)
def test_bad_grids(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize("oversampling", [1, 2, 3, 4])
@pytest.mark.parametrize("shape", [(40, 40), (41, 33)])
def test_native_centres_fall_on_model_centres(oversampling, shape):
    for grid in (PixelGrid(shape, pixel_scale=0.03), PixelGrid(shape, tan_wcs(angle=20.0, parity=1))):
        frame = Frame.covering(observed(grid), oversampling=oversampling, margin_px=0)
        pixels = frame.pixel_map(grid)
        assert np.max(np.abs(pixels - np.round(pixels))) < 2e-6
        np.testing.assert_allclose(pixels[0, 1] - pixels[0, 0], [oversampling, 0], atol=1e-5)
        np.testing.assert_allclose(pixels[1, 0] - pixels[0, 0], [0, oversampling], atol=1e-5)
        # the outer edges of the native pixels lie within the frame, and not more than a pixel inside
        edge = pixels[0, 0] - oversampling / 2
        assert np.all(edge >= -0.5 - 1e-6)
        assert np.all(edge < 0.5 + 1e-6)
        far = pixels[-1, -1] + oversampling / 2 - (np.array(frame.shape[::-1]) - 0.5)
        assert np.all(far <= 1e-6)
        assert np.all(far > -1 - 1e-6)


def test_frame_covers_every_observation_exactly():
    fine, coarse = PixelGrid((60, 50), tan_wcs()), PixelGrid((30, 40), tan_wcs(0.08, angle=25, crpix=(20, 15)))
    frame = Frame.covering([observed(coarse), observed(fine)], margin_px=0)
    for grid in (fine, coarse):
        pixels = frame.pixel_map(grid)
        assert np.all(pixels > -0.5)
        assert np.all(pixels < np.array(frame.shape[::-1]) - 0.5)
        sky = grid.sky(3.0, 5.0)
        np.testing.assert_allclose(frame.pixel(frame.from_sky(sky)), pixels[5, 3], atol=1e-6)
        assert frame.sky(frame.from_sky(sky)).separation(sky).arcsec < 1e-7
    np.testing.assert_allclose(frame.matrix, frame.oversampling * fine.matrix)
    x, y = frame.wcs.world_to_pixel(coarse.sky(7.0, 9.0))
    np.testing.assert_allclose([x, y], frame.pixel_map(coarse)[9, 7], atol=1e-5)


@pytest.mark.parametrize("sip", [some_sip(), some_sip(size=1e-6)])
def test_pixel_map_holds_the_distortion(sip):
    plain, bent = PixelGrid((80, 100), tan_wcs()), PixelGrid((80, 100), tan_wcs(sip=sip))
    frame = Frame.covering(observed(plain), oversampling=1, margin_px=0)
    y, x = np.mgrid[:80, :100]
    truth = np.stack(tan_wcs().world_to_pixel(tan_wcs(sip=sip).pixel_to_world(x, y)), axis=-1)
    np.testing.assert_allclose(frame.pixel_map(bent), truth, atol=1e-5)
    assert np.max(np.abs(truth - np.stack([x, y], -1))) > 100 * sip.a[2, 0]


@pytest.mark.parametrize(
    ("scale", "fwhm", "expected"), [(0.03, 1.33, 2), (0.03, 1.7, 2), (0.168, 3.5, 1), (0.06, 0.9, 3)]
)
def test_default_oversampling_resolves_the_sharpest_psf(scale, fwhm, expected):
    frame = Frame.covering(observed(PixelGrid((40, 40), pixel_scale=scale), 3 * fwhm, fwhm))
    assert frame.oversampling == expected
    assert 2.355 * frame.psf_sigma / frame.oversampling < fwhm


def test_margin_follows_the_widest_psf_in_steps():
    shapes = {Frame.covering(observed(PixelGrid((40, 40), pixel_scale=0.1), f)).shape for f in (3.0, 3.2, 3.4)}
    assert shapes == {(56, 56)}


def test_positions_work_in_numpy_and_under_jit():
    frame = Frame.covering(observed(PixelGrid((40, 50), tan_wcs())))
    position = np.array([[0.1, -0.2], [0.3, 0.0]])
    pixel = frame.pixel(position)
    np.testing.assert_allclose(frame.position(pixel), position, atol=1e-12)
    np.testing.assert_allclose(jax.jit(lambda f, p: f.pixel(p))(frame, jnp.asarray(position)), pixel, atol=1e-4)
    assert list(frame.contains(np.array([[0.0, 0.0], [5.0, 0.0]]))) == [True, False]
    again = pickle.loads(pickle.dumps(frame))
    np.testing.assert_array_equal(again.pixel(position), pixel)
    with pytest.raises(SourceError, match="outside the frame"):
        frame.require((9.0, 0.0), "source 'a'")


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Frame.covering([]), DataError, "no observation"),
        (
            lambda: Frame.covering(
                [observed(PixelGrid((8, 9), tan_wcs())), observed(PixelGrid((8, 9), pixel_scale=1.0))]
            ),
            WCSError,
            "all observations a WCS",
        ),
        (
            lambda: Frame.covering([observed(PixelGrid((8, 9), tan_wcs(crval=(150.0, d)))) for d in (2, 3)]),
            WCSError,
            "does not overlap",
        ),
        (
            lambda: Frame.covering([observed(PixelGrid((8, 9), tan_wcs(crval=(r, 2.0)))) for r in (10, 150)]),
            WCSError,
            "90 degrees",
        ),
        (lambda: Frame.covering(observed(PixelGrid((8, 9), pixel_scale=1.0), 0.1)), DataError, "sharpest PSF"),
        (
            lambda: Frame.covering(observed(PixelGrid((8, 9), pixel_scale=1.0)), oversampling=0),
            DataError,
            "oversampling",
        ),
        (lambda: Frame.covering(observed(PixelGrid((20000, 20000), pixel_scale=1.0))), DataError, "smaller field"),
        (lambda: Frame.bare((8, 9), 1.0).sky((0.0, 0.0)), WCSError, "no place on the sky"),
        (lambda: Frame.bare((8, 9), 1.0).from_sky(SkyCoord(1 * u.deg, 2 * u.deg)), WCSError, "no place on the sky"),
    ],
)
def test_bad_frames(make, error, message):
    with pytest.raises(error, match=message):
        make()
