"""Detection against simulated blends with known truth."""

import galsim
import numpy as np
import pytest

from scarlet_sed.errors import DataError, ShapeError, SourceError
from scarlet_sed.instrument.frame import Frame
from scarlet_sed.start.detect import detect, measure
from scarlet_sed.start.detections import Detections
from scarlet_sed.start.initialize import initial_scene
from tests.start.blends import FWHM, SCALE, Drawn, flux_for, matched, observe


def test_a_field_of_points_is_found_and_nothing_else():
    rng = np.random.default_rng(5)
    spots = [(-36, -36), (-36, 0), (-36, 36), (0, -36), (0, 0), (0, 36), (36, -36), (36, 0), (36, 36)]
    flux = flux_for(9.0)
    sources = [Drawn(x + rng.uniform(-0.5, 0.5), y + rng.uniform(-0.5, 0.5), (flux, flux)) for x, y in spots]
    found = detect(observe(sources))
    assert matched(found, sources).count(-1) == 0
    assert len(found) <= len(sources) + 1  # one noise peak above five sigma in 10,000 pixels would be bad luck


def test_blank_sky_gives_nothing_whatever_the_noise_map_says():
    assert len(detect(observe([], noise_factor=3.0))) == 0
    assert len(detect(observe([], noise_factor=0.3, seed=2))) == 0


@pytest.mark.parametrize(("separation", "ratio"), [(1.5, 1.0), (2.0, 1.0), (3.0, 1.0), (2.0, 0.5), (3.0, 0.2)])
def test_close_pairs_are_told_apart(separation, ratio):
    """At signal-to-noise 60, pairs of points down to 1.5 FWHM (2 where one is fainter), over the pixel grid."""
    apart = separation * FWHM / SCALE
    found_both = 0
    for trial in range(6):
        rng = np.random.default_rng(trial)
        angle, x, y = rng.uniform(0, 2 * np.pi), *rng.uniform(-0.5, 0.5, 2)
        bright = flux_for(60.0)
        pair = [
            Drawn(x, y, (bright, bright)),
            Drawn(x + apart * np.cos(angle), y + apart * np.sin(angle), (ratio * bright, ratio * bright)),
        ]
        found = detect(observe(pair, seed=trial, size=81))
        found_both += matched(found, pair, size=81).count(-1) == 0
        assert len(found) <= 2
    assert found_both >= (6 if separation >= 2 else 5)


def test_a_bright_spiral_is_not_shredded_and_a_neighbour_in_its_light_is_found():
    galaxy = galsim.Sersic(n=1.0, half_light_radius=0.5).shear(q=0.6, beta=40 * galsim.degrees)
    total = 3e4
    knots = [(9, 4), (-8, -5), (5, -9), (-3, 10)]
    sources = [Drawn(0, 0, (total, total), galaxy)]
    sources += [Drawn(x, y, (0.003 * total, 0.003 * total), galsim.Gaussian(half_light_radius=0.08)) for x, y in knots]
    neighbour = Drawn(-18.0, 24.0, (250.0, 250.0))
    found = detect(observe([*sources, neighbour]))
    assert matched(found, [sources[0], neighbour]).count(-1) == 0
    assert len(found) <= 3


def test_shapes_sizes_and_directions_on_the_sky():
    """An ellipse at a position angle of 30 degrees east of north; without a WCS east is to the left."""
    angle = 30.0
    profile = galsim.Gaussian(half_light_radius=0.3).shear(q=0.5, beta=(90 + angle) * galsim.degrees)
    found = detect(observe([Drawn(4.0, -3.0, (4000.0, 4000.0), profile)]))
    assert len(found) == 1
    g = (1 - 0.5) / (1 + 0.5)
    expected = g * np.array([np.cos(np.deg2rad(2 * angle)), np.sin(np.deg2rad(2 * angle))])
    np.testing.assert_allclose(found.ellipticity[0], expected, atol=0.04)
    np.testing.assert_allclose(found.position[0], [-4.0 * SCALE, -3.0 * SCALE], atol=1.5 * SCALE)
    assert found.radius[0] == pytest.approx(0.3, rel=0.15)


def test_two_grids_add_up():
    """A source too faint for either grid alone is found in both together."""
    flux = flux_for(4.3, bands=1)
    source = [Drawn(3.0, 2.0, (flux,))]
    fine = observe(source, bands=("F150W",), seed=3)
    coarse_flux = flux_for(4.6, bands=1, fwhm=0.14, scale=0.06)
    coarse = observe(
        [Drawn(3.0, 2.0, (coarse_flux,))], size=51, bands=("F277W",), scale=0.06, fwhm=0.14, seed=4, name="lw"
    )
    found = detect([fine, coarse])
    assert matched(found, source, radius=2.5)[0] >= 0


