"""A result beside a known truth: sources matched by position, fluxes compared."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import QTable
from scipy.optimize import linear_sum_assignment

from scarlet_sed.errors import DataError
from scarlet_sed.report.tables import Grid, bands_of

MATCH_RADIUS = 0.25
"""Arcsec within which a source of the result may be a source of the truth."""


@dataclass(frozen=True)
class Comparison:
    """What became of each true source.

    Args:
        names: (truth,) names.
        match: (truth,) row of the catalogue, -1 for none.
        separation: (truth,) arcsec, NaN for none.
        ratio: (truth, band) flux of the result over the truth.
        pull: (truth, band) their difference over the error.
        bands: (band,) names.
        extra: rows of the catalogue that match nothing.
    """

    names: tuple[str, ...]
    match: np.ndarray
    separation: np.ndarray
    ratio: np.ndarray
    pull: np.ndarray
    bands: tuple[str, ...]
    extra: tuple[int, ...]

    @property
    def found(self) -> int:
        """How many true sources have a match."""
        return int(np.sum(self.match >= 0))

    def metrics(self) -> dict[str, Any]:
        """Numbers for metrics.json."""
        found = self.match >= 0
        bias = {band: _median(self.ratio[found, i]) - 1 for i, band in enumerate(self.bands)}
        spread = {band: 1.4826 * _median(np.abs(self.pull[found, i])) for i, band in enumerate(self.bands)}
        return {
            "true_sources": len(self.names),
            "found": self.found,
            "spurious": len(self.extra),
            "median_flux_bias": bias,
            "pull_scatter": spread,
            "median_separation_arcsec": _median(self.separation[found]),
        }

    def summary(self) -> str:
        """One sentence."""
        found = self.match >= 0
        bias = _median(self.ratio[found]) - 1 if found.any() else np.nan
        return (
            f"{self.found} of {len(self.names)} true sources found, {len(self.extra)} without a counterpart; "
            f"the median flux is off by {bias:+.1%} over all bands."
        )

    def grid(self, catalog: QTable) -> Grid:
        """One row per true source."""
        rows = []
        for i, name in enumerate(self.names):
            if self.match[i] < 0:
                rows.append([name, "not found", *["–"] * (len(self.bands) + 1)])
                continue
            cells = [
                f"{r:.3f}" + (f" ({p:+.1f})" if np.isfinite(p) else "") if np.isfinite(r) else "–"
                for r, p in zip(self.ratio[i], self.pull[i], strict=True)
            ]
            label = f"{catalog['name'][self.match[i]]} ({catalog['model'][self.match[i]]})"
            rows.append([name, label, f"{1000 * self.separation[i]:.0f}", *cells])
        return Grid(["truth", "result", "apart (mas)", *self.bands], rows, text_columns=2)


def compare(catalog: QTable, truth: QTable, radius: float = MATCH_RADIUS) -> Comparison:
    """Match a catalogue to a truth table.

    Args:
        catalog: as `io.catalog.build_catalog` makes it.
        truth: columns name, ra and dec (or x and y), and flux_<band> in a flux unit or nJy.
        radius: largest distance of a match in arcsec.

    Raises:
        DataError: if the two tables have no coordinates or no bands in common.
    """
    distance = _distances(catalog, truth)
    bands = [band for band in bands_of(catalog) if f"flux_{band}" in truth.colnames]
    if not bands:
        raise DataError(
            "the truth table has no flux_<band> of the catalogue",
            fix=f"name its columns like flux_{bands_of(catalog)[0]}",
        )
    # the best pairing over all sources; pairs beyond the radius cost all the same and are dropped afterwards
    rows, columns = linear_sum_assignment(np.minimum(distance, radius))
    match = np.full(len(truth), -1)
    for row, column in zip(rows, columns, strict=True):
        if distance[row, column] < radius:
            match[row] = column
    found = match >= 0
    separation = np.where(found, distance[np.arange(len(truth)), match], np.nan)
    true = np.stack([_nanojansky(truth[f"flux_{band}"]) for band in bands], axis=1)
    flux, error = (
        np.stack([catalog[f"{kind}_{band}"].to_value(u.nJy)[match] for band in bands], axis=1)
        for kind in ("flux", "flux_error")
    )
    flux[~found] = np.nan
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio, pull = flux / true, (flux - true) / error
    extra = tuple(i for i in range(len(catalog)) if i not in set(match[found].tolist()))
    names = truth["name"] if "name" in truth.colnames else np.arange(1, len(truth) + 1)
    return Comparison(tuple(map(str, names)), match, separation, ratio, pull, tuple(bands), extra)


def _distances(catalog: QTable, truth: QTable) -> np.ndarray:
    """(truth, catalogue) arcsec."""
    if {"ra", "dec"} <= set(catalog.colnames) & set(truth.colnames):
        ours = SkyCoord(catalog["ra"], catalog["dec"], unit="deg")
        theirs = SkyCoord(truth["ra"], truth["dec"], unit="deg")
        return theirs[:, None].separation(ours[None, :]).to_value(u.arcsec)
    if {"east", "north"} <= set(truth.colnames):
        offsets = [np.asarray(u.Quantity(truth[key], u.arcsec).value) for key in ("east", "north")]
        ours = [catalog[key].to_value(u.arcsec) for key in ("east", "north")]
        return np.hypot(*(t[:, None] - o[None, :] for t, o in zip(offsets, ours, strict=True)))
    raise DataError(
        "truth and catalogue have no coordinates in common",
        fix="give the truth ra and dec, or east and north (arcsec)",
    )


def _nanojansky(column: Any) -> np.ndarray:
    return np.asarray(u.Quantity(column, u.nJy).value if getattr(column, "unit", None) else column, dtype=float)


def _median(values: np.ndarray) -> float:
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if finite.size else float("nan")
