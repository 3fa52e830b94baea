"""Detection on the real COSMOS-Web ring, against the list made by eye before the detector was written."""

import numpy as np
import pytest

from scarlet_sed.instrument.frame import Frame
from scarlet_sed.start.detect import detect
from scarlet_sed.start.detections import Detections
from tests.start.ring import ring_observations, score


@pytest.fixture(scope="module")
def found(shared) -> Detections:
    observations = ring_observations(shared)
    return detect(observations, Frame.covering(observations))


def test_recall_and_precision_on_the_ring_field(found):
    result = score(found)
    assert result["real"] == 19
    assert result["recall"] >= 0.94, result["missed"]
    assert result["precision"] >= 0.9, result["false"]


def test_the_ring_is_not_shredded_and_artefacts_are_left_alone(found):
    result = score(found)
    assert result["parts"] <= 3
    assert result["artefacts"] == 0
    assert found.outliers["sw"][1, 416, 416] and not found.outliers["lw"].any()


def test_the_bright_galaxy_owns_its_ring(found):
    """The territory of the brightest source holds most of the light within 1.5 arcsec of it."""
    combined = found.combined
    y, x = np.mgrid[: combined.image.shape[0], : combined.image.shape[1]]
    middle = np.hypot(x + combined.corner[0] - found.x[0], y + combined.corner[1] - found.y[0]) < 50
    bright = middle & (combined.snr > 20)
    assert np.mean(found.labels[bright] == 1) > 0.8
