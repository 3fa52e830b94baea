"""Linear interpolation between the nodes of a grid."""

import jax.numpy as jnp

from scarlet_sed.typing import Array


def node_weights(x: Array, nodes: Array) -> Array:
    """(n,) weights of the nodes at x: linear between its two neighbours, the end alone beyond the ends.

    Weights are not negative and sum to one, and those of all other nodes are exactly zero.

    Args:
        x: a number, in the units of the nodes.
        nodes: (n,) increasing.
    """
    # how much of each interval lies below x: from 0 to 1
    passed = jnp.clip((x - nodes[:-1]) / jnp.diff(nodes), 0.0, 1.0)
    return jnp.append(1.0, passed) - jnp.append(passed, 0.0)
