"""How every picture looks: quiet, and legible on light and dark pages."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure

INK = "#7a7f87"
"""Text and axes: a mid grey that reads on white and on near-black."""

COLORS = ("#3b7dd8", "#d9822b", "#3a9d5d", "#c0392b", "#8e5bb5", "#a0785a", "#d268a8", "#7f8c3f", "#2aa5b5")
"""Lines, in order."""


def new_figure(width: float, height: float, *, by_hand: bool = False) -> Figure:
    """An empty figure with a transparent background, in inches, free of matplotlib's global state.

    Args:
        width, height: inches.
        by_hand: whether the caller places the axes, which with many of them is faster.
    """
    figure = Figure(figsize=(width, height), layout=None if by_hand else "constrained")
    figure.patch.set_alpha(0.0)
    return figure


def image_axes(axes: Axes, title: str = "") -> Axes:
    """Make axes that hold a picture: no ticks, a hairline frame, a small title."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_facecolor("none")
    for spine in axes.spines.values():
        spine.set_color(INK)
        spine.set_linewidth(0.5)
    if title:
        axes.set_title(title, fontsize=9, color=INK, pad=4)
    return axes


def chart_axes(axes: Axes, xlabel: str, ylabel: str, title: str = "") -> Axes:
    """Make axes that hold a chart: two spines, labels in ink."""
    axes.set_facecolor("none")
    for name, spine in axes.spines.items():
        spine.set_visible(name in ("left", "bottom"))
        spine.set_color(INK)
        spine.set_linewidth(0.7)
    axes.tick_params(colors=INK, labelsize=8, width=0.7)
    axes.xaxis.get_offset_text().set_color(INK)
    axes.yaxis.get_offset_text().set_color(INK)
    axes.set_xlabel(xlabel, fontsize=9, color=INK)
    axes.set_ylabel(ylabel, fontsize=9, color=INK)
    if title:
        axes.set_title(title, fontsize=9, color=INK)
    return axes


def panel_columns(count: int) -> int:
    """How many panels to put side by side: as even rows as four or three columns give."""
    if count <= 4:
        return max(count, 1)
    return 3 if count in (5, 6, 9) else 4
