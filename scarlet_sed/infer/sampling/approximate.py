"""Quick draws: from a Gaussian at the maximum, or one fitted to the posterior, and how far they are from it."""

import time
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from scarlet_sed.errors import ParameterError
from scarlet_sed.infer.chunks import by_chunks
from scarlet_sed.infer.compiled import Compiled
from scarlet_sed.infer.result import FitResult
from scarlet_sed.infer.sampling.draws import Posterior, SampleTiming, draws_by_path
from scarlet_sed.infer.sampling.entry import POLISH, modelled, require_finite, require_known, require_whole
from scarlet_sed.infer.sampling.learn import bent_by_fluxes
from scarlet_sed.infer.sampling.status import SampleStatus, heaviest, pareto_khat
from scarlet_sed.infer.sampling.target import AnyTarget, maximum_at, target_at
from scarlet_sed.infer.sampling.variational import Gaussian, variational
from scarlet_sed.scene.scene import Scene
from scarlet_sed.typing import Array, HostArray

_FEWEST = 25
"""Draws that k-hat needs: five in the tail, which is a fifth."""
_TRIES = 20
"""Most steps to the maximum, and most times that a draw without density is drawn again."""


def approximate(
    fitted: FitResult | Scene,
    observations: Any = None,
    *,
    method: Literal["laplace", "svi"] = "laplace",
    draws: int = 1000,
    chains: int = 4,
    seed: int = 0,
    steps: int = 1000,
    progress: bool = True,
) -> Posterior:
    """Independent draws from an approximation of the posterior, where there is no time for `sample`.

    The tail of the importance weights says whether the posterior reaches beyond the approximation (Pareto k-hat,
    Vehtari et al. 2024, JMLR 25, 72). It knows nothing of means and widths that are moderately wrong: for these,
    `check` tells what a draw is worth by its weight.

    Args:
        fitted: what `fit` returned; or a scene close to its maximum, with `observations`.
        observations: one or several, with a scene.
        method: "laplace" is the Gaussian at the maximum, with the covariance of the curvature there, in unconstrained
            numbers. "svi" starts from it and fits mean and covariance to the posterior by NumPyro's stochastic
            variational inference (Kucukelbir et al. 2017, JMLR 18, 14); where there are stellar populations, in
            coordinates that follow the bends which fluxes know of (see `bend`).
        draws: in each chain.
        chains: into how many groups draws are put, which are no more than that.
        seed: of everything random.
        steps: of "svi", each as dear as four of NUTS.
        progress: whether to show a progress bar (only on a terminal).

    Returns:
        Draws with a status, APPROXIMATE or POOR_APPROXIMATION, with `khat`, and with the logarithms of their importance
        weights, up to a constant, as `statistics["log_weight"]`.

    Raises:
        ParameterError: for arguments that make no sense.
        ImproperPriorError: if a prior is not a density.
    """
    require_known(method=(method, ("laplace", "svi")))
    require_whole(draws=(draws, 1), chains=(chains, 1), steps=(steps, 1))
    if draws * chains < _FEWEST:
        raise ParameterError(f"{draws * chains} draws are too few to judge", fix=f"ask for {_FEWEST} or more in all")
    posterior, values = modelled(fitted, observations, "approximate")
    started = time.perf_counter()
    at = maximum_at(posterior, values, POLISH)
    require_finite(partial(target_at, posterior.program), at.coordinates)
    coordinates = bent_by_fluxes(posterior, at, seed) if method == "svi" else at.coordinates
    target = target_at(posterior.program, coordinates)
    ready = time.perf_counter()
    gaussian = (
        variational(target, seed, steps, progress=progress) if method == "svi" else Gaussian(_centre(target), None)
    )
    normal, potential = _drawn(target, gaussian, draws * chains, seed)
    whitened = gaussian(normal).reshape(chains, draws, -1)
    log_weights = 0.5 * np.sum(normal**2, axis=1) - potential
    khat = pareto_khat(log_weights)
    close = khat <= heaviest(potential.size)
    return Posterior(
        draws_by_path(posterior, target, whitened),
        -potential.reshape(chains, draws),
        {"log_weight": log_weights.reshape(chains, draws)},
        0,
        SampleStatus.APPROXIMATE if close else SampleStatus.POOR_APPROXIMATION,
        None,
        SampleTiming(ready - started, time.perf_counter() - ready),
        posterior,
        target,
        whitened,
        khat,
    )


def _centre(target: AnyTarget) -> HostArray:
    """(size,) whitened numbers of the maximum, which is within a standard deviation of the origin."""
    here, length = jnp.zeros(target.coordinates.size), 1.0
    value, slope = _slope(target, here)
    for _ in range(_TRIES):
        if not float(slope @ slope) > _SETTLED:
            break
        # where coordinates are round, this is Newton's step
        trial = here - length * slope
        now, then = _slope(target, trial)
        if now < value:
            here, value, slope = trial, now, then
        else:
            length /= 2
    return np.asarray(here)


_SETTLED = 1e-4
"""Square of the distance to the maximum, in standard deviations, that is left."""
_slope = Compiled(lambda target, whitened: jax.value_and_grad(target.potential)(whitened), level=0)


def _drawn(target: AnyTarget, gaussian: Gaussian, count: int, seed: int) -> tuple[HostArray, HostArray]:
    """(n, size) standard normal numbers, drawn again where the density vanishes, and the (n,) potential of draws."""
    generator = np.random.default_rng(seed)
    normal, potential = np.zeros((count, target.coordinates.size)), np.full(count, np.inf)
    for _ in range(_TRIES):
        outside = np.flatnonzero(~np.isfinite(potential))
        if not outside.size:
            break
        normal[outside] = generator.standard_normal((outside.size, normal.shape[1]))
        potential[outside] = by_chunks(lambda w: _potentials(target, w), gaussian(normal[outside]))
    return normal, potential


@jax.jit
def _potentials(target: AnyTarget, whitened: Array) -> Array:
    return jax.lax.map(target.potential, whitened)
