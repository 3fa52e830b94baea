"""Which part of a free image is its prior's."""

import numpy as np
from matplotlib.figure import Figure

from scarlet_sed.infer.information import ImageInformation
from scarlet_sed.infer.sampling.maps import brightest
from scarlet_sed.plot.maps import panel, window_of
from scarlet_sed.plot.style import new_figure

_SHOWN = 0.999
"""Share of the light that lies in the window."""
_LINES = (0.5, 0.9)
_PANEL = 2.7
_FAINTEST = 1e-4
"""Of the peak."""


def information(found: ImageInformation) -> Figure:
    """A fitted image and the prior's share of what is known of it; lines hold 50 and 90 % of the light.

    Args:
        found: one of those that `scarlet_sed.image_information` gives.
    """
    window = window_of(brightest(found.image, _SHOWN))
    height, width = (s.stop - s.start for s in window)
    figure = new_figure(2 * _PANEL, _PANEL * height / width + 0.75)
    left, right = figure.subplots(1, 2)
    light = np.log10(np.maximum(found.image / found.image.max(), _FAINTEST))[window]
    panel(left, light, "fitted image", "log of its peak", "gray", limits=(np.log10(_FAINTEST), 0.0))
    panel(right, found.share[window], "prior's share of what is known", "", "RdYlBu_r", limits=(0.0, 1.0))
    for axes, color in ((left, "white"), (right, "black")):
        for share in _LINES:
            inside = brightest(found.image, share)[window]
            if inside.any() and not inside.all():
                axes.contour(inside.astype(float), [0.5], colors=color, linewidths=0.8)
    return figure
