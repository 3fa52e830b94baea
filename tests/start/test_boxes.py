"""Boxes hold all light that the data could tell, and no more than few sizes."""

import equinox as eqx
import numpy as np
import pytest

import scarlet_sed as ss
from scarlet_sed.start.boxes import TELLING, light_outside, snapped, with_room


def observation(sigma: float, size: int = 128) -> ss.Observation:
    data = np.zeros((2, size, size))
    return ss.Observation(
        data, ("F115W", "F277W"), ss.PSF.gaussian(0.1, pixel_scale=0.05), sigma=sigma, pixel_scale=0.05
    )


def scene(seen: ss.Observation, box: float | None, index: float = 2.5, flux: float = 300.0) -> ss.Scene:
    light = ss.FreeSpectrum(np.array([0.5 * flux, flux]), seen.bands) * ss.Sersic(0.3, index, np.array([0.1, 0.2]))
    return ss.Scene({"a": ss.Source((0.0, 0.0), light, box=box)}, ss.Frame.covering([seen], oversampling=1))


def test_light_outside_of_a_gaussian_is_known_in_closed_form():
    """The squared brightness of a Gaussian integrates to exp(-R^2 / sigma^2) / (4 pi sigma^2) outside R."""
    sigma = 0.2
    radius, outside = light_outside(ss.Gaussian(sigma * np.sqrt(2 * np.log(2))))  # takes the half-light radius
    expected = np.exp(-np.square(radius / sigma)) / (4 * np.pi * sigma**2)
    bulk = radius < 2.5 * sigma
    np.testing.assert_allclose(outside[bulk], expected[bulk], rtol=0.1)


@pytest.mark.parametrize("index", [0.6, 1.5, 4.0])
def test_a_box_grows_until_the_data_cannot_tell_what_is_outside(index):
    seen = observation(1.0)
    narrow = scene(seen, 0.5, index)
    grown = with_room(narrow, seen)
    width = grown.sources["a"].box
    assert 0.5 < width < 6.4
    lost = []
    everything = np.asarray(ss.render(scene(seen, 6.39, index), seen))
    for each in (narrow, grown):
        missing = everything - np.asarray(ss.render(each, seen))
        lost.append(np.sqrt(np.sum(np.square(missing))))
    assert lost[0] > 3 and lost[1] < TELLING
    assert with_room(grown, seen) is grown


def test_boxes_of_bright_sources_are_larger_and_widths_are_few():
    widths = [with_room(scene(observation(sigma), 0.5), observation(sigma)).sources["a"].box for sigma in (3.0, 0.3)]
    assert widths[0] < widths[1]
    frame = ss.Frame.covering([observation(1.0)], oversampling=1)
    assert len({snapped(width, frame) for width in np.linspace(0.1, 6.0, 60)}) == 3


def test_a_box_that_is_large_enough_or_left_to_the_error_budget_stays():
    seen = observation(2.0)
    for box in (6.0, None):
        given = scene(seen, box)
        assert with_room(given, seen) is given


def test_a_boxed_source_is_the_same_but_for_its_box():
    source = scene(observation(1.0), 1.0).sources["a"]
    assert source.boxed(2.0).box == 2.0 and source.boxed(None).box is None
    assert eqx.tree_equal(source.boxed(1.0), source)
