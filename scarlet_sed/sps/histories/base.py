"""What a star-formation history is: how much mass formed between any two ages."""

from abc import abstractmethod
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from scarlet_sed.errors import DomainError
from scarlet_sed.ranges import concrete
from scarlet_sed.typing import Array, ArrayLike

YOUNG = 0.01
"""Gyr: stars younger than this make the nebulae and sit in birth clouds (Charlot & Fall 2000)."""


class Masses(eqx.Module):
    """Mass formed in intervals of age, as fractions of all mass that ever formed.

    Args:
        total: (interval,) fraction of the mass with an age inside.
        older: (interval,) the same integral weighted by (age - young edge) / (old edge - young edge): what linear
            interpolation between spectra at the edges gives to the old edge; the rest goes to the young edge.
    """

    total: Array
    older: Array

    def at_edges(self) -> Array:
        """(interval + 1,) the weights of spectra at the edges under linear interpolation in age."""
        return jnp.pad(self.total - self.older, (0, 1)) + jnp.pad(self.older, (1, 0))


class History(eqx.Module):
    """A star-formation history, normalised to one solar mass formed.

    To add one, write a final class with slots made by `parameter(...)` and the method `masses`, exact for the family
    (no sampling) and free of cancellation in float32; the other quantities follow from it.
    """

    @abstractmethod
    def masses(self, edges: Array, universe: Array) -> Masses:
        """The mass formed between neighbouring ages.

        Args:
            edges: (interval + 1,) Gyr, increasing, from 0.
            universe: Gyr, age of the universe at the galaxy's redshift; families with absolute ages ignore it.
        """

    @property
    @abstractmethod
    def needs_universe(self) -> bool:
        """Whether ages depend on the age of the universe, so that a redshift is needed."""

    def fraction_younger(self, age: ArrayLike, universe: Array) -> Array:
        """The fraction of the mass with an age below `age` in Gyr."""
        edges = jnp.stack([jnp.zeros_like(jnp.asarray(age, universe.dtype)), jnp.asarray(age, universe.dtype)])
        return self.masses(edges, universe).total[0]

    def mean_sfr(self, timescale: float, universe: Array) -> Array:
        """Mean star-formation rate over the last `timescale` Gyr, in solar masses a year per solar mass formed."""
        return self.fraction_younger(timescale, universe) / (timescale * 1e9)

    def mean_age(self, universe: Array) -> Array:
        """Mass-weighted mean age in Gyr."""
        edges = jnp.asarray(_EDGES, universe.dtype)
        masses = self.masses(edges, universe)
        return jnp.sum(masses.total * edges[:-1] + masses.older * jnp.diff(edges))

    def quantile_age(self, fraction: float, universe: Array) -> Array:
        """The age in Gyr by which this fraction of the mass had formed (t50 for 0.5), good to about 1 %.

        Older stars than this make up `fraction` of the mass formed.
        """
        edges = jnp.asarray(_EDGES, universe.dtype)
        younger = jnp.pad(jnp.cumsum(self.masses(edges, universe).total), (1, 0))
        return jnp.interp(1.0 - fraction, younger, edges)

    def rates(self, edges: ArrayLike, universe: Array) -> Array:
        """(interval,) mean star-formation rate between neighbouring ages, in solar masses a year per mass formed."""
        ages = jnp.asarray(edges, universe.dtype)
        return self.masses(ages, universe).total / (jnp.diff(ages) * 1e9)


_EDGES = np.concatenate([[0.0], np.geomspace(1e-4, 20.0, 600)])


def check_positive(value: Any, owner: str, what: str, *, zero: bool = False) -> None:
    """Raise `DomainError` for a concrete duration or age that is negative (or zero, unless `zero`)."""
    host = concrete(value)
    if host is None:
        return
    if np.any(host < 0) or (not zero and np.any(host == 0)):
        raise DomainError(
            f"{owner} has a {what} of {np.array2string(host, threshold=4)} Gyr",
            fix=f"give a {'non-negative' if zero else 'positive'} {what}",
        )
