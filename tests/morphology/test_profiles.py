"""Point, Gaussian, Sersic, Exponential: flux, shape, size, smoothness, and what they refuse."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from jax.test_util import check_grads

from scarlet_sed.errors import DomainError, UnitError
from scarlet_sed.morphology.base import Morphology, PixelGrid
from scarlet_sed.morphology.gaussian import Gaussian
from scarlet_sed.morphology.mixture import oversampled
from scarlet_sed.morphology.point import Point
from scarlet_sed.morphology.sersic import Exponential, Sersic
from scarlet_sed.morphology.sersic_mixture import sersic_mixture
from scarlet_sed.morphology.shape import axis_ratio, circularised, ellipticity, position_angle, semi_major
from scarlet_sed.parameters import Parameter, parameter

SCALE = 0.015
PROFILES = [
    Point(),
    Gaussian(0.05, (0.2, -0.1)),
    Exponential(0.05, (0.2, -0.1)),
    Sersic(0.05, 0.5, (0.0, 0.3)),
    Sersic(0.05, 1.7, (0.3, 0.1)),
]


def make_grid(shape=(81, 91), centre=(45.3, 39.8), psf_sigma=0.9):
    matrix = jnp.diag(jnp.array([-1.0, 1.0])) / SCALE
    return PixelGrid(
        jnp.arange(1.0 * shape[1]) - centre[0], jnp.arange(1.0 * shape[0]) - centre[1], matrix, jnp.asarray(psf_sigma)
    )


def covariance(image, grid):
    x, y, total = np.asarray(grid.x), np.asarray(grid.y), image.sum()
    xx, yy = (image.sum(0) * x**2).sum(), (image.sum(1) * y**2).sum()
    return np.array([[xx, (y @ image @ x)], [y @ image @ x, yy]]) / total


@pytest.mark.parametrize("profile", PROFILES, ids=lambda p: type(p).__name__)
def test_unit_flux_centred(profile):
    grid = make_grid()
    image = np.asarray(profile(grid), dtype=float)
    assert image.shape == grid.shape
    assert abs(image.sum() - 1) < 2e-3
    assert np.all(image > -1e-8)
    assert abs(image.sum(0) @ np.asarray(grid.x)) < 2e-3
    assert abs(image.sum(1) @ np.asarray(grid.y)) < 2e-3


def test_gaussian_is_exact():
    with jax.enable_x64(True):
        grid, shape = make_grid(), ellipticity(0.4, 30.0)
        image = np.asarray(Gaussian(0.06, shape)(grid))
        sigma = 0.06 / SCALE / np.sqrt(2 * np.log(2))
        along, across = sigma / np.sqrt(0.4), sigma * np.sqrt(0.4)
        # 30 degrees east of north, east towards -x
        major = np.array([-np.sin(np.pi / 6), np.cos(np.pi / 6)])
        minor = np.array([np.cos(np.pi / 6), np.sin(np.pi / 6)])
        expected = along**2 * np.outer(major, major) + across**2 * np.outer(minor, minor) + 0.81 * np.eye(2)
        np.testing.assert_allclose(covariance(image, grid), expected, rtol=1e-6)


def test_half_light():
    """Half of the flux lies within the circularised radius, for a PSF much smaller than that."""
    grid = make_grid((401, 401), (200.0, 200.0), 0.7)
    inside = np.hypot(*np.meshgrid(grid.x, grid.y)) <= 60
    for profile in (Gaussian(60 * SCALE), Exponential(60 * SCALE), Sersic(60 * SCALE, 4.0)):
        assert abs(float(profile(grid)[inside].sum()) - 0.5) < 2e-3


def test_exponential_is_sersic_one():
    grid = make_grid()
    np.testing.assert_allclose(
        Exponential(0.07, (0.1, 0.3))(grid), Sersic(0.07, 1.0, (0.1, 0.3))(grid), rtol=1e-4, atol=1e-8
    )


@pytest.mark.parametrize("profile", [Gaussian(0.3, (0.3, 0.2)), Sersic(0.2, 2.5, (0.0, 0.4)), Exponential(0.2)])
@pytest.mark.parametrize("fraction", [0.5, 0.9])
def test_extent_holds_the_fraction(profile, fraction):
    grid = make_grid((401, 401), (200.0, 200.0), 0.7)
    inside = np.hypot(*np.meshgrid(grid.x, grid.y)) <= profile.extent(fraction) / SCALE
    assert abs(float(profile(grid)[inside].sum()) - fraction) < 1e-2


def test_extent_of_a_point_and_bad_fractions():
    assert Point().extent(0.999) == 0.0
    with pytest.raises(DomainError, match="between 0 and 1"):
        Gaussian(0.1).extent(1.0)


def test_position_angle_runs_from_north_to_east():
    grid = make_grid()
    image = np.asarray(Sersic(0.1, 1.0, ellipticity(0.3, 45.0))(grid))
    assert covariance(image, grid)[0, 1] < 0  # north-east is up-left
    image = np.asarray(Sersic(0.1, 1.0, ellipticity(0.3, 0.0))(grid))
    assert covariance(image, grid)[1, 1] > 2 * covariance(image, grid)[0, 0]


def test_shape_helpers():
    import astropy.units as u

    shape = ellipticity(0.37, 127.0)
    assert float(axis_ratio(shape)) == pytest.approx(0.37, rel=1e-5)
    assert float(position_angle(shape)) == pytest.approx(127.0, rel=1e-5)
    np.testing.assert_allclose(ellipticity(0.37, 127.0 * u.deg), shape)
    np.testing.assert_allclose(ellipticity(0.37, np.deg2rad(127.0) * u.rad), shape, rtol=1e-5)
    assert ellipticity(np.array([0.5, 1.0]), 30.0).shape == (2, 2)
    assert float(semi_major(circularised(0.5, 0.37), shape)) == pytest.approx(0.5, rel=1e-5)
    with pytest.raises(DomainError, match="minor over major"):
        ellipticity(1.2)
    with pytest.raises(UnitError):
        ellipticity(0.5, 3 * u.s)


@pytest.mark.parametrize("index", [0.3, 0.7, 1.0, 3.3, 8.0])
def test_mixture_is_smooth_in_the_index(index):
    with jax.enable_x64(True):
        amplitudes, sigmas = sersic_mixture(jnp.asarray(index))
        assert float(amplitudes.sum()) == pytest.approx(1, abs=1e-8)
        assert np.all(np.diff(sigmas) > 0)
        inner = np.clip(index, 0.31, 7.9)
        check_grads(jax.jit(lambda n: sersic_mixture(n)[0]), (jnp.asarray(inner),), order=1, eps=1e-6, rtol=1e-5)
        # the slope itself has no steps where the table's intervals meet
        fine = jnp.linspace(max(0.3, inner * 0.97), min(8.0, inner * 1.03), 2001)
        slope = jax.vmap(jax.grad(lambda n: Sersic(0.05, n)(make_grid((5, 5), (2.2, 2.1))).max()))(fine)
        assert np.max(np.abs(np.diff(slope))) < 1e-2 * np.max(np.abs(slope))


def test_index_beyond_the_table_is_nan():
    for index in (0.25, 8.5):
        assert np.all(np.isnan(Sersic(0.05, 1.0).evaluate.__func__(_with_index(index), make_grid((5, 5), (2, 2)))))


def _with_index(index):
    import equinox as eqx

    return eqx.tree_at(lambda s: s.index, Sersic(0.05, 1.0), jnp.asarray(index))


def test_gradients_everywhere():
    with jax.enable_x64(True):
        weights = jnp.asarray(np.random.default_rng(0).normal(size=(9, 8)))

        @jax.jit
        def value(radius, index, shape, centre):
            matrix = jnp.asarray([[-60.0, 11.0], [13.0, 64.0]])
            grid = PixelGrid(jnp.arange(8) - centre[0], jnp.arange(9) - centre[1], matrix, jnp.asarray(0.9))
            return jnp.vdot(weights, Sersic(radius, index, shape).evaluate(grid))

        for arguments in (
            (0.03, 2.2, (0.1, -0.2), (4.0, 4.0)),
            (0.03, 0.4, (0.0, 0.0), (3.7, 4.2)),
            (0.2, 6.0, (0.9, 0.3), (4.0, 3.5)),
        ):
            check_grads(value, tuple(jnp.asarray(a) for a in arguments), order=1, eps=1e-5, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("shape", [(0.0, 0.0), (0.999, 0.0), (0.0, -0.9999)])
@pytest.mark.parametrize("index", [0.3, 1.0, 8.0])
@pytest.mark.parametrize("radius", [1e-6, 0.05, 100.0])
def test_no_nan_in_values_or_gradients(radius, index, shape):
    image, gradients = _at_the_edge(*(jnp.asarray(a) for a in (radius, index, shape)))
    assert np.all(np.isfinite(image))
    assert all(np.all(np.isfinite(g)) for g in gradients)


@jax.jit
def _at_the_edge(radius, index, shape):
    grid = make_grid((15, 14), (7.0, 7.0))
    image, pullback = jax.vjp(lambda r, n, e: Sersic(r, n, e).evaluate(grid), radius, index, shape)
    return image, pullback(jnp.ones_like(image))


def test_vmap_and_jit_agree_with_a_loop():
    grid = make_grid((21, 20), (10.2, 9.7))
    radii, indices = jnp.array([0.02, 0.05, 0.1]), jnp.array([0.6, 1.0, 5.0])
    batched = jax.jit(jax.vmap(lambda r, n: Sersic(r, n, (0.1, 0.2)).evaluate(grid)))(radii, indices)
    for image, radius, index in zip(batched, radii, indices, strict=True):
        np.testing.assert_allclose(image, Sersic(radius, index, (0.1, 0.2))(grid), rtol=1e-4, atol=1e-7)
    tangents = jax.jacfwd(lambda n: Sersic(0.05, n).evaluate(grid))(jnp.asarray(2.0))
    rows = jax.vmap(jax.grad(lambda n, i: Sersic(0.05, n).evaluate(grid).ravel()[i]), (None, 0))(
        jnp.asarray(2.0), jnp.arange(4)
    )
    np.testing.assert_allclose(tangents.ravel()[:4], rows, rtol=1e-4)


def test_float32_is_close_to_float64():
    for index in (0.3, 1.0, 8.0):
        single = np.asarray(Sersic(0.1, index, (0.6, 0.3))(make_grid()))
        assert single.dtype == np.float32
        with jax.enable_x64(True):
            double = np.asarray(Sersic(0.1, index, (0.6, 0.3))(make_grid()))
        assert np.max(np.abs(single - double)) < 2e-5 * double.max()


class Ring(Morphology):
    """A user's own shape: a Gaussian ring."""

    radius: jax.Array = parameter(unit="arcsec", doc="radius of the crest")

    def evaluate(self, grid):
        def profile(east, north):
            width = 0.2 * self.radius
            value = jnp.exp(-0.5 * ((jnp.hypot(east, north) - self.radius) / width) ** 2)
            return value / (2 * np.pi * self.radius * width * np.sqrt(2 * np.pi))

        return oversampled(profile, grid, 3)

    def extent(self, fraction):
        return 2.0 * float(self.radius)


