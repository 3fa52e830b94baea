"""Intergalactic absorption: against a plain evaluation of the paper's formulas, observations, smoothness, bad input."""

import itertools
import math
import pickle
import time

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scarlet_sed.errors import DomainError, ParameterError, ShapeError
from scarlet_sed.sps import igm
from scarlet_sed.sps.igm import InterGalactic
from scarlet_sed.sps.inoue2014 import TABLE_2

START, CELLS = 6816, 3000
LINES = (1215.67, 6564.6, 1025.72, 1640.4, 972.5367, 1215.7, 1000.0, 1550.0)


@pytest.fixture(scope="module")
def gas() -> InterGalactic:
    return InterGalactic.on(START, CELLS, LINES)


def transmission(rest: float, redshift: float) -> float:
    """Inoue et al. 2014, equations 20 to 22, at one wavelength."""
    tau = 0.0
    for line, forest1, forest2, forest3, damped1, damped2 in TABLE_2:
        ratio = rest * (1 + redshift) / line
        if not 1 < ratio < 1 + redshift:
            continue
        if ratio < 2.2:
            tau += forest1 * ratio**1.2
        elif ratio < 5.7:
            tau += forest2 * ratio**3.7
        else:
            tau += forest3 * ratio**5.5
        tau += damped1 * ratio**2 if ratio < 3 else damped2 * ratio**3
    return math.exp(-tau)


def cell_mean(cell: int, redshift: float) -> float:
    """Mean transmission of a cell, cut where lines lie in it."""
    low, high = ((START + cell + side) * 0.001 for side in (-0.5, 0.5))
    inside = [x for x in np.log(TABLE_2[:, 0]) if low < x < high]
    edges = sorted([*np.linspace(low, high, 21), *inside])
    return sum((b - a) * transmission(math.exp(0.5 * (a + b)), redshift) for a, b in itertools.pairwise(edges)) / (
        high - low
    )


@pytest.mark.parametrize("redshift", [0.4, 1.0, 1.21, 2.0, 3.3, 4.69, 4.7, 4.75, 5.5, 6.2, 8.0, 15.0])
def test_equals_the_formulas(gas, redshift):
    cells = [0, 1, 2, 3, 4, 5, 8, 20, 60, 114, 115, 116, 117, 118, 119, 170, 230, 285, 286, 287]
    assert gas.cells_below == 288
    expected = [cell_mean(cell, redshift) for cell in cells]
    np.testing.assert_allclose(gas.transmission(redshift)[np.array(cells)], expected, atol=2e-4)


def test_equals_the_formulas_at_the_kinks(gas):
    # where a cell is observed at 5.7 times 1216 A, the paper's power law changes
    for cell in (40, 100, 150, 200, 250, 280):
        at = 5.7 * 1215.67 / math.exp((START + cell) * 0.001)
        for redshift in at * np.exp(np.linspace(-0.002, 0.002, 9)) - 1:
            assert float(gas.transmission(redshift)[cell]) == pytest.approx(cell_mean(cell, redshift), abs=2e-4)


def test_near_redshift_zero_the_beginning_of_the_gas_is_spread(gas):
    for redshift in (0.0, 0.05, 0.1, 0.2, 0.3):
        seen = np.asarray(gas.transmission(redshift))
        expected = np.array([cell_mean(cell, redshift) for cell in range(0, gas.cells_below, 3)])
        assert np.abs(seen[::3] - expected).max() < 0.01
        near = np.abs(np.exp((START + np.arange(0, gas.cells_below, 3)) * 0.001) * (1 + redshift) / 1215.67 - 1) < 0.004
        beyond_lyman_beta = np.exp((START + np.arange(0, gas.cells_below, 3)) * 0.001) > 1030
        chosen = beyond_lyman_beta & ~near
        np.testing.assert_allclose(seen[::3][chosen], expected[chosen], atol=2e-5)


