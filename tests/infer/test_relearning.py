"""Priors learnt from noisy stamps and from blends come near that of noiseless images."""

from functools import cache
from typing import Any

import jax
import numpy as np
import numpyro.distributions as dist
import pytest

import scarlet_sed as ss
from scarlet_sed.errors import DataError, ParameterError
from scarlet_sed.infer.relearning import Drawn, draws_of_blends, draws_of_stamps, learnt, relearn
from scarlet_sed.infer.restored import draw_images, most_likely
from scarlet_sed.infer.stamps import Stamps
from scarlet_sed.parameters import as_float
from scarlet_sed.priors.gaussian import GaussianImagePrior, GaussianImages, unit_images
from tests.registry import galaxies

PSF = ss.PSF.gaussian(fwhm=2.5)
BAND = ("hsc_g",)
SIDE, RANK, FLUX = 12, 40, 400.0


@cache
def truth() -> np.ndarray:
    return unit_images(galaxies(120, SIDE, seed=21))


@cache
def noisy(level: float = 0.0) -> Stamps:
    """The same galaxies through a PSF and with noise of one."""
    rng = np.random.default_rng(3)
    seen = Stamps.of(truth(), np.full(truth().shape, 1e6), PSF).seen(as_float(truth()))
    sky = level * rng.normal(size=(len(truth()), 1, 1))
    data = FLUX * np.asarray(seen, float) + sky + rng.normal(size=truth().shape)
    return Stamps.of(data, np.ones_like(data), PSF, level)


@cache
def of_truth() -> GaussianImages:
    return GaussianImages.of(truth(), rank=RANK)


@cache
def round_ones() -> GaussianImages:
    """A prior that knows round galaxies only, and that not well."""
    y, x = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    wide = np.random.default_rng(5).uniform(1.0, 2.0, 60)
    images = np.exp(-0.5 * (x**2 + y**2) / wide[:, None, None] ** 2)
    return GaussianImages.of(images, rank=RANK).seen_through(0.5)


@cache
def held() -> np.ndarray:
    return unit_images(galaxies(60, SIDE, seed=22))


def density(prior: GaussianImages) -> float:
    """Of galaxies that were held out, a number, through noise that hides what no data could show."""
    return float(np.mean(prior.seen_through(1.0).log_density(as_float(held())))) / prior.mean.size


def shape_error(prior: GaussianImages) -> float:
    """Median of |image - truth| over |truth| of the most likely images."""
    found = most_likely(prior, noisy()).images[0]
    return float(np.median(np.linalg.norm(found - truth(), axis=(1, 2)) / np.linalg.norm(truth(), axis=(1, 2))))


def test_draws_are_as_far_from_the_truth_as_from_each_other() -> None:
    """Galaxies are the prior's own, so that truth and draws are alike: along every number, as wide and as far."""
    prior = of_truth()
    own = np.asarray(GaussianImagePrior(prior).sample(jax.random.key(1), (500,)), float)
    clean = np.asarray(Stamps.of(own, np.full(own.shape, 1e6), PSF).seen(as_float(own)), float)
    data = FLUX * clean + np.random.default_rng(4).normal(size=own.shape)
    found = draw_images(prior, Stamps.of(data, np.ones_like(data), PSF), 2, jax.random.key(2))
    assert found.unsettled < 0.05
    np.testing.assert_allclose(found.images.sum(axis=(2, 3)), 1, atol=1e-4)
    white = [np.asarray(prior.normal(as_float(each)), float)[:, :12] for each in (own, *found.images)]
    apart, off = (np.mean((white[1] - other) ** 2, axis=0) for other in (white[2], white[0]))
    # the data know most of the first numbers, and little of the last ones
    for some in (slice(0, 3), slice(3, 12)):
        assert np.exp(np.mean(np.log(off[some] / apart[some]))) == pytest.approx(1, abs=0.15)
    # and they are no maxima: these are less wide than the prior
    assert np.mean(white[1] ** 2) == pytest.approx(1, abs=0.15)
    log_flux = np.log(found.fluxes / FLUX)
    assert np.mean(log_flux) == pytest.approx(0, abs=0.05)


def test_draws_of_a_stamp_do_not_depend_on_the_others() -> None:
    prior, key = of_truth(), jax.random.key(5)
    many = draw_images(prior, noisy(), 1, key).images[0]
    few = draw_images(prior, noisy().part(np.arange(70)), 1, key).images[0]
    np.testing.assert_allclose(many[:70], few, atol=0.02 * few.max())
    assert not np.allclose(many, draw_images(prior, noisy(), 1, jax.random.key(6)).images[0], atol=0.02 * few.max())


