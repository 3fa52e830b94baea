"""A galaxy's stars, gas and dust as a spectrum."""

from dataclasses import fields
from functools import lru_cache
from typing import Any, ClassVar, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from scarlet_sed.dust.base import Attenuation
from scarlet_sed.errors import FilterError, ParameterError
from scarlet_sed.parameters import Parameterized, as_float, parameter, resolve
from scarlet_sed.photometry.cosmology import Cosmology
from scarlet_sed.photometry.filters import Filters
from scarlet_sed.photometry.parts import in_parts
from scarlet_sed.photometry.quadrature import LOG_STEP
from scarlet_sed.photometry.rebin import LIGHT_SPEED
from scarlet_sed.photometry.shift import band_averages, line_averages
from scarlet_sed.spectrum.base import BandLight, Spectrum
from scarlet_sed.sps.dust_emission import DustEmission, absorbed_luminosity
from scarlet_sed.sps.emulator.shipped import shipped_emulator
from scarlet_sed.sps.engine import NJY_HZ_PER_SUN, Dimming, Engine, Population, StellarLight
from scarlet_sed.sps.histories.base import History
from scarlet_sed.sps.igm import InterGalactic
from scarlet_sed.typing import Array, ArrayLike, HostArray

_LN10 = float(np.log(10.0))
_LOG_DISTANCE = 12.0
"""log10 of (10 Mpc / 10 pc)^2: engines give fluxes at 10 Mpc, `Cosmology.dimming` is against 10 pc."""


