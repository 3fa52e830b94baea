"""Stamps onto a canvas, and back: one trilinear form and its three partial maps, closed under transposition.

With amplitudes F[n, c], stamps S[n, i, j] and a canvas K[c, y, x], the form is

    T(F, S, K) = sum_{n, c, i, j} F[n, c] S[n, i, j] K[c, y_n + i, x_n + j]

`paste` is its gradient in K, `project` in F and `collapse` in S. Each is bilinear in the other two, so forward rules
are sums of two calls, and the transpose of each is another of the three: reverse mode is a gather, forward mode and
`vmap` work to any order. Boxes are never written through a batched offset.

On a CPU the work is a loop of in-place slice updates; elsewhere a parallel scatter-add or gather, chosen at lowering.
"""

from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from scarlet_sed.typing import Array

Wanted = Literal["canvas", "amplitude", "stamp"]

# the two operands of each partial map, in order
_OPERANDS: dict[Wanted, tuple[Wanted, Wanted]] = {
    "canvas": ("amplitude", "stamp"),
    "amplitude": ("stamp", "canvas"),
    "stamp": ("amplitude", "canvas"),
}

_UNROLLED = 48  # rows added in one fused kernel

trilinear_p = Primitive("stamp_trilinear")


def paste(amplitudes: Array, stamps: Array, offsets: Array, shape: tuple[int, int]) -> Array:
    """Add stamps to an empty canvas.

    Args:
        amplitudes: (n, band) factor of each stamp in each band.
        stamps: (n, h, w).
        offsets: (n, 2) integer (row, column) of each stamp's first pixel; every stamp must lie inside the canvas.
        shape: (height, width) of the canvas, static.

    Returns:
        (band, height, width) canvas.
    """
    return _bind("canvas", amplitudes[None], stamps[None], offsets, shape)[0]


def project(stamps: Array, canvas: Array, offsets: Array) -> Array:
    """(n, band) inner product of each (n, h, w) stamp with its box of each band of a (band, height, width) canvas."""
    return _bind("amplitude", stamps[None], canvas[None], offsets, stamps.shape[-2:])[0]


def collapse(amplitudes: Array, canvas: Array, offsets: Array, box: tuple[int, int]) -> Array:
    """(n, h, w) boxes of a (band, height, width) canvas, summed over bands with the (n, band) amplitudes."""
    return _bind("stamp", amplitudes[None], canvas[None], offsets, box)[0]


def _bind(wanted: Wanted, left: Array, right: Array, offsets: Array, shape: tuple[int, ...]) -> Array:
    return trilinear_p.bind(left, right, offsets, wanted=wanted, shape=tuple(shape))


def _output_shape(wanted: Wanted, left: Any, right: Any, shape: tuple[int, ...]) -> tuple[int, ...]:
    batch = max(left.shape[0], right.shape[0])
    if wanted == "canvas":  # left is the amplitude, right the stamp
        return (batch, left.shape[2], *shape)
    if wanted == "amplitude":  # left is the stamp, right the canvas
        return (batch, left.shape[1], right.shape[1])
    return (batch, left.shape[1], *shape)


@trilinear_p.def_abstract_eval
def _abstract(left: Any, right: Any, offsets: Any, *, wanted: Wanted, shape: tuple[int, ...]) -> Any:
    return jax.core.ShapedArray(_output_shape(wanted, left, right, shape), jnp.result_type(left.dtype, right.dtype))


def _row(array: Array, batch: Array, index: Array) -> Array:
    """Entry (batch, index) of an array whose batch axis may be 1 (shared)."""
    batch = jnp.minimum(batch, array.shape[0] - 1)
    return lax.dynamic_index_in_dim(lax.dynamic_index_in_dim(array, batch, 0, False), index, 0, False)


