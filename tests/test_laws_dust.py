"""Every dust curve of the registry obeys every law."""

from collections.abc import Mapping
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scarlet_sed.dust.base import Curve
from scarlet_sed.parameters import current_values, resolve, set_values
from tests import laws
from tests.registry import CURVES, Case, evaluate, wavelengths

every_curve = pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in CURVES.items()])

PUBLISHED_STEPS = {"ccm89": (1e-3, 0.12)}
"""Largest step of k, and of its slope with ln(wavelength), that a published law has where its pieces meet."""


def of_values(curve: Curve) -> laws.Function:
    """k as a function of all values and of the logarithm of wavelength."""

    def k(values: Mapping[str, jax.Array]) -> jax.Array:
        own = {path: value for path, value in values.items() if path != "log_wavelength"}
        return resolve(set_values(curve, own))(jnp.exp(values["log_wavelength"]))

    return k


def all_values(curve: Curve) -> dict[str, jax.Array]:
    return {**current_values(curve), "log_wavelength": jnp.log(wavelengths())}


def corners(case: Case) -> list[Curve]:
    """The curve as registered and at the edges of its parameters."""
    curve = case.make()
    return [resolve(set_values(curve, edge)) for edge in ({}, *case.edges)]


@every_curve
def test_gradient_matches_finite_differences(case: Case, x64: None, rng: np.random.Generator) -> None:
    curve = case.make()
    laws.check_gradient(of_values(curve), all_values(curve), rng, step=1e-5)


@every_curve
def test_finite_at_edges(case: Case) -> None:
    curve = case.make()
    joins = jnp.asarray([500.0, 912.0, 1e4 / 11, 1000.0, 1200.0, 1250.0, 1e4 / 5.9, 2700.0, 1e4 / 3.3, 5500.0, 3e5])
    joins = jnp.concatenate([joins, jnp.asarray([1e4 / 1.1, 6150.0, 6300.0, 6450.0, 2.2e4])])
    edges = ({}, *case.edges, *laws.support_extremes(curve))
    start = {**current_values(curve), "log_wavelength": jnp.log(joins)}
    laws.check_finite(of_values(curve), start, edges)


@every_curve
def test_jit_equals_eager_and_vmap_equals_loop(case: Case) -> None:
    curve = case.make()
    laws.check_jit_and_vmap(of_values(curve), all_values(curve))


@every_curve
def test_any_shape_in_same_shape_out(case: Case) -> None:
    curve = resolve(case.make())
    flat = curve(wavelengths())
    np.testing.assert_allclose(curve(wavelengths().reshape(2, 1, 7)), flat.reshape(2, 1, 7), rtol=1e-6)
    assert curve(jnp.asarray(5500.0)).shape == ()


@every_curve
def test_positive_and_falling_in_the_red(case: Case) -> None:
    wavelength = jnp.geomspace(500.0, 3e5, 5000)
    for curve in corners(case):
        k = np.asarray(curve(wavelength))
        assert k.min() > 0
        assert np.all(np.diff(k[wavelength > 2.2e4]) <= 0)


@every_curve
def test_one_in_the_v_band(case: Case) -> None:
    assert float(resolve(case.make())(jnp.asarray(5500.0))) == pytest.approx(1.0, abs=0.01)


@every_curve
def test_value_and_slope_are_continuous(case: Case, request: pytest.FixtureRequest, x64: None) -> None:
    """Neighbours on a grid of 1e-4 in ln(wavelength) differ in k as their slopes say, and in slope by little.

    The steepest of all, Salim's at a slope of -1.6, changes its slope by 0.011 of its value from point to point.
    """
    step = 1e-4
    u = jnp.arange(np.log(500.0), np.log(3e5), step)
    jump, kink = PUBLISHED_STEPS.get(request.node.callspec.id, (1e-6, 0.0))
    for curve in corners(case):
        both = jax.jit(lambda u, c=curve: jax.jvp(lambda u: c(jnp.exp(u)), (u,), (jnp.ones_like(u),)))(u)
        k, slope = map(np.asarray, both)
        scale = np.maximum(k[1:], 1.0)
        np.testing.assert_array_less(np.abs(np.diff(k) - 0.5 * step * (slope[1:] + slope[:-1])) / scale, jump)
        np.testing.assert_array_less(np.abs(np.diff(slope)) / scale, kink + 0.012)


@every_curve
def test_floating_type_is_the_callers(case: Case) -> None:
    single = evaluate(case.make())
    assert single.dtype == jnp.float32
    with jax.enable_x64(True):
        double = evaluate(case.make())
        assert double.dtype == jnp.float64
    np.testing.assert_allclose(single, double, rtol=5e-5)


@every_curve
def test_tree_operations(case: Case) -> None:
    laws.check_tree_operations(case.make(), evaluate)


def test_pickling_to_a_fresh_process(tmp_path: Path) -> None:
    laws.check_pickled({name: case.make() for name, case in CURVES.items()}, evaluate, tmp_path / "curves")


@every_curve
def test_save_and_load(case: Case, tmp_path: Path) -> None:
    laws.check_saved(case.make(), evaluate, tmp_path / "curve.zip")
