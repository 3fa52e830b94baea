"""Exact synthesis: every spectrum of the grid, weighted by the mass that the history formed at its age."""

from abc import abstractmethod
from typing import NamedTuple, final

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from scarlet_sed.parameters import as_float
from scarlet_sed.sps.domain import Domain
from scarlet_sed.sps.engine import GRID_UNIT, Dimming, Engine, Population, StellarLight, line_unit
from scarlet_sed.sps.grid import Grid
from scarlet_sed.sps.histories.base import YOUNG, Masses
from scarlet_sed.sps.nodes import node_weights
from scarlet_sed.typing import Array


class Weights(NamedTuple):
    """How much of each spectrum of a grid a population holds, per solar mass formed.

    Args:
        old: (z * a_old,) ages from 10 Myr on.
        young: (z * a_young,) ages up to 10 Myr.
        nebular: (z * u * n,) bins of age below 10 Myr.
    """

    old: Array
    young: Array
    nebular: Array


class AgeAxes(eqx.Module):
    """The axes of a grid, and the weights that a population has on them.

    Spectra are linear in age and in Z between nodes, and linear in log U; nebulae are constant within bins of age.
    """

    age: Array
    metallicity: Array
    log_ionization: Array
    nebular_edges: Array
    split: int = eqx.field(static=True)

    def __init__(self, grid: Grid) -> None:
        self.age = grid.age
        self.metallicity = as_float(10 ** np.asarray(grid.log_metallicity, np.float64))
        nebular = grid.nebular
        self.log_ionization = as_float([-4.0, 0.0]) if nebular is None else nebular.log_ionization
        self.nebular_edges = as_float([0.0, YOUNG]) if nebular is None else nebular.age_edges
        self.split = int(np.argmin(np.abs(np.asarray(grid.age) - YOUNG)))

    def metallicity_weights(self, log_metallicity: Array) -> Array:
        """(z,) linear in Z."""
        return node_weights(10.0**log_metallicity, self.metallicity)

    def weights(self, population: Population) -> Weights:
        """The mass in every spectrum, exact integrals of the history."""
        history, universe = population.history, population.universe
        masses = history.masses(self.age, universe)
        young, old = (masses_between(masses, part) for part in (slice(0, self.split), slice(self.split, None)))
        metals = self.metallicity_weights(population.log_metallicity)
        ionization = node_weights(population.log_ionization, self.log_ionization)
        nebular = history.masses(self.nebular_edges, universe).total
        return Weights(
            jnp.outer(metals, old).ravel(),
            jnp.outer(metals, young).ravel(),
            jnp.einsum("z,u,n->zun", metals, ionization, nebular).ravel(),
        )


def masses_between(masses: Masses, part: slice) -> Array:
    """Weights at the edges of some of the intervals."""
    chosen = Masses(masses.total[part], masses.older[part])
    return chosen.at_edges()


class GridSynthesis(Engine):
    """What the engines share that weigh the spectra of a grid: all but how a weighted sum of spectra is made."""

    axes: eqx.AbstractVar[AgeAxes]
    lines: eqx.AbstractVar[Array]
    living: eqx.AbstractVar[Array]
    domain: eqx.AbstractVar[Domain]

    @abstractmethod
    def sums(self, weights: Weights) -> tuple[Array, Array]:
        """(cell,) old stars, and (cell,) young stars with nebular continuum: spectra summed with these weights."""

    def light(self, population: Population, dimming: Dimming) -> StellarLight:
        weights = self.axes.weights(population)
        old, young = self.sums(weights)
        lines = (weights.nebular @ self.lines) * jnp.exp(dimming.lines)
        return StellarLight(old * jnp.exp(dimming.old), young * jnp.exp(dimming.young), lines)

    def living_mass(self, population: Population) -> Array:
        at_ages = population.history.masses(self.axes.age, population.universe).at_edges()
        return self.axes.metallicity_weights(population.log_metallicity) @ self.living @ at_ages

    def check(self, population: Population) -> None:
        self.domain.check(population, type(self).__name__)


@final
class ExactSynthesis(GridSynthesis):
    """The grid itself.

    Args:
        grid: with or without nebulae.
    """

    axes: AgeAxes
    old: Array
    young: Array
    nebular: Array
    lines: Array
    living: Array
    domain: Domain = eqx.field(static=True)
    log_start: int = eqx.field(static=True)
    cells: int = eqx.field(static=True)
    line_wavelength: tuple[float, ...] = eqx.field(static=True)
    line_names: tuple[str, ...] = eqx.field(static=True)

    def __init__(self, grid: Grid) -> None:
        self.axes = AgeAxes(grid)
        split, cells = self.axes.split, grid.cells
        self.old = grid.stars[:, split:].reshape(-1, cells) * GRID_UNIT
        self.young = grid.stars[:, : split + 1].reshape(-1, cells) * GRID_UNIT
        if grid.nebular is None:
            rows = grid.stars.shape[0] * 2
            self.nebular, self.lines = as_float(np.zeros((rows, cells))), as_float(np.zeros((rows, 0)))
        else:
            self.nebular = grid.nebular.continuum.reshape(-1, cells) * GRID_UNIT
            lines = grid.nebular.lines.reshape(-1, len(grid.line_wavelength))
            self.lines = lines * as_float(line_unit(np.asarray(grid.line_wavelength)))
        self.living = grid.living_mass
        self.domain = Domain.of_grid(grid)
        self.log_start, self.cells = grid.log_start, cells
        self.line_wavelength, self.line_names = grid.line_wavelength, grid.line_names

    def sums(self, weights: Weights) -> tuple[Array, Array]:
        return weights.old @ self.old, weights.young @ self.young + weights.nebular @ self.nebular
