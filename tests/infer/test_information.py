"""The share of what is known of an image that is its prior's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scarlet_sed.errors import ParameterError
from scarlet_sed.infer.information import image_information
from scarlet_sed.infer.posterior import LogPosterior

PATH = "a.morphology.image"


def jacobian(function, at):
    found = np.asarray(jax.jacfwd(function)(jnp.asarray(at)), float)
    return found.reshape(-1, at.size)


def through(spot):
    """(n, n) matrix that spreads the light of each pixel."""
    away = np.arange(12)[:, None] - np.arange(12)
    weights = np.exp(-0.5 * (away / spot) ** 2)
    weights /= weights.sum(axis=0).max()
    return np.kron(weights, weights)


@pytest.mark.parametrize("spot", [0.0, 1.5])
def test_it_is_exact_for_a_normal_distribution(two_images, spot):
    """Against the inverse of the covariance of the coordinates, and the derivative of the whitened residuals."""
    found = image_information(two_images, spot=spot, probes=4096)[PATH]
    posterior = two_images.posterior
    program, place = posterior.program, posterior.places[PATH]
    image = two_images.values[place.family][place.row]
    base = two_images.scene.parameters[PATH].prior.base
    numbers = base.coordinates.inv(image)
    spread = jacobian(base.numbers, base.white(numbers))
    slopes = jacobian(lambda x: base.coordinates.inv(x / jnp.sum(x)), image)
    prior = slopes.T @ np.linalg.solve(spread @ spread.T, slopes)

    def residuals(x):
        values = list(two_images.values)
        values[place.family] = values[place.family].at[place.row].set(x)
        return program.whitened_residuals(tuple(values))[0]

    of_data = jacobian(residuals, image)
    spots = (np.eye(144) if spot == 0 else through(spot)) * np.ravel(image)
    # 4,096 probes know a variance to 2 %, and the worst of 144 to 7 %
    for known, matrix in ((found.prior, prior), (found.data, of_data.T @ of_data)):
        exact = np.diag(spots @ matrix @ spots.T).reshape(12, 12)
        np.testing.assert_allclose(known, exact, rtol=0.1)
        assert np.mean(known / exact) == pytest.approx(1, abs=0.03)
    np.testing.assert_allclose(found.excess, found.prior - found.data)
    np.testing.assert_allclose(found.share, found.prior / (found.prior + found.data))


def test_what_is_masked_is_the_priors(two_images):
    (seen,) = two_images.observations
    mask = np.zeros(seen.shape, bool)
    # "a" lies at columns 11 to 22
    mask[:, :, 16:] = True
    masked = LogPosterior(two_images.scene, seen.with_mask(mask))
    whole = image_information(two_images)[PATH]
    part = image_information(two_images._replace(posterior=masked, values=masked.start))[PATH]
    np.testing.assert_allclose(part.prior, whole.prior, rtol=1e-5)
    seen, hidden = np.s_[:, :2], np.s_[:, 10:]
    assert part.share[hidden].min() > 0.99
    np.testing.assert_allclose(part.share[seen], whole.share[seen], rtol=0.1)
    assert part.share_of_light > whole.share_of_light


def test_brighter_galaxies_need_less_of_it(two_images):
    brighter = tuple(10 * v if v.ndim == 2 else v for v in two_images.values)
    faint = image_information(two_images)[PATH]
    bright = image_information(two_images._replace(values=brighter))[PATH]
    np.testing.assert_allclose(bright.data, 100 * faint.data, rtol=1e-4)
    assert 0 < bright.share_of_light < faint.share_of_light < 1


def test_images_without_a_learnt_prior_have_none(two_images):
    fixed = two_images.scene.freeze("*.morphology.image")
    posterior = LogPosterior(fixed, two_images.observations)
    assert image_information(two_images._replace(posterior=posterior, values=posterior.start)) == {}
    with pytest.raises(ParameterError, match="a spot of -1 pixels"):
        image_information(two_images, spot=-1)
