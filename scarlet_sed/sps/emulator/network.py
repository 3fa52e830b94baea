"""A multilayer perceptron onto the principal components of log flux."""

import math
from itertools import pairwise

import equinox as eqx
import jax
import jax.numpy as jnp

from scarlet_sed.typing import Array


class Perceptron(eqx.Module):
    """Dense layers with SiLU between them, on standardised inputs.

    Args:
        matrices, biases: of the layers.
        centre, scale: (feature,) mean and inverse spread of the inputs, which are not trained.
    """

    matrices: tuple[Array, ...]
    biases: tuple[Array, ...]
    centre: Array
    scale: Array

    @staticmethod
    def initial(key: Array, sizes: tuple[int, ...], centre: Array, scale: Array) -> "Perceptron":
        """Random weights for layers of these sizes (inputs first, outputs last)."""
        keys = jax.random.split(key, len(sizes) - 1)
        pairs = list(pairwise(sizes))
        matrices = [jax.random.normal(k, pair) * math.sqrt(2.0 / pair[0]) for k, pair in zip(keys, pairs, strict=True)]
        matrices[-1] = matrices[-1] * 0.1
        return Perceptron(tuple(matrices), tuple(jnp.zeros(size) for size in sizes[1:]), centre, scale)

    def __call__(self, features: Array) -> Array:
        """(..., feature) to (..., output)."""
        x = (features - jax.lax.stop_gradient(self.centre)) * jax.lax.stop_gradient(self.scale)
        for matrix, bias in zip(self.matrices[:-1], self.biases[:-1], strict=True):
            x = jax.nn.silu(x @ matrix + bias)
        return x @ self.matrices[-1] + self.biases[-1]


class SpectrumNetwork(eqx.Module):
    """A perceptron whose outputs are components of log flux, and the mass that lives on.

    Args:
        perceptron: its outputs are the coefficients, in units of their spread, then the living mass fraction.
        basis: (component, cell) each scaled by the spread of its coefficient.
        mean: (cell,) mean ln flux (nJy at 10 Mpc per solar mass of this part).
    """

    perceptron: Perceptron
    basis: Array
    mean: Array

    def log_flux(self, features: Array) -> tuple[Array, Array]:
        """(cell,) ln flux and the living mass, per solar mass of this part."""
        out = self.perceptron(features)
        return out[..., :-1] @ self.basis + self.mean, out[..., -1]


class LineNetwork(eqx.Module):
    """A perceptron whose outputs are standardised ln line fluxes per solar mass of young stars.

    Args:
        perceptron: one output a line.
        spread, mean: (line,).
    """

    perceptron: Perceptron
    spread: Array
    mean: Array

    def fluxes(self, features: Array) -> Array:
        """(line,) line flux over frequency, nJy at 10 Mpc per unit ln(wavelength), of one solar mass of young stars."""
        return jnp.exp(self.perceptron(features) * self.spread + self.mean)


class LineTable(eqx.Module):
    """Line fluxes at the nodes of a grid. They are linear in what `Features.young` says of a population.

    Args:
        table: (metallicity, ionisation, bin of age, line) per solar mass of young stars in the bin.
    """

    table: Array

    def fluxes(self, features: Array) -> Array:
        """As those of a `LineNetwork`."""
        metals, ionization, bins, _ = self.table.shape
        shares = features[3 : 3 + bins]
        rest = features[3 + 2 * bins :]
        nebulae = jnp.einsum("z,u,n->zun", rest[:metals], rest[metals : metals + ionization], shares)
        return nebulae.ravel() @ self.table.reshape(-1, self.table.shape[-1])
