"""What `sample` and `approximate` do with what they are given."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from scarlet_sed.errors import ParameterError
from scarlet_sed.infer.families import FamilyValues
from scarlet_sed.infer.posterior import LogPosterior
from scarlet_sed.infer.result import FitResult
from scarlet_sed.infer.sampling.target import AnyTarget, Coordinates
from scarlet_sed.scene.scene import Scene
from scarlet_sed.typing import Array

POLISH = 8
"""Most matrices of Gauss-Newton steps from what is given to the maximum."""


def modelled(
    fitted: FitResult | Scene, observations: Any, caller: str, *, slopes: bool = False
) -> tuple[LogPosterior, FamilyValues]:
    """The log-posterior that is meant, and parameters close to its maximum.

    Args:
        fitted: what `fit` returned; or a scene, with `observations`.
        observations: one or several, with a scene.
        caller: the function that the user called.
        slopes: whether it needs slopes of priors on images only.

    Raises:
        ParameterError: for a fit with observations, or a scene without.
        ImproperPriorError: if a prior is not a density.
    """
    if isinstance(fitted, FitResult) == (observations is not None):
        raise ParameterError(
            f"{caller} takes what `fit` returned, or a scene with observations",
            fix=f"write {caller}(fit) or {caller}(scene, obs)",
        )
    posterior = fitted.posterior if isinstance(fitted, FitResult) else LogPosterior(fitted, observations)
    posterior.require_proper_priors(slopes=slopes)
    return posterior, fitted.values if isinstance(fitted, FitResult) else posterior.start


def require_finite(make: Callable[[Coordinates], AnyTarget], coordinates: Coordinates) -> None:
    """Raise `ParameterError` if coordinates, or the density at their origin, are not finite.

    Args:
        make: the target in given coordinates.
        coordinates: around the maximum.
    """
    finite = all(bool(np.all(np.isfinite(np.asarray(leaf)))) for leaf in jax.tree.leaves(coordinates))
    if not (finite and np.isfinite(float(_at_origin(make(coordinates))))):
        raise ParameterError(
            "the posterior or its curvature is not finite where sampling would start",
            fix="fit first and look at its status; check priors and data",
        )


def require_whole(**numbers: tuple[float, int]) -> None:
    """Raise `ParameterError` if one of the (number, least) is not whole, or less than its least."""
    for name, (value, least) in numbers.items():
        if value != int(value) or value < least:
            raise ParameterError(f"{name} is {value!r}", fix=f"give a whole number of at least {least}")


def require_known(**words: tuple[str, tuple[str, ...]]) -> None:
    """Raise `ParameterError` if one of the (word, known words) is not known."""
    for name, (word, known) in words.items():
        if word not in known:
            raise ParameterError(f"{name} is {word!r}", fix=f"choose among {', '.join(known)}")


@jax.jit
def _at_origin(target: AnyTarget) -> Array:
    return target.potential(jnp.zeros(target.coordinates.size))
