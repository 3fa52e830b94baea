"""Morphologies in a catalogue's terms: radii, axis ratio, position angle, index, each with its error."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from scarlet_sed.morphology.base import Morphology
from scarlet_sed.paths import slots
from scarlet_sed.typing import HostArray


@dataclass(frozen=True)
class Shape:
    """Morphology of a component in a catalogue's terms, value and error each; NaN where it has no such thing.

    Args:
        radius: circularised half-light radius in arcsec.
        semi_major: half-light radius along the major axis in arcsec.
        axis_ratio: minor over major axis.
        angle: position angle of the major axis in deg, east of north, 0 to 180.
        index: Sersic index.
    """

    radius: tuple[float, float]
    semi_major: tuple[float, float]
    axis_ratio: tuple[float, float]
    angle: tuple[float, float]
    index: tuple[float, float]


def shape_of(morphology: Morphology, errors: Mapping[str, HostArray]) -> Shape:
    """The shape of a morphology with plain values, from the slots named radius, ellipticity and index.

    Args:
        morphology: any; a user's own class counts if its slots have these names and meanings.
        errors: standard deviation by slot name.
    """
    values = {slot.path: np.asarray(slot.leaf, dtype=float) for slot in slots(morphology)}
    nothing = (np.nan, np.nan)
    radius, index = (
        (float(values[key]), float(errors.get(key, np.nan))) if key in values else nothing
        for key in ("radius", "index")
    )
    if "ellipticity" not in values:
        return Shape(radius, radius, nothing, nothing, index)
    ratio, angle = axis_ratio_angle(values["ellipticity"], errors.get("ellipticity", np.full(2, np.nan)))
    stretch = ratio[0] ** -0.5
    # a = r / sqrt(q): relative errors add in quadrature, that of q halved
    relative = np.hypot(radius[1] / radius[0], 0.5 * ratio[1] / ratio[0]) if radius[0] > 0 else np.nan
    return Shape(radius, (radius[0] * stretch, radius[0] * stretch * relative), ratio, angle, index)


def axis_ratio_angle(ellipticity: HostArray, error: HostArray) -> tuple[tuple[float, float], tuple[float, float]]:
    """Axis ratio and position angle (deg, 0 to 180), each with its error, of an ellipticity (2,).

    An angle whose error reaches that of no knowledge (180 / sqrt(12) deg) gets that one.
    """
    size = float(np.hypot(*ellipticity))
    ratio = (1 - size) / (1 + size)
    along = np.asarray(ellipticity) / size if size > 0 else np.array([1.0, 0.0])
    radial = float(np.hypot(*(along * error)))
    across = float(np.hypot(along[1] * error[0], along[0] * error[1]))
    unknown = 180 / np.sqrt(12)
    angle = float(np.degrees(0.5 * np.arctan2(ellipticity[1], ellipticity[0])) % 180)
    angle_error = min(np.degrees(0.5 * across / size), unknown) if size > 0 else unknown
    if not np.isfinite(across):
        angle_error = np.nan
    return (ratio, 2 * radial / (1 + size) ** 2), (angle, float(angle_error))
