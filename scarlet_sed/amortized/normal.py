"""Numbers whose prior is a standard normal, which flows learn best, whatever the prior is."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import ndtr

from scarlet_sed.parameters import as_float
from scarlet_sed.typing import Array, HostArray

_QUANTILES = np.linspace(-3.5, 3.5, 29)
"""Standard deviations at which quantiles are matched; beyond, the map goes on straight."""


class PriorMap(eqx.Module):
    """A monotone map for each unconstrained number, from a standard normal one.

    It joins quantiles of draws by rational quadratic splines (Gregory & Delbourgo 1982, IMA J. Numer. Anal. 2, 123),
    which are undone in closed form. The unconstrained number stays inside of its support whatever the normal one is.

    Args:
        knots: (n, knot) quantiles of the unconstrained numbers.
        slopes: (n, knot) of the map there.
    """

    knots: Array
    slopes: Array

    @staticmethod
    def of(draws: HostArray) -> "PriorMap":
        """The map of (draw, n) unconstrained numbers drawn from their prior; a few thousand at least."""
        knots = np.quantile(np.asarray(draws, np.float64), ndtr(_QUANTILES), axis=0).T
        secant = np.maximum(np.diff(knots, axis=1) / np.diff(_QUANTILES), 1e-4)
        knots = knots[:, :1] + np.cumsum(np.pad(secant * np.diff(_QUANTILES), ((0, 0), (1, 0))), axis=1)
        slopes = np.concatenate([secant[:, :1], np.sqrt(secant[:, 1:] * secant[:, :-1]), secant[:, -1:]], axis=1)
        return PriorMap(as_float(knots), as_float(slopes))

    def unconstrained(self, normal: Array) -> tuple[Array, Array]:
        """(n,) unconstrained numbers, and the logarithms of the slopes there.

        Args:
            normal: (n,) standard normal under the prior.
        """
        return jax.vmap(_forward)(self.knots, self.slopes, normal)

    def normal(self, unconstrained: Array) -> Array:
        """(n,) normal numbers of unconstrained ones."""
        return jax.vmap(_back)(self.knots, self.slopes, unconstrained)


def _forward(knots: Array, slopes: Array, x: Array) -> tuple[Array, Array]:
    at = as_float(_QUANTILES)
    width = at[1] - at[0]
    inside = jnp.clip(x, at[0], at[-1])
    k = jnp.clip(jnp.floor((inside - at[0]) / width).astype(int), 0, len(_QUANTILES) - 2)
    xi, low, high = (inside - at[k]) / width, slopes[k], slopes[k + 1]
    rise = knots[k + 1] - knots[k]
    secant = rise / width
    curved = xi * (1 - xi)
    bottom = secant + (high + low - 2 * secant) * curved
    y = knots[k] + rise * (secant * xi**2 + low * curved) / bottom
    slope = (secant / bottom) ** 2 * (high * xi**2 + 2 * secant * curved + low * (1 - xi) ** 2)
    # straight beyond the ends, where the slope is that of the end
    return y + slope * (x - inside), jnp.log(slope)


def _back(knots: Array, slopes: Array, y: Array) -> Array:
    at = as_float(_QUANTILES)
    inside = jnp.clip(y, knots[0], knots[-1])
    k = jnp.clip(jnp.searchsorted(knots, inside) - 1, 0, len(_QUANTILES) - 2)
    width, rise, low, high = at[k + 1] - at[k], knots[k + 1] - knots[k], slopes[k], slopes[k + 1]
    secant, up = rise / width, inside - knots[k]
    shared = up * (high + low - 2 * secant)
    a, b, c = rise * (secant - low) + shared, rise * low - shared, -secant * up
    xi = 2 * c / (-b - jnp.sqrt(jnp.maximum(b**2 - 4 * a * c, 0.0)))
    beyond = jnp.where(y < inside, (y - inside) / slopes[0], (y - inside) / slopes[-1])
    return at[k] + xi * width + beyond
