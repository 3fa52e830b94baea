"""How well galaxies of each redshift explain an object's fluxes: a template fit at all redshifts at once.

The shapes of spectra at one redshift are a Gaussian cloud (see `ExpectedFluxes`), of which the main axes are kept.
The probability of an object's fluxes under it has a closed form. It is no likelihood, since clouds are not Gaussian,
but it knows the breaks and lines that a network would take very long to find to a fraction of a per cent.
"""

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from scarlet_sed.amortized.context import Measured
from scarlet_sed.amortized.expected import LEAST, SCALE, ExpectedFluxes
from scarlet_sed.parameters import as_float
from scarlet_sed.typing import Array, HostArray


class RedshiftProfile(eqx.Module):
    """Clouds of shapes at knots in ln(1 + z), by their main axes.

    Args:
        mean: (knot, band) of `Measured.shape`.
        axes: (knot, band, axis) together as wide as the cloud; each turns little from knot to knot.
        rest: (band,) variance that the axes leave.
    """

    mean: Array
    axes: Array
    rest: Array

    @staticmethod
    def of(expected: ExpectedFluxes, axes: int) -> "RedshiftProfile":
        """The main axes of clouds.

        Args:
            expected: the clouds.
            axes: how many to keep, at most one a band.
        """
        covariance: HostArray = np.asarray(expected.covariance, np.float64)
        variances, directions = np.linalg.eigh(covariance)
        main: HostArray = (directions * np.sqrt(np.maximum(variances, 0.0))[:, None])[:, :, ::-1][:, :, :axes]
        left = np.diagonal(covariance, axis1=1, axis2=2) - np.sum(main**2, axis=2)
        rest = np.median(np.maximum(left, 0.0), axis=0)
        # turned so that an axis means the same from knot to knot (orthogonal Procrustes)
        for knot in range(1, len(main)):
            one, _, other = np.linalg.svd(main[knot].T @ main[knot - 1])
            main[knot] = main[knot] @ one @ other
        return RedshiftProfile(*(as_float(a) for a in (expected.mean, main, rest)))

    def __call__(self, measured: Measured) -> tuple[Array, Array]:
        """(knot,) logarithms of the probability of an object's fluxes, and (knot, axis + 1) where in the cloud it is.

        The places are in widths of the cloud; the last is by how much all fluxes together are brighter than they are
        expected to be, in ln flux over `expected.SCALE`.

        Args:
            measured: fluxes of one object.
        """
        count = self.axes.shape[-1]
        away, slope = measured.shape - self.mean, SCALE * measured.shape_slope
        weight = measured.present / (measured.shape_error**2 + LEAST**2 + self.rest)
        # matrix and right-hand side of the places' normal equations, lower triangle, unrolled: small, and many
        pairs = [(i, j) for i in range(count) for j in range(i + 1)]
        first, second = (np.asarray(each) for each in zip(*pairs, strict=True))
        products = jnp.einsum("b,kbn->nk", weight, self.axes[:, :, first] * self.axes[:, :, second])
        matrix = {pair: products[n] + (pair[0] == pair[1]) for n, pair in enumerate(pairs)}
        scale = jnp.einsum("b,kba->ak", weight * slope, self.axes)
        matrix.update({(count, i): scale[i] for i in range(count)})
        matrix[count, count] = jnp.full(self.mean.shape[0], 1 + jnp.sum(weight * slope**2))
        along = jnp.einsum("kb,kba->ak", weight * away, self.axes)
        places, gain, volume = _solved(matrix, [*along, away @ (weight * slope)])
        return -0.5 * (away**2 @ weight - gain) - volume, jnp.stack(places, axis=-1)


def _solved(matrix: dict[tuple[int, int], Array], right: list[Array]) -> tuple[list[Array], Array, Array]:
    """Solutions of many small positive systems, right-hand side times solution, and half the logarithm of the volume.

    Args:
        matrix: of (row, column) of the lower triangle, (system,) each.
        right: of each row, (system,).
    """
    size = len(right)
    root: dict[tuple[int, int], Array] = {}
    half: list[Array] = []
    for j in range(size):
        diagonal = matrix[j, j] - sum((root[j, k] ** 2 for k in range(j)), jnp.zeros(()))
        root[j, j] = jnp.sqrt(jnp.maximum(diagonal, 1.0))  # one, and what the data add
        half.append((right[j] - sum((root[j, k] * half[k] for k in range(j)), jnp.zeros(()))) / root[j, j])
        for i in range(j + 1, size):
            inner = sum((root[i, k] * root[j, k] for k in range(j)), jnp.zeros(()))
            root[i, j] = (matrix[i, j] - inner) / root[j, j]
    found: list[Array] = list(half)
    for j in reversed(range(size)):
        inner = sum((root[i, j] * found[i] for i in range(j + 1, size)), jnp.zeros(()))
        found[j] = (half[j] - inner) / root[j, j]
    gain = sum((each**2 for each in half), jnp.zeros(()))
    return found, gain, sum((jnp.log(root[j, j]) for j in range(size)), jnp.zeros(()))
