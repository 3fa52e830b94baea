"""The watershed, the sky and the small measurements, each against a case worked out by hand."""

import numpy as np
import pytest
from scipy import ndimage

from scarlet_sed.errors import ConfigError
from scarlet_sed.start.measure import adaptive_covariance, radial_profile, sky_ellipticity
from scarlet_sed.start.models import MODELS, Seed, light_of
from scarlet_sed.start.peaks import find_peaks
from scarlet_sed.start.sky import blank_sky, photon_slope

TWO = np.array([[0, 0, 0, 0, 0, 0, 0], [0, 9, 5, 4, 5, 7, 0], [0, 0, 0, 0, 0, 0, 0]], dtype=float)


def test_a_peak_counts_by_its_height_above_the_saddle():
    both = find_peaks(TWO, 1.0, 1.0, significance=2.9, contrast=0.0)
    assert list(both.x) == [1, 5] and list(both.height) == [9, 7]
    assert both.labels[1].tolist() == [0, 1, 1, 1, 2, 2, 0]
    assert list(find_peaks(TWO, 1.0, 1.0, significance=3.1, contrast=0.0).x) == [1]
    # rise 3 over a saddle of 4, for a peak of 7/9 of its neighbour: contrast below 0.75 / (3 - 14/9)
    assert len(find_peaks(TWO, 1.0, 1.0, 0.0, contrast=0.51).x) == 2
    assert len(find_peaks(TWO, 1.0, 1.0, 0.0, contrast=0.53).x) == 1


def test_seeds_are_all_kept_and_share_the_rest():
    labels = find_peaks(TWO, 1.0, 1.0, 0.0, 0.0, seeds=[(4, 1), (1, 1)]).labels[1].tolist()
    assert labels[1] == 2 and labels[4] == 1 and set(labels) == {0, 1, 2}
    missing = find_peaks(TWO, 8.0, 1.0, 0.0, 0.0, seeds=[(4, 1), (1, 1)]).labels
    assert missing[1, 1] == 2 and np.count_nonzero(missing) == 1


def test_blank_sky_of_correlated_noise_under_sources():
    rng = np.random.default_rng(1)
    noise = ndimage.gaussian_filter(rng.normal(size=(200, 220)), 0.6, mode="wrap")
    noise *= 2.0 / noise.std()
    y, x = np.mgrid[:200, :220]
    light = sum(60 * np.exp(-0.5 * ((x - cx) ** 2 + (y - cy) ** 2) / 9) for cx, cy in rng.uniform(20, 180, (15, 2)))
    sky = blank_sky(noise + 5.0 + light, np.ones((200, 220), bool))
    assert sky.level == pytest.approx(5.0, abs=0.1)
    assert np.median(sky.rms) == pytest.approx(2.0, rel=0.05)
    # a Gaussian filter of 0.6 px: the sum of the autocorrelation is 4 pi sigma^2;
    # masking what looks like sources takes some of the correlated noise with it
    assert sky.correlation == pytest.approx(4 * np.pi * 0.36, rel=0.25)


def test_photon_noise_is_read_from_the_noise_map():
    rng = np.random.default_rng(2)
    light = np.zeros((120, 120))
    light[40:60, 40:60] = np.linspace(50, 200, 20)
    variance = 1.0 + 0.02 * light
    image = light + rng.normal(size=light.shape) * np.sqrt(variance)
    sky = blank_sky(image, np.ones(light.shape, bool))
    assert photon_slope(image, 1 / variance, sky) == pytest.approx(0.02, rel=0.1)
    assert photon_slope(image, np.ones(light.shape), sky) == 0.0


def test_adaptive_moments_and_profile_of_a_gaussian():
    y, x = np.mgrid[:81, :81] - 40.0
    truth = np.array([[16.0, 5.0], [5.0, 9.0]])
    inverse = np.linalg.inv(truth)
    image = np.exp(-0.5 * (inverse[0, 0] * x**2 + 2 * inverse[0, 1] * x * y + inverse[1, 1] * y**2))
    everywhere = np.ones(image.shape, bool)
    np.testing.assert_allclose(adaptive_covariance(image, everywhere, ~everywhere, 40, 40, 3.0), truth, rtol=0.02)
    radius = np.hypot(x, y)
    profile = radial_profile(np.exp(-0.5 * radius**2 / 16), np.full(image.shape, 1e-4), radius, everywhere, 30)
    assert profile.half_light_radius() == pytest.approx(1.1774 * 4, rel=0.03)
    assert profile.curve_of_growth()[-1] == pytest.approx(2 * np.pi * 16, rel=0.05)


def test_ellipticity_of_a_covariance_on_a_mirrored_sky():
    """Without a WCS x runs against east: an ellipse along +x +y on the image lies towards north-west on the sky."""
    covariance = np.array([[5.0, 3.0], [3.0, 5.0]])  # axes 8 and 2: q = 0.5
    e1, e2 = sky_ellipticity(covariance, np.diag([-1 / 0.03, 1 / 0.03]))
    assert e1 == pytest.approx(0.0, abs=1e-12) and e2 == pytest.approx(-1 / 3)


def test_every_model_can_be_built_without_an_image():
    seed = Seed(0.2, np.array([0.1, -0.2]), 100.0, 5.0, None, 0.03)
    for model in MODELS:
        light = light_of(model, seed, ("g", "r"))
        assert [name for name, _ in light.components()]
    with pytest.raises(ConfigError, match="unknown model 'blob'"):
        light_of("blob", seed, ("g",))


@pytest.mark.parametrize(("radius", "side", "scale"), [(0.1, 32, 0.03), (0.2, 64, 0.03), (0.5, 64, 0.06)])
def test_learnt_images_are_the_smallest_that_hold_a_galaxy(radius, side, scale):
    """The largest that they were learnt from have a half-light radius of 0.16 sides."""
    light = light_of("learnt", Seed(radius, np.zeros(2), 100.0, 5.0, None, 0.03), ("g",))
    ((_, component),) = light.components()
    assert component.morphology.image.value.shape == (side, side)
    assert float(component.morphology.pixel_scale) == pytest.approx(scale)
