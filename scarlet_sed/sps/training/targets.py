"""What the networks should say: exact spectra of random populations of a grid, with their slopes."""

from collections.abc import Iterator
from dataclasses import replace
from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from scarlet_sed.photometry.rebin import nearest_cell
from scarlet_sed.sps.domain import Domain
from scarlet_sed.sps.emulator.features import Features
from scarlet_sed.sps.engine import Population
from scarlet_sed.sps.exact import ExactSynthesis
from scarlet_sed.sps.histories.base import History
from scarlet_sed.sps.histories.constant import Constant
from scarlet_sed.sps.histories.delayed_tau import DelayedTau
from scarlet_sed.sps.training import draws as drawing
from scarlet_sed.sps.training.source import (
    FAINT_LINE,
    LEAST,
    PARTS,
    REDDEST,
    Rows,
    RowSource,
    old_features,
    young_features,
)
from scarlet_sed.typing import Array, HostArray

DIRECTIONS = {
    "delayed": (0.35, 0.3, 0.35, 0.0),
    "constant": (0.2, 0.2, 0.6, 0.0),
    "young": (0.15, 0.15, 0.3, 0.4),
    "lines": (0.15, 0.15, 0.3, 0.4),
}
"""How often a row's slope is along ln of the first time, ln of the second, log Z and log U."""

STEEP = 0.02
"""Slopes count relative to their size where they are steeper than this (rms of d ln flux)."""


