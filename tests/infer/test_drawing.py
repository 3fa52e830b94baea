"""What scenes look like without a fit."""

import numpy as np
import pytest

import scarlet_sed as ss


def test_light_outside_of_boxes_is_told_of_the_component_that_it_is_of():
    """Components of equal boxes, of which groups come in another order than their sources."""
    seen = ss.Observation(np.zeros((1, 40, 40)), ("F150W",), ss.PSF.gaussian(3.0), sigma=1.0, pixel_scale=0.03)
    spectrum = ss.FreeSpectrum(1.0, seen.bands)
    wide, narrow = ss.Exponential(0.2), ss.Gaussian(0.1)
    frame = ss.Frame.covering(seen)
    both = ss.Source((0.0, 0.0), {"a": spectrum * narrow, "b": spectrum * wide}, box=0.8)
    scene = ss.Scene({"first": ss.Source((0.0, 0.0), spectrum * wide, box=0.8), "second": both}, frame)
    lost = ss.truncated(scene, seen)
    alone = ss.truncated(ss.Scene({"only": ss.Source((0.0, 0.0), spectrum * narrow, box=0.8)}, frame), seen)
    assert lost["second.b"] == pytest.approx(lost["first"], rel=1e-5) and lost["first"] > 0.1
    assert lost["second.a"] == pytest.approx(alone["only"], abs=1e-5) and lost["second.a"] < 0.1


def test_an_isolated_source_is_the_data_without_the_others(rng):
    seen = ss.Observation(np.zeros((1, 40, 40)), ("F150W",), ss.PSF.gaussian(3.0), sigma=1.0, pixel_scale=0.03)
    light = ss.FreeSpectrum(50.0, seen.bands) * ss.Gaussian(0.1)
    sources = {name: ss.Source(at, light, box=0.8) for name, at in (("a", (-0.2, 0.0)), ("b", (0.2, 0.0)))}
    scene = ss.Scene(sources, ss.Frame.covering(seen))
    noise = rng.normal(size=seen.shape)
    observed = seen.with_data(ss.render(scene, seen) + noise)
    found = ss.isolate(scene, observed, "a")
    np.testing.assert_allclose(found.observation.data, ss.render_sources(scene, seen)["a"] + noise, atol=1e-4)
    assert found.share.max() > 0.99 and found.share[0, 20, 20] == pytest.approx(0.5, abs=0.2)
    with pytest.raises(ss.ScarletSEDError, match="no source 'c'"):
        ss.isolate(scene, observed, "c")
