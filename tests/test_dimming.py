"""The series in a screen's depth against exponentials pixel by pixel, from no dust at all to ten magnitudes in V."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scarlet_sed.dust.base import NATURAL_PER_MAGNITUDE
from scarlet_sed.scene.dimming import _through_one
from scarlet_sed.typing import Array

SHAPE = np.exp(-np.square(np.hypot(*np.mgrid[-15:16, -15:16])) / 50.0)


def pixel_by_pixel(flux: Array, curve: Array, depth: Array) -> Array:
    rate = NATURAL_PER_MAGNITUDE * curve[:, :, None, None]
    return jnp.sum(flux[:, :, None, None] * jnp.exp(-rate * depth), axis=1)


@pytest.mark.parametrize("av", [0.0, 1e-4, 0.5, 3.0, 10.0])
@pytest.mark.parametrize(("precise", "limit"), [(True, 1e-9), (False, 1e-5)])
def test_values_and_all_derivatives_are_those_of_every_pixel(rng, av, precise, limit):
    with jax.enable_x64(precise):
        kind = jnp.result_type(float)
        given = [rng.uniform(0.5, 1.0, (4, 3)), np.linspace(5, 0.2, 12).reshape(4, 3), av * SHAPE]
        numbers = [jnp.asarray(x, kind) for x in given]
        weight = jnp.asarray(rng.normal(size=(4, *SHAPE.shape)), kind)
        for function in (lambda f: f, lambda f: jax.grad(lambda *x: jnp.sum(weight * f(*x)), argnums=(0, 1, 2))):
            found, wanted = (jax.tree.leaves(jax.jit(function(f))(*numbers)) for f in (_through_one, pixel_by_pixel))
            for one, other in zip(found, wanted, strict=True):
                np.testing.assert_allclose(one, other, atol=limit * max(float(np.max(np.abs(other))), 1e-2))


def test_second_derivatives_in_the_depth(rng):
    with jax.enable_x64(True):
        flux, curve = jnp.asarray(rng.uniform(0.5, 1.0, (2, 3))), jnp.asarray(rng.uniform(0.2, 4.0, (2, 3)))
        found, wanted = (
            float(jax.hessian(lambda av, f=f: jnp.sum(f(flux, curve, av * SHAPE)))(1.3))
            for f in (_through_one, pixel_by_pixel)
        )
        assert found == pytest.approx(wanted, rel=1e-9)
