"""Where on an observation the light of a source falls, and which sources can be drawn at once.

Derivatives and unit images of sources whose windows do not overlap fit into one image, so that their number grows with
the crowding of a scene, not with its size.
"""

from collections.abc import Sequence

import numpy as np

from scarlet_sed.instrument.frame import Frame
from scarlet_sed.instrument.observation import Observation
from scarlet_sed.scene.boxes import Box

Window = tuple[slice, slice]
"""(rows, columns) of an observation; empty for what lies outside it."""

_WINGS = 6.0
"""How far, in FWHM of the PSF, an image is followed beyond its box."""


def wings(observation: Observation) -> float:
    """How far beyond its box the light of a source is followed, in pixels of the observation."""
    return _WINGS * max(float(psf.fwhm) for psf in observation.psfs)


def window(boxes: Sequence[Box], frame: Frame, observation: Observation, margin: float) -> Window:
    """The smallest window of an observation that holds the light of these boxes.

    Args:
        boxes: of a source's components.
        frame: the model grid.
        observation: which.
        margin: from `wings`, made once for all boxes.
    """
    top, left = np.min([box.offset for box in boxes], axis=0)
    bottom, right = np.max([np.add(box.offset, box.shape) for box in boxes], axis=0)
    corners = np.array([[left, top], [right, top], [left, bottom], [right, bottom]], dtype=float) - 0.5
    pixels = observation.grid.pixels(frame.position(corners), frame.tangent_point)
    low, high = np.floor(pixels.min(axis=0) - margin).astype(int), np.ceil(pixels.max(axis=0) + margin).astype(int)
    height, width = observation.grid.shape
    columns = slice(*np.clip([low[0], high[0] + 1], 0, width).tolist())
    return slice(*np.clip([low[1], high[1] + 1], 0, height).tolist()), columns


def overlap(a: Window, b: Window) -> bool:
    """Whether two windows of one observation share a pixel."""
    return all(p.start < q.stop and q.start < p.stop for p, q in zip(a, b, strict=True))


def common(a: Window, b: Window) -> Window:
    """The pixels that two windows share."""
    rows, columns = (slice(max(p.start, q.start), min(p.stop, q.stop)) for p, q in zip(a, b, strict=True))
    return rows, columns


def within(part: Window, whole: Window) -> Window:
    """A part of a window in rows and columns that count from the window's first pixel."""
    rows, columns = (slice(p.start - w.start, p.stop - w.start) for p, w in zip(part, whole, strict=True))
    return rows, columns


def colours(windows: Sequence[Sequence[Window]]) -> list[int]:
    """A number for each source so that sources of equal number overlap in no observation.

    Args:
        windows: of each source, in each observation.
    """
    colour: list[int] = []
    for i, mine in enumerate(windows):
        taken = {colour[j] for j in range(i) if any(overlap(a, b) for a, b in zip(mine, windows[j], strict=True))}
        colour.append(next(c for c in range(i + 1) if c not in taken))
    return colour
