"""What to know before a row of the catalogue is used."""

from collections.abc import Mapping, Sequence
from enum import IntFlag
from typing import Any

import numpy as np

from scarlet_sed.instrument.observation import Observation
from scarlet_sed.scene.scene import Scene
from scarlet_sed.typing import HostArray

TRUNCATION_LIMIT = 0.02
"""Fraction of a source's flux outside its box above which it is flagged."""
ASTRAY_LIMIT = 4.0
"""Standard deviations of its prior that a position may be off before the source is flagged."""


class Flag(IntFlag):
    """What to know before a row is used. `describe` gives the words."""

    GOOD = 0
    TRUNCATED = 1
    EDGE = 2
    FAINT = 4
    NO_ERRORS = 8
    NOT_CONVERGED = 16
    CENTER_MASKED = 32
    ASTRAY = 64

    def describe(self) -> str:
        """The flags in words, "good" for none."""
        words = [_WORDS[flag] for flag in Flag if flag and flag in self]
        return ", ".join(words) or "good"


_WORDS = {
    Flag.TRUNCATED: f"more than {TRUNCATION_LIMIT:.0%} of the flux is outside the box",
    Flag.EDGE: "close to the edge of the image",
    Flag.FAINT: "below 3 sigma in every band",
    Flag.NO_ERRORS: "without uncertainties",
    Flag.NOT_CONVERGED: "from a fit that did not converge",
    Flag.ASTRAY: f"more than {ASTRAY_LIMIT:g} sigma away from where its prior puts it",
    Flag.CENTER_MASKED: "its centre is masked in every band",
}


def find_flags(
    scene: Scene,
    columns: Mapping[str, Any],
    flux: HostArray,
    flux_error: HostArray,
    finest: Observation,
    observations: Sequence[Observation],
    with_errors: bool,
    converged: bool,
) -> list[Flag]:
    """The flags of each row.

    Args:
        scene: the scene, whose sources are the rows in order.
        columns: the catalogue's columns so far.
        flux, flux_error: (row, band) nJy.
        finest: the observation that pixel columns refer to.
        observations: all of them.
        with_errors: whether uncertainties were computed.
        converged: whether the fit converged.
    """
    height, width = finest.grid.shape
    margin = 0.25 / finest.grid.pixel_scale  # a few NIRCam FWHM
    found = []
    for row, source in enumerate(scene.sources.values()):
        x, y = columns["x"][row].value, columns["y"][row].value
        flag = Flag.GOOD if converged else Flag.NOT_CONVERGED
        if columns["truncated"][row] > TRUNCATION_LIMIT:
            flag |= Flag.TRUNCATED
        if min(x, y, width - 1 - x, height - 1 - y) < margin:
            flag |= Flag.EDGE
        if not with_errors or not np.all(np.isfinite(flux_error[row])):
            flag |= Flag.NO_ERRORS
        elif np.all(flux[row] < 3 * flux_error[row]):
            flag |= Flag.FAINT
        if all(_masked(scene, o, columns["east"][row].value, columns["north"][row].value) for o in observations):
            flag |= Flag.CENTER_MASKED
        if source.position_pull > ASTRAY_LIMIT:
            flag |= Flag.ASTRAY
        found.append(flag)
    return found


def _masked(scene: Scene, observation: Observation, east: float, north: float) -> bool:
    """Whether no band of the observation has a used pixel there."""
    x, y = np.round(observation.grid.pixels(np.array([east, north]), scene.frame.tangent_point)).astype(int)
    height, width = observation.grid.shape
    if not (0 <= x < width and 0 <= y < height):
        return True
    return not bool(np.any(np.asarray(observation.weights[:, y, x]) > 0))
