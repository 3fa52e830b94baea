"""Pixels and Starlet: flux, sub-pixel shifts, starts, and what they refuse."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from jax.test_util import check_grads

from scarlet_sed.constraints import image_simplex
from scarlet_sed.errors import DomainError, ParameterError
from scarlet_sed.morphology.base import PixelGrid
from scarlet_sed.morphology.pixels import Pixels
from scarlet_sed.morphology.starlet import Starlet
from scarlet_sed.parameters import Parameter

SCALE = 0.015
RNG = np.random.default_rng(3)


def make_grid(shape=(61, 70), centre=(34.6, 30.2), psf_sigma=0.9):
    matrix = jnp.diag(jnp.array([-1.0, 1.0])) / SCALE
    return PixelGrid(
        jnp.arange(1.0 * shape[1]) - centre[0], jnp.arange(1.0 * shape[0]) - centre[1], matrix, jnp.asarray(psf_sigma)
    )


def starlet(details=0.003, shape=(21, 16), scales=3):
    start = Starlet.from_image(RNG.random(shape), SCALE, scales)
    return Starlet(start.coarse.value, details * RNG.normal(size=(scales, *shape)), SCALE)


@pytest.mark.parametrize("spacing", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("shape", [(15, 15), (12, 17), (1, 8)])
def test_pixels_flux_and_centre(shape, spacing):
    image = RNG.random(shape)
    grid = make_grid()
    drawn = np.asarray(Pixels(image, spacing * SCALE)(grid), dtype=float)
    assert abs(drawn.sum() - 1) < 3e-4
    assert np.all(drawn >= 0)
    columns = (np.arange(shape[1]) - (shape[1] - 1) / 2) * spacing
    rows = (np.arange(shape[0]) - (shape[0] - 1) / 2) * spacing
    assert drawn.sum(0) @ np.asarray(grid.x) == pytest.approx(image.sum(0) @ columns / image.sum(), abs=2e-3)
    assert drawn.sum(1) @ np.asarray(grid.y) == pytest.approx(image.sum(1) @ rows / image.sum(), abs=2e-3)


def test_pixels_follow_the_source_by_fractions_of_a_pixel():
    """Half a lattice step moved twice is one step; the in-between image is the exact rendering, not interpolation."""
    image = np.pad(RNG.random((9, 9)), 2)
    here = Pixels(image, 2 * SCALE)(make_grid(centre=(34.6, 30.2)))
    moved = Pixels(image, 2 * SCALE)(make_grid(centre=(36.6, 30.2)))
    shifted = Pixels(np.roll(image, 1, axis=1), 2 * SCALE)(make_grid(centre=(34.6, 30.2)))
    np.testing.assert_allclose(moved, shifted, atol=1e-7)
    half = Pixels(image, 2 * SCALE)(make_grid(centre=(35.6, 30.2)))
    np.testing.assert_allclose(half[:, 1:], here[:, :-1], atol=1e-7)


def test_a_single_pixel_is_a_blob_no_narrower_than_the_model_psf():
    grid = make_grid(centre=(35.0, 30.0))
    for spacing, sigma in ((0.5, 0.9), (1.0, 0.9), (3.0, 2.1)):
        drawn = np.asarray(Pixels([[7.0]], spacing * SCALE)(grid))
        assert drawn.max() == pytest.approx(1 / (2 * np.pi * sigma**2), rel=1e-4)


def test_extent_has_room_for_every_pixel():
    assert Pixels(np.ones((11, 21)), 0.1).extent(0.999) > 1.0
    assert starlet().extent(0.999) > 10 * SCALE


def test_free_images_keep_their_sum():
    free = Pixels.from_image(RNG.random((7, 6)) - 0.3, SCALE)
    assert float(free.image.value.sum()) == pytest.approx(1, abs=1e-5)
    assert float(free.image.value.min()) > 0
    assert free(make_grid()).shape == (61, 70)


def test_starlet_details_carry_no_flux():
    plain, detailed = starlet(0.0), starlet(0.01)
    grid = make_grid((121, 120), (60.2, 59.7))
    assert abs(float(plain(grid).sum()) - 1) < 1e-4
    assert abs(float(detailed(grid).sum()) - 1) < 1e-4
    assert float(jnp.max(jnp.abs(plain(grid) - detailed(grid)))) > 1e-4


def test_starlet_atoms_are_isotropic_and_of_unit_norm():
    grid = make_grid((121, 121), (60.0, 60.0), psf_sigma=0.7)
    for scale in range(3):
        details = np.zeros((3, 1, 1))
        details[scale] = 1.0
        atom = Starlet(np.ones((1, 1)), details, SCALE)(grid) - Starlet(np.ones((1, 1)), 0 * details, SCALE)(grid)
        np.testing.assert_allclose(atom, atom.T, atol=1e-7)
        assert abs(float(atom.sum())) < 1e-5
        assert 0.2 < float(jnp.linalg.norm(atom)) < 1.01  # the blob smooths the finest atom


def test_starlet_of_a_flat_coarse_image_is_flat():
    coarse = np.ones((9, 9))
    drawn = Starlet(coarse, np.zeros((2, 5, 5)), SCALE)(make_grid((11, 11), (5.3, 5.1)))
    np.testing.assert_allclose(drawn, 1 / 81 / 16, rtol=1e-3)


def test_starlet_start_resembles_the_image():
    grid = make_grid()
    x, y = np.meshgrid(np.arange(25) - 12, np.arange(31) - 15)
    image = np.exp(-0.5 * (x**2 + y**2) / 36)
    start = Starlet.from_image(image, SCALE, scales=2)
    drawn, wanted = np.asarray(start(grid)), np.asarray(Pixels(image, SCALE)(grid))
    assert np.max(np.abs(drawn - wanted)) < 0.25 * wanted.max()
    assert start.details.value.shape == (2, 31, 25)
    assert isinstance(start.details.prior, dist.Laplace)


def test_gradients():
    with jax.enable_x64(True):
        weights = jnp.asarray(RNG.normal(size=(9, 8)))
        matrix = jnp.asarray([[-60.0, 11.0], [13.0, 64.0]])

        def value(image, details, centre):
            grid = PixelGrid(jnp.arange(8) - centre[0], jnp.arange(9) - centre[1], matrix, jnp.asarray(0.9))
            drawn = Pixels(image, 0.02).evaluate(grid) + Starlet(image, details, 0.02).evaluate(grid)
            return jnp.vdot(weights, drawn)

        arguments = (RNG.random((3, 4)), RNG.normal(size=(2, 5, 4)), np.array([4.0, 3.6]))
        arguments = tuple(jnp.asarray(a) for a in arguments)
        check_grads(jax.jit(value), arguments, order=1, eps=1e-5, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    ("make", "error", "fix"),
    [
        (lambda: Pixels(np.ones(3), 0.1), ParameterError, "height, width"),
        (lambda: Pixels(-np.ones((3, 3)), 0.1), ParameterError, "positive sum"),
        (lambda: Pixels(np.array([[2.0, -1.0]]), 0.1), ParameterError, "clip it at zero"),
        (lambda: Pixels(np.array([[2.0, np.nan]]), 0.1), ParameterError, "finite"),
        (lambda: Pixels(np.ones((3, 3)), 0.0), DomainError, "positive pixel_scale"),
        (lambda: Pixels(Parameter(np.ones((3, 3)), dist.HalfNormal(1.0)), 0.1), ParameterError, "image_simplex"),
        (lambda: Pixels.from_image(np.zeros((3, 3)), 0.1), ParameterError, "some positive pixels"),
        (lambda: Starlet(np.ones((3, 3)), np.zeros((5, 5)), 0.1), ParameterError, "scale, height, width"),
        (lambda: Starlet.from_image(np.ones((3, 3)), 0.1, scales=0), ParameterError, "at least one"),
        (lambda: Starlet(-np.ones((3, 3)), np.zeros((1, 5, 5)), 0.1), ParameterError, "positive sum"),
    ],
)
def test_bad_values(make, error, fix):
    with pytest.raises(error, match=fix):
        make()


def test_a_proper_simplex_prior_is_welcome():
    prior = dist.ImproperUniform(image_simplex, (), (3, 3))
    Pixels(Parameter(np.full((3, 3), 1 / 9), prior), 0.1)
