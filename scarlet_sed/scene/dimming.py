"""What screens of dust let through of a component, pixel by pixel."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from scarlet_sed.dust.base import NATURAL_PER_MAGNITUDE
from scarlet_sed.light import Component
from scarlet_sed.parameters import as_float
from scarlet_sed.photometry.filters import Filters
from scarlet_sed.scene.screen import DustScreen
from scarlet_sed.typing import Array


def dimmed(
    component: Component,
    screens: Sequence[DustScreen],
    redshift: Array,
    stamp: Array,
    depths: Sequence[Array],
    filters: Filters,
) -> Array:
    """(band, h, w) nJy of one component behind its screens, for plain numbers.

    Args:
        component: whose spectrum shines.
        screens: one or more.
        redshift: of the source.
        stamp: (h, w) light of the component for a total flux of one.
        depths: (h, w) A_V of each screen in mag.
        filters: the bands.
    """
    light = component.spectrum.light(filters, redshift, max(screen.nodes for screen in screens))
    flux, wavelength = (x.transpose(1, 0, 2).reshape(x.shape[1], -1) for x in (light.flux, light.wavelength))
    curves = [screen.curve(wavelength / (1 + redshift)) for screen in screens]
    if len(screens) == 1:
        return _through_one(flux, curves[0], depths[0]) * stamp

    def band(flux: Array, *curves: Array) -> Array:
        depth = sum((k[:, None, None] * d for k, d in zip(curves, depths, strict=True)), jnp.zeros(()))
        return jnp.tensordot(flux, jnp.exp(-NATURAL_PER_MAGNITUDE * depth), 1) * stamp

    return jax.vmap(band)(flux, *curves)


_ORDER = 32
"""Terms of the series in the depth. Of exp(-x E), 0 < x < 1, it leaves out about exp(-ORDER^2 / E) / sqrt(3 E): 1e-10
of what shines for E = 46 (A_V = 10 mag at five times the attenuation in V), 1e-6 for twice that."""
_ANGLES = np.pi * (np.arange(_ORDER) + 0.5) / _ORDER
_NODES = 0.5 * (1 + np.cos(_ANGLES))
_TRANSFORM = 2 / _ORDER * np.cos(np.outer(np.arange(_ORDER), _ANGLES))
_TRANSFORM[0] /= 2
_SHALLOW = 1e-3
"""Depth in mag that the nodes span at least."""


def _through_one(flux: Array, curve: Array, depth: Array) -> Array:
    """(band, h, w) nJy that one screen lets through of light that is the same everywhere.

    What is left of a band is one smooth function of the depth, whatever pieces it is made of. It is interpolated
    between the Chebyshev nodes of all depths that there are (Trefethen 2019, Approximation Theory and Approximation
    Practice, theorem 8.2), which takes tens of exponentials a band instead of several a pixel.

    Args:
        flux, curve: (band, piece) nJy, and attenuation over that in V.
        depth: (h, w) A_V in mag.
    """
    # what is interpolated does not depend on where the nodes are
    deepest = jax.lax.stop_gradient(jnp.maximum(jnp.max(depth), _SHALLOW))
    rate = NATURAL_PER_MAGNITUDE * curve[:, :, None]
    through = flux[:, :, None] * jnp.exp(-rate * (as_float(_NODES) * deepest))
    return _interpolated(jnp.sum(through, axis=1), -jnp.sum(rate * through, axis=1), depth, deepest)


@jax.custom_jvp
def _interpolated(samples: Array, slopes: Array, depth: Array, deepest: Array) -> Array:
    """(band, h, w) functions of depth between their (band, node) samples, whose slopes are interpolated likewise.

    Derivatives of Chebyshev polynomials would blow rounding up by the square of their order.
    """
    return _series(samples, depth, deepest)


def _series(samples: Array, depth: Array, deepest: Array) -> Array:
    x = 2 * depth / deepest - 1
    terms = [jnp.ones_like(x), x]
    while len(terms) < _ORDER:
        terms.append(2 * x * terms[-1] - terms[-2])
    coefficients = jnp.matmul(samples, as_float(_TRANSFORM.T), precision="highest")
    return jnp.tensordot(coefficients, jnp.stack(terms), 1, precision="highest")


@_interpolated.defjvp
def _changed(primals: tuple[Array, ...], tangents: tuple[Array, ...]) -> tuple[Array, Array]:
    samples, slopes, depth, deepest = primals
    change = _series(tangents[0], depth, deepest) + _series(slopes, depth, deepest) * tangents[2]
    return _series(samples, depth, deepest), change
