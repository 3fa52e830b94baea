"""Moves of one object's spectrum in the base of the flow, where its posterior is nearly round.

Images may know a bright galaxy better than the network does: what is a normal distribution to the network is a thin
sheet in its base then. So modes are sought from good draws of the network, and the curvatures there. Places are drawn
around them, and walks from where the galaxy is take steps that are as long in each direction as these allow.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from scarlet_sed.amortized.one import OneDrawn, OneObject
from scarlet_sed.typing import Array

CROWD = 16
"""Proposals of a round; one by one, each would wait for the weights of all networks to come from memory."""
_FREEDOM = 5.0
"""Degrees of freedom of draws around the mode: their tails must not be lighter than the target's."""
MODES = 2
"""That are sought."""
_BETWEEN = 4
"""Rounds from one in which places are drawn around modes to the next."""
_CLIMBS = 10
"""Levenberg-Marquardt steps to each."""
_TEMPER = 0.5
"""Modes are worth this power of their share of the target, as far as it is that of a normal distribution."""
_NOTHING = -1e30
"""Logarithm of what a mode outside of the target's support is worth: finite, or shares would not be numbers."""
_DAMPING = 1.0
"""Of the first of them, in units of the base's own curvature."""
_EASED = 5.0
"""By so much less is a step damped after one that led up, and more after one that did not."""
_SIZES = (0.1, 1.0)
"""Of steps, in widths, between which they are drawn evenly in the logarithm."""


class Based(NamedTuple):
    """What one object's target looks like at places of the flow's base, see `OneDrawn`. Traced.

    Args:
        one: the object.
        weight: from values and their log-density to the logarithm of the target's density over the network's.
        residual: from values to (band,) fluxes less the data, in units of their errors.
    """

    one: OneObject
    weight: Callable[[dict[str, Array], Array], Array]
    residual: Callable[[dict[str, Array]], Array]

    def at(self, place: Array) -> tuple[dict[str, Array], Array]:
        """Values at a place, and the logarithm of the target's density a unit of it; minus infinity for none."""
        drawn = self.one.at(place)
        found = self.weight(drawn.values, drawn.log_prob) + self.one.volume(place)
        return drawn.values, jnp.where(jnp.isfinite(found), found, -jnp.inf)


class Mode(NamedTuple):
    """A normal distribution about a mode.

    Args:
        place: (n,) of the mode.
        level: of the target there.
        axes: (n, n) a column for each direction, in units of the place.
        deviations: (n,) of these.
    """

    place: Array
    level: Array
    axes: Array
    deviations: Array

    def step(self, numbers: Array) -> Array:
        """(n,) step that (n,) standard numbers make."""
        return self.axes @ (self.deviations * numbers)

    def heavy(self, key: Array) -> Array:
        """(n,) place, of Student's distribution."""
        own, common = jax.random.split(key)
        power = jax.random.gamma(common, 0.5 * _FREEDOM) / (0.5 * _FREEDOM)
        return self.place + self.step(jax.random.normal(own, self.place.shape) / jnp.sqrt(power))

    def heavy_level(self, place: Array) -> Array:
        """Logarithm of that density, up to a constant that all modes share."""
        off = jnp.linalg.solve(self.axes, place - self.place) / self.deviations
        tails = -0.5 * (_FREEDOM + off.size) * jnp.log1p(jnp.sum(off**2) / _FREEDOM)
        return tails - jnp.sum(jnp.log(self.deviations))


class Modes(NamedTuple):
    """A mixture of distributions about several modes, which may be the same.

    Args:
        every: with a leading axis.
        shares: (mode,) logarithms.
    """

    every: Mode
    shares: Array

    @staticmethod
    def near(based: "Based", starts: Array) -> "Modes":
        """Modes that climbs from (mode, n) places lead to."""
        every = jax.vmap(lambda start: mode_near(based, start))(starts)
        worth = every.level + jnp.sum(jnp.log(every.deviations), axis=1)
        # where no climb reached the target's support, all are worth the same, and not shares of nothing
        return Modes(every, jax.nn.log_softmax(_TEMPER * jnp.where(jnp.isfinite(worth), worth, _NOTHING)))

    def pick(self, key: Array) -> Mode:
        """One of them."""
        chosen = jax.random.categorical(key, self.shares)
        return jax.tree.map(lambda each: each[chosen], self.every)

    def heavy_level(self, place: Array) -> Array:
        """Logarithm of the density of places drawn about one that was picked, up to a constant."""
        return jax.nn.logsumexp(self.shares + jax.vmap(lambda mode: mode.heavy_level(place))(self.every))


