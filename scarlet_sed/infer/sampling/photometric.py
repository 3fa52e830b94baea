"""What fluxes alone say of the spectra of a scene: a cheap stand-in for its posterior, from which bends are learnt.

Images are linear in the fluxes of their components, and nearly so in places and shapes. Around the maximum the
likelihood of the factors by which fluxes change, shapes and all else marginalised, is therefore normal:

    log L = g (phi - 1) - (phi - 1) K (phi - 1) / 2,       phi = F(spectrum) / F(spectrum at the maximum),

and needs no images. A population's posterior is bent because of F, which is kept whole. Many walkers explore it by
differential evolution (ter Braak 2006, Stat. Comput. 16, 239), each source's spectrum for itself.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from scarlet_sed.infer.families import FamilyValues
from scarlet_sed.infer.fisher import unit_vectors
from scarlet_sed.infer.posterior import LogPosterior, constrain
from scarlet_sed.infer.program import Program
from scarlet_sed.infer.sampling.target import At, Coordinates
from scarlet_sed.parameters import as_float, to_device
from scarlet_sed.transforms import bijection
from scarlet_sed.typing import Array, HostArray

WALKERS = 128
STEPS = 400
_KEPT = 200
_THIN = 10
_UNKNOWN = 0.1
"""Precision of the logarithm of a flux that nothing is known about."""
_MOST = 400
"""Numbers beyond which no stand-in is made: its columns would fill the memory."""


class StandIn(NamedTuple):
    """Normal likelihoods of fluxes, by source.

    Args:
        source: per group, (n,) block of each component; blocks for those that are not moved.
        owner: per family, (row,) block of each row; blocks for those that are not moved.
        fluxes: per observation and group, (n, band) nJy at the maximum.
        mean, precision: (block, k) and (block, k, k) of the factors of fluxes, in the order of `factors`.
        order: (block, k) places of a block's factors among all; the last for none.
    """

    source: tuple[Array, ...]
    owner: tuple[Array, ...]
    fluxes: tuple[tuple[Array, ...], ...]
    mean: Array
    precision: Array
    order: Array


@jax.jit
def _columns(program: Program, unconstrained: FamilyValues, directions: FamilyValues) -> tuple[tuple[Array, ...], ...]:
    """Per observation: (direction, band, h, w) whitened slopes, (component, band, h, w) whitened light, residuals."""
    values = constrain(program, unconstrained)

    def whitened(images: tuple[Array, ...]) -> tuple[Array, ...]:
        return program.whitened(images, values)

    def images(u: FamilyValues) -> tuple[Array, ...]:
        return program.images(constrain(program, u))

    def along(direction: FamilyValues) -> tuple[Array, ...]:
        return whitened(jax.jvp(images, (unconstrained,), (direction,))[1])

    slopes = jax.lax.map(along, directions)
    return slopes, program.one_by_one(values, whitened), program.whitened_residuals(values)


def stand_in(posterior: LogPosterior, at: At) -> StandIn | None:
    """The stand-in around a maximum; None where no source has a spectrum to learn, or the scene is too large.

    Args:
        posterior: the model.
        at: its maximum.
    """
    program, size, (coordinates, curvature, blocks) = posterior.program, len(at.blocks), at
    origin = coordinates.origin
    if size > _MOST or not np.any(blocks >= 0):
        return None
    others = [direction for direction, block in zip(curvature.directions, blocks, strict=True) if block < 0]
    dense = unit_vectors([[direction] for direction in others], origin)
    slopes, light, residuals = _columns(program, origin, dense)
    bands = [observation.data.shape[0] for observation in program.observations]
    components = sum(group.valid.shape[0] for group in program.groups)
    total = components * sum(bands)
    matrix, right = np.zeros((total, total)), np.zeros(total)
    cross, own = np.zeros((total, len(others))), np.diag(np.maximum(curvature.prior[blocks < 0], 0.0))
    for o, band in enumerate(bands):
        first = components * sum(bands[:o])
        for b in range(band):
            residual = np.asarray(residuals[o][b], np.float64).ravel()
            shine = np.asarray(light[o][:, b], np.float64).reshape(components, residual.size)
            slope = np.asarray(slopes[o][:, b], np.float64).reshape(len(others), residual.size)
            rows = first + b + band * np.arange(components)
            matrix[np.ix_(rows, rows)] = shine @ shine.T
            right[rows] = shine @ residual
            cross[rows] = shine @ slope.T
            own += slope @ slope.T
    weak = _UNKNOWN**2 * np.eye(total)
    scale = 1 / np.sqrt(np.maximum(np.diag(own), 1e-12))
    inverse = scale[:, None] * np.linalg.pinv(own * np.outer(scale, scale), 1e-8, hermitian=True) * scale
    covariance = np.linalg.inv(matrix - cross @ inverse @ cross.T + weak)
    return _by_block(posterior, coordinates, blocks, covariance, 1 + covariance @ right)


def _by_block(
    posterior: LogPosterior,
    coordinates: Coordinates,
    blocks: HostArray,
    covariance: HostArray,
    mean: HostArray,
) -> StandIn:
    program = posterior.program
    names = np.unique(blocks[blocks >= 0])
    place = {int(name): index for index, name in enumerate(names)}
    source = [np.array([place.get(int(s), len(names)) for s in np.asarray(g.source)]) for g in program.groups]
    source = [np.where(np.asarray(g.valid) > 0, s, len(names)) for g, s in zip(program.groups, source, strict=True)]
    each = np.concatenate(source)
    bands = [o.data.shape[0] for o in program.observations]
    # factors run over observations, components and bands, the last fastest
    owners = np.concatenate([np.repeat(each, band) for band in bands])
    longest = max(int(np.sum(owners == index)) for index in range(len(names)))
    order = np.full((len(names), longest), len(owners))
    means, precisions = np.ones((len(names), longest)), np.zeros((len(names), longest, longest))
    for index in range(len(names)):
        rows = np.flatnonzero(owners == index)
        count = len(rows)
        order[index, :count], means[index, :count] = rows, mean[rows]
        precisions[index, :count, :count] = np.linalg.inv(covariance[np.ix_(rows, rows)])
    padded = np.append(np.array([place.get(int(b), len(names)) for b in blocks]), len(names))
    # images have places beyond the correlated numbers, and are not moved
    row_owners = []
    for n in coordinates.number:
        flat = np.asarray(n).reshape(n.shape[0], -1)
        row_owners.append(np.min(padded[np.minimum(flat, len(padded) - 1)], axis=1))
    values = posterior.constrain(coordinates.origin)
    return StandIn(
        tuple(to_device(s, np.int32) for s in source),
        tuple(to_device(r, np.int32) for r in row_owners),
        _fluxes(program, values),
        as_float(means),
        as_float(precisions),
        to_device(order, np.int32),
    )


@jax.jit
def _fluxes(program: Program, values: FamilyValues) -> tuple[tuple[Array, ...], ...]:
    return program.fluxes_at(values)


def _log_density(program: Program, coordinates: Coordinates, model: StandIn, steps: Array) -> Array:
    """(block,) log-density of each block at (p,) steps."""
    blocks = model.mean.shape[0]
    unconstrained = coordinates.placed(steps)
    values, inside = coordinates.anchor(program, constrain(program, unconstrained))
    found = jnp.zeros(blocks + 1)
    for family, u, v, owner in zip(program.families, unconstrained, values, model.owner, strict=True):

        def each(prior, u, v, shape=family.shape):  # type: ignore[no-untyped-def]
            return jnp.sum(prior.log_prob(v)) + jnp.sum(bijection(prior, shape).log_abs_det_jacobian(u, v))

        if not family.flat:
            found = found.at[owner].add(jnp.where(family.valid > 0, family.by_row(each, u, v), 0.0))
    factors = []
    for now, then in zip(_fluxes(program, values), model.fluxes, strict=True):
        for here, there in zip(now, then, strict=True):
            factors.append(jnp.where(there != 0, here / jnp.where(there != 0, there, 1.0), 1.0).ravel())
    whole = jnp.concatenate([*factors, jnp.ones(1)])
    away = whole[model.order] - model.mean
    chi2 = jnp.einsum("bi,bij,bj->b", away, model.precision, away)
    total = found[:blocks] - 0.5 * chi2
    return jnp.where(inside & jnp.isfinite(total), total, -jnp.inf)


@jax.jit
def explore(program: Program, coordinates: Coordinates, model: StandIn, member: Array, key: Array) -> Array:
    """(kept, walker, p) steps of walkers that explore all blocks at once; numbers that are in none do not move.

    Args:
        program: the model.
        coordinates: straight ones around the maximum, from whose normal walkers begin.
        model: the stand-in.
        member: (p,) block of each number; the number of blocks for none.
        key: of everything random.
    """
    blocks, size = model.mean.shape[0], member.shape[0]
    moves = member < blocks
    dimensions = jnp.zeros(blocks + 1).at[member].add(1.0)[member]
    density = jax.vmap(lambda steps: _log_density(program, coordinates, model, steps))
    first, key = jax.random.split(key)
    steps = jnp.where(moves, jax.random.normal(first, (WALKERS, size)) @ coordinates.root.T, 0.0)

    def moved(steps: Array, level: Array, key: Array) -> tuple[Array, Array]:
        """One half of the walkers moves along differences of the other."""
        one, two, how, how_far, choice = jax.random.split(key, 5)
        half = WALKERS // 2
        resting = steps[half:]
        a = jax.random.randint(one, (half,), 0, half)
        b = (a + jax.random.randint(two, (half,), 1, half)) % half
        long = jax.random.uniform(how, (half, blocks + 1)) < 0.1
        spread = jnp.exp(0.3 * jax.random.normal(how_far, (half, blocks + 1)))
        factor = jnp.where(long[:, member], 1.0, 2.38 / jnp.sqrt(2 * dimensions)) * spread[:, member]
        tried = steps[:half] + jnp.where(moves, factor * (resting[a] - resting[b]), 0.0)
        found = density(tried)
        taken = jnp.log(jax.random.uniform(choice, found.shape)) < found - level[:half]
        inside = jnp.concatenate([taken, jnp.zeros((half, 1), bool)], axis=1)[:, member]
        halves = jnp.where(inside, tried, steps[:half]), jnp.where(taken, found, level[:half])
        return jnp.concatenate([halves[0], resting]), jnp.concatenate([halves[1], level[half:]])

    def step(carry: tuple[Array, Array], key: Array) -> tuple[tuple[Array, Array], Array]:
        steps, level = carry
        mix, *keys = jax.random.split(key, 3)
        order = jax.random.permutation(mix, WALKERS)
        steps, level = steps[order], level[order]
        for own in keys:
            steps, level = moved(steps, level, own)
            steps, level = jnp.roll(steps, WALKERS // 2, axis=0), jnp.roll(level, WALKERS // 2, axis=0)
        return (steps, level), steps

    _, found = jax.lax.scan(step, (steps, density(steps)), jax.random.split(key, STEPS))
    return found[STEPS - _KEPT :: _THIN]
