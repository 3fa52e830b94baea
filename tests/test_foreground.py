"""Dust of the Milky Way in front of an observation."""

import numpy as np
import numpyro.distributions as dist
import pytest

import scarlet_sed as ss
from scarlet_sed.errors import DomainError, FilterError

BANDS = ("acs_wfc_f606w", "F115W", "F444W")


def observation(data: np.ndarray | None = None, foreground: object = 0.0) -> ss.Observation:
    blank = np.zeros((3, 24, 24))
    return ss.Observation(
        blank if data is None else data, BANDS, ss.PSF.gaussian(2.4), sigma=0.1, pixel_scale=0.03, name="o",
        foreground=foreground,
    )  # fmt: skip


def scene(seen: ss.Observation) -> ss.Scene:
    galaxy = ss.FreeSpectrum((10.0, 20.0, 30.0), BANDS) * ss.Gaussian(0.06)
    return ss.Scene({"g": ss.Source((0, 0), galaxy, 1.0)}, ss.Frame.covering(seen))


def test_extinction_of_the_milky_way_is_the_published_one():
    """Schlafly & Finkbeiner 2011, table 6, for R_V = 3.1 and another curve: A / E(B-V) of F606W 2.49 in their scale."""
    found = ss.milky_way(list(BANDS), ebv=0.1)
    assert found[0] / 0.1 == pytest.approx(2.49 / 0.86, rel=0.05)
    assert found[0] > found[1] > found[2] > 0
    np.testing.assert_allclose(ss.milky_way(list(BANDS), ebv=0.0), 0.0, atol=1e-6)
    np.testing.assert_allclose(ss.milky_way(list(BANDS), 0.02), 0.2 * found, rtol=5e-3)


def test_light_is_dimmed_and_sky_is_not():
    magnitudes = ss.milky_way(list(BANDS), ebv=0.3)
    clear, dim = observation(), observation(foreground=magnitudes)
    expected = ss.render(scene(clear), clear) * 10 ** (-0.4 * magnitudes)[:, None, None]
    np.testing.assert_allclose(ss.render(scene(clear), dim), expected, rtol=1e-5, atol=1e-6)
    bright = dim.set({"sky": np.ones(3)})
    np.testing.assert_allclose(ss.render(scene(clear), bright), expected + 1.0, rtol=1e-5, atol=1e-5)


def test_fluxes_are_those_outside_of_the_milky_way():
    magnitudes = ss.milky_way(list(BANDS), ebv=0.3)
    clear = observation()
    data = ss.render(scene(clear), observation(foreground=magnitudes))
    seen = observation(np.asarray(data), foreground=magnitudes)
    free = scene(seen).free("g.spectrum.flux", dist.Normal(np.zeros(3), 100.0))
    begun = ss.initialize(free.set({"g.spectrum.flux": np.ones(3)}), seen)
    np.testing.assert_allclose(begun.values["g.spectrum.flux"], (10.0, 20.0, 30.0), rtol=1e-3)


def test_it_can_be_free_like_any_other_parameter():
    seen = observation(foreground=ss.Parameter(np.full(3, 0.1), dist.TruncatedNormal(0.1, 0.02, low=0.0)))
    posterior = ss.LogPosterior(scene(seen), seen)
    assert posterior.paths == ["o.foreground"]


def test_senseless_extinction_is_a_typed_error():
    for ebv in (-0.1, np.nan):
        with pytest.raises(DomainError, match=r"E\(B-V\)"):
            ss.milky_way(list(BANDS), ebv)
    with pytest.raises(DomainError, match="rv"):
        ss.milky_way(list(BANDS), 0.1, rv=10.0)
    with pytest.raises(FilterError):
        ss.milky_way(ss.Filters.generic("g"), 0.1)
