"""Images of galaxies drawn from what their stamps and a prior know of them, all stamps at once.

Each draw is a maximum: of the posterior of data with some more noise, and of a prior whose middle is moved by a draw of
its own (randomised maximum likelihood: Oliver, He & Reynolds 1996, ECMOR V; Bardsley et al. 2014, SIAM J. Sci. Comput.
36, A1895). Where the model is linear that is exact; where pixels are exponential, as faint ones are, draws keep to what
the data allow, which a normal distribution around the maximum does not.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from scarlet_sed.infer.stamps import Stamps
from scarlet_sed.parameters import as_float
from scarlet_sed.priors.coordinates import LearntImages
from scarlet_sed.typing import Array, HostArray

TOGETHER = 64
"""Stamps at once."""
_STEPS = 30
"""Gauss-Newton steps at most."""
_INNER = 24
"""Steps of conjugate gradients to each of them."""
_SETTLED = 0.1
"""Gain, as the matrix predicts it, of a last step."""
_WIDE = 1.0
"""Deviation of the natural logarithm of a flux about its first guess."""


class Restored(NamedTuple):
    """Images of galaxies without PSF and noise.

    Args:
        images: (draw, stamp, side, side), which sum to one.
        fluxes: (draw, stamp) in the stamps' unit.
        unsettled: share of them that needed more steps than they were given.
    """

    images: HostArray
    fluxes: HostArray
    unsettled: float


def draw_images(prior: LearntImages, stamps: Stamps, draws: int, key: Array) -> Restored:
    """Images of all stamps from their posterior.

    Args:
        prior: whose standard normal numbers become images.
        stamps: as they were seen.
        draws: of each.
        key: of everything random; what a stamp gets does not depend on which others there are after it.
    """
    return _stacked([_restored(prior, stamps, jax.random.fold_in(key, number), 1.0) for number in range(draws)])


def most_likely(prior: LearntImages, stamps: Stamps) -> Restored:
    """The most likely image of each stamp, as one draw.

    Args:
        prior, stamps: see `draw_images`.
    """
    return _stacked([_restored(prior, stamps, jax.random.key(0), 0.0)])


def _stacked(parts: list[tuple[HostArray, HostArray, HostArray]]) -> Restored:
    images, fluxes, settled = (np.stack(each) for each in zip(*parts, strict=True))
    return Restored(images, fluxes, float(np.mean(~settled.astype(bool))))


def _restored(prior: LearntImages, stamps: Stamps, key: Array, spread: float) -> tuple[HostArray, HostArray, HostArray]:
    """Images, fluxes, and whether they settled, with perturbations of that spread."""
    count, found = len(stamps), []
    for first in range(0, count, TOGETHER):
        places = np.arange(first, first + min(TOGETHER, count)) % count
        keys = jax.vmap(partial(jax.random.fold_in, key))(jnp.asarray(places))
        found.append(jax.tree.map(np.asarray, _maxima(prior, stamps.part(places), keys, as_float(spread))))
    images, fluxes, settled = (np.concatenate(each)[:count] for each in zip(*found, strict=True))
    return images, fluxes, settled


class _Walk(NamedTuple):
    at: Array
    """(stamp, number)"""
    value: Array
    damping: Array
    settled: Array
    steps: Array


@jax.jit
def _maxima(prior: LearntImages, stamps: Stamps, keys: Array, spread: Array) -> tuple[Array, Array, Array]:
    """Images, fluxes, and whether they settled: damped Gauss-Newton steps (Marquardt 1963), each stamp on its own."""
    size = stamps.shape[0] * stamps.shape[1] - 1
    root = jnp.sqrt(stamps.weights)
    middles, noises = _perturbations(keys, size + 2, stamps.shape)
    middle, noise = spread * middles, spread * noises

    def residuals(numbers: Array) -> Array:
        light = _fluxes(stamps, numbers)[:, None, None] * stamps.seen(prior.image(numbers[:, :-2]))
        sky = (stamps.level * numbers[:, -1])[:, None, None]
        return root * (light + sky - stamps.data) - noise

    def value(numbers: Array) -> Array:
        return 0.5 * (_dot(residuals(numbers).reshape(len(numbers), -1)) + _dot(numbers - middle))

    def step(walk: _Walk) -> _Walk:
        found, along = jax.linearize(residuals, walk.at)
        back = jax.linear_transpose(along, walk.at)
        slope = back(found)[0] + walk.at - middle

        def matrix(numbers: Array) -> Array:
            return back(along(numbers))[0] + (1 + walk.damping)[:, None] * numbers

        move = _solved(matrix, slope)
        gain = jnp.sum(move * slope, axis=1)
        trial = walk.at - move
        then = value(trial)
        better = then < walk.value
        return _Walk(
            jnp.where(better[:, None], trial, walk.at),
            jnp.where(better, then, walk.value),
            jnp.clip(jnp.where(better, walk.damping / 4, 6 * walk.damping + 0.1), 1e-6, 1e8),
            # damped steps gain little wherever they are
            walk.settled | ((gain < _SETTLED) & (walk.damping < 1)),
            walk.steps + 1,
        )

    start = jnp.zeros_like(middle)
    first = _Walk(start, value(start), jnp.ones(len(start)), jnp.zeros(len(start), bool), jnp.zeros((), jnp.int32))
    last = jax.lax.while_loop(lambda walk: (walk.steps < _STEPS) & ~jnp.all(walk.settled), step, first)
    return prior.image(last.at[:, :-2]), _fluxes(stamps, last.at), last.settled


def _perturbations(keys: Array, numbers: int, shape: tuple[int, int]) -> tuple[Array, Array]:
    """(stamp, number) and (stamp, height, width) standard normal numbers."""

    def one(key: Array) -> tuple[Array, Array]:
        own, seen = jax.random.split(key)
        return jax.random.normal(own, (numbers,)), jax.random.normal(seen, shape)

    return jax.vmap(one)(keys)


def _fluxes(stamps: Stamps, numbers: Array) -> Array:
    return stamps.brightness * jnp.exp(_WIDE * numbers[:, -2])


def _dot(rows: Array) -> Array:
    return jnp.sum(jnp.square(rows), axis=1)


def _solved(matrix: Any, right: Array) -> Array:
    """Conjugate gradients (Hestenes & Stiefel 1952, J. Res. Natl. Bur. Stand. 49, 409), row by row."""

    def step(_: Any, now: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        solution, rest, direction = now
        turned = matrix(direction)
        before = _dot(rest)
        length = before / jnp.maximum(jnp.sum(direction * turned, axis=1), tiny)
        solution, rest = solution + length[:, None] * direction, rest - length[:, None] * turned
        return solution, rest, rest + (_dot(rest) / jnp.maximum(before, tiny))[:, None] * direction

    tiny = jnp.finfo(right.dtype).tiny
    return jax.lax.fori_loop(0, _INNER, step, (jnp.zeros_like(right), right, right))[0]
