"""What networks say of one object, traced: draws, their density, and how both look in the flow's base."""

from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from scarlet_sed.amortized.context import Measured
from scarlet_sed.amortized.model import Described
from scarlet_sed.amortized.networks import Networks, Told
from scarlet_sed.amortized.redshift import OnGrid
from scarlet_sed.typing import Array

if TYPE_CHECKING:
    from scarlet_sed.amortized.posterior import AmortizedPosterior


class OneDrawn(NamedTuple):
    """Draws for one object, as of `AmortizedDraws`, and whether each mass is one of the prior's."""

    values: dict[str, Array]
    numbers: Array
    log_prob: Array
    inside: Array


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

    def at(self, base: Array, redshift: Array) -> OneDrawn:
        """The draw that (n,) standard normal numbers make at a redshift."""
        numbers, volume = self.networks.flow.bijection.transform_and_log_det(base, self.told.at(redshift))
        values, wide = self.described.values(numbers, self.measured, redshift)
        log_prob = jnp.sum(-0.5 * base**2 - 0.5 * np.log(2 * np.pi)) - volume - wide + self.of_redshift(redshift)
        own = values if self.density is None else {**values, "redshift": redshift}
        return OneDrawn(own, numbers, log_prob, self.described.inside(values))

    def drawn(self, key: Array, draws: int) -> OneDrawn:
        """(draw, ...) draws."""
        far, own = jax.random.split(key)
        base = jax.random.normal(own, (draws, self.described.numbers))
        if self.density is None:
            at = jnp.broadcast_to(self.redshift, (draws,))
        else:
            at = self.density.sample(jax.random.split(far, draws))
        return jax.vmap(self.at)(base, at)

    def of_redshift(self, redshift: Array) -> Array:
        """Natural logarithm of the density of a redshift; zero where it is given."""
        return jnp.zeros(()) if self.density is None else self.density.log_prob(redshift)

    def log_prob(self, values: dict[str, Array]) -> Array:
        """The log-density of one set of values, see `AmortizedPosterior.log_prob`."""
        z = self.redshift if self.density is None else values["redshift"]
        numbers, wide = self.described.numbers_of(values, self.measured, z)
        return self.networks.flow.log_prob(numbers, self.told.at(z)) - wide + self.of_redshift(z)

    def base(self, values: dict[str, Array]) -> Array:
        """(n,) standard normal numbers that make these values."""
        z = self.redshift if self.density is None else values["redshift"]
        numbers, _ = self.described.numbers_of(values, self.measured, z)
        found: Array = self.networks.flow.bijection.inverse(numbers, self.told.at(z))
        return found
