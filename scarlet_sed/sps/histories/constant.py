"""Constant star formation between two times: an ongoing one, a quenched one, a burst."""

from typing import final

import jax.numpy as jnp

from scarlet_sed.parameters import parameter
from scarlet_sed.sps.histories.base import History, Masses, check_positive
from scarlet_sed.typing import Array


def constant_masses(edges: Array, started: Array, stopped: Array) -> Masses:
    """`Masses` of a constant rate from the age `started` down to the age `stopped` (Gyr), one solar mass in all."""
    young, old = edges[:-1], edges[1:]
    low, high = jnp.maximum(young, stopped), jnp.minimum(old, started)
    total = jnp.maximum(high - low, 0.0) / (started - stopped)
    return Masses(total, total * (0.5 * (low + high) - young) / (old - young))


@final
class Constant(History):
    """A constant rate from `age` Gyr ago until `quenched` Gyr ago (0: until now).

    Args:
        age: Gyr since star formation began.
        quenched: Gyr since it stopped, less than `age`.

    Raises:
        DomainError: for an age that is not positive, or a negative `quenched`.
    """

    age: Array = parameter(unit="Gyr", doc="time since star formation began", shape=())
    quenched: Array = parameter(unit="Gyr", doc="time since star formation stopped", shape=(), default=0.0)

    def __check_init__(self) -> None:
        check_positive(self.age, "Constant", "age")
        check_positive(self.quenched, "Constant", "quenched", zero=True)

    @property
    def needs_universe(self) -> bool:
        return False

    def masses(self, edges: Array, universe: Array) -> Masses:
        return constant_masses(edges, self.age, self.quenched)


@final
class Burst(History):
    """All stars within a short time: a constant rate from age + duration / 2 to age - duration / 2 (but not below 0).

    Args:
        age: Gyr, the middle of the burst.
        duration: Gyr.

    Raises:
        DomainError: for an age or duration that is not positive.
    """

    age: Array = parameter(unit="Gyr", doc="age of the middle of the burst", shape=())
    duration: Array = parameter(unit="Gyr", doc="how long the burst lasted", shape=(), default=0.01)

    def __check_init__(self) -> None:
        check_positive(self.age, "Burst", "age")
        check_positive(self.duration, "Burst", "duration")

    @property
    def needs_universe(self) -> bool:
        return False

    def span(self) -> tuple[Array, Array]:
        """Gyr since the burst began and ended."""
        return self.age + 0.5 * self.duration, jnp.maximum(self.age - 0.5 * self.duration, 0.0)

    def masses(self, edges: Array, universe: Array) -> Masses:
        return constant_masses(edges, *self.span())
