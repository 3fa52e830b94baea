"""What every morphology and spectrum must obey, whatever it draws. The test files run these over the registry."""

import pickle
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from scarlet_sed.io.scene_file import load_scene, save_scene
from scarlet_sed.parameters import current_values, free_parameters, set_values
from scarlet_sed.transforms import bijection

ROOT = Path(__file__).resolve().parent.parent
Function = Callable[[Mapping[str, jax.Array]], jax.Array]


def check_gradient(function: Function, values: Mapping[str, jax.Array], rng: np.random.Generator, step: float) -> None:
    """Reverse and forward mode against five-point differences, in float64, along random directions of each value.

    Directions are as long as the value, and not shorter than 0.1: at a redshift of zero, steps of 1e-9 would differ by
    little more than rounding.
    """
    shape = jax.eval_shape(function, values).shape
    cotangent = jnp.asarray(rng.normal(size=shape))
    total = jax.jit(lambda v: jnp.sum(cotangent * function(v)))
    gradient = jax.jit(jax.grad(total))(values)
    forward = jax.jit(lambda v, t: jax.jvp(total, (v,), (t,))[1])
    for path, value in values.items():
        assert value.dtype == jnp.float64
        direction = jnp.asarray(rng.normal(size=value.shape)) * jnp.maximum(jnp.max(jnp.abs(value)), 0.1)
        tangent = {p: direction if p == path else jnp.zeros_like(v) for p, v in values.items()}

        def along(t: float, tangent: Mapping[str, jax.Array] = tangent) -> float:
            return float(total({p: v + t * tangent[p] for p, v in values.items()}))

        differences = (8 * (along(step) - along(-step)) - (along(2 * step) - along(-2 * step))) / (12 * step)
        exact = float(jnp.sum(gradient[path] * direction))
        scale = max(abs(differences), 1e-3 * abs(along(0.0)))
        assert abs(exact - differences) <= 1e-6 * scale, (path, exact, differences)
        np.testing.assert_allclose(float(forward(values, tangent)), exact, rtol=1e-9, atol=1e-9 * scale)


def check_finite(function: Function, start: Mapping[str, jax.Array], edges: Iterable[Mapping[str, Any]]) -> None:
    """At each edge, value, reverse and forward derivative hold neither NaN nor infinity."""

    @jax.jit
    def everything(values: Mapping[str, jax.Array]) -> tuple[jax.Array, Mapping[str, jax.Array], jax.Array]:
        out, pullback = jax.vjp(function, values)
        ones = {path: jnp.ones_like(value) for path, value in values.items()}
        return out, pullback(jnp.ones_like(out))[0], jax.jvp(function, (values,), (ones,))[1]

    for edge in edges:
        values = {path: jnp.asarray(edge.get(path, value), value.dtype) for path, value in start.items()}
        out, reverse, forward = everything(values)
        assert np.all(np.isfinite(out)), f"value at {edge}"
        bad = [path for path, part in reverse.items() if not np.all(np.isfinite(part))]
        assert not bad, f"gradient in {bad} at {edge}"
        assert np.all(np.isfinite(forward)), f"forward derivative at {edge}"


def support_extremes(thing: Any, size: float = 8.0) -> list[dict[str, jax.Array]]:
    """For each free parameter, values near both ends of its support, in unconstrained distance `size`."""
    found = []
    for path, parameter in free_parameters(thing).items():
        transform = bijection(parameter.prior, parameter.value.shape)
        start = transform.inv(parameter.value)
        signs = jnp.where(jnp.arange(start.size) % 2 == 0, 1.0, -1.0).reshape(start.shape)
        found += [{path: transform(sign * size * jnp.ones_like(start))} for sign in (1.0, -1.0)]
        found += [{path: transform(size * signs)}]
    return found


def check_jit_and_vmap(function: Function, values: Mapping[str, jax.Array]) -> None:
    """Compiled equals eager, and a batch equals a loop, to the rounding of float32."""
    eager, compiled = function(values), jax.jit(function)
    tolerance = 2e-5 * float(jnp.max(jnp.abs(eager)))
    np.testing.assert_allclose(compiled(values), eager, rtol=2e-5, atol=tolerance)
    batch = {path: jnp.stack([value, 0.9 * value, 0.8 * value]) for path, value in values.items()}
    loop = jnp.stack([compiled({path: part[i] for path, part in batch.items()}) for i in range(3)])
    np.testing.assert_allclose(jax.jit(jax.vmap(function))(batch), loop, rtol=2e-5, atol=tolerance)


def check_tree_operations(thing: Any, evaluate: Callable[[Any], jax.Array]) -> None:
    """Unflattening, mapping and setting the values it has leave it as it was."""
    again = jax.tree.unflatten(*reversed(jax.tree.flatten(thing)))
    np.testing.assert_array_equal(evaluate(again), evaluate(thing))
    np.testing.assert_array_equal(evaluate(jax.tree.map(lambda leaf: leaf, thing)), evaluate(thing))
    np.testing.assert_array_equal(evaluate(set_values(thing, current_values(thing))), evaluate(thing))


def check_saved(thing: Any, evaluate: Callable[[Any], jax.Array], path: Path) -> None:
    """Saved and loaded, it is the same, bit by bit."""
    save_scene(thing, path)
    again = load_scene(path)
    assert jax.tree.structure(again) == jax.tree.structure(thing)
    for old, new in zip(jax.tree.leaves(thing), jax.tree.leaves(again), strict=True):
        assert np.asarray(old).dtype == np.asarray(new).dtype
        np.testing.assert_array_equal(new, old)
    np.testing.assert_array_equal(evaluate(again), evaluate(thing))


_CHILD = """
import pickle, sys
import numpy as np
sys.path.insert(0, sys.argv[2])
from tests import registry
for name, (thing, expected) in pickle.load(open(sys.argv[1], "rb")).items():
    np.testing.assert_allclose(registry.evaluate(thing), expected, rtol=1e-6, err_msg=name)
print("all equal")
"""


def check_pickled(things: Mapping[str, Any], evaluate: Callable[[Any], jax.Array], path: Path) -> None:
    """Pickled and opened by a fresh process, they evaluate to the same."""
    path.write_bytes(pickle.dumps({name: (thing, np.asarray(evaluate(thing))) for name, thing in things.items()}))
    command = [sys.executable, "-c", _CHILD, str(path), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0 and "all equal" in done.stdout, done.stderr
