"""Images of galaxies as a normal distribution of their coordinates: what every other prior must beat."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, final

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import scipy.linalg

from scarlet_sed.errors import DataError, ShapeError
from scarlet_sed.parameters import as_float
from scarlet_sed.priors.base import StandardNormalPrior, standard_normal
from scarlet_sed.priors.coordinates import ImageCoordinates, NormalNumbers
from scarlet_sed.priors.shipped import read_prior
from scarlet_sed.shared import Shared
from scarlet_sed.typing import Array, HostArray

FLOOR = 1e-3
"""Share of the mean pixel that is added to every pixel of what is learnt from: an empty one has no coordinate."""


@final
class GaussianImages(Shared):
    """A normal distribution in `ImageCoordinates`: principal axes, and one width for all others.

    Its standard normal numbers lie along the axes, the widest first, so that what the data say of one says little of
    another. The others complete them to a basis by Householder's reflections, which are cheap where axes are few.

    Args:
        mean: (n - 1,) of the coordinates.
        reflectors: (n - 1, axis) vectors whose reflections turn the first unit vectors onto the axes.
        triangle: (axis, axis) of their product I - V T V^T (Schreiber & Van Loan 1989, SIAM J. Sci. Stat. Comput. 10,
            53), see `triangle_of`.
        deviations: (axis,) along the axes.
        rest: deviation along any other.
        shape: (height, width).
        knee: see `ImageCoordinates`.
    """

    mean: Array
    reflectors: Array
    triangle: Array
    deviations: Array
    rest: Array
    shape: tuple[int, int] = eqx.field(static=True)
    knee: float = eqx.field(static=True)

    @staticmethod
    def of(images: Any, rank: int = 256, knee: float | None = None) -> "GaussianImages":
        """The distribution of (image, height, width) images, in all eight orientations.

        Probabilistic principal components (Tipping & Bishop 1999, J. R. Stat. Soc. B 61, 611): the largest variances
        as they are, and the mean of all others.

        Args:
            images: of any positive total.
            rank: how many axes.
            knee: see `ImageCoordinates`.

        Raises:
            DataError: if there are fewer images than axes, or an image has no light.
            ShapeError: if they are no square images.
        """
        stamps = unit_images(images)
        if stamps.shape[1] != stamps.shape[2]:
            raise ShapeError(f"images of {stamps.shape[1:]}", fix="give square ones, which can be turned")
        coordinates = ImageCoordinates(stamps.shape[1:], knee)
        count, size = 8 * len(stamps), math.prod(coordinates.shape) - 1
        if count <= min(rank, size):
            raise DataError(
                f"{len(stamps)} images know no {min(rank, size)} axes", fix="give more images, or ask for fewer axes"
            )
        return GaussianImages.of_moments(moments_of(stamps, coordinates), coordinates, rank)

    @staticmethod
    def of_moments(moments: "Moments", coordinates: ImageCoordinates, rank: int) -> "GaussianImages":
        """The distribution with a mean and a covariance, the smallest variances of which are made one: see `of`.

        Args:
            moments: of the coordinates.
            coordinates: of the images.
            rank: how many axes.
        """
        variances, axes = np.linalg.eigh(moments.covariance)
        variances, axes = np.maximum(variances[::-1], 0.0), axes[:, ::-1]
        size = len(variances)
        rank = min(rank, size)
        rest = variances[rank:].mean() if rank < size else variances[-1]
        least = _LEAST * variances[0]
        reflectors = reflectors_onto(axes[:, :rank])
        return GaussianImages(
            mean=as_float(moments.mean),
            reflectors=as_float(reflectors),
            triangle=as_float(triangle_of(reflectors)),
            deviations=as_float(np.sqrt(np.maximum(variances[:rank], least))),
            rest=as_float(np.sqrt(max(rest, least))),
            shape=coordinates.shape,
            knee=coordinates.knee,
        )

    @staticmethod
    def from_arrays(arrays: Mapping[str, Any], header: Mapping[str, Any]) -> "GaussianImages":
        """What `arrays` gave.

        Args:
            arrays: by name.
            header: with `shape` and `knee`.
        """
        # whatever the reflectors were rounded to, the triangle makes them reflections
        reflectors = np.asarray(arrays["reflectors"], np.float64)
        return GaussianImages(
            **{name: as_float(arrays[name]) for name in ("mean", "deviations", "rest")},
            reflectors=as_float(reflectors),
            triangle=as_float(triangle_of(reflectors)),
            shape=(int(header["shape"][0]), int(header["shape"][1])),
            knee=float(header["knee"]),
        )

    def arrays(self) -> dict[str, HostArray]:
        """What a file needs, the largest in 16 bits."""
        found = {name: np.asarray(getattr(self, name), np.float32) for name in ("mean", "deviations", "rest")}
        return {**found, "reflectors": np.asarray(self.reflectors, np.float16)}

    @property
    def coordinates(self) -> ImageCoordinates:
        """Of the images."""
        return ImageCoordinates(self.shape, self.knee)

    def seen_through(self, level: Array | float) -> "GaussianImages":
        """The distribution of such images with noise of a deviation in their coordinates."""
        wider = tuple(jnp.sqrt(s**2 + level**2) for s in (self.deviations, self.rest))
        return eqx.tree_at(lambda b: (b.deviations, b.rest), self, wider)

    @property
    def scales(self) -> Array:
        """(n - 1,) deviation along each standard normal number."""
        rest = jnp.broadcast_to(self.rest, (self.mean.shape[-1] - self.deviations.shape[-1],))
        return jnp.concatenate([self.deviations, rest])

    def numbers(self, white: Array) -> Array:
        """(..., n - 1) coordinates of as many standard normal numbers."""
        along = white * self.scales
        return self.mean + along - ((along @ self.reflectors) @ self.triangle.T) @ self.reflectors.T

    def white(self, numbers: Array) -> Array:
        """(..., n - 1) standard normal numbers of coordinates."""
        away = numbers - self.mean
        return (away - ((away @ self.reflectors) @ self.triangle) @ self.reflectors.T) / self.scales

    @property
    def moments(self) -> "Moments":
        """Mean and covariance of the coordinates."""
        along = np.asarray(self.numbers(jnp.eye(self.mean.size)) - self.mean, np.float64)
        return Moments(np.asarray(self.mean, np.float64), along.T @ along)

    def log_density(self, images: Array) -> Array:
        """(...,) natural logarithm of the density of (..., height, width) images, a unit of their coordinates.

        These are the same for all distributions of one shape and knee, whose densities may be compared.
        """
        return standard_normal(self.normal(images)) - jnp.sum(jnp.log(self.scales))

    def image(self, normal: Array) -> Array:
        """See `LearntImages`."""
        found: Array = self.coordinates(self.numbers(normal))
        return found

    def normal(self, image: Array) -> Array:
        """See `LearntImages`."""
        return self.white(self.coordinates.inv(image))


class Moments(NamedTuple):
    """Mean and covariance of coordinates of images.

    Args:
        mean: (n - 1,).
        covariance: (n - 1, n - 1).
    """

    mean: HostArray
    covariance: HostArray


def moments_of(images: HostArray, coordinates: ImageCoordinates) -> Moments:
    """Of images in all eight orientations.

    Args:
        images: (image, side, side) of unit sum, positive everywhere.
        coordinates: of such images.
    """
    numbers = np.asarray(coordinates.inv(as_float(np.concatenate(orientations(images)))), np.float64)
    mean = numbers.mean(axis=0)
    away = numbers - mean
    return Moments(mean, away.T @ away / (len(numbers) - 1))


def reflectors_onto(axes: HostArray) -> HostArray:
    """(n, axis) Householder's vectors that turn the first unit vectors onto orthonormal axes, but for their signs."""
    (raw, _), _ = scipy.linalg.qr(axes, mode="raw")
    return np.tril(raw, -1) + np.eye(*axes.shape)


