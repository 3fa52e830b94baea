"""Moves beside the trajectories of a sampler, such as from one mode of a redshift to another."""

from abc import abstractmethod

import equinox as eqx
import numpy as np

from scarlet_sed.infer.sampling.target import AnyTarget, Coordinates
from scarlet_sed.parameters import as_float
from scarlet_sed.typing import Array


class Move(eqx.Module):
    """A transition that leaves the posterior as it is.

    To add one, write a final class with `__call__` and `every`: whatever it proposes, it must accept or refuse it so
    that the target's density is its equilibrium (Tierney 1994, Annals of Statistics 22, 1701).

    Args:
        every: iterations of the sampler between two moves.
        held: family and row of parameters that it moves so well that trajectories leave them alone; none for none.
    """

    every: eqx.AbstractVar[int]
    held: eqx.AbstractVar[tuple[tuple[int, int], ...]]

    @abstractmethod
    def __call__(self, target: AnyTarget, whitened: Array, key: Array) -> tuple[Array, Array]:
        """(size,) whitened numbers after the move, and how many of its parts were taken (none: the same numbers).

        Args:
            target: what is sampled.
            whitened: (size,) where the chain is.
            key: of everything random.
        """


def held_numbers(coordinates: Coordinates, move: Move | None) -> np.ndarray:
    """Which steps belong to parameters that moves hold; none where nothing else would be left to trajectories.

    Args:
        coordinates: of the sampler.
        move: of the sampler.
    """
    places = () if move is None else move.held
    own = [np.ravel(np.asarray(coordinates.number[family])[row]) for family, row in places]
    found = np.unique(np.concatenate(own)) if own else np.zeros(0, int)
    return found if found.size < coordinates.size else found[:0]


def held_apart(coordinates: Coordinates, numbers: np.ndarray) -> Coordinates:
    """Coordinates, as round, whose first whitened numbers alone move what is held.

    With those at rest, the others are as round as what they move is, given what is held.

    Args:
        coordinates: of the sampler.
        numbers: steps of what is held.
    """
    root = np.asarray(coordinates.root, np.float64)
    order = np.concatenate([numbers, np.setdiff1d(np.arange(len(root)), numbers)])
    turned = np.zeros_like(root)
    turned[order] = np.linalg.qr(root[order].T).R.T
    return coordinates._replace(root=as_float(turned))
