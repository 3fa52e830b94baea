"""Bins of pixels reach what was asked for, and maps hold what the posterior says of each bin."""

from functools import lru_cache

import numpy as np
import pytest
from scipy import ndimage

import scarlet_sed as ss
from scarlet_sed.amortized.bins import bin_pixels, summed, whole_light
from scarlet_sed.amortized.derived import derived_of
from scarlet_sed.amortized.resolved import FEW, MISFIT, UNUSUAL, map_properties
from scarlet_sed.errors import DataError, FilterError, ParameterError, ShapeError
from scarlet_sed.instrument.matching import match_psfs
from tests.amortized import small

SHAPE = (40, 44)
REDSHIFT = 1.2


def light() -> np.ndarray:
    """(band, H, W) nJy: a round galaxy with the colours of a drawn spectrum."""
    _, spectra, _ = small.drawn()
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    radius = np.hypot(y - 19, x - 22)
    colours = np.asarray(spectra.flux[3], float)
    return (colours / colours.mean())[:, None, None] * 400 * np.exp(-radius / 4.0) / 30


@lru_cache(maxsize=1)
def observation() -> ss.Observation:
    """It, with noise."""
    psfs = [ss.PSF.gaussian(w) for w in np.linspace(1.8, 3.2, len(small.BANDS))]
    data = light() + np.random.default_rng(2).normal(size=(len(small.BANDS), *SHAPE))
    return ss.Observation(data, small.FILTERS, psfs, sigma=1.0, pixel_scale=0.03, name="o")


DETECTING = np.array([name in small.BANDS[-3:] for name in small.BANDS])


def test_bins_are_connected_reach_the_signal_and_share_no_pixel():
    matched = match_psfs(observation())
    labels = bin_pixels(matched, DETECTING, np.ones(SHAPE, bool), 8.0)
    flux, error = summed(matched, labels)
    signal = np.mean(flux[:, DETECTING] / error[:, DETECTING], axis=1)
    assert signal.min() >= 8.0 - 1e-6
    sizes = np.bincount(labels[labels >= 0])
    assert sizes.min() == 1 and sizes.max() > 4 and len(sizes) == labels.max() + 1
    # no pixel of a bin of several would have done alone, or it would be one
    alone = np.mean(matched.images[DETECTING] / matched.sigma[DETECTING], axis=0)
    assert np.all((alone >= 8.0) == np.where(labels >= 0, sizes[labels] == 1, False))
    for number in np.flatnonzero(sizes > 1):
        assert ndimage.label(labels == number)[1] == 1


def test_errors_of_bins_are_those_of_sums_of_correlated_pixels(rng):
    base = observation()
    labels = bin_pixels(match_psfs(base), DETECTING, np.ones(SHAPE, bool), 8.0)
    _, error = summed(match_psfs(base), labels)
    several = np.bincount(labels[labels >= 0]) > 3
    sums = []
    for _ in range(60):
        noise = match_psfs(base.with_data(rng.normal(size=base.shape)))
        sums.append(summed(noise, labels)[0])
    spread = np.std(sums, axis=0) / error
    assert np.mean(spread[several]) == pytest.approx(1.0, abs=0.03)
    assert np.mean(spread[~several]) == pytest.approx(1.0, abs=0.03)


def test_a_bad_pixel_takes_no_band_from_the_light_of_all_pixels():
    whole = match_psfs(observation())
    inside = np.hypot(*(np.indices(SHAPE) - np.array([19, 22])[:, None, None])) < 9
    flux, error, lacking = whole_light(whole, inside, DETECTING)
    np.testing.assert_allclose(np.stack([flux, error]), np.concatenate(summed(whole, inside - 1)))
    np.testing.assert_allclose(lacking, 0.0, atol=1e-12)
    images = whole.images.copy()
    images[0, 19, 22], images[1, 17:20, 20:24], images[2, :19] = np.nan, np.nan, np.nan
    holed = whole._replace(images=images)
    found, wider, lacking = whole_light(holed, inside, DETECTING)
    assert 0.005 < lacking[0] < 0.03 and 0.1 < lacking[1] < 0.2 and lacking[2] > 0.4
    np.testing.assert_array_equal(np.isnan(found), np.arange(len(found)) == 2)
    np.testing.assert_allclose(found[3:], flux[3:])
    # the colours are the same everywhere; PSFs are matched, noise is not the same
    np.testing.assert_allclose(found[:2], flux[:2], atol=3 * np.max(wider[:2] - 0.5 * (lacking * found)[:2]))
    assert np.all(wider[:2] > error[:2]) and wider[1] > 0.5 * lacking[1] * found[1]
    seen = map_properties(small.posterior(), observation(), REDSHIFT, least=20.0, draws=20)
    assert seen.lacking.shape == (len(seen.matched.bands),)


