"""Images made of isotropic wavelets."""

from functools import cache
from typing import Any, NamedTuple, final

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

from scarlet_sed.constraints import image_simplex
from scarlet_sed.errors import ParameterError
from scarlet_sed.morphology.base import Morphology, PixelGrid
from scarlet_sed.morphology.checks import check_positive, on_host
from scarlet_sed.morphology.lattice import blob_matrices, centred, lattice_extent
from scarlet_sed.morphology.pixels import check_image, floored, unit_image
from scarlet_sed.parameters import Parameter, parameter
from scarlet_sed.ranges import concrete
from scarlet_sed.typing import Array, ArrayLike, HostArray


@final
class Starlet(Morphology):
    """An image in a starlet frame: a positive coarse image plus details that a sparsity prior can switch off.

    With phi_j the B3 spline after j steps a trous (Starck, Murtagh & Fadili 2010, Sparse Image and Signal
    Processing, ch. 3), the image is the sum of coarse pixels times phi_J, 2^J spacings apart, and of detail
    coefficients times atoms phi_j - phi_(j+1), j < J, at every lattice point. Atoms sum to zero and have unit L2
    norm, so the flux is that of the coarse image, one, whatever the details are; a common prior scale suits all
    their scales. Rendered as `Pixels` is: blobs of 0.7 spacings, moved by any fraction of a pixel. Strong negative
    details can make it negative somewhere; the sparsity prior is what keeps them small.

    Args:
        coarse: (rows, columns) non-negative. A plain array is fixed and divided by its sum; a `Parameter` must have
            a prior on `constraints.image_simplex`.
        details: (scale, height, width) coefficients from fine to coarse, in fractions of the flux.
        pixel_scale: spacing of the fine lattice in arcsec.

    Raises:
        ParameterError: if the coarse image is not a non-negative image, its prior leaves the sum free, or the
            details are not three-dimensional.
        DomainError: if the pixel scale is not positive.
    """

    coarse: Array = parameter(doc="flux fraction per coarse pixel")
    details: Array = parameter(doc="wavelet coefficients")
    pixel_scale: Array = parameter(unit="arcsec", doc="spacing of the fine lattice")

    def __init__(self, coarse: Any, details: Any, pixel_scale: Any) -> None:
        self.coarse = unit_image(coarse, "Starlet")
        self.details = details
        self.pixel_scale = pixel_scale

    def __check_init__(self) -> None:
        check_image(self.coarse, "Starlet")
        check_positive(self.pixel_scale, "Starlet", "pixel_scale")
        details = concrete(self.details)
        if details is not None and (details.ndim != 3 or details.shape[0] < 1):
            raise ParameterError(
                f"Starlet: the details have shape {details.shape}", fix="give coefficients (scale, height, width)"
            )

    @classmethod
    def from_image(cls, image: ArrayLike, pixel_scale: ArrayLike, scales: int = 3, sparsity: float = 1e-3) -> "Starlet":
        """A free starlet image that starts at the coarse version of an image, without details.

        Args:
            image: (height, width) start, any scale.
            pixel_scale: spacing in arcsec.
            scales: number of detail scales.
            sparsity: scale of the details' Laplace prior, in fractions of the flux: the smaller, the sparser.

        Raises:
            ParameterError: if the image is not two-dimensional or has no positive flux, or scales < 1.
        """
        if scales < 1:
            raise ParameterError(f"Starlet: {scales} scales", fix="ask for at least one")
        fine = floored(image, 0.0, "Starlet")
        rows, columns = (_share(count, scales) for count in fine.shape)
        coarse = Parameter(floored(rows @ fine @ columns.T, 1e-2, "Starlet"), image_simplex)
        details = Parameter(np.zeros((scales, *fine.shape)), dist.Laplace(0.0, sparsity))
        return cls(coarse, details, pixel_scale)

    def evaluate(self, grid: PixelGrid) -> Array:
        """(h, w) exact: products with narrow matrices."""
        scales, height, width = self.details.shape
        padded = (height + 2 * _reach(scales), width + 2 * _reach(scales))
        rows, columns = blob_matrices(grid, padded, self.pixel_scale)
        scaled = self.details / _atom_norms(scales)[:, None, None].astype(rows.dtype)
        # details of scale j enter with phi_j and leave with phi_(j+1)
        zero = jnp.zeros_like(scaled[:1])
        net = jnp.concatenate([scaled, zero]) - jnp.concatenate([zero, scaled])
        rows = jnp.einsum("yp,jph->jyh", rows, _splines(height, scales).astype(rows.dtype))
        columns = jnp.einsum("xp,jpw->jxw", columns, _splines(width, scales).astype(columns.dtype))
        image = jnp.sum(rows @ net @ jnp.swapaxes(columns, 1, 2), axis=0)

        spread = [_upsampling(count, scales) for count in self.coarse.shape]
        lattice = (spread[0].shape[0], spread[1].shape[0])
        rows, columns = blob_matrices(grid, lattice, self.pixel_scale)
        rows, columns = rows @ spread[0].astype(rows.dtype), columns @ spread[1].astype(rows.dtype)
        return image + rows @ self.coarse @ columns.T

    def extent(self, fraction: float) -> float:
        """Half-width in arcsec of the box that has room for every coarse pixel and every detail."""
        scale = float(on_host(self.pixel_scale, "Starlet"))
        details = on_host(self.details, "Starlet").shape
        coarse = lattice_extent(on_host(self.coarse, "Starlet").shape, scale * 2 ** details[0], fraction)
        return max(coarse, lattice_extent(details[1:], scale, fraction))


