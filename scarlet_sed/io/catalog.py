"""A catalogue of a scene: one row per source, with units and errors."""

from collections.abc import Mapping, Sequence
from typing import Any

import astropy.units as u
import numpy as np
from astropy.table import QTable

from scarlet_sed.instrument.observation import Observation
from scarlet_sed.io.flags import find_flags
from scarlet_sed.io.populations import population_columns
from scarlet_sed.io.propagation import Correlations, Errors, Part, all_errors, parts_of
from scarlet_sed.io.shapes import Shape
from scarlet_sed.parameters import resolve
from scarlet_sed.photometry.units import ab_magnitude
from scarlet_sed.scene.scene import Scene
from scarlet_sed.typing import HostArray


def build_catalog(
    scene: Scene,
    observations: Sequence[Observation],
    *,
    uncertainties: Mapping[str, Any] | None = None,
    correlations: Correlations | None = None,
    truncated: Mapping[str, float] | None = None,
    converged: bool = True,
) -> QTable:
    """The catalogue of a scene at its present values.

    Fluxes and magnitudes are of all the light of a source, as it is seen from outside of the Milky Way: behind the
    source's own screens of dust, and corrected for the foreground and the calibration of each observation. If any
    source has screens, `intrinsic_flux_<band>` is the light without them.

    Args:
        scene: the (fitted) scene.
        observations: whose bands are listed; pixel positions are on the finest of them, zero-based.
        uncertainties: standard deviation by parameter path, of the parameter's shape; None if not computed.
        correlations: of the parameters' errors; errors are taken as independent without it.
        truncated: the fraction of the flux outside the box by component (`source` or `source.component`).
        converged: whether the fit that made the scene converged.
    """
    errors = all_errors(scene, uncertainties or {}, correlations)
    plain = resolve(scene)
    parts = {name: parts_of(plain, name, observations, errors) for name in scene.sources}
    finest = min(observations, key=lambda o: o.grid.pixel_scale)
    columns: dict[str, Any] = {"id": np.arange(1, len(scene) + 1), "name": np.array(list(scene.sources))}
    columns["model"] = np.array([_model_name(parts[name]) for name in scene.sources])
    columns |= _positions(scene, plain, finest, errors.sigma)
    flux = np.stack([np.sum([p.flux for p in parts[name]], axis=0) for name in scene.sources])
    flux_error = np.stack([errors.flux_error(parts[name]) for name in scene.sources])
    columns |= _photometry(_bands(observations), flux, flux_error)
    if any(plain.screens()):
        clear = [parts_of(plain, name, observations, errors, screened=False) for name in scene.sources]
        columns |= _intrinsic(_bands(observations), clear, errors)
    columns |= _shapes([max(parts[name], key=lambda p: np.sum(p.flux)).shape for name in scene.sources])
    columns |= _boxes(scene, parts, truncated or {})
    flags = find_flags(scene, columns, flux, flux_error, finest, observations, uncertainties is not None, converged)
    columns["flags"] = np.array([int(flag) for flag in flags])
    columns["status"] = np.array([flag.describe() for flag in flags])
    columns["redshift"] = np.array([float(plain.sources[name].redshift) for name in scene.sources])
    columns |= population_columns(plain, errors)
    table = _described(columns)
    # keywords of at most 8 and texts of at most 68 characters fit into FITS headers
    table.meta["magsys"] = "AB"
    table.meta["pixels"] = "zero-based, of the observation in PIXELSOF"
    table.meta["pixelsof"] = finest.name[:68]
    table.meta["shapes"] = "of the brightest component; radii hold half the light"
    table.meta["errors"] = "1 sigma, of a Gaussian around the maximum of the posterior"
    return table


def component_table(
    scene: Scene, observations: Sequence[Observation], *, uncertainties: Mapping[str, Any] | None = None
) -> QTable:
    """One row per component: source, component, model, fluxes and shape; arguments and fluxes as in `build_catalog`."""
    errors = all_errors(scene, uncertainties or {}, None)
    plain = resolve(scene)
    rows = [(name, part) for name in scene.sources for part in parts_of(plain, name, observations, errors)]
    columns: dict[str, Any] = {
        "source": np.array([name for name, _ in rows]),
        "component": np.array([part.name for _, part in rows]),
        "model": np.array([part.kind for _, part in rows]),
    }
    flux = np.stack([part.flux for _, part in rows])
    columns |= _photometry(_bands(observations), flux, np.stack([errors.flux_error([part]) for _, part in rows]))
    if any(plain.screens()):
        sources = (parts_of(plain, name, observations, errors, screened=False) for name in scene.sources)
        columns |= _intrinsic(_bands(observations), [[part] for parts in sources for part in parts], errors)
    columns |= _shapes([part.shape for _, part in rows])
    return _described(columns)


def _bands(observations: Sequence[Observation]) -> list[str]:
    names = [band for o in observations for band in o.filters.names]
    return [name if names.count(name) == 1 else f"{o.name}_{name}" for o in observations for name in o.filters.names]


