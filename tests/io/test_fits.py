"""FITS files in, observations out: real files, bare headers, mosaics too large to load."""

import pickle
import resource

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS

from scarlet_sed.errors import (
    ConfigError,
    DataError,
    FileFormatError,
    FilterError,
    PSFError,
    ScarletSEDError,
    ShapeError,
    UnitError,
    WCSError,
)
from scarlet_sed.instrument.frame import Frame
from scarlet_sed.instrument.images import header_zero_point
from scarlet_sed.instrument.noise_estimate import estimate_noise
from scarlet_sed.instrument.observation import Observation
from scarlet_sed.instrument.psf import PSF
from scarlet_sed.io.fits import BandFiles, Window, observations_from_fits
from scarlet_sed.photometry.filters import Filters

RING = {"F115W": 0.03, "F150W": 0.03, "F277W": 0.06, "F444W": 0.06}


def header(scale=0.03, crpix=(20.5, 15.5), unit="nJy", crval=(150.0, 2.0)):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval, wcs.wcs.crpix = ["RA---TAN", "DEC--TAN"], crval, crpix
    wcs.wcs.cdelt = [-scale / 3600, scale / 3600]
    cards = wcs.to_header()
    if unit:
        cards["BUNIT"] = unit
    return cards


@pytest.fixture
def folder(tmp_path):
    """A small field: image with extensions SCI, ERR, WHT, IVM, BAD; a bare image; a stack; a PSF."""
    rng = np.random.default_rng(5)
    sci = rng.normal(size=(30, 40)).astype(">f4")
    sci[10, 10] = np.nan
    wht = np.full((30, 40), 50.0, "f4")
    wht[:, 20:] = 200.0
    noise = sci / np.sqrt(wht)
    bad = np.zeros((30, 40), "i2")
    bad[10, 10] = bad[0, 0] = 1
    parts = [fits.PrimaryHDU()]
    for name, image in {"SCI": sci, "ERR": np.full((30, 40), 0.5), "IVM": np.full((30, 40), 4.0), "BAD": bad}.items():
        parts.append(fits.ImageHDU(image, header(), name=name))
    parts += [fits.ImageHDU(noise, header(), name="NOISE"), fits.ImageHDU(wht, header(), name="WHT")]
    fits.HDUList(parts).writeto(tmp_path / "field.fits")
    fits.PrimaryHDU(np.nan_to_num(sci)).writeto(tmp_path / "bare.fits")
    fits.PrimaryHDU(np.stack([np.nan_to_num(sci)] * 3), header()).writeto(tmp_path / "stack.fits")
    fits.PrimaryHDU(PSF.gaussian(2.5).image * 0.95).writeto(tmp_path / "psf.fits")
    (tmp_path / "text.fits").write_text("no image")
    return tmp_path


def band(folder, **changes):
    spec = {"data": "field.fits[SCI]", "psf": "psf.fits", "sigma": "field.fits[ERR]", "mask": "field.fits[BAD]"}
    spec |= changes
    files = ("data", "psf", "sigma", "variance", "inverse_variance", "weight", "mask")
    return {
        key: str(folder / value) if key in files and isinstance(value, str) else value
        for key, value in spec.items()
        if value is not None
    }


def read(folder, **changes):
    return Observation.from_fits({"F115W": band(folder, **changes)})


def test_reads_extensions_noise_mask_and_psf(folder):
    obs = read(folder)
    assert obs.shape == (1, 30, 40)
    assert obs.grid.wcs is not None
    assert obs.grid.pixel_scale == pytest.approx(0.03, rel=1e-6)
    np.testing.assert_allclose(obs.sigma[0, 5, 5], 0.5)
    assert np.argwhere(np.asarray(obs.mask[0])).tolist() == [[0, 0], [10, 10]]
    assert obs.psfs[0].record.original_sum == pytest.approx(0.95)
    assert obs.data.dtype == np.float32
    same = read(folder, sigma=None, inverse_variance="field.fits[IVM]")
    np.testing.assert_allclose(same.weights, obs.weights, rtol=1e-6)
    np.testing.assert_allclose(read(folder, sigma=None, variance=0.25).weights, obs.weights, rtol=1e-6)


def test_bare_headers_take_overrides(folder):
    area = (0.06 / 3600 * np.pi / 180) ** 2
    obs = read(folder, data="bare.fits", unit="MJy/sr", pixel_scale=0.06)
    raw = fits.getdata(folder / "bare.fits")
    np.testing.assert_allclose(np.asarray(obs.data[0])[1:], raw[1:] * 1e15 * area, rtol=1e-5)
    np.testing.assert_allclose(obs.sigma[0, 5, 5], 0.5 * 1e15 * area, rtol=1e-5)
    assert obs.grid.wcs is None
    counts = read(folder, data="bare.fits", zero_point=31.4 - 2.5, pixel_scale=0.06)
    np.testing.assert_allclose(np.asarray(counts.data[0])[1:], raw[1:] * 10, rtol=2e-3)


