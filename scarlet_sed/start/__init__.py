"""From pixels to a scene that is ready to be fitted: detection, first models, linear fluxes, choice of models."""

from scarlet_sed.start.auto import Choice, choose_models
from scarlet_sed.start.detect import detect, measure
from scarlet_sed.start.detections import Detections
from scarlet_sed.start.fluxes import LinearFluxes, initialize, linear_fluxes
from scarlet_sed.start.initialize import initial_scene
from scarlet_sed.start.models import MODELS
from scarlet_sed.start.observations import free_sky
from scarlet_sed.start.sky import expected_variance

__all__ = [
    "MODELS",
    "Choice",
    "Detections",
    "LinearFluxes",
    "choose_models",
    "detect",
    "expected_variance",
    "free_sky",
    "initial_scene",
    "initialize",
    "linear_fluxes",
    "measure",
]
