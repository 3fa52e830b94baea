"""Fluxes by linear least squares: the model is linear in them, so they need no optimiser.

Every component is drawn with unit flux; components whose images do not touch are drawn together, so the number of
renderings does not grow with the number of sources.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpyro.distributions as dist
from numpyro.distributions import constraints
from scipy.optimize import lsq_linear

from scarlet_sed.constraints import lowest
from scarlet_sed.infer.posterior import LogPosterior
from scarlet_sed.infer.windows import Window, colours, common, overlap, window, wings, within
from scarlet_sed.instrument.observation import Observation
from scarlet_sed.light import Component, Light, path_of
from scarlet_sed.parameters import Parameter, current_values, freeze, resolve
from scarlet_sed.scene.scene import Scene
from scarlet_sed.scene.source import Source
from scarlet_sed.spectrum.free import FreeSpectrum
from scarlet_sed.start.observations import Observations, as_list
from scarlet_sed.typing import HostArray


@dataclass(frozen=True, eq=False)
class LinearFluxes:
    """Band fluxes of all components, fitted together with everything else held.

    Args:
        bands: names of all bands of all observations.
        flux: (band,) nJy by component's path; NaN in a band in which nothing of it was seen.
        error: (band,) standard deviation, likewise, neighbours' uncertainty included.
        sky: (band,) nJy per pixel by observation's name, where the sky was free.
    """

    bands: tuple[str, ...]
    flux: dict[str, HostArray]
    error: dict[str, HostArray]
    sky: dict[str, HostArray]


@dataclass(frozen=True, eq=False)
class _Patch:
    """The image of one component in one observation: (band, h, w), and where its pixels lie there."""

    image: HostArray
    slices: Window


def linear_fluxes(scene: Scene, observations: Observations) -> LinearFluxes:
    """Solve for the flux of each component in each band, shapes and positions held.

    Fluxes are kept inside the support of their prior, and those of sources with several components non-negative. The
    sky level is solved for where an observation's sky is free.

    Args:
        scene: its present shapes and positions are used, its spectra are not.
        observations: one or several.
    """
    several = as_list(observations)
    bands = tuple(dict.fromkeys(band for observation in several for band in observation.bands))
    paths = scene.component_paths()
    patches = _unit_images(scene, several, bands)
    floors = _floors(scene)
    flux = np.full((len(paths), len(bands)), np.nan)
    error = np.full_like(flux, np.nan)
    sky = {o.name: np.array(o.values["sky"], dtype=float) for o in several}
    for index, band in enumerate(bands):
        seen = [(o, o.bands.index(band), patches[o.name]) for o in several if band in o.bands]
        solution, deviation, level = _solve(seen, floors)
        flux[:, index], error[:, index] = solution, deviation
        for (observation, b, _), value in zip(seen, level, strict=True):
            sky[observation.name][b] = value
    free = {o.name: sky[o.name] for o in several if isinstance(o.sky, Parameter)}
    return LinearFluxes(bands, dict(zip(paths, flux, strict=True)), dict(zip(paths, error, strict=True)), free)


def _unit_images(scene: Scene, several: list[Observation], bands: tuple[str, ...]) -> dict[str, list[_Patch]]:
    """By observation, the image of each component with unit flux in every band, in the scene's order."""
    values = current_values(scene)
    plain = {(name, part): component for name, part, component in resolve(scene).components()}
    keys = [(name, part) for name, part, _ in scene.components()]
    front = dict(zip(keys, resolve(scene).screens(), strict=True))
    alone: dict[str, Source] = {}
    # sorted, as jax sorts the keys of every dict that it rebuilds
    for name, part in sorted(keys, key="/".join):
        spectrum = FreeSpectrum(Parameter(np.ones(len(bands)), constraints.real), bands)
        light: Light = Component(spectrum, plain[name, part].morphology)
        for number, (_, screen) in enumerate(front[name, part]):
            light = light.behind(screen, f"screen{number}")
        redshift = values[f"{name}.redshift"]
        alone[f"{name}/{part}"] = Source(values[f"{name}.position"], light, redshift, scene.sources[name].box)
    exploded = Scene(alone, scene.frame, scene.error_budget)
    frozen = [freeze(o.set({"sky": np.zeros(len(o.bands))}), "*") for o in several]
    posterior = LogPosterior(exploded, frozen)
    boxes = dict(zip(alone, exploded.boxes(), strict=True))
    wide = {o.name: wings(o) for o in several}
    windows = {
        o.name: {key: window([box], scene.frame, o, wide[o.name]) for key, box in boxes.items()} for o in several
    }
    turns = dict(zip(alone, colours([[windows[o.name][key] for o in several] for key in alone]), strict=True))
    patches: dict[str, dict[str, _Patch]] = {o.name: {} for o in several}
    for turn in range(max(turns.values()) + 1):
        fluxes = {f"{key}.spectrum.flux": np.full(len(bands), float(turns[key] == turn)) for key in alone}
        drawn = posterior.images(posterior.pack(fluxes))
        for observation in several:
            image = np.asarray(drawn[observation.name], dtype=np.float64)
            for key in (key for key in alone if turns[key] == turn):
                where = windows[observation.name][key]
                patches[observation.name][key] = _Patch(image[:, *where], where)
    return {name: [each[f"{n}/{p}"] for n, p in keys] for name, each in patches.items()}


