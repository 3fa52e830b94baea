"""What networks say of one object, traced: draws, their density, and how both look in the flow's base."""

from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp

from scarlet_sed.amortized.context import Measured
from scarlet_sed.amortized.model import Described
from scarlet_sed.amortized.networks import Networks, Told
from scarlet_sed.amortized.redshift import OnGrid
from scarlet_sed.priors.base import standard_normal
from scarlet_sed.typing import Array

if TYPE_CHECKING:
    from scarlet_sed.amortized.posterior import AmortizedPosterior


_NARROWEST = 1e-4
"""Least width of the density of ln(1 + z)."""


class OneDrawn(NamedTuple):
    """Draws for one object, as of `AmortizedDraws`, whether each mass is one of the prior's, and where they are.

    A place is the numbers in the flow's base, where they are standard normal, and then ln(1 + z) where it is free.
    """

    values: dict[str, Array]
    numbers: Array
    log_prob: Array
    inside: Array
    place: Array


class OneObject(NamedTuple):
    """The density that networks give an object.

    Args:
        networks, described: of the posterior.
        measured: fluxes.
        redshift: where it is not free.
        density: of the redshift; None where it is given.
        told: what the flow is told of it.
    """

    networks: Networks
    described: Described
    measured: Measured
    redshift: Array
    density: OnGrid | None
    told: Told

    @staticmethod
    def of(posterior: "AmortizedPosterior", measured: Measured, redshift: Array, free: bool) -> "OneObject":
        """What a posterior says of an object whose redshift is free, or given."""
        networks = posterior.networks
        density = None
        if free:
            assert networks.redshift is not None
            density = networks.redshift(measured)
        told = networks.told(measured, redshift if density is None else density)
        return OneObject(networks, posterior.described, measured, redshift, density, told)

    def at(self, place: Array) -> OneDrawn:
        """The draw at (n,) a place."""
        base, z = self._parted(place)
        numbers, stretched = self.networks.flow.bijection.transform_and_log_det(base, self.told.at(z))
        values, wide = self.described.values(numbers, self.measured, z)
        log_prob = standard_normal(base) - stretched - wide + self._of_redshift(z)
        own = values if self.density is None else {**values, "redshift": z}
        return OneDrawn(own, numbers, log_prob, self.described.inside(values), place)

    def place(self, numbers: Array, redshift: Array) -> Array:
        """The (n,) place where the flow has these numbers."""
        base = self.networks.flow.bijection.inverse(numbers, self.told.at(redshift))
        return base if self.density is None else jnp.append(base, jnp.log1p(redshift))

    def made(self, values: dict[str, Array]) -> OneDrawn:
        """The draw that has these values."""
        z = self.redshift if self.density is None else values["redshift"]
        numbers, wide = self.described.numbers_of(values, self.measured, z)
        base, stretched = self.networks.flow.bijection.inverse_and_log_det(numbers, self.told.at(z))
        log_prob = standard_normal(base) + stretched - wide + self._of_redshift(z)
        place = base if self.density is None else jnp.append(base, jnp.log1p(z))
        return OneDrawn(values, numbers, log_prob, self.described.inside(values), place)

    def drawn(self, key: Array, draws: int) -> OneDrawn:
        """(draw, ...) draws."""
        far, own = jax.random.split(key)
        place = jax.random.normal(own, (draws, self.described.numbers))
        if self.density is not None:
            z = self.density.sample(jax.random.split(far, draws))
            place = jnp.concatenate([place, jnp.log1p(z)[:, None]], axis=1)
        return jax.vmap(self.at)(place)

    def log_prob(self, values: dict[str, Array]) -> Array:
        """The log-density of one set of values, see `AmortizedPosterior.log_prob`."""
        return self.made(values).log_prob

    def volume(self, place: Array) -> Array:
        """Natural logarithm of the density a unit of the place, up to a constant."""
        base, z = self._parted(place)
        return standard_normal(base) + (0.0 if self.density is None else self._of_redshift(z) + place[-1])

    def widths(self) -> Array:
        """(n,) widths of the density in each number of a place."""
        wide = jnp.ones(self.described.numbers)
        if self.density is None:
            return wide
        low, high = self.density.quantiles(jnp.array([0.16, 0.84]))
        return jnp.append(wide, jnp.maximum(0.5 * (high - low), _NARROWEST))

    def _parted(self, place: Array) -> tuple[Array, Array]:
        return (place, self.redshift) if self.density is None else (place[:-1], jnp.expm1(place[-1]))

    def _of_redshift(self, redshift: Array) -> Array:
        return jnp.zeros(()) if self.density is None else self.density.log_prob(redshift)
