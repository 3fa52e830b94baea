"""The sparse gather and its transpose under every transformation, and the recognition of strided grids."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from scipy.integrate import quad

from scarlet_sed.instrument.resample import (
    Gather,
    gather_tables,
    sparse_apply,
    strided,
    window,
    window_transfer,
)

SIZE = (12, 15)


@pytest.fixture
def table(rng, x64) -> Gather:
    points = np.stack([rng.uniform(3, 11, 20), rng.uniform(3, 8, 20)], axis=-1)
    return gather_tables(points, SIZE, np.arange(20) != 4)


@pytest.fixture
def image(rng, table):
    return jnp.asarray(rng.normal(size=(3, SIZE[0] * SIZE[1])))


def dense(table: Gather) -> np.ndarray:
    matrix = np.zeros((table.index.shape[1], SIZE[0] * SIZE[1]))
    for k in range(table.index.shape[0]):
        np.add.at(matrix, (np.arange(matrix.shape[0]), np.asarray(table.index[k])), np.asarray(table.weight[k]))
    return matrix


@pytest.mark.parametrize("taps", [4, 6])
@pytest.mark.parametrize("frequency", [0.0, 0.2, 0.45, 0.9])
def test_window_transfer_is_the_fourier_transform(taps, frequency):
    truth = 2 * quad(lambda x: window(np.array(x), taps) * np.cos(2 * np.pi * frequency * x), 0, taps / 2)[0]
    assert window_transfer(np.array(frequency), taps) == pytest.approx(truth, abs=1e-8)


def test_values_and_transpose_are_those_of_one_matrix(table, image):
    matrix = dense(table)
    np.testing.assert_allclose(table(image), image @ matrix.T, atol=1e-12)
    ones = jnp.ones((3, 20))
    _, pull = jax.vjp(table, image)
    np.testing.assert_allclose(pull(ones)[0], ones @ matrix, atol=1e-12)
    assert not np.any(matrix[4])


def test_every_transformation(table, image):
    matrix = dense(table)
    loss = lambda x: jnp.sum(jnp.sin(table(x)) ** 2)  # noqa: E731
    check_grads(lambda x: jnp.sin(table(x)), (image,), order=2, modes=["fwd", "rev"], eps=1e-4, atol=1e-6, rtol=1e-6)
    np.testing.assert_allclose(jax.jacfwd(table)(image[0]), matrix, atol=1e-12)
    np.testing.assert_allclose(jax.jacrev(table)(image[0]), matrix, atol=1e-12)
    np.testing.assert_allclose(
        jax.vmap(jax.grad(loss))(image), jnp.stack([jax.grad(loss)(x) for x in image]), atol=1e-12
    )
    hessian = jax.hessian(lambda x: 0.5 * jnp.sum(table(x) ** 2))(image[0])
    np.testing.assert_allclose(hessian, matrix.T @ matrix, atol=1e-12)
    np.testing.assert_allclose(jax.linear_transpose(table, image)(table(image))[0], table(image) @ matrix, atol=1e-12)
    np.testing.assert_allclose(jax.jit(sparse_apply)(image, table), table(image), atol=1e-12)


def test_tables_may_be_batched_too(table, image):
    tables = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), table)
    out = jax.vmap(sparse_apply, in_axes=(None, 0))(image, tables)
    np.testing.assert_allclose(out, jnp.stack([table(image)] * 2), atol=1e-12)
    both = jax.vmap(sparse_apply)(jnp.stack([image, 2 * image]), tables)
    np.testing.assert_allclose(both[1], 2 * table(image), atol=1e-12)
    grads = jax.vmap(jax.grad(lambda x, t: jnp.sum(sparse_apply(x, t) ** 2)), in_axes=(None, 0))(image, tables)
    np.testing.assert_allclose(grads[0], 2 * table(image) @ dense(table), atol=1e-12)


def test_tables_are_constants_of_differentiation(table, image):
    zero = jax.grad(lambda weight: jnp.sum(Gather(table.index, weight, table.index_t, table.weight_t)(image)))(
        table.weight
    )
    assert not np.any(zero)


def lattice(height, width, step_x, step_y, x0, y0):
    y, x = np.indices((height, width))
    return np.stack([x0 + step_x * x, y0 + step_y * y], axis=-1).astype(float)


@pytest.mark.parametrize("steps", [(1, 1), (2, 2), (4, 2), (-2, 2), (2, -3)])
def test_strided_grids_are_recognised(steps):
    found = strided(lattice(7, 9, *steps, 40.25, 30.5))
    assert found is not None
    assert found.stride == (abs(steps[1]), abs(steps[0]))
    assert found.flip == (steps[1] < 0, steps[0] < 0)
    assert found.first == pytest.approx((30.5 + min(0, 6 * steps[1]), 40.25 + min(0, 8 * steps[0])))


@pytest.mark.parametrize("change", [(2.01, 2), (2.5, 2.5), (0.5, 0.5)])
def test_other_ratios_are_not_strided(change):
    assert strided(lattice(7, 9, *change, 0, 0)) is None


def test_rotations_and_axes_swapped_are_not_strided():
    grid = lattice(7, 9, 2, 2, 0, 0)
    assert strided(grid[..., ::-1]) is None
    c, s = np.cos(0.01), np.sin(0.01)
    assert strided(grid @ np.array([[c, -s], [s, c]])) is None