def test_rounds_beat_clipped_noise_and_the_first_prior() -> None:
    clipped = GaussianImages.of(np.maximum(np.asarray(noisy().data), 0.0), rank=RANK)
    first, best = round_ones(), of_truth()
    found = [each.prior for each in relearn(first, draws_of_stamps(noisy(), 1), rounds=4, worth=0.0)]
    assert density(found[-1]) > density(found[0]) > density(first)
    assert density(found[-1]) > density(first) + 0.15
    assert density(found[-1]) > density(clipped) + 0.35
    # the outskirts, which the noise hides, are the first prior's; what can be seen is nearly as well known as it can be
    last, before, ceiling, noise = (shape_error(each) for each in (found[-1], first, best, clipped))
    assert last < 0.75 * before
    assert last < 0.8 * noise
    assert last < 1.35 * ceiling


def test_a_sky_level_is_told_from_light() -> None:
    stamps = noisy(2.0)
    known = most_likely(of_truth(), stamps).fluxes[0]
    ignored = most_likely(of_truth(), Stamps.of(stamps.data, stamps.weights, PSF)).fluxes[0]
    assert np.std(known / FLUX) < 0.5 * np.std(ignored / FLUX)


def test_the_worth_of_the_first_prior_is_galaxies() -> None:
    first, images = round_ones(), truth()[None, :30]
    priors = [learnt(Drawn(images, 0.0), first, RANK, worth) for worth in (0.0, 30.0, 1e6)]
    means = [np.asarray(prior.mean, float) for prior in priors]
    np.testing.assert_allclose(means[1], 0.5 * (means[0] + np.asarray(first.mean)), atol=1e-3)
    np.testing.assert_allclose(priors[2].deviations, first.deviations, rtol=0.02)


def blends(count: int) -> list[Any]:
    """Pairs of galaxies, five pixels apart."""
    blank = ss.Observation(np.zeros((1, 24, 24)), BAND, PSF, sigma=1.0, pixel_scale=0.1, name="o")
    frame, free = ss.Frame.covering(blank), GaussianImagePrior(round_ones())
    rng, found = np.random.default_rng(8), []
    flux = ss.Parameter(np.array([FLUX]), dist.HalfNormal(2000.0))
    for pair in range(count):
        true = {
            name: ss.Source((0.25 * sign, 0.0), ss.FreeSpectrum(FLUX, BAND) * ss.Pixels(truth()[2 * pair + i], 0.1))
            for i, (name, sign) in enumerate((("a", -1), ("b", 1)))
        }
        start = {
            name: ss.Source(
                (0.25 * sign, 0.0),
                ss.FreeSpectrum(flux, BAND) * ss.Pixels(ss.Parameter(np.asarray(free.mean), free), 0.1),
            )
            for name, sign in (("a", -1), ("b", 1))
        }
        clean = np.asarray(ss.render(ss.Scene(true, frame), blank))
        found.append((ss.Scene(start, frame), blank.with_data(clean + rng.normal(size=clean.shape))))
    return found


def test_a_prior_is_learnt_from_blends() -> None:
    first = round_ones()
    given = blends(6)
    (only,) = relearn(first, draws_of_blends(given, 1, steps=200), rounds=1, worth=6.0)
    assert only.drawn.images.shape == (1, 12, SIDE, SIDE)
    np.testing.assert_allclose(only.drawn.images.sum(axis=(2, 3)), 1, atol=1e-3)
    assert density(only.prior) > density(first)


def test_what_makes_no_sense_is_named() -> None:
    first = round_ones()
    with pytest.raises(ParameterError, match="rounds is 0"):
        next(relearn(first, draws_of_stamps(noisy()), rounds=0))
    with pytest.raises(DataError, match="3 galaxies know no 40 axes"):
        learnt(Drawn(truth()[None, :3], 0.0), first, RANK, 0.0)
    small = GaussianImages.of(galaxies(30), rank=10)
    with pytest.raises(ParameterError, match=r"\(8, 8\) pixels and the stamps \(12, 12\)"):
        next(relearn(small, draws_of_stamps(noisy())))
    with pytest.raises(ParameterError, match=r"no free image of \(8, 8\) pixels"):
        next(relearn(small, draws_of_blends(blends(1))))
