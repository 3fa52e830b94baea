"""Observations as a list, and ready for a fit: sky levels and shifts to start from."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpyro.distributions as dist

from scarlet_sed.errors import DataError
from scarlet_sed.instrument.observation import Observation
from scarlet_sed.parameters import Parameter
from scarlet_sed.paths import replace_slots
from scarlet_sed.start.sky import observed_sky

Observations = Observation | Sequence[Observation] | Mapping[str, Observation]


def as_list(observations: Observations) -> list[Observation]:
    """Observations as a list.

    Raises:
        DataError: if there are none, or something else is among them.
    """
    if isinstance(observations, Observation):
        return [observations]
    several = list(observations.values()) if isinstance(observations, Mapping) else list(observations)
    if not several or not all(isinstance(observation, Observation) for observation in several):
        raise DataError("observations are expected", fix="pass an ss.Observation, or a non-empty list or dict of them")
    return several


def free_sky(observations: Observations) -> list[Observation]:
    """The observations with free sky levels that start at the median of their blank pixels.

    The prior is a Gaussian around it of half the scatter of single pixels: wide against what a fit can tell, narrow
    enough to keep a source that fills the image from becoming sky.
    """
    ready = []
    for observation in as_list(observations):
        skies = observed_sky(observation)
        level = np.array([sky.level for sky in skies])
        width = np.array([0.5 * float(np.median(sky.rms[sky.blank])) for sky in skies])
        ready.append(replace_slots(observation, {"sky": Parameter(level, dist.Normal(level, width))}))
    return ready
