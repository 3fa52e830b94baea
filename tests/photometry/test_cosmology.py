"""Cosmology: against astropy, gradients, small redshifts in float32, bad input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from astropy.cosmology import FlatLambdaCDM, FlatwCDM

from scarlet_sed.errors import DomainError, ParameterError
from scarlet_sed.photometry.cosmology import Cosmology

REDSHIFTS = np.concatenate([np.geomspace(1e-4, 0.1, 9), np.linspace(0.2, 20.0, 100)])
CASES = [
    (Cosmology(), FlatLambdaCDM(70.0, 0.3, Tcmb0=0)),
    (Cosmology(H0=67.4, Om0=0.315), FlatLambdaCDM(67.4, 0.315, Tcmb0=0)),
    (Cosmology(50, 1, -1), FlatLambdaCDM(50.0, 1.0, Tcmb0=0)),
    (Cosmology(73.0, 0.02), FlatLambdaCDM(73.0, 0.02, Tcmb0=0)),
    (Cosmology(70.0, 0.3, -0.85), FlatwCDM(70.0, 0.3, w0=-0.85, Tcmb0=0)),
    (Cosmology(70.0, 0.25, -1.3), FlatwCDM(70.0, 0.25, w0=-1.3, Tcmb0=0)),
    (Cosmology(70.0, 0.3, -0.4), FlatwCDM(70.0, 0.3, w0=-0.4, Tcmb0=0)),
]
every_cosmology = pytest.mark.parametrize(("ours", "theirs"), CASES)


@every_cosmology
def test_equals_astropy_in_float32(ours, theirs):
    z = np.float32(REDSHIFTS).astype(float)
    np.testing.assert_allclose(ours.luminosity_distance(z), theirs.luminosity_distance(z).to_value("Mpc"), rtol=2e-6)
    np.testing.assert_allclose(ours.age(z), theirs.age(z).to_value("Gyr"), rtol=2e-6)
    ten_parsec = (1e-5 / theirs.luminosity_distance(z).to_value("Mpc")) ** 2
    np.testing.assert_allclose(ours.dimming(z), (1 + z) * ten_parsec, rtol=5e-6)


@every_cosmology
def test_equals_astropy_in_float64(ours, theirs, x64):
    z = REDSHIFTS
    np.testing.assert_allclose(ours.luminosity_distance(z), theirs.luminosity_distance(z).to_value("Mpc"), rtol=1e-8)
    np.testing.assert_allclose(ours.age(z), theirs.age(z).to_value("Gyr"), rtol=2e-7)  # astropy's own is 1e-7 off


@every_cosmology
def test_derivatives_are_those_of_the_definitions(ours, theirs, x64):
    for z in (0.01, 0.7, 3.0, 12.0):
        expansion = theirs.H(z).to_value("km/(s Mpc)")
        distance = theirs.luminosity_distance(z).to_value("Mpc")
        slope = distance / (1 + z) + (1 + z) * 299792.458 / expansion
        assert float(jax.grad(ours.luminosity_distance)(z)) == pytest.approx(slope, rel=1e-7)
        assert float(jax.grad(ours.age)(z)) == pytest.approx(-977.7922217 / ((1 + z) * expansion), rel=1e-7)
        step = 1e-5 * z
        differences = (ours.dimming(z + step) - ours.dimming(z - step)) / (2 * step)
        assert float(jax.grad(ours.dimming)(z)) == pytest.approx(float(differences), rel=1e-7)


def test_known_numbers():
    # Wright 2006, PASP 118, 1711 (the calculator's default): H0 = 71, Om0 = 0.27, z = 3
    assert float(Cosmology(71.0, 0.27).age(3.0)) == pytest.approx(2.195, abs=0.01)
    # Einstein-de Sitter is 2 / (3 H0) old
    assert float(Cosmology(70.0, 1.0).age(0.0)) == pytest.approx(2 / 3 * 977.792 / 70, rel=1e-5)
    assert float(Cosmology().luminosity_distance(0.0)) == 0.0


def test_shapes_jit_and_vmap():
    cosmology = Cosmology()
    z = jnp.linspace(0.1, 9.0, 6).reshape(2, 3)
    for method in (cosmology.luminosity_distance, cosmology.age, cosmology.dimming):
        expected = np.array([[float(method(value)) for value in row] for row in z])
        assert method(z).shape == (2, 3) and method(1.0).shape == () and method(1.0).dtype == jnp.float32
        np.testing.assert_allclose(method(z), expected, rtol=1e-6)
        np.testing.assert_allclose(jax.jit(method)(z), expected, rtol=1e-6)
        np.testing.assert_allclose(jax.vmap(jax.vmap(method))(z), expected, rtol=1e-6)


def test_a_static_part_of_a_program():
    assert hash(Cosmology()) == hash(Cosmology(70, 0.3, -1))
    assert Cosmology() == Cosmology(np.float64(70.0)) != Cosmology(71.0)
    assert jax.tree.leaves(Cosmology()) == []


def test_tiny_and_traced_zero_redshifts():
    assert float(Cosmology().dimming(1e-7)) == pytest.approx((1e-5 * 70 / 299792.458e-7) ** 2, rel=1e-5)
    assert np.isinf(jax.jit(Cosmology().dimming)(0.0))
    assert np.isfinite(jax.grad(Cosmology().luminosity_distance)(0.0))
    assert np.isfinite(jax.jit(jax.grad(Cosmology().age))(0.0))


@pytest.mark.parametrize("bad", [0.0, -0.1, np.nan, [1.0, -1.0]])
def test_redshifts_without_a_distance(bad):
    with pytest.raises(DomainError, match="redshift"):
        Cosmology().dimming(bad)


@pytest.mark.parametrize("bad", [-0.1, np.inf, [1.0, -1e-3]])
def test_redshifts_of_the_future(bad):
    with pytest.raises(DomainError, match="redshift"):
        Cosmology().luminosity_distance(bad)
    with pytest.raises(DomainError, match="redshift"):
        Cosmology().age(bad)


@pytest.mark.parametrize(
    "bad", [{"H0": 0.7}, {"H0": np.nan}, {"H0": -70}, {"Om0": 0.0}, {"Om0": 1.2}, {"w0": 0.0}, {"w0": -3.0}]
)
def test_silly_universes(bad):
    with pytest.raises(DomainError, match=next(iter(bad))):
        Cosmology(**bad)


@pytest.mark.parametrize("bad", [{"H0": "70"}, {"Om0": None}, {"w0": True}, {"H0": [70.0]}])
def test_what_is_no_number(bad):
    with pytest.raises(ParameterError, match="numbers"):
        Cosmology(**bad)
