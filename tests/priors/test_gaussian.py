"""A normal distribution of images: white numbers, principal axes, and draws in a scene."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import scarlet_sed as ss
from scarlet_sed.errors import DataError, ShapeError
from scarlet_sed.infer.families import build_families
from scarlet_sed.infer.sampling.prior_text import prior_text
from scarlet_sed.parameters import Parameter
from scarlet_sed.priors.gaussian import (
    GaussianImagePrior,
    GaussianImages,
    orientations,
    reflectors_onto,
    triangle_of,
    unit_images,
)
from scarlet_sed.transforms import bijection
from tests.registry import galaxies


@pytest.fixture(scope="module")
def base() -> GaussianImages:
    return GaussianImages.of(galaxies(), rank=20)


def test_white_numbers_of_what_was_learnt_from_are_standard_normal(base):
    numbers = base.coordinates.inv(np.concatenate(orientations(unit_images(galaxies()))).astype(np.float32))
    white = np.asarray(base.white(numbers), float)
    np.testing.assert_allclose(white.mean(axis=0), 0, atol=1e-3)
    # along the axes one by one, along all others on average
    axes = base.deviations.size
    np.testing.assert_allclose(white[:, :axes].std(axis=0, ddof=1), 1, rtol=1e-2)
    assert np.mean(white[:, axes:] ** 2) == pytest.approx(1, rel=2e-2)


def test_white_numbers_do_not_go_with_each_other(base):
    numbers = base.coordinates.inv(np.concatenate(orientations(unit_images(galaxies()))).astype(np.float32))
    together = np.cov(np.asarray(base.white(numbers), float)[:, : base.deviations.size].T)
    np.testing.assert_allclose(together, np.eye(len(together)), atol=1e-2)


@pytest.mark.parametrize("rank", (1, 20, 63))
def test_reflections_of_rounded_vectors_turn_and_do_nothing_else(rank):
    axes = np.linalg.qr(np.random.default_rng(0).normal(size=(63, rank)))[0]
    vectors = reflectors_onto(axes)
    turned = np.eye(63) - vectors @ triangle_of(vectors) @ vectors.T
    np.testing.assert_allclose(np.abs(np.sum(turned[:, :rank] * axes, axis=0)), 1, atol=1e-12)
    rounded = vectors.astype(np.float16).astype(float)
    turned = np.eye(63) - rounded @ triangle_of(rounded) @ rounded.T
    np.testing.assert_allclose(turned.T @ turned, np.eye(63), atol=1e-12)


def test_white_numbers_can_be_gone_back(base):
    white = np.random.default_rng(3).normal(size=base.mean.size).astype(np.float32)
    np.testing.assert_allclose(base.white(base.numbers(white)), white, atol=2e-3)


def test_every_orientation_is_as_likely(base):
    prior = GaussianImagePrior(base)
    image = unit_images(galaxies(1, seed=7))
    levels = [float(prior.log_prob(turned[0].astype(np.float32))) for turned in orientations(image)]
    np.testing.assert_allclose(levels, levels[0], atol=0.05)


def test_the_density_is_that_of_the_white_numbers(base):
    prior, white = GaussianImagePrior(base), jax.random.normal(jax.random.key(2), base.mean.shape)
    image = prior.coordinates(white)
    size = base.mean.size
    expected = -0.5 * float(jnp.sum(white**2)) - 0.5 * size * np.log(2 * np.pi)
    assert float(prior.log_prob(image)) == pytest.approx(expected, abs=0.05)
    transform = bijection(prior, base.shape)
    assert float(transform.log_abs_det_jacobian(white, image)) == 0.0
    np.testing.assert_allclose(transform.inv(image), white, atol=5e-3)


def test_draws_look_like_what_was_learnt_from(base):
    drawn = GaussianImagePrior(base).sample(jax.random.key(0), (400,))
    assert drawn.shape == (400, 8, 8)
    np.testing.assert_allclose(np.asarray(drawn.sum(axis=(1, 2)), float), 1, atol=1e-4)
    known = unit_images(galaxies(400, seed=5))
    np.testing.assert_allclose(np.asarray(drawn.mean(0), float), known.mean(0), atol=0.2 * known.mean(0).max())


def test_sources_share_one_copy(base):
    prior = GaussianImagePrior(base)
    image = np.asarray(prior.mean)
    leaves = {f"source{i}.morphology.image": Parameter(image, prior) for i in range(3)}
    other = GaussianImagePrior(GaussianImages.of(galaxies(seed=2), rank=20))
    found = build_families({**leaves, "other.morphology.image": Parameter(image, other)})
    assert [family.valid.shape[0] for family in found.families] == [3, 1]
    assert found.families[0].prior.base is base
    family, values = found.families[0], found.values[0]
    unconstrained = family.unconstrain(values)
    assert unconstrained.shape == (3, 63)
    np.testing.assert_allclose(family.constrain(unconstrained), values, atol=1e-5)
    each = float(prior.log_prob(image))
    assert float(family.log_prior(values)) == pytest.approx(3 * each, rel=1e-4)


def test_a_scene_is_fitted_with_it(base):
    truth = galaxies(1, seed=11)[0]
    prior = GaussianImagePrior(base)
    psf = ss.PSF.gaussian(fwhm=2.5)
    blank = ss.Observation(np.zeros((1, 20, 20)), ("hsc_g",), psf, sigma=1.0, pixel_scale=0.1, name="o")
    light = ss.FreeSpectrum(400.0, ("hsc_g",)) * ss.Pixels(truth, 0.1)
    frame = ss.Frame.covering(blank)
    clean = ss.render(ss.Scene({"a": ss.Source((0.0, 0.0), light)}, frame), blank)
    seen = blank.with_data(clean + np.random.default_rng(0).normal(size=clean.shape))
    start = ss.Pixels(Parameter(np.asarray(prior.mean), prior), 0.1)
    flux = Parameter(np.array([200.0]), dist.HalfNormal(1000.0))
    fitted = ss.fit(
        ss.Scene({"a": ss.Source((0.0, 0.0), ss.FreeSpectrum(flux, ("hsc_g",)) * start)}, frame), seen, progress=False
    )
    known = truth / truth.sum()
    found = np.asarray(fitted.scene.values["a.morphology.image"], float)
    off = np.linalg.norm(found - known) / np.linalg.norm(known)
    assert off < 0.15
    assert found.sum() == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize(
    ("bad", "error", "match"),
    (
        (-galaxies(3), DataError, "3 images, of which number 0"),
        (np.full((2, 8, 8), np.nan), DataError, "not finite"),
        (np.zeros((8, 8)), ShapeError, "images of shape"),
        (galaxies(1), DataError, "know no 20 axes"),
        (galaxies(30)[:, :6], ShapeError, "square"),
    ),
)
def test_what_cannot_be_learnt_from_is_named(bad, error, match):
    with pytest.raises(error, match=match):
        GaussianImages.of(bad, rank=20)


def test_a_scene_with_it_is_saved_and_comes_back(base, tmp_path):
    prior = GaussianImagePrior(base)
    light = ss.FreeSpectrum(400.0, ("hsc_g",)) * ss.Pixels(Parameter(np.asarray(prior.mean), prior), 0.1)
    blank = ss.Observation(
        np.zeros((1, 20, 20)), ("hsc_g",), ss.PSF.gaussian(fwhm=2.5), sigma=1.0, pixel_scale=0.1, name="o"
    )
    made = ss.Scene({name: ss.Source((0.0, 0.0), light) for name in "ab"}, ss.Frame.covering(blank))
    ss.save_scene(made, tmp_path / "scene.zip")
    back = ss.load_scene(tmp_path / "scene.zip")
    priors = [back.parameters[f"{name}.morphology.image"].prior for name in "ab"]
    assert priors[0].base is priors[1].base
    image = np.asarray(prior.sample(jax.random.key(4)))
    assert float(priors[0].log_prob(image)) == pytest.approx(float(prior.log_prob(image)), abs=1e-3)
    assert "GaussianImagePrior" in prior_text(priors[0])
