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
from flowjax.bijections import Permute, RationalQuadraticSpline
from flowjax.distributions import Normal, Transformed
from flowjax.flows import coupling_flow
from paramax import non_trainable

from scarlet_sed.amortized.context import Measured, of_redshift
from scarlet_sed.amortized.expected import ExpectedFluxes
from scarlet_sed.amortized.profile import RedshiftProfile
from scarlet_sed.amortized.redshift import OnGrid, RedshiftDensity
from scarlet_sed.parameters import as_float
from scarlet_sed.sps.emulator.network import Perceptron
from scarlet_sed.typing import Array, HostArray

PARTS = ("numbers", "redshift")
"""What is learnt: the flow with its embedding, and the density of redshift. They share nothing."""


_BETWEEN = 20
_LEVELS = as_float(np.concatenate([[0.0005], (np.arange(_BETWEEN) + 0.5) / _BETWEEN, [0.9995]]))
"""Quantiles of a density of redshift at which summaries are worked out: those of draws in between differ from the
interpolated ones by 0.02 nats or less."""


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
        finer: knots that each of them has.
        axes: of the template fit, at most one a band.
        local: hidden numbers of the network at each knot.
        told: numbers that it is told about all fluxes.
    """

    expected: int = 240
    embedding: tuple[int, ...] = (512, 512, 512, 512)
    summary: int = 48
    layers: int = 6
    width: int = 256
    knots: int = 8
    redshift: tuple[int, ...] = (512, 384, 256)
    cells: int = 480
    finer: int = 4
    axes: int = 6
    local: int = 16
    told: int = 16


class Told(eqx.Module):
    """What the flow is told of one object: at one redshift, or at any, interpolated between some.

    Args:
        away: (knot,) their ln(1 + z), rising.
        summaries: (knot, summary).
    """

    away: Array
    summaries: Array

    def at(self, redshift: Array) -> Array:
        """(summary,) at a redshift; beyond the ends as at them."""
        if self.away.size == 1:
            return self.summaries[0]
        wanted = jnp.log1p(redshift)
        cell = jnp.clip(jnp.searchsorted(self.away, wanted) - 1, 0, self.away.size - 2)
        width = jnp.maximum(self.away[cell + 1] - self.away[cell], 1e-9)
        share = jnp.clip((wanted - self.away[cell]) / width, 0.0, 1.0)
        return (1 - share) * self.summaries[cell] + share * self.summaries[cell + 1]


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
        clouds: ExpectedFluxes | None,
    ) -> "Networks":
        """Random networks.

        Args:
            key: of the weights.
            sizes: of them.
            numbers: that the flow describes.
            expected: what fluxes to expect.
            measured: (object, band) some, to standardise by.
            redshifts: (object,) of them.
            clouds: as `expected`, on the grid of the density of redshift; None where redshifts are always given.
        """
        one, two, three = jax.random.split(key, 3)
        seen: HostArray = np.asarray(jax.jit(jax.vmap(partial(_seen, expected)))(measured, redshifts), np.float64)
        centre, scale = as_float(seen.mean(axis=0)), as_float(1 / np.maximum(seen.std(axis=0), 1e-2))
        embedding = Perceptron.initial(one, (seen.shape[1], *sizes.embedding, sizes.summary), centre, scale)
        flow = Networks.flow_of(two, sizes, numbers)
        density = None
        if clouds is not None:
            count = measured.features.shape[1]
            density = RedshiftDensity.initial(
                three,
                RedshiftProfile.of(clouds, sizes.axes),
                (clouds.low, clouds.high),
                sizes.redshift,
                sizes.local,
                sizes.told,
                sizes.finer,
                centre[:count],
                scale[:count],
            )
        return Networks(expected, embedding, flow, density)

    @staticmethod
    def flow_of(key: Array, sizes: Sizes, numbers: int) -> Transformed:
        """A random flow: couplings by splines (Durkan et al. 2019, arXiv:1906.04032), the identity beyond 5.

        Every number is transformed by every second layer. flowjax shuffles them anyhow between layers, and may leave
        one out of all: that one stays under its prior, whatever the fluxes are.
        """
        flow = coupling_flow(
            key,
            base_dist=non_trainable(Normal(jnp.zeros(numbers))),
            transformer=RationalQuadraticSpline(knots=sizes.knots, interval=5),
            cond_dim=sizes.summary,
            flow_layers=sizes.layers,
            nn_width=sizes.width,
            invert=False,
        )
        if numbers <= 2:
            return flow
        keys = jax.random.split(jax.random.fold_in(key, 1), sizes.layers)
        swaps = eqx.filter_vmap(lambda own: Permute(_swapped(numbers, own)))(keys)
        return eqx.tree_at(lambda f: f.bijection.bijection.bijections[1], flow, swaps)

    def summary(self, measured: Measured, redshift: Array) -> Array:
        """What the flow is told."""
        return self.embedding(_seen(self.expected, measured, redshift))

    def told(self, measured: Measured, redshift: Array | OnGrid) -> Told:
        """What the flow is told, at a redshift or wherever a density of it lies.

        In the latter case it is worked out where the density has its quantiles, not for each draw.

        Args:
            measured: fluxes of one object.
            redshift: where it is, or the density that `redshift` of the networks gives.
        """
        away = redshift.quantiles(_LEVELS) if isinstance(redshift, OnGrid) else jnp.log1p(redshift)[None]
        return Told(away, jax.vmap(lambda x: self.summary(measured, jnp.expm1(x)))(away))


def _swapped(numbers: int, key: Array) -> Array:
    """(n,) places to take numbers from: those that a layer transformed come first, where the next one reads them."""
    one, two = jax.random.split(key)
    kept = numbers // 2
    read, changed = jax.random.permutation(one, kept), kept + jax.random.permutation(two, numbers - kept)
    return jnp.concatenate([changed[:kept], read, changed[kept:]])


def _seen(expected: ExpectedFluxes, measured: Measured, redshift: Array) -> Array:
    return jnp.concatenate([measured.features, of_redshift(redshift), expected.surprises(measured, redshift)])