def test_relative_weights_are_scaled_by_blank_sky(folder):
    obs = read(folder, data="field.fits[NOISE]", sigma=None, weight="field.fits[WHT]", mask="field.fits[BAD]")
    np.testing.assert_allclose(obs.weights[0, 5, [5, 25]], [50, 200], rtol=0.1)
    assert read(folder, sigma=None, estimate_noise=True).sigma[0, 5, 5] == pytest.approx(1.0, rel=0.1)


def test_nonfinite_pixels_are_masked_on_request_only(folder):
    with pytest.raises(DataError, match="not masked"):
        read(folder, mask=None)
    obs = read(folder, mask=None, mask_nonfinite=True)
    assert np.argwhere(np.asarray(obs.mask[0])).tolist() == [[10, 10]]


def test_planes_of_a_stack(folder):
    assert read(folder, data="stack.fits[0,2]").shape == (1, 30, 40)
    with pytest.raises(FileFormatError, match="stack of 3 images"):
        read(folder, data="stack.fits")
    with pytest.raises(FileFormatError, match="only 3 images"):
        read(folder, data="stack.fits[0,7]")


def test_bands_are_gathered_by_grid(folder):
    fits.PrimaryHDU(np.ones((15, 20)), header(0.06, (10.5, 8.0))).writeto(folder / "coarse.fits")
    shifted = header()
    shifted["CRPIX1"] += 1e-5  # rounding of headers does not make another grid
    fits.PrimaryHDU(np.ones((30, 40)), shifted).writeto(folder / "again.fits")
    bands = {
        "F115W": band(folder),
        "F277W": band(folder, data="coarse.fits", sigma=1.0, mask=None),
        "F150W": BandFiles(**band(folder, data="again.fits")),
    }
    observations = observations_from_fits(bands, names={"F150W": "short"}, sky=0.5)
    assert [(o.name, o.bands, o.shape) for o in observations] == [
        ("short", ("F115W", "F150W"), (2, 30, 40)),
        ("F277W", ("F277W",), (1, 15, 20)),
    ]
    np.testing.assert_allclose(observations[0].sky, 0.5)
    with pytest.raises(WCSError, match="different grids"):
        Observation.from_fits(bands)


@pytest.mark.parametrize("size", [0.3, (0.3, 0.6), 0.3 * u.arcsec])
def test_windows_keep_the_sky(folder, size):
    whole = read(folder)
    center = whole.grid.sky(22.0, 9.0)
    part = Observation.from_fits({"F115W": band(folder)}, window=Window(center, size))
    assert part.shape[1] == 10
    inside = whole.cutout(center, 0.3 if isinstance(size, u.Quantity) else size)
    np.testing.assert_array_equal(part.data, inside.data)
    np.testing.assert_array_equal(part.weights, inside.weights)
    assert part.grid.same_as(inside.grid)
    assert part.grid.sky(0, 0).separation(whole.grid.sky(*whole.grid.pixels_of(part.grid.sky(0, 0)))).arcsec < 1e-6
    by_pixel = Observation.from_fits({"F115W": band(folder)}, window=Window((22.0, 9.0), size))
    np.testing.assert_array_equal(by_pixel.data, part.data)


def test_compressed_images_are_read_in_part(folder):
    image = np.arange(30 * 40, dtype="f4").reshape(30, 40)
    hdus = [fits.PrimaryHDU(), fits.CompImageHDU(image, header(), compression_type="RICE_1", quantize_level=0)]
    hdus[1] = fits.CompImageHDU(image, header(), compression_type="GZIP_2", quantize_level=0)
    fits.HDUList(hdus).writeto(folder / "small.fits.fz")
    obs = read(folder, data="small.fits.fz")
    np.testing.assert_array_equal(np.asarray(obs.data[0])[1:10], image[1:10])


