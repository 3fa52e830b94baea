"""Masses that follow the light: coordinates in which the brightness of a population is a number of its own.

Images fix how bright a component is far better than anything else about it, and its mass only through the light that a
solar mass gives, which changes tenfold with age and dust. Here, the logarithm of a component's amplitude is sampled as
if the mean of its fluxes over all bands, weighted by the signal-to-noise that it has in each, were held:

    log10 A = a - log10 sum_b w_b F_b(spectrum, log10 A = a_max) / F_b(maximum),      sum_b w_b = 1.

Because fluxes are proportional to the amplitude, the right-hand sum does not depend on it: this is a shear, which has
no volume whatever the spectra do.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from scarlet_sed.constraints import base_support
from scarlet_sed.infer.families import FamilyValues, Gather, is_gather
from scarlet_sed.infer.posterior import LogPosterior, constrain
from scarlet_sed.infer.program import ComponentGroup, Program
from scarlet_sed.parameters import as_float, to_device
from scarlet_sed.typing import Array, HostArray

_LEAST = 5.0
"""Signal-to-noise of a component, over all bands, below which its amplitude is left as it is."""

_NONE = np.iinfo(np.int32).max
"""A row that no family has."""


class Anchor(NamedTuple):
    """Which amplitudes follow their light, and how; three times nothing where there are no amplitudes.

    Args:
        share: per observation and group, (n, band) weights over fluxes at the maximum.
        level: per group, (n,) log-amplitude at the maximum.
        row: per group, (n,) row of the amplitude in its family; beyond the last one for those that follow nothing.
    """

    share: tuple[tuple[Array, ...], ...]
    level: tuple[Array, ...]
    row: tuple[Array, ...]

    @property
    def follows(self) -> bool:
        """Whether any amplitude follows its light."""
        return any(bool(np.any(np.asarray(row) < _NONE)) for row in self.row)

    def __call__(self, program: Program, values: FamilyValues) -> tuple[FamilyValues, Array]:
        """Parameters from those whose amplitudes do not follow yet, and whether all are on their priors' supports."""
        slots = [amplitude(group) for group in program.groups]
        inside = jnp.ones((), bool)
        if not self.row:
            return values, inside
        moved = self._moved(program, values, -1.0)
        for family in {slot.family for slot in slots if slot is not None}:
            support = base_support(program.families[family].prior)
            inside = inside & jnp.all(support(moved[family]) | (program.families[family].valid == 0))
        return moved, inside

    def undone(self, program: Program, values: FamilyValues) -> FamilyValues:
        """Parameters whose amplitudes do not follow yet, from those where they do."""
        return self._moved(program, values, 1.0) if self.row else values

    def _moved(self, program: Program, values: FamilyValues, sign: float) -> FamilyValues:
        """Amplitudes moved by how much brighter a component is than at the maximum, whatever its amplitude."""
        totals = [jnp.zeros(row.shape) for row in self.row]
        for found, shares in zip(program.fluxes_at(values), self.share, strict=True):
            totals = [t + jnp.sum(share * flux, axis=-1) for t, share, flux in zip(totals, shares, found, strict=True)]
        moved = list(values)
        slots = [amplitude(group) for group in program.groups]
        for slot, total, level, row in zip(slots, totals, self.level, self.row, strict=True):
            if slot is not None:
                follows = row < _NONE
                brighter = jnp.log10(jnp.where(follows, total, 1.0)) - (slot(values) - level)
                change = jnp.where(follows, brighter, 0.0)
                moved[slot.family] = moved[slot.family].at[row].add(sign * change, mode="drop")
        return tuple(moved)


def amplitude(group: ComponentGroup) -> Gather | None:
    """Where the free amplitudes of a group live; None where it has none of which fluxes know the logarithm."""
    spectrum = group.component.spectrum
    slot = getattr(spectrum, spectrum.log_amplitude) if spectrum.log_amplitude else None
    return slot if isinstance(slot, Gather) else None


def anchored(posterior: LogPosterior, unconstrained: FamilyValues) -> Anchor:
    """The anchor at a maximum.

    Args:
        posterior: the model.
        unconstrained: numbers at the maximum.
    """
    program = posterior.program
    slots = [amplitude(group) for group in program.groups]
    if all(slot is None for slot in slots):
        return Anchor((), (), ())
    times = times_held(program)
    fluxes, precision = _brightness(program, unconstrained)
    values = constrain(program, unconstrained)
    shares: list[list[Array]] = [[] for _ in program.observations]
    levels, rows = [], []
    for g, (group, slot) in enumerate(zip(program.groups, slots, strict=True)):
        flux = [np.asarray(f[g], np.float64) for f in fluxes]
        weight = [np.where(f > 0, np.asarray(p[g], np.float64), 0.0) for f, p in zip(flux, precision, strict=True)]
        total = sum(w.sum(axis=1) for w in weight)
        count = len(group.valid)
        row, level = np.full(count, _NONE), np.zeros(count)
        if slot is not None:
            own = np.broadcast_to(np.asarray(slot.rows), count)
            alone = np.array([times[slot.family, int(r)] == 1 for r in own])
            row = np.where((np.asarray(group.valid) > 0) & alone & (total >= _LEAST**2), own, _NONE)
            level = np.asarray(slot(values), np.float64)
        follows = row < _NONE
        for o, (f, w) in enumerate(zip(flux, weight, strict=True)):
            safe = np.where(f > 0, f, 1.0) * np.where(follows, total, 1.0)[:, None]
            shares[o].append(as_float(np.where(follows[:, None], w / safe, 0.0)))
        levels.append(as_float(level))
        rows.append(to_device(row, np.int32))
    return Anchor(tuple(tuple(s) for s in shares), tuple(levels), tuple(rows))


def times_held(program: Program) -> dict[tuple[int, int], int]:
    """How many slots hold each row of each family: only what a single slot holds may follow that component's light."""
    found: dict[tuple[int, int], int] = {}

    def count(gather: Gather, valid: HostArray | None) -> None:
        rows = np.atleast_1d(np.asarray(gather.rows))
        for row in rows if valid is None or rows.shape != valid.shape else rows[valid > 0]:
            found[gather.family, int(row)] = found.get((gather.family, int(row)), 0) + 1

    for part in (*program.groups, *program.observations):
        valid = np.asarray(part.valid) if isinstance(part, ComponentGroup) else None
        for leaf in jax.tree.leaves(part, is_leaf=is_gather):
            if is_gather(leaf):
                count(leaf, valid)
    return found


@jax.jit
def _brightness(
    program: Program, unconstrained: FamilyValues
) -> tuple[tuple[tuple[Array, ...], ...], tuple[tuple[Array, ...], ...]]:
    """Per observation and group: (n, band) fluxes, and (n, band) squared signal-to-noise of components alone."""
    values = constrain(program, unconstrained)

    def seen(images: tuple[Array, ...]) -> tuple[Array, ...]:
        return tuple(jnp.sum(jnp.square(white), axis=(1, 2)) for white in program.whitened(images, values))

    ends = np.cumsum([group.valid.shape[0] for group in program.groups])[:-1].tolist()
    each = program.one_by_one(values, seen)
    return program.fluxes_at(values), tuple(tuple(jnp.split(e, ends)) for e in each)