@final
class StellarPopulation(Spectrum, Parameterized):
    """Stars of one history and metallicity, the gas that the young ones ionise, and dust in front of both.

    Light of old stars (above 10 Myr) and of young stars with their nebulae passes the dust apart. No light bluer than
    the Lyman limit leaves a galaxy; the intergalactic gas takes part of what is bluer than Lyman alpha (Inoue et al.
    2014). Lines go through the filters as delta functions.

    Args:
        log_mass: log10 of all mass that ever formed, in solar masses.
        log_metallicity: log10 Z/Zsun, of stars and gas.
        log_ionization: log10 of the ionisation parameter U.
        history: when the stars formed.
        attenuation: dust; None for none.
        emission: how that dust emits what it takes; None leaves its emission out.
        engine: the synthesis: None for the neural emulator that ships, `ExactSynthesis(Grid.open(path))`, ...
        cosmology: for distance and the age of the universe.
        intergalactic: whether intergalactic gas absorbs.

    Raises:
        DomainError: if a number, or the support of a prior, leaves the engine's domain.
        ParameterError: if history, attenuation, emission or engine are something else, or the templates of the
            emission end before the engine's spectra.
    """

    log_amplitude: ClassVar[str | None] = "log_mass"

    history: History
    attenuation: Attenuation | None
    emission: DustEmission | None
    engine: Engine
    gas: InterGalactic | None
    log_mass: Array = parameter(doc="log10 of the mass formed in solar masses", shape=())
    log_metallicity: Array = parameter(doc="log10 Z/Zsun", shape=())
    log_ionization: Array = parameter(doc="log10 of the ionisation parameter", shape=())
    cosmology: Cosmology = eqx.field(static=True)

    def __init__(
        self,
        log_mass: Any,
        log_metallicity: Any = 0.0,
        log_ionization: Any = -2.5,
        *,
        history: History,
        attenuation: Attenuation | None = None,
        emission: DustEmission | None = None,
        engine: Engine | None = None,
        cosmology: Cosmology | None = None,
        intergalactic: bool = True,
    ) -> None:
        self.engine = shipped_emulator() if engine is None else engine
        self.history = history
        self.attenuation, self.emission = attenuation, emission
        self.log_mass, self.log_metallicity, self.log_ionization = log_mass, log_metallicity, log_ionization
        self.cosmology = Cosmology() if cosmology is None else cosmology
        for value, kind, what in ((history, History, "history"), (self.engine, Engine, "engine")):
            if not isinstance(value, kind):
                raise ParameterError(
                    f"the {what} of a StellarPopulation is a {type(value).__name__}", fix=f"give a {kind.__name__}"
                )
        if attenuation is not None and not isinstance(attenuation, Attenuation):
            raise ParameterError(
                f"the attenuation of a StellarPopulation is a {type(attenuation).__name__}",
                fix="give Attenuation(curve, av, birth_cloud), or None",
            )
        if emission is not None:
            if not isinstance(emission, DustEmission):
                raise ParameterError(
                    f"the emission of a StellarPopulation is a {type(emission).__name__}",
                    fix="give DustEmission(grid), or None",
                )
            emission.check_cells(self.engine)
        own = self.engine
        self.gas = _gas(own.log_start, own.cells, own.line_wavelength, _float_type()) if intergalactic else None

    def __check_init__(self) -> None:
        # priors are checked as they stand, before they are resolved to values
        self.engine.check(Population(self.history, self.log_metallicity, self.log_ionization, as_float(0.0)))

    def replace(self, **changes: Any) -> "StellarPopulation":
        """The same population with other parts: any argument of the constructor."""
        names = [field.name for field in fields(self) if field.name != "gas"]
        arguments = {name: getattr(self, name) for name in names} | {"intergalactic": self.gas is not None}
        unknown = sorted(set(changes) - set(arguments))
        if unknown:
            raise ParameterError(
                f"a StellarPopulation has no {unknown[0]!r}", fix=f"choose among {', '.join(arguments)}"
            )
        return StellarPopulation(**(arguments | changes))

    def fluxes(self, filters: Filters, redshift: Array) -> Array:
        """(band,) flux in nJy.

        Raises:
            FilterError: if filters have no curves, or for a concrete redshift reach redder than the engine.
            DomainError: for a concrete redshift that gives no distance.
        """
        self.check(filters, redshift)
        rest = self._rest(redshift)
        continuum = band_averages(rest.continuum, self.engine.log_start, filters, redshift)
        return self._scale(redshift) * (continuum + line_averages(rest.lines, self._line_positions, filters, redshift))

    def light(self, filters: Filters, redshift: Array, nodes: int = 1) -> BandLight:
        """Three pieces: old stars, young stars with nebular continuum, lines; with `emission` a fourth: dust.

        All are as they leave the population, behind its own attenuation (which dust emission does not pass). A screen
        in front dims each of them, and what it takes is not emitted.

        Args:
            filters: with curves.
            redshift: a number.
            nodes: a band's: 1, each piece at its mean wavelength in the band; or 3 (see `in_parts`).

        Raises:
            ParameterError: for another number of nodes; else as `fluxes`.
        """
        self.check(filters, redshift)
        rest, start, at = self._rest(redshift), self.engine.log_start, self._line_positions
        continua = jnp.stack([rest.old, rest.young] if rest.dust is None else [rest.old, rest.young, rest.dust])

        def bands(filters: Filters, power: float) -> Array:
            """(piece, band) the pieces' averages with a power of the wavelength."""
            cells, lines = (as_float(w**power) for w in (self.engine.wavelength, np.exp(at)))
            each = jax.vmap(lambda light: band_averages(light * cells, start, filters, redshift))(continua)
            of_lines = line_averages(rest.lines * lines, at, filters, redshift)[None]
            return jnp.concatenate([each[:2], of_lines, each[2:]])

        if nodes != 1:
            parts, node = in_parts(filters, nodes)
            shared = (self._scale(redshift) * bands(parts, 0.0)).reshape(-1, *node.shape)
            return BandLight(shared, jnp.broadcast_to(node, shared.shape))
        flux, moment = bands(filters, 0.0), bands(filters, 1.0)
        seen = jnp.abs(flux) > 1e-12 * jnp.max(jnp.abs(flux))
        mean = (1 + redshift) * jnp.where(seen, moment, 1.0) / jnp.where(seen, flux, 1.0)
        where = jnp.where(seen, mean, filters.pivot)
        return BandLight((self._scale(redshift) * flux)[..., None], where[..., None])

    def check(self, filters: Filters, redshift: Array) -> None:
        """Raise where a concrete redshift gives no distance, or the engine's spectra do not cover the filters there."""
        filters.require_curves("a StellarPopulation")
        if any(isinstance(x, jax.core.Tracer) for x in (redshift, filters.fine_weight)):
            return
        self.cosmology.dimming(redshift)
        reddest = float(self.engine.wavelength[-1]) * (1 + float(redshift))
        beyond = np.flatnonzero(filters.limits[:, 1] > reddest)
        if beyond.size:
            raise FilterError(
                f"at redshift {float(redshift):g} the filter {filters.names[beyond[0]]} reaches redder than "
                f"{reddest:.0f} Angstrom, where the spectra of {type(self.engine).__name__} end",
                fix="leave the band out, or use an engine with a redder grid",
            )

    def spectrum(self, redshift: ArrayLike) -> tuple[Array, Array]:
        """(cell,) observed wavelength in Angstrom, and (cell,) f_nu in nJy with each line spread over two cells."""
        own, z = resolve(self), as_float(redshift)
        rest = own._rest(z)
        at = self._line_positions / LOG_STEP - self.engine.log_start
        cell = np.floor(at).astype(int)
        share = at - cell
        spread = rest.continuum.at[cell].add(rest.lines * as_float((1 - share) / LOG_STEP))
        spread = spread.at[cell + 1].add(rest.lines * as_float(share / LOG_STEP))
        return as_float(self.engine.wavelength) * (1 + z), own._scale(z) * spread

    def surviving_mass(self, redshift: ArrayLike | None = None) -> Array:
        """log10 of the mass that remains, in solar masses; what counts is the grid's (BC03 here: living stars only).

        Args:
            redshift: needed where the history depends on the age of the universe.
        """
        own = resolve(self)
        return own.log_mass + jnp.log10(own.engine.living_mass(own._population(own._universe(redshift))))

    def sfr(self, redshift: ArrayLike | None = None, timescale: float = 0.1) -> Array:
        """Mean star-formation rate in solar masses a year over the last `timescale` Gyr (0.1: 100 Myr)."""
        own = resolve(self)
        return 10.0**own.log_mass * own.history.mean_sfr(timescale, own._universe(redshift))

    def mean_age(self, redshift: ArrayLike | None = None) -> Array:
        """Mass-weighted mean age in Gyr."""
        own = resolve(self)
        return own.history.mean_age(own._universe(redshift))

    def t50(self, redshift: ArrayLike | None = None) -> Array:
        """Gyr since half of the mass had formed."""
        own = resolve(self)
        return own.history.quantile_age(0.5, own._universe(redshift))

    def dust_luminosity(self, redshift: ArrayLike | None = None) -> Array:
        """log10 of the luminosity that dust takes and gives back, in solar luminosities (3.828e33 erg/s).

        It counts stars, nebular continuum and lines behind `attenuation`, from 912 Angstrom to the engine's red end,
        with or without `emission`, but no screens. Minus infinity without dust.

        Args:
            redshift: needed where the history depends on the age of the universe.
        """
        own = resolve(self)
        bare = own._light(own._universe(redshift), dusty=False)
        return own.log_mass + jnp.log10(absorbed_luminosity(bare, own._dimming(), own.engine))

    def line_luminosities(self, redshift: ArrayLike | None = None, *, attenuated: bool = False) -> dict[str, Array]:
        """Luminosities of the emission lines in solar luminosities (3.828e33 erg/s), by name.

        Args:
            redshift: needed where the history depends on the age of the universe.
            attenuated: after the dust instead of before it.
        """
        own = resolve(self)
        lines = own._light(own._universe(redshift), dusty=attenuated).lines * 10.0**own.log_mass
        at = np.asarray(own.engine.line_wavelength)
        return dict(zip(own.engine.line_names, lines * as_float(LIGHT_SPEED / at / NJY_HZ_PER_SUN), strict=True))

    def equivalent_widths(self, redshift: ArrayLike | None = None) -> dict[str, Array]:
        """Rest-frame equivalent widths of the lines in Angstrom, after dust, over the mean continuum within 1 %."""
        own = resolve(self)
        light = own._light(own._universe(redshift), dusty=True)
        at = np.asarray(own.engine.line_wavelength)
        index = np.rint(np.log(at) / LOG_STEP).astype(int) - own.engine.log_start
        near = np.clip(index[:, None] + np.arange(-10, 11), 0, own.engine.cells - 1)
        continuum = jnp.mean(light.continuum[near], axis=1)
        # both are f_nu: the ratio is a width in ln(wavelength)
        return dict(zip(own.engine.line_names, light.lines / continuum * as_float(at), strict=True))

    def _universe(self, redshift: ArrayLike | None) -> Array:
        if redshift is not None:
            return self.cosmology.age(as_float(redshift))
        if self.history.needs_universe:
            raise ParameterError(
                f"the ages of this {type(self.history).__name__} depend on the age of the universe",
                fix="give redshift=",
            )
        return as_float(0.0)

    def _population(self, universe: Array) -> Population:
        return Population(self.history, self.log_metallicity, self.log_ionization, universe)

    def _light(self, universe: Array, *, dusty: bool) -> StellarLight:
        population, dimming = self._population(universe), self._dimming(dusty)
        if self.emission is None or not dusty:
            return self.engine.light(population, dimming)
        bare = self.engine.light(population, self._dimming(dusty=False))
        return self.emission.in_balance(bare, dimming, self.engine)

    def _dimming(self, dusty: bool = True) -> Dimming:
        cells = self.engine.cells
        if self.attenuation is None or not dusty:
            clear = jnp.zeros(cells)
            return Dimming(clear, clear, jnp.zeros(len(self.engine.line_names)))
        # apart, or the gradient pads what the slices of one array left out
        old, young = self.attenuation.log_transmission(as_float(self.engine.wavelength))
        _, lines = self.attenuation.log_transmission(as_float(np.asarray(self.engine.line_wavelength)))
        return Dimming(old, young, lines)

    @property
    def _line_positions(self) -> HostArray:
        """(line,) ln of the rest-frame wavelength in Angstrom."""
        return np.log(np.asarray(self.engine.line_wavelength, np.float64))

    def _rest(self, redshift: Array) -> StellarLight:
        """The light at rest after dust and intergalactic gas (dust shines only redder than the gas absorbs)."""
        light = self._light(self.cosmology.age(redshift), dusty=True)
        if self.gas is None:
            return light
        through = self.gas.transmission(redshift)
        clear = jnp.ones(self.engine.cells - through.shape[0], through.dtype)
        # not .at[].multiply: a processor scatters more slowly than it multiplies all cells
        through = jnp.concatenate([through, clear])
        old, young = light.old * through, light.young * through
        return StellarLight(old, young, light.lines * self.gas.line_transmission(redshift), light.dust)

    def _scale(self, redshift: Array) -> Array:
        """Solar masses formed, times the flux received over that at 10 Mpc."""
        return jnp.exp(_LN10 * (self.log_mass + _LOG_DISTANCE)) * self.cosmology.dimming(redshift)


def _float_type() -> str:
    return str(jnp.result_type(float).name)


@lru_cache(maxsize=16)
def _gas(log_start: int, cells: int, lines: tuple[float, ...], _: str) -> InterGalactic:
    """The same object for all populations of an engine, so that scenes hold it once."""
    with jax.ensure_compile_time_eval():
        return InterGalactic.on(log_start, cells, lines)