def test_mosaics_are_never_loaded_whole(tmp_path):
    """A sparse 3.6 GB mosaic: the window is right, and memory stays far below the file's size."""
    side, path = 30000, tmp_path / "mosaic.fits"
    cards = header(0.03, (side / 2 + 0.5, side / 2 + 0.5))
    cards = fits.PrimaryHDU(np.zeros((2, 2), "f4"), cards).header
    cards["NAXIS1"] = cards["NAXIS2"] = side
    patch = np.random.default_rng(1).normal(size=(100, 100)).astype(">f4")
    with path.open("wb") as file:
        file.write(cards.tostring().encode())
        start = file.tell()
        file.truncate(start + (side * side * 4 + 2879) // 2880 * 2880)
        for row in range(100):
            file.seek(start + 4 * ((25000 + row) * side + 7000))
            file.write(patch[row].tobytes())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    bands = {"F115W": {"data": path, "sigma": path, "mask_nonfinite": True, "psf": PSF.gaussian(2.0)}}
    bands["F115W"]["sigma"] = 1.0
    obs = Observation.from_fits(bands, window=Window((7049.5, 25049.5), 3.0))
    np.testing.assert_array_equal(obs.data[0], patch.astype("f4"))
    truth = WCS(cards).pixel_to_world(7000, 25000)
    assert obs.grid.sky(0, 0).separation(truth).arcsec < 1e-6
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kB


def test_zero_points_of_headers():
    # F814W of ACS, 2009: zero point 25.947 AB (ACS zero-point tables: PHOTFLAM 7.03e-20, PHOTPLAM 8045 Angstrom)
    assert header_zero_point(fits.Header({"PHOTFLAM": 7.033e-20, "PHOTPLAM": 8045.5})) == pytest.approx(25.95, abs=0.01)
    assert header_zero_point(fits.Header({"FLUXMAG0": 63095734448.0194})) == pytest.approx(27.0)
    assert header_zero_point(fits.Header()) is None


BAD = {
    "missing file": ({"data": "nowhere.fits"}, FileFormatError, "no file"),
    "missing noise file": ({"sigma": "nowhere.fits"}, FileFormatError, "no file"),
    "not FITS": ({"data": "text.fits"}, FileFormatError, "not a FITS file"),
    "missing extension": ({"data": "field.fits[SKY]"}, FileFormatError, "no extension 'SKY'"),
    "extension without image": ({"data": "field.fits[0]"}, FileFormatError, "no image"),
    "no WCS": ({"data": "bare.fits", "unit": "nJy"}, WCSError, "pixel_scale"),
    "no unit": ({"data": "bare.fits", "pixel_scale": 0.03}, UnitError, "no BUNIT"),
    "counts": ({"unit": "electron/s"}, UnitError, "zero point"),
    "contradicting scale": ({"pixel_scale": 0.06}, WCSError, "pixel_scale is 0.06"),
    "no noise": ({"sigma": None}, DataError, "given by nothing"),
    "two noises": ({"inverse_variance": "field.fits[IVM]"}, DataError, "sigma and inverse_variance"),
    "negative noise": ({"sigma": -1.0}, DataError, "not positive"),
    "noise of another shape": ({"sigma": "psf.fits"}, ShapeError, "the data have"),
    "mask of another shape": ({"mask": "psf.fits"}, ShapeError, "the data have"),
    "no PSF": ({"psf": None}, ConfigError, "no 'psf'"),
    "missing PSF": ({"psf": "nowhere.fits"}, FileFormatError, "no file"),
    "unknown key": ({"noise": "field.fits[ERR]"}, ConfigError, "unknown key 'noise'"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_files_name_their_cure(folder, case):
    changes, error, message = BAD[case]
    with pytest.raises(error, match=message) as caught:
        read(folder, **changes)
    assert isinstance(caught.value, ScarletSEDError)
    assert caught.value.fix


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda f: observations_from_fits({}), (DataError, FilterError), "no"),
        (lambda f: observations_from_fits({"F115X": band(f)}), FilterError, "F115X"),
        (lambda f: observations_from_fits({"F115W": band(f)}, names={"F2": "a"}), FilterError, "unknown band 'F2'"),
        (lambda f: observations_from_fits({"F115W": band(f, sigma=-1.0)}), DataError, "not positive"),
        (lambda f: observations_from_fits({"F115W": "field.fits"}), ConfigError, "BandFiles"),
        (
            lambda f: observations_from_fits({"F115W": band(f)}, window=Window(SkyCoord(1, 1, unit="deg"), 1.0)),
            DataError,
            "does not touch",
        ),
        (
            lambda f: observations_from_fits({"F115W": band(f)}, window=Window((1, 1), -1.0)),
            DataError,
            "window of size",
        ),
        (
            lambda f: observations_from_fits(
                {"F115W": band(f, data="bare.fits", pixel_scale=0.03, unit="nJy")},
                window=Window(SkyCoord(1, 1, unit="deg"), 1.0),
            ),
            WCSError,
            "no sky positions",
        ),
        (lambda f: observations_from_fits({"F115W": band(f, psf="stack.fits")}), PSFError, "stack of 3"),
    ],
)
def test_bad_calls(folder, make, error, message):
    with pytest.raises(error, match=message):
        make(folder)


