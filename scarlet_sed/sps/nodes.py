"""Interpolation between the nodes of a grid: linear, or with a continuous slope."""

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


def smooth_weights(x: Array, nodes: Array) -> Array:
    """(n,) weights of the nodes at x: cubic between its two neighbours with a continuous slope, the end alone beyond.

    Hermite's cubic takes the slope at a node from the parabola through it and its neighbours, at the ends from the last
    interval. So what is linear in x stays linear; weights sum to one, but those of the outer two of four can be
    slightly negative (-2/27 at most on even nodes).

    Args:
        x: a number, in the units of the nodes.
        nodes: (n,) increasing, two or more.
    """
    rows, steps = jnp.eye(nodes.size, dtype=nodes.dtype), jnp.diff(nodes)
    tilts = jnp.diff(rows, axis=0) / steps[:, None]
    before, after = steps[:-1, None], steps[1:, None]
    inner = (tilts[:-1] * after + tilts[1:] * before) / (before + after)
    slopes = jnp.concatenate([tilts[:1], inner, tilts[-1:]])
    within = jnp.clip(x, nodes[0], nodes[-1])
    left = jnp.clip(jnp.searchsorted(nodes, within, side="right") - 1, 0, nodes.size - 2)
    step = steps[left]
    # not clipped itself, or at a node half of the slope would be lost
    t = (within - nodes[left]) / step
    ends = (1 + 2 * t) * (1 - t) ** 2 * rows[left] + (3 - 2 * t) * t**2 * rows[left + 1]
    return ends + step * t * (1 - t) * ((1 - t) * slopes[left] - t * slopes[left + 1])
