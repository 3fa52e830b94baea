"""Coordinates in which a fit is easy: whitened source by source with the curvature of the log-posterior.

Radius, index and flux of a galaxy move along narrow valleys, and so do the parts of a source of several components.
Within each source the curvature matrix is estimated from random probes, and the optimiser works in coordinates
in which it is the identity. Free images are scaled pixel by pixel.
"""

from collections.abc import Mapping, Sequence

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray
from numpyro.distributions import constraints

from scarlet_sed.constraints import base_support
from scarlet_sed.infer.covariance import is_image
from scarlet_sed.infer.families import Family, FamilyValues, Place, padded_count
from scarlet_sed.infer.program import Program
from scarlet_sed.parameters import as_float, to_device
from scarlet_sed.typing import Array, HostArray

_SHRINKAGE = 0.15  # towards the diagonal: 25 probes know a correlation to 0.2
_TRUST = 0.05  # largest scale of logarithms, logits and the like: where data say nothing, a step stays a few per cent
_SMALLEST = 1.0  # of the same for real numbers, in their own unit
_MOST_WEAKENED = 100.0  # steps are at most ten times those that the noise would allow


class Whitening(eqx.Module):
    """A linear map from whitened to unconstrained numbers, u = centre + root @ w.

    Args:
        centre: where w is zero.
        roots: (block, k, k) one root of the inverse curvature for each source.
        indices: (block, k) where a block's parameters lie in the raveled small families; the number beyond them all
            marks padding.
        scales: one array a family, used for images.
    """

    centre: FamilyValues
    roots: Array
    indices: Array
    scales: FamilyValues

    def __call__(self, whitened: FamilyValues) -> FamilyValues:
        """Unconstrained numbers."""
        steps = [s * w for s, w in zip(self.scales, whitened, strict=True)]
        small = [i for i, c in enumerate(self.centre) if not is_image(c)]
        if small:
            flat = jnp.concatenate([*(whitened[i].ravel() for i in small), jnp.zeros(1, whitened[small[0]].dtype)])
            moved = jnp.einsum("bij,bj->bi", self.roots, flat[self.indices])
            joined = jnp.zeros_like(flat).at[self.indices].set(moved, mode="drop")[:-1]
            ends = np.cumsum([self.centre[i].size for i in small])
            for i, part in zip(small, jnp.split(joined, ends[:-1]), strict=True):
                steps[i] = part.reshape(self.centre[i].shape)
        return tuple(c + s for c, s in zip(self.centre, steps, strict=True))

    @property
    def origin(self) -> FamilyValues:
        """The whitened coordinates of the centre: zeros."""
        return tuple(as_float(np.zeros(c.shape)) for c in self.centre)


def identity(places: Mapping[str, Place], unconstrained: FamilyValues) -> Whitening:
    """Whitened coordinates that are the unconstrained ones, in the shape of those that `whiten` makes."""
    small = [i for i, u in enumerate(unconstrained) if not is_image(u)]
    scales = tuple(as_float(np.ones(u.shape)) for u in unconstrained)
    size = sum(unconstrained[i].size for i in small)
    blocks = _blocks(places, unconstrained, small)
    if not blocks:
        return Whitening(unconstrained, as_float(np.zeros((0, 0, 0))), to_device(np.zeros((0, 0)), np.int32), scales)
    count, width = padded_count(len(blocks)), padded_count(max(len(block) for block in blocks))
    indices = np.full((count, width), size, np.int32)
    for row, block in enumerate(blocks):
        indices[row, : len(block)] = block
    roots = np.broadcast_to(np.eye(width), (count, width, width))
    return Whitening(unconstrained, as_float(roots), to_device(indices, np.int32), scales)


