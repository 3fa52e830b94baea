"""Random signs for probes of the curvature: cheap to compile and to draw."""

import math

import jax.numpy as jnp
import numpy as np
from jax import lax

from scarlet_sed.typing import Array, ArrayLike


def random_signs(shape: tuple[int, ...], dtype: np.dtype, *seeds: ArrayLike) -> Array:
    """An array of +1 and -1, the last bit of a hash of each element's number.

    Probes need signs without correlations, not a stream that nobody can predict: this is a tenth of the work of
    `jax.random.rademacher`, in one fused kernel instead of twenty.

    Args:
        shape: of the array.
        dtype: of the array.
        *seeds: integers, traced or not, that tell arrays apart.
    """
    state = jnp.zeros((), jnp.uint32)
    for seed in seeds:
        state = _hash(state + jnp.asarray(seed).astype(jnp.uint32) + np.uint32(1))
    numbers = lax.iota(jnp.uint32, math.prod(shape))
    bit = _hash(_hash(numbers) + state) & np.uint32(1)
    return (1 - 2 * bit.astype(dtype)).reshape(shape)


def _hash(x: Array) -> Array:
    """A bijection of the 32-bit integers that scatters their bits (lowbias32, C. Wellons, nullprogram.com, 2018)."""
    x = (x ^ (x >> 16)) * np.uint32(0x7FEB352D)
    x = (x ^ (x >> 15)) * np.uint32(0x846CA68B)
    return x ^ (x >> 16)
