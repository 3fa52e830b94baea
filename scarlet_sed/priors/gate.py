"""Whether a learnt density of images may be sampled: the same from all starts, and as wide as its errors."""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from numpyro.diagnostics import split_gelman_rubin
from numpyro.infer import NUTS

from scarlet_sed.errors import DataError
from scarlet_sed.parameters import as_float
from scarlet_sed.priors.base import MorphologyPrior
from scarlet_sed.priors.gaussian import unit_images
from scarlet_sed.transforms import bijection
from scarlet_sed.typing import Array, HostArray

RHAT = 1.05
SCORES = (0.9, 1.1)
_LOOKED_AT = 64
"""Numbers of each image, the first ones, that are looked at one by one."""


class Gate(NamedTuple):
    """What a sampler found.

    Args:
        prior_rhat: worst R-hat of the prior's own draws, of chains from galaxies and from the middle: of the first
            numbers, of their length, and of the log-density.
        rhat: worst R-hat of posteriors of images seen with noise, of chains from the truth and from the middle.
        score_rms: root mean square of (truth - mean) / deviation over the numbers and images.
        variance_ratio: mean square of truth - mean over the mean variance.
        flux: largest deviation of the sum of an image from one.
        divergences: share of draws.
    """

    prior_rhat: float
    rhat: float
    score_rms: float
    variance_ratio: float
    flux: float
    divergences: float

    @property
    def refusal(self) -> str:
        """Why it must not be sampled, or nothing."""
        low, high = SCORES
        worst = max(self.prior_rhat, self.rhat)
        reasons = [
            (not worst < RHAT, f"chains from a galaxy and from the middle differ (R-hat {worst:.3f})"),
            (not low < self.score_rms < high, f"errors are {self.score_rms:.2f} of what it says"),
            (not self.flux < 1e-4, f"the flux drifts by {self.flux:.1e}"),
        ]
        return "; ".join(text for bad, text in reasons if bad)


def sampling_gate(
    prior: dist.Distribution,
    images: Any,
    *,
    truths: int = 4,
    noise: float = 1.0,
    warmup: int = 300,
    draws: int = 500,
    seed: int = 0,
    progress: Callable[[str], None] = lambda _: None,
) -> Gate:
    """Sample a prior from galaxies and from the middle, then posteriors of its own draws, from these and the middle.

    The draws are seen as numbers with noise, so that nothing but the prior decides how hard that is; as they are the
    prior's own, errors must be as large as the posteriors say, whatever was learnt.

    Args:
        prior: with a density.
        images: (galaxy, height, width) that it was not learnt from, two at least.
        truths: how many posteriors.
        noise: of the numbers' own deviations under the prior alone.
        warmup, draws: of each of four chains.
        seed: of everything random.
        progress: called with a line at times.

    Raises:
        DataError: for fewer than two galaxies.
    """
    known = as_float(unit_images(images))
    if len(known) < 2:
        raise DataError("one galaxy judges no prior", fix="give two at least")
    to_image = bijection(prior, known.shape[1:])
    galaxies = to_image.inv(known[:2])
    middle = jnp.zeros_like(galaxies[0])
    of_prior, of_noise, of_posterior = jax.random.split(jax.random.key(seed), 3)

    def sampled(precision: float, seen: Array, begins: Array, key: Array) -> _Draws:
        keys = jax.random.split(key, begins.shape[:2])
        found = _sampled(prior, as_float(precision), seen, begins, keys, warmup, draws)
        return _Draws(*(np.asarray(each) for each in found))

    begins = jnp.stack([galaxies[0], middle, galaxies[1], middle])[None]
    alone = sampled(0.0, middle[None], begins, of_prior)
    prior_rhat = _rhat(alone.numbers[0], alone.potential[0])
    progress(f"alone: R-hat {prior_rhat:.3f}")
    flux = float(jnp.max(jnp.abs(to_image(as_float(alone.numbers[0, :, ::10])).sum(axis=(-2, -1)) - 1)))
    own = alone.numbers[0, :, draws // 2 :].reshape(-1, middle.size)
    truth = as_float(own[np.linspace(0, len(own) - 1, truths).astype(int)])
    seen = truth + noise * jax.random.normal(of_noise, truth.shape)
    begins = jnp.stack([truth, jnp.zeros_like(truth)] * 2, axis=1)
    found = sampled(noise**-2.0, seen, begins, of_posterior)
    numbers = found.numbers.astype(float).reshape(truths, -1, middle.size)
    away, variance = np.asarray(truth, float) - numbers.mean(axis=1), numbers.var(axis=1)
    return Gate(
        prior_rhat=prior_rhat,
        rhat=max(_rhat(*each) for each in zip(found.numbers, found.potential, strict=True)),
        score_rms=float(np.sqrt(np.mean(away**2 / variance))),
        variance_ratio=float(np.mean(away**2) / np.mean(variance)),
        flux=flux,
        divergences=float(np.mean([alone.diverged.mean(), found.diverged.mean()])),
    )


class _Draws(NamedTuple):
    numbers: Any
    """(image, chain, draw, n - 1)"""
    potential: Any
    """(image, chain, draw)"""
    diverged: Any
    """(image, chain, draw)"""


@eqx.filter_jit
def _sampled(
    prior: dist.Distribution, precision: Array, seen: Array, begins: Array, keys: Array, warmup: int, draws: int
) -> _Draws:
    """Chains (image, chain) of posteriors of images seen with noise; of the prior where the precision is zero."""
    to_image = bijection(prior, prior.event_shape)

    def chain(seen: Array, begin: Array, key: Array) -> _Draws:
        def potential(numbers: Array) -> Array:
            away = 0.5 * precision * jnp.sum(jnp.square(numbers - seen))
            if isinstance(prior, MorphologyPrior):
                return away - prior.log_density(numbers)
            image = to_image(numbers)
            return away - prior.log_prob(image) - to_image.log_abs_det_jacobian(numbers, image)

        kernel = NUTS(potential_fn=potential, adapt_mass_matrix=False, max_tree_depth=8)
        state = kernel.init(key, warmup, begin, (), {})

        def step(state: Any, _: None) -> tuple[Any, _Draws]:
            state = kernel.sample(state, (), {})
            return state, _Draws(state.z, state.potential_energy, state.diverging)

        state, _ = jax.lax.scan(lambda s, _: (kernel.sample(s, (), {}), None), state, length=warmup)
        return jax.lax.scan(step, state, length=draws)[1]

    return jax.vmap(jax.vmap(chain, (None, 0, 0)))(seen, begins, keys)


def _rhat(numbers: HostArray, potential: HostArray) -> float:
    """The worst of what is looked at, of (chain, draw, n - 1) numbers."""
    numbers = numbers.astype(float)
    length = np.sum(numbers**2, axis=-1, keepdims=True)
    looked = np.concatenate([numbers[..., :_LOOKED_AT], length, potential.astype(float)[..., None]], axis=-1)
    return float(np.max(split_gelman_rubin(looked)))
