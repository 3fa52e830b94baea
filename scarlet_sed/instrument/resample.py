"""Resampling of band-limited images at any set of points, as a sparse linear operator whose transpose is known.

A value at a point is a weighted sum of a few pixels around it. The image is prefiltered in Fourier space (the
prefilter is folded into the convolution kernel), so that the sum is accurate: a non-uniform FFT of type 2 without
oversampling, with the Kaiser-Bessel window (Fessler & Sutton 2003, IEEE TSP 51, 560). Reverse mode of a gather would
be a scatter, which is slow on every device; here the transposed table is precomputed and reverse mode gathers too.
"""

import math
from typing import Any, NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from scipy.special import i0

from scarlet_sed.parameters import as_float, to_device
from scarlet_sed.typing import Array, HostArray

BAND_EDGE = 0.30
"""Frequency (cycles per pixel) up to which the window is accurate: the best for real NIRCam PSFs (measured)."""

TAPS = 6
"""Pixels along each axis that a value is made of. Error for a point source: 5e-5 of its peak; with 4, 1.6e-3."""


def window(offset: HostArray, taps: int = TAPS) -> HostArray:
    """Kaiser-Bessel window of unit integral, zero beyond `taps` / 2 pixels.

    Args:
        offset: distance from the centre in pixels.
        taps: its full width.
    """
    inside = np.maximum(1 - (2 * np.asarray(offset) / taps) ** 2, 0.0)
    shape = _shape(taps)
    return np.where(inside > 0, i0(shape * np.sqrt(inside)), 0.0) * (shape / math.sinh(shape) / taps)


def window_transfer(frequency: HostArray, taps: int = TAPS) -> HostArray:
    """Fourier transform of `window` at frequencies in cycles per pixel."""
    shape = _shape(taps)
    argument = np.sqrt((shape**2 - (np.pi * taps * np.asarray(frequency)) ** 2).astype(complex))
    small = np.abs(argument) < 1e-6
    transfer = np.where(small, 1.0, np.sinh(argument) / np.where(small, 1.0, argument)).real
    return np.asarray(transfer * (shape / math.sinh(shape)))


def _shape(taps: int) -> float:
    return math.pi * taps * (1 - BAND_EDGE)


@final
class Gather(eqx.Module):
    """A sparse matrix from the pixels of an image to points, stored twice: by point and by image pixel.

    Args:
        index: (taps^2, points) flat image pixels each point reads.
        weight: (taps^2, points) their weights.
        index_t: (most readers, image pixels) points that read each image pixel, padded with weight 0.
        weight_t: (most readers, image pixels).
    """

    index: Array
    weight: Array
    index_t: Array
    weight_t: Array

    def __call__(self, image: Array) -> Array:
        """Values (..., points) of images (..., image pixels). Linear, with forward and reverse rules."""
        return sparse_apply(image, self)


