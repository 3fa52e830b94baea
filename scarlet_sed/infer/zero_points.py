"""Zero points of a catalogue's bands from galaxies of known redshift."""

from collections.abc import Callable
from typing import Any

import numpy as np

from scarlet_sed.errors import DataError
from scarlet_sed.infer.photometry import fit_photometry
from scarlet_sed.photometry.filters import Filters
from scarlet_sed.spectrum.base import Spectrum
from scarlet_sed.typing import HostArray

_SIGNAL = 5.0
"""Signal-to-noise above which a flux counts."""
_FEWEST = 5
"""Galaxies that a band needs, or its factor stays one."""


def zero_points(
    fluxes: Any,
    errors: Any,
    filters: Any,
    spectrum: Spectrum,
    redshift: Any,
    *,
    floor: float = 0.05,
    rounds: int = 4,
    progress: Callable[[str], None] = lambda _: None,
    **options: Any,
) -> HostArray:
    """Factors on the fluxes of each band that bring them onto the models, of galaxies whose redshift is known.

    Models are fitted at the known redshift; a band's factor is the median ratio of model to flux; and so on until it
    has settled (e.g. Ilbert et al. 2006, A&A 457, 841). The factors' geometric mean is one: what is common to all bands
    is mass.

    Args:
        fluxes: (galaxy, band) nJy; NaN where a band is missing.
        errors: (galaxy, band) nJy.
        filters: `Filters` or names, in the order of the bands.
        spectrum: with priors.
        redshift: (galaxy,) known.
        floor: see `fit_photometry`.
        rounds: of fits and ratios.
        progress: called with a line at times.
        **options: of `fit_photometry`.

    Returns:
        (band,) factors; one where fewer than five galaxies are bright enough.

    Raises:
        DataError: if no band has enough galaxies.
    """
    filters = Filters.load(filters)
    flux, error = (np.atleast_2d(np.asarray(a, np.float64)) for a in (fluxes, errors))
    bright = np.isfinite(flux) & np.isfinite(error) & (flux > _SIGNAL * error)
    enough = bright.sum(axis=0) >= _FEWEST
    if not enough.any():
        raise DataError(
            f"no band has {_FEWEST} galaxies above {_SIGNAL:g} sigma", fix="give more galaxies of known redshift"
        )
    factors: HostArray = np.ones(len(filters))
    for number in range(rounds):
        made = fit_photometry(
            flux * factors,
            error * factors,
            filters,
            spectrum,
            redshift,
            floor=floor,
            **({"starts": 4, "steps": 16} | options),
        )
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.where(bright, made.model / flux, np.nan)
        factors[enough] = np.nanmedian(ratio[:, enough], axis=0)
        factors[enough] /= np.exp(np.mean(np.log(factors[enough])))
        progress(f"zero points, round {number + 1}: from {factors.min():.3f} to {factors.max():.3f}")
    return factors
