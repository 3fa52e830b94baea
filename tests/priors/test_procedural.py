"""Galaxies made up by rules: images that sum to one, each by its own seed, of the kinds that were asked for."""

import numpy as np
import pytest

from scarlet_sed.priors.procedural import GALAXIES, stamps

KINDS = ("elliptical", "disk", "clumpy", "edge-on", "irregular")


def moments(image: np.ndarray) -> tuple[float, float]:
    """Size and axis ratio of the light above a hundredth of the peak."""
    light = np.where(image > 0.01 * image.max(), image, 0.0).astype(float)
    light /= light.sum()
    y, x = np.indices(image.shape) - (image.shape[0] - 1) / 2
    centre = np.array([np.sum(light * x), np.sum(light * y)])
    xx, yy, xy = (
        np.sum(light * a * b) for a, b in ((x - centre[0],) * 2, (y - centre[1],) * 2, (x - centre[0], y - centre[1]))
    )
    values = np.linalg.eigvalsh([[xx, xy], [xy, yy]])
    return float(np.sqrt(values.mean())), float(np.sqrt(values[0] / values[1]))


def test_images_are_dense_positive_and_of_unit_sum():
    found = stamps(24, 32, seed=3)
    assert found.shape == (24, 32, 32)
    assert found.dtype == np.float32
    assert found.min() >= 0
    np.testing.assert_allclose(found.sum(axis=(1, 2)), 1, rtol=1e-5)
    sizes = [moments(image)[0] for image in found]
    assert 0.7 < min(sizes) < 2 < max(sizes) < 8


def test_each_has_its_own_seed():
    many = stamps(5, 32, seed=9)
    np.testing.assert_array_equal(stamps(2, 32, seed=9), many[:2])
    assert not np.allclose(stamps(1, 32, seed=10), many[:1])


@pytest.mark.parametrize("kind", range(5), ids=KINDS)
def test_kinds_look_as_they_should(kind):
    alone = tuple(float(number == kind) for number in range(5))
    merger, tail = (0.0, *GALAXIES.merger[1:]), (0.0, *GALAXIES.tail[1:])
    recipe = GALAXIES._replace(kinds=alone, merger=merger, tail=tail, away=0.0)
    found = stamps(16, 32, 1, recipe)
    _, ratios = zip(*map(moments, found), strict=True)
    turned = [image[::-1, ::-1] for image in found]
    uneven = np.median([np.abs(a - b).sum() for a, b in zip(found, turned, strict=True)])
    if kind == 3:
        assert np.median(ratios) < 0.55
    else:
        assert np.median(ratios) > 0.55
    assert (uneven > 0.25) == (kind in (2, 4))
