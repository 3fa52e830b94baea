"""The stamp operator against plain slices, through every transformation that fits and samplers use."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scarlet_sed.infer.paste import _parallel, paste, project

COUNT, BANDS, BOX, CANVAS = 5, 3, (4, 6), (20, 22)
OFFSETS = np.array([[0, 0], [3, 4], [16, 16], [5, 5], [4, 3]], np.int32)  # overlapping, and at both corners


def reference(amplitudes: jax.Array, stamps: jax.Array) -> jax.Array:
    canvas = jnp.zeros((BANDS, *CANVAS))
    for n, (y, x) in enumerate(OFFSETS.tolist()):
        patch = amplitudes[n][:, None, None] * stamps[n]
        canvas = canvas.at[:, y : y + BOX[0], x : x + BOX[1]].add(patch)
    return canvas


def operator(amplitudes: jax.Array, stamps: jax.Array) -> jax.Array:
    return paste(amplitudes, stamps, jnp.asarray(OFFSETS), CANVAS)


@pytest.fixture
def inputs() -> tuple[jax.Array, jax.Array]:
    first, second = jax.random.split(jax.random.key(0))
    return jax.random.normal(first, (COUNT, BANDS)), jax.random.normal(second, (COUNT, *BOX))


def _loss(paster: Callable) -> Callable:
    weights = jax.random.normal(jax.random.key(1), (BANDS, *CANVAS))
    return lambda amplitudes, stamps: jnp.sum(jnp.sin(paster(amplitudes, stamps)) * weights)


TRANSFORMATIONS = {
    "value": lambda f, a, s: f(a, s),
    "jit": lambda f, a, s: jax.jit(f)(a, s),
    "grad": lambda f, a, s: jax.grad(_loss(f), argnums=(0, 1))(a, s),
    "jacfwd": lambda f, a, s: jax.jacfwd(f, argnums=(0, 1))(a, s),
    "jacrev": lambda f, a, s: jax.jacrev(f, argnums=(0, 1))(a, s),
    "hessian": lambda f, a, s: jax.hessian(_loss(f), argnums=(0, 1))(a, s),
    "vmap amplitudes": lambda f, a, s: jax.vmap(jax.grad(_loss(f), argnums=(0, 1)), in_axes=(0, None))(
        jnp.stack([a, 2 * a]), s
    ),
    "vmap stamps": lambda f, a, s: jax.vmap(jax.grad(_loss(f), argnums=(0, 1)), in_axes=(None, 1))(
        a, jnp.stack([s, 2 * s], axis=1)
    ),
    "vmap of vmap": lambda f, a, s: jax.vmap(jax.vmap(f, in_axes=(None, 0)), in_axes=(0, None))(
        jnp.stack([a, 2 * a]), jnp.stack([s, 3 * s, s + 1])
    ),
    "vmap of hessian": lambda f, a, s: jax.vmap(jax.hessian(_loss(f)), in_axes=(None, 0))(a, jnp.stack([s, 2 * s])),
}


@pytest.mark.parametrize("name", TRANSFORMATIONS)
def test_paste_equals_slices(name: str, inputs: tuple[jax.Array, jax.Array]) -> None:
    transform = TRANSFORMATIONS[name]
    got, want = transform(operator, *inputs), transform(reference, *inputs)
    jax.tree.map(lambda g, w: np.testing.assert_allclose(g, w, rtol=2e-5, atol=2e-5), got, want)


def test_project_is_the_transpose_of_paste(inputs: tuple[jax.Array, jax.Array]) -> None:
    amplitudes, stamps = inputs
    canvas = jax.random.normal(jax.random.key(2), (BANDS, *CANVAS))
    left = jnp.sum(operator(amplitudes, stamps) * canvas)
    right = jnp.sum(amplitudes * project(stamps, canvas, jnp.asarray(OFFSETS)))
    np.testing.assert_allclose(left, right, rtol=1e-4)


@pytest.mark.parametrize("wanted", ["canvas", "amplitude", "stamp"])
def test_parallel_and_loop_agree(wanted: str) -> None:
    from scarlet_sed.infer.paste import _loop

    keys = jax.random.split(jax.random.key(3), 3)
    operands = {
        "amplitude": jax.random.normal(keys[0], (2, COUNT, BANDS)),
        "stamp": jax.random.normal(keys[1], (1, COUNT, *BOX)),
        "canvas": jax.random.normal(keys[2], (2, BANDS, *CANVAS)),
    }
    names = {
        "canvas": ("amplitude", "stamp"),
        "amplitude": ("stamp", "canvas"),
        "stamp": ("amplitude", "canvas"),
    }
    left, right = (operands[name] for name in names[wanted])
    shape = {"canvas": CANVAS, "amplitude": (), "stamp": BOX}[wanted]
    options = {"wanted": wanted, "shape": shape}
    got = _parallel(left, right, jnp.asarray(OFFSETS), **options)
    np.testing.assert_allclose(got, _loop(left, right, jnp.asarray(OFFSETS), **options), rtol=2e-5, atol=2e-5)


def test_batched_offsets_are_refused(inputs: tuple[jax.Array, jax.Array]) -> None:
    with pytest.raises(NotImplementedError, match="offsets are fixed"):
        jax.vmap(lambda o: paste(*inputs, o, CANVAS))(jnp.stack([OFFSETS, OFFSETS]))
