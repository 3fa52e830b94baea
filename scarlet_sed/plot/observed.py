"""Views of observations with their models: the one-liner in front of every picture."""

from collections.abc import Mapping, Sequence

import numpy as np

from scarlet_sed.instrument.frame import Frame
from scarlet_sed.instrument.observation import Observation
from scarlet_sed.plot.view import Layer, View, make_view
from scarlet_sed.typing import HostArray


def view(
    observations: Observation | Sequence[Observation],
    models: HostArray | Mapping[str, HostArray],
    frame: Frame | None = None,
) -> View:
    """Observations and models on the finest grid, for `plot.scene`, `plot.source` and `plot.rgb`.

    Args:
        observations: one or several.
        models: (band, H, W) rendered model in nJy, sky included; by observation's name where there are several
            (`FitResult.models`).
        frame: the scene's frame; by default one that covers the observations.
    """
    several = [observations] if isinstance(observations, Observation) else list(observations)
    by_name = models if isinstance(models, Mapping) else {several[0].name: models}
    return make_view(layers_of(frame or Frame.covering(several), several), by_name)


def layers_of(frame: Frame, observations: Sequence[Observation]) -> dict[str, Layer]:
    """Observations as a view takes them."""
    return {
        o.name: Layer(
            bands=tuple(o.filters.names),
            wavelengths=_wavelengths(o),
            data=np.asarray(o.data, dtype=float),
            weights=np.asarray(o.weights, dtype=float),
            pixel_scale=o.grid.pixel_scale,
            pixel_map=np.asarray(frame.pixel_map(o.grid)),
        )
        for o in observations
    }


def _wavelengths(observation: Observation) -> tuple[float, ...]:
    pivots = np.asarray(observation.filters.pivot, dtype=float)
    # bands without curves keep their order
    return tuple(np.where(np.isfinite(pivots), pivots, np.arange(len(pivots), dtype=float)).tolist())
