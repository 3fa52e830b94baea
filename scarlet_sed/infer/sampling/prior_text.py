"""Priors in words, for tables and reports."""

from typing import Any

import numpy as np
import numpyro.distributions as dist

from scarlet_sed.distributions import SmoothImage

_ENDS = {"low": "above {low}", "high": "below {high}", "low high": "from {low} to {high}"}


def prior_text(prior: dist.Distribution, index: tuple[int, ...] = ()) -> str:
    """A prior as a person would write it, such as "Normal(0, 3) above -5".

    Args:
        prior: any numpyro distribution.
        index: of the element of the parameter that is meant; without one, numbers that differ show as their range.
    """
    if isinstance(prior, dist.ImproperUniform):
        return "flat"
    if isinstance(prior, SmoothImage):
        return f"SmoothImage({_number(prior.scale, ())})"
    if isinstance(prior, (dist.ExpandedDistribution, dist.Independent)):
        return prior_text(prior.base_dist, index)
    ends = [name for name in ("low", "high") if hasattr(prior, "base_dist") and hasattr(prior, name)]
    if ends:
        said = _ENDS[" ".join(ends)].format(**{name: _number(getattr(prior, name), index) for name in ends})
        return f"{prior_text(prior.base_dist, index)} {said}"
    arguments = ", ".join(_number(value, index) for value in _arguments(prior))
    return f"{type(prior).__name__}({arguments})"


def _arguments(prior: dist.Distribution) -> list[Any]:
    return [value for value in (getattr(prior, name, None) for name in prior.arg_constraints) if value is not None]


def _number(value: Any, index: tuple[int, ...]) -> str:
    array = np.asarray(value, float)
    if array.ndim and array.ndim <= len(index):
        own = index[len(index) - array.ndim :]
        if all(i < size for i, size in zip(own, array.shape, strict=True)):
            array = array[own]
    low, high = (float(f(array)) for f in (np.min, np.max))
    return f"{low:.4g}" if low == high else f"{low:.4g}...{high:.4g}"