def gather_tables(points: HostArray, region: tuple[int, int], inside: HostArray, taps: int = TAPS) -> Gather:
    """Tables that read a prefiltered image at points.

    Args:
        points: (points, 2) pixel (x, y) of each point.
        region: (h, w) shape of the image.
        inside: (points,) where False, the value is zero; elsewhere all taps must lie in the region.
        taps: width of the window.
    """
    height, width = region
    points = np.where(inside[:, None], points, taps / 2)
    first = np.floor(points).astype(int) - (taps // 2 - 1)
    steps = np.arange(taps)
    x = first[:, 0, None] + steps
    y = first[:, 1, None] + steps
    weight_x = window(x - points[:, 0, None], taps)
    weight_y = window(y - points[:, 1, None], taps) * inside[:, None]
    index = (y[:, :, None] * width + x[:, None, :]).reshape(len(points), taps**2)
    weight = (weight_y[:, :, None] * weight_x[:, None, :]).reshape(len(points), taps**2)
    index_t, weight_t = _transposed(index, weight, height * width)
    return Gather(
        to_device(index.T, np.int32),
        as_float(weight.T),
        to_device(index_t, np.int32),
        as_float(weight_t),
    )


def _transposed(index: np.ndarray, weight: HostArray, size: int) -> tuple[np.ndarray, HostArray]:
    """Tables of the transposed matrix, (readers, size)."""
    points = np.broadcast_to(np.arange(len(index))[:, None], index.shape)[weight != 0]
    pixels, values = index[weight != 0], weight[weight != 0]
    order = np.argsort(pixels, kind="stable")
    pixels, points, values = pixels[order], points[order], values[order]
    counts = np.bincount(pixels, minlength=size)
    slot = np.arange(len(pixels)) - (np.cumsum(counts) - counts)[pixels]
    readers = _bucket(int(counts.max(initial=1)))
    index_t = np.zeros((readers, size), dtype=int)
    weight_t = np.zeros((readers, size))
    index_t[slot, pixels] = points
    weight_t[slot, pixels] = values
    return index_t, weight_t


def _bucket(count: int) -> int:
    """A few sizes only, so that fields with alike geometry have tables of equal shapes."""
    step = 4 if count > 4 else 1
    return -(-count // step) * step


def sparse_apply(image: Array, table: Gather) -> Array:
    """(..., points) from (..., image pixels); linear in the image, constant in the table."""
    tables = [lax.stop_gradient(leaf) for leaf in (table.index, table.weight, table.index_t, table.weight_t)]
    out: Array = _sparse_p.bind(image, *tables)
    return out


_sparse_p: Any = Primitive("sparse_apply")


def _apply(image: Array, index: Array, weight: Array, index_t: Array, weight_t: Array) -> Array:
    del index_t, weight_t
    total = jnp.zeros((*image.shape[:-1], index.shape[1]), jnp.result_type(image, weight))
    for k in range(index.shape[0]):
        total = total + weight[k] * image.at[..., index[k]].get(mode="promise_in_bounds")
    return total.astype(image.dtype)


def _abstract(image: Any, index: Any, weight: Any, index_t: Any, weight_t: Any) -> Any:
    del weight, index_t, weight_t
    return image.update(shape=(*image.shape[:-1], index.shape[1]))


def _jvp(primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[Any, Any]:
    return _sparse_p.bind(*primals), _sparse_p.bind(tangents[0], *primals[1:])  # the tables carry no tangents


def _transpose(cotangent: Any, image: Any, index: Any, weight: Any, index_t: Any, weight_t: Any) -> tuple[Any, ...]:
    if type(cotangent) is ad.Zero:
        return (ad.Zero(image.aval), None, None, None, None)
    return (_sparse_p.bind(cotangent, index_t, weight_t, index, weight), None, None, None, None)


def _batch(arguments: tuple[Any, ...], axes: tuple[Any, ...]) -> tuple[Any, int]:
    image, *tables = arguments
    if all(axis is None for axis in axes[1:]):
        return _sparse_p.bind(jnp.moveaxis(image, axes[0], 0), *tables), 0
    return jax.vmap(_apply, in_axes=axes)(*arguments), 0


_sparse_p.def_impl(jax.jit(_apply))
_sparse_p.def_abstract_eval(_abstract)
ad.primitive_jvps[_sparse_p] = _jvp
ad.primitive_transposes[_sparse_p] = _transpose
batching.primitive_batchers[_sparse_p] = _batch
mlir.register_lowering(_sparse_p, mlir.lower_fun(_apply, multiple_results=False))


class Strided(NamedTuple):
    """Points on a regular subset of the canvas's rows and columns.

    Args:
        stride: (y, x) image pixels between points.
        flip: (y, x) whether the points run against the canvas's axes.
        first: (y, x) canvas coordinate of the point of lowest canvas coordinate, any real number.
    """

    stride: tuple[int, int]
    flip: tuple[bool, bool]
    first: tuple[float, float]


def strided(pixel_map: HostArray, tolerance: float = 1e-3) -> Strided | None:
    """Recognise a map whose points lie on every k-th row and column of the canvas, up to a shift and flips.

    Args:
        pixel_map: (H, W, 2) canvas (x, y) of each point.
        tolerance: largest deviation allowed, in image pixels.

    Returns:
        None if they do not.
    """
    height, width = pixel_map.shape[:2]
    first, steps = [], []
    for axis, n, corner in ((1, height, pixel_map[-1, 0]), (0, width, pixel_map[0, -1])):
        steps.append((corner[axis] - pixel_map[0, 0, axis]) / (n - 1) if n > 1 else 1.0)
        first.append(pixel_map[..., axis].mean() - np.round(steps[-1]) * (n - 1) / 2)
    whole = [round(step) for step in steps]
    if 0 in whole:
        return None
    y = first[0] + whole[0] * np.arange(height)[:, None]
    x = first[1] + whole[1] * np.arange(width)
    if np.max(np.abs(pixel_map[..., 1] - y)) > tolerance or np.max(np.abs(pixel_map[..., 0] - x)) > tolerance:
        return None
    return Strided(
        stride=(abs(whole[0]), abs(whole[1])),
        flip=(whole[0] < 0, whole[1] < 0),
        first=(float(y.min()), float(x.min())),
    )