def test_draws_are_taken_from_all_redshifts_alike_and_areas_are_those_of_each():
    found = map_properties(small.posterior(), observation(), least=20.0, draws=17)
    mass, surface = found.quantiles["log_mass"], found.surface["log_mass"]
    assert mass.shape == surface.shape == (3, len(found.pixels))
    # a galaxy farther away is heavier and larger: its surface density depends less on where it is
    assert np.median(surface[2] - surface[0]) < np.median(mass[2] - mass[0])


def test_maps_hold_the_posterior_of_every_bin():
    posterior, seen = small.posterior(), observation()
    region = np.hypot(*(np.indices(SHAPE) - np.array([19, 22])[:, None, None])) < 9
    found = map_properties(posterior, seen, REDSHIFT, region=region, least=8.0, draws=20, seed=4)
    assert found.matched.band == small.BANDS[-1] and found.signal.min() >= 8.0 - 1e-6
    assert not np.any((found.labels >= 0) & ~region)
    flux, error = summed(found.matched, found.labels)
    bins = len(flux)
    draws = posterior.sample(flux, error, REDSHIFT, draws=20, seed=5)
    mass = derived_of(posterior, draws, REDSHIFT, names=["log_surviving_mass"])["log_surviving_mass"]
    expected = np.quantile(mass, (0.16, 0.5, 0.84), axis=1)
    np.testing.assert_allclose(found.quantiles["log_surviving_mass"], expected, atol=1e-3)
    summed_mass = np.quantile(np.log10(np.sum(10.0 ** mass.astype(float), axis=0)), (0.16, 0.5, 0.84))
    np.testing.assert_allclose(found.summed["log_surviving_mass"], summed_mass, atol=1e-3)
    # masses are shown a kpc^2: a pixel of 0.03 arcsec at this redshift is 0.249 kpc wide
    assert found.pixel_area == pytest.approx(0.249**2, rel=0.01)
    image = found.image("log_surviving_mass")
    assert np.all(np.isfinite(image) == (found.labels >= 0))
    per_area = expected[1] - np.log10(found.pixels * found.pixel_area)
    np.testing.assert_allclose(image[found.labels == 3], per_area[3], atol=1e-3)
    assert np.all(found.quantiles["attenuation.av"][2] >= found.quantiles["attenuation.av"][0])
    assert found.flags.shape == (bins,) and np.all(found.flags & ~(UNUSUAL | MISFIT | FEW) == 0)
    assert np.isfinite(found.outshone)
    np.testing.assert_allclose(found.redshift, REDSHIFT)


def test_redshift_may_be_free_bands_may_lack_and_faint_pixels_be_left_out():
    posterior = small.posterior()
    few = [0, 2, 4, 5, 6]
    whole = observation()
    some = ss.Observation(
        np.asarray(whole.data)[few],
        small.FILTERS.select([small.BANDS[i] for i in few]),
        [whole.psfs[i] for i in few],
        sigma=1.0,
        pixel_scale=0.03,
    )
    found = map_properties(posterior, some, least=8.0, binned=False, draws=20)
    assert np.all(found.pixels == 1) and found.redshift[2] > found.redshift[0]
    with pytest.raises(ParameterError, match="no map of 'colour'"):
        found.image("colour")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"least": 1e6}, DataError, "no pixel"),
        ({"detecting": ["f999w"]}, FilterError, "f999w"),
        ({"region": np.ones((3, 3))}, ShapeError, "region"),
        ({"draws": 1}, ParameterError, "draws"),
    ],
)
def test_what_cannot_be_mapped_is_refused(options, error, message):
    with pytest.raises(error, match=message):
        map_properties(small.posterior(), observation(), REDSHIFT, **options)


def test_bands_of_two_observations_are_mapped_as_those_of_one():
    whole = observation()
    psfs, data = list(whole.psfs), np.asarray(whole.data, float)

    def part(rows: slice, name: str) -> ss.Observation:
        return ss.Observation(data[rows], small.FILTERS.names[rows], psfs[rows], sigma=1.0, pixel_scale=0.03, name=name)

    one = map_properties(small.posterior(), whole, REDSHIFT, least=20.0, draws=20)
    split = [part(slice(4, 7), "long"), part(slice(0, 4), "short")]
    two = map_properties(small.posterior(), split, REDSHIFT, least=20.0, draws=20)
    assert two.matched.bands == (*small.FILTERS.names[4:], *small.FILTERS.names[:4])
    np.testing.assert_array_equal(one.labels, two.labels)
    for name, values in one.quantiles.items():
        np.testing.assert_allclose(two.quantiles[name], values, rtol=1e-3, atol=1e-3)
    with pytest.raises(DataError, match="comes twice"):
        map_properties(small.posterior(), [*split, part(slice(0, 1), "again")], REDSHIFT)
