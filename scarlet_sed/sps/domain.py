"""The ranges of parameters within which an engine is right."""

from typing import Any

import equinox as eqx
import jax
import numpy as np

from scarlet_sed.constraints import base_support
from scarlet_sed.errors import DomainError
from scarlet_sed.parameters import Parameter
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
        check_within(population.log_metallicity, self.log_metallicity, owner, "log_metallicity")
        check_within(population.log_ionization, self.log_ionization, owner, "log_ionization")


DOMAIN = ("log_metallicity", "log_ionization", "age")
"""The names of the ranges, in order."""


def _ends(values: Any) -> Range:
    host = np.asarray(values, np.float64)
    return float(host[0]), float(host[-1])


def check_within(leaf: Any, allowed: Range, owner: str, what: str) -> None:
    """Raise `DomainError` where a slot's number, or what its prior allows, lies outside a closed range."""
    low, high = allowed
    slack = 1e-5 * (high - low)
    if isinstance(leaf, Parameter):
        support = base_support(leaf.prior)
        ends = [np.asarray(getattr(support, name, np.nan)) for name in ("lower_bound", "upper_bound")]
        inside = np.all(ends[0] >= low - slack) and np.all(ends[1] <= high + slack)  # false for NaN: an open end
        if not inside:
            raise DomainError(
                f"the prior of {what} reaches beyond {low:g} to {high:g}, the domain of {owner}",
                fix=f"bound it, for instance dist.Uniform({low:g}, {high:g}) or a TruncatedNormal",
            )
        leaf = leaf.value
    if isinstance(leaf, (jax.Array, np.ndarray, float, int)) and not isinstance(leaf, jax.core.Tracer):
        host = np.asarray(leaf)
        if not np.all((host >= low - slack) & (host <= high + slack)):
            given = np.array2string(host, precision=4)
            raise DomainError(
                f"{what} = {given} lies outside {low:g} to {high:g}, the domain of {owner}",
                fix=f"give a {what} from {low:g} to {high:g}",
            )
