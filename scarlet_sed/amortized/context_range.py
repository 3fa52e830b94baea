"""Which fluxes are like those of the training: outside of them a network's answer means nothing."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from scarlet_sed.amortized.context import Measured
from scarlet_sed.amortized.networks import Networks
from scarlet_sed.parameters import as_float
from scarlet_sed.typing import Array

_SHARE = 0.999
"""Of the training's objects that count as usual."""
_RIDGE = 1e-3
"""Of the mean variance, for summaries that hardly vary."""


class ContextRange(eqx.Module):
    """Where the training's objects lie.

    Their summaries (what the flow is told) are taken as one cloud, whose mean and covariance give every object a
    distance (Lee et al. 2018, arXiv:1807.03888); and every single feature of the fluxes has a range.

    Args:
        mean: (summary,).
        inverse: (summary, summary) inverse of the root of the covariance, over the root of their number.
        limit: the distance that 99.9 % of the training's objects do not reach.
        low, high: (feature,) ranges of them.
    """

    mean: Array
    inverse: Array
    limit: Array
    low: Array
    high: Array

    @staticmethod
    def of(networks: Networks, measured: Measured, redshift: Array) -> "ContextRange":
        """The range of (object,) simulated objects.

        Args:
            networks: trained.
            measured: (object, band) fluxes.
            redshift: (object,) true.
        """
        features = np.asarray(measured.features, np.float64)
        summaries = np.asarray(_summaries(networks, measured, redshift), np.float64)
        mean, size = summaries.mean(axis=0), summaries.shape[1]
        covariance = np.cov(summaries.T)
        covariance += _RIDGE * np.trace(covariance) / size * np.eye(size)
        inverse = np.linalg.inv(np.linalg.cholesky(covariance)) / np.sqrt(size)
        distance = np.linalg.norm((summaries - mean) @ inverse.T, axis=1)
        numbers = (mean, inverse, np.quantile(distance, _SHARE), features.min(axis=0), features.max(axis=0))
        return ContextRange(*(as_float(each) for each in numbers))

    def distance(self, networks: Networks, measured: Measured, redshift: Array) -> Array:
        """Of one object from the middle, in units of the limit: above one it is unusual; infinite out of a range."""
        away = self.inverse @ (networks.summary(measured, redshift) - self.mean)
        features = measured.features
        slack = 0.05 * (self.high - self.low) + 1e-3
        inside = jnp.all((features >= self.low - slack) & (features <= self.high + slack))
        return jnp.where(inside, jnp.linalg.norm(away) / self.limit, jnp.inf)


@eqx.filter_jit
def _summaries(networks: Networks, measured: Measured, redshift: Array) -> Array:
    return jax.vmap(networks.summary)(measured, redshift)
