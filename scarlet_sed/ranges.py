"""Checks of ranges that modules make when they are built: concrete values and bounds of priors; traced values pass."""

import math

import jax
import numpy as np

from scarlet_sed.constraints import base_support
from scarlet_sed.errors import DomainError
from scarlet_sed.parameters import Parameter
from scarlet_sed.typing import HostArray

_SLACK = 1e-5
"""Share of a range, and rounding of its ends in float32, by which values may lie outside."""


def concrete(leaf: object) -> HostArray | None:
    """The present value of a slot in float64, or None while it is traced, tied or not filled in."""
    value = leaf.value if isinstance(leaf, Parameter) else leaf
    if isinstance(value, (float, int)):
        return np.asarray(value, dtype=np.float64)
    if isinstance(value, (jax.core.Tracer, jax.ShapeDtypeStruct)) or not isinstance(value, (jax.Array, np.ndarray)):
        return None
    return np.asarray(value, dtype=np.float64)


def check_range(leaf: object, owner: str, name: str, low: float, high: float = math.inf) -> None:
    """Raise `DomainError` unless a slot, and the support of its prior if it has one, lie within low to high.

    Args:
        leaf: what the slot holds.
        owner, name: of the slot, for the message.
        low, high: closed ends of the range.
    """
    value = concrete(leaf)
    if value is None:
        return
    slack = _SLACK * (high - low) if math.isfinite(high) else _SLACK
    span = f"{low:g} to {high:g}" if math.isfinite(high) else f"{low:g} and above"
    if not np.all((value >= low - slack) & (value <= high + slack)):
        given = np.array2string(value, precision=6, threshold=6)
        raise DomainError(f"{owner}: {name} = {given} lies outside {span}", fix=f"choose within {span}")
    if not isinstance(leaf, Parameter):
        return
    support = base_support(leaf.prior)
    least, largest = (np.asarray(getattr(support, end, np.nan)) for end in ("lower_bound", "upper_bound"))
    # false for NaN: an open end
    if not (np.all(least >= low - slack) and (math.isinf(high) or np.all(largest <= high + slack))):
        bounds = f"low={low:g}" + (f", high={high:g}" if math.isfinite(high) else "")
        flat = f"dist.Uniform({low:g}, {high:g}) or " if math.isfinite(high) else ""
        raise DomainError(
            f"{owner}: the prior of {name} ({type(leaf.prior).__name__}) reaches outside {span}",
            fix=f"give a prior with bounds, for example {flat}dist.TruncatedNormal(loc, scale, {bounds})",
        )