def ring(shared, **options):
    root = shared / "data" / "cosmos_web_ring"
    return observations_from_fits(
        {
            name: BandFiles(
                root / name / "data.fits",
                root / name / "psf.fits",
                sigma=root / name / "noise_map.fits",
                unit="MJy/sr",
                pixel_scale=scale,
            )
            for name, scale in RING.items()
        },
        **options,
    )


def test_cosmos_web_ring(shared):
    short, long = ring(shared)
    assert (short.shape, long.shape) == ((2, 419, 419), (2, 209, 209))
    assert [float(psf.record.original_sum) for psf in (*short.psfs, *long.psfs)] == pytest.approx(
        [0.958, 0.958, 0.958, 0.958], abs=0.02
    )
    frame = Frame.covering([short, long], margin_px=0)
    assert frame.oversampling == 2
    # both fields have their middles at position (0, 0)
    for obs in (short, long):
        middle = frame.pixel_map(obs.grid)[obs.shape[1] // 2, obs.shape[2] // 2]
        np.testing.assert_allclose(frame.position(middle), 0, atol=1e-9)
    # about 20.2 and 22.5 AB within the ring system (data/README.md): the unit is right
    y, x = np.mgrid[:209, :209] - 104
    f444w = np.asarray(long.data[1])[np.hypot(x, y) < 30].sum()
    assert -2.5 * np.log10(f444w / 3.63e12) == pytest.approx(20.2, abs=0.3)
    # noise maps are conservative and drizzling correlates neighbours (FACTS)
    for obs in (short, long):
        found = estimate_noise(obs.data, variance=np.asarray(obs.sigma) ** 2)
        assert np.all(found.sigma < np.median(np.asarray(obs.sigma), axis=(1, 2)))
        np.testing.assert_allclose(found.lag1, 0.3, atol=0.05)
        assert np.all(found.gain > 0)


def test_correlated_noise_of_the_ring_explains_its_blank_sky(shared):
    long = ring(shared)[1]
    noisy = long.with_correlated_noise()
    blank = estimate_noise(long.data).blank
    weights = np.where(blank, long.weights, 0)
    count = blank.sum(axis=(1, 2))
    np.testing.assert_allclose(noisy.noise.chi2(long.data, weights) / count, 1.0, atol=0.03)
    assert np.all(np.asarray(long.noise.chi2(long.data, weights)) / count < 0.2)
    assert noisy.cutout((100, 100), 3.0).noise.shape == (50, 50)


def test_hst_and_hsc_lie_on_the_same_sky(shared):
    root = shared / "data" / "hsc_hst"
    generic = Filters.generic(["F814W", *"grizy"])
    bands = {
        "F814W": BandFiles(root / "Cut_HST1.fits", root / "PSF_HST.fits", estimate_noise=True, zero_point=25.95),
        **{
            name: BandFiles(
                f"{root / 'Cut_HSC1.fits'}[0,{i}]",
                f"{root / 'PSF_HSC.fits'}[0,{i}]",
                estimate_noise=True,
                zero_point=27.0,
            )
            for i, name in enumerate("grizy")
        },
    }
    hst, hsc = observations_from_fits(bands, filters=generic, names={"F814W": "hst", "g": "hsc"})
    assert (hst.shape, hsc.shape) == ((1, 250, 250), (5, 50, 50))
    frame = Frame.covering([hsc, hst], margin_px=0)
    with fits.open(root / "Cut_HST1.fits") as one, fits.open(root / "Cut_HSC1.fits") as two:
        fine, coarse = WCS(one[0].header), WCS(two[0].header).celestial
    y, x = np.mgrid[:50, :50]
    native = np.stack(fine.world_to_pixel(coarse.pixel_to_world(x, y)), axis=-1)
    start = frame.pixel_map(hst.grid)[0, 0]
    np.testing.assert_allclose(frame.pixel_map(hsc.grid), frame.oversampling * native + start, atol=1e-3)
    again = pickle.loads(pickle.dumps(hsc))
    assert again.grid == hsc.grid


def test_linear_wcs_needs_a_pixel_scale(shared):
    path = shared / "data" / "hst_stamps" / "acs_I_unrot_sci_20_cf.fits"
    spec = {"data": path, "psf": PSF.gaussian(3.0), "sigma": 1.0, "zero_point": 25.9}
    with pytest.raises(WCSError, match="no celestial WCS"):
        Observation.from_fits({"acs_wfc_f814w": spec})
    assert Observation.from_fits({"acs_wfc_f814w": spec | {"pixel_scale": 0.03}}).shape == (1, 81, 81)
