"""Walks of one object's spectrum from where it is, in the base of the flow, where its posterior is nearly round.

Images may know a bright galaxy better than the network does: what is a normal distribution to the network is a thin
sheet in its base then. So steps are as long in each direction as fluxes allow, by their slopes at a good draw.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import solve_triangular

from scarlet_sed.amortized.one import OneObject
from scarlet_sed.typing import Array

CROWD = 16
"""Proposals of a round; one by one, each would wait for the weights of all networks to come from memory."""
_SIZES = (0.1, 1.0)
"""Of steps, in widths, between which they are drawn evenly in the logarithm."""
_NARROWEST = 1e-4
"""Least width of the density of ln(1 + z)."""


class _Walker(NamedTuple):
    """Where a walk is in the base and in ln(1 + z), logarithm of the target there, rounds in which it moved."""

    place: Array
    level: Array
    moved: Array


def walked(
    one: OneObject,
    values: dict[str, Array],
    height: Array,
    weight: Callable[[dict[str, Array], Array], Array],
    seen: Callable[[dict[str, Array]], Array],
    best: dict[str, Array],
    keys: Array,
) -> tuple[dict[str, Array], Array, Array]:
    """Values after a round for each key, the logarithm of their weight, and in how many rounds they changed. Traced.

    In a round, a step leads from the place to a centre, and steps from there to several proposals. Each step is as
    likely as the one back: the place and the proposals could each have been the first, and one of them is chosen by the
    target's density (Tjelmeland 2004, NTNU Statistics 4/2004; Calderhead 2014, PNAS 111, 17408).

    Args:
        one: the object.
        values: where it is.
        height: logarithm of its weight there.
        weight: from values and their log-density to the logarithm of the target's density over the network's.
        seen: from values to (band,) fluxes in units of their errors.
        best: values that fit well, and must not depend on where it is: lengths of steps are taken there.
        keys: (round,) of everything random.
    """
    free = one.density is not None

    def at(place: Array) -> tuple[dict[str, Array], Array]:
        """Values at a place, and the logarithm of the network's density in units of base and ln(1 + z)."""
        z = jnp.expm1(place[-1]) if free else one.redshift
        found = one.at(place[:-1], z)
        return found.values, found.log_prob

    def volume(place: Array) -> Array:
        """Logarithm of the network's density a unit of the base and of ln(1 + z)."""
        far = one.of_redshift(jnp.expm1(place[-1])) + place[-1] if free else 0.0
        return far - 0.5 * jnp.sum(place[:-1] ** 2)

    def level(place: Array) -> Array:
        found = weight(*at(place)) + volume(place)
        return jnp.where(jnp.isfinite(found), found, -jnp.inf)

    def place_of(values: dict[str, Array]) -> Array:
        z = values["redshift"] if free else one.redshift
        return jnp.append(one.base(values), jnp.log1p(z))

    root = _root(one, lambda place: seen(at(place)[0]), place_of(best))

    def stepped(place: Array, size: Array, key: Array) -> Array:
        return place + size * solve_triangular(root, jax.random.normal(key, place.shape))

    def round_of(now: _Walker, key: Array) -> tuple[_Walker, None]:
        how, first, others, choose = jax.random.split(key, 4)
        size = jnp.exp(jax.random.uniform(how, minval=np.log(_SIZES[0]), maxval=np.log(_SIZES[1])))
        centre = stepped(now.place, size, first)
        places = jax.vmap(lambda k: stepped(centre, size, k))(jax.random.split(others, CROWD))
        levels = jnp.append(jax.vmap(level)(places), now.level)
        chosen = jax.random.categorical(choose, levels)
        after = jnp.concatenate([places, now.place[None]])[chosen]
        return _Walker(after, levels[chosen], now.moved + (chosen < CROWD)), None

    begin = place_of(values)
    # where the place has no weight, and so an infinite height, nothing leads away from it
    start = _Walker(begin, height + volume(begin), jnp.zeros((), jnp.int32))
    end, _ = jax.lax.scan(round_of, start, keys)
    after, _ = at(end.place)
    moved = end.moved > 0
    # what never moved stays as it is, to the last bit
    found = {path: jnp.where(moved, after[path], own) for path, own in values.items()}
    return found, jnp.where(moved, end.level - volume(end.place), height), end.moved


def _root(one: OneObject, seen: Callable[[Array], Array], place: Array) -> Array:
    """(n + 1, n + 1) upper triangle whose square is the curvature of the target at a place."""
    wide = jnp.ones(place.shape)
    if one.density is not None:
        low, high = one.density.quantiles(jnp.array([0.16, 0.84]))
        wide = wide.at[-1].set(jnp.maximum(0.5 * (high - low), _NARROWEST))
    slopes = jnp.concatenate([jax.jacfwd(seen)(place), jnp.diag(1 / wide)])
    found: Array = jnp.linalg.qr(jnp.where(jnp.isfinite(slopes), slopes, 0.0), mode="r")
    return found
