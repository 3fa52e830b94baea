"""What a spectrum is: it gives the flux of a component in every band, at its source's redshift."""

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar

import equinox as eqx

from scarlet_sed.light import Component, product
from scarlet_sed.parameters import as_float, resolve
from scarlet_sed.photometry.filters import Filters
from scarlet_sed.photometry.parts import in_parts
from scarlet_sed.typing import Array, ArrayLike

if TYPE_CHECKING:
    from scarlet_sed.morphology.base import Morphology


class BandLight(eqx.Module):
    """A component's light in pieces that dust treats apart.

    Args:
        flux: (piece, band, node) nJy; its sum over pieces and nodes is the band flux. With several nodes, one can be
            negative.
        wavelength: (piece, band, node) observed-frame wavelength in Angstrom at which each piece is attenuated.
    """

    flux: Array
    wavelength: Array


class Spectrum(eqx.Module):
    """The flux of a component in each band.

    To add one, write a final class with slots made by `parameter(...)` and the method `fluxes`; spectra that dust
    screens should treat in several pieces, or whose `fluxes` need more of filters than their weights (names, limits),
    also override `light`.
    """

    log_amplitude: ClassVar[str | None] = None
    """The slot that holds log10 of a factor on all fluxes, where there is one."""

    @abstractmethod
    def fluxes(self, filters: Filters, redshift: Array) -> Array:
        """(band,) flux in nJy through each filter, at the redshift of the source."""

    def check(self, filters: Filters, redshift: Array) -> None:
        """Raise a typed error where the spectrum cannot serve these filters; called once, on concrete numbers.

        Args:
            filters: of one observation.
            redshift: the lowest that the source may have.
        """

    def light(self, filters: Filters, redshift: Array, nodes: int = 1) -> BandLight:
        """The same in pieces: here one piece.

        Args:
            filters: as of `fluxes`.
            redshift: as of `fluxes`.
            nodes: a band's: 1, at the pivot wavelength, or 3, at which attenuation across the band is right to second
                order (see `in_parts`).
        """
        if nodes == 1:
            return BandLight(self.fluxes(filters, redshift)[None, :, None], filters.pivot[None, :, None])
        parts, at = in_parts(filters, nodes)
        return BandLight(self.fluxes(parts, redshift).reshape(1, *at.shape), at[None])

    def __call__(self, filters: Filters, redshift: ArrayLike = 0.0) -> Array:
        """(band,) flux in nJy with free parameters at their present values."""
        return resolve(self).fluxes(filters, as_float(redshift))

    def __mul__(self, morphology: "Morphology") -> Component:
        return product(self, morphology)
