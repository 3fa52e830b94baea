"""Infrared light of dust: the starlight that a population's own dust takes comes out again, with a template's shape."""

from typing import Any, final

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from scarlet_sed.errors import ParameterError
from scarlet_sed.parameters import as_float, parameter
from scarlet_sed.photometry.quadrature import LOG_STEP
from scarlet_sed.photometry.rebin import LIGHT_SPEED
from scarlet_sed.ranges import check_range
from scarlet_sed.sps.engine import GRID_UNIT, Dimming, Engine, StellarLight
from scarlet_sed.sps.grid import SCALE, DustTemplates, Grid
from scarlet_sed.sps.nodes import smooth_weights
from scarlet_sed.typing import Array

U_MAX = 1e6
"""The strongest radiation field of the templates' power law, in units of that near the Sun."""


@final
class DustEmission(eqx.Module):
    """Emission of dust heated by the stars: the templates of Draine & Li 2007, ApJ 657, 810, in energy balance.

    The luminosity that a population's own `Attenuation` takes of stars, nebular continuum and lines, from 912 Angstrom
    to the red end of the engine, is emitted with the shape of a template of unit luminosity over all wavelengths (da
    Cunha et al. 2008, MNRAS 388, 1595). What the template emits beyond the engine's red end is emitted, but not seen.
    Dust emission is not attenuated again, and what a screen takes of the light behind it is not emitted.

    A fraction `gamma` of the dust mass is heated by radiation fields U between `umin` and 1e6, its mass falling as
    U^-2, the rest by `umin` alone. Each emits in proportion to its mean field, U_min for the latter and
    U_min ln(1e6 / U_min) / (1 - U_min / 1e6) for the former. Between templates the shape is cubic with a continuous
    slope in `qpah` and in ln `umin`.

    Args:
        grid: that of the engine, or one on the same cells; the shipped emulator's is made by `scarlet-sed grid build`.
        qpah: percent of the dust mass in aromatic hydrocarbons (0.47 to 4.58 in Draine & Li's of the Milky Way).
        umin: least radiation field, in units of that near the Sun (0.1 to 25).
        gamma: fraction of the dust mass in the power law of radiation fields, 0 to 1.

    Raises:
        ParameterError: if the grid holds no dust templates.
        FileFormatError: if its templates are none.
        DomainError: if a number, or what its prior allows, lies beyond the templates.
    """

    templates: DustTemplates
    qpah: Array = parameter(unit="percent", doc="share of the dust mass in aromatic hydrocarbons", shape=())
    umin: Array = parameter(doc="least radiation field in units of that near the Sun", shape=())
    gamma: Array = parameter(doc="fraction of the dust mass in stronger radiation fields", shape=())

    def __init__(self, grid: Grid, qpah: Any = 2.5, umin: Any = 1.0, gamma: Any = 0.01) -> None:
        if not isinstance(grid, Grid) or grid.dust is None:
            raise ParameterError(
                "a DustEmission wants a grid with dust templates",
                fix="give Grid.open(path) of `scarlet-sed grid build`",
            )
        grid.dust.check("the grid")
        self.templates = grid.dust
        self.qpah, self.umin, self.gamma = qpah, umin, gamma

    def __check_init__(self) -> None:
        own = self.templates
        for name, nodes in (("qpah", own.q_pah), ("umin", own.u_min), ("gamma", (0.0, 1.0))):
            ends = (float(np.asarray(nodes)[0]), float(np.asarray(nodes)[-1]))
            check_range(getattr(self, name), "DustEmission", name, *ends)

    def check_cells(self, engine: Engine) -> None:
        """Raise `ParameterError` where an engine's cells reach redder than the templates'."""
        own = self.templates
        last = own.log_start + own.minimum.shape[-1] - 1
        if last < engine.log_start + engine.cells - 1:
            raise ParameterError(
                f"the dust templates end at {np.exp(last * LOG_STEP):.0f} Angstrom, the spectra of "
                f"{type(engine).__name__} at {engine.wavelength[-1]:.0f}",
                fix="make the DustEmission from the engine's grid",
            )

    def spectrum(self, engine: Engine) -> Array:
        """(cell,) 1e-15 / Hz on an engine's cells: the spectrum of unit luminosity over all wavelengths."""
        own = self.templates
        fields = smooth_weights(jnp.log(self.umin), jnp.log(own.u_min))
        weights = jnp.outer(smooth_weights(self.qpah, own.q_pah), fields).ravel()
        stronger = jnp.log(U_MAX / self.umin) / (1 - self.umin / U_MAX)
        hot = self.gamma * stronger / (1 - self.gamma + self.gamma * stronger)
        minimum, power_law = (weights @ table.reshape(weights.size, -1) for table in (own.minimum, own.range))
        offset = own.log_start - engine.log_start
        seen = ((1 - hot) * minimum + hot * power_law)[max(-offset, 0) : max(engine.cells - offset, 0)]
        return jnp.pad(seen, (engine.cells - seen.size, 0))

    def in_balance(self, bare: StellarLight, dimming: Dimming, engine: Engine) -> StellarLight:
        """The light after dust, with what the dust emits.

        Args:
            bare: light before dust.
            dimming: what the dust lets through.
            engine: whose light it is.
        """
        lines = bare.lines * jnp.exp(dimming.lines)
        old, young = bare.old * jnp.exp(dimming.old), bare.young * jnp.exp(dimming.young)
        return StellarLight(old, young, lines, _absorbed(bare, dimming, engine) * self.spectrum(engine))


def absorbed_luminosity(bare: StellarLight, dimming: Dimming, engine: Engine) -> Array:
    """What dust takes of the light, in solar luminosities per solar mass formed.

    Args:
        bare: light before dust.
        dimming: what the dust lets through.
        engine: whose light it is.
    """
    return _absorbed(bare, dimming, engine) / GRID_UNIT


def _absorbed(bare: StellarLight, dimming: Dimming, engine: Engine) -> Array:
    """The same in 1e15 nJy Hz at 10 Mpc: a sum over the cells, which are even in ln(wavelength), and the lines."""
    # f_nu dnu = f_nu nu dln(wavelength); in 1e15 Hz float32 stays far from its ends
    cells, lines = (as_float(LIGHT_SPEED / SCALE / np.asarray(w)) for w in (engine.wavelength, engine.line_wavelength))
    continuum = bare.old * jnp.expm1(dimming.old) + bare.young * jnp.expm1(dimming.young)
    return -(LOG_STEP * jnp.sum(continuum * cells) + jnp.sum(bare.lines * jnp.expm1(dimming.lines) * lines))