def whiten(
    program: Program, plain: Whitening, gradients: FamilyValues, prior: FamilyValues, misfit: float
) -> Whitening:
    """Whitening at the centre of `plain`.

    The mean outer product of the probes J^T z is the Gauss-Newton matrix J^T J; its block of one source is kept.
    Far from the maximum chi-square exceeds the number of pixels, and so does what a step should dare: the likelihood
    is weakened by the reduced chi-square, as if the noise were what the residuals say.

    Args:
        program: the model.
        plain: from `identity`.
        gradients: J^T z, each family with a leading axis (probe,).
        prior: curvature of the log-prior.
        misfit: chi-square per pixel.
    """
    unconstrained = plain.centre
    weaken = float(np.clip(misfit, 1.0, _MOST_WEAKENED))
    pixel_scale = float(np.abs(np.linalg.det(np.asarray(program.matrix))) ** -0.5)
    trust = [_trust(f, u, pixel_scale) for f, u in zip(program.families, unconstrained, strict=True)]
    samples = [np.asarray(g, float) for g in gradients]
    extra = [np.asarray(p, float) + limit**-2.0 for p, limit in zip(prior, trust, strict=True)]
    scales = tuple(
        as_float(1 / np.sqrt(np.mean(np.square(g), axis=0) / weaken + e)) for g, e in zip(samples, extra, strict=True)
    )
    small = [i for i, u in enumerate(unconstrained) if not is_image(u)]
    if not small:
        return Whitening(unconstrained, plain.roots, plain.indices, scales)
    probes = samples[0].shape[0]
    flat = np.concatenate([samples[i].reshape(probes, -1) for i in small], axis=1)
    curved = np.concatenate([np.ravel(extra[i]) for i in small])
    roots = np.zeros(plain.roots.shape)
    for row, indices in enumerate(np.asarray(plain.indices)):
        block = indices[indices < flat.shape[1]]
        if block.size:
            part = flat[:, block]
            roots[row, : block.size, : block.size] = _inverse_root(part.T @ part / (probes * weaken), curved[block])
    return Whitening(unconstrained, as_float(roots), plain.indices, scales)


def _trust(family: Family, unconstrained: Array, pixel_scale: float) -> HostArray:
    """Largest scale of each number of a family: half a model pixel for positions, a share of other real numbers."""
    u = np.asarray(unconstrained, float)
    if not isinstance(base_support(family.prior), (type(constraints.real), type(constraints.real_vector))):
        return np.full_like(u, _TRUST)
    if family.shape == (2,):  # positions and shifts
        return np.full_like(u, 0.5 * pixel_scale)
    return np.maximum(np.abs(u), _SMALLEST)


def _blocks(
    places: Mapping[str, Place], unconstrained: FamilyValues, small: Sequence[int]
) -> list[NDArray[np.integer]]:
    """Indices into the raveled small families of the parameters of each source."""
    starts, begin = {}, 0
    for i in small:
        starts[i] = begin
        begin += unconstrained[i].size
    found: dict[str, list[NDArray[np.integer]]] = {}
    for path, place in places.items():
        if place.family in starts:
            length = int(np.prod(unconstrained[place.family].shape[1:]))
            first = starts[place.family] + place.row * length
            found.setdefault(path.split(".")[0], []).append(np.arange(first, first + length))
    return [np.concatenate(parts) for parts in found.values()]


def _inverse_root(likelihood: HostArray, extra: HostArray) -> HostArray:
    """A root of the inverse of the curvature of one source, its correlations shrunk a little.

    Args:
        likelihood: (k, k) Gauss-Newton matrix.
        extra: (k,) curvature of prior and trust region.
    """
    curvature = (1 - _SHRINKAGE) * likelihood + np.diag(_SHRINKAGE * np.diag(likelihood) + extra)
    scale = 1 / np.sqrt(np.diag(curvature))
    values, vectors = np.linalg.eigh(curvature * np.outer(scale, scale))
    root = (vectors / np.sqrt(np.maximum(values, _SHRINKAGE / 4))) @ vectors.T
    return scale[:, None] * root
