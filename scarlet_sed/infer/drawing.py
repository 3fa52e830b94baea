"""Draw a scene as an observation sees it, without fitting anything."""

from typing import Any, NamedTuple

import numpy as np

from scarlet_sed.errors import SourceError
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


class Isolated(NamedTuple):
    """A source among others.

    Args:
        observation: with the modelled light of all others taken off.
        share: (band, H, W) of the modelled light that is the source's; zero where there is none.
    """

    observation: Observation
    share: HostArray


def isolate(scene: Scene, observation: Observation, source: str) -> Isolated:
    """Take the light of all sources but one off the data; what the model leaves of the data stays.

    Args:
        scene: fitted.
        observation: with its fitted sky, calibration and shift.
        source: the name of the one that stays.

    Raises:
        SourceError: if there is no such source.
    """
    models = render_sources(scene, observation)
    if source not in models:
        raise SourceError(f"there is no source {source!r}", fix=f"choose among {', '.join(models)}")
    others: HostArray = np.zeros(observation.shape)
    for name, image in models.items():
        others += 0.0 if name == source else image
    own = np.maximum(models[source], 0.0)
    total = own + np.maximum(others, 0.0)
    share = np.where(total > 0, own / np.where(total > 0, total, 1.0), 0.0)
    return Isolated(observation.with_data(np.asarray(observation.data, float) - others), share)


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
