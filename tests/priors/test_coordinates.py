"""Coordinates of images: they sum to one, can be gone back, and have the derivatives that they seem to have."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from scarlet_sed.priors.coordinates import ImageCoordinates

SHAPES = ((1, 2), (4, 4), (32, 32), (5, 9))


def numbers(shape: tuple[int, int], scale: float, seed: int = 0) -> np.ndarray:
    return (scale * np.random.default_rng(seed).normal(size=shape[0] * shape[1] - 1)).astype(np.float32)


@pytest.mark.parametrize("scale", (0.0, 0.3, 4.0, 60.0))
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_images_sum_to_one_and_none_of_their_pixels_is_negative(shape, scale):
    image = ImageCoordinates(shape)(numbers(shape, scale))
    assert image.shape == shape
    assert float(image.sum()) == pytest.approx(1, abs=2e-5)
    assert float(image.min()) >= 0


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_it_can_be_gone_back(shape):
    coordinates, own = ImageCoordinates(shape), numbers(shape, 2.0)
    np.testing.assert_allclose(coordinates.inv(coordinates(own)), own, atol=2e-4)


def test_many_at_once_are_as_one():
    coordinates = ImageCoordinates((6, 5))
    many = np.stack([numbers((6, 5), scale, seed) for seed, scale in enumerate((0.1, 3.0, 30.0))])
    at_once = coordinates(many)
    assert at_once.shape == (3, 6, 5)
    for each, one in zip(many, at_once, strict=True):
        np.testing.assert_allclose(coordinates(each), one, rtol=2e-5, atol=1e-7)
    np.testing.assert_allclose(coordinates.inv(at_once)[1], many[1], atol=1e-3)


def test_a_bright_pixel_is_linear_and_a_faint_one_a_logarithm():
    coordinates = ImageCoordinates((8, 8), knee=1e-3)
    image = np.full((8, 8), 1e-6)
    image[3, 3] = image[4, 4] = 0.5 - 31e-6
    raised, doubled = image.copy(), image.copy()
    raised[3, 3] += 0.01
    doubled[0, 0] *= 2

    def moved(other: np.ndarray) -> float:
        away = np.asarray(coordinates.inv(jnp.asarray(other)) - coordinates.inv(jnp.asarray(image)))
        # of one coordinate of u alone, less the mean of all
        return float(np.linalg.norm(away) / np.sqrt(1 - 1 / 64))

    assert moved(raised) == pytest.approx(10.0, rel=1e-3)
    assert moved(doubled) == pytest.approx(np.log(2), rel=1e-2)


def test_derivatives_of_first_and_second_order():
    coordinates, own = ImageCoordinates((3, 4)), numbers((3, 4), 1.5)
    with jax.enable_x64(True):
        wide = jnp.asarray(own, jnp.float64)
        check_grads(jax.jit(lambda x: jnp.sum(coordinates(x) ** 2)), (wide,), order=2, rtol=1e-5)
        jacobian = np.asarray(jax.jacfwd(coordinates)(wide)).reshape(12, 11)
    np.testing.assert_allclose(jacobian.sum(axis=0), 0.0, atol=1e-9)
