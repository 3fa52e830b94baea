"""A black body: a star without lines."""

from typing import final

import equinox as eqx
import jax.numpy as jnp
from astropy import constants

from scarlet_sed.parameters import parameter
from scarlet_sed.photometry.filters import Filters
from scarlet_sed.spectrum.base import Spectrum
from scarlet_sed.spectrum.numerics import bounded_exp, checked_reference
from scarlet_sed.typing import Array

SECOND_RADIATION = float((constants.h * constants.c / constants.k_B).to_value("Angstrom K"))
"""c_2 = h c / k in Angstrom Kelvin (CODATA 2018)."""


@final
class BlackBody(Spectrum):
    """Planck's spectrum of a temperature, seen at a redshift, scaled to a flux.

    The ratio of Planck functions is formed in logarithms, so that neither the Wien tail of a cold body nor the
    Rayleigh-Jeans tail of a hot one overflows in float32; what is too faint for the type is zero.

    Args:
        temperature: K, in the rest frame.
        flux: nJy, the observed flux density f_nu at `reference_wavelength`.
        reference_wavelength: Angstrom, in the observed frame.
    """

    temperature: Array = parameter(unit="K", doc="temperature in the rest frame", shape=())
    flux: Array = parameter(unit="nJy", doc="flux density at the reference wavelength", shape=())
    reference_wavelength: float = eqx.field(static=True, default=20000.0, converter=checked_reference)

    def fluxes(self, filters: Filters, redshift: Array) -> Array:
        """(band,) flux in nJy.

        Raises:
            FilterError: if the filters have no curves.
        """
        filters.require_curves("a BlackBody")
        kelvin_angstrom = self.temperature / (1 + redshift)
        x = SECOND_RADIATION / (filters.wavelength * kelvin_angstrom)
        x_reference = SECOND_RADIATION / (self.reference_wavelength * kelvin_angstrom)
        # f_nu ~ 1 / (lambda^3 (e^x - 1)),  log(e^x - 1) = x + log(1 - e^-x)
        log_ratio = (
            -3 * jnp.log(filters.wavelength / self.reference_wavelength)
            + (x_reference - x)
            + jnp.log(-jnp.expm1(-x_reference))
            - jnp.log(-jnp.expm1(-x))
        )
        return self.flux * jnp.sum(filters.weight * bounded_exp(log_ratio), axis=-1)
