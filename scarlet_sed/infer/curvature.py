"""Curvature of the log-posterior by Gauss-Newton: its diagonal by random probes, and that of the prior.

With whitened residuals r(u) (whose squares sum to chi-square) and Jacobian J = dr/du, the Gauss-Newton matrix is
J^T J: positive by construction, and the Fisher matrix for Gaussian noise. The curvature of the prior is added.
"""

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from scarlet_sed.infer.compiled import Compiled
from scarlet_sed.infer.families import Family, FamilyValues
from scarlet_sed.infer.program import Program
from scarlet_sed.typing import Array

_BATCH = 4


def whitened(program: Program, unconstrained: FamilyValues) -> tuple[Array, ...]:
    """Per observation, (band, H', W') whitened residuals at unconstrained numbers."""
    return program.whitened_residuals(program.constrain(unconstrained))


@partial(jax.jit, static_argnames="probes")
def curvature_diagonal(program: Program, unconstrained: FamilyValues, key: Array, probes: int = 48) -> FamilyValues:
    """Diagonal of the Gauss-Newton matrix plus the prior's curvature, in unconstrained numbers.

    With random signs z, E[(J^T z)(J^T z)^T] is J^T J (Bekas, Kokiopoulou & Saad 2007). The diagonal is known to
    sqrt(2 / probes): a fifth by default.
    """
    residuals, pullback = jax.vjp(lambda u: whitened(program, u), unconstrained)

    def probe(key: Array) -> FamilyValues:
        keys = jax.random.split(key, len(residuals))
        signs = tuple(jax.random.rademacher(k, r.shape, dtype=r.dtype) for k, r in zip(keys, residuals, strict=True))
        return pullback(signs)[0]

    samples = jax.lax.map(probe, jax.random.split(key, probes))
    prior = prior_curvature_diagonal(program.families, unconstrained)
    return jax.tree.map(lambda s, p: jnp.mean(jnp.square(s), axis=0) + p, samples, prior)


def prior_curvature_diagonal(families: Sequence[Family], unconstrained: Sequence[Array]) -> FamilyValues:
    """Row sums of minus the prior's Hessian (its diagonal where parameters are independent), never negative."""

    def curvature(family: Family, u: Array) -> Array:
        gradient = jax.grad(lambda v: family.log_prior(family.constrain(v), v))
        _, product = jax.jvp(gradient, (u,), (jnp.ones_like(u),))
        return jnp.where(jnp.isfinite(product), jnp.maximum(-product, 0.0), 0.0)

    return tuple(jnp.zeros_like(u) if f.flat else curvature(f, u) for f, u in zip(families, unconstrained, strict=True))


prior_curvature = Compiled(prior_curvature_diagonal, level=0)


@partial(jax.jit, static_argnames="jacobian")
def prior_hessian(
    program: Program, unconstrained: FamilyValues, basis: FamilyValues, *, jacobian: bool = False
) -> Array:
    """(p, p) minus the Hessian of the log-prior along p directions.

    Args:
        program: the model.
        unconstrained: where.
        basis: directions, each family with a leading axis p.
        jacobian: of the density in the unconstrained numbers instead of that in the parameters.
    """

    def log_prior(u: FamilyValues) -> Array:
        found = program.log_prior(program.constrain(u), u)
        return found + program.log_jacobian(u) if jacobian else found

    def column(direction: FamilyValues) -> FamilyValues:
        return jax.jvp(jax.grad(log_prior), (unconstrained,), (direction,))[1]

    products = jax.lax.map(column, basis, batch_size=_BATCH)
    flat = jax.vmap(lambda tree: ravel_pytree(tree)[0])
    return -flat(basis) @ flat(products).T
