"""Noise models against scipy, and the noise estimate against noise that was made."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage, stats

from scarlet_sed.errors import DataError, ShapeError
from scarlet_sed.instrument.correlated import CorrelatedNoise
from scarlet_sed.instrument.noise import GaussianNoise, Noise, StudentT
from scarlet_sed.instrument.noise_estimate import estimate_noise

KERNEL = np.array([[0.1, 0.3, 0.1], [0.3, 1.0, 0.3], [0.1, 0.3, 0.1]])
KERNEL /= np.sqrt(np.sum(KERNEL**2))


def correlated_field(rng, shape, *, scale=1.0):
    big = rng.normal(size=(shape[0] + 8, shape[1] + 8))
    return scale * ndimage.convolve(big, KERNEL)[4:-4, 4:-4]


def true_covariance(lags=2, bands=1):
    padded = np.pad(KERNEL, lags)
    lag = [ndimage.shift(padded, (y, x), order=0) for y in range(-lags, lags + 1) for x in range(-lags, lags + 1)]
    one = np.array([np.sum(padded * moved) for moved in lag]).reshape(2 * lags + 1, 2 * lags + 1)
    return np.repeat(one[None], bands, axis=0)


def some_residual(rng, shape=(2, 11, 14)):
    weights = rng.uniform(0.2, 3.0, shape)
    weights[0, 3, 4] = weights[1, 5:7, 9] = weights[:, 0, 0] = 0.0
    return rng.normal(size=shape) / np.sqrt(np.maximum(weights, 0.1)), weights


CHI2 = jax.jit(lambda noise, residual, weights: noise.chi2(residual, weights))

MODELS = {
    "gaussian": GaussianNoise,
    "student": lambda: StudentT(4.0),
    "correlated": lambda: CorrelatedNoise(true_covariance(bands=2), (11, 14), fill_steps=8),
}


@pytest.mark.usefixtures("x64")
def test_gaussian_is_scipys(rng):
    residual, weights = some_residual(rng)
    used = weights > 0
    truth = stats.norm.logpdf(residual[used], scale=weights[used] ** -0.5).sum()
    assert GaussianNoise().log_likelihood(residual, weights) == pytest.approx(truth, rel=1e-12)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("dof", [2.5, 4.0, 100.0])
def test_student_is_scipys(rng, dof):
    residual, weights = some_residual(rng)
    used = weights > 0
    truth = stats.t.logpdf(residual[used], dof, scale=weights[used] ** -0.5).sum()
    assert StudentT(dof).log_likelihood(residual, weights) == pytest.approx(truth, rel=1e-12)


@pytest.mark.usefixtures("x64")
def test_student_whitening_is_its_fisher_information():
    # the second derivative of the log-density, averaged over the density itself, by quadrature
    dof, grid = 5.0, np.linspace(-200, 200, 400001)
    density = stats.t.pdf(grid, dof)
    score = -(dof + 1) * grid / (dof + grid**2)
    fisher = np.sum(score**2 * density) * (grid[1] - grid[0])
    one = jnp.ones((1, 1, 1))
    assert float(StudentT(dof).whiten(one, one)[0, 0, 0] ** 2) == pytest.approx(fisher, rel=1e-6)


@pytest.mark.usefixtures("x64")
def test_correlated_is_the_exact_likelihood_of_the_unmasked_pixels(rng):
    covariance = true_covariance()
    shape = (1, 16, 18)
    residual, weights = correlated_field(rng, shape[1:])[None], np.ones(shape)
    weights[0, 4:7, 5:9] = weights[0, 12, :3] = 0.0
    residual, weights = residual * 0.5, weights * 4.0
    used = np.argwhere(weights[0] > 0)
    lag = used[:, None] - used[None]
    near = np.all(np.abs(lag) <= 2, axis=-1)
    dense = np.zeros(near.shape)
    dense[near] = covariance[0][tuple((lag[near] + 2).T)]
    r = residual[0][weights[0] > 0] * 2.0
    chi2 = r @ np.linalg.solve(dense, r)
    errors = []
    for steps in (0, 4, 12, 60):
        noise = CorrelatedNoise(covariance, shape[1:], fill_steps=steps)
        errors.append(float(CHI2(noise, residual, weights)[0]) / chi2 - 1)
    assert errors[0] > errors[1] > errors[2] > 0
    assert errors[3] == pytest.approx(0, abs=1e-6)
    exact = stats.multivariate_normal.logpdf(r, cov=dense) + 0.5 * np.sum(np.log(weights[weights > 0]))
    # the determinant is of leading order: its error grows with the edge, not the area
    assert float(noise.log_likelihood(residual, weights)) == pytest.approx(exact, abs=0.08 * r.size)


def test_correlated_whitens(rng):
    # the average of chi-square is the number of unmasked pixels, that of the Gaussian model too; its scatter differs
    noise = CorrelatedNoise(true_covariance(), (96, 96), fill_steps=8)
    weights = np.ones((1, 96, 96), np.float32)
    weights[0, 30:40, 30:50] = 0
    fields = jnp.asarray([[correlated_field(rng, (96, 96))] for _ in range(40)], jnp.float32)
    chi2 = np.asarray(jax.vmap(lambda r: noise.chi2(r, weights)[0])(fields))
    count = weights.sum()
    assert abs(chi2.mean() / count - 1) < 0.005
    assert chi2.std() / np.sqrt(2 * count) == pytest.approx(1, abs=0.35)
    white = np.asarray(noise.whiten(fields[0], weights))[0]
    assert abs(np.mean(white[5:25, 5:90] * white[5:25, 6:91])) < 0.1


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.usefixtures("x64")
class TestEveryModel:
    def test_masked_pixels_do_not_count(self, rng, name):
        noise = MODELS[name]()
        residual, weights = some_residual(rng)
        changed = np.where(weights > 0, residual, 1e6)
        assert noise.log_likelihood(changed, weights) == pytest.approx(float(noise.log_likelihood(residual, weights)))

    def test_whitening_is_linear_and_squares_to_chi2(self, rng, name):
        noise = MODELS[name]()
        residual, weights = some_residual(rng)
        other, _ = some_residual(rng)
        both = noise.whiten(2 * residual + other, weights)
        np.testing.assert_allclose(both, 2 * noise.whiten(residual, weights) + noise.whiten(other, weights), atol=1e-9)
        if name != "student":
            np.testing.assert_allclose(
                jnp.sum(noise.whiten(residual, weights) ** 2, axis=(1, 2)), noise.chi2(residual, weights)
            )

    def test_derivatives_of_every_kind(self, rng, name):
        noise: Noise = MODELS[name]()
        residual, weights = some_residual(rng)
        direction = rng.normal(size=residual.shape)

        def along(t):
            return noise.log_likelihood(residual + t * direction, weights)

        at = jnp.array([0.0, 1e-5, -1e-5])
        value, forward, reverse, second = jax.jit(
            jax.vmap(lambda t: (along(t), jax.jacfwd(along)(t), jax.grad(along)(t), jax.hessian(along)(t)))
        )(at)
        numeric = float(value[1] - value[2]) / 2e-5
        assert forward[0] == pytest.approx(numeric, rel=1e-6)
        assert reverse[0] == pytest.approx(numeric, rel=1e-6)
        assert second[0] == pytest.approx(float(reverse[1] - reverse[2]) / 2e-5, rel=1e-5)

    def test_zero_weights_give_finite_gradients(self, name):
        noise = MODELS[name]()
        gradient = jax.grad(noise.log_likelihood)(jnp.ones((2, 11, 14)), jnp.zeros((2, 11, 14)))
        assert np.all(np.isfinite(gradient))


def test_correlation_is_recovered_from_blank_sky(rng):
    data = np.stack([correlated_field(rng, (200, 220)), correlated_field(rng, (200, 220), scale=0.1)])
    blank = np.ones(data.shape, bool)
    blank[:, 50:90, 60:100] = False
    data[:, 60:80, 70:90] += 100
    noise = CorrelatedNoise.estimate(data, blank, weights=np.full(data.shape, 4.0) * np.array([1, 100])[:, None, None])
    middle = np.asarray(noise.correlation)[:, 4:9, 4:9]
    np.testing.assert_allclose(middle, 4 * true_covariance(bands=2), atol=0.1)
    shape_only = CorrelatedNoise.estimate(data, blank)
    np.testing.assert_allclose(np.asarray(shape_only.correlation)[:, 6, 6], 1.0, rtol=1e-6)
    assert shape_only.for_shape((2, 30, 40)).shape == (30, 40)


def test_far_correlations_are_found_without_the_scatter_of_single_lags(rng):
    """A faint smooth pattern of 10 pixels under drizzled noise: its power is found, and no mode falls to the floor."""
    smooth = ndimage.gaussian_filter(rng.normal(size=(400, 420)), 5.0, mode="wrap")
    data = (correlated_field(rng, (400, 420)) + 0.2 * smooth / smooth.std())[None]
    noise = CorrelatedNoise.estimate(data, np.ones(data.shape, bool), weights=np.ones(data.shape), lags=32)
    power = np.asarray(noise.power)[0]
    truth = np.sum(true_covariance()) + 0.2**2 * 4 * np.pi * 5.0**2
    assert power[0, 0] == pytest.approx(truth, rel=0.25)
    transform = np.abs(np.fft.rfft2(KERNEL, s=noise.canvas)) ** 2
    far = np.hypot(*np.meshgrid(np.fft.fftfreq(noise.canvas[0]), np.fft.rfftfreq(noise.canvas[1]), indexing="ij")) > 0.1
    assert np.max(np.abs(power - transform)[far]) < 0.15 * transform.max()
    assert power.min() > 0.5 * transform.min()


def blends(rng, shape, count):
    y, x = np.mgrid[: shape[0], : shape[1]]
    image = np.zeros(shape)
    for _ in range(count):
        cy, cx, flux = rng.uniform(0, shape[0]), rng.uniform(0, shape[1]), 10 ** rng.uniform(1, 4)
        image += flux / (2 * np.pi * 9) * np.exp(-0.5 * ((x - cx) ** 2 + (y - cy) ** 2) / 9)
    return image


def test_estimate_sees_through_sources(rng):
    shape, sigma, gain, sky = (300, 300), 0.5, 0.2, 3.0
    truth = blends(rng, shape, 40)
    variance = sigma**2 + gain * truth
    data = sky + truth + correlated_field(rng, shape) * np.sqrt(variance)
    lag1 = true_covariance()[0, 2, 3]
    for extra in ({"variance": variance}, {"model": truth}):
        found = estimate_noise(data, **extra)
        assert found.sigma[0] == pytest.approx(sigma, rel=0.03)
        assert found.sky[0] == pytest.approx(sky, abs=0.1 * sigma)
        assert found.lag1[0] == pytest.approx(lag1, abs=0.03)
        assert found.gain[0] == pytest.approx(gain, rel=0.2)
        off = np.abs(found.variance(truth[None])[0] / variance - 1)
        assert np.median(off) < 0.06
        assert np.quantile(off, 0.99) < 0.25
    assert estimate_noise(data).gain[0] == 0


def test_estimate_follows_steps_of_the_exposure_time(rng):
    sigma = np.full((240, 240), 0.5)
    sigma[:100, 60:] = 1.0
    data = sigma * correlated_field(rng, sigma.shape)
    inner = ndimage.minimum_filter(sigma, 25) == ndimage.maximum_filter(sigma, 25)
    blind = estimate_noise(data).sky_sigma[0]
    assert np.quantile(np.abs(blind / sigma - 1)[inner], 0.98) < 0.15
    # a noise map wrong by a factor brings the edges
    guided = estimate_noise(data, variance=(3 * sigma) ** 2).sky_sigma[0]
    assert np.quantile(np.abs(guided / sigma - 1), 0.98) < 0.12
    # a map that explains nothing is not believed
    misled = estimate_noise(data, variance=(3 * sigma.T) ** 2).sky_sigma[0]
    np.testing.assert_allclose(misled, blind)


def test_estimate_of_pure_noise_and_of_masked_pixels(rng):
    data = rng.normal(size=(2, 150, 150)) * np.array([1.0, 20.0])[:, None, None]
    data[0, :40] = np.nan
    found = estimate_noise(data, np.isnan(data))
    np.testing.assert_allclose(found.sigma, [1, 20], rtol=0.03)
    np.testing.assert_allclose(found.lag1, 0, atol=0.03)
    assert found.blank[0, :40].sum() == 0
    assert found.blank.mean() > 0.7


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: estimate_noise(np.full((20, 20), np.nan)), DataError, "not masked"),
        (lambda: estimate_noise(np.ones((20, 20))), DataError, "no scatter"),
        (lambda: estimate_noise(np.ones((20, 20)), np.ones((20, 20))), DataError, "only 0 pixels"),
        (lambda: CorrelatedNoise(np.ones((5, 5)), (20, 20)), ShapeError, "correlation of shape"),
        (lambda: CorrelatedNoise(np.ones((1, 4, 4)), (20, 20)), ShapeError, "correlation of shape"),
        (lambda: CorrelatedNoise(true_covariance(), (4, 20)), ShapeError, "fewer lags"),
        (lambda: CorrelatedNoise(-true_covariance(), (20, 20)), DataError, "lag zero"),
        (lambda: CorrelatedNoise(true_covariance(), (20, 20)).for_shape((2, 20, 20)), ShapeError, "1 bands"),
        (lambda: CorrelatedNoise.estimate(np.ones((1, 20, 20)), np.zeros((20, 20))), DataError, "blank sky"),
    ],
)
def test_bad_noise(make, error, message):
    with pytest.raises(error, match=message):
        make()
