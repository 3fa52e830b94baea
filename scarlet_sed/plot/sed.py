"""Spectral energy distributions: photometry, model spectrum, residuals, and the star-formation history."""

from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure

from scarlet_sed.errors import DataError
from scarlet_sed.parameters import resolve
from scarlet_sed.photometry.filters import Filters
from scarlet_sed.plot.style import COLORS, INK, chart_axes, new_figure
from scarlet_sed.spectrum.stellar_population import StellarPopulation
from scarlet_sed.typing import HostArray


class Drawn(NamedTuple):
    """A population at a redshift, as a picture shows it: the best, and draws that span its uncertainty.

    Args:
        population: at its best values.
        redshift: at its best value.
        others: (population, redshift) pairs drawn from the posterior; may be empty.
    """

    population: StellarPopulation
    redshift: float
    others: tuple[tuple[StellarPopulation, float], ...] = ()


def sed(drawn: Drawn | list[Drawn], filters: Filters, flux: HostArray, error: HostArray, title: str = "") -> Figure:
    """Photometry over the model spectrum, residuals in sigma below, and the star-formation history beside.

    Args:
        drawn: the population, or those of a source's components, whose light adds up.
        filters: of the photometry.
        flux: (band,) nJy, NaN where there is none.
        error: (band,) nJy.
        title: above the spectrum.

    Raises:
        DataError: if there is no photometry at all.
    """
    parts = drawn if isinstance(drawn, list) else [drawn]
    used = np.isfinite(flux) & np.isfinite(error) & (error > 0)
    if not used.any():
        raise DataError("there is no photometry to draw", fix="give fluxes and errors")
    micron = np.asarray(filters.pivot, float) / 1e4
    model = np.sum([np.asarray(p.population(filters, p.redshift), float) for p in parts], axis=0)
    figure = new_figure(9.0, 3.6)
    layout = figure.add_gridspec(2, 2, width_ratios=(1.9, 1.0), height_ratios=(3.2, 1.0))
    top = chart_axes(figure.add_subplot(layout[0, 0]), "", "flux density (nJy)", title)
    _spectra(top, parts, micron)
    top.errorbar(micron[used], flux[used], error[used], fmt="o", color=COLORS[0], ms=5, lw=1.2, zorder=5)
    top.plot(micron, model, "s", mfc="none", mec=COLORS[1], ms=8, mew=1.3, zorder=4)
    top.set_xscale("log")
    top.set_yscale("log")
    low, high = 0.75 * micron.min(), 1.25 * micron.max()
    top.set_xlim(low, high)
    seen = np.concatenate([model[model > 0], flux[used & (flux > error)]])
    top.set_ylim(0.3 * seen.min(), 3.0 * seen.max())
    _micron_ticks(top, low, high)
    below = chart_axes(figure.add_subplot(layout[1, 0], sharex=top), "observed wavelength (μm)", "(data − model)/σ")
    below.axhline(0.0, color=INK, lw=0.7)
    below.errorbar(micron[used], ((flux - model) / error)[used], 1.0, fmt="o", color=COLORS[0], ms=4, lw=1.0)
    reach = max(3.5, 1.2 * float(np.max(np.abs(((flux - model) / error)[used]))))
    below.set_ylim(-reach, reach)
    top.tick_params(labelbottom=False)
    _history(chart_axes(figure.add_subplot(layout[:, 1]), "lookback time (Gyr)", "star formation (M$_☉$/yr)"), parts)
    return figure


def _spectra(axes: Any, parts: list[Drawn], micron: HostArray) -> None:
    best = [p.population.spectrum(p.redshift) for p in parts]
    wavelength, whole = best[0][0] / 1e4, np.sum([np.asarray(f, float) for _, f in best], axis=0)
    count = min((len(p.others) for p in parts), default=0)
    grid = np.geomspace(0.7 * micron.min(), 1.3 * micron.max(), 700)
    if count > 1:
        each = []
        for k in range(count):
            made = [p.others[k][0].spectrum(p.others[k][1]) for p in parts]
            each.append(np.sum([np.interp(grid, w / 1e4, np.asarray(f, float)) for w, f in made], axis=0))
        low, high = np.percentile(each, (16, 84), axis=0)
        axes.fill_between(grid, low, high, color=COLORS[1], alpha=0.25, lw=0)
    axes.plot(wavelength, whole, color=COLORS[1], lw=0.8, alpha=0.9)


def _history(axes: Any, parts: list[Drawn]) -> None:
    ages = np.concatenate([[0.0], np.geomspace(3e-3, 13.0, 90)])

    def rates(population: StellarPopulation, redshift: float) -> HostArray:
        own = resolve(population)
        universe = own.cosmology.age(redshift)
        rate = np.asarray(own.history.rates(ages, universe), float) * 10 ** float(own.log_mass)
        return np.where(ages[:-1] < float(universe), rate, 0.0)

    middle = np.sqrt(np.maximum(ages[:-1], 1.5e-3) * ages[1:])
    best = np.sum([rates(p.population, p.redshift) for p in parts], axis=0)
    count = min((len(p.others) for p in parts), default=0)
    if count > 1:
        each = [np.sum([rates(*p.others[k]) for p in parts], axis=0) for k in range(count)]
        low, high = np.percentile(each, (16, 84), axis=0)
        axes.fill_between(middle, low, high, color=COLORS[2], alpha=0.25, lw=0)
    axes.plot(middle, best, color=COLORS[2], lw=1.4)
    axes.set_xscale("log")
    axes.set_xlim(2e-3, 1.1 * max(float(p.population.cosmology.age(p.redshift)) for p in parts))
    top = max(float(np.max(best)), 1e-6)
    axes.set_ylim(0, 1.6 * top)


def _micron_ticks(axes: Any, low: float, high: float) -> None:
    ticks = [t for t in (0.3, 0.4, 0.6, 0.8, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 10.0, 20.0) if low <= t <= high]
    axes.set_xticks(ticks, [f"{t:g}" for t in ticks])
    axes.minorticks_off()


def draws_of(
    population: StellarPopulation, redshift: float, sigma: dict[str, HostArray], count: int = 40, seed: int = 0
) -> tuple[tuple[StellarPopulation, float], ...]:
    """Populations with each free number moved by its own error within its prior's support, correlations left out.

    Args:
        population: at its best values, with priors.
        redshift: best value.
        sigma: standard deviations by path, `redshift` among them where it is free.
        count: of draws.
        seed: of the draws.
    """
    rng = np.random.default_rng(seed)
    found = []
    free = population.parameters
    for _ in range(count):
        moved = {}
        for path, parameter in free.items():
            value = np.asarray(parameter.value, float)
            trial = value + rng.normal(size=value.shape) * np.nan_to_num(np.asarray(sigma.get(path, 0.0), float))
            moved[path] = trial if bool(np.all(np.asarray(parameter.prior.support(trial)))) else value
        z = max(redshift + rng.normal() * float(np.nan_to_num(sigma.get("redshift", 0.0))), 0.01)
        found.append((population.set(moved), z))
    return tuple(found)