def _floors(scene: Scene) -> list[float]:
    """The least flux that each component may have."""
    found = []
    for name, _, component in scene.components():
        leaf = component.spectrum.flux if isinstance(component.spectrum, FreeSpectrum) else None
        least = float(np.max(lowest(leaf.prior))) if isinstance(leaf, Parameter) else -np.inf
        found.append(max(least, 0.0) if len(scene.sources[name].components()) > 1 else least)
    return found


def _solve(
    seen: list[tuple[Observation, int, list[_Patch]]], floors: list[float]
) -> tuple[HostArray, HostArray, HostArray]:
    """Fluxes, their errors and the sky levels in one band, seen by one or more observations."""
    count = len(floors)
    size = count + len(seen)
    normal, right = np.zeros((size, size)), np.zeros(size)
    held = np.zeros(size, dtype=bool)
    level = np.array([float(np.asarray(o.values["sky"])[b]) for o, b, _ in seen])
    for k, (observation, band, patches) in enumerate(seen):
        weight = np.asarray(observation.weights[band], dtype=np.float64)
        data = np.where(weight > 0, np.asarray(observation.data[band], dtype=np.float64), 0.0)
        sky = count + k
        if isinstance(observation.sky, Parameter):
            normal[sky, sky], right[sky] = weight.sum(), (weight * data).sum()
        else:
            held[sky] = True
            data = data - level[k]
        for i, first in enumerate(patches):
            light = first.image[band]
            weighted = light * weight[first.slices]
            right[i] += np.sum(weighted * data[first.slices])
            normal[i, i] += np.sum(weighted * light)
            normal[i, sky] = normal[sky, i] = weighted.sum()
            for j in range(i):
                normal[i, j] += _product(weighted, first, patches[j], band)
                normal[j, i] = normal[i, j]
    # a component that no pixel sees, and a sky that is held, drop out
    used = (np.diag(normal) > 1e-12 * np.diag(normal)[:count].max(initial=1e-300)) & ~held
    solution, deviation = np.full(size, np.nan), np.full(size, np.nan)
    if used.any():
        low = np.array(floors + [-np.inf] * len(seen))[used]
        solution[used], deviation[used] = _least_squares(normal[np.ix_(used, used)], right[used], low)
    found = np.where(held[count:] | ~np.isfinite(solution[count:]), level, solution[count:])
    return solution[:count], deviation[:count], found


