"""Charts: the loss curve and residual histograms."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from scarlet_sed.errors import DataError
from scarlet_sed.plot.style import COLORS, INK, chart_axes, new_figure, panel_columns
from scarlet_sed.typing import HostArray


def loss(history: HostArray) -> Figure:
    """The minus log-posterior above its best value against the step, on a logarithmic axis.

    Args:
        history: (step,) minus log-posterior.
    """
    values = np.asarray(history, dtype=float)
    good = np.isfinite(values)
    if not good.any():
        raise DataError("the loss history has no finite value", fix="look at the fit's status first")
    figure = new_figure(5.4, 2.7)
    axes = chart_axes(figure.add_subplot(), "step", "loss − best")
    best = values[good].min()
    steps = np.arange(len(values))
    height = values - best
    positive = good & (height > 0)
    if positive.any():
        axes.set_yscale("log")
        axes.plot(steps[positive], height[positive], color=COLORS[0], linewidth=1.4)
        axes.axvline(steps[good][np.argmin(values[good])], color=INK, linewidth=0.8, linestyle=":")
    axes.set_title(f"best {best:,.1f} at step {steps[good][np.argmin(values[good])]}", fontsize=9, color=INK)
    return figure


def residual_histograms(residuals: Mapping[str, HostArray], limit: float = 6.0) -> Figure:
    """Histograms of residuals in units of the noise, with the normal distribution they should follow.

    Args:
        residuals: per band, any shape, (data - model) / sigma of the pixels in use.
        limit: where the histogram ends, in sigma.
    """
    columns = panel_columns(len(residuals))
    rows = -(-len(residuals) // columns)
    figure = new_figure(10.0 / max(columns, 3) * columns, 2.2 * rows)
    edges = np.linspace(-limit, limit, 61)
    grid = np.linspace(-limit, limit, 241)
    for index, (band, values) in enumerate(residuals.items()):
        axes = chart_axes(figure.add_subplot(rows, columns, index + 1), "residual / σ", "", "")
        finite = np.asarray(values, dtype=float).ravel()
        finite = finite[np.isfinite(finite)]
        median = float(np.median(finite)) if finite.size else np.nan
        scatter = 1.4826 * float(np.median(np.abs(finite - median))) if finite.size else np.nan
        weights = np.full(finite.size, 1.0 / max(finite.size, 1) / (edges[1] - edges[0]))
        axes.hist(np.clip(finite, -limit, limit), edges.tolist(), weights=weights, color=COLORS[0], alpha=0.65)
        axes.plot(grid, np.exp(-0.5 * grid**2) / np.sqrt(2 * np.pi), color=COLORS[1], linewidth=1.2)
        axes.set_yscale("log")
        axes.set_ylim(3e-5, 3)
        axes.set_title(f"{band}: median {median:+.2f}, scatter {scatter:.2f}", fontsize=7.5, color=INK)
    return figure
