"""Levenberg-Marquardt on many small problems at once."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from scarlet_sed.typing import Array


class Minimum(NamedTuple):
    """Where a minimisation ended.

    Args:
        position: (n,) the best position.
        value: the function there.
        hessian: (n, n) Gauss-Newton matrix of the residuals plus the penalty's curvature.
        change: relative change of the value in the last accepted step.
    """

    position: Array
    value: Array
    hessian: Array
    change: Array


def minimize(
    residuals: Callable[[Array], Array], penalty: Callable[[Array], Array], start: Array, steps: Array, bound: float
) -> Minimum:
    """Minimise 0.5 |residuals(u)|^2 + penalty(u) by damped Gauss-Newton steps (Marquardt 1963); `vmap` over starts.

    The penalty's curvature enters by its diagonal where that is positive. A step that does not lower the function is
    not taken, and is damped more the next time.

    Args:
        residuals: (n,) to (m,).
        penalty: (n,) to a number.
        start: (n,).
        steps: how many steps are tried, a number that may be traced.
        bound: positions stay within plus and minus this, for some minima lie at infinity.
    """

    def value(u: Array) -> Array:
        return 0.5 * jnp.sum(jnp.square(residuals(u))) + penalty(u)

    def system(u: Array) -> tuple[Array, Array]:
        r, jacobian = residuals(u), jax.jacfwd(residuals)(u)
        curvature = jnp.maximum(jnp.diagonal(jax.hessian(penalty)(u)), 0.0)
        return r @ jacobian + jax.grad(penalty)(u), jacobian.T @ jacobian + jnp.diag(curvature)

    def step(_: Any, carry: tuple[Array, Array, Array, Array]) -> tuple[Array, Array, Array, Array]:
        u, best, damping, change = carry
        gradient, hessian = system(u)
        scale = jnp.diagonal(hessian)
        damped = hessian + jnp.diag(damping * scale + 1e-6 * (1.0 + jnp.max(scale) * 1e-4))
        move = jnp.linalg.solve(damped, gradient)
        move = move / jnp.maximum(1.0, jnp.max(jnp.abs(move)) / _LONGEST)
        trial = jnp.clip(u - move, -bound, bound)
        found = value(trial)
        better = found < best
        change = jnp.where(better, (best - found) / (1.0 + jnp.abs(best)), change)
        damping = jnp.clip(jnp.where(better, damping / 4.0, damping * 6.0), 1e-5, 1e8)
        return jnp.where(better, trial, u), jnp.where(better, found, best), damping, change

    first = value(start)
    infinite = jnp.where(jnp.isfinite(first), first, jnp.inf)
    initial = (start, infinite, jnp.asarray(0.1, start.dtype), jnp.asarray(jnp.inf, start.dtype))
    position, best, _, change = jax.lax.fori_loop(0, steps, step, initial)
    return Minimum(position, best, system(position)[1], change)


_LONGEST = 1.0
"""Of a step, in any coordinate: unconstrained numbers bend within a few."""
