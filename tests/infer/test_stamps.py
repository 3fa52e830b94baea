"""Stamps are seen as scenes render them, and what cannot be one is named."""

import numpy as np
import pytest

import scarlet_sed as ss
from scarlet_sed.errors import DataError, PSFError, ScarletSEDError, ShapeError
from scarlet_sed.infer.stamps import Stamps
from tests.registry import galaxies

PSF = ss.PSF.gaussian(fwhm=2.5)
SIDE = 12


def clean(count: int, seed: int = 1) -> np.ndarray:
    found = galaxies(count, SIDE, seed)
    return found / found.sum(axis=(1, 2), keepdims=True)


def test_stamps_are_seen_as_scenes_render_them() -> None:
    image = clean(1)[0]
    blank = ss.Observation(np.zeros((1, SIDE, SIDE)), ("hsc_g",), PSF, sigma=1.0, pixel_scale=0.1)
    light = ss.FreeSpectrum(1.0, ("hsc_g",)) * ss.Pixels(image, 0.1)
    expected = np.asarray(ss.render(ss.Scene({"a": ss.Source((0.0, 0.0), light)}, ss.Frame.covering(blank)), blank))[0]
    stamps = Stamps.of(image[None], np.full((1, SIDE, SIDE), 1e6), PSF)
    found = np.asarray(stamps.seen(image[None].astype(np.float32)))[0]
    # the box of a scene's source cuts a thousandth of its light
    np.testing.assert_allclose(found, expected, atol=2e-3 * expected.max())


def test_each_stamp_has_its_own_psf() -> None:
    images = clean(3)
    weights = np.full(images.shape, 1e6)
    psfs = [ss.PSF.gaussian(fwhm=width) for width in (2.5, 3.0, 4.0)]
    together = Stamps.of(images, weights, psfs)
    seen = np.asarray(together.seen(images.astype(np.float32)))
    for number, psf in enumerate(psfs):
        alone = np.asarray(Stamps.of(images, weights, psf).seen(images.astype(np.float32)))[number]
        np.testing.assert_allclose(seen[number], alone, atol=2e-3 * alone.max())
        own = together.part(np.array([number]))
        np.testing.assert_allclose(
            np.asarray(own.seen(images[[number]].astype(np.float32)))[0], seen[number], atol=1e-6
        )


def test_the_first_guess_of_a_flux_is_near() -> None:
    images = clean(20)
    fluxes = np.linspace(300, 900, 20)
    data = fluxes[:, None, None] * images + np.random.default_rng(0).normal(size=images.shape)
    guess = np.asarray(Stamps.of(data, np.ones_like(data), PSF).brightness)
    assert np.all(np.abs(np.log(guess / fluxes)) < 0.7)


def bad(**changes: object) -> tuple[np.ndarray, np.ndarray, object, object]:
    images = 100 * clean(3)
    given = {"data": images, "weights": np.full(images.shape, 4.0), "psf": PSF, "level": 0.0, **changes}
    return given["data"], given["weights"], given["psf"], given["level"]


def with_one(array: np.ndarray, value: float) -> np.ndarray:
    changed = array.copy()
    changed[1, 3, 3] = value
    return changed


@pytest.mark.parametrize(
    ("changes", "error", "match"),
    (
        ({"data": clean(3)[:, :6]}, ShapeError, "stamps of shape"),
        ({"data": clean(1)[0]}, ShapeError, "stamps of shape"),
        ({"weights": np.ones((3, 4, 4))}, ShapeError, "weights of shape"),
        ({"weights": with_one(np.ones((3, SIDE, SIDE)), -1.0)}, DataError, "weights are negative"),
        ({"weights": with_one(np.ones((3, SIDE, SIDE)), np.nan)}, DataError, "weights are negative or not finite"),
        ({"data": with_one(clean(3), np.nan)}, DataError, "number 1 is the first, have pixels that are not finite"),
        ({"weights": np.arange(3)[:, None, None] * np.ones((3, SIDE, SIDE))}, DataError, "number 0 .* no usable pixel"),
        ({"data": 1e-3 * clean(3)}, DataError, "no galaxy"),
        ({"psf": np.zeros((5, 5))}, PSFError, "sums to 0"),
        ({"psf": np.ones((2, 5, 5))}, PSFError, "2 PSFs for 3 stamps"),
        ({"psf": np.ones(5)}, PSFError, "a PSF is an image"),
        ({"level": np.ones(2)}, ShapeError, "levels of shape"),
        ({"level": -1.0}, DataError, "level"),
    ),
)
def test_what_is_no_stamp_is_named(changes: dict, error: type[ScarletSEDError], match: str) -> None:
    with pytest.raises(error, match=match):
        Stamps.of(*bad(**changes))


def test_pixels_without_weight_may_hold_anything() -> None:
    data = with_one(100 * clean(3), np.nan)
    found = Stamps.of(data, with_one(np.ones(data.shape), 0.0), PSF)
    assert float(found.data[1, 3, 3]) == 0.0
