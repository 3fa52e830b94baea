"""The ranges of parameters within which an engine is right."""

from typing import Any

import equinox as eqx
import numpy as np

from scarlet_sed.ranges import check_range
from scarlet_sed.sps.engine import Population
from scarlet_sed.sps.grid import Grid

Range = tuple[float, float]


class Domain(eqx.Module):
    """Closed ranges: log10 Z/Zsun, log10 U, and ages in Gyr."""

    log_metallicity: Range = eqx.field(static=True)
    log_ionization: Range = eqx.field(static=True)
    age: Range = eqx.field(static=True)

    @staticmethod
    def of_grid(grid: Grid) -> "Domain":
        """Where a grid has nodes on both sides."""
        ionization = (-4.0, 0.0) if grid.nebular is None else _ends(grid.nebular.log_ionization)
        return Domain(_ends(grid.log_metallicity), ionization, _ends(grid.age))

    def check(self, population: Population, owner: str) -> None:
        """Raise `DomainError` for a fixed number outside, or a prior whose support reaches outside."""
        check_range(population.log_metallicity, owner, "log_metallicity", *self.log_metallicity)
        check_range(population.log_ionization, owner, "log_ionization", *self.log_ionization)


DOMAIN = ("log_metallicity", "log_ionization", "age")
"""The names of the ranges, in order."""


def _ends(values: Any) -> Range:
    host = np.asarray(values, np.float64)
    return float(host[0]), float(host[-1])
