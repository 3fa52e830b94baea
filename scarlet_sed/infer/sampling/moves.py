"""Moves beside the trajectories of a sampler, such as from one mode of a redshift to another."""

from abc import abstractmethod

import equinox as eqx

from scarlet_sed.infer.sampling.target import AnyTarget
from scarlet_sed.typing import Array


class Move(eqx.Module):
    """A transition that leaves the posterior as it is.

    To add one, write a final class with `__call__` and `every`: whatever it proposes, it must accept or refuse it so
    that the target's density is its equilibrium (Tierney 1994, Annals of Statistics 22, 1701).

    Args:
        every: iterations of the sampler between two moves.
    """

    every: eqx.AbstractVar[int]

    @abstractmethod
    def __call__(self, target: AnyTarget, whitened: Array, key: Array) -> tuple[Array, Array]:
        """(size,) whitened numbers after the move, and how many of its parts were taken (none: the same numbers).

        Args:
            target: what is sampled.
            whitened: (size,) where the chain is.
            key: of everything random.
        """
