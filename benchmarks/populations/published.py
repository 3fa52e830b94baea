"""Calzetti's curve with the ends that bagpipes gives it, to compare everything else with bagpipes (test only)."""

from __future__ import annotations

from typing import final

import jax.numpy as jnp

from scarlet_sed.dust.base import Curve
from scarlet_sed.typing import Array


@final
class PublishedCalzetti(Curve):
    """Calzetti et al. (2000): a step at 6300 A, nothing beyond 3.1 micron, a power law below 1200 A."""

    def __call__(self, wavelength: Array) -> Array:
        micron = wavelength / 1e4
        inverse = 1 / jnp.maximum(micron, 0.12)
        blue = -2.156 + inverse * (1.509 + inverse * (-0.198 + 0.011 * inverse))
        k = 2.659 * jnp.where(micron < 0.63, blue, -1.857 + 1.040 * inverse) + 4.05
        tail = jnp.where(micron < 0.12, (micron / 0.12) ** -0.77, 1.0)
        return jnp.where(micron < 3.1, k * tail, 0.0) / 4.05
