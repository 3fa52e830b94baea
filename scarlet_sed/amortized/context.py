"""What networks see of fluxes: numbers that do not change when an object and its errors grow together."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from scarlet_sed.parameters import as_float
from scarlet_sed.typing import Array

_WAVES = 12
"""Cosines and sines of ln(1 + z): a line passes a medium band within 0.05 of it."""
_LONGEST = 3.0
_FAINT = 0.02
"""Of the reference flux, below which the logarithm of a flux goes over to the flux itself."""


class Measured(eqx.Module):
    """Fluxes of one object.

    Args:
        flux: (band,) nJy; anything finite where a band is missing.
        sigma: (band,) nJy, positive.
        present: (band,) 1, or 0 where a band is missing.
    """

    flux: Array
    sigma: Array
    present: Array

    @property
    def reference(self) -> Array:
        """A flux in nJy that follows the object's: positive, and proportional to fluxes and errors together."""
        weight = self.present / self.sigma**2
        return jnp.sqrt(jnp.sum(weight * (self.flux**2 + self.sigma**2), axis=-1) / jnp.sum(weight, axis=-1))

    @property
    def shape(self) -> Array:
        """(band,) fluxes against the reference, squashed: logarithms of what is bright."""
        return jnp.arcsinh(self.flux / self.reference[..., None] / _FAINT) / 3

    @property
    def shape_slope(self) -> Array:
        """(band,) by how much the shape rises with the logarithm of all fluxes, the reference as it is."""
        return self.flux / jnp.hypot(self.flux, _FAINT * self.reference[..., None]) / 3

    @property
    def shape_error(self) -> Array:
        """(band,) standard deviations of it."""
        return self.sigma / jnp.hypot(self.flux, _FAINT * self.reference[..., None]) / 3

    @property
    def features(self) -> Array:
        """(4 * band + 1,): signal-to-noise, logarithms of fluxes and of errors, what is there, and the reference."""
        reference = self.reference[..., None]
        signal = jnp.arcsinh(self.flux / self.sigma) / 3
        level = jnp.log(self.sigma / reference) / 2
        each = [self.present * number for number in (signal, self.shape, level)]
        return jnp.concatenate([*each, 1 - self.present, jnp.log10(reference) / 3], axis=-1)


def of_redshift(redshift: Array) -> Array:
    """(2 * waves + 1,) smooth functions of a redshift."""
    away = jnp.log1p(redshift)[..., None]
    phase = away * as_float(np.pi / _LONGEST * np.arange(1, 2 * _WAVES, 2) ** 1.5)
    return jnp.concatenate([away, jnp.cos(phase), jnp.sin(phase)], axis=-1)
