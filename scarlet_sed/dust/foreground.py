"""What the dust of the Milky Way takes from each band."""

import numpy as np

from scarlet_sed.dust.extinction_curves import CCM89
from scarlet_sed.errors import DomainError
from scarlet_sed.parameters import as_float
from scarlet_sed.photometry.filters import FilterLike, Filters
from scarlet_sed.typing import HostArray


def milky_way(filters: "FilterLike | list[FilterLike] | Filters", ebv: float, rv: float = 3.1) -> HostArray:
    """Extinction in each band, for `Observation(..., foreground=...)`.

    Of a spectrum that is flat in f_nu, with the curve of Cardelli, Clayton & Mathis 1989, ApJ 345, 245.

    Args:
        filters: with curves.
        ebv: E(B-V) in mag, zero or more; maps in the scale of Schlegel et al. 1998 are multiplied by 0.86 first
            (Schlafly & Finkbeiner 2011, ApJ 737, 103).
        rv: A_V / E(B-V).

    Returns:
        (band,) mag.

    Raises:
        DomainError: if E(B-V) is negative or not finite, or R_V outside of 2 to 6.
        FilterError: for unknown filters, or bands without curves.
    """
    if not (np.isfinite(ebv) and ebv >= 0):
        raise DomainError(f"E(B-V) is {ebv}", fix="give a number of zero or more, in mag")
    known = Filters.load(filters)
    known.require_curves("foreground extinction")
    depth = rv * ebv * np.asarray(CCM89(as_float(rv))(known.wavelength), float)
    through = np.sum(np.asarray(known.weight, float) * 10 ** (-0.4 * depth), axis=-1)
    return np.asarray(-2.5 * np.log10(through))
