"""Linear fluxes against truth: exact without noise, unbiased with it, blends and several grids included."""

import galsim
import numpy as np
import numpyro.distributions as dist
import pytest

from scarlet_sed.instrument.frame import Frame
from scarlet_sed.instrument.observation import Observation
from scarlet_sed.light import Component
from scarlet_sed.morphology.gaussian import Gaussian
from scarlet_sed.morphology.point import Point
from scarlet_sed.parameters import Parameter
from scarlet_sed.scene.scene import Scene
from scarlet_sed.scene.source import Source
from scarlet_sed.spectrum.free import FreeSpectrum
from scarlet_sed.spectrum.powerlaw import PowerLaw
from scarlet_sed.start.fluxes import initialize, linear_fluxes
from scarlet_sed.start.observations import free_sky
from tests.start.blends import SCALE, Drawn, observe

BANDS = ("F115W", "F150W")


def _source(drawn: Drawn, prior: dist.Distribution | None = None) -> Source:
    flux = Parameter(np.ones(2), dist.Normal(0.0, 1e4) if prior is None else prior)
    shape = Point() if drawn.profile is None else Gaussian(0.15)
    return Source((-drawn.x * SCALE, drawn.y * SCALE), Component(FreeSpectrum(flux, BANDS), shape))


BLEND = [
    Drawn(-4.0, 0.5, (300.0, 500.0)),
    Drawn(1.5, 1.0, (900.0, 100.0), galsim.Gaussian(half_light_radius=0.15)),
    Drawn(5.0, -3.0, (200.0, 400.0)),
    Drawn(25.0, 25.0, (150.0, 50.0)),
]


def _scene(observation: Observation, sources: list[Drawn] = BLEND) -> Scene:
    return Scene({f"s{i}": _source(drawn) for i, drawn in enumerate(sources)}, Frame.covering(observation))


def test_blended_fluxes_without_noise():
    observation = observe(BLEND, sigma=1e-3, size=81)
    linear = linear_fluxes(_scene(observation), observation)
    assert linear.bands == BANDS
    for i, drawn in enumerate(BLEND):
        np.testing.assert_allclose(linear.flux[f"s{i}"], drawn.flux, rtol=3e-3, atol=0.5)


def test_fluxes_with_noise_scatter_as_their_errors_say():
    scene, pulls = None, []
    for seed in range(8):
        observation = observe(BLEND, sigma=3.0, size=81, seed=seed)
        scene = _scene(observation) if scene is None else scene
        linear = linear_fluxes(scene, observation)
        pulls += [(linear.flux[f"s{i}"] - d.flux) / linear.error[f"s{i}"] for i, d in enumerate(BLEND)]
    pulls = np.concatenate(pulls)
    assert abs(pulls.mean()) < 0.5 and 0.75 < pulls.std() < 1.3


def test_the_sky_is_solved_for_where_it_is_free():
    observation = observe(BLEND, sigma=0.5, size=81)
    raised = observation._replaced(data=observation.data + np.array([2.0, -1.0], np.float32)[:, None, None])
    (ready,) = free_sky(raised)
    linear = linear_fluxes(_scene(observation), ready)
    np.testing.assert_allclose(linear.sky["sw"], [2.0, -1.0], atol=0.05)
    np.testing.assert_allclose(linear.flux["s1"], BLEND[1].flux, atol=40)
    assert linear_fluxes(_scene(observation), observation).sky == {}


def test_two_grids_share_a_band():
    """The same band seen by two grids: both count, and the error is that of both."""
    fine = observe(BLEND[3:], sigma=1.0, size=81, name="fine")
    coarse = observe(BLEND[3:], sigma=1.0, size=41, scale=2 * SCALE, fwhm=0.15, name="coarse")
    scene = _scene(fine, BLEND[3:])
    both, alone = linear_fluxes(scene, [fine, coarse]), linear_fluxes(scene, fine)
    assert np.all(both.error["s0"] < alone.error["s0"])
    assert np.all(np.abs(both.flux["s0"] - BLEND[3].flux) < 4 * both.error["s0"])


def test_fluxes_that_must_not_be_negative_are_not():
    nothing = Drawn(-25.0, 20.0, (0.0, 0.0))
    found = []
    for seed in range(4):
        observation = observe(BLEND, sigma=3.0, size=81, seed=seed)
        scene = _scene(observation, [*BLEND, nothing])
        positive = {**scene.sources, "s4": _source(nothing, dist.HalfNormal(1e3))}
        free = linear_fluxes(scene, observation).flux["s4"]
        held = linear_fluxes(scene.with_sources(positive), observation).flux["s4"]
        np.testing.assert_allclose(held, np.maximum(free, 0.0), atol=0.5)
        started = initialize(scene.with_sources(positive), observation)
        assert np.all(np.asarray(started.values["s4.spectrum.flux"]) > 0)
        found.append(free)
    assert np.min(found) < 0


def test_other_spectra_are_scaled_as_a_whole():
    drawn = BLEND[0]
    observation = observe([drawn], sigma=1.0, size=61)
    spectrum = PowerLaw(Parameter(1.0, dist.HalfNormal(1e4)), slope=-2.0)
    source = Source((-drawn.x * SCALE, drawn.y * SCALE), spectrum * Point())
    started = initialize(Scene({"star": source}, Frame.covering(observation)), observation)
    fluxes = np.asarray(started["star"].components()[0][1].spectrum.flux.value)
    assert fluxes == pytest.approx(np.mean(drawn.flux), rel=0.1)  # slope -2 is flat in f_nu


def test_a_source_no_pixel_sees_keeps_its_flux():
    observation = observe(BLEND[3:], sigma=1.0, size=81)
    mask = np.zeros((2, 81, 81), dtype=bool)
    mask[1, 45:, 45:] = True
    scene = _scene(observation, BLEND[3:])
    linear = linear_fluxes(scene, observation.with_mask(mask))
    assert np.isfinite(linear.flux["s0"][0])
    started = initialize(scene, observation.with_mask(mask))
    assert np.all(np.isfinite(np.asarray(started.values["s0.spectrum.flux"])))
