"""Free images."""

from typing import Any, final

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

from scarlet_sed.constraints import image_simplex, keeps_unit_sum
from scarlet_sed.errors import ParameterError
from scarlet_sed.morphology.base import Morphology, PixelGrid
from scarlet_sed.morphology.checks import check_positive, on_host
from scarlet_sed.morphology.lattice import blob_matrices, lattice_extent
from scarlet_sed.parameters import Parameter, parameter
from scarlet_sed.ranges import concrete
from scarlet_sed.typing import Array, ArrayLike


@final
class Pixels(Morphology):
    """A non-negative image on a square lattice that lies along the frame's rows and columns, centred on the source.

    Every pixel of it is a round Gaussian blob whose dispersion, model PSF included, is 0.7 spacings and never less
    than the model PSF. The blobs move with the source by any fraction of a pixel; the rendering stays positive,
    exact and free of aliasing, and its flux is that of the image: one.

    Args:
        image: (height, width), rows upwards as in the frame. A plain array is fixed and divided by its sum. A
            `Parameter` must have a prior on the support `constraints.image_simplex` (`from_image` makes one).
        pixel_scale: spacing of the lattice in arcsec. The frame's own pixel scale resolves everything that the
            frame can show; the scale of the native pixels has fewer parameters.

    Raises:
        ParameterError: if the image is not two-dimensional, has negative pixels or no flux, or its prior does not
            keep the sum at one.
        DomainError: if the pixel scale is not positive.
    """

    image: Array = parameter(doc="flux fraction per pixel")
    pixel_scale: Array = parameter(unit="arcsec", doc="spacing of the image's pixels")

    def __init__(self, image: Any, pixel_scale: Any) -> None:
        self.image = unit_image(image, "Pixels")
        self.pixel_scale = pixel_scale

    def __check_init__(self) -> None:
        check_image(self.image, "Pixels")
        check_positive(self.pixel_scale, "Pixels", "pixel_scale")

    @classmethod
    def from_image(
        cls,
        image: ArrayLike,
        pixel_scale: ArrayLike,
        prior: dist.Distribution | None = None,
        floor: float = 1e-2,
    ) -> "Pixels":
        """A free image that starts at a given one.

        Args:
            image: (height, width) start, any scale; negative and faint pixels are raised to the floor.
            pixel_scale: spacing in arcsec.
            prior: a distribution on the support `constraints.image_simplex`; None is flat.
            floor: least start value of a pixel in units of the mean pixel, so that none starts stuck at zero.

        Raises:
            ParameterError: if the image is not two-dimensional or has no positive flux.
        """
        return cls(Parameter(floored(image, floor, "Pixels"), prior or image_simplex), pixel_scale)

    def evaluate(self, grid: PixelGrid) -> Array:
        """(h, w) exact: the image between two narrow Gaussian matrices."""
        rows, columns = blob_matrices(grid, self.image.shape, self.pixel_scale)
        return rows @ self.image @ columns.T

    def peak(self, grid: PixelGrid) -> Array:
        """The largest of the values at the centres of the lattice's own pixels."""
        step = self.pixel_scale / grid.pixel_scale
        y, x = (step * jnp.asarray(np.arange(n) - (n - 1) / 2, step.dtype) for n in self.image.shape)
        return jnp.max(self.evaluate(PixelGrid(x, y, grid.matrix, grid.psf_sigma)))

    def extent(self, fraction: float) -> float:
        """Half the lattice's longer side and a blob's tail in arcsec: the box that has room for every pixel."""
        scale = float(on_host(self.pixel_scale, "Pixels"))
        return lattice_extent(on_host(self.image, "Pixels").shape, scale, fraction)


def unit_image(image: Any, owner: str) -> Any:
    """A fixed, concrete image divided by its sum; anything else as it is."""
    if isinstance(image, (Parameter, dist.Distribution)) or concrete(_as_array(image)) is None:
        return image
    values = np.asarray(image, dtype=np.float64)
    total = values.sum()
    if not (np.all(np.isfinite(values)) and total > 0):
        raise ParameterError(f"{owner}: the image sums to {total}", fix="give a finite image of positive sum")
    return values / total


def floored(image: ArrayLike, floor: float, owner: str) -> np.ndarray:
    """The image with its faint and negative pixels raised to `floor` times the mean, divided by its sum."""
    values = np.maximum(np.nan_to_num(np.asarray(image, dtype=np.float64)), 0.0)
    if values.ndim != 2 or values.sum() <= 0:
        raise ParameterError(
            f"{owner}: no start from an image of shape {values.shape} and positive flux {values.sum()}",
            fix="give a two-dimensional image with some positive pixels",
        )
    values = np.maximum(values / values.mean(), floor)
    return values / values.sum()


def check_image(leaf: object, owner: str) -> None:
    """Raise `ParameterError` unless an image is two-dimensional and non-negative and keeps its sum of one."""
    value = concrete(leaf)
    if value is not None:
        if value.ndim != 2 or value.size == 0:
            raise ParameterError(f"{owner}: the image has shape {value.shape}", fix="give an image (height, width)")
        if not np.all(value >= 0):
            raise ParameterError(
                f"{owner}: the image has {np.sum(~(value >= 0))} negative pixels",
                fix="clip it at zero, or start a free image with from_image",
            )
    if isinstance(leaf, Parameter) and not keeps_unit_sum(leaf.prior):
        raise ParameterError(
            f"{owner}: the prior of the image ({type(leaf.prior).__name__}) leaves its sum free, so that it is "
            "degenerate with the flux",
            fix="use a prior whose support is constraints.image_simplex, or from_image(...)",
        )


def _as_array(value: object) -> object:
    return np.asarray(value) if isinstance(value, (list, tuple, float, int)) else value
