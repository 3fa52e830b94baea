"""Fluxes and sky integrated out: against the dense formula, and against sampling everything."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import scarlet_sed as ss
from scarlet_sed.errors import ParameterError
from scarlet_sed.infer.compiled import Compiled
from scarlet_sed.infer.posterior import constrain
from scarlet_sed.infer.sampling.marginal import linear_of, marginal_target_at, without_linear
from scarlet_sed.infer.sampling.target import maximum_at
from scarlet_sed.typing import Array
from tests.infer import scenes
from tests.infer.sampling.toys import linear_toy

_values = Compiled(lambda target, whitened: target.values(whitened), level=0)


def _blend() -> ss.LogPosterior:
    """Three galaxies with normal priors on their fluxes and on the sky, in correlated noise."""
    observation, frame = scenes.mock()
    free = scenes.scene(frame, free=True).free("*.flux", dist.Normal(np.zeros(3), 100.0))
    lag = np.exp(-0.5 * np.hypot(*np.mgrid[-2:3, -2:3]) ** 2 / 0.3)
    noisy = observation.with_noise(ss.CorrelatedNoise(np.stack([lag] * 3), (48, 48), fill_steps=1))
    return ss.LogPosterior(free, noisy.free("sky", dist.Normal(0.0, 0.05)))


def test_the_potential_is_the_integral_and_its_gradient_is_right(rng):
    """With the whole design matrix: log-density at the maximum over the linear numbers, less half log det A."""
    with jax.enable_x64(True):
        posterior = _blend()
        linear = linear_of(posterior)
        assert linear.size == 3 * 3 + 3
        coordinates = without_linear(maximum_at(posterior, posterior.start, 1).coordinates, linear)
        target = marginal_target_at(posterior.program, coordinates, linear)
        value_and_slope = jax.jit(jax.value_and_grad(target.potential))

        def density(own: Array, q: Array) -> Array:
            return posterior.log_density(linear.put(coordinates.unconstrained(q)[0], own))

        # a quadratic: its value, its gradient and its Hessian at zero say everything
        at_once = Compiled(lambda *x: (density(*x), jax.grad(density)(*x), jax.hessian(density)(*x)), level=0)

        def dense(q: np.ndarray) -> float:
            constant, slope, hessian = (np.asarray(found) for found in at_once(np.zeros(linear.size), q))
            best = np.linalg.solve(-hessian, slope)
            highest = constant + slope @ best + 0.5 * best @ hessian @ best
            return -float(highest) + 0.5 * np.linalg.slogdet(-hessian)[1]

        places = [0.7 * rng.normal(size=coordinates.size) for _ in range(2)]
        at_zero = dense(np.zeros(coordinates.size))
        for q in places:
            value, slope = value_and_slope(q)
            assert float(value) == pytest.approx(dense(q) - at_zero, abs=1e-5)
            direction = rng.normal(size=coordinates.size)
            above, below = (float(value_and_slope(q + sign * 1e-4 * direction)[0]) for sign in (1, -1))
            assert float(slope @ direction) == pytest.approx((above - below) / 2e-4, rel=1e-5, abs=1e-5)
        # numbers drawn back have the conditional mean, and leave the others alone
        values = _values(target, np.concatenate([places[0], np.zeros(linear.size)]))
        plain = constrain(posterior.program, coordinates.unconstrained(places[0])[0])
        for path in posterior.paths:
            place = posterior.places[path]
            same = np.allclose(values[place.family][place.row], plain[place.family][place.row], rtol=1e-12)
            assert same == (not path.endswith((".flux", ".sky")))


def test_bands_are_found_under_any_of_their_names():
    observation, frame = scenes.mock()
    flux = ss.Parameter(np.ones(3), dist.Normal(np.zeros(3), 100.0))
    other = ss.FreeSpectrum(flux, ("jwst_f200w", "jwst_f150w", "jwst_f115w")) * ss.Gaussian(dist.LogNormal(-2.0, 0.3))
    linear = linear_of(ss.LogPosterior(ss.Scene({"g": ss.Source((0.0, 0.0), other)}, frame), observation))
    np.testing.assert_array_equal(linear.shown[0][:, 0], (2, 1, 0))


def test_what_others_are_tied_to_is_sampled():
    observation, frame = scenes.mock()
    free = scenes.scene(frame, free=True).free("*.flux", dist.Normal(np.zeros(3), 100.0))
    tied = free.tie("b.spectrum.flux", to="a.spectrum.flux")
    linear = linear_of(ss.LogPosterior(tied, observation))
    assert linear.size == 3  # the flux of c alone


def test_faint_light_beside_a_bright_star_is_known_as_well_in_float32():
    def moments(precise: bool) -> tuple[np.ndarray, np.ndarray]:
        with jax.enable_x64(precise):
            bands, psf = ("F115W",), ss.PSF.gaussian(2.4)
            blank = ss.Observation(np.zeros((1, 96, 96)), bands, psf, sigma=1.0, pixel_scale=0.03, name="o")
            frame = ss.Frame.covering(blank)
            flux = ss.Parameter(np.array([100.0]), dist.Normal(np.zeros(1), 1000.0))
            shape = ss.Gaussian(ss.Parameter(0.1, dist.LogNormal(-2.3, 0.3)))
            star = ss.Source((1.0, 1.0), ss.FreeSpectrum((1e6,), bands) * ss.Point())
            scene = ss.Scene({"g": ss.Source((-0.5, -0.5), ss.FreeSpectrum(flux, bands) * shape), "star": star}, frame)
            data = np.asarray(ss.render(scene, blank), float) + np.random.default_rng(0).normal(size=blank.shape)
            posterior = ss.LogPosterior(scene, blank.with_data(data))
            linear = linear_of(posterior)
            coordinates = without_linear(maximum_at(posterior, posterior.start, 0).coordinates, linear)
            target = marginal_target_at(posterior.program, coordinates, linear)
            family = posterior.places["g.spectrum.flux"].family
            draws = [_values(target, jnp.array([0.0, z]))[family] for z in (0.0, 1.0)]
            return np.ravel(draws[0]), np.ravel(draws[1]) - np.ravel(draws[0])

    (mean, spread), (exact, width) = moments(precise=False), moments(precise=True)
    np.testing.assert_allclose(mean, exact, atol=0.1 * width[0])
    np.testing.assert_allclose(spread, width, rtol=0.01)


@pytest.mark.optimized
def test_draws_are_those_of_sampling_everything():
    observation, frame = scenes.mock(shape=(32, 32))
    names = ("a", "b")
    free = scenes.scene(frame, free=True, names=names).free("*.flux", dist.Normal(np.zeros(3), 100.0))
    fitted = ss.fit(free, observation, uncertainties=False, progress=False)
    whole = ss.sample(fitted, warmup=200, draws=600, progress=False)
    part = ss.sample(fitted, warmup=200, draws=600, marginalize=True, progress=False)
    assert whole.diagnosis is not None and part.diagnosis is not None
    assert whole.diagnosis.worst_rhat < 1.02 and part.diagnosis.worst_rhat < 1.02
    for path in whole.draws:
        a, b = (r.draws[path].reshape(2400, -1).astype(float) for r in (whole, part))
        error = np.sqrt(sum(v.var(0) / np.ravel(r.diagnosis.bulk[path]) for v, r in ((a, whole), (b, part))))
        assert np.all(np.abs(a.mean(0) - b.mean(0)) < 4.5 * error), path
        np.testing.assert_allclose(b.std(0), a.std(0), rtol=0.12)


def test_what_cannot_be_integrated_out_is_a_typed_error():
    toy = linear_toy()
    with pytest.raises(ParameterError, match="nothing is left"):
        ss.sample(toy.scene, toy.observation, marginalize=True)
    observation, frame = scenes.mock()
    positive = scenes.scene(frame, free=True).free("*.flux", dist.LogNormal(np.zeros(3), 3.0))
    with pytest.raises(ParameterError, match="no flux"):
        ss.sample(positive, observation, marginalize=True)
    normal = scenes.scene(frame, free=True).free("*.flux", dist.Normal(np.zeros(3), 100.0))
    with pytest.raises(ParameterError, match="StudentT"):
        ss.sample(normal, observation.with_noise(ss.StudentT(4.0)), marginalize=True)