def mode_near(based: Based, start: Array) -> Mode:
    """A mode that a few Levenberg-Marquardt steps from (n,) a place lead to, or towards."""
    widths = based.one.widths()

    def both(off: Array) -> tuple[tuple[Array, Array], Array]:
        values, level = based.at(start + widths * off)
        return (based.residual(values), level), level

    def climb(now: tuple[_Seen, Array, Array], _: None) -> tuple[tuple[_Seen, Array, Array], None]:
        here, to, damping = now
        (slopes, uphill), level = jax.jacfwd(both, has_aux=True)(to)
        better = level > here.level
        there = _Seen(to, level, _finite(slopes), _finite(uphill))
        here = jax.tree.map(lambda new, old: jnp.where(better, new, old), there, here)
        power, axes = here.curvature()
        damping = damping * jnp.where(better, 1 / _EASED, _EASED)
        return (here, here.off + axes @ ((axes.T @ here.uphill) / (power + damping)), damping), None

    zero = jnp.zeros_like(start)
    bands = jax.eval_shape(both, zero)[0][0].size
    nowhere = _Seen(zero, jnp.asarray(-jnp.inf), jnp.zeros((bands, zero.size)), zero)
    (top, _, _), _ = jax.lax.scan(climb, (nowhere, zero, jnp.asarray(_DAMPING)), None, length=_CLIMBS)
    power, axes = top.curvature()
    return Mode(start + widths * top.off, top.level, widths[:, None] * axes, 1 / jnp.sqrt(power))


class _Seen(NamedTuple):
    """Of a place on the way to the mode: where, its level, and the slopes of residuals and of the level."""

    off: Array
    level: Array
    slopes: Array
    uphill: Array

    def curvature(self) -> tuple[Array, Array]:
        """(n,) curvatures and the (n, n) directions that they are along.

        None is below the network's own: what images do not know is as wide as the network says.
        """
        power, axes = jnp.linalg.eigh(self.slopes.T @ self.slopes)
        return jnp.maximum(power, 1.0), axes


def _finite(array: Array) -> Array:
    return jnp.where(jnp.isfinite(array), array, 0.0)


class Walker(NamedTuple):
    """Values where a walk is, the place, the level there, and in how many rounds it moved."""

    values: dict[str, Array]
    place: Array
    level: Array
    moved: Array


def walked(based: Based, now: OneDrawn, height: Array, good: Array, key: Array, rounds: int) -> Walker:
    """Where all rounds lead. Traced.

    In some rounds, places are drawn around modes, and one of them or the present one is chosen by target over
    proposal (Andrieu, Lee & Vihola 2018, Bernoulli 24, 842). In the others a step leads from the place to a centre, and
    steps from there to several proposals. Each step is as likely as the one back: the place and the proposals could
    each have been the first, and one of them is chosen by the target's density (Tjelmeland 2004, NTNU Statistics
    4/2004; Calderhead 2014, PNAS 111, 17408).

    Args:
        based: the object.
        now: where it is.
        height: logarithm of its weight there; infinite where nothing may lead away.
        good: (mode, n) places that fit well, and must not depend on where it is: modes are sought from there.
        key: of everything random.
        rounds: of the walk.
    """
    modes = Modes.near(based, good)

    def round_of(now: Walker, each: tuple[Array, Array]) -> tuple[Walker, None]:
        leap, key = each
        pick, how, first, others, choose = jax.random.split(key, 5)
        mode = modes.pick(pick)
        size = jnp.exp(jax.random.uniform(how, minval=np.log(_SIZES[0]), maxval=np.log(_SIZES[1])))
        centre = now.place + size * mode.step(jax.random.normal(first, now.place.shape))

        def proposed(key: Array) -> Array:
            pick, own = jax.random.split(key)
            step = size * mode.step(jax.random.normal(own, now.place.shape))
            return jnp.where(leap, modes.pick(pick).heavy(own), centre + step)

        places = jax.vmap(proposed)(jax.random.split(others, CROWD))
        values, levels = jax.vmap(based.at)(places)
        every = with_last((values, places, levels), (now.values, now.place, now.level))
        drawn = jnp.where(leap, jax.vmap(modes.heavy_level)(every[1]), 0.0)
        chosen = jax.random.categorical(choose, every[2] - drawn)
        values, place, level = jax.tree.map(lambda each: each[chosen], every)
        return Walker(values, place, level, now.moved + (chosen < CROWD)), None

    start = Walker(now.values, now.place, height + based.one.volume(now.place), jnp.zeros((), jnp.int32))
    leaps = jnp.arange(rounds) % _BETWEEN == 0
    end, _ = jax.lax.scan(round_of, start, (leaps, jax.random.split(key, rounds)))
    return end


def with_last(many: Any, one: Any) -> Any:
    """Rows of a tree and one more."""
    return jax.tree.map(lambda rows, row: jnp.concatenate([rows, row[None]]), many, one)
