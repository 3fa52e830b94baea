"""The networks: one for the redshift, and a flow for everything else at a redshift.

A posterior with free redshift is the product q(z | fluxes) q(theta | fluxes, z). The first is a density on a grid,
which has as many modes as it likes; the second is the same whether the redshift is known or drawn.
"""

from functools import partial
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from flowjax.bijections import RationalQuadraticSpline
from flowjax.distributions import Normal, Transformed
from flowjax.flows import coupling_flow
from paramax import non_trainable

from scarlet_sed.amortized.context import Measured, of_redshift
from scarlet_sed.amortized.expected import ExpectedFluxes
from scarlet_sed.parameters import as_float
from scarlet_sed.sps.emulator.network import Perceptron
from scarlet_sed.typing import Array, HostArray

PARTS = ("numbers", "redshift")
"""What is learnt: the flow with its embedding, and the density of redshift. They share nothing."""


class Sizes(NamedTuple):
    """How large networks are.

    Args:
        expected: cells in ln(1 + z) in which it is known what fluxes to expect.
        embedding: hidden layers that turn fluxes and redshift into a summary.
        summary: its numbers.
        layers: of the flow.
        width: of the hidden layer of each.
        knots: of its splines.
        redshift: hidden layers of the density of redshift.
        cells: of its grid in ln(1 + z).
    """

    expected: int = 240
    embedding: tuple[int, ...] = (512, 512, 512, 512)
    summary: int = 48
    layers: int = 6
    width: int = 256
    knots: int = 8
    redshift: tuple[int, ...] = (256, 256, 256)
    cells: int = 480


class RedshiftDensity(eqx.Module):
    """A density of redshift: piecewise linear in ln(1 + z), with knots whose logarithms a network gives.

    Args:
        network: from features of fluxes to (cell + 1,) logarithms.
        low, high: ends of the grid in ln(1 + z).
    """

    network: Perceptron
    low: float = eqx.field(static=True)
    high: float = eqx.field(static=True)

    def knots(self, measured: Measured) -> Array:
        """(cell + 1,) normalised density in ln(1 + z) at the knots."""
        logarithms = self.network(measured.features)
        raw = jnp.exp(logarithms - jnp.max(logarithms, axis=-1, keepdims=True))
        total = jnp.sum(raw, axis=-1) - 0.5 * (raw[..., 0] + raw[..., -1])
        return raw / (total * self._step(raw))[..., None]

    def log_prob(self, measured: Measured, redshift: Array) -> Array:
        """Natural logarithm of the density in redshift; minus infinity outside of the grid."""
        knots = self.knots(measured)
        away = (jnp.log1p(redshift) - self.low) / self._step(knots)
        cell = jnp.clip(jnp.floor(away).astype(int), 0, knots.shape[-1] - 2)
        share = away - cell
        density = (1 - share) * knots[cell] + share * knots[cell + 1]
        inside = (away >= 0) & (away <= knots.shape[-1] - 1)
        return jnp.where(inside, jnp.log(jnp.where(inside, density, 1.0)), -jnp.inf) - jnp.log1p(redshift)

    def sample(self, measured: Measured, keys: Array) -> Array:
        """(n,) redshifts, one for each of (n,) keys."""
        knots = self.knots(measured)
        step = self._step(knots)
        mass = 0.5 * (knots[1:] + knots[:-1]) * step
        until = jnp.cumsum(mass)

        def one(key: Array) -> Array:
            u = jax.random.uniform(key) * until[-1]
            cell = jnp.clip(jnp.searchsorted(until, u), 0, mass.shape[0] - 1)
            a, b = knots[cell], knots[cell + 1]
            rest = jnp.clip((u - (until[cell] - mass[cell])) / step, 0.0)
            # the root of a s + (b - a) s^2 / 2 = rest, in the form that holds for equal knots
            root = jnp.sqrt(jnp.maximum(a**2 + 2 * (b - a) * rest, 0.0))
            share = jnp.clip(2 * rest / jnp.maximum(a + root, 1e-30), 0.0, 1.0)
            return jnp.expm1(self.low + (cell + share) * step)

        return jax.vmap(one)(keys)

    def _step(self, knots: Array) -> float:
        return (self.high - self.low) / (knots.shape[-1] - 1)


class Networks(eqx.Module):
    """What is trained.

    Args:
        expected: what fluxes to expect at a redshift; not trained.
        embedding: from features of fluxes and redshift to a summary.
        flow: of standardised numbers, given the summary.
        redshift: the density of redshift; None where it is always given.
    """

    expected: ExpectedFluxes
    embedding: Perceptron
    flow: Transformed
    redshift: RedshiftDensity | None

    @staticmethod
    def initial(
        key: Array,
        sizes: Sizes,
        numbers: int,
        expected: ExpectedFluxes,
        measured: Measured,
        redshifts: Array,
        free: bool,
    ) -> "Networks":
        """Random networks.

        Args:
            key: of the weights.
            sizes: of them.
            numbers: that the flow describes.
            expected: what fluxes to expect.
            measured: (object, band) some, to standardise by.
            redshifts: (object,) of them.
            free: whether redshifts are described too.
        """
        one, two, three = jax.random.split(key, 3)
        seen: HostArray = np.asarray(jax.jit(jax.vmap(partial(_seen, expected)))(measured, redshifts), np.float64)
        centre, scale = as_float(seen.mean(axis=0)), as_float(1 / np.maximum(seen.std(axis=0), 1e-2))
        embedding = Perceptron.initial(one, (seen.shape[1], *sizes.embedding, sizes.summary), centre, scale)
        flow = Networks.flow_of(two, sizes, numbers)
        density = None
        if free:
            count = measured.features.shape[1]
            grid = Perceptron.initial(three, (count, *sizes.redshift, sizes.cells + 1), centre[:count], scale[:count])
            density = RedshiftDensity(grid, expected.low, expected.high)
        return Networks(expected, embedding, flow, density)

    @staticmethod
    def flow_of(key: Array, sizes: Sizes, numbers: int) -> Transformed:
        """A random flow: couplings by splines (Durkan et al. 2019, arXiv:1906.04032), the identity beyond 5."""
        return coupling_flow(
            key,
            base_dist=non_trainable(Normal(jnp.zeros(numbers))),
            transformer=RationalQuadraticSpline(knots=sizes.knots, interval=5),
            cond_dim=sizes.summary,
            flow_layers=sizes.layers,
            nn_width=sizes.width,
            invert=False,
        )

    def summary(self, measured: Measured, redshift: Array) -> Array:
        """What the flow is told."""
        return self.embedding(_seen(self.expected, measured, redshift))


def _seen(expected: ExpectedFluxes, measured: Measured, redshift: Array) -> Array:
    return jnp.concatenate([measured.features, of_redshift(redshift), expected.surprises(measured, redshift)])
