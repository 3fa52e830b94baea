"""A free flux in every band: no physics, no redshift, and the only spectrum for bands without known curves."""

from collections.abc import Iterable
from typing import Any, final

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from scarlet_sed.errors import FilterError
from scarlet_sed.parameters import as_leaf, parameter
from scarlet_sed.photometry.filters import Filters, canonical_name, checked_names
from scarlet_sed.photometry.parts import in_parts
from scarlet_sed.spectrum.base import BandLight, Spectrum
from scarlet_sed.typing import Array


@final
class FreeSpectrum(Spectrum):
    """A flux per band.

    Args:
        flux: (band,) nJy, or one number or prior for every band. The prior's support decides whether noise may
            make a flux negative: `constraints.real` lets it, `constraints.positive` does not.
        bands: names in the order of `flux`, or the filters of an observation.

    Raises:
        FilterError: for repeated bands, or none.
        ShapeError: if there is neither one flux nor one a band.
    """

    bands: tuple[str, ...] = eqx.field(static=True)
    flux: Array = parameter(unit="nJy", doc="flux in each band")

    def __init__(self, flux: Any, bands: "str | Iterable[str] | Filters") -> None:
        if isinstance(bands, Filters):
            self.bands = bands.names
        else:
            self.bands = checked_names([bands] if isinstance(bands, str) else list(bands))
        self.flux = as_leaf(flux, "nJy", (len(self.bands),))

    def fluxes(self, filters: Filters, redshift: Array) -> Array:
        """(band,) flux in nJy; the redshift changes nothing.

        Raises:
            FilterError: for a filter this spectrum has no flux for.
        """
        return self.flux[np.array([self._index(name) for name in filters.names])]

    def light(self, filters: Filters, redshift: Array, nodes: int = 1) -> BandLight:
        """One piece; with 3 nodes, flat (f_nu) within each band."""
        if nodes == 1:
            return super().light(filters, redshift)
        parts, at = in_parts(filters, nodes)
        share = jnp.sum(parts.weight, axis=-1).reshape(at.shape)
        return BandLight((self.fluxes(filters, redshift)[:, None] * share)[None], at[None])

    def _index(self, name: str) -> int:
        if name in self.bands:
            return self.bands.index(name)
        known = [canonical_name(band) for band in self.bands]
        if canonical_name(name) in known:
            return known.index(canonical_name(name))
        raise FilterError(
            f"a FreeSpectrum has no flux in the band {name!r}, only in {', '.join(self.bands)}",
            fix="make it with bands=observation.filters, all observations' bands together",
        )
