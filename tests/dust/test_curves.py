"""Dust curves: against published numbers and other codes, bad input, and what an Attenuation lets through."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from numpyro.distributions import constraints

from scarlet_sed.dust.attenuation_curves import Calzetti, CharlotFall, KriekConroy, Salim
from scarlet_sed.dust.base import Attenuation
from scarlet_sed.dust.extinction_curves import CCM89, LMC, SMC
from scarlet_sed.errors import DomainError, ParameterError
from scarlet_sed.parameters import Parameter, current_values, free_parameters

# (curve, [(micron, A / A_V)], relative tolerance, source)
LITERATURE = [
    # k(H alpha) = 3.33 and k(H beta) = 4.60 (Dominguez et al. 2013, ApJ 763, 145, below equation 4)
    (Calzetti(), [(0.6563, 3.33 / 4.05), (0.4861, 4.60 / 4.05)], 3e-3),
    # Cardelli, Clayton & Mathis 1989, table 3, R_V = 3.1: J, H, K, L
    (CCM89(), [(1 / 0.80, 0.282), (1 / 0.63, 0.190), (1 / 0.46, 0.114), (1 / 0.29, 0.056)], 0.02),
    # Gordon et al. 2003, table 4, every fourth point of the ultraviolet, and the optical
    (SMC(), [(1 / 8.125, 6.297), (1 / 7.125, 5.272), (1 / 6.125, 4.243), (1 / 5.125, 3.489), (1 / 4.125, 2.661)], 0.03),
    (SMC(), [(1 / 3.375, 2.000), (0.37, 1.672), (0.44, 1.374), (0.55, 1.0), (0.65, 0.801), (1.65, 0.169)], 0.15),
    (LMC(), [(1 / 7.875, 3.374), (1 / 6.875, 2.874), (1 / 5.875, 2.598), (1 / 4.625, 2.967), (1 / 3.875, 2.149)], 0.03),
    (LMC(), [(0.37, 1.518), (0.44, 1.293), (0.55, 1.0), (1.25, 0.257), (1.65, 0.186)], 1e-3),
]

MICRON = np.array([0.1, 0.1216, 0.15, 0.2175, 0.25, 0.3, 0.44, 0.6563, 1.25, 2.2, 3.0])
# dust_extinction 1.7: CCM89(Rv=...), G03_SMCBar, G03_LMCAvg
CCM89_31 = [5.238355, 3.504015, 2.663879, 3.185101, 2.315317, 1.818157, 1.324521, 0.817747, 0.28207, 0.113522, 0.0689]
CCM89_20 = [9.407, 6.095295, 4.354181, 4.937597, 3.392756, 2.46076, 1.503146, 0.767658, 0.216789, 0.087249, 0.052954]
CCM89_60 = [1.575, 1.22683, 1.178463, 1.645029, 1.368477, 1.253445, 1.167548, 0.861764, 0.339438, 0.136611, 0.082912]
SMC_BAR = [9.63463, 6.598485, 4.76702, 3.13109, 2.548546, 2.017262, 1.374, 0.790365, 0.25, 0.109851, 0.071403]
LMC_AVERAGE = [5.197792, 3.594512, 2.790357, 2.99718, 2.239923, 1.784398, 1.293, 0.760177, 0.257, 0.09978, 0.049226]


@pytest.mark.parametrize(("curve", "points", "tolerance"), LITERATURE)
def test_against_publications(curve, points, tolerance):
    micron, k = np.array(points).T
    np.testing.assert_allclose(curve(1e4 * micron), k, rtol=tolerance)


@pytest.mark.parametrize(
    ("curve", "expected", "tolerance"),
    [
        (CCM89(), CCM89_31, 2e-5),
        (CCM89(2.0), CCM89_20, 2e-5),
        (CCM89(6.0), CCM89_60, 2e-5),
        (SMC(), SMC_BAR, 4e-3),  # the splines differ between 2700 and 3700 A: ours joins the ultraviolet smoothly
        (LMC(), LMC_AVERAGE, 4e-3),
    ],
)
def test_against_dust_extinction(curve, expected, tolerance):
    np.testing.assert_allclose(curve(1e4 * MICRON), expected, rtol=tolerance)


def published_calzetti(micron):
    x = 1 / micron
    blue = -2.156 + 1.509 * x - 0.198 * x**2 + 0.011 * x**3
    return (2.659 * np.where(micron < 0.63, blue, -1.857 + 1.040 * x) + 4.05) / 4.05


def drude(micron):
    return (0.035 * micron) ** 2 / ((micron**2 - 0.2175**2) ** 2 + (0.035 * micron) ** 2)


def test_calzetti_is_the_published_formula_where_there_is_one():
    micron = np.geomspace(0.1201, 2.199, 2000)
    ours = np.asarray(Calzetti()(1e4 * micron))
    blended = (micron > 0.615) & (micron < 0.645)
    np.testing.assert_allclose(ours[~blended], published_calzetti(micron[~blended]), rtol=1e-5)
    np.testing.assert_allclose(ours[blended], published_calzetti(micron[blended]), atol=0.0032)


@pytest.mark.parametrize(("slope", "bump"), [(-0.5, 3.0), (0.0, 0.0), (0.3, 1.0), (-1.2, -1.0)])
def test_salim_is_the_published_formula(slope, bump):
    micron = np.geomspace(0.1201, 0.61, 1000)
    rv = 4.05 / (5.05 * 0.8**slope - 4.05)
    per_colour_excess = 4.05 * published_calzetti(micron) * rv / 4.05 * (micron / 0.55) ** slope + bump * drude(micron)
    np.testing.assert_allclose(Salim(slope, bump)(1e4 * micron), per_colour_excess / rv, rtol=2e-5)


@pytest.mark.parametrize("slope", [-0.8, -0.2, 0.0, 0.4])
def test_salim_without_a_bump_has_the_colour_excess_of_its_rv(slope):
    blue, visual = Salim(slope, 0.0)(jnp.asarray([4400.0, 5500.0]))
    assert float(blue - visual) == pytest.approx((5.05 * 0.8**slope - 4.05) / 4.05, abs=4e-3)  # k_Cal(B) is 5.060


@pytest.mark.parametrize("slope", [-0.8, 0.0, 0.4])
def test_kriek_conroy_is_the_published_formula(slope):
    micron = np.geomspace(0.1201, 0.61, 1000)
    k = (4.05 * published_calzetti(micron) + (0.85 - 1.9 * slope) * drude(micron)) * (micron / 0.55) ** slope / 4.05
    np.testing.assert_allclose(KriekConroy(slope)(1e4 * micron), k, rtol=2e-5)


def test_charlot_fall_is_a_power_law():
    np.testing.assert_allclose(CharlotFall()(jnp.asarray([1375.0, 5500.0, 22000.0])), [4**0.7, 1.0, 4**-0.7], rtol=1e-6)


def test_transmission_of_old_and_young_light():
    wavelength = jnp.asarray([[1500.0, 5500.0, 20000.0]])
    old, young = Attenuation(CharlotFall(), 1.2, birth_cloud=3.0).log_transmission(wavelength)
    assert old.shape == young.shape == (1, 3)
    np.testing.assert_allclose(np.exp(old[0, 1]), 10 ** (-0.4 * 1.2), rtol=1e-6)
    np.testing.assert_allclose(np.exp(young[0, 1]), 10 ** (-0.4 * 3.6), rtol=1e-6)
    same = Attenuation(CharlotFall(), 1.2).log_transmission(wavelength)
    np.testing.assert_array_equal(same[0], same[1])


def test_no_dust_lets_all_light_through_and_has_a_derivative():
    def total(av):
        return jnp.sum(jnp.exp(Attenuation(Calzetti(), av).log_transmission(jnp.asarray([1500.0, 5500.0]))[0]))

    value, slope = jax.value_and_grad(total)(jnp.asarray(0.0))
    assert float(value) == 2.0
    assert float(slope) == pytest.approx(-0.4 * np.log(10) * float(jnp.sum(Calzetti()(jnp.asarray([1500.0, 5500.0])))))


def test_paths_of_parameters():
    dust = {"attenuation": Attenuation(Salim(dist.Uniform(-1.0, 0.4), 2.0), dist.HalfNormal(1.0))}
    assert set(current_values(dust)) == {
        "attenuation.curve.slope",
        "attenuation.curve.bump",
        "attenuation.av",
        "attenuation.birth_cloud",
    }
    assert set(free_parameters(dust)) == {"attenuation.curve.slope", "attenuation.av"}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Attenuation(Calzetti(), -0.1), "av = -0.1"),
        (lambda: Attenuation(Calzetti(), dist.Normal(1.0, 0.3)), "prior of av"),
        (lambda: Attenuation(Calzetti(), Parameter(1.0, constraints.real)), "prior of av"),
        (lambda: Attenuation(Calzetti(), 1.0, birth_cloud=-1.0), "birth_cloud = -1"),
        (lambda: Salim(-2.0, 0.0), "slope = -2"),
        (lambda: Salim(0.95, 0.0), "slope = 0.95"),
        (lambda: Salim(0.0, -2.5), "bump = -2.5"),
        (lambda: Salim(dist.Normal(0.0, 0.3), 0.0), "prior of slope"),
        (lambda: Salim(0.0, dist.Uniform(0.0, 12.0)), "prior of bump"),
        (lambda: KriekConroy(1.5), "slope = 1.5"),
        (lambda: KriekConroy(dist.Uniform(-2.0, 0.0)), "prior of slope"),
        (lambda: CharlotFall(-0.1), "slope = -0.1"),
        (lambda: CharlotFall(dist.LogNormal(-0.3, 0.3)), "prior of slope"),
        (lambda: CCM89(1.5), "rv = 1.5"),
        (lambda: CCM89(dist.Normal(3.1, 0.3)), "prior of rv"),
    ],
)
def test_outside_of_the_domain(make, message):
    with pytest.raises(DomainError, match=message):
        make()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Attenuation(Calzetti(), np.nan), "not finite"),
        (lambda: CCM89(np.inf), "not finite"),
        (lambda: Attenuation(Calzetti, 1.0), "curve of an Attenuation"),
        (lambda: Attenuation("calzetti", 1.0), "curve of an Attenuation"),
    ],
)
def test_what_is_no_dust(make, message):
    with pytest.raises(ParameterError, match=message):
        make()


def test_priors_within_the_domain_pass():
    Attenuation(CCM89(dist.TruncatedNormal(3.1, 0.5, low=2.0, high=6.0)), dist.LogNormal(0.0, 1.0), dist.Uniform(1, 5))
    Attenuation(Salim(dist.Uniform(-1.6, 0.9), dist.Uniform(-2, 10)), Parameter(0.0, constraints.nonnegative))
    Attenuation(CharlotFall(dist.Uniform(0.0, 3.0)), dist.Exponential(1.0))
