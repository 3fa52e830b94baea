"""From fluxes to physics: sources with free fluxes get stellar populations that start where those fluxes say."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpyro.distributions as dist

from scarlet_sed.errors import FilterError
from scarlet_sed.infer.photometry import PhotometryFit, fit_photometry
from scarlet_sed.light import Component, path_of
from scarlet_sed.morphology.point import Point
from scarlet_sed.parameters import Parameter
from scarlet_sed.photometry.filters import Filters
from scarlet_sed.scene.scene import Scene
from scarlet_sed.scene.source import Source
from scarlet_sed.spectrum.blackbody import BlackBody
from scarlet_sed.spectrum.stellar_population import StellarPopulation
from scarlet_sed.start.fluxes import LinearFluxes, linear_fluxes
from scarlet_sed.start.observations import Observations, as_list
from scarlet_sed.typing import HostArray

Begin = Callable[[StellarPopulation, Filters, HostArray, HostArray, Any], HostArray]
"""(galaxy, start, n) unconstrained numbers for a spectrum, filters, (galaxy, band) fluxes and errors, and redshifts."""

_TEMPERATURES = (1500.0, 50_000.0)
"""K, of stars."""
_FLUXES = (5.0, 4.0)
"""Mean and spread of the natural logarithm of nJy, of stars."""


class Start(NamedTuple):
    """A source's row in a fit of fluxes."""

    fit: PhotometryFit
    row: int

    @property
    def redshift(self) -> float:
        """The best or known redshift."""
        return float(self.fit.redshift[self.row])


class Populated(NamedTuple):
    """A scene of populations, and the photometry that they started from.

    Args:
        scene: ready to be fitted.
        filters: of the photometry.
        flux: (band,) nJy that the images say without any spectrum, by source; NaN where a band does not see it.
        error: (band,) nJy, by source.
        starts: the fits of those fluxes, by source.
        stars: unresolved sources that a black body describes better than a galaxy does, and that shine as one.
    """

    scene: Scene
    filters: Filters
    flux: dict[str, HostArray]
    error: dict[str, HostArray]
    starts: dict[str, Start]
    stars: tuple[str, ...] = ()


def with_populations(
    scene: Scene,
    observations: Observations,
    population: StellarPopulation,
    *,
    names: Sequence[str] | None = None,
    redshift: dist.Distribution | None = None,
    known: Mapping[str, float] | None = None,
    floor: float = 0.02,
    begin: Begin | None = None,
    progress: Callable[[str], None] = lambda _: None,
    **options: Any,
) -> Populated:
    """Replace the spectra of sources by populations, started by a fit of the sources' fluxes.

    Fluxes come from linear least squares with shapes and positions as they are; components of a source share redshift
    and start, and their masses share out the light. A point whose fluxes a black body describes better (by the Bayesian
    information criterion) becomes a star, unless its redshift is known.

    Args:
        scene: with shapes near the truth, such as that of a fit with free fluxes.
        observations: one or several.
        population: with priors, such as `deep_field_population()`.
        names: of the sources; None for all.
        redshift: prior for sources without a known one; None for uniform from 0.02 to 12.
        known: fixed redshifts by source.
        floor: see `fit_photometry`.
        begin: where those fits begin instead of at draws from the priors: `partial(network_starts, posterior)`, with an
            amortized posterior for such populations.
        progress: called with a line at times.
        **options: of `fit_photometry`.

    Raises:
        FilterError: if bands have no curves.
    """
    several = as_list(observations)
    chosen = tuple(scene.sources if names is None else names)
    fixed = {name: float(z) for name, z in (known or {}).items() if name in chosen}
    prior = dist.Uniform(0.02, 12.0) if redshift is None else redshift
    linear = linear_fluxes(scene, several)
    filters = Filters.joined([o.filters for o in several])
    filters.require_curves("a StellarPopulation")
    missing = [band for band in linear.bands if band not in filters.names]
    if missing:
        raise FilterError(f"the band {missing[0]!r} goes by two names", fix="name it alike in all observations")
    flux, error = _photometry(scene, linear, filters.names, chosen)
    free = np.array([name not in fixed for name in chosen])
    starts: dict[str, Start] = {}
    for rows, given in ((np.flatnonzero(free), prior), (np.flatnonzero(~free), [fixed.get(n, 0.0) for n in chosen])):
        if rows.size:
            at = given if isinstance(given, dist.Distribution) else np.array(given)[rows]
            fit = fit_photometry(
                flux[rows],
                error[rows],
                filters,
                population,
                at,
                floor=floor,
                begin=None if begin is None else partial(_begun, begin, population, filters, at),
                progress=progress,
                **options,
            )
            starts |= {chosen[row]: Start(fit, index) for index, row in enumerate(rows)}
    sources = dict(scene.sources)
    points = [row for row, name in enumerate(chosen) if free[row] and _is_point(scene.sources[name])]
    stars = _stars(points, flux, error, filters, [starts[name] for name in chosen], floor, len(population.parameters))
    for row, (temperature, brightness) in stars.items():
        sources[chosen[row]] = _star(scene.sources[chosen[row]], temperature, brightness)
        del starts[chosen[row]]
    for name in starts:
        z: Any = fixed.get(name, Parameter(starts[name].redshift, prior))
        sources[name] = _populated(scene.sources[name], name, population, starts[name], z, linear)
    return Populated(
        scene.with_sources(sources),
        filters,
        dict(zip(chosen, flux, strict=True)),
        dict(zip(chosen, error, strict=True)),
        starts,
        tuple(chosen[row] for row in stars),
    )


