"""Images matched to one PSF show the same sky, and say how noisy they are."""

import jax
import numpy as np
import pytest

import scarlet_sed as ss
from scarlet_sed.errors import DataError
from scarlet_sed.instrument.matching import match_psfs

SHAPE = (61, 67)
POINTS = ((20.3, 24.8, 50.0), (37.6, 41.1, 30.0), (31.0, 30.2, -8.0))


def sky(fwhm: float) -> np.ndarray:
    """Points of light through a Gaussian PSF, sampled where pixels are."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    sigma = fwhm / np.sqrt(8 * np.log(2))
    each = [f * np.exp(-0.5 * ((y - a) ** 2 + (x - b) ** 2) / sigma**2) for a, b, f in POINTS]
    return np.sum(each, axis=0) / (2 * np.pi * sigma**2)


def observed(more: float = 0.0, **options) -> ss.Observation:
    """The same sky in two bands of different width."""
    psfs = [ss.PSF.gaussian(w) for w in (2.6, 4.0)]
    data = np.stack([sky(2.6), sky(4.0)]) + more
    return ss.Observation(data, ("F115W", "F444W"), psfs, pixel_scale=0.03, **{"sigma": 0.05, **options})


def test_bands_show_the_same_sky_after_matching():
    found = match_psfs(observed(0.4, sky=0.4, calibration=[0.9, 1.0]))
    assert found.band == "F444W"
    inside = np.isfinite(found.images).all(axis=0)
    assert inside[20:-20, 20:-20].all()
    wide = sky(4.0)
    np.testing.assert_allclose(found.images[0][inside] * 0.9, wide[inside], atol=4e-3 * wide.max())
    np.testing.assert_allclose(found.images[1][inside], wide[inside], atol=1e-5)
    assert found.mismatch[0] < 4e-3 and found.mismatch[1] == 0
    other = match_psfs(observed(), "F115W")
    assert other.band == "F115W" and other.mismatch[0] == 0
    with pytest.raises(DataError, match="no band 'F200W'"):
        match_psfs(observed(), "F200W")


@pytest.mark.parametrize("correlated", [False, True])
def test_noise_after_matching_is_what_is_said(rng, correlated):
    """Standard deviation of single pixels, and the correlation of neighbours, over many draws of the noise."""
    level = np.where(np.arange(SHAPE[1]) < 33, 0.05, 0.1) * np.ones((2, *SHAPE))
    model: ss.Noise = ss.GaussianNoise()
    if correlated:
        lag = np.array([[0.1, 0.25, 0.1], [0.25, 1.0, 0.25], [0.1, 0.25, 0.1]])
        model = ss.CorrelatedNoise(np.stack([lag, lag]), SHAPE)
    draws = []
    base = observed(sigma=level, noise=model)
    for number in range(150):
        noisy = base.with_data(np.asarray(base.noise.sample(jax.random.key(number), base.weights)))
        draws.append(match_psfs(noisy))
    first = draws[0]
    for band in range(2):
        every = np.stack([d.images[band] for d in draws])
        middle = (slice(22, -22), slice(14, 30))
        measured = every[:, middle[0], middle[1]].std()
        assert measured == pytest.approx(np.mean(first.sigma[band][middle]), rel=0.04)
        beside = every[:, 22:-22, 15:31] * every[:, middle[0], middle[1]]
        lags = first.correlation.shape[-1] // 2
        expected = first.correlation[band, lags, lags + 1]
        assert np.mean(beside) / measured**2 == pytest.approx(expected, abs=0.05)
    # twice as noisy on the other side
    ratio = first.sigma[0][30, 50] / first.sigma[0][30, 20]
    assert ratio == pytest.approx(2.0, rel=0.02)


def fine_sky(fwhm: float, shift: tuple[float, float] = (0.0, 0.0)) -> np.ndarray:
    """The same sky on pixels of half the size, with the same middle; shift in (east, north) fine pixels."""
    y, x = np.mgrid[: 2 * SHAPE[0] - 1, : 2 * SHAPE[1] - 1]
    sigma = 2 * fwhm / np.sqrt(8 * np.log(2))
    at = [(f, 2 * a + shift[1], 2 * b - shift[0]) for a, b, f in POINTS]
    each = [f * np.exp(-0.5 * ((y - a) ** 2 + (x - b) ** 2) / sigma**2) for f, a, b in at]
    return np.sum(each, axis=0) / (2 * np.pi * sigma**2)


@pytest.mark.parametrize("shift", [(0.0, 0.0), (0.8, -0.6)])
def test_other_grids_and_shifts_show_the_same_sky(shift):
    coarse = ss.Observation(
        sky(4.0)[None], ("F444W",), [ss.PSF.gaussian(4.0)], pixel_scale=0.06, sigma=0.05, name="long"
    )
    arcsec = np.array([[0.03 * shift[0], 0.03 * shift[1]]])
    image = fine_sky(2.0, shift)[None]
    fine = ss.Observation(
        image, ("F115W",), [ss.PSF.gaussian(4.0)], pixel_scale=0.03, sigma=0.05, shift=arcsec, name="short"
    )
    found = match_psfs([fine, coarse])
    assert found.band == "F444W" and found.grid == coarse.grid and found.bands == ("F115W", "F444W")
    inside = np.isfinite(found.images).all(axis=0)
    assert inside[20:-20, 20:-20].all()
    wide = sky(4.0)
    np.testing.assert_allclose(found.images[0][inside], wide[inside], atol=5e-3 * wide.max())
    # noise is that of four pixels, smoothed; by many draws
    rng = np.random.default_rng(1)
    blank = fine.with_data(np.zeros(fine.shape))
    draws = np.stack(
        [match_psfs([blank.with_data(0.05 * rng.normal(size=fine.shape)), coarse]).images[0] for _ in range(60)]
    )[:, 20:-20, 20:-20]
    middle = found.sigma[0][20:-20, 20:-20]
    assert draws.std() == pytest.approx(np.mean(middle), rel=0.05)
    lags = found.correlation.shape[-1] // 2
    beside = np.mean(draws[:, :, 1:] * draws[:, :, :-1]) / draws.var()
    assert beside == pytest.approx(found.correlation[0, lags, lags + 1], abs=0.05)


def test_shifts_of_sharp_bands_are_exact():
    """A PSF of 2.6 pixels, moved by half a pixel: splines would be off by several per cent of the peak."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    sigma = 2.6 / np.sqrt(8 * np.log(2))
    each = [f * np.exp(-0.5 * ((y - a - 0.5) ** 2 + (x - b - 0.5) ** 2) / sigma**2) for a, b, f in POINTS]
    moved = np.sum(each, axis=0) / (2 * np.pi * sigma**2)
    psfs = [ss.PSF.gaussian(2.6), ss.PSF.gaussian(2.8)]
    shift = np.array([[-0.015, 0.015], [0.0, 0.0]])
    bands = ("F115W", "F444W")
    seen = ss.Observation(np.stack([moved, sky(2.8)]), bands, psfs, pixel_scale=0.03, sigma=0.05, shift=shift)
    found = match_psfs(seen)
    inside = np.isfinite(found.images).all(axis=0)
    assert inside[15:-15, 15:-15].all()
    assert found.mismatch[0] < 0.01
    np.testing.assert_allclose(found.images[0][inside], sky(2.8)[inside], atol=1.2 * found.mismatch[0] * sky(2.8).max())


