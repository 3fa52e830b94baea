"""Means and standard deviations of what is never held all at once."""

from typing import NamedTuple

import jax.numpy as jnp

from scarlet_sed.typing import Array


class Moments(NamedTuple):
    """Of numbers that come one by one, each array of the same shape (Welford 1962, Technometrics 4, 419).

    Args:
        number: how many were finite.
        mean: of those.
        squares: sum of squared deviations from it.
    """

    number: Array
    mean: Array
    squares: Array

    @staticmethod
    def none(shape: tuple[int, ...]) -> "Moments":
        """Of no numbers yet."""
        nothing = jnp.zeros(shape)
        return Moments(nothing, nothing, nothing)

    @property
    def spread(self) -> Array:
        """Standard deviation; zero of a single number."""
        return jnp.sqrt(self.squares / jnp.maximum(self.number - 1, 1))

    def with_one(self, value: Array) -> "Moments":
        """With one more, which is left out where it is NaN."""
        known = jnp.isfinite(value)
        number = self.number + known
        off = jnp.where(known, value - self.mean, 0.0)
        mean = self.mean + off / jnp.maximum(number, 1)
        return Moments(number, mean, self.squares + off * jnp.where(known, value - mean, 0.0))

    def known(self) -> "Moments":
        """With NaN where there were no numbers."""
        nothing = self.number == 0
        return self._replace(
            mean=jnp.where(nothing, jnp.nan, self.mean), squares=jnp.where(nothing, jnp.nan, self.squares)
        )