def _begun(
    begin: Begin, population: StellarPopulation, filters: Filters, redshift: Any, flux: HostArray, error: HostArray
) -> HostArray:
    return begin(population, filters, flux, error, redshift)


def _is_point(source: Source) -> bool:
    bare = not any(source.screens())
    return bare and all(isinstance(component.morphology, Point) for _, component in source.components())


def _stars(
    points: Sequence[int],
    flux: HostArray,
    error: HostArray,
    filters: Filters,
    starts: Sequence[Start],
    floor: float,
    numbers: int,
) -> dict[int, tuple[float, float]]:
    """Temperature in K and flux in nJy at the reference wavelength of those points that are rather stars, by row."""
    if not points:
        return {}
    light = BlackBody(dist.LogUniform(*_TEMPERATURES), dist.LogNormal(*_FLUXES))
    fit = fit_photometry(flux[points], error[points], filters, light, 0.0, floor=floor)
    found = {}
    for index, row in enumerate(points):
        galaxy = starts[row]
        penalty = (numbers + 1 - 2) * np.log(fit.bands[index])
        if fit.chi2[index] < galaxy.fit.chi2[galaxy.row] + penalty:
            found[row] = (float(fit.values["temperature"][index]), float(fit.values["flux"][index]))
    return found


def _star(source: Source, temperature: float, flux: float) -> Source:
    kelvin: Any = Parameter(temperature, dist.LogUniform(*_TEMPERATURES))
    nanojansky: Any = Parameter(flux, dist.LogNormal(*_FLUXES))
    _, component = source.components()[0]
    return Source(source.position, BlackBody(kelvin, nanojansky) * component.morphology, 0.0, source.box)


def _photometry(
    scene: Scene, linear: LinearFluxes, bands: tuple[str, ...], names: tuple[str, ...]
) -> tuple[HostArray, HostArray]:
    order = [linear.bands.index(band) for band in bands]
    flux, error = [], []
    for name in names:
        paths = [path_of(name, part) for part, _ in scene.sources[name].components()]
        flux.append(np.sum([linear.flux[path] for path in paths], axis=0)[order])
        error.append(np.sqrt(np.sum([np.square(linear.error[path]) for path in paths], axis=0))[order])
    return np.array(flux), np.array(error)


def _populated(
    source: Source, name: str, population: StellarPopulation, start: Start, redshift: Any, linear: LinearFluxes
) -> Source:
    best = {path: values[start.row] for path, values in start.fit.values.items()}
    begun = population.set({path: value for path, value in best.items() if path != "redshift"})
    components = source.components()
    light = [np.nansum(np.maximum(linear.flux[path_of(name, part)], 0.0)) for part, _ in components]
    shares = np.maximum(np.array(light) / max(np.sum(light), 1e-30), 0.01)
    share_of = dict(zip((part for part, _ in components), shares / shares.sum(), strict=True))

    def populated(part: str, component: Component) -> Component:
        own, share = begun, share_of[part]
        if "log_mass" in best:
            own = begun.set({"log_mass": np.clip(best["log_mass"] + np.log10(share), 5.05, 12.45)})
        return Component(own, component.morphology)

    return Source(source.position, source.light.mapped(populated), redshift, source.box)
