"""The corner plot: every number of a choice alone, and every two of them together."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, ScalarFormatter
from scipy.ndimage import gaussian_filter

from scarlet_sed.errors import DataError
from scarlet_sed.infer.sampling.draws import Posterior
from scarlet_sed.infer.sampling.scalars import Scalar, chosen, telling
from scarlet_sed.plot.style import COLORS, INK, chart_axes, new_figure
from scarlet_sed.plot.words import short_labels, with_spread
from scarlet_sed.typing import HostArray

_MASSES = (0.3935, 0.8647)
"""Inside of one and of two standard deviations of a normal distribution of two numbers."""
_SMOOTH = 1.4
"""Bins: less and contours follow single draws, more and they are wider than the draws."""
_INCH, _LEFT, _TOP = 1.3, 0.85, 0.45
"""Size of a panel, and margins for labels and the uppermost title."""


def corner(
    posterior: Posterior,
    names: str | Iterable[str],
    *,
    truth: Mapping[str, Any] | None = None,
    most: int = 8,
) -> Figure:
    """Histograms of single numbers, and contours that hold 39 and 86 % of the draws of two (one and two sigma).

    Args:
        posterior: draws.
        names: a source, whose telling numbers are drawn; or names or globs of parameters or numbers of them, such as
            `["a.spectrum.flux[F115W]", "*.radius"]`, which are drawn all.
        truth: known values to mark, by path.
        most: numbers of a source.

    Raises:
        ParameterError: for a name that means nothing.
        DataError: if there are no draws.
    """
    if posterior.shape[1] == 0:
        raise DataError("there are no draws to show", fix="sample longer")
    own = chosen(posterior, names)
    if isinstance(names, str) and names in posterior.posterior.scene.sources:
        own = telling(own, most)
    draws = [np.asarray(scalar.draws, float).ravel() for scalar in own]
    marks = [_truth(scalar, truth or {}) for scalar in own]
    ranges = [_range(values, mark) for values, mark in zip(draws, marks, strict=True)]
    labels = short_labels(own)
    count = len(own)
    panels, figure = _panels(count)
    for row in range(count):
        for column in range(count):
            axes = panels[row, column]
            if column > row:
                axes.set_visible(False)
                continue
            outer = (labels[column] if row == count - 1 else "", labels[row] if column == 0 < row else "")
            chart_axes(axes, *outer)
            axes.xaxis.label.set_size(7.5)
            axes.yaxis.label.set_size(7.5)
            if row == column:
                _alone(axes, draws[row], ranges[row], marks[row], labels[row])
            else:
                _together(axes, draws[column], draws[row], ranges[column], ranges[row])
                _mark(axes, marks[column], marks[row])
            _ticks(axes, bottom=row == count - 1, left=column == 0 < row)
    figure.align_labels()
    return figure


def _panels(count: int) -> tuple[Any, Figure]:
    side = _INCH * count
    whole = side + _LEFT + _TOP
    figure = new_figure(whole, whole, by_hand=True)
    panels = figure.subplots(count, count, squeeze=False)
    first, last = _LEFT / whole, (_LEFT + side) / whole
    figure.subplots_adjust(left=first, bottom=first, right=last, top=last, wspace=0.07, hspace=0.07)
    return panels, figure


def _truth(scalar: Scalar, truth: Mapping[str, Any]) -> float | None:
    if scalar.path not in truth:
        return None
    value = np.asarray(truth[scalar.path], float)
    return float(value[scalar.place] if value.ndim else value)


def _range(values: HostArray, mark: float | None) -> tuple[float, float]:
    low, high = np.percentile(values, [0.3, 99.7])
    if mark is not None:
        low, high = min(low, mark), max(high, mark)
    margin = 0.06 * (high - low) or max(1e-6, 1e-3 * abs(high))
    return float(low - margin), float(high + margin)


def _bins(values: HostArray) -> int:
    return int(np.clip(2.4 * len(values) ** (1 / 3), 12, 40))


def _alone(axes: Axes, values: HostArray, span: tuple[float, float], mark: float | None, label: str) -> None:
    counts, edges = np.histogram(values, _bins(values), span)
    axes.stairs(gaussian_filter(counts.astype(float), 0.8), edges, fill=True, color=COLORS[0], alpha=0.3)
    axes.stairs(gaussian_filter(counts.astype(float), 0.8), edges, color=COLORS[0], linewidth=1.0)
    low, median, high = np.percentile(values, [16, 50, 84])
    for value, line in ((low, ":"), (median, "-"), (high, ":")):
        axes.axvline(value, color=INK, linewidth=0.8, linestyle=line)
    if mark is not None:
        axes.axvline(mark, color=COLORS[1], linewidth=1.1)
    axes.set_xlim(span)
    axes.set_ylim(0, None)
    axes.set_title(f"{label}\n{with_spread(median, low, high)}", fontsize=7.5, color=INK, pad=6)
    axes.spines["left"].set_visible(False)


def _together(axes: Axes, x: HostArray, y: HostArray, across: tuple[float, float], along: tuple[float, float]) -> None:
    axes.plot(x, y, ".", color=COLORS[0], markersize=1.2, alpha=0.25, markeredgewidth=0, rasterized=True)
    counts, x_edges, y_edges = np.histogram2d(x, y, _bins(x), (across, along))
    density = gaussian_filter(counts.T, _SMOOTH, mode="constant")
    levels = _levels(density, _MASSES)
    if levels:
        centers = [(edges[1:] + edges[:-1]) / 2 for edges in (x_edges, y_edges)]
        axes.contourf(*centers, density, [*levels, np.inf], colors=[COLORS[0], COLORS[0]], alpha=0.3)
        axes.contourf(*centers, density, [levels[-1], np.inf], colors=[COLORS[0]], alpha=0.35)
        axes.contour(*centers, density, levels, colors=COLORS[0], linewidths=0.9)
    axes.set_xlim(across)
    axes.set_ylim(along)


def _levels(density: HostArray, masses: Sequence[float]) -> list[float]:
    """Densities inside of which these shares of the whole lie, from the outermost inwards."""
    falling = np.sort(density.ravel())[::-1]
    share = np.cumsum(falling) / max(float(falling.sum()), 1e-300)
    found = {float(falling[min(int(np.searchsorted(share, mass)), falling.size - 1)]) for mass in masses}
    return sorted(level for level in found if 0 < level < falling[0])


def _mark(axes: Axes, across: float | None, along: float | None) -> None:
    if across is not None:
        axes.axvline(across, color=COLORS[1], linewidth=0.9)
    if along is not None:
        axes.axhline(along, color=COLORS[1], linewidth=0.9)


def _ticks(axes: Axes, *, bottom: bool, left: bool) -> None:
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(3, prune="both"))
        axis.set_major_formatter(ScalarFormatter(useOffset=False))
    axes.tick_params(labelsize=6.5, labelbottom=bottom, labelleft=left, left=left, length=2.5, pad=2)
    axes.tick_params(axis="x", labelrotation=40)
    axes.tick_params(axis="y", labelrotation=40)