def triangle_of(reflectors: HostArray) -> HostArray:
    """(axis, axis) T so that I - V T V^T is orthogonal, whatever the (n, axis) vectors V were rounded to."""
    products = reflectors.T @ reflectors
    return np.linalg.inv(np.triu(products, 1) + np.diag(np.diag(products)) / 2)


_LEAST = 1e-10
"""Least variance, in units of the largest."""


@final
class GaussianImagePrior(StandardNormalPrior):
    """Images whose coordinates are normally distributed, see `GaussianImages`.

    Args:
        base: the distribution, which all sources that have the prior share.
    """

    constructor_arguments: ClassVar = ("base",)
    pytree_data_fields = ("base",)

    def __init__(self, base: GaussianImages, *, validate_args: bool | None = None) -> None:
        self.base = base
        super().__init__(event_shape=base.shape, validate_args=validate_args)

    @classmethod
    def load(cls, path: str | Path) -> "GaussianImagePrior":
        """What `scarlet-sed prior train` wrote, or what ships. Sources share it if they are given one object.

        Args:
            path: of a file, or a name among `shipped.SHIPPED`.

        Raises:
            FileFormatError: if it is missing or damaged.
        """
        return cls(GaussianImages.from_arrays(*read_prior(path)))

    @property
    def coordinates(self) -> NormalNumbers:
        """Standard normal numbers."""
        return NormalNumbers(self.base)


def unit_images(images: Any) -> HostArray:
    """(image, height, width) images that sum to one, with a floor of light below.

    Raises:
        DataError: if one is not finite, negative somewhere, or has no light.
        ShapeError: if they are no images.
    """
    stamps = np.asarray(images, np.float64)
    if stamps.ndim != 3 or stamps.size == 0:
        raise ShapeError(f"images of shape {stamps.shape}", fix="give an array (image, height, width)")
    totals = stamps.sum(axis=(1, 2))
    bad = np.flatnonzero(~(np.isfinite(totals) & (totals > 0) & (stamps.min(axis=(1, 2)) >= 0)))
    if bad.size:
        raise DataError(
            f"{bad.size} images, of which number {bad[0]} is the first, are negative, not finite or dark",
            fix="leave them out, or learn from noisy images by `ss.relearn`, which knows of noise",
        )
    pixels = stamps.shape[1] * stamps.shape[2]
    return (stamps / totals[:, None, None] + FLOOR / pixels) / (1 + FLOOR)


def orientations(images: HostArray) -> tuple[HostArray, ...]:
    """(image, side, side) images in the eight orientations of a square."""
    turned = [np.rot90(images, number, axes=(1, 2)) for number in range(4)]
    return (*turned, *(each[:, :, ::-1] for each in turned))
