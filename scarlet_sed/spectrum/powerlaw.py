"""A power law in wavelength: an ultraviolet slope, a quasar's continuum."""

from typing import final

import equinox as eqx
import jax.numpy as jnp

from scarlet_sed.parameters import parameter
from scarlet_sed.photometry.filters import Filters
from scarlet_sed.spectrum.base import Spectrum
from scarlet_sed.spectrum.numerics import bounded_exp, checked_reference
from scarlet_sed.typing import Array


@final
class PowerLaw(Spectrum):
    """f_lambda ~ lambda^slope, so f_nu ~ lambda^(slope + 2): a slope of -2 is flat in f_nu.

    A redshift changes nothing, since the flux is that observed.

    Args:
        flux: nJy, the observed flux density f_nu at `reference_wavelength`.
        slope: the exponent beta of f_lambda.
        reference_wavelength: Angstrom, in the observed frame.
    """

    flux: Array = parameter(unit="nJy", doc="flux density at the reference wavelength", shape=())
    slope: Array = parameter(doc="exponent of f_lambda", shape=())
    reference_wavelength: float = eqx.field(static=True, default=20000.0, converter=checked_reference)

    def fluxes(self, filters: Filters, redshift: Array) -> Array:
        """(band,) flux in nJy.

        Raises:
            FilterError: if the filters have no curves.
        """
        filters.require_curves("a PowerLaw")
        log_ratio = (self.slope + 2) * jnp.log(filters.wavelength / self.reference_wavelength)
        return self.flux * jnp.sum(filters.weight * bounded_exp(log_ratio), axis=-1)