def _patch(canvas: Array, batch: Array, offset: Array, box: tuple[int, ...]) -> Array:
    batch = jnp.minimum(batch, canvas.shape[0] - 1)
    start = (batch, jnp.zeros_like(batch), offset[0], offset[1])
    return lax.dynamic_slice(canvas, start, (1, canvas.shape[1], *box))[0]


def _weighted_sum(weights: Array, planes: Array) -> Array:
    """Sum of (band, h, w) planes with (band,) weights, band by band.

    XLA's CPU reduction over a leading axis is an order of magnitude slower than this chain of fused multiply-adds.
    """
    total = weights[0] * planes[0]
    for band in range(1, planes.shape[0]):
        total = total + weights[band] * planes[band]
    return total


def _inner(planes: Array, stamp: Array) -> Array:
    """(band,) inner products of (band, h, w) planes with one stamp: row added to row, for the same reason."""
    height = stamp.shape[0]

    def add(first: Any, count: int, total: Array) -> Array:
        some = lax.dynamic_slice_in_dim(planes, first, count, axis=1)
        rows = lax.dynamic_slice_in_dim(stamp, first, count, axis=0)
        for row in range(count):
            total = total + some[:, row] * rows[row]
        return total

    total = jnp.zeros((planes.shape[0], stamp.shape[1]), planes.dtype)
    whole = height // _UNROLLED
    if whole > 1:
        total = lax.fori_loop(0, whole, lambda i, t: add(i * _UNROLLED, _UNROLLED, t), total)
    else:
        whole = 0
    for first in range(whole * _UNROLLED, height, _UNROLLED):
        total = add(first, min(_UNROLLED, height - first), total)
    return jnp.sum(total, axis=-1)


