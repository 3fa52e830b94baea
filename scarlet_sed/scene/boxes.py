"""Boxes: how large a source is drawn, and where on the model grid.

Sizes come in a few buckets, so that sources share compiled programs; offsets are data.
"""

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np

from scarlet_sed.instrument.frame import Frame
from scarlet_sed.light import Component
from scarlet_sed.morphology.base import Morphology, PixelGrid
from scarlet_sed.parameters import as_float, resolve
from scarlet_sed.typing import ArrayLike

# model pixels; steps of about 1.2 keep the drawn area within a factor 1.5 of what is asked
BUCKETS = (
    *(12, 16, 20, 24, 28, 32, 36, 42, 48, 56, 64, 72, 84, 96, 112, 128, 144, 168, 192, 224, 256),
    *(296, 336, 384, 448, 512, 592, 672, 768, 896, 1024),
)
# every size of box is a program of its own: a few seconds of compilation buy this share more pixels
_WASTE = 0.3
_FREE_WASTE = 20_000


class Box(NamedTuple):
    """A rectangle of model pixels: its shape and the (row, column) of its first pixel."""

    shape: tuple[int, int]
    offset: tuple[int, int]

    def grid(self, frame: Frame, position: ArrayLike) -> PixelGrid:
        """Its pixels, seen from an (east, north) position in arcsec."""
        x, y = frame.pixel(np.asarray(position, float))
        rows, columns = (np.arange(size) + first for size, first in zip(self.shape, self.offset, strict=True))
        return PixelGrid(as_float(columns - x), as_float(rows - y), as_float(frame.matrix), as_float(frame.psf_sigma))


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


def requested_width(component: Component, box: float | None, frame: Frame, error_budget: float) -> float:
    """Width in model pixels of the box of one component: as the user asked, or from the error budget.

    Args:
        component: what is drawn.
        box: full width in arcsec that the user asked for, or None.
        frame: the model grid.
        error_budget: fraction of the flux that may fall outside, where `box` is None.
    """
    if box is None:
        return component_width(component, frame, error_budget)
    return box / frame.pixel_scale


def merge(widths: Sequence[float], kinds: Sequence[Hashable]) -> list[float]:
    """Widths enlarged so that components of one kind come in few sizes, for a bounded share of wasted pixels.

    Args:
        widths: of each component, in pixels.
        kinds: components of different kinds have different programs anyway.
    """
    merged = list(widths)
    for kind in dict.fromkeys(kinds):
        members = sorted((i for i, k in enumerate(kinds) if k == kind), key=lambda i: -widths[i])
        allowance = _WASTE * sum(widths[i] ** 2 for i in members) + _FREE_WASTE
        size = widths[members[0]]
        for i in members:
            extra = size**2 - widths[i] ** 2
            if extra > allowance:
                size, extra = widths[i], 0.0
            allowance -= extra
            merged[i] = size
    return merged
