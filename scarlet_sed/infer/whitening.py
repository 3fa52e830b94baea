"""Coordinates in which a fit is easy: whitened source by source with the curvature of the log-posterior.

Radius, index and flux of a galaxy move along narrow valleys, and so do the parts of a source of several components.
Within each source the curvature matrix is estimated from random probes, and the optimiser works in coordinates
in which it is the identity. Free images are scaled pixel by pixel.
"""

from collections.abc import Mapping, Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from scarlet_sed.infer.covariance import IMAGE_SIZE
from scarlet_sed.infer.curvature import probe_gradients
from scarlet_sed.infer.families import FamilyValues, Place
from scarlet_sed.infer.program import Program
from scarlet_sed.typing import Array, HostArray

PROBES = 48
_LARGEST_SCALE = 1.0  # numbers that data and prior leave free move by at most this much a step
_SHRINKAGE = 0.05  # towards the diagonal: 48 probes know a correlation to about 0.15
_LARGEST_MATRIX = 4000


class Whitening(eqx.Module):
    """A linear map from whitened to unconstrained numbers: u = centre + matrix @ w for most, u = centre + scale * w
    for images.

    Args:
        centre: where w is zero.
        matrix: (p, p) for the parameters of all families that are not images, in order, raveled; None if there are
            too many for a matrix.
        scales: one array a family; used for images, and for all where there is no matrix.
    """

    centre: FamilyValues
    matrix: Array | None
    scales: FamilyValues

    def __call__(self, whitened: FamilyValues) -> FamilyValues:
        """Unconstrained numbers."""
        steps = [s * w for s, w in zip(self.scales, whitened, strict=True)]
        if self.matrix is not None:
            small = [i for i, c in enumerate(self.centre) if not is_image(c)]
            joined = self.matrix @ jnp.concatenate([whitened[i].ravel() for i in small])
            ends = np.cumsum([self.centre[i].size for i in small])
            for i, part in zip(small, jnp.split(joined, ends[:-1]), strict=True):
                steps[i] = part.reshape(self.centre[i].shape)
        return tuple(c + s for c, s in zip(self.centre, steps, strict=True))

    @property
    def origin(self) -> FamilyValues:
        """The whitened coordinates of the centre: zeros."""
        return jax.tree.map(jnp.zeros_like, self.centre)


def is_image(family: Array) -> bool:
    """Whether the (row, ...) values of a family are too long to be correlated with each other."""
    return int(np.prod(family.shape[1:])) > IMAGE_SIZE


def whiten(
    program: Program, places: Mapping[str, Place], unconstrained: FamilyValues, seed: int, probes: int = PROBES
) -> Whitening:
    """Whitening at a point.

    The mean outer product of the probes J^T z is the Gauss-Newton matrix J^T J; its block of one source is kept.

    Args:
        program: the model.
        places: where each path lives; the first part of a path says which source (or observation) it belongs to.
        unconstrained: the point, which becomes the centre.
        seed: of the probes.
        probes: how many; each costs less than an optimiser step.
    """
    gradients, prior = probe_gradients(program, unconstrained, jax.random.key(seed), probes)
    diagonal = [
        np.mean(np.square(np.asarray(g, float)), axis=0) + np.asarray(p) for g, p in zip(gradients, prior, strict=True)
    ]
    scales = tuple(
        jnp.asarray(np.minimum(1 / np.sqrt(np.maximum(d, 1e-30)), _LARGEST_SCALE), u.dtype)
        for d, u in zip(diagonal, unconstrained, strict=True)
    )
    small = [i for i, u in enumerate(unconstrained) if not is_image(u)]
    size = sum(unconstrained[i].size for i in small)
    if not small or size > _LARGEST_MATRIX:
        return Whitening(unconstrained, None, scales)
    flat = np.concatenate([np.asarray(gradients[i], float).reshape(probes, -1) for i in small], axis=1)
    curved = np.concatenate([np.ravel(prior[i]) for i in small])
    matrix = np.diag(np.concatenate([np.ravel(scales[i]) for i in small]).astype(float))
    for block in _blocks(places, unconstrained, small):
        part = flat[:, block]
        matrix[np.ix_(block, block)] = _inverse_root(part.T @ part / probes, curved[block])
    return Whitening(unconstrained, jnp.asarray(matrix, unconstrained[small[0]].dtype), scales)


def _blocks(places: Mapping[str, Place], unconstrained: FamilyValues, small: Sequence[int]) -> list[HostArray]:
    """Indices into the raveled small families of the parameters of each source."""
    starts, begin = {}, 0
    for i in small:
        starts[i] = begin
        begin += unconstrained[i].size
    found: dict[str, list[HostArray]] = {}
    for path, place in places.items():
        if place.family in starts:
            length = int(np.prod(unconstrained[place.family].shape[1:]))
            first = starts[place.family] + place.row * length
            found.setdefault(path.split(".")[0], []).append(np.arange(first, first + length))
    return [np.concatenate(parts) for parts in found.values()]


def _inverse_root(likelihood: HostArray, prior: HostArray) -> HostArray:
    """A root of the inverse of the curvature of one source, shrunk a little towards its diagonal."""
    curvature = likelihood + np.diag(prior)
    scale = 1 / np.sqrt(np.maximum(np.diag(curvature), _LARGEST_SCALE**-2))
    correlation = (1 - _SHRINKAGE) * curvature * np.outer(scale, scale)
    correlation[np.diag_indices_from(correlation)] = 1.0
    values, vectors = np.linalg.eigh(correlation)
    root = (vectors / np.sqrt(np.maximum(values, _SHRINKAGE / 2))) @ vectors.T
    return scale[:, None] * root