def _loop(left: Array, right: Array, offsets: Array, *, wanted: Wanted, shape: tuple[int, ...]) -> Array:
    """One stamp after another: in-place slices, the fast way on a CPU."""
    dtype = jnp.result_type(left.dtype, right.dtype)
    out = jnp.zeros(_output_shape(wanted, left, right, shape), dtype)
    count = offsets.shape[0]

    def step(i: Array, out: Array) -> Array:
        batch, n = (i // count).astype(jnp.int32), (i % count).astype(jnp.int32)
        offset = lax.dynamic_index_in_dim(offsets, n, 0, False)
        zero = jnp.zeros_like(n)
        if wanted == "canvas":
            patch = _row(left, batch, n)[:, None, None] * _row(right, batch, n)
            start = (batch, zero, offset[0], offset[1])
            here = lax.dynamic_slice(out, start, (1, *patch.shape))
            return lax.dynamic_update_slice(out, here + patch[None], start)
        if wanted == "amplitude":
            stamp = _row(left, batch, n)
            value = _inner(_patch(right, batch, offset, stamp.shape), stamp)
            return lax.dynamic_update_slice(out, value[None, None], (batch, n, zero))
        box = _weighted_sum(_row(left, batch, n), _patch(right, batch, offset, shape))
        return lax.dynamic_update_slice(out, box[None, None], (batch, n, zero, zero))

    return lax.fori_loop(0, out.shape[0] * count, step, out)


def _parallel(left: Array, right: Array, offsets: Array, *, wanted: Wanted, shape: tuple[int, ...]) -> Array:
    """All stamps at once by gather and scatter-add: the fast way on GPU and TPU."""
    box = shape if wanted == "stamp" else (right if wanted == "canvas" else left).shape[-2:]
    rows = offsets[:, 0, None, None] + jnp.arange(box[0])[None, :, None]
    columns = offsets[:, 1, None, None] + jnp.arange(box[1])[None, None, :]
    if wanted == "canvas":
        patches = jnp.einsum("bnc,bnij->bcnij", *_broadcast(left, right))
        empty = jnp.zeros(_output_shape(wanted, left, right, shape), patches.dtype)
        return empty.at[:, :, rows, columns].add(patches)
    patches = right[:, :, rows, columns]  # (batch, band, n, h, w)
    if wanted == "amplitude":
        return jnp.einsum("bnij,bcnij->bnc", *_broadcast(left, patches))
    return jnp.einsum("bnc,bcnij->bnij", *_broadcast(left, patches))


def _broadcast(left: Array, right: Array) -> tuple[Array, Array]:
    batch = max(left.shape[0], right.shape[0])
    return (
        jnp.broadcast_to(left, (batch, *left.shape[1:])),
        jnp.broadcast_to(right, (batch, *right.shape[1:])),
    )


def _jvp(primals: Any, tangents: Any, *, wanted: Wanted, shape: tuple[int, ...]) -> tuple[Any, Any]:
    left, right, offsets = primals
    left_dot, right_dot, _ = tangents
    out = _bind(wanted, left, right, offsets, shape)
    terms = []
    if not isinstance(left_dot, ad.Zero):
        terms.append(_bind(wanted, left_dot, right, offsets, shape))
    if not isinstance(right_dot, ad.Zero):
        terms.append(_bind(wanted, left, right_dot, offsets, shape))
    if not terms:
        return out, jnp.zeros_like(out)
    return out, terms[0] if len(terms) == 1 else terms[0] + terms[1]


def _transpose(cotangent: Any, left: Any, right: Any, offsets: Array, *, wanted: Wanted, shape: tuple) -> list[Any]:
    first, second = _OPERANDS[wanted]
    if ad.is_undefined_primal(left):
        unknown, aval, known, known_name = first, left.aval, right, second
    else:
        unknown, aval, known, known_name = second, right.aval, left, first
    if isinstance(cotangent, ad.Zero):
        result: Any = ad.Zero(aval)
    else:
        operands = {wanted: cotangent, known_name: known}
        order = _OPERANDS[unknown]
        result = _bind(unknown, operands[order[0]], operands[order[1]], offsets, aval.shape[-2:])
        if result.shape[0] != aval.shape[0]:  # the operand was shared by the whole batch
            result = jnp.sum(result, axis=0, keepdims=True)
    return [result, None, None] if unknown == first else [None, result, None]


def _batch(args: Any, axes: Any, *, wanted: Wanted, shape: tuple[int, ...]) -> tuple[Array, int]:
    left, right, offsets = args
    if axes[2] is not None:
        raise NotImplementedError("box offsets are fixed while a fit or a chain runs: they cannot be batched")
    size = next(a.shape[x] for a, x in zip(args, axes, strict=True) if x is not None)
    inner = max(
        a.shape[0] if x is None else jnp.moveaxis(a, x, 0).shape[1]
        for a, x in zip((left, right), axes[:2], strict=True)
    )
    left, right = (_merge(a, x, size, inner) for a, x in zip((left, right), axes[:2], strict=True))
    out = _bind(wanted, left, right, offsets, shape)
    return out.reshape(size, inner, *out.shape[1:]), 0


def _merge(array: Array, axis: Any, size: int, inner: int) -> Array:
    """Fold a new batch axis into the leading one; operands that are shared by everything keep a batch of 1."""
    if axis is None:
        if array.shape[0] == 1:
            return array
        array = jnp.broadcast_to(array[None], (size, *array.shape))
    else:
        array = jnp.moveaxis(array, axis, 0)
        array = jnp.broadcast_to(array, (size, inner, *array.shape[2:]))
    return array.reshape(-1, *array.shape[2:])


trilinear_p.def_impl(jax.jit(trilinear_p.bind, static_argnames=("wanted", "shape")))
mlir.register_lowering(trilinear_p, mlir.lower_fun(_parallel, multiple_results=False))
mlir.register_lowering(trilinear_p, mlir.lower_fun(_loop, multiple_results=False), platform="cpu")
ad.primitive_jvps[trilinear_p] = _jvp
ad.primitive_transposes[trilinear_p] = _transpose
batching.primitive_batchers[trilinear_p] = _batch
