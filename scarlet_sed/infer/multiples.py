"""Derivative images that need not be drawn: what changes only fluxes is, band by band, a multiple of one image.

A population has ten numbers, and all of them change the image of its component by factors on its bands.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np

from scarlet_sed.infer.compiled import Compiled
from scarlet_sed.infer.families import FamilyValues, materialize
from scarlet_sed.infer.program import Program
from scarlet_sed.typing import Array, HostArray

_WEAK = 1e-4
"""A direction that moves some band by less than this share of what another does is no measure of that band."""


class Multiple(NamedTuple):
    """A derivative image as a sum of others.

    Args:
        terms: (index of a direction, per observation a (band,) factor) pairs.
    """

    terms: list[tuple[int, list[HostArray]]]


def only_fluxes(path: str) -> bool:
    """Whether a parameter changes the fluxes of components and nothing else."""
    return ".spectrum." in path or path.endswith(".redshift")


def multiples(slopes: Sequence[HostArray]) -> dict[int, Multiple]:
    """The directions that are sums of multiples of others, by index.

    Args:
        slopes: per observation (p, component, band) change of the fluxes of all components along p directions that
            change only fluxes.
    """
    bright = np.concatenate(slopes, axis=-1)  # (p, component, band)
    touched = np.any(bright != 0, axis=-1)
    pivots = {c: p for c in range(bright.shape[1]) if (p := _pivot(bright[:, c], touched, c)) is not None}
    measures = set(pivots.values())
    found = {}
    for index in range(len(bright)):
        components = np.flatnonzero(touched[index]).tolist()
        if index in measures or not components or not set(components) <= set(pivots):
            continue
        terms = []
        for c in components:
            below = [s[pivots[c], c] for s in slopes]
            above = [s[index, c] for s in slopes]
            pairs = zip(above, below, strict=True)
            terms.append((pivots[c], [np.divide(a, b, out=np.zeros_like(b), where=b != 0) for a, b in pairs]))
        found[index] = Multiple(terms)
    return found


def _pivot(slopes: HostArray, touched: HostArray, component: int) -> int | None:
    """The direction that moves every band of a component, and no other component."""
    alone = touched[:, component] & (touched.sum(axis=1) == 1)
    if not alone.any():
        return None
    size = np.abs(slopes)
    most = size[touched[:, component]].max(axis=0)
    share = np.min(np.divide(size, most, out=np.ones_like(size), where=most > 0), axis=1)
    best = int(np.argmax(np.where(alone, share, -1.0)))
    return best if share[best] > _WEAK else None


def _flux_slopes(program: Program, unconstrained: FamilyValues, basis: FamilyValues) -> tuple[tuple[Array, ...], ...]:
    """Per observation and group, (p, n, band) derivatives of the fluxes of the components along p directions.

    Args:
        program: the model.
        unconstrained: where.
        basis: directions, each family with a leading axis p.
    """

    def fluxes(u: FamilyValues) -> tuple[tuple[Array, ...], ...]:
        values = program.constrain(u)
        light = [materialize(group.light, values) for group in program.groups]
        return tuple(program.fluxes(light, o.filters) for o in program.observations)

    _, derivative = jax.linearize(fluxes, unconstrained)
    found: tuple[tuple[Array, ...], ...] = jax.lax.map(derivative, basis)
    return found


flux_slopes = Compiled(_flux_slopes, level=0)
