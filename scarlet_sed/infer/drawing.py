"""Draw a scene as an observation sees it, without fitting anything."""

from typing import Any

import numpy as np

from scarlet_sed.infer.build import as_observations
from scarlet_sed.infer.posterior import LogPosterior, images, source_images, stamp_fluxes
from scarlet_sed.instrument.observation import Observation
from scarlet_sed.scene.scene import Scene
from scarlet_sed.typing import HostArray


def render(scene: Scene, observation: Observation) -> HostArray:
    """(band, height, width) model image in nJy, sky included, at the parameters' present values."""
    posterior = LogPosterior(scene, observation)
    return np.asarray(images(posterior.program, posterior.start)[0])


def render_sources(scene: Scene, observation: Observation) -> dict[str, HostArray]:
    """(band, height, width) light of each source alone in nJy, PSF-convolved, without sky, by name."""
    posterior = LogPosterior(scene, observation)
    return {
        name: np.asarray(source_images(posterior.program, posterior.start, np.int32(index))[0])
        for index, name in enumerate(scene.sources)
    }


def truncated(scene: Scene, observations: Any) -> dict[str, float]:
    """Fraction of each component's flux that falls outside the box it is drawn in, by path.

    The frame's edge cuts too: a source near the edge reports what lies beyond it.
    """
    posterior = LogPosterior(scene, as_observations(observations))
    drawn = stamp_fluxes(posterior.program, posterior.start)
    found: dict[str, float] = {}
    for paths, fluxes in zip(posterior.components, drawn, strict=True):
        found.update({path: float(1.0 - flux) for path, flux in zip(paths, np.asarray(fluxes, float), strict=False)})
    return {path: found[path] for path in scene.component_paths()}
