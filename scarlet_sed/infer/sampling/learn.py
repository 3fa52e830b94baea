"""Learn the bends of a posterior before the chains whose draws are kept: from fluxes alone, and from short chains."""

from collections.abc import Callable
from functools import partial

import jax
import numpy as np

from scarlet_sed.infer.posterior import LogPosterior
from scarlet_sed.infer.sampling.bend import Bend, learnt
from scarlet_sed.infer.sampling.chains import PIECE, Method, bar, pieces
from scarlet_sed.infer.sampling.nuts import Draws, Settings
from scarlet_sed.infer.sampling.photometric import explore, stand_in
from scarlet_sed.infer.sampling.target import AnyTarget, At, Coordinates
from scarlet_sed.parameters import as_float, to_device
from scarlet_sed.typing import Array, HostArray

LENGTH = 4 * PIECE
"""Iterations of a round, of which the first piece finds a step size and is not learnt from."""
ROUNDS = 3
"""Most of them."""
_LONG = 20
"""Mean steps of a trajectory; a round Gaussian of 30 to 150 numbers takes 7 to 15."""
_GROUPS = 4
"""Of walkers, each of which is left out in turn."""
_JITTER = 1e-7
"""Of correlations."""


def bent_by_fluxes(posterior: LogPosterior, at: At, seed: int) -> Coordinates:
    """Coordinates that follow what fluxes alone say of spectra; the given ones where that does not bend them.

    Args:
        posterior: the model.
        at: its maximum.
        seed: of the walkers.
    """
    coordinates, root = at.coordinates, np.asarray(at.coordinates.root, np.float64)
    model = stand_in(posterior, at)
    if model is None:
        return coordinates
    names = np.unique(at.blocks[at.blocks >= 0])
    member = np.where(at.blocks < 0, len(names), np.searchsorted(names, at.blocks))
    found = explore(posterior.program, coordinates, model, to_device(member, np.int32), jax.random.key(seed))
    steps = np.moveaxis(np.asarray(found), 1, 0).reshape(_GROUPS, -1, len(root))
    bend = learnt(coordinates.bend, steps)
    if not bend.bent:
        return coordinates
    covariance = _seen(bend, root)
    base = np.asarray(_straight_steps(bend, steps), np.float64).reshape(-1, len(root))
    for name in names:
        own = np.flatnonzero(at.blocks == name)
        now, wanted = covariance[np.ix_(own, own)], np.cov(base[:, own].T)
        # the block gets the walkers' covariance; what everything else is, given the block, stays as it was
        gain = covariance[:, own] @ np.linalg.inv(now)
        covariance += gain @ (wanted - now) @ gain.T
    return coordinates._replace(bend=bend, root=as_float(_root(covariance)))


def bent(
    make: Callable[[Coordinates], AnyTarget],
    coordinates: Coordinates,
    settings: Settings,
    keys: Array,
    method: Method,
    rounds: int,
    *,
    progress: bool,
) -> Coordinates:
    """Coordinates that follow the posterior where trajectories along the given ones are long.

    Args:
        make: the target in given coordinates.
        coordinates: straight ones, or such as fluxes have bent; then only their root is learnt.
        settings: of the chains; the rounds are warm-up to them.
        keys: (chain, 2) raw random keys.
        method: where chains run.
        rounds: most of them.
        progress: whether to show a progress bar (only on a terminal).
    """
    curvature = np.asarray(coordinates.root, np.float64)
    if not curvature.size:  # images alone go their own ways
        return coordinates
    straight = not coordinates.bend.bent
    for number in range(rounds):
        own = jax.vmap(lambda key, n=number: jax.random.fold_in(key, n))(keys)
        kept: list[Draws] = []
        with bar(len(keys), LENGTH, 0, show=progress, what=f"learn {number + 1}") as shown:
            for count, piece in enumerate(pieces(make(coordinates), settings, own, None, method), start=1):
                shown.update(int(np.size(piece.draws.leapfrogs)))
                kept += [piece.draws] if count > 1 else []
                if count * PIECE >= LENGTH or (kept and _mean_steps(kept) < _LONG):
                    break
        if _mean_steps(kept) < _LONG:
            break
        whitened = np.concatenate([np.asarray(draws.whitened) for draws in kept], axis=1)
        better = _bent_more(coordinates, curvature, whitened) if straight else _rounder(coordinates, whitened)
        if better is None:
            break
        coordinates = better
    return coordinates


def _mean_steps(draws: list[Draws]) -> float:
    return float(np.mean([np.mean(each.leapfrogs) for each in draws]))


def _bent_more(coordinates: Coordinates, curvature: HostArray, whitened: HostArray) -> Coordinates | None:
    """Coordinates fitted to (chain, draw, number) draws; None where nothing is gained.

    Args:
        coordinates: of the draws.
        curvature: (p, p) root of the covariance at the maximum, in straight coordinates.
        whitened: draws.
    """
    size = len(curvature)
    steps = np.asarray(_bent_steps(coordinates.bend, coordinates.root, whitened[..., :size]))
    bend = learnt(coordinates.bend, steps)
    if not bend.bent:
        return None
    base = np.asarray(_straight_steps(bend, steps), np.float64).reshape(-1, size)
    covariance = _shrunk(base, _seen(bend, curvature))
    return coordinates._replace(bend=bend, root=as_float(_root(covariance)))


def _rounder(coordinates: Coordinates, whitened: HostArray) -> Coordinates:
    """The same bend, and a centre and a root that make (chain, draw, number) draws round."""
    root, bend = np.asarray(coordinates.root, np.float64), coordinates.bend
    base = np.asarray(whitened, np.float64)[..., : len(root)].reshape(-1, len(root))
    mean = np.mean(base, axis=0)
    covariance = root @ _shrunk(base - mean, np.eye(len(root))) @ root.T
    centre = np.asarray(bend.centre, np.float64) + np.asarray(bend.axes, np.float64) @ (root @ mean)
    return coordinates._replace(root=as_float(_root(covariance)), bend=bend._replace(centre=as_float(centre)))


def _shrunk(draws: HostArray, covariance: HostArray) -> HostArray:
    """(p, p) second moments of (n, p) draws, which alone know them poorly, and of what was known before."""
    weight = 2.0 * len(covariance)
    found: HostArray = (draws.T @ draws + weight * covariance) / (len(draws) + weight)
    return found


def _root(covariance: HostArray) -> HostArray:
    """(p, p) lower triangular, of a covariance that rounding may have made indefinite."""
    scale = np.sqrt(np.diag(covariance))
    correlation = covariance / np.outer(scale, scale)
    found: HostArray = scale[:, None] * np.linalg.cholesky(correlation + _JITTER * np.eye(len(scale)))
    return found


def _seen(bend: Bend, root: HostArray) -> HostArray:
    """(p, p) covariance of straight steps, where (p, p) is the root of that of bent ones at the maximum."""
    slope = np.asarray(jax.jacfwd(bend.undone)(as_float(np.zeros(len(root)))), np.float64) @ root
    covariance: HostArray = slope @ slope.T
    return covariance


@jax.jit
def _bent_steps(bend: Bend, root: Array, whitened: Array) -> Array:
    return jax.vmap(jax.vmap(lambda q: bend(root @ q)[0]))(whitened)


@jax.jit
def _straight_steps(bend: Bend, steps: Array) -> Array:
    return jax.vmap(jax.vmap(partial(Bend.undone, bend)))(steps)
