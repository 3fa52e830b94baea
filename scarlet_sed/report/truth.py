"""A result beside a known truth: sources matched by position, fluxes compared."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import QTable
from scipy.optimize import linear_sum_assignment

from scarlet_sed.errors import DataError
from scarlet_sed.report.tables import Grid, bands_of, with_error

_WORDS = {"redshift": "redshift", "log_mass": "log mass", "av": "A_V"}
"""Physics that a truth table may list."""

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
        flux: (truth, band) true fluxes in nJy.
        physics: by quantity (redshift, log_mass, av), (truth, 3): true value, result and its error; NaN where unknown.
    """

    names: tuple[str, ...]
    match: np.ndarray
    separation: np.ndarray
    ratio: np.ndarray
    pull: np.ndarray
    bands: tuple[str, ...]
    extra: tuple[int, ...]
    flux: np.ndarray
    physics: Mapping[str, np.ndarray]

    def fluxes_of(self, name: str, catalog: QTable, bands: Sequence[str]) -> np.ndarray | None:
        """(band,) true fluxes in nJy of a source of the catalogue; None if it matches nothing."""
        row = list(catalog["name"]).index(name)
        if row not in self.match:
            return None
        own = dict(zip(self.bands, self.flux[list(self.match).index(row)], strict=True))
        return np.array([own.get(band, np.nan) for band in bands])

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
            "physics": {name: _offsets(name, columns) for name, columns in self.physics.items()},
        }

    def summary(self) -> str:
        """One sentence."""
        found = self.match >= 0
        bias = _median(self.ratio[found]) - 1 if found.any() else np.nan
        text = (
            f"{self.found} of {len(self.names)} true sources found, {len(self.extra)} without a counterpart; "
            f"the median flux is off by {bias:+.1%} over all bands."
        )
        for name, columns in self.physics.items():
            if np.isfinite(columns[:, 1]).any():
                off = _offsets(name, columns)
                text += f" {_WORDS[name]}: median offset {off['median']:+.3f}, scatter {off['scatter']:.3f}"
                text += f", {off['outliers']} of {off['count']} off by more than 15 %." if "outliers" in off else "."
        return text

    def physics_grid(self, catalog: QTable) -> Grid | None:
        """One row per true source with a redshift: each quantity with its error, the truth in parentheses."""
        if not self.physics:
            return None
        rows = []
        for i in np.flatnonzero(np.isfinite(next(iter(self.physics.values()))[:, 0])):
            found = str(catalog["name"][self.match[i]]) if self.match[i] >= 0 else "not found"
            cells = [f"{with_error(c[i, 1], c[i, 2], 2)} ({c[i, 0]:.2f})" for c in self.physics.values()]
            rows.append([self.names[i], found, *cells])
        heads = ["truth", "result", *(f"{_WORDS[name]} (truth)" for name in self.physics)]
        return Grid(heads, rows, text_columns=2) if rows else None

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
    physics = {name: _beside(catalog, truth, name, match) for name in _WORDS if name in truth.colnames}
    physics = {name: columns for name, columns in physics.items() if np.isfinite(columns[:, 1]).any()}
    return Comparison(tuple(map(str, names)), match, separation, ratio, pull, tuple(bands), extra, true, physics)


def _beside(catalog: QTable, truth: QTable, name: str, match: np.ndarray) -> np.ndarray:
    """(truth, 3) true value, result and its error; a result without a population or a match is NaN."""
    rows: np.ndarray = np.full((len(truth), 3), np.nan)
    rows[:, 0] = [float(getattr(value, "value", value)) for value in truth[name]]
    if "log_mass" in catalog.colnames and f"{name}_error" in catalog.colnames:
        has = np.isfinite(np.asarray(catalog["log_mass"], float))
        for i in np.flatnonzero(match >= 0):
            if has[match[i]]:
                both = (catalog[n][match[i]] for n in (name, f"{name}_error"))
                rows[i, 1:] = [float(getattr(value, "value", value)) for value in both]
    return rows


def _offsets(name: str, columns: np.ndarray) -> dict[str, Any]:
    """Median and scatter (1.48 median absolute deviations) of result minus truth; of redshifts over 1 + z."""
    off = columns[:, 1] - columns[:, 0]
    if name == "redshift":
        off = off / (1 + columns[:, 0])
    off = off[np.isfinite(off)]
    found = {"count": int(off.size), "median": _median(off), "scatter": 1.4826 * _median(np.abs(off - _median(off)))}
    return found | ({"outliers": int(np.sum(np.abs(off) > 0.15))} if name == "redshift" else {})


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
