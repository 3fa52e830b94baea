"""Scenes as NumPyro models: the same density, and what NumPyro's own sampler makes of it."""

import jax
import numpy as np
import numpyro.distributions as dist
import pytest
from numpyro.infer import MCMC, NUTS
from numpyro.infer.util import log_density, potential_energy

import scarlet_sed as ss
from scarlet_sed.constraints import image_simplex
from scarlet_sed.errors import ParameterError
from tests.infer.sampling.toys import linear_toy


@pytest.mark.parametrize("prior", [dist.Normal(np.zeros(2), 12.0), dist.Normal(0.0, 12.0)], ids=["each", "one for all"])
def test_the_numpyro_model_is_the_same_density(rng, prior):
    toy = linear_toy()
    scene = toy.scene.free("*.flux", prior)
    posterior = ss.LogPosterior(scene, toy.observation)
    model = ss.numpyro_model(scene, toy.observation)
    values = {path: np.asarray(posterior.unpack(posterior.start)[path]) for path in posterior.paths}
    changed = {path: v + rng.normal(size=v.shape).astype(v.dtype) * 0.01 for path, v in values.items()}
    densities = [float(log_density(model, (), {}, v)[0]) for v in (values, changed)]
    expected = [float(posterior.log_prob(posterior.pack(v))) for v in (values, changed)]
    np.testing.assert_allclose(np.diff(densities), np.diff(expected), atol=2e-2)
    given = {"a.spectrum.flux": values["a.spectrum.flux"]}
    rest = {path: v for path, v in values.items() if path not in given}
    density, trace = log_density(model, (given,), {}, rest)
    assert "a.spectrum.flux" not in trace and float(density) > densities[0]
    with pytest.raises(ParameterError, match=r"c\.redshift"):
        log_density(model, ({"c.redshift": 1.0},), {}, rest)
    with pytest.raises(ParameterError, match=r"has the shape \(2,\)"):
        log_density(model, ({"a.spectrum.flux": 1.0},), {}, rest)


IMAGE = (3, 5)


def _free_image() -> tuple[ss.Scene, ss.Observation]:
    """A free image that is not square, with a free flux, in one band."""
    blank = ss.Observation(
        np.zeros((1, 16, 16)), ("F150W",), ss.PSF.gaussian(2.5), sigma=0.05, pixel_scale=0.03, name="nircam"
    )
    image = np.full(IMAGE, 1 / np.prod(IMAGE))
    flux = ss.Parameter(np.array([10.0]), dist.Normal(np.array([10.0]), 3.0))
    light = ss.FreeSpectrum(flux, ("F150W",)) * ss.Pixels(ss.Parameter(image, ss.SmoothImage(IMAGE, 0.5)), 0.03)
    scene = ss.Scene({"g": ss.Source((0.0, 0.0), light)}, ss.Frame.covering(blank))
    return scene, blank.with_data(np.asarray(ss.render(scene, blank)))


def test_the_potential_of_a_free_image_is_ours(x64, rng):
    scene, observation = _free_image()
    posterior, model = ss.LogPosterior(scene, observation), ss.numpyro_model(scene, observation)
    start = posterior.unconstrain(posterior.start)
    theirs, ours = [], []
    for scale in (0.0, 0.3, 1.0):
        moved = tuple(u + scale * rng.normal(size=u.shape) for u in start)
        own = {path: moved[place.family][place.row] for path, place in posterior.places.items()}
        theirs.append(float(potential_energy(model, (), {}, own)))
        ours.append(-float(posterior.log_density(moved)))
    np.testing.assert_allclose(np.diff(theirs), np.diff(ours), rtol=1e-9)


def test_numpyros_own_sampler_draws_free_images():
    scene, observation = _free_image()
    sampler = MCMC(NUTS(ss.numpyro_model(scene, observation)), num_warmup=10, num_samples=5, progress_bar=False)
    sampler.run(jax.random.PRNGKey(0))
    drawn = sampler.get_samples()
    assert drawn["g.morphology.image"].shape == (5, *IMAGE)
    assert np.all(np.asarray(image_simplex(drawn["g.morphology.image"])))
    assert len(np.unique(drawn["g.spectrum.flux"])) > 1


def test_images_of_unknown_size_have_no_bijection():
    with pytest.raises(ParameterError, match="how large"):
        dist.biject_to(image_simplex)
