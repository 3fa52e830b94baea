"""A Gaussian in whitened numbers, and the one that variational inference fits to a density."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import optax
from numpyro.distributions import constraints
from numpyro.infer import SVI, Trace_ELBO
from numpyro.infer.autoguide import AutoMultivariateNormal
from numpyro.infer.initialization import init_to_value
from tqdm import tqdm

from scarlet_sed.errors import ParameterError
from scarlet_sed.infer.sampling.target import AnyTarget
from scarlet_sed.parameters import as_float
from scarlet_sed.typing import Array, HostArray

_MOST = 1000
"""Numbers of a Gaussian with a covariance of its own, which has as many parameters as their square."""
_PIECE = 50
"""Steps between two looks at the progress bar."""
_PARTICLES = 4
"""Draws that a step's gradient is a mean of."""
_RATE, _LAST = 0.02, 0.01
"""Of Adam's first steps, in standard deviations, and by what factor that is less in the last ones."""
_SITE = "whitened"


class Gaussian(NamedTuple):
    """A Gaussian in whitened numbers.

    Args:
        mean: (size,).
        root: (size, size) of its covariance; None for that of the coordinates, which is one.
    """

    mean: HostArray
    root: HostArray | None

    def __call__(self, normal: HostArray) -> HostArray:
        """(n, size) draws from standard normal ones."""
        return np.asarray(as_float(self.mean + (normal if self.root is None else normal @ self.root.T)))


def variational(target: AnyTarget, seed: int, steps: int, *, progress: bool) -> Gaussian:
    """The Gaussian q of least Kullback-Leibler divergence E_q[log q - log p] from the density p.

    Adam on draws' gradients (Kucukelbir et al. 2017, JMLR 18, 14) from a standard normal one.

    Args:
        target: the density, about round.
        seed: of the draws.
        steps: of Adam.
        progress: whether to show a progress bar (only on a terminal).

    Raises:
        ParameterError: for more numbers than a covariance can be fitted to.
    """
    size = target.coordinates.size
    if size > _MOST:
        raise ParameterError(
            f'method "svi" fits the covariance of {_MOST} numbers at most, and there are {size}',
            fix='freeze images, or take method "laplace"',
        )
    state = _begin(target, jax.random.key(seed), steps)
    with tqdm(total=steps, desc="svi", unit="step", disable=None if progress else True) as shown:
        for done in range(0, steps, _PIECE):
            state = _advance(target, state, steps, min(_PIECE, steps - done))
            shown.update(min(_PIECE, steps - done))
    return Gaussian(*(np.asarray(each) for each in _moments(target, state, steps)))


def _inference(target: AnyTarget, steps: int) -> SVI:
    start = jnp.zeros(target.coordinates.size)

    def model() -> None:
        whitened = numpyro.sample(_SITE, dist.ImproperUniform(constraints.real, (), start.shape))
        numpyro.factor("density", -target.potential(whitened))

    guide = AutoMultivariateNormal(model, init_loc_fn=init_to_value(values={_SITE: start}), init_scale=1.0)
    rate = optax.exponential_decay(_RATE, steps, _LAST)
    return SVI(model, guide, optax.adam(rate), Trace_ELBO(num_particles=_PARTICLES))


def _ready(target: AnyTarget, steps: int) -> SVI:
    """The same, set up. Inside of compiled code, what is not used of it costs nothing."""
    svi = _inference(target, steps)
    svi.init(jax.random.key(0))
    return svi


@partial(jax.jit, static_argnames="steps")
def _begin(target: AnyTarget, key: Array, steps: int) -> Any:
    return _inference(target, steps).init(key)


@partial(jax.jit, static_argnames=("steps", "count"))
def _advance(target: AnyTarget, state: Any, steps: int, count: int) -> Any:
    svi = _ready(target, steps)
    # a step with a draw off the priors' supports is left out
    return jax.lax.scan(lambda state, _: (svi.stable_update(state)[0], None), state, None, length=count)[0]


@partial(jax.jit, static_argnames="steps")
def _moments(target: AnyTarget, state: Any, steps: int) -> tuple[Array, Array]:
    """(size,) mean and (size, size) root of the covariance."""
    svi = _ready(target, steps)
    found = svi.guide.get_posterior(svi.get_params(state))
    return found.loc, found.scale_tril
