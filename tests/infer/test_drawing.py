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
