"""Pictures: colour, scene, source cut-outs, residuals, charts, posteriors. Functions return an array or a Figure."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from scarlet_sed.plot.charts import loss as loss
from scarlet_sed.plot.charts import residual_histograms as residual_histograms
from scarlet_sed.plot.observed import layers_of as layers_of
from scarlet_sed.plot.observed import view as view
from scarlet_sed.plot.panels import inputs as inputs
from scarlet_sed.plot.panels import residual as residual
from scarlet_sed.plot.panels import scene as scene
from scarlet_sed.plot.panels import source as source
from scarlet_sed.plot.rgb import Stretch as Stretch
from scarlet_sed.plot.rgb import residual_rgb as residual_rgb
from scarlet_sed.plot.rgb import rgb as rgb
from scarlet_sed.plot.sed import Drawn as Drawn
from scarlet_sed.plot.sed import sed as sed
from scarlet_sed.plot.view import Layer as Layer
from scarlet_sed.plot.view import View as View
from scarlet_sed.plot.view import make_view as make_view

if TYPE_CHECKING:
    from scarlet_sed.plot.chains import rank as rank
    from scarlet_sed.plot.chains import trace as trace
    from scarlet_sed.plot.corners import corner as corner
    from scarlet_sed.plot.maps import property_maps as property_maps
    from scarlet_sed.plot.predictions import predictive as predictive
    from scarlet_sed.plot.shares import information as information

# imported when first used: the diagnostics that pictures of posteriors quote take a second, which fits do without
_LATER = {
    "corner": "scarlet_sed.plot.corners",
    "information": "scarlet_sed.plot.shares",
    "predictive": "scarlet_sed.plot.predictions",
    "property_maps": "scarlet_sed.plot.maps",
    "rank": "scarlet_sed.plot.chains",
    "trace": "scarlet_sed.plot.chains",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LATER[name]), name)
