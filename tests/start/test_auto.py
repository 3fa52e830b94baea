"""The choice of models on a field where the answer is known."""

import galsim
import numpy as np
import pytest

from scarlet_sed.errors import SourceError
from scarlet_sed.instrument.frame import Frame
from scarlet_sed.start.auto import choose_models
from scarlet_sed.start.detect import detect
from scarlet_sed.start.detections import Detections
from scarlet_sed.start.evidence import Goodness, better
from tests.start.blends import Drawn, matched, observe


def test_a_star_a_galaxy_and_a_ring_each_get_their_model():
    star = Drawn(-24.0, -24.0, (900.0, 900.0))
    galaxy = Drawn(22.0, -20.0, (2500.0, 3500.0), galsim.Sersic(n=1.0, half_light_radius=0.2))
    core = Drawn(0.0, 18.0, (500.0, 1000.0), galsim.Gaussian(half_light_radius=0.08))
    knots = np.arange(20) * (2 * np.pi / 20)
    ring = [
        Drawn(12 * np.cos(t), 18 + 12 * np.sin(t), (90.0, 90.0), galsim.Gaussian(half_light_radius=0.06)) for t in knots
    ]
    observation = observe([star, galaxy, core, *ring], size=81)
    frame = Frame.covering(observation)
    found = detect(observation, frame)
    which = matched(found, [star, galaxy, core], size=81)
    assert -1 not in which
    choice = choose_models(observation, frame, found, steps=120)
    names = [found.names[i] for i in which]
    assert choice.models[names[0]] == "point"
    assert choice.models[names[1]] == "sersic"
    assert choice.models[names[2]] == "sersic+pixels"
    assert choice.goodness.reduced[which[2]] < 1.3
    assert [name for name, _ in choice.scene.sources[names[2]].components()] == ["pixels", "sersic"]


def test_a_catalogue_has_no_footprints():
    observation = observe([Drawn(0.0, 0.0, (500.0, 500.0))])
    frame = Frame.covering(observation)
    listed = Detections.from_catalog(frame, np.zeros((1, 2)))
    with pytest.raises(SourceError, match="no footprints"):
        choose_models(observation, frame, listed)


def test_evidence_asks_more_of_more_parameters():
    before = Goodness(np.array([150.0]), np.array([100.0]))
    after = Goodness(np.array([130.0]), np.array([100.0]))
    assert better(before, after, 0, 4) and not better(before, after, 0, 5)
    assert better(after, Goodness(np.array([140.0]), np.array([100.0])), 0, -4)
    assert before.excess[0] == pytest.approx(50 / np.sqrt(200))
