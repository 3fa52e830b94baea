"""From a network's draws to the exact posterior: importance resampling, and a short walk with the exact likelihood.

Walkers begin at draws that were picked by their importance weights, in all the modes that the network knows, and move
by differences of each other (ter Braak 2006, Stat. Comput. 16, 239), which needs no tuning and no gradients, for many
objects at once. They walk where the network's posterior is a round Gaussian, so that the exact one nearly is, too
(Hoffman et al. 2019, arXiv:1903.03704). Every spectrum is evaluated exactly.
"""

from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from scarlet_sed.amortized.context import Measured
from scarlet_sed.amortized.networks import Told
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
    far = np.log1p(found.values["redshift"]) if free else np.zeros((count, pool))
    places = np.concatenate([found.numbers, far[..., None]], axis=-1)[each, chosen]
    keys = jax.random.split(jax.random.key(seed + 1), count)

    def rows(flux: Array, sigma: Array, present: Array, z: Array, begin: Array, targets: Array, keys: Array) -> Any:
        return _walk(posterior, Measured(flux, sigma, present), z, begin, targets, keys, steps, keep, free)

    columns = (np.asarray(a) for a in (measured.flux, measured.sigma, measured.present))
    values, accepted = by_chunks(
        rows, *columns, known, places, targets[each, chosen], keys, size=max(1, _WALKERS // walkers)
    )
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
def _walk(
    posterior: AmortizedPosterior,
    measured: Measured,
    redshift: Array,
    begin: Array,
    targets: Array,
    keys: Array,
    steps: int,
    keep: int,
    free: bool,
) -> tuple[dict[str, Array], Array]:
    """(object, walker * keep, ...) values, and (object,) shares of steps taken."""
    size = begin.shape[-1] if free else begin.shape[-1] - 1
    half = begin.shape[1] // 2
    moves = jnp.arange(begin.shape[-1]) < size
    shaken = jnp.full(begin.shape[-1], _SHAKEN).at[-1].set(_SHAKEN_FAR)
    networks = posterior.networks
    density = networks.redshift if free else None
    told = jax.vmap(lambda m, z: networks.told(m, z if density is None else density(m)))(measured, redshift)

    def redshift_at(place: Array, known: Array) -> Array:
        return jnp.expm1(place[-1]) if free else known

    def values_of(place: Array, measured: Measured, known: Array, told: Told) -> tuple[dict[str, Array], Array, Array]:
        z = redshift_at(place, known)
        numbers, stretched = networks.flow.bijection.transform_and_log_det(place[:-1], told.at(z))
        values, volume = posterior.described.values(numbers, measured, z)
        return values, z, volume + stretched + (place[-1] if free else 0.0)

    def base_of(place: Array, known: Array, told: Told) -> Array:
        base = networks.flow.bijection.inverse(place[:-1], told.at(redshift_at(place, known)))
        return jnp.append(base, place[-1])

    def level(place: Array, measured: Measured, known: Array, told: Told) -> Array:
        values, z, volume = values_of(place, measured, known, told)
        found = target_of(posterior, measured, z, values, free) + volume
        return jnp.where(jnp.isfinite(found), found, -jnp.inf)

    levels = jax.vmap(jax.vmap(level, (0, None, None, None)))

    def moved(places: Array, now: Array, key: Array) -> tuple[Array, Array, Array]:
        """The first half moves along differences of the second, which then comes first."""

        def tried(places: Array, key: Array) -> Array:
            one, two, how, far, shake = jax.random.split(key, 5)
            a = jax.random.randint(one, (half,), 0, half)
            b = (a + jax.random.randint(two, (half,), 1, half)) % half
            long = jax.random.uniform(how, (half, 1)) < _LONG
            spread = jnp.exp(0.3 * jax.random.normal(far, (half, 1)))
            factor = jnp.where(long, 1.0, 2.38 / np.sqrt(2 * size) * spread)
            resting = places[half:]
            step = factor * (resting[a] - resting[b]) + shaken * jax.random.normal(shake, resting.shape)
            return places[:half] + jnp.where(moves, step, 0.0)

        own = jax.vmap(partial(jax.random.split, num=2))(key)
        new = jax.vmap(tried)(places, own[:, 0])
        there = levels(new, measured, redshift, told)
        chance = jnp.log(jax.vmap(lambda k: jax.random.uniform(k, (half,)))(own[:, 1]))
        taken = chance < there - now[:, :half]
        first = jnp.where(taken[..., None], new, places[:, :half])
        height = jnp.where(taken, there, now[:, :half])
        return (
            jnp.concatenate([places[:, half:], first], axis=1),
            jnp.concatenate([now[:, half:], height], axis=1),
            jnp.mean(taken, axis=1),
        )

    def step(carry: tuple[Array, Array], number: Array) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        places, now = carry
        taken = []
        for part in range(2):
            own = jax.vmap(lambda k, part=part: jax.random.fold_in(k, 2 * number + part))(keys)
            places, now, share = moved(places, now, own)
            taken.append(share)
        before = places
        # other halves next time
        order = jax.vmap(lambda k: jax.random.permutation(jax.random.fold_in(k, -1 - number), 2 * half))(keys)
        places, now = jax.vmap(lambda own, each: jax.tree.map(lambda a: a[own], each))(order, (places, now))
        return (places, now), (before, 0.5 * (taken[0] + taken[1]))

    begin = jax.vmap(jax.vmap(base_of, (0, None, None)))(begin, redshift, told)
    volumes = jax.vmap(jax.vmap(lambda *of: values_of(*of)[2], (0, None, None, None)))
    heights = targets + volumes(begin, measured, redshift, told)
    heights = jnp.where(jnp.isfinite(heights), heights, -jnp.inf)
    _, (every, taken) = jax.lax.scan(step, (begin, heights), jnp.arange(steps))
    # the first half is forgotten: it begins where the network was
    kept = every[np.linspace(steps - 1, steps // 2, keep).round().astype(int)[::-1]]
    flat = jnp.moveaxis(kept, 0, 1).reshape(begin.shape[0], -1, begin.shape[-1])

    def shown(place: Array, measured: Measured, known: Array, told: Told) -> dict[str, Array]:
        values, z, _ = values_of(place, measured, known, told)
        return {**values, "redshift": z} if free else values

    return jax.vmap(jax.vmap(shown, (0, None, None, None)))(flat, measured, redshift, told), jnp.mean(taken, axis=0)
