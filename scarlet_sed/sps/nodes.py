"""Linear interpolation between the nodes of a grid, with its corners rounded."""

import jax.numpy as jnp

from scarlet_sed.typing import Array

ROUNDING = 0.03
"""How far a rounded corner reaches to either side: this fraction of the shorter interval beside it."""


def node_weights(x: Array, nodes: Array) -> Array:
    """(n,) weights of the nodes at x: linear interpolation whose slope changes continuously at each node.

    A sampler that follows gradients loses energy where they jump. Weights are positive, sum to one, and differ from
    plain linear interpolation by less than ROUNDING / 2, close to nodes only. Beyond the ends the end counts alone.

    Args:
        x: a number, in the units of the nodes.
        nodes: (n,) increasing.
    """
    gaps = jnp.diff(nodes)
    reach = ROUNDING * jnp.minimum(jnp.append(gaps, gaps[-1]), jnp.insert(gaps, 0, gaps[0]))
    ramps = _rounded_ramp(x - nodes, reach)
    # how much of each interval lies below x: from 0 to 1, rounded at both ends
    passed = jnp.clip((ramps[:-1] - ramps[1:]) / gaps, 0.0, 1.0)
    return jnp.append(1.0, passed) - jnp.append(passed, 0.0)


def _rounded_ramp(x: Array, reach: Array) -> Array:
    """max(x, 0), a parabola within `reach` of zero."""
    inside = jnp.abs(x) < reach
    corner = jnp.square(jnp.where(inside, x + reach, 0.0)) / (4 * reach)
    return jnp.where(inside, corner, jnp.maximum(x, 0.0))
