"""How sampling ended, as values whose text is advice, and the numbers that say so."""

from typing import NamedTuple

import numpy as np
from arviz_stats.base import array_stats

from scarlet_sed.infer.status import Status
from scarlet_sed.typing import HostArray

MIXED = 1.01
"""Largest split R-hat of ranks (Vehtari et al. 2021, Bayesian Analysis 16, 667)."""
APART = 1.05
"""R-hat that a few hundred draws do not reach by chance."""
ENOUGH = 400
"""Fewest effective draws, of the bulk and of the tails."""
RARE = 1e-3
"""Largest share of divergent trajectories."""
ENERGETIC = 0.3
"""Least fraction of missing information about the energy (Betancourt 2016, arXiv:1604.00695)."""
HELD = 0.01
"""Largest share of Langevin steps that were held back."""
HEAVY = 0.7
"""Largest Pareto k-hat of importance weights (Vehtari et al. 2024, JMLR 25, 72)."""
_EVEN = 1e-2
"""Range of log-weights that are equal but for rounding."""


class SampleStatus(Status):
    """Whether the draws can stand for the posterior."""

    CONVERGED = "all chains agree, no trajectory was cut, and every parameter has enough effective draws"
    NOT_MIXED = (
        "chains disagree (R-hat above 1.01): sample longer with more warm-up; if that does not help the posterior has "
        "several modes or a narrow bend, look at the parameters that are named, tie or fix what the data cannot tell"
    )
    DIVERGENT = (
        "more than 0.1 % of the trajectories diverged, so a corner of the posterior may be missing: raise "
        "`target_accept` to 0.95; if that does not help, give the parameters that are named tighter priors"
    )
    LOW_ENERGY = (
        "chains hardly change their energy (E-BFMI below 0.3): tails are heavy, give tighter priors or sample longer"
    )
    FEW_DRAWS = "chains agree, but a parameter has fewer than 400 effective draws: sample longer (more `draws`)"
    INTERRUPTED = "interrupted by the user: draws so far are kept; sample again with the same checkpoint to go on"
    WARMING_UP = "interrupted before warm-up ended: there are no draws yet; sample again with the same checkpoint"
    APPROXIMATE = (
        "draws from an approximation that reaches wherever the posterior does (Pareto k-hat within its limit): good "
        "for a quick look, but errors may be off by tens of per cent; `sample` draws from the posterior itself"
    )
    POOR_APPROXIMATION = (
        "draws from an approximation whose importance weights have a heavy tail (Pareto k-hat above its limit): it may "
        "miss bends or tails of the posterior and errors may be far too small; `sample` draws from the posterior itself"
    )
    UNADJUSTED = (
        "draws of Langevin dynamics, whose chains agree and were hardly ever held back: errors are off by what the "
        "length of a step does (halve `step` to see it); good for a quick look, and for starts of `fit` and `sample`"
    )
    UNSTEADY = (
        "chains of Langevin dynamics disagree (R-hat above 1.05: raise `draws` or `thin`), or more than 1 % of their "
        "steps were held back (lower `step`): till then draws are starts for `fit`, and their spread is no error"
    )


class Diagnosis(NamedTuple):
    """What the chains say of themselves.

    Args:
        rhat, bulk, tail: per number of each parameter, by path: R-hat of ranks, effective draws of bulk and tails.
        divergences: how many trajectories were cut.
        energy: (chain,) fraction of missing information.
        leapfrogs: of all trajectories.
    """

    rhat: dict[str, HostArray]
    bulk: dict[str, HostArray]
    tail: dict[str, HostArray]
    divergences: int
    energy: HostArray
    leapfrogs: int

    @property
    def worst_rhat(self) -> float:
        """The largest of all R-hats."""
        return float(np.max([np.max(v) for v in self.rhat.values()]))

    @property
    def least_bulk(self) -> float:
        """The fewest effective draws of any parameter's bulk."""
        return float(np.min([np.min(v) for v in self.bulk.values()]))

    @property
    def least_tail(self) -> float:
        """The fewest effective draws of any parameter's tails."""
        return float(np.min([np.min(v) for v in self.tail.values()]))

    @property
    def hardest(self) -> list[str]:
        """Up to five parameters with the fewest effective draws."""
        return sorted(self.bulk, key=lambda path: float(np.min(self.bulk[path])))[:5]

    def status(self, count: int) -> SampleStatus:
        """What `count` trajectories with these numbers are worth."""
        enough = min(self.least_bulk, self.least_tail) >= ENOUGH
        if not self.worst_rhat <= (MIXED if enough else APART):  # NaN: a chain that never moved
            return SampleStatus.NOT_MIXED
        if self.divergences > RARE * count:
            return SampleStatus.DIVERGENT
        if not float(np.min(self.energy)) >= ENERGETIC:
            return SampleStatus.LOW_ENERGY
        return SampleStatus.CONVERGED if enough else SampleStatus.FEW_DRAWS


def diagnose(draws: dict[str, HostArray], energy: HostArray, diverging: HostArray, leapfrogs: HostArray) -> Diagnosis:
    """Diagnose chains.

    Args:
        draws: (chain, draw, ...) by path.
        energy, diverging, leapfrogs: (chain, draw) of the trajectories.
    """
    rhat, bulk, tail = {}, {}, {}
    # of a number that never moved all three are NaN, which no limit lets pass
    with np.errstate(invalid="ignore", divide="ignore"):
        for path, values in draws.items():
            flat = np.asarray(values, np.float64).reshape(*values.shape[:2], -1)
            rhat[path] = _each(array_stats.rhat(flat, chain_axis=0, draw_axis=1), values)
            bulk[path] = _each(array_stats.ess(flat, chain_axis=0, draw_axis=1, method="bulk"), values)
            tail[path] = _each(
                array_stats.ess(flat, chain_axis=0, draw_axis=1, method="tail", prob=(0.05, 0.95)), values
            )
    energy = np.asarray(energy, np.float64)
    missing = np.mean(np.square(np.diff(energy, axis=1)), axis=1) / np.maximum(np.var(energy, axis=1), 1e-30)
    return Diagnosis(rhat, bulk, tail, int(np.sum(diverging)), missing, int(np.sum(leapfrogs)))


def _each(found: HostArray, values: HostArray) -> HostArray:
    return np.asarray(found, float).reshape(values.shape[2:])


def heaviest(count: int) -> float:
    """The largest Pareto k-hat that weights of so many draws may have (Vehtari et al. 2024)."""
    return min(1 - 1 / float(np.log10(count)), HEAVY)


def worth(log_weights: HostArray) -> float:
    """The share of so many independent draws that weighted ones are worth (Kong, Liu & Wong 1994, JASA 89, 278)."""
    weights = np.exp(np.asarray(log_weights, np.float64) - np.max(log_weights))
    return float(np.mean(weights) ** 2 / np.mean(weights**2))


def pareto_khat(log_weights: HostArray) -> float:
    """The shape of the tail of importance weights: how far an approximation is from what it stands for.

    Args:
        log_weights: of 25 draws or more, logarithms of posterior over approximation up to a constant; where one is not
            finite, neither is k-hat.
    """
    flat = np.asarray(log_weights, np.float64).ravel()
    if not np.all(np.isfinite(flat)):
        return np.inf
    if np.ptp(flat) < _EVEN:
        return 0.0
    # arviz takes log-likelihoods that are left out, which are minus the log-weights
    return float(array_stats.psislw(-flat)[1])
