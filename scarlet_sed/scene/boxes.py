"""Boxes: how large a source is drawn, and where on the model grid.

Sizes come in a few buckets, so that sources share compiled programs; offsets are data.
"""

from typing import NamedTuple

import numpy as np

from scarlet_sed.instrument.frame import Frame
from scarlet_sed.light import Component
from scarlet_sed.morphology.base import Morphology
from scarlet_sed.parameters import resolve

# model pixels; steps of at most 4/3 keep the drawn area within a factor 1.8 of what is asked
BUCKETS = (
    *(12, 16, 20, 24, 28, 32, 36, 42, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256),
    *(320, 384, 448, 512, 640, 768, 1024),
)


class Box(NamedTuple):
    """A rectangle of model pixels: its shape and the (row, column) of its first pixel."""

    shape: tuple[int, int]
    offset: tuple[int, int]


def bucket(size: float, limit: int) -> int:
    """The smallest bucket of at least `size` pixels, or `limit` where none is below it."""
    for candidate in BUCKETS:
        if size <= candidate < limit:
            return candidate
    return limit


def component_width(component: Component, frame: Frame, error_budget: float) -> float:
    """Width in model pixels that holds all but `error_budget` of a component's flux, model PSF included."""
    morphology: Morphology = resolve(component.morphology)
    extent = morphology.extent(1.0 - error_budget) / frame.pixel_scale
    # the two radii add in quadrature for a Gaussian; 4 sigma of the model PSF hold 99.97 % of its light
    return 2.0 * float(np.hypot(extent, 4.0 * frame.psf_sigma)) + 1.0


def place(width: float, pixel: tuple[float, float], frame_shape: tuple[int, int]) -> Box:
    """The box of about this width around a pixel (x, y), moved (never cut) so that it lies inside the frame."""
    height_width = tuple(bucket(width, limit) for limit in frame_shape)
    corner = [
        int(np.clip(round(center - size / 2), 0, limit - size))
        for center, size, limit in zip(reversed(pixel), height_width, frame_shape, strict=True)
    ]
    return Box((height_width[0], height_width[1]), (corner[0], corner[1]))


def component_box(
    component: Component, position: np.ndarray, box: float | None, frame: Frame, error_budget: float
) -> Box:
    """The box of one component.

    Args:
        component: what is drawn.
        position: (2,) offset of its source in arcsec.
        box: full width in arcsec that the user asked for, or None.
        frame: the model grid.
        error_budget: fraction of the flux that may fall outside, where `box` is None.
    """
    width = component_width(component, frame, error_budget) if box is None else box / frame.pixel_scale
    x, y = frame.pixel(position)
    return place(width, (float(x), float(y)), frame.shape)
