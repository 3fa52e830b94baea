"""Colour pictures: order of bands, stretch, masks."""

import numpy as np
import pytest

from scarlet_sed.errors import ShapeError
from scarlet_sed.plot import Stretch, residual_rgb, rgb
from scarlet_sed.plot.rgb import channel_weights


def blob(size=40, amplitude=100.0):
    y, x = np.mgrid[:size, :size] - size // 2
    return amplitude * np.exp(-0.5 * (x**2 + y**2) / 9.0)


def noisy(images, seed=0):
    return np.asarray(images) + np.random.default_rng(seed).normal(size=np.shape(images))


@pytest.mark.parametrize("bands", [1, 2, 3, 4, 6, 9])
def test_any_number_of_bands_makes_a_picture(bands):
    picture = rgb(noisy([blob()] * bands))
    assert picture.shape == (40, 40, 3)
    assert picture.min() >= 0 and picture.max() <= 1 and np.isfinite(picture).all()


@pytest.mark.parametrize("bands", [1, 2, 3, 5, 8])
def test_channel_weights_sum_to_one_and_use_every_band(bands):
    weights = channel_weights(bands)
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    assert (weights.sum(axis=0) > 0).all()


def test_red_is_the_longest_wavelength_whatever_the_order():
    images = noisy([blob(amplitude=500.0), blob(amplitude=50.0), blob(amplitude=50.0)])
    red_first = rgb(images, [4.4, 2.0, 1.1])
    shuffled = rgb(images[[1, 0, 2]], [2.0, 4.4, 1.1])
    np.testing.assert_allclose(red_first, shuffled)
    # beside the saturated centre
    red, _, blue = red_first[20, 25]
    assert red > 1.2 * blue


def test_a_shared_stretch_makes_a_fainter_model_darker():
    data = noisy([blob()] * 3)
    stretch = Stretch.of(data)
    assert rgb(0.3 * data, stretch=stretch)[20, 22].mean() < rgb(data, stretch=stretch)[20, 22].mean()


def test_a_colour_keeps_from_core_to_wing():
    images = np.stack([blob(amplitude=1e3), blob(amplitude=5e2), blob(amplitude=2e2)])
    picture = rgb(images, stretch=Stretch((0, 0, 0), (1, 1, 1), 2.0, 2000.0)) - 0.06
    core, wing = picture[20, 20], picture[20, 27]
    np.testing.assert_allclose(core / core.max(), wing / wing.max(), atol=0.08)


def test_nan_and_constant_images_do_not_fail():
    images = np.zeros((3, 8, 8))
    images[0, 2, 2] = np.nan
    assert np.isfinite(rgb(images)).all()
    assert np.isfinite(residual_rgb(images)).all()


def test_residuals_are_grey_without_light_and_bright_with_it():
    residuals = np.zeros((2, 9, 9))
    residuals[:, 4, 4] = 10.0
    picture = residual_rgb(residuals, sigma=np.ones((2, 9, 9)))
    np.testing.assert_allclose(picture[0, 0], 0.5)
    np.testing.assert_allclose(picture[4, 4], 1.0)


def test_wrong_shapes_say_so():
    with pytest.raises(ShapeError, match=r"band, height, width"):
        rgb(np.zeros((4, 4)))
    with pytest.raises(ShapeError, match="2 wavelengths for 3 bands"):
        rgb(np.zeros((3, 4, 4)), [1.0, 2.0])
