"""The last steps of a fit: damped Gauss-Newton with the whole matrix, which the uncertainties need anyway.

Adam whitens source by source, with a curvature that it knows from random probes; what neighbours share, and the narrow
valleys of stellar populations (age, dust and metallicity), it descends slowly.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from scarlet_sed.infer.compiled import Compiled
from scarlet_sed.infer.covariance import Curvature, curvature_at
from scarlet_sed.infer.families import FamilyValues
from scarlet_sed.infer.posterior import LogPosterior, constrain, evaluate, log_density, log_jacobian, log_prob
from scarlet_sed.infer.program import Program
from scarlet_sed.typing import Array, HostArray

_NEGLIGIBLE = 0.25
"""Gain of log-posterior, as the matrix predicts it, that is not worth a step: 0.7 standard deviations over all
parameters together. Float32 knows the log-posterior of a megapixel to about 0.02."""
_TRIES = 5
_STEPS = 8
"""Most steps with one matrix."""
_STALE = 0.3
"""A step that gains less than this share of what its matrix predicts is the last with it."""
_DAMPING = 1e-3
_LONGEST = 1.0
"""Of a step, in any unconstrained number; of larger numbers, a share of their size."""


class Polished(NamedTuple):
    """Where the last steps ended.

    Args:
        unconstrained: numbers.
        curvature: there.
        losses: minus log-posterior after each step.
        settled: whether another step would gain next to nothing.
    """

    unconstrained: FamilyValues
    curvature: Curvature
    losses: list[float]
    settled: bool


def polish(posterior: LogPosterior, unconstrained: FamilyValues, rounds: int, *, jacobian: bool = False) -> Polished:
    """Gauss-Newton steps (Marquardt 1963), free images held as they are but for leading numbers of learnt ones.

    A matrix costs as much as many steps of Adam, a step with a matrix that is there as much as one: each matrix serves
    as many steps as gain what it predicts.

    Args:
        posterior: to climb.
        unconstrained: where from.
        rounds: matrices made for steps; one more is made where the last step ends.
        jacobian: climb the density in the unconstrained numbers instead of that in the parameters.
    """
    program, damping = posterior.program, _DAMPING
    losses: list[float] = []
    curvature = curvature_at(posterior, unconstrained, jacobian=jacobian)
    for _ in range(rounds):
        before = len(losses)
        for _ in range(_STEPS):
            value, slope = _slope(program, unconstrained, jacobian)
            gradient = curvature.along(slope)
            gain = 0.5 * float(gradient @ _solved(curvature.matrix, gradient, 1e-6))
            if not (gain > _NEGLIGIBLE and np.isfinite(float(value))):
                break
            trial, found, damping = _stepped(
                program, curvature, unconstrained, gradient, float(value), damping, jacobian
            )
            if found >= float(value):
                break
            unconstrained = trial
            losses.append(found)
            if float(value) - found < _STALE * gain:
                break
        if len(losses) == before:
            return Polished(unconstrained, curvature, losses, not gain > _NEGLIGIBLE)
        curvature = curvature_at(posterior, unconstrained, jacobian=jacobian)
    return Polished(unconstrained, curvature, losses, settled=False)


def _stepped(
    program: Program,
    curvature: Curvature,
    unconstrained: FamilyValues,
    gradient: HostArray,
    value: float,
    damping: float,
    jacobian: bool,
) -> tuple[FamilyValues, float, float]:
    """Where a step leads, the value there, and the damping for the next one; the last try where none gains."""
    for _ in range(_TRIES):
        step = -_solved(curvature.matrix, gradient, damping)
        trial: FamilyValues = _inside(program, curvature.moved(unconstrained, step, _LONGEST))
        found = -float(evaluate(program, constrain(program, trial)).log_prob)
        found -= float(log_jacobian(program, trial)) if jacobian else 0.0
        if found < value:
            return trial, found, damping / 10
        damping *= 10
    return trial, np.inf, damping


def _solved(matrix: HostArray, gradient: HostArray, damping: float) -> HostArray:
    scale = 1 / np.sqrt(np.maximum(np.diag(matrix), np.finfo(np.float32).tiny))
    whole = matrix * scale[:, None] * scale[None, :] + damping * np.eye(len(matrix))
    values, vectors = np.linalg.eigh(whole)
    solved: HostArray = scale * (vectors @ ((vectors.T @ (scale * gradient)) / np.maximum(values, damping)))
    return solved


def _value_and_slope(program: Program, unconstrained: FamilyValues, jacobian: bool) -> tuple[Array, FamilyValues]:
    def negative(u: FamilyValues) -> Array:
        return -log_density(program, u) if jacobian else -log_prob(program, constrain(program, u))

    return jax.value_and_grad(negative)(unconstrained)


_slope = Compiled(_value_and_slope, level=1, static=("jacobian",))


@jax.jit
def _inside(program: Program, unconstrained: FamilyValues) -> FamilyValues:
    return tuple(f.keep_inside(jnp.asarray(u)) for f, u in zip(program.families, unconstrained, strict=True))