def _model_name(parts: list[Part]) -> str:
    return "+".join(part.kind for part in parts)


def _positions(scene: Scene, plain: Scene, finest: Observation, errors: Mapping[str, HostArray]) -> dict[str, Any]:
    position = np.stack([np.asarray(plain.sources[name].position, float) for name in scene.sources])
    error = np.stack([errors.get(f"{name}.position", np.full(2, np.nan)) for name in scene.sources])
    pixel = np.asarray(finest.grid.pixels(position, scene.frame.tangent_point))
    pixel_error = np.sqrt(error**2 @ (finest.grid.matrix**2).T)
    columns: dict[str, Any] = {
        "x": pixel[:, 0] * u.pix,
        "y": pixel[:, 1] * u.pix,
        "x_error": pixel_error[:, 0] * u.pix,
        "y_error": pixel_error[:, 1] * u.pix,
        "east": position[:, 0] * u.arcsec,
        "north": position[:, 1] * u.arcsec,
        "east_error": error[:, 0] * u.arcsec,
        "north_error": error[:, 1] * u.arcsec,
    }
    if scene.frame.tangent_point is None:
        return columns
    sky = scene.frame.sky(position)
    # right ascension's error is that of the coordinate itself, so it grows towards the poles
    stretch = 1 / np.cos(sky.dec.rad)
    angles = {"ra": sky.ra.to(u.deg), "dec": sky.dec.to(u.deg)}
    spread = {"ra_error": error[:, 0] * stretch * u.arcsec, "dec_error": error[:, 1] * u.arcsec}
    return {name: u.Quantity(value) for name, value in (angles | spread).items()} | columns


def _photometry(bands: list[str], flux: HostArray, flux_error: HostArray) -> dict[str, Any]:
    columns: dict[str, Any] = {}
    for index, band in enumerate(bands):
        columns[f"flux_{band}"] = flux[:, index] * u.nJy
        columns[f"flux_error_{band}"] = flux_error[:, index] * u.nJy
    for index, band in enumerate(bands):
        safe = np.where(flux[:, index] > 0, flux[:, index], np.nan)
        columns[f"mag_{band}"] = np.asarray(ab_magnitude(flux[:, index])) * u.mag
        columns[f"mag_error_{band}"] = 2.5 / np.log(10) * flux_error[:, index] / safe * u.mag
    return columns


def _intrinsic(bands: list[str], rows: Sequence[list[Part]], errors: Errors) -> dict[str, Any]:
    """Fluxes without screens, with their errors, of rows that are sums of components."""
    flux = np.stack([np.sum([part.flux for part in parts], axis=0) for parts in rows])
    error = np.stack([errors.flux_error(parts) for parts in rows])
    columns: dict[str, Any] = {}
    for index, band in enumerate(bands):
        columns[f"intrinsic_flux_{band}"] = flux[:, index] * u.nJy
        columns[f"intrinsic_flux_error_{band}"] = error[:, index] * u.nJy
    return columns


_DESCRIPTIONS = {
    "flux_error_": "1 sigma error of the flux",
    "flux_": "total, behind own dust screens, corrected for the Milky Way",
    "mag_error_": "1 sigma error of the magnitude",
    "mag_": "AB magnitude of the flux",
    "intrinsic_flux_error_": "1 sigma error of the intrinsic flux",
    "intrinsic_flux_": "total, without own dust screens, corrected for the Milky Way",
}
"""By the first beginning that a column's name has; at most 68 characters, as FITS headers take them."""


def _described(columns: Mapping[str, Any]) -> QTable:
    table = QTable(dict(columns))
    for name in table.colnames:
        text = next((text for beginning, text in _DESCRIPTIONS.items() if name.startswith(beginning)), None)
        if text is not None:
            table[name].info.description = text
    return table


def _shapes(shapes: Sequence[Shape]) -> dict[str, Any]:
    units = {"radius": u.arcsec, "semi_major": u.arcsec, "axis_ratio": None, "angle": u.deg, "index": None}
    columns: dict[str, Any] = {}
    for key, unit in units.items():
        values = np.array([getattr(shape, key) for shape in shapes]).reshape(-1, 2)
        columns[key], columns[f"{key}_error"] = (column if unit is None else column * unit for column in values.T)
    return columns


def _boxes(scene: Scene, parts: Mapping[str, list[Part]], truncated: Mapping[str, float]) -> dict[str, Any]:
    widths: dict[str, float] = {}
    for (name, _, _), box in zip(scene.components(), scene.boxes(), strict=True):
        widths[name] = max(widths.get(name, 0.0), max(box.shape) * scene.frame.pixel_scale)
    lost = []
    for name in scene.sources:
        share = np.array([max(float(np.sum(part.flux)), 0.0) for part in parts[name]])
        fractions = np.array([truncated.get(part.path, np.nan) for part in parts[name]])
        lost.append(float(np.average(fractions, weights=share)) if share.sum() > 0 else float(np.max(fractions)))
    return {
        "box": np.array([widths[name] for name in scene.sources]) * u.arcsec,
        "truncated": np.array(lost),
    }
