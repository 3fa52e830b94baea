"""Boxes that leave out no light that the data could tell.

A source is drawn out to where it is lost in the noise: a share of the flux, as the error budget has it, would draw a
faint galaxy of index 4 out to a hundred radii. What is left out must not matter. If it differs from nothing by
s standard deviations of the data, no parameter of a linear model is off by more than s of its own (Cauchy-Schwarz).

A box that is too small hides that it is: the shape that fits it best is a smaller one. So a box also holds what the
source may yet turn out to be, a profile of index 2 not smaller than the PSF.
"""

import numpy as np

from scarlet_sed.instrument.frame import Frame
from scarlet_sed.instrument.observation import Observation
from scarlet_sed.morphology.base import Morphology
from scarlet_sed.morphology.sersic import Sersic
from scarlet_sed.parameters import as_float, resolve
from scarlet_sed.scene.scene import Scene
from scarlet_sed.start.observations import Observations, as_list
from scarlet_sed.typing import HostArray

TELLING = 0.5
"""Standard deviations of the data that the light outside a box may make."""

_AIM = 0.3
"""What a box that has to grow leaves out: less, as the source may still grow."""

_WIDTHS = (32, 64, 128, 192, 256, 384, 512, 768, 1024)
"""Widths of boxes in model pixels: few, because every width in use is compiled once."""

_POSSIBLE_INDEX = 2.0
_TRUSTED = 12.0
"""Widths of the broadest PSF: what fits a box this wide has the shape that it seems to have, and grows by that."""

_OUTSIDE = np.geomspace(0.9, 1e-4, 40)
"""Shares of the flux outside the circles on which the light outside is summed."""


def with_room(scene: Scene, observations: Observations) -> Scene:
    """The scene with those boxes enlarged whose sources have light outside that the data could tell.

    Boxes never shrink; sources without a width of their own (`Source.box` is None) keep to the error budget.

    Args:
        scene: its present values are used.
        observations: one or several.

    Returns:
        the same object where no box has to grow.
    """
    several, values = as_list(observations), scene.values
    depths = [_depth(observation) for observation in several]
    least = max(float(np.max(o.fwhm)) for o in several)
    grown = {}
    for name, source in scene.sources.items():
        if source.box is None:
            continue
        wanted, redshift = source.box, as_float(values[f"{name}.redshift"])
        for _, component in source.components():
            flux = [np.asarray(component.spectrum(o.filters, redshift), dtype=float) for o in several]
            seen = sum(float(np.square(f) @ depth) for f, depth in zip(flux, depths, strict=True))
            possible = _width(_possible(component.morphology, least), seen, source.box)
            fitted = _width(resolve(component.morphology), seen, source.box)
            wanted = max(wanted, fitted, min(possible, _TRUSTED * least))
        if wanted > source.box and snapped(wanted, scene.frame) > source.box:
            grown[name] = source.boxed(snapped(wanted, scene.frame))
    return scene.with_sources({**scene.sources, **grown}) if grown else scene


def snapped(width: float, frame: Frame) -> float:
    """The next width in arcsec, of few, that a box may have."""
    limit = min(frame.shape)
    chosen = next((n for n in _WIDTHS if n * frame.pixel_scale >= width), limit)
    return (min(chosen, limit) - 0.01) * frame.pixel_scale


def light_outside(morphology: Morphology) -> tuple[HostArray, HostArray]:
    """How much light there is outside of circles: their radii, and the integral of its squared surface brightness.

    Args:
        morphology: with a total flux of one.

    Returns:
        (circle,) radii in arcsec, and (circle,) integrals in arcsec^-2.
    """
    radius = np.array([morphology.extent(1.0 - share) for share in _OUTSIDE])
    flux, area = -np.diff(_OUTSIDE), np.pi * np.diff(np.square(radius))
    rings = np.square(flux) / np.maximum(area, 1e-12)
    return radius[:-1], np.cumsum(rings[::-1])[::-1]


def _depth(observation: Observation) -> HostArray:
    """(band,) mean inverse variance of a square arcsecond, of the pixels that are used."""
    weights = np.asarray(observation.weights, dtype=float)
    used = np.maximum(np.count_nonzero(weights > 0, axis=(1, 2)), 1)
    depth: HostArray = weights.sum(axis=(1, 2)) / used * observation.grid.pixel_scale**2
    return depth


def _possible(morphology: Morphology, fwhm: float) -> Morphology:
    """What a source that fits its box may turn out to be in a larger one."""
    radius = max(resolve(morphology).extent(0.5), fwhm)
    return Sersic(as_float(radius), as_float(_POSSIBLE_INDEX), as_float(np.zeros(2)))


def _width(morphology: Morphology, seen: float, box: float) -> float:
    """The width in arcsec that a box should have, if the present one leaves out too much.

    Args:
        morphology: with a total flux of one.
        seen: the squared signal-to-noise of the flux, all bands together, if it filled one square arcsecond.
        box: the present width.
    """
    radius, outside = light_outside(morphology)
    lost = np.sqrt(seen * outside)
    if np.interp(box / 2, radius, lost) <= TELLING:
        return box
    return 2.0 * float(radius[np.argmax(lost <= _AIM)] if lost[-1] <= _AIM else radius[-1])
