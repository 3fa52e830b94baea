"""Photometric redshifts: densities on a grid, and numbers that stand for them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import numpy as np
import numpyro.distributions as dist
from scipy.optimize import brentq

from scarlet_sed.amortized.context import Measured
from scarlet_sed.amortized.posterior import AmortizedPosterior, ends_of
from scarlet_sed.amortized.redshift import RedshiftDensity
from scarlet_sed.errors import DataError, ParameterError, ShapeError
from scarlet_sed.infer.chunks import by_chunks
from scarlet_sed.typing import Array, HostArray

_AT_ONCE = 4096
"""Objects whose densities are worked on in double precision."""
ODDS = 0.06
"""Half the width, in units of 1 + z, of the interval around the mode whose probability is the quality."""
_POWERS = (0.02, 10.0)
"""That densities may be raised to."""
_KNOWN = 20
"""Redshifts that must be known to find a power."""


class PhotoZ(NamedTuple):
    """Redshifts of many objects.

    Args:
        grid: (knot,) redshifts, even in ln(1 + z).
        density: (object, knot) probability per unit redshift; in between it is linear in ln(1 + z) times 1 / (1 + z).
        mode: (object,) where the density is highest.
        quantiles: (3, object): 16, 50 and 84 %.
        odds: (object,) probability within 0.06 (1 + mode) of the mode (Benitez 2000, ApJ 536, 571).
    """

    grid: HostArray
    density: HostArray
    mode: HostArray
    quantiles: HostArray
    odds: HostArray

    def until(self, redshift: HostArray) -> HostArray:
        """(object,) probability below a redshift each: uniform over true redshifts if the densities are right."""
        wanted = np.asarray(redshift, float)
        parts = [_Cumulated.of(self.grid, self.density[rows]).below(wanted[rows]) for rows in _parts(len(wanted))]
        return np.concatenate(parts)

    def tempered(self, power: float) -> "PhotoZ":
        """With densities in ln(1 + z) raised to a power: below one they are wider.

        Raises:
            ParameterError: for a power that is not positive.
        """
        if not (np.isfinite(power) and power > 0):
            raise ParameterError(f"densities to the power of {power:g}", fix="give a positive one")
        away = np.log1p(self.grid)
        parts = []
        for rows in _parts(len(self.density)):
            even = np.asarray(self.density[rows], np.float64) * (1 + self.grid)
            raised: HostArray = (even / even.max(axis=1, keepdims=True)) ** power
            total: HostArray = np.asarray(np.trapezoid(raised, away, axis=1))
            parts.append(_told(self.grid, raised / total[:, None] / (1 + self.grid)))
        return _of_parts(self.grid, parts)

    def power_of(self, redshift: Any) -> float:
        """The power that densities must be raised to, see `tempered`, to hold as many known redshifts as they say.

        Spectra, noise and calibration of real galaxies are never quite those of the simulator, which makes densities
        too narrow (Wittman, Bhaskar & Tobin 2016, MNRAS 457, 4005, who stretch them by the same measure). With this
        power the probability of what is likelier than the true redshift is a half in the mean; of n redshifts that
        mean is known to 1 / sqrt(12 n), and a few that are far off count no more than others.

        Args:
            redshift: (object,) known redshifts; NaN where not.

        Raises:
            ShapeError: unless there is one for each object.
            DataError: if too few are known, or no power makes the densities hold them.
        """
        true = np.asarray(redshift, float)
        if true.shape != (len(self.density),):
            raise ShapeError(
                f"known redshifts are {true.shape}", fix=f"give one for each of {len(self.density)} objects"
            )
        known = np.isfinite(true)
        if known.sum() < _KNOWN:
            raise DataError(f"{known.sum()} redshifts are known", fix=f"densities are judged by at least {_KNOWN}")
        even: HostArray = np.asarray(self.density[known], np.float64) * (1 + self.grid)
        at = np.interp(np.log1p(true[known]), np.log1p(self.grid), np.arange(self.grid.size))
        cell = np.minimum(at.astype(int), self.grid.size - 2)
        each = np.arange(len(even))
        here = even[each, cell] + (at - cell) * (even[each, cell + 1] - even[each, cell])
        inside = (true[known] >= self.grid[0]) & (true[known] <= self.grid[-1])
        higher = 0.5 * (1 + np.sign(even - np.where(inside, here, 0.0)[:, None]))
        even /= even.max(axis=1, keepdims=True)

        def too_narrow(log_power: float) -> float:
            raised = even ** np.exp(log_power)
            return float(np.mean(np.sum(raised * higher, axis=1) / np.sum(raised, axis=1))) - 0.5

        low, high = np.log(_POWERS)
        if not too_narrow(low) < 0 < too_narrow(high):
            raise DataError(
                f"no power of densities holds the {known.sum()} known redshifts as it should",
                fix="check fluxes, errors and redshifts",
            )
        return float(np.exp(brentq(too_narrow, low, high, xtol=1e-3)))


def photoz(posterior: AmortizedPosterior, fluxes: Any, errors: Any, prior: dist.Distribution | None = None) -> PhotoZ:
    """Densities of redshift, everything else integrated out by the network.

    Args:
        posterior: with free redshift.
        fluxes, errors: (object, band) nJy, see `AmortizedPosterior.measured`.
        prior: another prior of the redshift than that of the training, which is divided out.

    Raises:
        ParameterError: if the posterior knows no redshifts, or the prior leaves none.
        ShapeError, DataError: for fluxes that make no sense.
    """
    density = posterior.networks.redshift
    if density is None or not posterior.knows_redshift:
        raise ParameterError("this posterior knows no redshifts", fix="train one with `redshift.free = true`")
    measured = posterior.measured(fluxes, errors)

    def rows(*columns: Array) -> Array:
        return _knots(density, Measured(*columns))

    away = np.linspace(density.low, density.high, density.cells + 1)
    grid = np.asarray(np.expm1(away))
    change = None if prior is None else _changed(grid, prior, posterior.redshift)
    parts = []
    for own in _parts(len(measured.flux)):
        columns = (np.asarray(a[own]) for a in (measured.flux, measured.sigma, measured.present))
        knots = np.asarray(by_chunks(rows, *columns), np.float64)
        if change is not None:
            knots = knots * change
        total: HostArray = np.asarray(np.trapezoid(knots, away, axis=1))
        if not np.all(total > 0):
            row = own.start + int(np.argmin(total > 0))
            raise ParameterError(f"the prior leaves no redshift for object {row}", fix="give one that reaches the grid")
        parts.append(_told(grid, knots / total[:, None] / (1 + grid)))
    return _of_parts(grid, parts)


def _parts(count: int) -> list[slice]:
    return [slice(first, min(first + _AT_ONCE, count)) for first in range(0, count, _AT_ONCE)]


def _of_parts(grid: HostArray, parts: Sequence[tuple[HostArray, ...]]) -> PhotoZ:
    density, mode, levels, odds = zip(*parts, strict=True)
    return PhotoZ(
        grid, np.concatenate(density), np.concatenate(mode), np.concatenate(levels, axis=1), np.concatenate(odds)
    )


def _told(grid: HostArray, density: HostArray) -> tuple[HostArray, HostArray, HostArray, HostArray]:
    """Densities as they are kept, modes, (3, object) quantiles and odds."""
    mode = grid[np.argmax(density, axis=1)]
    whole = _Cumulated.of(grid, density)
    levels = np.stack([whole.quantile(level) for level in (0.16, 0.5, 0.84)])
    odds = whole.below(mode + ODDS * (1 + mode)) - whole.below(mode - ODDS * (1 + mode))
    return density.astype(np.float32), mode, levels, odds


def _changed(grid: HostArray, prior: dist.Distribution, before: dist.Distribution) -> HostArray:
    """(knot,) ratio of two priors, the largest one."""
    # rounding may put the ends outside
    low, high = ends_of(before)
    at = np.clip(grid, low, high)
    inside = np.asarray(prior.support(at), bool)
    if not inside.any():
        raise ParameterError(
            "the prior has no redshift that the posterior knows", fix=f"stay within {low:g} and {high:g}"
        )
    at = np.where(inside, at, at[inside][0])
    change: HostArray = np.asarray(prior.log_prob(at) - before.log_prob(at), np.float64)
    found: HostArray = np.where(inside, np.exp(change - change[inside].max()), 0.0)
    return found


@eqx.filter_jit
def _knots(density: RedshiftDensity, measured: Measured) -> Array:
    return jax.vmap(lambda one: density(one).knots)(measured)


class _Cumulated(NamedTuple):
    """Densities that are linear in ln(1 + z) between knots, with the probability below each.

    Args:
        away: (knot,) ln(1 + z).
        even: (object, knot) density in it.
        until: (object, knot) probability below.
    """

    away: HostArray
    even: HostArray
    until: HostArray

    @staticmethod
    def of(grid: HostArray, density: HostArray) -> "_Cumulated":
        """Of (object, knot) densities in redshift."""
        away = np.log1p(grid)
        even = np.asarray(density * (1 + grid), np.float64)
        steps = 0.5 * (even[:, 1:] + even[:, :-1]) * np.diff(away)
        until = np.concatenate([np.zeros((len(even), 1)), np.cumsum(steps, axis=1)], axis=1)
        return _Cumulated(away, even, until / until[:, -1:])

    def below(self, redshift: HostArray) -> HostArray:
        """(object,) probability below (object,) redshifts."""
        away, even, until = self
        at = np.clip(np.log1p(np.maximum(redshift, -0.99)), away[0], away[-1])
        cell = np.clip(np.searchsorted(away, at, side="right") - 1, 0, len(away) - 2)
        each = np.arange(len(even))
        width = away[cell + 1] - away[cell]
        share = (at - away[cell]) / width
        low, high = even[each, cell], even[each, cell + 1]
        found: HostArray = until[each, cell] + width * (low * share + 0.5 * (high - low) * share**2)
        return np.clip(found, 0.0, 1.0)

    def quantile(self, level: float) -> HostArray:
        """(object,) redshifts below which so much of the probability lies."""
        away, even, until = self
        cell = np.clip((until < level).sum(axis=1) - 1, 0, len(away) - 2)
        each = np.arange(len(even))
        low, high, width = even[each, cell], even[each, cell + 1], away[cell + 1] - away[cell]
        rest = np.maximum(level - until[each, cell], 0.0) / width
        root = np.sqrt(np.maximum(low**2 + 2 * (high - low) * rest, 0.0))
        share = np.clip(2 * rest / np.maximum(low + root, 1e-300), 0.0, 1.0)
        found: HostArray = np.expm1(away[cell] + share * width)
        return found
