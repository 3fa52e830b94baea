"""Sources that a user lists in a table, in place of detection."""

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord

from scarlet_sed.errors import ConfigError, SourceError
from scarlet_sed.instrument.frame import Frame
from scarlet_sed.instrument.observation import Observation
from scarlet_sed.io.config import MODELS, CatalogConfig
from scarlet_sed.pipeline.tables import read_table
from scarlet_sed.start.detect import measure
from scarlet_sed.start.detections import Detections
from scarlet_sed.typing import HostArray


def from_catalog(catalog: CatalogConfig, observations: list[Observation], frame: Frame) -> Detections:
    """Sources at the positions of a table, measured on the images.

    Raises:
        ConfigError: if the table lacks the columns.
        SourceError: if a source lies outside the frame.
    """
    table = read_table(catalog.path)
    assert table is not None
    names = {key: catalog.columns.get(key, key) for key in ("ra", "dec", "x", "y", "radius")}
    has = {key for key, name in names.items() if name in table.colnames}

    def column(key: str, unit: u.UnitBase) -> HostArray:
        values = table[names[key]]
        numbers = values if values.unit is None else u.Quantity(values).to_value(unit)
        plain: HostArray = np.ma.filled(np.ma.asarray(numbers, dtype=float), np.nan)
        if not np.isfinite(plain).all():
            raise ConfigError(
                f"the column {names[key]!r} of {catalog.path} has empty entries", fix="fill them, or drop those rows"
            )
        return plain

    if {"ra", "dec"} <= has and frame.reference is not None:
        position = frame.from_sky(SkyCoord(column("ra", u.deg), column("dec", u.deg), unit=u.deg))
    elif {"x", "y"} <= has:
        finest = min(observations, key=lambda o: o.grid.pixel_scale)
        position = finest.grid.offsets(column("x", u.pix), column("y", u.pix), frame.tangent_point)
    else:
        wanted = "x and y" if frame.reference is None else "ra and dec, or x and y"
        raise ConfigError(
            f"{catalog.path} has no positions, only the columns {', '.join(table.colnames)}",
            fix=f"name the columns of {wanted} in [catalog.columns]",
        )
    inside = np.asarray(frame.contains(position))
    if not inside.all():
        raise SourceError(
            f"row {int(np.argmin(inside)) + 1} of {catalog.path} lies outside the images",
            fix="drop such rows from the table",
        )
    radius = column("radius", u.arcsec) if "radius" in has else None
    return measure(observations, frame, position, radius=radius, position_error=catalog.position_error)


def catalog_models(catalog: CatalogConfig, sources: Detections) -> dict[str, str]:
    """The models that the catalogue's own column asks for, by source name; empty entries take the default."""
    table = read_table(catalog.path)
    assert table is not None
    name = catalog.columns.get("model", "model")
    if name not in table.colnames:
        return {}
    column = table[name]
    entries = column.filled("") if hasattr(column, "filled") else column  # ECSV reads empty entries as masked
    wanted = {source: str(model).strip() for source, model in zip(sources.names, entries, strict=True)}
    unknown = next((model for model in wanted.values() if model and model not in MODELS), None)
    if unknown is not None:
        raise ConfigError(f"the column {name!r} of {catalog.path} asks for {unknown!r}", fix=f"use {', '.join(MODELS)}")
    return {source: model for source, model in wanted.items() if model}


def catalog_redshifts(catalog: CatalogConfig, sources: Detections) -> dict[str, float]:
    """Known redshifts by source name, from the catalogue's own column; entries that are empty or not finite are free.

    Raises:
        ConfigError: for a redshift that is not positive.
    """
    table = read_table(catalog.path)
    assert table is not None
    name = catalog.columns.get("redshift", "redshift")
    if name not in table.colnames:
        return {}
    column: HostArray = np.ma.filled(np.ma.asarray(table[name], dtype=float), np.nan)
    known = {source: float(z) for source, z in zip(sources.names, column, strict=True) if np.isfinite(z)}
    wrong = next((source for source, z in known.items() if z <= 0), None)
    if wrong is not None:
        raise ConfigError(
            f"the redshift of {wrong} in {catalog.path} is {known[wrong]:g}",
            fix="give positive ones, or leave it empty",
        )
    return known
