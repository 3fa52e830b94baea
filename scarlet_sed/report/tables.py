"""Tables of a report as rows of text."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from astropy.table import QTable

from scarlet_sed.io.flags import Flag


@dataclass(frozen=True)
class Grid:
    """A table to be printed.

    Args:
        heads: (column,) titles.
        rows: (row, column) text.
        text_columns: how many columns, from the left, hold words.
    """

    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    text_columns: int = 1


def bands_of(catalog: QTable) -> list[str]:
    """The bands of a catalogue, in order."""
    return [
        n.removeprefix("flux_") for n in catalog.colnames if n.startswith("flux_") and not n.startswith("flux_error_")
    ]


def catalog_grid(catalog: QTable) -> Grid:
    """The catalogue, cut to what fits a screen."""
    bands = bands_of(catalog)
    on_sky = "ra" in catalog.colnames
    heads = [
        "id",
        "name",
        "model",
        *(("RA", "Dec") if on_sky else ("x", "y")),
        *bands,
        "radius",
        "q",
        "angle",
        "n",
        "box",
        "lost",
        "flags",
    ]
    rows = []
    for row in catalog:
        place = (
            (f"{row['ra'].value:.6f}", f"{row['dec'].value:.6f}")
            if on_sky
            else (f"{row['x'].value:.2f}", f"{row['y'].value:.2f}")
        )
        rows.append(
            [
                str(row["id"]),
                str(row["name"]),
                str(row["model"]),
                *place,
                *(magnitude(row[f"mag_{band}"].value, row[f"mag_error_{band}"].value) for band in bands),
                with_error(row["radius"].value, row["radius_error"].value, 3),
                with_error(float(row["axis_ratio"]), float(row["axis_ratio_error"]), 2),
                with_error(row["angle"].value, row["angle_error"].value, 0),
                with_error(float(row["index"]), float(row["index_error"]), 2),
                f"{row['box'].value:.1f}″",
                percent(float(row["truncated"])),
                short_flags(int(row["flags"])),
            ]
        )
    return Grid(heads, rows, text_columns=3)


def short_flags(value: int) -> str:
    """Names of flags; a dash for none."""
    names = [str(flag.name).lower().replace("_", " ") for flag in Flag if flag and flag & value]
    return ", ".join(names) or "–"


def magnitude(value: float, error: float) -> str:
    """A magnitude with its error; a dash for a flux that is not positive."""
    return with_error(value, error, 2)


def with_error(value: float, error: float, digits: int) -> str:
    """ "1.23 ± 0.04"; "–" where there is no value, no error where there is none."""
    if not np.isfinite(value):
        return "–"
    if not np.isfinite(error):
        return f"{value:.{digits}f}"
    if error > 0:
        # enough digits that the error does not read as zero
        digits = min(max(digits, int(np.ceil(-np.log10(error)))), digits + 2)
    return f"{value:.{digits}f} ± {error:.{digits}f}"


def percent(value: float) -> str:
    """ "0.12 %"; "–" where unknown."""
    if not np.isfinite(value):
        return "–"
    return f"{100 * value:.2g} %" if value >= 1e-4 else "< 0.01 %"


def seconds(value: float) -> str:
    """A duration that is easy to read."""
    return f"{value:.2f} s" if value < 10 else f"{value:.0f} s" if value < 120 else f"{value / 60:.1f} min"
