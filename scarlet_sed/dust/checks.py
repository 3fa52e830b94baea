"""The check that dust makes when it is built: concrete values and bounds of priors; traced values pass."""

import math

import jax
import numpy as np

from scarlet_sed.errors import DomainError
from scarlet_sed.parameters import Parameter

_BEYOND = 1e-3
"""How far outside of its range a parameter's prior is asked whether it reaches there."""


def check_range(leaf: object, owner: str, name: str, low: float, high: float = math.inf) -> None:
    """Raise `DomainError` unless a slot, and the support of its prior if it has one, lie within low to high."""
    value = leaf.value if isinstance(leaf, Parameter) else leaf
    if isinstance(value, jax.core.Tracer) or not isinstance(value, (jax.Array, np.ndarray)):
        return  # traced, tied or not filled in
    span = f"{low:g} to {high:g}" if math.isfinite(high) else f"{low:g} and above"
    host = np.asarray(value, dtype=np.float64)
    if not np.all((host >= low - 1e-6) & (host <= high + 1e-6)):
        raise DomainError(
            f"{owner}: {name} = {np.array2string(host, precision=6)} lies outside {span}", fix=f"choose within {span}"
        )
    if not isinstance(leaf, Parameter):
        return
    edges = (edge for edge in (low - _BEYOND, high + _BEYOND) if math.isfinite(edge))
    if any(np.any(leaf.prior.support(np.full(leaf.prior.event_shape, edge, np.float32))) for edge in edges):
        bounds = f"low={low:g}" + (f", high={high:g}" if math.isfinite(high) else "")
        raise DomainError(
            f"{owner}: the prior of {name} ({type(leaf.prior).__name__}) reaches outside {span}",
            fix=f"give a prior with bounds, for example dist.TruncatedNormal(loc, scale, {bounds})",
        )