def test_correlations_do_not_come_from_the_other_side_of_a_small_image():
    wide = ss.Observation(
        np.zeros((1, 41, 41)), ("F444W",), [ss.PSF.gaussian(3.0)], pixel_scale=0.6, sigma=0.05, name="long"
    )
    small = ss.Observation(
        np.zeros((1, 60, 60)), ("F115W",), [ss.PSF.gaussian(3.0)], pixel_scale=0.06, sigma=0.05, name="short"
    )
    correlation = match_psfs([small, wide]).correlation[0]
    lags = correlation.shape[-1] // 2
    assert correlation[lags, lags] == pytest.approx(1.0)
    assert np.abs(correlation[:, : lags - 5]).max() < 0.01 and np.abs(correlation[:, lags + 6 :]).max() < 0.01
    with pytest.raises(DataError, match="no observation"):
        match_psfs([])


def test_a_band_that_comes_twice_is_refused():
    with pytest.raises(DataError, match="twice"):
        match_psfs([observed(), observed()])


def test_masked_pixels_are_not_known_after_matching_and_others_are():
    mask = np.zeros((2, *SHAPE), bool)
    mask[0, 30, 20] = True
    found = match_psfs(observed(mask=mask))
    assert not np.isfinite(found.images[0, 30, 20]) and np.isinf(found.sigma[0, 30, 20])
    assert np.isfinite(found.images[0, 30, 32]) and np.isfinite(found.images[1, 30, 20])


def test_noise_without_variances_is_refused():
    with pytest.raises(DataError, match="StudentT"):
        match_psfs(observed().with_noise(ss.StudentT()))