class _Kernel(NamedTuple):
    values: HostArray
    """(2 reach + 1,) B3 spline after some steps a trous; sums to one."""
    reach: int


def _reach(steps: int) -> int:
    return 2 * (2**steps - 1)


@cache
def _kernel(steps: int) -> _Kernel:
    values = np.ones(1)
    for step in range(steps):
        holed = np.zeros(4 * 2**step + 1)
        holed[:: 2**step] = np.array([1, 4, 6, 4, 1]) / 16
        values = np.convolve(values, holed)
    return _Kernel(values, _reach(steps))


@cache
def _splines(count: int, scales: int) -> HostArray:
    """(scale + 1, count + 2 reach, count) phi_j around each of `count` lattice points, on the padded lattice."""
    reach = _reach(scales)
    matrices = np.zeros((scales + 1, count + 2 * reach, count))
    for steps in range(scales + 1):
        kernel = _kernel(steps)
        for column in range(count):
            start = column + reach - kernel.reach
            matrices[steps, start : start + len(kernel.values), column] = kernel.values
    return matrices


@cache
def _upsampling(count: int, scales: int) -> HostArray:
    """(fine, count) phi_J around each of `count` points 2^J apart, on the fine lattice with the same centre."""
    kernel, step = _kernel(scales), 2**scales
    matrix = np.zeros(((count - 1) * step + len(kernel.values), count))
    for column in range(count):
        matrix[column * step : column * step + len(kernel.values), column] = kernel.values
    return matrix


@cache
def _atom_norms(scales: int) -> HostArray:
    """(scale,) L2 norm of phi_j - phi_(j+1) in two dimensions."""
    norms = []
    for steps in range(scales):
        narrow, wide = _kernel(steps), _kernel(steps + 1)
        padded = np.pad(narrow.values, wide.reach - narrow.reach)
        norms.append(np.linalg.norm(np.outer(padded, padded) - np.outer(wide.values, wide.values)))
    return np.asarray(norms)


def _share(count: int, scales: int) -> HostArray:
    """(coarse, count) linear shares of each fine pixel in the two nearest of the coarse points that cover them."""
    step = 2**scales
    coarse = centred(int(np.ceil((count - 1) / step)) + 1) * step
    return np.maximum(0.0, 1 - np.abs(coarse[:, None] - centred(count)) / step)
