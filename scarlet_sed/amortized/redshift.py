"""The density of redshift: on a fine grid, so that it has as many modes as it likes.

Its logarithm is a sum: what a network makes of all fluxes, on a coarse grid; and what a small network, the same at
every knot of it, makes of the template fit there (see `RedshiftProfile`), on a finer one.
"""

import math

import equinox as eqx
import jax
import jax.numpy as jnp

from scarlet_sed.amortized.context import Measured
from scarlet_sed.amortized.profile import RedshiftProfile
from scarlet_sed.sps.emulator.network import Perceptron
from scarlet_sed.typing import Array

_TEMPER = 0.25
"""Clouds are not Gaussian: their logarithms of probability are taken this seriously."""
_SQUASHED = 3
"""Ways in which the probability is shown."""
_LEAST = -80.0
"""Logarithm of the least density over the highest: gradients of zero are not numbers."""
_ROUNDING = 1e-3
"""In cells: redshifts at an end of the grid may lie beyond it by so much."""


class OnGrid(eqx.Module):
    """The density of one object's redshift, piecewise linear in ln(1 + z).

    Args:
        knots: (cell + 1,) normalised density in ln(1 + z), evenly from `low` to `high`.
        low, high: ends of the grid in ln(1 + z).
    """

    knots: Array
    low: float = eqx.field(static=True)
    high: float = eqx.field(static=True)

    def log_prob(self, redshift: Array) -> Array:
        """Natural logarithm of the density in redshift; minus infinity outside of the grid."""
        away = (jnp.log1p(redshift) - self.low) / self._step
        cell = jnp.clip(jnp.floor(away).astype(int), 0, self._cells - 1)
        share = jnp.clip(away - cell, 0.0, 1.0)
        density = (1 - share) * self.knots[cell] + share * self.knots[cell + 1]
        inside = (away >= -_ROUNDING) & (away <= self._cells + _ROUNDING)
        return jnp.where(inside, jnp.log(jnp.where(inside, density, 1.0)), -jnp.inf) - jnp.log1p(redshift)

    def sample(self, keys: Array) -> Array:
        """(n,) redshifts, one for each of (n,) keys."""
        return jnp.expm1(self.quantiles(jax.vmap(jax.random.uniform)(keys)))

    def quantiles(self, levels: Array) -> Array:
        """(n,) ln(1 + z) below which (n,) shares of the probability lie."""
        mass = 0.5 * (self.knots[1:] + self.knots[:-1]) * self._step
        until = jnp.cumsum(mass)
        wanted = levels * until[-1]
        cell = jnp.clip(jnp.searchsorted(until, wanted, side="right"), 0, self._cells - 1)
        a, b = self.knots[cell], self.knots[cell + 1]
        rest = jnp.clip((wanted - (until[cell] - mass[cell])) / self._step, 0.0)
        # the root of a s + (b - a) s^2 / 2 = rest, in the form that holds for equal knots
        root = jnp.sqrt(jnp.maximum(a**2 + 2 * (b - a) * rest, 0.0))
        share = jnp.clip(2 * rest / jnp.maximum(a + root, 1e-30), 0.0, 1.0)
        return self.low + (cell + share) * self._step

    @property
    def _cells(self) -> int:
        return self.knots.shape[-1] - 1

    @property
    def _step(self) -> float:
        return (self.high - self.low) / self._cells


class RedshiftDensity(eqx.Module):
    """Densities of redshift, see `OnGrid`, of fluxes.

    Args:
        profile: the template fit; not trained.
        overall: from features of fluxes to (knot,) logarithms and (told,) numbers for the small network.
        inputs, told, own: (input, hidden), (told, hidden) and (knot, hidden): the first layer of the small network,
            with biases that each knot has for itself.
        inner, bias: (hidden, hidden) and (hidden,): the second.
        outputs: (hidden, finer): the last, for as many knots of the finer grid.
        low, high: ends of the grid in ln(1 + z).
    """

    profile: RedshiftProfile
    overall: Perceptron
    inputs: Array
    told: Array
    own: Array
    inner: Array
    bias: Array
    outputs: Array
    low: float = eqx.field(static=True)
    high: float = eqx.field(static=True)

    @staticmethod
    def initial(
        key: Array,
        profile: RedshiftProfile,
        ends: tuple[float, float],
        hidden: tuple[int, ...],
        local: int,
        told: int,
        finer: int,
        centre: Array,
        scale: Array,
    ) -> "RedshiftDensity":
        """A random one.

        Args:
            key: of the weights.
            profile: the template fit.
            ends: of the grid in ln(1 + z).
            hidden: layers of the network that sees all fluxes.
            local: hidden numbers of the small network.
            told: numbers that it is told about all fluxes.
            finer: knots of the finer grid for one of the coarse one.
            centre, scale: (feature,) mean and inverse spread of the features.
        """
        knots, _, axes = profile.axes.shape
        keys = iter(jax.random.split(key, 6))
        inputs = axes + 1 + 3 * _SQUASHED
        return RedshiftDensity(
            profile,
            Perceptron.initial(next(keys), (centre.size, *hidden, knots + told), centre, scale),
            jax.random.normal(next(keys), (inputs, local)) / math.sqrt(inputs),
            0.5 * jax.random.normal(next(keys), (told, local)),
            0.3 * jax.random.normal(next(keys), (knots, local)),
            jax.random.normal(next(keys), (local, local)) * math.sqrt(2 / local),
            jnp.zeros(local),
            0.1 * jax.random.normal(next(keys), (local, finer)),
            *ends,
        )

    @property
    def cells(self) -> int:
        """Of the finer grid."""
        return (self.profile.mean.shape[0] - 1) * self.outputs.shape[1]

    def __call__(self, measured: Measured) -> "OnGrid":
        """The density of one object."""
        # barriers, or the compiler works all of it out again for each use of it
        logarithms = jax.lax.optimization_barrier(self._logarithms(measured))
        raw = jnp.exp(jnp.maximum(logarithms - jnp.max(logarithms), _LEAST))
        total = jnp.sum(raw) - 0.5 * (raw[0] + raw[-1])
        return OnGrid(raw * self.cells / (total * (self.high - self.low)), self.low, self.high)

    def _logarithms(self, measured: Measured) -> Array:
        seen = jax.lax.optimization_barrier(jax.lax.stop_gradient(self._seen(measured)))
        coarse, told = jnp.split(self.overall(measured.features), [seen.shape[0]])
        hidden = jax.nn.silu(seen @ self.inputs + self.own + told @ self.told)
        hidden = jax.nn.silu(hidden @ self.inner + self.bias)
        finer = self.outputs.shape[1]
        share = jnp.arange(finer) / finer
        after = jnp.concatenate([coarse[1:], coarse[-1:]])
        both = coarse[:, None] * (1 - share) + after[:, None] * share + hidden @ self.outputs
        return both.reshape(-1)[: self.cells + 1]

    def _seen(self, measured: Measured) -> Array:
        """(knot, input): the template fit at a knot, squashed in three ways, against neighbours, and its places."""
        score, places = self.profile(measured)
        below = jnp.max(score) - score
        tempered = _TEMPER * below
        ways = jnp.stack([-jnp.minimum(tempered, 8.0) / 4, jnp.exp(-tempered), -jnp.arcsinh(below) / 4], axis=-1)
        before, after = jnp.concatenate([ways[:1], ways[:-1]]), jnp.concatenate([ways[1:], ways[-1:]])
        return jnp.concatenate([ways, before - ways, after - ways, jnp.arcsinh(places) / 2], axis=-1)