@pytest.mark.parametrize("redshift", [0.5, 2.4, 4.9, 7.0])
def test_lines_are_absorbed_by_their_own_transition(gas, redshift):
    seen = np.asarray(gas.line_transmission(redshift))
    expected = [transmission(at * (1 - 1e-5), redshift) for at in LINES]
    np.testing.assert_allclose(seen, expected, atol=2e-4)
    assert np.all(seen[[1, 3, 5, 7]] == 1.0)
    assert seen[0] < transmission(1215.68, redshift)


# F(z) = exp(-tau): Becker et al. 2013, MNRAS 430, 2067, equation 5, for z = 2.5 to 4.5;
# Fan et al. 2006, AJ 132, 117, section 3: tau = 0.85 ((1 + z) / 5)^4.3 up to z = 5.5
@pytest.mark.parametrize(
    ("absorber", "observed", "tolerance"),
    [
        (2.5, 0.751 * (3.5 / 4.5) ** 2.9 - 0.132, 0.03),
        (3.0, 0.751 * (4.0 / 4.5) ** 2.9 - 0.132, 0.02),
        (4.0, 0.751 * (5.0 / 4.5) ** 2.9 - 0.132, 0.02),
        (5.0, 0.85 * (6.0 / 5.0) ** 4.3, 0.03),
    ],
)
def test_against_observed_mean_fluxes_of_the_forest(gas, absorber, observed, tolerance):
    cell = 265  # 1189 A, redward of Lyman beta and blueward of the quasar's own surroundings
    redshift = (1 + absorber) * 1215.67 / math.exp((START + cell) * 0.001) - 1
    assert float(gas.transmission(redshift)[cell]) == pytest.approx(math.exp(-observed), abs=tolerance)


def test_mean_between_lyman_beta_and_alpha(gas):
    # direct averages of the formulas, 1030 to 1210 A: the forest closes between redshift 3 and 6
    at = np.exp((START + np.arange(gas.cells_below)) * 0.001)
    chosen = (at > 1030) & (at < 1210)
    for redshift, mean in ((3.0, 0.744), (5.0, 0.268), (6.0, 0.066)):
        direct = np.mean([transmission(x, redshift) for x in np.geomspace(*at[chosen][[0, -1]], 2000)])
        assert float(gas.transmission(redshift)[chosen].mean()) == pytest.approx(direct, abs=1e-3)
        assert direct == pytest.approx(mean, abs=2e-3)


def test_a_fraction_that_falls_with_redshift(gas):
    seen = np.asarray(jax.vmap(gas.transmission)(jnp.linspace(0.0, 20.0, 801)))
    assert seen.shape == (801, 288)
    assert seen.min() >= 0.0 and seen.max() <= 1.0
    assert np.diff(seen[:, 5:-1], axis=0).max() < 1e-3
    assert seen[0, :200].min() > 0.999


def test_the_cell_of_lyman_alpha_is_cut_at_the_line(gas):
    open_part = ((START + 287.5) * 0.001 - math.log(1215.67)) / 0.001
    assert 0.1 < open_part < 0.9
    assert float(gas.transmission(12.0)[287]) == pytest.approx(open_part, abs=1e-3)


