"""Gaussian uncertainties of a fit from the Gauss-Newton matrix at its maximum (the Laplace approximation)."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from scarlet_sed.infer.curvature import curvature_diagonal, prior_hessian
from scarlet_sed.infer.families import Family, FamilyValues
from scarlet_sed.infer.fisher import Direction, gauss_newton, unit_vectors
from scarlet_sed.infer.posterior import LogPosterior, constrain
from scarlet_sed.priors.base import MorphologyPrior
from scarlet_sed.typing import Array, HostArray

# Parameters with more numbers than this (free images) are held fixed while the others' covariance is made.
IMAGE_SIZE = 100
# Numbers of an image with a learnt prior that are correlated with all else: those that matter most come first.
LEADING = 48
_PROBES = 64
# A direction whose scaled curvature is below this is unconstrained: float32 curvatures carry about this much noise.
_UNCONSTRAINED = 1e-6


class Laplace(NamedTuple):
    """A Gaussian around a maximum.

    Args:
        uncertainties: standard deviation by path, in the parameter's own unit and shape.
        covariance: (p, p) covariance of the unconstrained numbers of the parameters in `order`.
        order: path of each row of the covariance, repeated for vectors.
        conditional: paths of free images, which were held fixed for the covariance of the others, and whose
            uncertainties are per pixel with everything else held fixed. Of those with a learnt prior
            (`MorphologyPrior`) only the numbers beyond the first 48 are held fixed, and their uncertainties are whole
            but for correlations of these.
    """

    uncertainties: dict[str, HostArray]
    covariance: HostArray
    order: list[str]
    conditional: list[str]


class Curvature(NamedTuple):
    """Curvature of minus the log-posterior along all numbers of all parameters, and the leading ones of learnt images.

    Args:
        directions: (p,) the numbers.
        matrix: (p, p) Gauss-Newton matrix of the likelihood, plus the prior's where that curves the same way.
        prior: (p,) the prior's own curvature along each number.
    """

    directions: list[Direction]
    matrix: HostArray
    prior: HostArray

    def along(self, gradient: FamilyValues) -> HostArray:
        """(p,) the entries of a gradient that belong to the directions."""
        rows = [np.asarray(g, np.float64).reshape(np.shape(g)[0], -1) for g in gradient]
        return np.array([rows[d.family][d.row, d.element] for d in self.directions])

    def moved(self, unconstrained: FamilyValues, step: HostArray, longest: float) -> FamilyValues:
        """The numbers after a (p,) step, shortened as a whole until none moves by more than `longest` times itself."""
        rows = [np.array(u).reshape(np.shape(u)[0], -1) for u in unconstrained]
        before = self.along(unconstrained)
        step = step / max(1.0, float(np.max(np.abs(step) / np.maximum(np.abs(before), 1.0))) / longest)
        for direction, change in zip(self.directions, step, strict=True):
            rows[direction.family][direction.row, direction.element] += change
        return tuple(jnp.asarray(r.reshape(u.shape)) for r, u in zip(rows, unconstrained, strict=True))


def curvature_at(posterior: LogPosterior, unconstrained: FamilyValues, *, jacobian: bool = False) -> Curvature:
    """The curvature at these unconstrained numbers.

    Args:
        posterior: the model.
        unconstrained: where.
        jacobian: of the density in the unconstrained numbers, which samplers need, instead of that in the parameters.
    """
    directions = _directions(posterior, unconstrained)
    if not directions:
        return Curvature(directions, np.zeros((0, 0)), np.zeros(0))
    dense = unit_vectors([[direction] for direction in directions], unconstrained)
    matrix = gauss_newton(posterior, unconstrained, directions)
    prior = np.asarray(prior_hessian(posterior.program, unconstrained, dense, jacobian=jacobian), np.float64)
    return Curvature(directions, matrix + _positive_part(prior), np.diag(prior))


def laplace(posterior: LogPosterior, unconstrained: FamilyValues, curvature: Curvature | None = None) -> Laplace:
    """The Laplace approximation at these unconstrained numbers.

    The covariance is that of all parameters together, so overlapping sources share their uncertainty; only free
    images of more than 100 pixels are left out (see `Laplace.conditional`), and integrated over as far as they are
    known to be correlated.

    Args:
        posterior: the model.
        unconstrained: the maximum.
        curvature: there, where it is known already.
    """
    program = posterior.program
    values = posterior.constrain(unconstrained)
    directions, matrix, _ = curvature_at(posterior, unconstrained) if curvature is None else curvature
    order = [direction.path for direction in directions]
    spread: list[HostArray] = [np.zeros(np.shape(v)) for v in values]
    covariance: HostArray = np.zeros((0, 0))
    if order:
        dense = unit_vectors([[direction] for direction in directions], unconstrained)
        root = inverse_root(matrix)
        covariance = root @ root.T
        spread = [np.asarray(s, float) for s in _push_forward(posterior, unconstrained, dense, root)]
    conditional = [p for p, place in posterior.places.items() if is_image(values[place.family])]
    if conditional:
        diagonal = curvature_diagonal(program, unconstrained, jax.random.key(0))
        _add_conditional(posterior, unconstrained, diagonal, spread)
    found = {p: spread[place.family][place.row] for p, place in posterior.places.items()}
    own = np.flatnonzero([path not in conditional for path in order])
    return Laplace(found, covariance[np.ix_(own, own)], [order[i] for i in own], conditional)


def is_image(family: Array) -> bool:
    """Whether the (row, ...) values of a family are too long to be correlated with each other."""
    return int(np.prod(family.shape[1:])) > IMAGE_SIZE


def _directions(posterior: LogPosterior, unconstrained: FamilyValues) -> list[Direction]:
    """Every number of every parameter that is not an image, and the leading ones of images with a learnt prior."""
    found = []
    for path, place in posterior.places.items():
        length = int(np.prod(unconstrained[place.family].shape[1:]))
        if is_image(posterior.start[place.family]):
            learnt = isinstance(posterior.program.families[place.family].prior, MorphologyPrior)
            length = min(LEADING, length) if learnt else 0
        found += [Direction(path, place.family, place.row, element) for element in range(length)]
    return found


def _positive_part(matrix: HostArray) -> HostArray:
    """Nearest positive semi-definite matrix: a prior that curves upwards somewhere adds no information there."""
    finite = np.where(np.isfinite(matrix), matrix, 0.0)
    eigenvalues, vectors = np.linalg.eigh(0.5 * (finite + finite.T))
    return (vectors * np.maximum(eigenvalues, 0.0)) @ vectors.T


def inverse_root(matrix: HostArray) -> HostArray:
    """(p, p) L with L L^T the inverse of a positive semi-definite matrix.

    Directions without information get infinite-like variance.
    """
    if not len(matrix):
        return matrix
    scale = np.sqrt(np.maximum(np.diag(matrix), np.finfo(np.float32).tiny))
    eigenvalues, vectors = np.linalg.eigh(matrix / np.outer(scale, scale))
    return (vectors / np.sqrt(np.maximum(eigenvalues, _UNCONSTRAINED))) / scale[:, None]


def _push_forward(
    posterior: LogPosterior, unconstrained: FamilyValues, basis: FamilyValues, root: HostArray
) -> FamilyValues:
    """Standard deviations of the parameters: the covariance through the derivative of the transform."""

    def column(weights: Array) -> FamilyValues:
        direction = tuple(jnp.tensordot(weights, b, axes=1) for b in basis)
        return jax.jvp(lambda u: constrain(posterior.program, u), (unconstrained,), (direction,))[1]

    columns = jax.vmap(column)(jnp.asarray(root.T, unconstrained[0].dtype))
    return tuple(jnp.sqrt(jnp.sum(jnp.square(c), axis=0)) for c in columns)


def _add_conditional(
    posterior: LogPosterior, unconstrained: FamilyValues, diagonal: FamilyValues, spread: list[HostArray]
) -> None:
    for index, (family, u) in enumerate(zip(posterior.program.families, unconstrained, strict=True)):
        value = family.constrain(u)
        if not is_image(value):
            continue
        # dx/du of the image simplex is close to x (1 - x) along its own pixel; other images are linear
        size = np.asarray(1.0 / jnp.sqrt(jnp.maximum(diagonal[index], jnp.finfo(u.dtype).tiny)))
        if isinstance(family.prior, MorphologyPrior):
            # beside the leading numbers, which `spread` has, all others as if each were on its own
            alone = jnp.asarray(size).at[..., :LEADING].set(0.0)
            spread[index] = np.sqrt(spread[index] ** 2 + np.asarray(_spread_of(family, u, alone), float) ** 2)
        elif u.shape == value.shape:
            spread[index] = size
        else:
            flat = np.asarray(value).reshape(value.shape[0], -1)
            padded = np.concatenate([size, np.median(size, axis=-1, keepdims=True)], axis=-1)
            spread[index] = (flat * (1 - flat) * np.minimum(padded, 1.0)).reshape(value.shape)


@jax.jit
def _spread_of(family: Family, unconstrained: Array, size: Array) -> Array:
    """(row, height, width) deviations of images whose numbers deviate by (row, n - 1), from random probes."""

    def moved(key: Array) -> Array:
        probe = size * jax.random.normal(key, size.shape, size.dtype)
        return jax.jvp(family.constrain, (unconstrained,), (probe,))[1]

    return jnp.sqrt(jnp.mean(jnp.square(jax.lax.map(moved, jax.random.split(jax.random.key(1), _PROBES))), axis=0))
