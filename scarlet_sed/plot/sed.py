"""Spectral energy distributions: photometry, model spectrum, residuals, and the star-formation history."""

from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatterSciNotation
from scipy.ndimage import median_filter

from scarlet_sed.errors import DataError
from scarlet_sed.infer.gaussian import Gaussian
from scarlet_sed.parameters import as_float, resolve
from scarlet_sed.paths import replace_slots
from scarlet_sed.photometry.filters import Filters
from scarlet_sed.plot.style import COLORS, INK, chart_axes, new_figure
from scarlet_sed.spectrum.stellar_population import StellarPopulation
from scarlet_sed.typing import Array, HostArray


class Drawn(NamedTuple):
    """What a picture shows: the populations of a source's components at their best values, and what is known of them.

    Args:
        populations: with plain or free numbers; their light adds up.
        redshift: at its best value.
        gaussian: of free parameters named `<number of the population>.<path>`, and of `redshift`; None for none.
    """

    populations: tuple[StellarPopulation, ...]
    redshift: float
    gaussian: Gaussian | None = None


def sed(
    drawn: Drawn,
    filters: Filters,
    flux: HostArray,
    error: HostArray,
    title: str = "",
    truth: HostArray | None = None,
) -> Figure:
    """Photometry over the model spectrum, residuals in sigma below, and the star-formation history beside.

    Args:
        drawn: the populations; bands show one standard deviation to first order, of the logarithm.
        filters: of the photometry.
        flux: (band,) nJy, NaN where there is none.
        error: (band,) nJy.
        title: above the spectrum.
        truth: (band,) nJy, where the true fluxes are known.

    Raises:
        DataError: if there is no photometry at all.
    """
    used = np.isfinite(flux) & np.isfinite(error) & (error > 0)
    if not used.any():
        raise DataError("there is no photometry to draw", fix="give fluxes and errors")
    micron = np.asarray(filters.pivot, float) / 1e4
    model = np.sum([np.asarray(p(filters, drawn.redshift), float) for p in drawn.populations], axis=0)
    figure = new_figure(9.0, 3.6)
    layout = figure.add_gridspec(2, 2, width_ratios=(1.9, 1.0), height_ratios=(3.2, 1.0))
    top = chart_axes(figure.add_subplot(layout[0, 0]), "", "flux density (nJy)", title)
    curves = _curves(drawn, micron)
    _band(top, curves.micron, curves.flux, curves.flux_spread, COLORS[1], 0.8)
    top.errorbar(micron[used], flux[used], error[used], fmt="o", color=COLORS[0], ms=5, lw=1.2, zorder=5)
    top.plot(micron, model, "s", mfc="none", mec=COLORS[1], ms=8, mew=1.3, zorder=4)
    if truth is not None:
        top.plot(micron, truth, "_", color=INK, ms=13, mew=1.6, zorder=6)
    top.set_xscale("log")
    top.set_yscale("log")
    low, high = 0.75 * micron.min(), 1.25 * micron.max()
    top.set_xlim(low, high)
    seen = np.concatenate([model[used & (model > 0.3 * error)], flux[used & (flux > error)]])
    if seen.size:
        top.set_ylim(0.3 * seen.min(), 3.0 * seen.max())
    top.yaxis.set_minor_formatter(LogFormatterSciNotation(minor_thresholds=(1.6, 0.7)))
    _micron_ticks(top, low, high)
    below = chart_axes(figure.add_subplot(layout[1, 0], sharex=top), "observed wavelength (μm)", "(data − model)/σ")
    below.axhline(0.0, color=INK, lw=0.7)
    below.errorbar(micron[used], ((flux - model) / error)[used], 1.0, fmt="o", color=COLORS[0], ms=4, lw=1.0)
    reach = max(3.5, 1.2 * float(np.max(np.abs(((flux - model) / error)[used]))))
    below.set_ylim(-reach, reach)
    top.tick_params(labelbottom=False)
    beside = chart_axes(figure.add_subplot(layout[:, 1]), "lookback time (Gyr)", "star formation (M$_☉$/yr)")
    _history(beside, drawn, curves)
    return figure


