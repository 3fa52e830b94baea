"""Which pixels of a free image the data know, and which are the prior's: the diagonals of their Fisher matrices.

Sampson & Melchior (2023, arXiv:2306.13272) call the difference of the two a score of hallucination.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from scarlet_sed.errors import ParameterError
from scarlet_sed.infer.compiled import Compiled
from scarlet_sed.infer.families import Family, FamilyValues
from scarlet_sed.infer.program import Program
from scarlet_sed.infer.result import FitResult
from scarlet_sed.infer.signs import random_signs
from scarlet_sed.parameters import as_float
from scarlet_sed.priors.base import StandardNormalPrior
from scarlet_sed.typing import Array, HostArray


class ImageInformation(NamedTuple):
    """What prior and data say of the light in a spot around each pixel, with all other light as it is.

    Args:
        image: (height, width) fitted light fractions.
        prior: (height, width) Fisher information of the prior on the natural logarithm of that light.
        data: the same of the data, with the spectrum as it is.
    """

    image: HostArray
    prior: HostArray
    data: HostArray

    @property
    def excess(self) -> HostArray:
        """(height, width) prior's less data's: positive where the prior decides."""
        return self.prior - self.data

    @property
    def share(self) -> HostArray:
        """(height, width) the prior's part of all information, between zero and one: one where there is none at all."""
        every = self.prior + self.data
        return 1 - np.divide(self.data, every, out=np.zeros_like(every), where=every > 0)

    @property
    def share_of_light(self) -> float:
        """The prior's part, averaged over the light."""
        return float(np.sum(self.image * self.share) / np.sum(self.image))


def image_information(
    result: FitResult, *, spot: float = 1.5, probes: int = 256, seed: int = 0
) -> dict[str, ImageInformation]:
    """What is known of the free images of a fit from their learnt priors, and what from the data.

    By random probes: with random signs z, the mean square of J^T z is the diagonal of J^T J (Bekas, Kokiopoulou & Saad
    2007, Appl. Numer. Math. 57, 1214). For the data J is the derivative of the whitened residuals, for the prior that
    of its standard normal numbers, by the image.

    Args:
        result: of `fit`.
        spot: its dispersion in pixels. Single pixels (zero) are what hardly any data know; spots of about the size of
            the PSF tell more.
        probes: both diagonals are known to sqrt(2 / probes).
        seed: of the probes.

    Returns:
        by path, for images whose prior is a `StandardNormalPrior`; others have no density that tells.

    Raises:
        ParameterError: for a spot below zero or fewer than two probes.
    """
    if not (spot >= 0 and probes >= 2):
        raise ParameterError(f"a spot of {spot} pixels and {probes} probes", fix="give a spot >= 0 and probes >= 2")
    posterior = result.posterior
    program = posterior.program
    learnt = tuple(isinstance(family.prior, StandardNormalPrior) for family in program.families)
    if not any(learnt):
        return {}
    prior, data = _diagonals(program, result.values, as_float(spot), jnp.arange(probes) + seed * probes, learnt)
    found = {}
    for path, place in posterior.places.items():
        if learnt[place.family]:
            which = sum(learnt[: place.family])
            values = (result.values[place.family], prior[which], data[which])
            found[path] = ImageInformation(*(np.asarray(each[place.row], float) for each in values))
    return found


def _diagonals_of(
    program: Program, values: FamilyValues, spot: Array, seeds: Array, learnt: tuple[bool, ...]
) -> tuple[FamilyValues, FamilyValues]:
    """(row, height, width) of each learnt family: information of the prior and of the data."""
    images, to_values = jax.vjp(program.images, values)
    which = [i for i, is_learnt in enumerate(learnt) if is_learnt]
    numbers = [_numbers(program.families[i], values[i]) for i in which]

    def squares(i: int, slope: Array) -> Array:
        # of the logarithm of the light: a dark pixel would be all that a prior knows of a spot
        return jnp.square(_through(values[i] * slope, spot))

    def probe(seed: Array) -> tuple[FamilyValues, FamilyValues]:
        (slopes,) = to_values(program.probe(images, values, seed)[1])
        signs = [random_signs(known.shape, known.dtype, seed, i) for i, (known, _) in zip(which, numbers, strict=True)]
        priors = [to_image(z)[0] for z, (_, to_image) in zip(signs, numbers, strict=True)]
        return tuple(map(squares, which, priors)), tuple(squares(i, slopes[i]) for i in which)

    prior, data = jax.tree.map(lambda each: jnp.mean(each, axis=0), jax.lax.map(probe, seeds))
    return prior, data


_diagonals = Compiled(_diagonals_of, level=1, static=("learnt",))


def _numbers(family: Family, images: Array) -> tuple[Array, Callable[[Array], tuple[Array]]]:
    """(row, n - 1) numbers of (row, height, width) images of any sum, and the way back of their derivative."""
    return jax.vjp(lambda x: family.unconstrain(x / jnp.sum(x, axis=(-2, -1), keepdims=True)), images)


def _through(images: Array, spot: Array) -> Array:
    """(row, height, width) images through a Gaussian of unit light, or as they are where it has no width."""

    def matrix(size: int) -> Array:
        away = jnp.abs(jnp.arange(size)[:, None] - jnp.arange(size))
        # at least so wide that a neighbour gets exp(-50)
        weights = jnp.exp(-0.5 * jnp.square(away / jnp.maximum(spot, 0.1)))
        return weights / jnp.max(jnp.sum(weights, axis=0))

    return matrix(images.shape[-2]) @ images @ matrix(images.shape[-1])
