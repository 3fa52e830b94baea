"""Pictures: colour, scene, source cut-outs, residuals, charts. Every function returns an array or a Figure."""

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
