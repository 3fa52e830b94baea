"""Pictures of calibration: empirical distributions of ranks, expected coverage, and coverage of every number."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from scipy import stats

from scarlet_sed.infer.calibration.assess import LEVELS, Assessment
from scarlet_sed.infer.calibration.trial import LIKELIHOOD
from scarlet_sed.infer.calibration.uniform import band
from scarlet_sed.typing import HostArray

COLUMNS = 7
"""Panels side by side."""
LEVEL = 0.99
"""Of all bands."""
SHOWN = (0.68, 0.95)
"""Levels of coverage that are drawn and tabulated, of `LEVELS`."""
RIGHT, WRONG, BAND = "C0", "C3", "0.88"


def groups(names: list[str]) -> dict[str, list[int]]:
    """Columns of the numbers by source or observation, the log-likelihood by itself."""
    found: dict[str, list[int]] = {}
    for column, name in enumerate(names):
        found.setdefault(name.split(".", 1)[0], []).append(column)
    return found


def short(name: str) -> str:
    """A number's name without its source and what sources have in common."""
    if name == LIKELIHOOD:
        return name
    kept = name.split(".", 1)[1]
    return kept.removeprefix("spectrum.").removeprefix("morphology.")


def ranks(path: Path, found: Assessment) -> None:
    """Empirical less uniform distribution of the ranks, a panel a number, with simultaneous bands.

    Source: Sailynoja, Burkner & Vehtari 2022, Stat. Comput. 32, 32.
    """
    grouped = groups([row.name for row in found.rows])
    heights = [-(-len(columns) // COLUMNS) for columns in grouped.values()]
    figure = plt.figure(figsize=(1.75 * COLUMNS, 1.5 * sum(heights) + 0.35 * len(heights)), layout="constrained")
    parts = np.atleast_1d(figure.subfigures(len(grouped), 1, height_ratios=[h + 0.23 for h in heights]))
    for part, (owner, columns), height in zip(parts, grouped.items(), heights, strict=True):
        part.suptitle("" if owner == LIKELIHOOD else owner, fontsize=10, fontweight="bold", x=0.01, ha="left")
        panels = part.subplots(height, COLUMNS, sharex=True, sharey=True, squeeze=False)
        for axes, column in zip(panels.flat, columns, strict=False):
            _difference(axes, found.places[:, column])
            wrong = min(found.rows[column].test.ks, found.rows[column].test.spread) <= 0.01 / len(found.rows)
            axes.lines[-1].set_color(WRONG if wrong else RIGHT)
            axes.set_title(short(owner if owner == LIKELIHOOD else found.rows[column].name), fontsize=7.5, pad=3)
            axes.tick_params(labelsize=7)
        for axes in panels.flat[len(columns) :]:
            axes.set_visible(False)
    parts[-1].supxlabel("rank of the truth among the draws, as a fraction", fontsize=9)
    _save(figure, path)


def tarp(path: Path, found: Assessment) -> None:
    """How often truths lie in the regions that should hold a given part of the posterior.

    Source: Lemos et al. 2023, arXiv:2302.03026.
    """
    figure, axes = plt.subplots(figsize=(4.2, 4), layout="constrained")
    points, low, high = band(len(found.nearer), LEVEL)
    axes.fill_between(points, low, high, color=BAND, step=None, label=f"{LEVEL:.0%} band")
    axes.plot([0, 1], [0, 1], color="0.4", lw=0.8)
    grid, below = _distribution(found.nearer)
    axes.plot(grid, below, color=RIGHT, label=f"{len(found.nearer)} trials")
    axes.set(xlabel="credibility of the region", ylabel="share of truths in it", xlim=(0, 1), ylim=(0, 1))
    axes.set_aspect("equal")
    axes.legend(loc="upper left", fontsize=8)
    _save(figure, path)


def coverage(path: Path, found: Assessment) -> None:
    """Share of truths in the central intervals of every number, with bands for all numbers together."""
    names, count = [row.name for row in found.rows], len(found.places)
    grouped = groups(names)
    figure, panels = plt.subplots(
        len(SHOWN), 1, sharex=True, figsize=(0.28 * len(names) + 2, 5.2), layout="constrained"
    )
    tail = (1 - LEVEL) / 2 / len(names)
    for axes, level in zip(panels, SHOWN, strict=True):
        low, high = stats.binom.ppf(tail, count, level) / count, stats.binom.isf(tail, count, level) / count
        shares = np.array([row.coverage[LEVELS.index(level)] for row in found.rows])
        axes.axhspan(low, high, color=BAND, lw=0)
        axes.axhline(level, color="0.4", lw=0.8)
        colors = np.where((shares < low) | (shares > high), WRONG, RIGHT)
        axes.scatter(range(len(names)), shares, s=18, c=colors, zorder=3, clip_on=False)
        axes.set(xlim=(-0.7, len(names) - 0.3), ylabel=f"inside of {level:.0%}")
        axes.grid(axis="x", alpha=0.25)
        for columns in list(grouped.values())[1:]:
            axes.axvline(columns[0] - 0.5, color="0.5", lw=0.8)
    for owner, columns in grouped.items():
        if owner != LIKELIHOOD:
            panels[0].text(
                float(np.mean(columns)),
                1.04,
                owner,
                transform=panels[0].get_xaxis_transform(),
                ha="center",
                fontsize=10,
                fontweight="bold",
            )
    panels[-1].set_xticks(range(len(names)), [short(name) for name in names], rotation=90, fontsize=8)
    _save(figure, path)


def _difference(axes: plt.Axes, places: HostArray) -> None:
    points, low, high = band(len(places), LEVEL)
    edges = np.concatenate([[0], points, [1]])
    axes.fill_between(edges, np.r_[0, low - points, 0], np.r_[0, high - points, 0], color=BAND, lw=0)
    axes.axhline(0, color="0.4", lw=0.7)
    grid, below = _distribution(places)
    axes.plot(grid, below - grid, lw=1.1)
    axes.set_xticks([0, 0.5, 1], ["0", "½", "1"])


def _distribution(places: HostArray) -> tuple[HostArray, HostArray]:
    """(point,) places between zero and one, and (point,) share of the numbers that are not above."""
    grid = np.linspace(0, 1, 501)
    return grid, np.searchsorted(np.sort(places), grid, side="right") / len(places)


def _save(figure: plt.Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=90)
    plt.close(figure)
