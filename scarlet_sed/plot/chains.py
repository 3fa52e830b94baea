"""Chains: their draws one after another, and how evenly they share their ranks."""

from collections.abc import Iterable

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from scipy.ndimage import gaussian_filter1d
from scipy.stats import rankdata

from scarlet_sed.errors import DataError
from scarlet_sed.infer.sampling.draws import Posterior
from scarlet_sed.infer.sampling.scalars import Scalar, chosen, hardest
from scarlet_sed.plot.style import COLORS, INK, chart_axes, new_figure
from scarlet_sed.plot.words import short_labels

_BINS = 20


def trace(posterior: Posterior, names: str | Iterable[str] | None = None) -> Figure:
    """Draws in their order, one line a chain, and beside them how each chain's draws are distributed.

    Args:
        posterior: draws.
        names: as of `plot.corner`; the numbers with the fewest effective draws by default.

    Raises:
        ParameterError: for a name that means nothing.
        DataError: if there are no draws.
    """
    own = _wanted(posterior, names)
    figure = new_figure(10.0, 1.25 * len(own) + 0.5)
    panels = figure.subplots(len(own), 2, squeeze=False, width_ratios=(1, 4))
    for (left, right), scalar, label in zip(panels, own, short_labels(own), strict=True):
        last = scalar is own[-1]
        chart_axes(left, "", "")
        chart_axes(right, "draw" if last else "", "", f"{label}{_quality(scalar)}")
        left.set_yticks([])
        left.xaxis.set_major_locator(MaxNLocator(3, prune="both"))
        low, high = float(np.min(scalar.draws)), float(np.max(scalar.draws))
        margin = 0.05 * (high - low) or 1e-6
        edges = np.linspace(low - margin, high + margin, 41)
        for number, values in enumerate(np.asarray(scalar.draws, float)):
            color = COLORS[number % len(COLORS)]
            right.plot(values, color=color, linewidth=0.6, alpha=0.75)
            heights = gaussian_filter1d(np.histogram(values, edges)[0].astype(float), 1.5)
            left.plot((edges[1:] + edges[:-1]) / 2, heights, color=color, linewidth=1.1)
        right.set_xlim(0, scalar.draws.shape[1] - 1)
        left.set_ylim(0, None)
    return figure


def rank(posterior: Posterior, names: str | Iterable[str] | None = None) -> Figure:
    """Ranks of each chain's draws among all draws, which chains that agree share evenly.

    As in figure 5 of Vehtari et al. 2021, Bayesian Analysis 16, 667. The shade is two standard deviations of a share,
    for as many draws as the chains are worth.

    Args:
        posterior: draws.
        names: as of `plot.corner`; the numbers with the fewest effective draws by default.

    Raises:
        ParameterError: for a name that means nothing.
        DataError: if there are no draws.
    """
    own = _wanted(posterior, names)
    chains, count = posterior.shape
    figure = new_figure(max(2.5 * len(own), 3.0), 0.62 * chains + 0.75)
    panels = figure.subplots(chains, len(own), squeeze=False, sharex=True)
    expected = count / _BINS
    for column, (scalar, label) in enumerate(zip(own, short_labels(own), strict=True)):
        ranks = rankdata(scalar.draws).reshape(chains, count)
        worth = scalar.bulk / (chains * count) if np.isfinite(scalar.bulk) else 1.0
        spread = 2 * np.sqrt(expected * (1 - 1 / _BINS) / np.clip(worth, 1e-3, 1.0))
        edges = np.linspace(0.5, chains * count + 0.5, _BINS + 1)
        for row in range(chains):
            axes = chart_axes(panels[row, column], "rank" if row == chains - 1 else "", "")
            axes.axhspan(expected - spread, expected + spread, color=INK, alpha=0.18, linewidth=0)
            axes.axhline(expected, color=INK, linewidth=0.7)
            color = COLORS[row % len(COLORS)]
            axes.stairs(np.histogram(ranks[row], edges)[0], edges, fill=True, color=color, alpha=0.55)
            axes.set_ylim(0, max(2.2 * expected, expected + 2 * spread))
            axes.set(xlim=(edges[0], edges[-1]), xticks=[], yticks=[])
            if column == 0:
                axes.set_ylabel(f"chain {row + 1}", fontsize=7.5, color=INK)
        panels[0, column].set_title(label, fontsize=8, color=INK)
    return figure


def _wanted(posterior: Posterior, names: str | Iterable[str] | None) -> list[Scalar]:
    if posterior.shape[1] == 0:
        raise DataError("there are no draws to show", fix="sample longer")
    return hardest(posterior) if names is None else chosen(posterior, names)


def _quality(scalar: Scalar) -> str:
    if not np.isfinite(scalar.rhat):
        return ""
    return f"   R-hat {scalar.rhat:.3f}, effective draws {scalar.bulk:,.0f} (tails {scalar.tail:,.0f})"