def test_a_hot_pixel_is_no_source():
    observation = observe([])
    data = np.array(observation.data)
    data[0, 40, 60] = 80.0
    spoiled = observation._replaced(data=data)
    found = detect(spoiled)
    assert len(found) == 0
    assert found.outliers["sw"][0, 40, 60] and not found.outliers["sw"][1].any()


def test_the_table_has_units_and_selection_keeps_territories():
    sources = [Drawn(-20, 0, (400.0, 400.0)), Drawn(20, 0, (200.0, 200.0))]
    found = detect(observe(sources))
    table = found.to_table()
    assert str(table["east"].unit) == "arcsec" and str(table["flux"].unit) == "nJy" and "ra" not in table.colnames
    second = found.select([1])
    assert len(second) == 1 and set(np.unique(second.labels)) == {0, 1}
    assert second.x[0] == found.x[1]


def test_known_positions_are_measured_as_found_ones_are():
    """In any order, at the positions given; sizes that are known are kept, and sources without light do no harm."""
    sources = [
        Drawn(-20, 0, (400.0, 400.0), galsim.Exponential(half_light_radius=0.15)),
        Drawn(20, 0, (200.0, 200.0)),
        Drawn(5, 22, (90.0, 90.0)),
    ]
    observation = observe(sources)
    frame = Frame.covering(observation)
    found = detect(observation, frame)
    assert len(found) == 3
    nowhere = frame.position(np.array([20.0, 20.0]))
    position = np.concatenate([found.position[::-1], [nowhere]])
    listed = measure(observation, frame, position, radius=np.array([np.nan, 0.07, np.nan, np.nan]), position_error=0.02)
    assert listed.position_error == 0.02 and listed.combined is not None
    np.testing.assert_allclose(listed.position, position, atol=1e-6)
    np.testing.assert_allclose(listed.x[:3], found.x[::-1], atol=1e-3)
    for name in ("flux", "extent", "ellipticity"):
        np.testing.assert_allclose(getattr(listed, name)[:3], getattr(found, name)[::-1], rtol=0.1, atol=0.02)
    np.testing.assert_allclose(listed.radius[[0, 2]], found.radius[[2, 0]], rtol=0.1)
    assert listed.radius[1] == 0.07
    assert listed.snr[3] < 5 and np.isfinite(listed.radius[3]) and listed.radius[3] > 0
    for mine, theirs in enumerate((2, 1, 0)):
        assert np.mean((listed.labels == mine + 1) == (found.labels == theirs + 1)) > 0.99
    scene = initial_scene(observation, frame, listed)
    np.testing.assert_allclose(scene.sources["s01"].position.prior.scale, 0.02)
    with pytest.raises(ShapeError, match="positions of shape"):
        measure(observation, frame, np.zeros(3))


def test_a_companion_without_a_top_of_its_own_is_measured_in_its_neighbours_light():
    """Nearly all of its pixels drain to the bright neighbour, whose smooth light is taken off first."""
    bright = galsim.Sersic(2.68, half_light_radius=0.115).shear(g1=0.3, g2=-0.32)
    faint = galsim.Sersic(1.1, half_light_radius=0.22)
    ratios = []
    for seed in range(8):
        x, y = 6 * np.cos(0.8 * seed), 6 * np.sin(0.8 * seed)
        turned = faint.shear(q=0.3, beta=22 * seed * galsim.degrees)
        pair = [Drawn(-x, -y, (4100.0, 4100.0), bright), Drawn(x, y, (150.0, 150.0), turned)]
        observation = observe(pair, size=121, seed=seed)
        places = np.array([[x, -y], [-x, y]]) * SCALE  # east is to the left
        found = measure(observation, Frame.covering(observation), places + 0.01)
        ratios.append((found.flux[1] / 150.0, found.radius[1] / 0.22))
    assert np.min(ratios) > 0.1 and np.max(ratios) < 2
    assert np.all(np.median(ratios, axis=0) > 0.35)


def test_bad_input_is_refused():
    with pytest.raises(DataError, match="observations are expected"):
        detect([])
    observation = observe([])
    frame = Frame.covering(observation)
    with pytest.raises(SourceError, match="nothing was detected"):
        initial_scene(observation, frame, detect(observation, frame))
    with pytest.raises(ShapeError, match="positions of shape"):
        Detections.from_catalog(frame, np.zeros(3))
