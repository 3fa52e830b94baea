"""What the networks see of a population: where its mass sits in age, its metallicity, its ionisation.

Networks learn shapes, so each part (stars older than 10 Myr, younger stars) is described per unit of its own mass.
"""

import equinox as eqx
import jax
import jax.numpy as jnp

from scarlet_sed.sps.histories.base import YOUNG, Masses
from scarlet_sed.sps.nodes import node_weights
from scarlet_sed.typing import Array

TINY = 1e-30
"""A mass fraction as good as none; shapes of an empty part are zeros."""


class Features(eqx.Module):
    """The axes on which populations are described.

    Args:
        old_ages: (a,) Gyr from 10 Myr on: nodes of the grid.
        young_ages: (n,) Gyr from 0 to 10 Myr.
        metallicity: (z,) Z / Zsun, nodes of the grid.
        log_ionization: (u,) log10 U, nodes of the grid.
    """

    old_ages: Array
    young_ages: Array
    metallicity: Array
    log_ionization: Array

    def old(self, masses: Masses, first: Array, second: Array, log_metallicity: Array) -> tuple[Array, Array]:
        """Features of the stars older than 10 Myr, and their mass fraction.

        Args:
            masses: on `old_ages`.
            first, second: the two times in Gyr that shape the family: onset and tau of a delayed exponential, or the
                ages at which a constant rate began and stopped.
            log_metallicity: log10 Z/Zsun.
        """
        own, fraction = _of_own_mass(masses)
        shape = own.at_edges()
        times = jnp.stack([jnp.log(first), jnp.log(second), jnp.log(first / second)])
        mean = jnp.log(shape @ self.old_ages + YOUNG)
        metals = node_weights(10.0**log_metallicity, self.metallicity)
        return jnp.concatenate([times, mean[None], shape, log_metallicity[None], metals]), fraction

    def young(self, masses: Masses, log_metallicity: Array, log_ionization: Array) -> tuple[Array, Array]:
        """Features of the stars younger than 10 Myr and their nebulae, and their mass fraction.

        Three numbers, shares of the mass in the n bins of age and the parts of them that weigh on their older edges,
        weights of the nodes in metallicity and in ionisation: `LineTable` relies on that order.

        Args:
            masses: on `young_ages`.
            log_metallicity: log10 Z/Zsun.
            log_ionization: log10 U.
        """
        own, fraction = _of_own_mass(masses)
        totals, older = own.total, own.older
        mean = totals @ self.young_ages[:-1] + older @ jnp.diff(self.young_ages)
        metals = node_weights(10.0**log_metallicity, self.metallicity)
        ionization = node_weights(log_ionization, self.log_ionization)
        scalars = jnp.stack([jnp.log(mean + 1e-5), log_metallicity, log_ionization])
        return jnp.concatenate([scalars, totals, older, metals, ionization]), fraction


def _of_own_mass(masses: Masses) -> tuple[Masses, Array]:
    """The masses per unit of their sum, and that sum.

    The sum may be 1e-25, whose inverse square overflows in float32 when quotients are differentiated: masses are
    brought to the order of one by a constant first.
    """
    fraction = jnp.sum(masses.total)
    constant = jax.lax.stop_gradient(jnp.maximum(fraction, TINY))
    total, older = masses.total / constant, masses.older / constant
    unit = jnp.maximum(jnp.sum(total), 0.5)
    return Masses(total / unit, older / unit), fraction
