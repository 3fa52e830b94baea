"""What screens of dust let through of a component, pixel by pixel."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from scarlet_sed.dust.base import NATURAL_PER_MAGNITUDE
from scarlet_sed.light import Component
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

    def band(flux: Array, *curves: Array) -> Array:
        depth = sum((k[:, None, None] * d for k, d in zip(curves, depths, strict=True)), jnp.zeros(()))
        return jnp.tensordot(flux, jnp.exp(-NATURAL_PER_MAGNITUDE * depth), 1) * stamp

    return jax.vmap(band)(flux, *curves)
