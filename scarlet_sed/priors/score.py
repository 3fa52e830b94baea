"""A user's own score, for fits and Langevin dynamics."""

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar, final

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

from scarlet_sed.priors.base import MorphologyPrior
from scarlet_sed.priors.coordinates import ImageCoordinates
from scarlet_sed.typing import Array

Score = Callable[[Array], Array]
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(8)


@final
class ScoreOnly(MorphologyPrior):
    """A prior of which only the gradient is known, such as that of a diffusion model.

    Fits climb along the score. What they compare, to keep their best step, is the integral of the score along the
    straight line from an even image: the log-density, if the score is the gradient of any. That of a network seldom is,
    and then gradient and level disagree: samplers would draw from neither, without a warning, so `sample` refuses it.
    `annealed_langevin` walks along the score alone. The density is one a unit of numbers in which faint pixels are
    logarithms: a score that does not say how faint they may be lets walks drift without end.

    Args:
        score: (height, width) gradient of the log-density by the pixels of a (height, width) image that sums to one.
        shape: (height, width).
        knee: of the coordinates that fits walk in, see `ImageCoordinates`.
    """

    constructor_arguments: ClassVar = ("score", "shape", "knee")
    pytree_aux_fields = ("score", "shape", "knee")

    def __init__(
        self, score: Score, shape: tuple[int, int], knee: float | None = None, *, validate_args: bool | None = None
    ) -> None:
        self.score, self.shape, self.knee = score, (int(shape[0]), int(shape[1])), knee
        super().__init__(event_shape=self.shape, validate_args=validate_args)

    @property
    def refusal(self) -> str:
        """It is always refused."""
        return (
            "only its score is known: a sampler needs the density whose gradient that is, and a score by itself need "
            "not be the gradient of any"
        )

    @property
    def coordinates(self) -> dist.transforms.Transform:
        """Pixels, linear where they are bright."""
        return ImageCoordinates(self.shape, self.knee)

    def log_density(self, numbers: Array) -> Array:
        """The integral of the score; its gradient is the score itself."""
        images = self.coordinates(numbers)
        found: Array = jnp.vectorize(partial(_climbed, self.score), signature="(h,w)->()")(images)
        return found


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _climbed(score: Score, image: Array) -> Array:
    even = jnp.full_like(image, 1.0 / image.size)
    away = image - even

    def along(share: Array) -> Array:
        return jnp.sum(score(even + share * away) * away)

    shares = jnp.asarray((_NODES + 1) / 2, image.dtype)
    return jnp.sum(jnp.asarray(_WEIGHTS / 2, image.dtype) * jax.lax.map(along, shares))


@_climbed.defjvp
def _climbed_jvp(score: Score, primals: tuple[Any], tangents: tuple[Any]) -> tuple[Array, Array]:
    (image,), (change,) = primals, tangents
    return _climbed(score, image), jnp.sum(score(image) * change)
