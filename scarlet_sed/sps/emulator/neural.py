"""The neural emulator: networks for old stars and young stars with their nebulae, and their lines."""

from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp

from scarlet_sed.errors import DomainError
from scarlet_sed.ranges import check_range
from scarlet_sed.sps.domain import Domain
from scarlet_sed.sps.emulator.features import Features
from scarlet_sed.sps.emulator.network import LineNetwork, LineTable, SpectrumNetwork
from scarlet_sed.sps.engine import Dimming, Engine, Population, StellarLight
from scarlet_sed.sps.histories.base import YOUNG, History
from scarlet_sed.sps.histories.binned import Binned
from scarlet_sed.sps.histories.constant import Burst, Constant, constant_masses
from scarlet_sed.sps.histories.delayed_tau import DelayedTau
from scarlet_sed.typing import Array

TAU = (1e-2, 1e2)
"""Gyr: the times of delayed exponentials that the networks know."""
SHORTEST = 1e-3
"""Gyr: the shortest time of constant star formation that they know."""


@final
class NeuralEmulator(Engine):
    """Networks trained on exact synthesis; what ships with the package needs no grid.

    Old stars and young stars with their nebular continuum have networks of their own, and lines a network or a table
    (they are linear in what the networks see), each per solar mass of its part, so that none has to learn how little of
    a part there may be; the masses are exact integrals of the history. Histories in bins are sums of constant rates,
    one evaluation a bin. A delayed exponential that began less than 1 Myr ago, as an `age_fraction` near zero says,
    counts as one that began 1 Myr ago: stars younger than that have the spectra of the grid's youngest.

    Args (made by `NeuralEmulator.shipped` or `open`, not by hand):
        delayed: old stars of delayed exponentials.
        constant: old stars of constant rates between two ages.
        young: stars younger than 10 Myr with nebulae.
        lines: their emission lines.
        features: the axes on which populations are described.
    """

    delayed: SpectrumNetwork
    constant: SpectrumNetwork
    young: SpectrumNetwork
    lines: LineNetwork | LineTable
    features: Features
    domain: Domain = eqx.field(static=True)
    log_start: int = eqx.field(static=True)
    cells: int = eqx.field(static=True)
    line_wavelength: tuple[float, ...] = eqx.field(static=True)
    line_names: tuple[str, ...] = eqx.field(static=True)
    name: str = eqx.field(static=True)

    def light(self, population: Population, dimming: Dimming) -> StellarLight:
        features, fraction = self._young_features(population)
        log_young, _ = self.young.log_flux(features)
        lines = fraction * self.lines.fluxes(features) * jnp.exp(dimming.lines)
        log_old, fractions, _ = self._old(population)
        old = jnp.einsum("p,pc->c", fractions, jnp.exp(log_old + dimming.old))
        return StellarLight(old, fraction * jnp.exp(log_young + dimming.young), lines)

    def living_mass(self, population: Population) -> Array:
        features, fraction = self._young_features(population)
        _, fractions, living = self._old(population)
        return fraction * self.young.log_flux(features)[1] + jnp.sum(fractions * living)

    def _young_features(self, population: Population) -> tuple[Array, Array]:
        masses = self._known(population).masses(self.features.young_ages, population.universe)
        return self.features.young(masses, population.log_metallicity, population.log_ionization)

    def _old(self, population: Population) -> tuple[Array, Array, Array]:
        """(part, cell) ln flux, (part,) mass fraction and (part,) living mass of the parts of the old stars."""
        history, universe, metals = self._known(population), population.universe, population.log_metallicity
        if isinstance(history, DelayedTau):
            masses = history.masses(self.features.old_ages, universe)
            onset = jnp.maximum(history.onset(universe), YOUNG)
            features, fraction = self.features.old(masses, onset, history.timescale(), metals)
            log_flux, living = self.delayed.log_flux(features)
            return log_flux[None], fraction[None], living[None]

        def part(began: Array, stopped: Array, mass: Array) -> tuple[Array, Array, Array]:
            old_stop = jnp.maximum(stopped, YOUNG)
            old_start = jnp.maximum(began, old_stop * (1 + 1e-3) + SHORTEST)
            masses = constant_masses(self.features.old_ages, old_start, old_stop)
            features, _ = self.features.old(masses, old_start, old_stop, metals)
            share = jnp.maximum(began - old_stop, 0.0) / (began - stopped)
            log_flux, living = self.constant.log_flux(features)
            return log_flux, mass * share, living

        return jax.vmap(part)(*_constant_parts(history, universe))

    def _known(self, population: Population) -> History:
        """The history, not younger than what the networks have seen."""
        history = population.history
        if not isinstance(history, DelayedTau) or history.age_fraction is None:
            return history  # whose times were checked as they are
        onset = jnp.maximum(history.onset(population.universe), self.domain.age[0])
        return DelayedTau(age=onset, tau=history.timescale())

    def check(self, population: Population) -> None:
        self.domain.check(population, "NeuralEmulator")
        history = population.history
        if isinstance(history, DelayedTau):
            known = (("age", self.domain.age), ("tau", TAU), ("log_tau", (-2.0, 2.0)), ("age_fraction", (0.0, 1.0)))
            for name, allowed in known:
                if getattr(history, name) is not None:
                    check_range(getattr(history, name), "NeuralEmulator", name, *allowed)
        elif isinstance(history, Constant):
            check_range(history.age, "NeuralEmulator", "age", *self.domain.age)
        elif isinstance(history, Burst):
            check_range(history.age, "NeuralEmulator", "age", *self.domain.age)
            check_range(history.duration, "NeuralEmulator", "duration", SHORTEST, self.domain.age[1])
        elif not isinstance(history, Binned):
            raise DomainError(
                f"the NeuralEmulator knows no history of the class {type(history).__name__}",
                fix="use DelayedTau, Dirichlet, Continuity, Constant or Burst, or engine=ExactSynthesis(grid)",
            )


def _constant_parts(history: History, universe: Array) -> tuple[Array, Array, Array]:
    """(part,) Gyr since each constant rate began and stopped, and its share of the mass; only parts with old stars."""
    if isinstance(history, Binned):
        edges, fractions = history.bin_edges(universe), history.bin_fractions(universe)
        return edges[1:], edges[:-1], fractions
    if isinstance(history, Burst):
        began, stopped = history.span()
    elif isinstance(history, Constant):
        began, stopped = history.age, history.quenched
    else:
        raise TypeError(f"{type(history).__name__} is checked before it is evaluated")
    return began[None], stopped[None], jnp.ones_like(began)[None]
