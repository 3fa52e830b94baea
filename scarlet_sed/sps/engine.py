"""What an engine is: it turns a history, a metallicity and an ionisation into the light of stars and gas."""

import math
from abc import abstractmethod
from typing import NamedTuple

import equinox as eqx
import numpy as np
from astropy import constants
from astropy import units as u

from scarlet_sed.photometry.quadrature import LOG_STEP
from scarlet_sed.photometry.rebin import LIGHT_SPEED
from scarlet_sed.shared import Shared
from scarlet_sed.sps.grid import SCALE
from scarlet_sed.sps.histories.base import History
from scarlet_sed.typing import Array, HostArray

_SPHERE = 4 * math.pi * float((10 * u.Mpc).to_value("cm")) ** 2
NJY_HZ_PER_SUN = float(constants.L_sun.to_value("erg/s")) / _SPHERE * float((u.erg / u.s / u.cm**2 / u.Hz).to(u.nJy))
"""One solar luminosity (IAU 2015, 3.828e33 erg/s) at 10 Mpc: its flux in nJy Hz."""

GRID_UNIT = NJY_HZ_PER_SUN / SCALE
"""nJy at 10 Mpc of one unit of a `Grid`'s spectra in memory."""


def line_unit(wavelength: HostArray) -> HostArray:
    """(line,) nJy at 10 Mpc, per unit of ln(wavelength), of one solar luminosity in lines at these Angstrom."""
    return NJY_HZ_PER_SUN * np.asarray(wavelength, np.float64) / LIGHT_SPEED


class Population(NamedTuple):
    """The parameters of a population that an engine sees.

    Args:
        history: the star-formation history.
        log_metallicity: log10 Z / Zsun.
        log_ionization: log10 U of the gas around young stars.
        universe: Gyr, the age of the universe at the galaxy.
    """

    history: History
    log_metallicity: Array
    log_ionization: Array
    universe: Array


class Dimming(NamedTuple):
    """Natural logarithm of the transmitted fraction: (cell,) for old stars, (cell,) for young, (line,) for lines."""

    old: Array
    young: Array
    lines: Array


class StellarLight(eqx.Module):
    """Light at rest of one solar mass formed, as seen from 10 Mpc.

    Args:
        old: (cell,) nJy, stars older than 10 Myr.
        young: (cell,) nJy, younger stars and the nebular continuum.
        lines: (line,) nJy per unit of ln(wavelength): a line's flux over its frequency.
        dust: (cell,) nJy, what dust emits; None from engines, which know none (`DustEmission` adds it).
    """

    old: Array
    young: Array
    lines: Array
    dust: Array | None = None

    @property
    def continuum(self) -> Array:
        """(cell,) nJy, all but the lines."""
        stars = self.old + self.young
        return stars if self.dust is None else stars + self.dust


class Engine(Shared):
    """Synthesis of stellar populations, per solar mass formed, on cells even in ln(wavelength).

    Three engines share this interface and test each other: `ExactSynthesis`, `BasisSynthesis`, `NeuralEmulator`.
    """

    log_start: eqx.AbstractVar[int]
    cells: eqx.AbstractVar[int]
    line_wavelength: eqx.AbstractVar[tuple[float, ...]]
    line_names: eqx.AbstractVar[tuple[str, ...]]

    @abstractmethod
    def light(self, population: Population, dimming: Dimming) -> StellarLight:
        """The light of a population after dust."""

    @abstractmethod
    def living_mass(self, population: Population) -> Array:
        """Solar masses that remain per solar mass formed; the grid's provenance says what counts."""

    @abstractmethod
    def check(self, population: Population) -> None:
        """Raise `DomainError` where concrete numbers, or the supports of priors, leave the engine's domain."""

    @property
    def wavelength(self) -> HostArray:
        """(cell,) rest-frame Angstrom, the centres of the cells."""
        return np.exp((self.log_start + np.arange(self.cells)) * LOG_STEP)
