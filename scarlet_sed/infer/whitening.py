"""Coordinates in which a fit is easy: whitened source by source with the curvature of the log-posterior.

Radius, index and flux of a galaxy move along narrow valleys, and so do the parts of a source of several components.
Within each source the curvature matrix is estimated from random probes, and the optimiser works in coordinates
in which it is the identity. Free images are scaled pixel by pixel.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

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
from scarlet_sed.priors.base import MorphologyPrior
from scarlet_sed.typing import Array, HostArray

_SHRINKAGE = 0.15  # towards the diagonal: 25 probes know a correlation to 0.2
_TRUST = 0.05  # largest scale of logarithms, logits and the like: where data say nothing, a step stays a few per cent
_SMALLEST = 1.0  # of the same for real numbers, in their own unit
_OF_IMAGES = 0.2  # of the same for the numbers of a morphology prior, which are as wide as one
_CAUTION = 0.3  # of the scales of such numbers: each of them moves all pixels, and hundreds step together
_MOST_WEAKENED = 100.0  # steps are at most ten times those that the noise would allow


class Whitened(NamedTuple):
    """Whitened coordinates: those of one source side by side, so that an optimiser steps in few large arrays.

    Args:
        blocks: (block, k) numbers of each source, without those of its free images; padded.
        images: the free images, one array a family.
    """

    blocks: Array
    images: FamilyValues


class Whitening(eqx.Module):
    """A linear map from whitened to unconstrained numbers, u = centre + root @ w.

    Args:
        centre: where w is zero.
        roots: (block, k, k) one root of the inverse curvature for each source.
        places: (number,) where in the raveled blocks each number of the raveled small families lies; beyond their end
            for padding.
        scales: one array a family of images.
    """

    centre: FamilyValues
    roots: Array
    places: Array
    scales: FamilyValues

    def __call__(self, whitened: Whitened) -> FamilyValues:
        """Unconstrained numbers."""
        moved = jnp.einsum("bij,bj->bi", self.roots, whitened.blocks).ravel()
        joined = moved.at[self.places].get(mode="fill", fill_value=0)
        images = iter(s * w for s, w in zip(self.scales, whitened.images, strict=True))
        steps, begin = [], 0
        for centre in self.centre:
            if is_image(centre):
                steps.append(next(images))
            else:
                steps.append(joined[begin : begin + centre.size].reshape(centre.shape))
                begin += centre.size
        return tuple(c + s for c, s in zip(self.centre, steps, strict=True))

    @property
    def origin(self) -> Whitened:
        """The whitened coordinates of the centre: zeros."""
        return Whitened(
            as_float(np.zeros(self.roots.shape[:2])), tuple(as_float(np.zeros(s.shape)) for s in self.scales)
        )


def identity(places: Mapping[str, Place], unconstrained: FamilyValues) -> Whitening:
    """Whitened coordinates that are the unconstrained ones, in the shape of those that `whiten` makes."""
    scales = tuple(as_float(np.ones(u.shape)) for u in unconstrained if is_image(u))
    small = [i for i, u in enumerate(unconstrained) if not is_image(u)]
    blocks = _blocks(places, unconstrained, small)
    count = padded_count(len(blocks)) if blocks else 0
    width = padded_count(max(len(block) for block in blocks)) if blocks else 0
    found = np.full(sum(unconstrained[i].size for i in small), count * width)
    for row, block in enumerate(blocks):
        found[block] = row * width + np.arange(len(block))
    roots = np.broadcast_to(np.eye(width), (count, width, width))
    return Whitening(unconstrained, as_float(roots), to_device(found, np.int32), scales)


def whiten(
    program: Program, plain: Whitening, gradients: Array, squares: FamilyValues, prior: FamilyValues, misfit: float
) -> Whitening:
    """Whitening at the centre of `plain`.

    The mean outer product of the probes J^T z is the Gauss-Newton matrix J^T J; its block of one source is kept.
    Far from the maximum chi-square exceeds the number of pixels, and so does what a step should dare: the likelihood
    is weakened by the reduced chi-square, as if the noise were what the residuals say.

    Args:
        program: the model.
        plain: from `identity`.
        gradients: (probe, block, k) J^T z.
        squares: the sum over probes of the squared J^T z of images, one array a family.
        prior: curvature of the log-prior.
        misfit: chi-square per pixel.
    """
    unconstrained = plain.centre
    weaken = float(np.clip(misfit, 1.0, _MOST_WEAKENED))
    pixel_scale = float(np.abs(np.linalg.det(np.asarray(program.matrix))) ** -0.5)
    pairs = list(zip(program.families, unconstrained, strict=True))
    trust = [_trust(f, u, pixel_scale) for f, u in pairs]
    extra = [np.asarray(p, float) + limit**-2.0 for p, limit in zip(prior, trust, strict=True)]
    of_images = [e for e, u in zip(extra, unconstrained, strict=True) if is_image(u)]
    caution = [_CAUTION if isinstance(f.prior, MorphologyPrior) else 1.0 for f, u in pairs if is_image(u)]
    scales = tuple(
        as_float(share / np.sqrt(np.asarray(s, float) / (len(gradients) * weaken) + e))
        for share, s, e in zip(caution, squares, of_images, strict=True)
    )
    samples = np.asarray(gradients, float)
    likelihood = np.einsum("pbi,pbj->bij", samples, samples) / (len(samples) * weaken)
    curved = np.ones(likelihood.shape[0] * likelihood.shape[1] + 1)  # padding: one, and last what lies beyond
    of_small = [np.ravel(e) for e, u in zip(extra, unconstrained, strict=True) if not is_image(u)]
    curved[np.asarray(plain.places)] = np.concatenate([*of_small, np.zeros(0)])
    roots = _inverse_roots(likelihood, curved[:-1].reshape(likelihood.shape[:2]))
    return Whitening(unconstrained, as_float(roots), plain.places, scales)


def _trust(family: Family, unconstrained: Array, pixel_scale: float) -> HostArray:
    """Largest scale of each number of a family: half a model pixel for positions, a share of other real numbers."""
    u = np.asarray(unconstrained, float)
    if isinstance(family.prior, MorphologyPrior):
        return np.full_like(u, _OF_IMAGES)
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


def _inverse_roots(likelihood: HostArray, extra: HostArray) -> HostArray:
    """(block, k, k) a root of the inverse of the curvature of each source, its correlations shrunk a little.

    Args:
        likelihood: (block, k, k) Gauss-Newton matrices.
        extra: (block, k) curvature of prior and trust region.
    """
    diagonal = np.einsum("bii->bi", likelihood)
    curvature = (1 - _SHRINKAGE) * likelihood + np.eye(extra.shape[1]) * (_SHRINKAGE * diagonal + extra)[:, None]
    scale = 1 / np.sqrt(np.einsum("bii->bi", curvature))
    values, vectors = np.linalg.eigh(curvature * scale[:, :, None] * scale[:, None, :])
    root = (vectors / np.sqrt(np.maximum(values, _SHRINKAGE / 4))[:, None]) @ np.swapaxes(vectors, 1, 2)
    return scale[:, :, None] * root
