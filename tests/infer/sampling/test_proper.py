"""Weak priors in place of flat ones: of the right support, wide, and never in silence."""

import numpy as np
import numpyro.distributions as dist
import pytest
from numpyro.distributions import constraints

import scarlet_sed as ss
from scarlet_sed.errors import ImproperPriorError
from scarlet_sed.infer.sampling.prior_text import prior_text
from scarlet_sed.infer.sampling.proper import with_proper_priors
from tests.infer.sampling.toys import FLUXES, SIGMA, linear_toy


def flat() -> tuple[ss.Scene, ss.Observation]:
    """A scene and an observation with flat priors of many kinds, and proper ones beside them."""
    toy = linear_toy()
    scene = toy.scene.free("a.spectrum.flux", constraints.real).free("b.spectrum.flux", constraints.greater_than(-2.0))
    scene = scene.free("*.radius", constraints.positive).free("a.*.ellipticity", ss.ellipse)
    scene = scene.free("*.position", constraints.real).set({"a.redshift": 1.0})
    scene = scene.free("a.redshift", constraints.interval(0.5, 12.0))
    noise = ss.StudentT(ss.Parameter(4.0, constraints.greater_than(2.0)))
    return scene, toy.observation.free("sky", constraints.real).with_noise(noise)


def test_every_flat_prior_gives_way_to_a_wide_density_with_the_same_support():
    scene, observation = flat()
    before = ss.LogPosterior(scene, observation).parameters
    found = with_proper_priors(scene, [observation])
    posterior = ss.LogPosterior(found.scene, found.observations)
    posterior.require_proper_priors()
    assert np.isfinite(float(posterior.log_prob(posterior.start)))
    assert {each.path for each in found.replaced} == {
        p for p, leaf in before.items() if prior_text(leaf.prior) == "flat"
    }
    for path, leaf in posterior.parameters.items():
        np.testing.assert_array_equal(leaf.value, before[path].value)
        for tried in (-3.0, -1.0, 0.7, 15.0):
            value = np.full(leaf.value.shape, tried)
            assert bool(np.all(leaf.prior.support(value))) == bool(np.all(before[path].prior.support(value))), path


def test_widths_follow_from_the_fit_and_from_the_noise():
    scene, observation = flat()
    found = with_proper_priors(scene, [observation])
    said = {each.path: each for each in found.replaced}
    priors = {**found.scene.parameters, **{f"nircam.{p}": v for p, v in found.observations[0].parameters.items()}}
    flux = priors["a.spectrum.flux"].prior
    # 30 times the noise of a point under the wider PSF, 2.5 pixels, and 10 times the brighter band
    expected = 10 * max(FLUXES["a"]) + 30 * SIGMA * np.sqrt(4 * np.pi) * 2.5 / 2.355
    np.testing.assert_allclose(flux.scale, expected, rtol=0.01)
    assert np.all(flux.loc == 0) and said["a.spectrum.flux"].prior == f"Normal(0, {expected:.4g})"
    np.testing.assert_allclose(priors["nircam.sky"].prior.scale, SIGMA, rtol=1e-5)
    np.testing.assert_allclose(priors["a.position"].prior.scale, 3 * 2.0 * 0.03, rtol=0.01)
    assert said["a.redshift"].prior == "Uniform(0.5, 12)" and "flat" in said["a.redshift"].why
    assert said["nircam.noise.dof"].prior == "Normal(4, 12) above 2"
    # the prior of a flux that is well measured moves it by next to nothing
    assert 1.0 / expected < 0.005


def test_what_has_a_density_is_left_alone():
    toy = linear_toy()
    found = with_proper_priors(toy.scene, [toy.observation])
    assert found.scene is toy.scene and found.observations == (toy.observation,) and not found.replaced


def test_free_images_get_a_smoothness_prior():
    toy = linear_toy()
    image = ss.Pixels.from_image(np.ones((5, 7)), 0.03)
    scene = toy.scene.with_sources({"p": ss.Source((0.0, 0.0), ss.FreeSpectrum(1.0, toy.observation.bands) * image)})
    (replaced,) = with_proper_priors(scene, [toy.observation]).replaced
    assert replaced.path == "p.morphology.image" and replaced.prior == "SmoothImage(1)"


def test_a_support_without_a_rule_is_named():
    toy = linear_toy()
    scene = toy.scene.set({"a.spectrum.flux": [1.0, 2.0]}).free("a.spectrum.flux", constraints.ordered_vector)
    with pytest.raises(ImproperPriorError, match=r"a\.spectrum\.flux.*freeze it"):
        with_proper_priors(scene, [toy.observation])


@pytest.mark.parametrize(
    ("prior", "index", "text"),
    [
        (dist.TruncatedNormal(np.zeros(2), np.array([3.0, 4.0]), low=-5.0), (1,), "Normal(0, 4) above -5"),
        (dist.TruncatedNormal(0.0, 1.0, low=0.0, high=2.0), (), "Normal(0, 1) from 0 to 2"),
        (dist.TruncatedNormal(0.0, 1.0, high=2.0), (), "Normal(0, 1) below 2"),
        (dist.Normal(np.array([1.0, 2.0]), 3.0), (), "Normal(1...2, 3)"),
        (dist.Normal(np.array([1.0, 2.0]), 3.0).to_event(1), (0,), "Normal(1, 3)"),
        (dist.Uniform(0.0, 12.0).expand([3]), (2,), "Uniform(0, 12)"),
        (ss.EllipticityPrior(0.3), (1,), "EllipticityPrior(0.3)"),
        (ss.SmoothImage((4, 5), 0.5), (1, 2), "SmoothImage(0.5)"),
        (dist.ImproperUniform(constraints.real, (), ()), (), "flat"),
    ],
)
def test_priors_in_words(prior, index, text):
    assert prior_text(prior, index) == text
