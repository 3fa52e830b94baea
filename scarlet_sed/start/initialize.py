"""From detections to a scene that is ready to be fitted."""

from collections.abc import Mapping

import numpy as np
import numpyro.distributions as dist
from scipy import ndimage

from scarlet_sed.errors import SourceError
from scarlet_sed.instrument.frame import Frame
from scarlet_sed.parameters import Parameter
from scarlet_sed.scene.scene import Scene
from scarlet_sed.scene.source import Source
from scarlet_sed.start.boxes import snapped, with_room
from scarlet_sed.start.detections import Detections
from scarlet_sed.start.fluxes import initialize
from scarlet_sed.start.models import LATTICES, Seed, light_of
from scarlet_sed.start.observations import Observations, as_list
from scarlet_sed.start.sharpen import sharpened
from scarlet_sed.typing import HostArray

_FWHM = 2.354820045

_ROOM = 1.2
"""Half-width of a box over the radius at which the source is lost in the noise."""


def initial_scene(
    observations: Observations,
    frame: Frame,
    detections: Detections,
    model: str = "sersic",
    models: Mapping[str, str] | None = None,
    *,
    error_budget: float = 1e-3,
) -> Scene:
    """A scene with one source for each detection, fluxes by linear least squares.

    Args:
        observations: one or several.
        frame: the model grid.
        detections: from `detect`, or `Detections.from_catalog`. Names of sources are `detections.names`.
        model: class of every source, one of `start.models.MODELS` ("auto" is `choose_models`).
        models: class of single sources by name.
        error_budget: see `Scene`.

    Raises:
        SourceError: without detections, or for a model of a source that does not exist.
        ConfigError: for an unknown model.
    """
    several = as_list(observations)
    if len(detections) == 0:
        raise SourceError("nothing was detected", fix="lower the detection threshold, or give a catalogue")
    chosen = dict.fromkeys(detections.names, model) | dict(models or {})
    unknown = set(chosen) - set(detections.names)
    if unknown:
        raise SourceError(f"no source is named {min(unknown)!r}", fix=f"choose among {', '.join(detections.names)}")
    bands = tuple(dict.fromkeys(band for observation in several for band in observation.bands))
    sources = {
        name: make_source(detections, index, chosen[name], bands, frame) for index, name in enumerate(detections.names)
    }
    return with_room(initialize(Scene(sources, frame, error_budget), several), several)


def make_source(detections: Detections, index: int, model: str, bands: tuple[str, ...], frame: Frame) -> Source:
    """The source of one detection, with a flux of the right order and priors around what was measured."""
    seed = seed_of(detections, index)
    return Source(_position(detections, index, frame), light_of(model, seed, bands), box=_box(detections, index, model))


def seed_of(detections: Detections, index: int) -> Seed:
    """What detection knows of a source."""
    scale = _native_scale(detections)
    flux = float(detections.flux[index])
    flux = flux if np.isfinite(flux) and flux > 0 else 1.0
    snr = float(detections.snr[index])
    return Seed(
        radius=float(max(detections.radius[index], 0.25 * scale)),
        ellipticity=detections.ellipticity[index],
        flux=flux,
        noise=flux / snr if np.isfinite(snr) and snr > 0 else flux,
        picture=picture(detections, index),
        pixel_scale=scale,
    )


def picture(detections: Detections, index: int, image: HostArray | None = None) -> HostArray | None:
    """(n, n) light of a source around its position, the PSF taken off, other sources' territories left out.

    The frame's rows and columns are those of the combined image, so this is the start of a free image.

    Args:
        detections: of which the source is one.
        index: of the source.
        image: (h, w) in place of the combined image, such as a residual.
    """
    combined, labels = detections.combined, detections.labels
    if combined is None or labels is None:
        return None
    x = detections.x[index] - combined.corner[0]
    y = detections.y[index] - combined.corner[1]
    own = labels == index + 1
    rows, columns = np.nonzero(own & (combined.image > 0.5 * combined.noise))
    reach = 4.0 if len(rows) == 0 else max(np.abs(rows - y).max(), np.abs(columns - x).max())
    size = next((n for n in LATTICES if n >= 2 * reach + 3), LATTICES[-1])
    offsets = np.arange(size) - size // 2
    there = np.meshgrid(y + offsets, x + offsets, indexing="ij")
    light = np.where(own, combined.image if image is None else image, 0.0)
    here = ndimage.map_coordinates(light, there, order=1, mode="constant", cval=0.0)
    # the blobs of a free image (0.7 pixels) are part of the PSF's blur already
    return sharpened(here, np.sqrt(max((combined.fwhm / _FWHM) ** 2 - 0.7**2, 0.0)))


def _native_scale(detections: Detections) -> float:
    return detections.frame.pixel_scale * detections.frame.oversampling


def _position(detections: Detections, index: int, frame: Frame) -> Parameter:
    """A Gaussian around the detection: as known, or two native pixels, or a share of the size where that is more."""
    width = max(2.0 * _native_scale(detections), 0.2 * float(detections.radius[index]))
    if detections.position_error is not None:
        width = detections.position_error
    start = detections.position[index]
    return Parameter(start, dist.Normal(start, np.full(2, width)))


def _box(detections: Detections, index: int, model: str) -> float | None:
    """Full width in arcsec, somewhat beyond where the source is lost in the noise; None for the error budget."""
    if detections.combined is None or model in ("point", "pixels", "starlet"):
        return None
    elongation = 1 + float(np.hypot(*detections.ellipticity[index]))  # extent is circularised: the major axis is longer
    width = 2 * max(_ROOM * elongation * float(detections.extent[index]), 5 * _native_scale(detections))
    return snapped(width, detections.frame)
