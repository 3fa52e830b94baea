"""What a prior on the image of a galaxy is."""

from abc import abstractmethod
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from numpyro.distributions import constraints
from numpyro.distributions.util import validate_sample

from scarlet_sed.constraints import ImageSimplex
from scarlet_sed.typing import Array


class MorphologyPrior(dist.Distribution):
    """A prior on images that sum to one: the flux is its spectrum's, and no prior's.

    To add one, write a final class with `coordinates` and `log_density`. Fits and samplers walk in the coordinates'
    numbers, and the density is one a unit of these: no Jacobian of pixels is added. Numbers should be about as wide as
    one: optimizers take steps of that size where the data say nothing.
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}

    @property
    def refusal(self) -> str:
        """Why no sampler may have it; empty where one may."""
        return ""

    @property
    @abstractmethod
    def coordinates(self) -> dist.transforms.Transform:
        """From (n,) real numbers to (height, width) images."""

    @property
    def easier(self) -> "MorphologyPrior | None":
        """A prior of the same images that is easier to climb, to begin fits with; sources share what it is built on.

        It may have an easier one itself; the easiest has none.
        """
        return None

    @property
    def mean(self) -> Array:
        """The image in the middle, of zeros: not the average."""
        found: Array = self.coordinates(jnp.zeros(self._numbers))
        return found

    @property
    def _numbers(self) -> int:
        height, width = self.event_shape
        return height * width - 1

    @abstractmethod
    def log_density(self, numbers: Array) -> Array:
        """Natural logarithm of the density a unit of (n,) numbers, up to a constant."""

    def tempered(self, numbers: Array, temperature: Array) -> Array:
        """The same of an easier density that follows from a temperature of 1 or more, at 1 the prior itself.

        Args:
            numbers: (n,) of the prior's own coordinates, whatever the temperature.
            temperature: () the prior's logarithm is divided by; priors that know noise may take more of it instead.
        """
        return self.log_density(numbers) / temperature

    @constraints.dependent_property(is_discrete=False, event_dim=2)
    def support(self) -> constraints.Constraint:
        """Images that sum to one."""
        height, width = self.event_shape
        return ImageSimplex((height, width), self.coordinates)

    @validate_sample
    def log_prob(self, value: Array) -> Array:
        """Natural logarithm of the density of an image, a unit of its numbers."""
        return self.log_density(self.coordinates.inv(value))


class StandardNormalPrior(MorphologyPrior):
    """A prior whose numbers are standard normal: all that was learnt is in the coordinates."""

    def log_density(self, numbers: Array) -> Array:
        """See `MorphologyPrior`."""
        return standard_normal(numbers)

    def sample(self, key: Array, sample_shape: tuple[int, ...] = ()) -> Array:
        """Images of unit sum."""
        found: Array = self.coordinates(jax.random.normal(key, (*sample_shape, self._numbers)))
        return found


def standard_normal(numbers: Array) -> Array:
    """(...,) natural logarithm of the density of (..., n) standard normal numbers."""
    return jnp.sum(jax.scipy.stats.norm.logpdf(numbers), axis=-1)