def test_oversampled_for_a_users_own_profile():
    image = Ring(0.2)(make_grid())
    assert abs(float(image.sum()) - 1) < 1e-3
    assert float(image[40, 45]) < 0.01 * float(image.max())
    matrix = jnp.array([[-50.0, 30.0], [30.0, 50.0]])
    grid = PixelGrid(jnp.arange(61.0) - 30.2, jnp.arange(51.0) - 24.6, matrix, jnp.asarray(0.8))
    shape, sigma = ellipticity(0.6, 20.0), 0.08
    from scarlet_sed.morphology.shape import shape_matrix

    inverse = jnp.linalg.inv(shape_matrix(shape)) / sigma

    def gaussian(east, north):
        u = inverse[0, 0] * east + inverse[0, 1] * north
        v = inverse[1, 0] * east + inverse[1, 1] * north
        return jnp.exp(-0.5 * (u**2 + v**2)) / (2 * np.pi * sigma**2)

    exact = Gaussian(sigma * np.sqrt(2 * np.log(2)), shape)(grid)
    np.testing.assert_allclose(oversampled(gaussian, grid, 2), exact, atol=1e-6 * float(exact.max()) * 10)
    with pytest.raises(DomainError, match="whole number"):
        oversampled(gaussian, grid, 0)


@pytest.mark.parametrize(
    ("make", "fix"),
    [
        (lambda: Gaussian(-1.0), "positive radius"),
        (lambda: Gaussian(0.0), "positive radius"),
        (lambda: Gaussian(1.0, (1.0, 0.0)), "ellipticity"),
        (lambda: Gaussian(1.0, jnp.zeros(3)), "shape"),
        (lambda: Exponential(-1.0), "positive radius"),
        (lambda: Sersic(1.0, 0.2), "within 0.3 to 8"),
        (lambda: Sersic(1.0, 8.2), "within 0.3 to 8"),
        (lambda: Sersic(1.0, dist.LogNormal(0.0, 0.5)), "TruncatedNormal"),
        (lambda: Sersic(Parameter(-1.0, dist.Normal(0.0, 1.0)), 1.0), "positive radius"),
    ],
)
def test_bad_values(make, fix):
    with pytest.raises(ValueError, match=fix):
        make()


def test_priors_within_the_domain_are_welcome():
    assert float(Sersic(dist.LogNormal(-3.0, 0.5), dist.Uniform(0.3, 8.0)).index.value) == pytest.approx(4.15)
    Sersic(0.1, dist.TruncatedNormal(2.0, 1.0, low=0.5, high=6.0))