def _least_squares(normal: HostArray, right: HostArray, low: HostArray) -> tuple[HostArray, HostArray]:
    scale = 1 / np.sqrt(np.diag(normal))
    matrix = normal * np.outer(scale, scale) + 1e-9 * np.eye(len(scale))  # unit diagonal; the ridge parts twins
    values, vectors = np.linalg.eigh(matrix)
    values = np.maximum(values, 1e-9)
    root = (vectors * np.sqrt(values)) @ vectors.T
    target = ((vectors / np.sqrt(values)) @ vectors.T) @ (right * scale)
    if np.any(np.isfinite(low)):
        solution = lsq_linear(root, target, bounds=(low / scale, np.inf)).x
    else:
        solution = np.linalg.solve(root, target)
    deviation = np.sqrt(np.diag((vectors / values) @ vectors.T))
    return solution * scale, deviation * scale


def _product(weighted: HostArray, first: _Patch, second: _Patch, band: int) -> float:
    """Sum over the common pixels of two patches."""
    if not overlap(first.slices, second.slices):
        return 0.0
    both = common(first.slices, second.slices)
    mine, other = within(both, first.slices), within(both, second.slices)
    return float(np.sum(weighted[mine] * second.image[band][other]))


def initialize(scene: Scene, observations: Any) -> Scene:
    """The same scene with the free amplitudes of its spectra set by linear least squares.

    A `FreeSpectrum` takes the solution band by band; any other spectrum with a slot `flux` or `weights` is scaled as
    a whole to match it. Positions, shapes and everything fixed stay.

    Args:
        scene: the scene to start.
        observations: one or several.
    """
    linear = linear_fluxes(scene, observations)
    filters = [o.filters for o in as_list(observations)]
    values = current_values(scene)
    new: dict[str, Any] = {}
    for name, part, component in scene.components():
        path = path_of(name, part)
        best, error = linear.flux[path], linear.error[path]
        for slot in ("flux", "weights"):
            leaf = getattr(component.spectrum, slot, None)
            if not isinstance(leaf, Parameter):
                continue
            key = f"{path}.spectrum.{slot}"
            if isinstance(component.spectrum, FreeSpectrum):
                order = [linear.bands.index(b) if b in linear.bands else -1 for b in component.spectrum.bands]
                wanted = np.array([best[i] if i >= 0 else np.nan for i in order])
                noise = np.array([error[i] if i >= 0 else np.nan for i in order])
                wanted = np.where(np.isfinite(wanted), wanted, np.asarray(values[key]))
                new[key] = _inside(leaf.prior, wanted, np.where(np.isfinite(noise), noise, 1.0))
            else:
                spectrum, z = resolve(scene).sources[name].components(), values[f"{name}.redshift"]
                plain = dict(spectrum)[part].spectrum
                now = {b: f for fs in filters for b, f in zip(fs.names, np.asarray(plain.fluxes(fs, z)), strict=True)}
                factor = _scale(np.array([now[b] for b in linear.bands]), best, error)
                new[key] = _inside(leaf.prior, np.asarray(values[key]) * factor, np.abs(np.asarray(values[key])) * 1e-3)
    return scene.set(new)


def _scale(now: HostArray, wanted: HostArray, error: HostArray) -> float:
    good = np.isfinite(wanted) & np.isfinite(error) & (error > 0) & np.isfinite(now)
    weight = np.where(good, 1 / np.where(good, error, 1.0) ** 2, 0.0)
    below = np.sum(weight * now**2)
    factor = np.sum(weight * now * np.where(good, wanted, 0.0)) / below if below > 0 else 1.0
    return float(max(factor, 1e-3))


def _inside(prior: dist.Distribution, value: HostArray, step: HostArray) -> HostArray:
    """The value, or the nearest that lies inside the support by a tenth of the error at least."""
    raised = np.maximum(value, np.asarray(lowest(prior), float) + np.maximum(0.1 * step, 1e-12))
    return raised if np.all(np.asarray(prior.support(raised))) else np.abs(value) + step