_AGES = np.concatenate([[0.0], np.geomspace(3e-3, 13.0, 90)])
"""Gyr: edges at which histories are drawn."""


class _Curves(NamedTuple):
    """Spectrum and history of a source, summed over its populations, with spreads of their natural logarithms."""

    micron: HostArray
    flux: HostArray
    rates: HostArray
    flux_spread: HostArray | None
    rates_spread: HostArray | None


def _curves(drawn: Drawn, micron: HostArray) -> _Curves:
    grid = np.geomspace(0.7 * micron.min(), 1.3 * micron.max(), 3000)
    flux, rates, *spread = _evaluated(drawn.populations, drawn.gaussian, as_float(drawn.redshift), as_float(grid))
    first, second = (None if s is None else np.asarray(s, float) for s in spread)
    if first is not None:
        # a redshift that moves a line by its width changes the flux there by any factor: bands show the continuum
        first = median_filter(first, _SMOOTH)
    return _Curves(grid, np.asarray(flux, float), np.asarray(rates, float), first, second)


@eqx.filter_jit
def _evaluated(
    populations: tuple[StellarPopulation, ...], gaussian: Gaussian | None, redshift: Array, micron: Array
) -> tuple[Array, Array, Array | None, Array | None]:
    """(wavelength,) nJy and (age,) solar masses a year, and standard deviations of their logarithms."""

    def logs(values: dict[str, Array]) -> tuple[Array, Array]:
        z = values.get("redshift", redshift)
        flux, rates = jnp.zeros(micron.shape), jnp.zeros(len(_AGES) - 1)
        for number, population in enumerate(populations):
            mine = {k.removeprefix(f"{number}."): v for k, v in values.items() if k.startswith(f"{number}.")}
            own = resolve(replace_slots(population, mine))
            wavelength, each = own.spectrum(z)
            flux += jnp.interp(micron, wavelength / 1e4, each)
            universe = own.cosmology.age(z)
            formed = own.history.rates(_AGES, universe) * 10**own.log_mass
            rates += jnp.where(as_float(_AGES[:-1]) < universe, formed, 0.0)
        return jnp.log(jnp.maximum(flux, _FAINT)), jnp.log(jnp.maximum(rates, _FAINT))

    flux, rates = logs({})
    spread = (None, None) if gaussian is None else gaussian.spread(logs)
    return jnp.exp(flux), jnp.exp(rates), *spread


_SMOOTH = 61
"""Of 3000 points: 6 % of the wavelength, more than lines and fewer than breaks take."""
_FAINT = 1e-12
"""nJy and solar masses a year: as good as none."""


def _band(axes: Any, x: HostArray, y: HostArray, spread: HostArray | None, color: str, width: float) -> None:
    """A curve, and its band of one standard deviation of the logarithm, at most a factor of a million."""
    if spread is not None:
        factor = np.exp(np.minimum(spread, 14.0))
        axes.fill_between(x, y / factor, y * factor, color=color, alpha=0.25, lw=0)
    axes.plot(x, y, color=color, lw=width, alpha=0.9)


def _history(axes: Any, drawn: Drawn, curves: _Curves) -> None:
    middle = np.sqrt(np.maximum(_AGES[:-1], 1.5e-3) * _AGES[1:])
    _band(axes, middle, curves.rates, curves.rates_spread, COLORS[2], 1.4)
    axes.set_xscale("log")
    axes.set_xlim(2e-3, 1.1 * float(drawn.populations[0].cosmology.age(drawn.redshift)))
    axes.set_ylim(0, 1.6 * max(float(np.max(curves.rates)), 1e-6))


def _micron_ticks(axes: Any, low: float, high: float) -> None:
    ticks = [t for t in (0.3, 0.4, 0.6, 0.8, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 10.0, 20.0) if low <= t <= high]
    axes.set_xticks(ticks, [f"{t:g}" for t in ticks])
    axes.minorticks_off()
