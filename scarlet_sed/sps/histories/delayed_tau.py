"""The delayed exponential: star formation that rises linearly, then declines."""

import math
from typing import final

import jax.numpy as jnp

from scarlet_sed.errors import ParameterError
from scarlet_sed.parameters import parameter
from scarlet_sed.sps.histories.base import History, Masses, check_positive
from scarlet_sed.typing import Array


@final
class DelayedTau(History):
    """SFR ~ t exp(-t / tau), t the time since onset (e.g. Carnall et al. 2018, MNRAS 480, 4379, equation 3).

    Args:
        age: Gyr since onset; give this or `age_fraction`.
        tau: Gyr, the time of the peak after onset; give this or `log_tau`.
        age_fraction: the time since onset as a fraction of the age of the universe at the galaxy's redshift, so that
            no draw from a prior on it is older than the universe.
        log_tau: log10 of tau in Gyr. A fit finds the maximum of the density in the parameters as they are written, and
            a prior that is wide in the logarithm has that maximum where one expects it in `log_tau` only.

    Raises:
        ParameterError: unless exactly one of `age` and `age_fraction`, and one of `tau` and `log_tau` is given.
        DomainError: for ages or times that are not positive, or a fraction above one.
    """

    age: Array = parameter(unit="Gyr", doc="time since the onset of star formation", shape=(), default=None)
    tau: Array = parameter(unit="Gyr", doc="time from onset to peak of star formation", shape=(), default=None)
    age_fraction: Array = parameter(doc="time since onset over the age of the universe", shape=(), default=None)
    log_tau: Array = parameter(doc="log10 of the time from onset to peak in Gyr", shape=(), default=None)

    def __check_init__(self) -> None:
        if (self.age is None) == (self.age_fraction is None):
            raise ParameterError("DelayedTau takes its onset once", fix="give either age= (Gyr) or age_fraction=")
        if (self.tau is None) == (self.log_tau is None):
            raise ParameterError("DelayedTau takes its decline once", fix="give either tau= (Gyr) or log_tau=")
        check_positive(self.age, "DelayedTau", "age")
        check_positive(self.tau, "DelayedTau", "tau")
        check_positive(self.age_fraction, "DelayedTau", "age_fraction")

    @property
    def needs_universe(self) -> bool:
        return self.age is None

    def onset(self, universe: Array) -> Array:
        """Gyr since the onset."""
        return self.age if self.age_fraction is None else self.age_fraction * universe

    def timescale(self) -> Array:
        """Gyr from onset to peak."""
        return self.tau if self.log_tau is None else 10.0**self.log_tau

    def masses(self, edges: Array, universe: Array) -> Masses:
        """Integrals in closed form, written so that no two nearly equal numbers are subtracted."""
        onset, tau = self.onset(universe), self.timescale()
        young, old = edges[:-1], edges[1:]
        # time since onset at the interval's old end, and how far the interval reaches from there
        since = jnp.maximum(onset - old, 0.0)
        width = jnp.maximum(jnp.minimum(old, onset) - young, 0.0)
        moments = _decay_moments(jnp.append(width, onset) / tau)
        first, second, third = (moment[:-1] for moment in moments)
        # normalised by the whole, onset^2 times the first moment of onset / tau
        scale = jnp.exp(-since / tau) / (jnp.square(onset) * moments[1][-1])
        total = scale * width * (since * first + width * second)
        # age - young edge = width - v, v the time after the interval's old end
        older = scale * width * width * (since * (first - second) + width * (second - third)) / (old - young)
        return Masses(total, older)


def _decay_moments(x: Array) -> tuple[Array, Array, Array]:
    """int_0^1 s^k exp(-x s) ds for k = 0, 1, 2, by its series where the closed form would cancel.

    Integration by parts leads from each to the next higher one with a division by x, and back without.
    """
    small, decay = x < _SWITCH, jnp.exp(-x)
    near, far = jnp.where(small, x, 0.0), jnp.where(small, 1.0, x)
    series = jnp.zeros_like(x)
    for coefficient in reversed(_SERIES):
        series = coefficient + near * series
    near_first = 0.5 * (near * series + decay)
    zeroth = jnp.where(small, near * near_first + decay, (1.0 - decay) / far)
    first = jnp.where(small, near_first, (zeroth - decay) / far)
    return zeroth, first, jnp.where(small, series, (2.0 * first - decay) / far)


_SWITCH = 0.5
"""The series is used below 0.5, where the first term left out is below 1e-14."""
_SERIES = [(-1) ** n / (math.factorial(n) * (n + 3)) for n in range(13)]
"""Of the second moment, in powers of x."""
