"""Observations from FITS files: bands that share a grid become one observation, other grids become others."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from scarlet_sed.errors import FilterError
from scarlet_sed.instrument.images import BandFiles, BandImage, Window, read_bands
from scarlet_sed.instrument.observation import Observation
from scarlet_sed.photometry.filters import Filters

__all__ = ["BandFiles", "Window", "observations_from_fits"]


def observations_from_fits(
    bands: "Mapping[str, BandFiles | Mapping[str, Any]]",
    *,
    window: Window | None = None,
    filters: Filters | None = None,
    names: Mapping[str, str] | None = None,
    **options: Any,
) -> list[Observation]:
    """Read bands and gather those on the same pixel grid into one observation each.

    Args:
        bands: the files by filter name.
        window: the part to cut out of every image; only that part of the files is read.
        filters: what the bands are, if their names are not those of filters.
        names: name of the observation of a band, by any of its bands; by default its bands joined by `_`.
        **options: `noise`, `sky`, `calibration`, `shift` of every Observation.

    Returns:
        Observations in the order of their first bands.

    Raises:
        FileFormatError, WCSError, UnitError, DataError, ShapeError, PSFError, FilterError: each names the band.
    """
    known = Filters.load(bands) if filters is None else filters
    groups: list[list[BandImage]] = []
    for image in read_bands(bands, window):
        group = next((g for g in groups if image.grid.same_as(g[0].grid)), None)
        if group is None:
            groups.append([image])
        else:
            group.append(image)
    unknown = [name for name in (names or {}) if name not in bands]
    if unknown:
        raise FilterError(
            f"an observation is named after the unknown band {unknown[0]!r}", fix=f"choose among {', '.join(bands)}"
        )
    return [_observation(group, known, dict(names or {}), options) for group in groups]


def _observation(group: list[BandImage], filters: Filters, names: dict[str, str], options: Any) -> Observation:
    bands = [image.name for image in group]
    return Observation(
        np.stack([image.data for image in group]),
        filters.select(bands),
        [image.psf for image in group],
        variance=np.stack([image.variance for image in group]),
        mask=np.stack([image.mask for image in group]),
        grid=group[0].grid,
        name=next((names[band] for band in bands if band in names), None),
        **options,
    )
