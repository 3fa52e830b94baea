"""Tests of numbers that should be uniform, as the ranks of truths among draws of their posteriors should be.

Each catches something else: Kolmogorov and Smirnov's a shift; the spread of normal scores posteriors that are too
narrow or too wide (Cook, Gelman & Rubin 2006, JCGS 15, 675), which the first hardly sees; the simultaneous band of
the empirical distribution anything, and shows where (Sailynoja, Burkner & Vehtari 2022, Stat. Comput. 32, 32).
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy import stats

from scarlet_sed.errors import ShapeError
from scarlet_sed.typing import HostArray

_SIMULATIONS = 4000
_POINTS = 100
"""At which empirical distributions are compared."""


class Uniformity(NamedTuple):
    """How far n numbers are from uniform, as p-values.

    Args:
        ks: of the largest distance of the distributions (Kolmogorov & Smirnov).
        spread: of the sum of squared normal scores, chi-square with n degrees of freedom, two-sided.
        band: of the most extreme point of the empirical distribution, by simulation: never below 1 / 4001.
        variance: mean squared normal score: above one, posteriors are too narrow; below, too wide.
        bias: mean normal score: positive where truths are above their posteriors.
    """

    ks: float
    spread: float
    band: float
    variance: float
    bias: float

    @property
    def least(self) -> float:
        """The smallest of the p-values."""
        return min(self.ks, self.spread, self.band)


def uniformity(numbers: HostArray) -> Uniformity:
    """Test (n,) numbers between zero and one.

    Raises:
        ShapeError: if there are none, or one is outside.
    """
    values = np.asarray(numbers, float)
    if values.ndim != 1 or not values.size or not np.all((values > 0) & (values < 1)):
        raise ShapeError("uniformity needs a row of numbers between zero and one", fix="give `spread_ranks`")
    scores = stats.norm.ppf(values)
    total, freedom = float(np.sum(scores**2)), len(values)
    both = 2 * min(stats.chi2.cdf(total, freedom), stats.chi2.sf(total, freedom))
    extreme = float(_extremes(values[None])[0])
    band = (1 + np.sum(_null(freedom) <= extreme)) / (1 + _SIMULATIONS)
    ks = float(stats.kstest(values, "uniform").pvalue)
    return Uniformity(ks, float(min(both, 1.0)), float(band), total / freedom, float(np.mean(scores)))


def spread_ranks(ranks: HostArray, draws: int, seed: int = 0) -> HostArray:
    """Numbers that are exactly uniform if ranks are: each rank spread over its own share of the unit interval.

    Args:
        ranks: any shape, how many of the draws lie below the truth.
        draws: how many there are.
        seed: of the spread.
    """
    shift = np.random.default_rng(seed).uniform(1e-6, 1 - 1e-6, np.shape(ranks))
    spread: HostArray = (np.asarray(ranks, float) + shift) / (draws + 1)
    return spread


def band(count: int, level: float = 0.99) -> tuple[HostArray, HostArray, HostArray]:
    """The band that the empirical distribution of `count` uniform numbers leaves with probability 1 - level.

    Returns:
        (point,) where, and (point,) lower and upper fraction of the numbers that lie below.
    """
    points = _points()
    tail = float(np.quantile(_null(count), 1 - level)) / 2
    low, high = stats.binom.ppf(tail, count, points), stats.binom.isf(tail, count, points)
    return points, np.asarray(low / count), np.asarray(high / count)


def _points() -> HostArray:
    return np.arange(1, _POINTS) / _POINTS


def _extremes(rows: HostArray) -> HostArray:
    """(n,) the least two-sided binomial probability of the empirical distributions of (n, count) numbers."""
    count, points = rows.shape[1], _points()
    below = np.stack([np.searchsorted(np.sort(row), points, side="right") for row in rows])
    tails = np.minimum(stats.binom.cdf(below, count, points), stats.binom.sf(below - 1, count, points))
    least: HostArray = 2 * np.min(tails, axis=1)
    return least


@lru_cache(maxsize=64)
def _null(count: int) -> HostArray:
    return _extremes(np.random.default_rng(0).uniform(size=(_SIMULATIONS, count)))
