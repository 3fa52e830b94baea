"""From a network's draws to the exact posterior: importance resampling, and a short walk with the exact likelihood.

Walkers begin at draws that were picked by their importance weights, in all the modes that the network knows, and move
by differences of each other (ter Braak 2006, Stat. Comput. 16, 239), which needs no tuning and no gradients, for many
objects at once. They walk where the network's posterior is a round Gaussian, so that the exact one nearly is, too
(Hoffman et al. 2019, arXiv:1903.03704). Every spectrum is evaluated exactly.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from scarlet_sed.amortized.context import Measured
from scarlet_sed.amortized.one import OneObject
from scarlet_sed.amortized.posterior import AmortizedPosterior, effective, log_weights_of, target_of
from scarlet_sed.errors import ParameterError
from scarlet_sed.infer.chunks import by_chunks
from scarlet_sed.typing import Array, HostArray

_WALKERS = 512
"""That walk at once."""
_HALVINGS = 30
_SHAKEN, _SHAKEN_FAR = 1e-3, 1e-5
"""Standard deviations that each step has besides, in the base and in ln(1 + z): any place can be reached."""
_LONG = 0.1
"""Share of steps that are as long as the difference of two walkers, which leads from mode to mode."""


class Refined(NamedTuple):
    """Draws from the exact posterior, as far as the walk was long enough.

    Args:
        values: (object, draw, ...) by path, `redshift` among them where it is free.
        effective: (object,) effective draws of the network's, by their importance weights, before the walk.
        accepted: (object,) share of steps that were taken.
    """

    values: dict[str, HostArray]
    effective: HostArray
    accepted: HostArray


def refine(
    posterior: AmortizedPosterior,
    fluxes: Any,
    errors: Any,
    redshift: Any = None,
    *,
    pool: int = 640,
    walkers: int = 256,
    steps: int = 4,
    keep: int = 2,
    seed: int = 0,
) -> Refined:
    """Draw from the exact posterior of every object, starting at the network's draws.

    Args:
        posterior: trained.
        fluxes, errors, redshift: as for `AmortizedPosterior.sample`.
        pool: draws of the network that starts are picked from.
        walkers: per object; even.
        steps: of each walker.
        keep: places of each walker that are returned, evenly from the second half of its steps.
        seed: of everything random.

    Returns:
        `walkers * keep` draws of each object; walkers that rest between two kept places are there twice.

    Raises:
        ParameterError: for numbers that make no sense; else as `AmortizedPosterior.sample`.
    """
    if walkers < 4 or walkers % 2 or pool < walkers or not 1 <= keep <= steps - steps // 2:
        raise ParameterError(
            f"{walkers} walkers of a pool of {pool}, {keep} of the second half of {steps} steps kept",
            fix="give an even number of walkers, a larger pool, and more steps or fewer that are kept",
        )
    found = posterior.sample(fluxes, errors, redshift, draws=pool, seed=seed)
    targets = posterior.log_target(found.values, fluxes, errors, redshift)
    weights = log_weights_of(targets, found.log_prob)
    measured, free = posterior.measured(fluxes, errors), redshift is None
    count = measured.flux.shape[0]
    known = posterior.known_redshifts(redshift, count)
    rng = np.random.default_rng(seed)
    fewest = 2 * (found.numbers.shape[-1] + 2)
    chosen = np.stack([_picked(_tempered(row, fewest), walkers, rng) for row in weights])
    each = np.arange(count)[:, None]
    walk = partial(_walked, posterior, steps, keep, free)
    at = found.values["redshift"] if free else np.repeat(known[:, None], pool, axis=1)
    keys = jax.random.split(jax.random.key(seed + 1), count)

    def rows(flux: Array, sigma: Array, present: Array, *others: Array) -> Any:
        return walk(Measured(flux, sigma, present), *others)

    columns = (np.asarray(a) for a in (measured.flux, measured.sigma, measured.present))
    begin = (whole[each, chosen] for whole in (found.numbers, at, targets))
    values, accepted = by_chunks(rows, *columns, known, *begin, keys, size=max(1, _WALKERS // walkers))
    return Refined(values, effective(weights, found.leak), accepted)


def _tempered(log_weights: HostArray, fewest: int) -> HostArray:
    """(draw,) the weights, or the highest power of them of which so many draws are effective.

    Walkers move by their differences: those of one place would stay there, and those of few within a plane.
    """
    log_weights = np.where(np.isfinite(log_weights), log_weights, -np.inf)
    there = np.isfinite(log_weights)
    if effective(log_weights[None])[0] >= min(fewest, there.sum()):
        return log_weights if there.any() else np.zeros_like(log_weights)
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        power = 0.5 * (low + high)
        enough = effective(np.where(there, power * np.where(there, log_weights, 0.0), -np.inf)[None])[0] >= fewest
        low, high = (power, high) if enough else (low, power)
    return np.where(there, low * np.where(there, log_weights, 0.0), -np.inf)


def _picked(log_weights: HostArray, count: int, rng: np.random.Generator) -> np.ndarray:
    """(count,) places, picked evenly by weight (systematic resampling), in random order."""
    until = np.cumsum(np.exp(log_weights - log_weights.max()))
    at = (np.arange(count) + rng.random()) / count * until[-1]
    return rng.permutation(np.minimum(np.searchsorted(until, at), len(until) - 1))


@eqx.filter_jit
def _walked(
    posterior: AmortizedPosterior,
    steps: int,
    keep: int,
    free: bool,
    measured: Measured,
    redshift: Array,
    numbers: Array,
    redshifts: Array,
    targets: Array,
    keys: Array,
) -> tuple[dict[str, Array], Array]:
    """(object, walker * keep, ...) values, and (object,) shares of steps taken."""

    def each(measured: Measured, redshift: Array, numbers: Array, redshifts: Array, targets: Array, key: Array) -> Any:
        one = OneObject.of(posterior, measured, redshift, free)

        def level(place: Array) -> Array:
            drawn = one.at(place)
            z = drawn.values["redshift"] if free else redshift
            found = target_of(posterior, measured, z, drawn.values, free) - drawn.log_prob + one.volume(place)
            return jnp.where(jnp.isfinite(found), found, -jnp.inf)

        start = jax.vmap(one.at)(jax.vmap(one.place)(numbers, redshifts))
        height = targets - start.log_prob + jax.vmap(one.volume)(start.place)
        height = jnp.where(jnp.isfinite(height), height, -jnp.inf)
        every, taken = _walk(level, start.place, height, key, steps, free)
        # the first half is forgotten: it begins where the network was
        kept = every[np.linspace(steps - 1, steps // 2, keep).round().astype(int)[::-1]]
        return jax.vmap(lambda place: one.at(place).values)(kept.reshape(-1, kept.shape[-1])), taken

    return jax.vmap(each)(measured, redshift, numbers, redshifts, targets, keys)


def _walk(
    level: Callable[[Array], Array], begin: Array, height: Array, key: Array, steps: int, free: bool
) -> tuple[Array, Array]:
    """(step, walker, n) places, and the share of steps taken.

    Args:
        level: logarithm of the density at (n,) a place.
        begin: (walker, n) places.
        height: (walker,) levels there.
        key: of everything random.
        steps: of each walker.
        free: whether the last number of a place is ln(1 + z).
    """
    walkers, size = begin.shape
    half = walkers // 2
    shaken = jnp.full(size, _SHAKEN)
    shaken = shaken.at[-1].set(_SHAKEN_FAR) if free else shaken

    def moved(places: Array, now: Array, key: Array) -> tuple[Array, Array, Array]:
        """The first half moves along differences of the second, which then comes first."""
        one, two, how, far, shake, choose = jax.random.split(key, 6)
        a = jax.random.randint(one, (half,), 0, half)
        b = (a + jax.random.randint(two, (half,), 1, half)) % half
        long = jax.random.uniform(how, (half, 1)) < _LONG
        spread = jnp.exp(0.3 * jax.random.normal(far, (half, 1)))
        factor = jnp.where(long, 1.0, 2.38 / np.sqrt(2 * size) * spread)
        resting = places[half:]
        new = places[:half] + factor * (resting[a] - resting[b]) + shaken * jax.random.normal(shake, resting.shape)
        there = jax.vmap(level)(new)
        taken = jnp.log(jax.random.uniform(choose, (half,))) < there - now[:half]
        first = jnp.where(taken[:, None], new, places[:half])
        return (
            jnp.concatenate([resting, first]),
            jnp.concatenate([now[half:], jnp.where(taken, there, now[:half])]),
            jnp.mean(taken),
        )

    def step(now: tuple[Array, Array], key: Array) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        first, second, mix = jax.random.split(key, 3)
        places, levels, one = moved(*now, first)
        places, levels, other = moved(places, levels, second)
        # other halves next time
        order = jax.random.permutation(mix, walkers)
        return (places[order], levels[order]), (places, 0.5 * (one + other))

    _, (every, taken) = jax.lax.scan(step, (begin, height), jax.random.split(key, steps))
    return every, jnp.mean(taken)
