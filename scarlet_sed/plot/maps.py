"""Where a source's dust is, and its stars: maps of means and of what is not known of them."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from scarlet_sed.infer.sampling.draws import Posterior
from scarlet_sed.infer.sampling.maps import PropertyMaps
from scarlet_sed.infer.sampling.maps import property_maps as made
from scarlet_sed.plot.style import INK, image_axes, new_figure
from scarlet_sed.typing import HostArray

_SHOWN = 0.98
"""Share of the light that lies in the pixels that are shown."""
_LINES = (0.5, 0.9)
_PANEL = 2.9


def property_maps(maps: PropertyMaps | Posterior, source: str = "", *, count: int = 50, seed: int = 0) -> Figure:
    """A_V and its standard deviation, and the same of the logarithm of the mass that formed, where there are stars.

    Pixels are shown that hold 98 % of the light; lines go around those that hold 50 and 90 %.

    Args:
        maps: what `scarlet_sed.property_maps` made; or draws, with a source.
        source: its name, for draws.
        count: of draws.
        seed: of which ones.

    Raises:
        ParameterError, SourceError: as of `scarlet_sed.property_maps`.
    """
    own = maps if isinstance(maps, PropertyMaps) else made(maps, source, count, seed)
    shown = own.bright(_SHOWN)
    if not shown.any():  # a source without light
        shown = np.ones_like(shown)
    window = window_of(shown)
    panels: list[tuple[str, str, HostArray, str]] = [
        ("$A_V$", "mag", own.av, "inferno"),
        ("$A_V$, standard deviation", "mag", own.av_sd, "cividis"),
    ]
    if own.mass is not None and own.mass_sd is not None:
        safe = np.where(own.mass > 0, own.mass, np.nan)
        panels.append(("stellar mass formed", r"log M$_\odot$ kpc$^{-2}$", np.log10(safe), "viridis"))
        panels.append(("its standard deviation", "dex", own.mass_sd / safe / np.log(10), "cividis"))
    height, width = (s.stop - s.start for s in window)
    figure = new_figure(_PANEL * len(panels), _PANEL * height / width + 0.75)
    for axes, (title, unit, values, colors) in zip(figure.subplots(1, len(panels)), panels, strict=True):
        panel(axes, np.where(shown, values, np.nan)[window], title, unit, colors)
        for inside in (own.bright(share)[window] for share in _LINES):
            if inside.any() and not inside.all():
                axes.contour(inside.astype(float), [0.5], colors="white", linewidths=0.8)
    scale_bar(figure.axes[0], own.frame.pixel_scale, width, height)
    return figure


def window_of(shown: np.ndarray) -> tuple[slice, slice]:
    """Rows and columns around (H, W) pixels that are shown."""
    found = []
    for axis in (1, 0):
        at, size = np.flatnonzero(shown.any(axis=axis)), shown.shape[1 - axis]
        margin = 1 + round(0.08 * (at[-1] - at[0]))
        found.append(slice(max(int(at[0]) - margin, 0), min(int(at[-1]) + margin + 1, size)))
    return found[0], found[1]


def panel(
    axes: Axes, values: HostArray, title: str, unit: str, colors: str, limits: tuple[float, float] | None = None
) -> None:
    """An image with a colour bar below.

    Args:
        axes: where.
        values: (h, w); NaN is left blank.
        title, unit: in words.
        colors: name of a colour map.
        limits: of the colours; None for all values.
    """
    image_axes(axes, title)
    known = values[np.isfinite(values)]
    low, high = limits or ((float(known.min()), float(known.max())) if known.size else (0.0, 1.0))
    if high - low < 1e-3 * abs(high):
        # the same everywhere: what is left is rounding
        low, high = low - 0.5 * abs(low) - 1e-3, high + 0.5 * abs(high) + 1e-3
    image = axes.imshow(values, origin="lower", cmap=colors, vmin=low, vmax=high, interpolation="nearest")
    bar = axes.figure.colorbar(image, ax=axes, location="bottom", shrink=0.85, pad=0.03, aspect=24)
    bar.set_label(unit, fontsize=8, color=INK)
    bar.ax.tick_params(colors=INK, labelsize=7)
    bar.outline.set_visible(False)


def scale_bar(axes: Axes, pixel_scale: float, width: int, height: int) -> None:
    """A line of a round number of arcsec, for an image of so many pixels of `pixel_scale` arcsec."""
    arcsec = max((b for b in (0.1, 0.2, 0.5, 1, 2, 5, 10) if b / pixel_scale < 0.4 * width), default=0.1)
    start, row = 0.03 * width, 0.03 * height
    axes.plot([start, start + arcsec / pixel_scale], [row, row], color=INK, linewidth=1.6)
    axes.text(start, row + 0.02 * height, f"{arcsec:g}″", color=INK, fontsize=8)