def test_derivatives_in_redshift(gas, x64):
    fine = InterGalactic.on(START, CELLS, LINES)
    every = jnp.arange(0, 288, 7)

    def seen(redshift):
        return jnp.concatenate([fine.transmission(redshift)[every], fine.line_transmission(redshift)])

    for redshift in (0.2, 2.0, 4.7, 6.0, 19.9):
        step = 1e-6
        differences = (seen(redshift + step) - seen(redshift - step)) / (2 * step)
        np.testing.assert_allclose(jax.jacfwd(seen)(redshift), differences, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(jax.jacrev(seen)(redshift), differences, rtol=1e-5, atol=1e-6)


def test_two_continuous_derivatives(gas, x64):
    fine = InterGalactic.on(START, CELLS, LINES)

    def mean(redshift):
        return jnp.mean(fine.transmission(redshift))

    redshift = jnp.linspace(2.0, 2.02, 2001)
    second = np.asarray(jax.vmap(jax.grad(jax.grad(mean)))(redshift))
    slope = np.asarray(jax.vmap(jax.grad(mean))(redshift))
    # from point to point a continuous function changes by its slope; a jump would not shrink with the step
    assert np.abs(np.diff(second)).max() < 0.02 * max(np.ptp(second), 1e-3)
    assert np.all(slope < 0)


def test_jit_vmap_pickle_and_type(gas):
    eager = gas.transmission(3.7)
    assert eager.dtype == gas.line_transmission(3.7).dtype == jnp.float32
    np.testing.assert_allclose(eqx.filter_jit(gas.transmission)(3.7), eager, rtol=1e-6)
    np.testing.assert_allclose(jax.vmap(gas.transmission)(jnp.asarray([1.0, 3.7]))[1], eager, rtol=1e-5)
    again = pickle.loads(pickle.dumps(gas))
    np.testing.assert_array_equal(again.transmission(3.7), eager)
    np.testing.assert_array_equal(again.line_transmission(3.7), gas.line_transmission(3.7))


def test_float32_agrees_with_float64(gas):
    single = np.asarray(jax.vmap(gas.transmission)(jnp.linspace(0.1, 19.0, 50)))
    with jax.enable_x64(True):
        double = jax.vmap(InterGalactic.on(START, CELLS, LINES).transmission)(jnp.linspace(0.1, 19.0, 50))
    np.testing.assert_allclose(single, double, atol=2e-5)


@pytest.mark.parametrize(("start", "cells", "below"), [(7200, 100, 0), (6816, 50, 50), (7103, 10, 1), (7104, 10, 0)])
def test_spectra_that_begin_or_end_elsewhere(gas, start, cells, below):
    other = InterGalactic.on(start, cells, ())
    assert other.transmission(3.0).shape == (other.cells_below,) == (below,)
    assert other.line_transmission(3.0).shape == (0,)
    shared = slice(start - START, start - START + below)
    np.testing.assert_allclose(other.transmission(3.0), gas.transmission(3.0)[shared], atol=1e-6)


def test_other_cells():
    coarse = InterGalactic.on(681, 50, (1000.0,), step=0.01)
    low, high = 0.01 * 700 - 0.005, 0.01 * 700 + 0.005
    direct = np.mean([transmission(math.exp(x), 3.0) for x in np.linspace(low, high, 401)])
    assert float(coarse.transmission(3.0)[19]) == pytest.approx(direct, abs=2e-4)


def test_made_quickly_and_once():
    igm._table.cache_clear()
    begin = time.process_time()
    InterGalactic.on(START, CELLS, LINES)
    assert time.process_time() - begin < 2.0  # about 0.2 s on an idle core
    InterGalactic.on(START, CELLS, LINES)
    assert igm._table.cache_info().hits == 1


def test_outside_of_the_table(gas):
    for bad in (-0.01, 20.1, float("nan")):
        with pytest.raises(DomainError, match="redshifts of 0 to 20"):
            gas.transmission(bad)
        with pytest.raises(DomainError, match="redshifts of 0 to 20"):
            gas.line_transmission(bad)
    inside = eqx.filter_jit(gas.transmission)
    assert np.all(np.isfinite(inside(jnp.asarray(-0.5)))) and np.all(np.isfinite(inside(jnp.asarray(1e3))))
    assert np.all(np.isfinite(jax.jit(jax.grad(lambda z: gas.transmission(z).sum()))(25.0)))
    with pytest.raises(ShapeError, match="vmap"):
        gas.transmission(jnp.ones(3))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((START, CELLS, (-1.0,)), "lines"),
        ((START, CELLS, (np.nan,)), "lines"),
        ((START, CELLS, np.ones((2, 2))), "lines"),
        ((START, -1, ()), "cells"),
        ((START, CELLS, (), 0.0), "cells"),
    ],
)
def test_what_makes_no_sense(arguments, message):
    with pytest.raises(ParameterError, match=message):
        InterGalactic.on(*arguments)