@final
class Exact(RowSource):
    """A grid's synthesis, seen part by part in the emulator's range of wavelength.

    Args:
        engine: the synthesis.
        provenance: that of its grid, JSON text.
    """

    engine: ExactSynthesis
    features: Features
    line_index: tuple[int, ...] = eqx.field(static=True)
    log_start: int = eqx.field(static=True)
    cells: int = eqx.field(static=True)
    line_names: tuple[str, ...] = eqx.field(static=True)
    line_wavelength: tuple[float, ...] = eqx.field(static=True)
    domain: Domain = eqx.field(static=True)
    provenance: str = eqx.field(static=True)
    tag: str = eqx.field(static=True)
    has_slopes: bool = eqx.field(static=True)
    line_table: Array

    def __init__(self, engine: ExactSynthesis, provenance: str = "{}") -> None:
        axes = engine.axes
        ages = np.asarray(axes.age)
        self.engine = engine
        self.log_start = engine.log_start
        self.cells = min(engine.cells, nearest_cell(REDDEST) - engine.log_start + 1)
        self.features = Features(
            axes.age[_feature_nodes(ages, axes.split)], axes.nebular_edges, axes.metallicity, axes.log_ionization
        )
        self.line_index = tuple(i for i, w in enumerate(engine.line_wavelength) if w < REDDEST)
        nodes = (len(axes.metallicity), len(axes.log_ionization), len(axes.nebular_edges) - 1)
        self.line_table = engine.lines[:, np.array(self.line_index, int)].reshape(*nodes, -1)
        self.line_names = tuple(engine.line_names[i] for i in self.line_index)
        self.line_wavelength = tuple(engine.line_wavelength[i] for i in self.line_index)
        self.domain = replace(engine.domain, age=drawing.AGE)
        self.provenance, self.tag, self.has_slopes = f'{{"grid": {provenance}}}', "", True

    @property
    def ranges(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """Of log metallicity and log ionisation."""
        return self.engine.domain.log_metallicity, self.engine.domain.log_ionization

    def row(self, part: str, kind: Array, direction: Array, *numbers: Array) -> Rows:
        """One row, and its slope along a direction in (ln first time, ln second time, log Z, log U).

        Args:
            part: one of `PARTS`.
            kind: 0 for a delayed exponential and 1 for a constant rate.
            direction: (4,).
            numbers: first and second time in Gyr, log Z, log U.
        """
        unit = (numbers[0], numbers[1], *(jnp.ones_like(n) for n in numbers[2:]))
        along = tuple(d * u for d, u in zip(direction, unit, strict=True))
        value, slope = jax.jvp(lambda *n: self._values(part, kind, *n), numbers, along)
        features, light, living, weight = value
        size = 1.0 / (jnp.sqrt(jnp.mean(jnp.square(slope[1]))) + STEEP)
        return Rows(features, light, living, weight, *(size * x for x in slope[:3]))

    def _values(
        self, part: str, kind: Array, first: Array, second: Array, log_z: Array, log_u: Array
    ) -> tuple[Array, Array, Array, Array]:
        """Features, light, living mass and weight of a row."""
        histories = [DelayedTau(first, second), Constant(first, second)]
        if part in ("delayed", "constant"):
            return self._old_row(histories[PARTS.index(part)], first, second, log_z)
        choose = [self._young_row(h, log_z, log_u, lines=part == "lines") for h in histories]
        return jax.tree.map(lambda a, b: jnp.where(kind == 0, a, b), *choose)

    def _old_row(
        self, history: History, first: Array, second: Array, log_z: Array
    ) -> tuple[Array, Array, Array, Array]:
        axes, nothing = self.engine.axes, jnp.asarray(0.0, log_z.dtype)
        masses = history.masses(axes.age[axes.split :], nothing)
        features, _ = old_features(self.features, history, first, second, log_z)
        fraction = jnp.sum(masses.total)
        ages, metals = masses.at_edges() / fraction, axes.metallicity_weights(log_z)
        light = jnp.outer(metals, ages).ravel() @ self.engine.old[:, : self.cells]
        living = metals @ self.engine.living[:, axes.split :] @ ages
        return features, jnp.log(light), living, jnp.asarray(1.0)

    def _young_row(
        self, history: History, log_z: Array, log_u: Array, *, lines: bool
    ) -> tuple[Array, Array, Array, Array]:
        axes, nothing = self.engine.axes, jnp.asarray(0.0, log_z.dtype)
        weights = axes.weights(Population(history, log_z, log_u, nothing))
        features, fraction = young_features(self.features, history, log_z, log_u)
        scale = 1.0 / jnp.maximum(fraction, LEAST)
        if lines:
            light = (weights.nebular * scale) @ self.engine.lines[:, np.array(self.line_index)]
            light = jnp.log(light + FAINT_LINE * jnp.mean(light))
        else:
            stars = (weights.young * scale) @ self.engine.young[:, : self.cells]
            light = jnp.log(stars + (weights.nebular * scale) @ self.engine.nebular[:, : self.cells])
        ages = weights.young.reshape(len(axes.metallicity), -1)
        living = jnp.sum(ages * self.engine.living[:, : axes.split + 1]) * scale
        return features, light, living, (fraction > LEAST).astype(light.dtype)

    def chunks(self, part: str, rng: np.random.Generator, count: int, size: int = 4096) -> Iterator[Rows]:
        """`count` draws in chunks; rows of no weight are left out, so chunks differ a little in length."""
        for start in range(0, count, size):
            kind, drawn = drawing.of_part(part, rng, min(size, count - start), self.ranges)
            direction = np.eye(4, dtype=np.float32)[rng.choice(4, len(kind), p=DIRECTIONS[part])]
            rows = _rows(self, part, *(jnp.asarray(a) for a in (kind, direction, *drawn)))
            host = Rows(*(np.asarray(a) for a in rows))
            finite = [np.isfinite(a.reshape(len(a), -1)).all(axis=1) for a in host]
            good = (host.weight > 0) & np.all(finite, axis=0)
            yield Rows(*(a[good] for a in host))


@eqx.filter_jit
def _rows(exact: Exact, part: str, *columns: Array) -> Rows:
    return jax.vmap(lambda *row: exact.row(part, *row))(*columns)


def _feature_nodes(ages: HostArray, split: int) -> np.ndarray:
    """Nodes from 10 Myr to 14 Gyr: every one above 1 Gyr, fewer below, where spectra change smoothly with age."""
    index = np.arange(split, np.searchsorted(ages, drawing.AGE[1]) + 1)
    late = index[ages[index] > 1.0]
    early = np.interp(np.geomspace(ages[split], 1.0, 18), ages, np.arange(ages.size)).round().astype(int)
    return np.unique(np.concatenate([early, late]))
