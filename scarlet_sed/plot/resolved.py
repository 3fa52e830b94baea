"""Maps of resolved galaxies: medians and half widths of what posteriors of pixels say."""

import numpy as np
from matplotlib.figure import Figure

from scarlet_sed.amortized.resolved import ResolvedProperties
from scarlet_sed.plot.maps import panel, scale_bar, window_of
from scarlet_sed.plot.style import INK, new_figure
from scarlet_sed.typing import HostArray

_SHOWN: dict[str, tuple[str, str, str]] = {
    "log_surviving_mass": ("stellar mass", r"log M$_\odot$ kpc$^{-2}$", "viridis"),
    "log_sfr100": ("star formation, 100 Myr", r"log M$_\odot$ yr$^{-1}$ kpc$^{-2}$", "magma"),
    "mean_age": ("mass-weighted age", "Gyr", "YlOrBr"),
    "attenuation.av": ("$A_V$", "mag", "inferno"),
    "log_metallicity": ("metallicity", r"log Z/Z$_\odot$", "BrBG"),
}
"""Title, unit and colours by quantity."""
_PANEL = 2.7


def resolved(maps: ResolvedProperties, names: tuple[str, ...] | None = None) -> Figure:
    """Medians (above) and half widths of the 68 % intervals (below) of each quantity.

    Args:
        maps: what `scarlet_sed.map_properties` found.
        names: of quantities; None for mass, star formation, age, dust and metallicity where they are free.
    """
    chosen = tuple(n for n in _SHOWN if n in maps.quantiles) if names is None else names
    window = window_of(maps.labels >= 0)
    height, width = (s.stop - s.start for s in window)
    figure = new_figure(_PANEL * len(chosen), 2 * _PANEL * height / width + 1.6)
    grid = figure.subplots(2, len(chosen), squeeze=False)
    for column, name in enumerate(chosen):
        title, unit, colors = _SHOWN.get(name, (name, "", "viridis"))
        values = maps.image(name)[window]
        spread = 0.5 * (maps.image(name, 0.84) - maps.image(name, 0.16))[window]
        panel(grid[0, column], values, title, unit, colors, limits=_limits(values))
        panel(grid[1, column], spread, "", _plain(unit), "cividis", limits=_limits(spread))
    grid[1, 0].set_ylabel("68 %, half width", fontsize=8, color=INK)
    scale_bar(grid[0, 0], maps.matched.grid.pixel_scale, width, height)
    return figure


def _plain(unit: str) -> str:
    """Of a half width: dex for logarithms."""
    return "dex" if unit.startswith("log") else unit


def _limits(image: HostArray) -> tuple[float, float] | None:
    known = image[np.isfinite(image)]
    return tuple(np.quantile(known, (0.02, 0.98)).tolist()) if known.size else None
